# SPDX-License-Identifier: Apache-2.0
"""The main job through OpenAI's SDK against a real running site and the test engine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import APIStatusError

from tests.site import SQLITE_FIRST, Site, wait_for

from .client import start_up

pytestmark = pytest.mark.parametrize("site", SQLITE_FIRST, indirect=True)


def line(custom_id: str, text: str, **body: Any) -> bytes:
    request = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "tiny",
            "messages": [{"role": "user", "content": text}],
            **body,
        },
    }
    return json.dumps(request).encode() + b"\n"


def test_upload_create_poll_download_and_cancel(site: Site, test_engine: str) -> None:
    running = start_up(site, "--no-engine")
    client = running.client
    # An engine that is added while the site runs is served within five seconds.
    site.run("addengine", "ext", "--url", f"{test_engine}/v1")
    running.up.expect("Worker of engine ext is ready.", timeout=15)
    assert [model.id for model in client.models.list()] == ["tiny"]

    good = [line(f"r{n}", f"say {n}", max_tokens=8 + n) for n in range(40)]
    special = [
        line("nul", "a \0 in it"),
        # The test engine's JSON parser refuses a lone surrogate; it gets it as sent.
        line("surrogate", "\ud800"),
        line("bad", "x", max_tokens=100_000),
        *(line(f"same{n}", "twice", temperature=0) for n in range(3)),
    ]
    batch = running.submit(
        b"\xef\xbb\xbf" + b"".join([*good, b"\r\n", *special]),
        metadata={"for": "a test"},
    )
    assert batch.status == "validating"
    batch = running.wait(batch)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 46, "completed": 44, "failed": 2}
    assert batch.usage is not None
    assert batch.usage.output_tokens > 0
    assert batch.model == "tiny"

    rows = {row["custom_id"]: row for row in running.lines(batch.output_file_id)}
    assert len(rows) == 44
    message = rows["r7"]["response"]["body"]["choices"][0]["message"]
    assert message["content"] == "say 7"
    nul = rows["nul"]["response"]["body"]["choices"][0]["message"]["content"]
    assert nul == "a \0 in it"
    bodies = {json.dumps(rows[f"same{n}"]["response"]["body"]) for n in range(3)}
    assert len(bodies) == 1
    errors = running.lines(batch.error_file_id)
    assert [(e["custom_id"], e["error"]) for e in errors] == [
        ("surrogate", None),
        ("bad", None),
    ]
    assert {e["response"]["status_code"] for e in errors} == {400}

    slow = running.submit(
        b"".join(line(f"s{n}", "x", test={"delay": 1}) for n in range(900))
    )
    wait_for(lambda: client.batches.retrieve(slow.id).status == "in_progress")
    assert client.batches.cancel(slow.id).status == "cancelling"
    slow = running.wait(slow)
    assert slow.status == "cancelled"
    assert slow.request_counts is not None
    assert slow.request_counts.total == 900
    errors = running.lines(slow.error_file_id)
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    ids = [r["custom_id"] for r in [*errors, *running.lines(slow.output_file_id)]]
    assert sorted(ids) == sorted(f"s{n}" for n in range(900))
    with pytest.raises(APIStatusError) as caught:
        client.batches.cancel(batch.id)
    assert caught.value.status_code == 409

    broken = running.wait(running.submit(b'{"custom_id": "a"}\nnonsense\n'))
    assert broken.status == "failed"
    assert broken.errors is not None
    assert broken.errors.data is not None
    assert [(e.line, e.code) for e in broken.errors.data] == [
        (1, "missing_required_parameter"),
        (2, "invalid_json_line"),
    ]
    assert [b.id for b in client.batches.list()] == [broken.id, slow.id, batch.id]
    assert running.up.stop(timeout=15) == 0
    assert site.left_over() == {}
