# SPDX-License-Identifier: Apache-2.0
"""The main job with the real vLLM and the bundled model, its server killed on the way."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest

from jobs.engines import install
from jobs.processes import session_members
from tests.site import DATABASES, Site, wait_for

from .client import start_up

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.parametrize("site", DATABASES[-1:], indirect=True),
]
REAL = {
    "BATCHSITE_ENGINE_PYTHON": "",
    "BATCHSITE_ENGINE_MODULE": "vllm.entrypoints.openai.api_server",
}


def line(custom_id: str, text: str, **body: Any) -> bytes:
    request = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": install.MODEL_NAME,
            "messages": [{"role": "user", "content": text}],
            **body,
        },
    }
    return json.dumps(request).encode() + b"\n"


def session_of_vllm(site: Site) -> int:
    """The session of the present start; its leader is the API server."""
    record = site.folder / "run" / "local.json"
    return int(json.loads(record.read_text())["session"])


def test_a_batch_survives_the_death_of_vllm_and_nothing_survives_up(site: Site) -> None:
    site.run("addmodel", install.MODEL_NAME, "--source", str(install.model_folder()))
    running = start_up(site, **REAL)
    rows = [
        line(
            f"r{n}",
            f"Write a story about the number {n}.",
            max_tokens=64,
            temperature=0,
        )
        for n in range(80)
    ]
    special = [
        line("several", "Name a colour.", max_tokens=8, n=2, seed=1, temperature=0.8),
        line("probs", "Yes or no?", max_tokens=2, logprobs=True, top_logprobs=2),
        line("refused", "Too much.", max_tokens=1_000_000),
    ]
    batch = running.submit(b"".join([*special, *rows]))

    def some_are_done() -> bool:
        counts = running.client.batches.retrieve(batch.id).request_counts
        return counts is not None and counts.completed >= 2

    # The short requests are answered while the long ones are still in flight.
    wait_for(some_are_done, timeout=240, what="the first answers")
    os.kill(session_of_vllm(site), signal.SIGKILL)
    batch = running.wait(batch, timeout=300)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": 83, "completed": 82, "failed": 1}
    assert site.engine("local")["generation"] == 2

    answers = {
        x["custom_id"]: x["response"]["body"]
        for x in running.lines(batch.output_file_id)
    }
    assert len(answers) == 82
    assert len(answers["several"]["choices"]) == 2
    assert answers["probs"]["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    (refused,) = running.lines(batch.error_file_id)
    assert (refused["custom_id"], refused["error"]) == ("refused", None)
    assert refused["response"]["status_code"] == 400
    assert batch.usage is not None
    assert batch.usage.output_tokens == sum(
        body["usage"]["completion_tokens"] for body in answers.values()
    )

    running.submit(b"".join(rows))
    time.sleep(3)
    session = session_of_vllm(site)
    assert len(session_members(session)) >= 2
    began = time.monotonic()
    os.killpg(running.up.pid, signal.SIGINT)
    assert running.up.wait(timeout=20) == 0
    assert time.monotonic() - began < 15
    assert site.left_over() == {}
    assert session_members(session) == []

    # The unfinished batch loads the model again; then `up` itself is killed.
    running = start_up(site, **REAL)
    wait_for(lambda: site.engine("local")["state"] == "ready", timeout=240)
    session = session_of_vllm(site)
    running.up.kill()
    wait_for(
        lambda: not site.left_over() and not session_members(session),
        timeout=50,
        what="nobody left",
    )
