# SPDX-License-Identifier: Apache-2.0
"""What Batchsite adds to batches, through the SDK's own means against a running site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import Batch

from tests.engine_process import counts, engine_process
from tests.site import DATABASES, Site, wait_for

from .client import Running, start_up

pytestmark = pytest.mark.slow


def lines(models: list[str], **test: Any) -> bytes:
    """A chat request for each of the models, in that order."""
    rows = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": model,
                "messages": [{"role": "user", "content": f"say {n}"}],
                "max_tokens": 50,
                "test": test,
            },
        }
        for n, model in enumerate(models)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def options(**given: Any) -> dict[str, Any]:
    return {"batchsite": given}


def ours(batch: Batch) -> dict[str, Any]:
    """The object with Batchsite's fields, as the SDK hands it on."""
    found: dict[str, Any] = batch.to_dict()["batchsite"]  # type: ignore[assignment]  # the SDK knows no type
    return found


@pytest.fixture
def running(site: Site, test_engine: str) -> Iterator[Running]:
    """A site with one engine for `tiny` and one for `other`."""
    with engine_process("--served-model-name", "other") as (url, _):
        made = start_up(site, "--no-engine")
        site.run("addengine", "first", "--url", f"{test_engine}/v1")
        site.run("addengine", "second", "--url", f"{url}/v1")
        for name in ("first", "second"):
            made.up.expect(f"Worker of engine {name} is ready.", timeout=30)
        yield made


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_a_batch_of_two_models_runs_on_the_engines_of_both(running: Running) -> None:
    models = ["tiny", "other"] * 30
    refused = running.wait(running.submit(lines(models)))
    assert refused.status == "failed"
    assert refused.errors is not None
    assert refused.errors.data is not None
    assert refused.errors.data[0].code == "mismatched_model"
    batch = running.wait(
        running.submit(
            lines(models),
            extra_body=options(allow_mixed_models=True, output_order="completion"),
        )
    )
    assert (batch.status, batch.model) == ("completed", None)
    rows = running.lines(batch.output_file_id)
    answered = {row["custom_id"]: row["response"]["body"] for row in rows}
    assert len(rows) == len(answered) == 60
    for n, model in enumerate(models):
        assert answered[f"r{n}"]["model"] == model
    # the file is in the order in which the answers came
    partial = running.client.get(f"/batches/{batch.id}/results", cast_to=str)
    found = [json.loads(line)["custom_id"] for line in partial.splitlines()]
    assert [row["custom_id"] for row in rows] == found
    assert ours(batch)["result_seq"] == 60


def test_one_engine_changes_its_model_for_a_batch_of_two(site: Site) -> None:
    for name in ("tiny", "other"):
        folder = site.folder / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"architectures": ["Tiny"]}))
        site.run("addmodel", name, "--source", str(folder))
    running = start_up(site)
    batch = running.wait(
        running.submit(
            lines(["tiny", "other", "tiny", "other"]),
            extra_body=options(allow_mixed_models=True),
        )
    )
    assert batch.status == "completed"
    rows = running.lines(batch.output_file_id)
    assert [row["response"]["body"]["model"] for row in rows] == [
        "tiny",
        "other",
        "tiny",
        "other",
    ]
    assert site.engine("local")["generation"] >= 2


def test_a_paused_batch_stops_at_request_borders_and_goes_on(
    running: Running, test_engine: str
) -> None:
    client = running.client
    batch = running.submit(lines(["tiny"] * 2000, delay=0.2))
    wait_for(lambda: ours(client.batches.retrieve(batch.id))["result_seq"] >= 50)

    def change(**given: Any) -> Batch:
        return client.post(
            f"/batches/{batch.id}", body={"batchsite": given}, cast_to=Batch
        )

    paused = change(paused=True)
    assert ours(paused)["queue"]["blocked_reason"] == "the batch is paused"

    def stands_still() -> bool:
        # nothing is at the engine, and all that it got is stored
        seen = counts(test_engine)
        stored = ours(client.batches.retrieve(batch.id))["result_seq"]
        return bool(seen["running"] == 0 and seen["requests"] == stored)

    wait_for(stands_still, timeout=30)
    stored = ours(client.batches.retrieve(batch.id))["result_seq"]
    assert 50 <= stored < 2000
    assert client.batches.retrieve(batch.id).status == "in_progress"
    change(paused=False, priority=5)
    wait_for(lambda: ours(client.batches.retrieve(batch.id))["result_seq"] > stored)
    client.batches.cancel(batch.id)
    batch = running.wait(batch, timeout=90)
    assert batch.status == "cancelled"
    assert batch.request_counts is not None
    assert sum((batch.request_counts.completed, batch.request_counts.failed)) == 2000

    # What never ran runs in a child, with another model.
    child = client.post(
        f"/batches/{batch.id}/retry",
        body={"model": "other", "body": {"test": None}, "system_prompt": "Be brief."},
        cast_to=Batch,
    )
    assert ours(child)["parent_id"] == batch.id
    child = running.wait(child, timeout=90)
    assert child.status == "completed"
    assert (child.model, child.request_counts) == (
        "other",
        batch.request_counts.model_copy(
            update={
                "total": batch.request_counts.failed,
                "completed": batch.request_counts.failed,
                "failed": 0,
            }
        ),
    )
    ids = [row["custom_id"] for row in running.lines(child.output_file_id)]
    errors = [row["custom_id"] for row in running.lines(batch.error_file_id)]
    assert ids == errors


def test_a_file_is_validated_without_any_worker(site: Site) -> None:
    running = start_up(site, "--no-engine")
    site.query(
        "INSERT INTO jobs_servedmodel (name, source, revision, engine_args, state,"
        " state_reason, load_failures, created_at)"
        " VALUES ('tiny', 'x', '', '[]', 'enabled', '', 0, '2026-01-01')"
    )
    file = running.client.files.create(
        file=("a.jsonl", lines(["tiny"] * 3)), purpose="batch"
    )
    found = running.client.post(
        "/batches/validate",
        body={
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
        cast_to=dict[str, Any],
    )
    assert found["valid"] is True
    assert found["estimate"]["output_tokens_most"] == 150
    assert site.query("SELECT id FROM jobs_batch") == []


@pytest.mark.parametrize("site", DATABASES, indirect=True)
def test_a_run_is_measured_and_compared_with_its_estimate(running: Running) -> None:
    """Seconds of work are enough; what the engine did is there when it falls idle."""
    site = running.site
    work = lines(["tiny"] * 40, delay=0.2)
    first = running.wait(running.submit(work))
    assert first.status == "completed"

    def measured() -> list[dict[str, Any]]:
        return site.query("SELECT * FROM jobs_measurement WHERE rows >= 40")

    (found,) = wait_for(measured, timeout=30)
    assert found["seconds"] > 0.2
    assert found["hardware"] == "the server first"
    # The window was full, and each request took its fifth of a second.
    assert found["latency_seconds"] / found["rows"] >= 0.2
    second = running.wait(running.submit(work))

    def settled() -> list[dict[str, Any]]:
        return site.query("SELECT * FROM jobs_batchestimate ORDER BY id")

    wait_for(lambda: all(row["settled_at"] for row in settled()), timeout=90)
    before, after = settled()
    assert second.id != first.id
    assert before["seconds"] is None
    assert after["seconds_low"] <= after["seconds"] <= after["seconds_high"]
    for row in (before, after):
        assert row["note"] == ""
        assert 0.2 < row["ran_seconds"] < 60
        assert row["characters"] > 0
    file = running.client.files.create(file=("a.jsonl", work), purpose="batch")
    accuracy = running.client.post(
        "/batches/validate",
        body={
            "input_file_id": file.id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        },
        cast_to=dict[str, Any],
    )["estimate"]["accuracy"]
    assert accuracy["estimates"] == 1
