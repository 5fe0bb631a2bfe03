# SPDX-License-Identifier: Apache-2.0
"""Calls made up from the OpenAPI document against a real site, right ones and wrong ones."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from httpx2 import Client
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from jobs.api.schema.document import document, operations
from tests.faults.checks import seed
from tests.inputs import chat_lines
from tests.web_server import WebServer

from .amounts import fuzzed, generated

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
CALLS = [(path, method) for path, methods in operations().items() for method in methods]
MODES = [*schemathesis.GenerationMode]


@pytest.fixture(scope="module")
def described() -> schemathesis.BaseSchema:
    """The document as schemathesis reads it."""
    return schemathesis.openapi.from_dict(document())


@pytest.fixture(scope="module")
def known(web: WebServer) -> dict[str, str]:
    """Ids of things that exist, for the places of paths."""
    with Client(
        base_url=f"http://127.0.0.1:{web.port}/v1",
        headers={"Authorization": f"Bearer {web.key}"},
        timeout=60,
    ) as http:
        file = http.post(
            "/files",
            files={"file": ("in.jsonl", chat_lines(2))},
            data={"purpose": "batch"},
        ).json()
        batch = http.post(
            "/batches",
            json={
                "input_file_id": file["id"],
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
        ).json()
        upload = http.post(
            "/uploads",
            json={
                "filename": "in.jsonl",
                "purpose": "batch",
                "bytes": 5,
                "mime_type": "text/plain",
            },
        ).json()
        rubric = http.post(
            "/curation/rubrics",
            json={
                "name": "Good",
                "questions": [
                    {"key": "good", "type": "boolean", "title": "Is it good?"}
                ],
            },
        ).json()
        queue = http.post(
            "/curation/queues",
            json={"name": "Nightly", "rubric_id": rubric["id"], "overlap": 2},
        ).json()
        dataset = http.post("/curation/datasets", json={"name": "Good"}).json()
        item = seed(web.site, "fill_queue", queue=queue["id"], rows=20)
        http.post(
            f"/curation/items/{item}/resolution", json={"answers": {"good": True}}
        )
        run = http.post(
            f"/curation/queues/{queue['id']}/judge_runs", json={"model": "tiny"}
        ).json()
        rule = http.post(f"/curation/queues/{queue['id']}/rules", json={}).json()
        suite = http.post(
            "/benchmarks/suites", json={"name": "Sums", "ready": "arithmetic"}
        ).json()
        measured = http.post(
            "/benchmarks/runs", json={"suite_id": suite["id"], "models": ["tiny"]}
        ).json()
    return {
        "suite_id": suite["id"],
        "file_id": file["id"],
        "batch_id": batch["id"],
        "upload_id": upload["id"],
        "name": "tiny",
        "rubric_id": rubric["id"],
        "queue_id": queue["id"],
        "item_id": item,
        "judge_run_id": run["id"],
        "run_id": measured["id"],
        "rule_id": rule["id"],
        "dataset_id": dataset["id"],
    }


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
@fuzzed(40, data=st.data(), mode=st.sampled_from(MODES))
def test_the_server_answers_as_it_is_described(
    web: WebServer,
    described: schemathesis.BaseSchema,
    known: dict[str, str],
    call: tuple[str, str],
    data: st.DataObject,
    mode: schemathesis.GenerationMode,
) -> None:
    generated["described calls"] += 1
    path, method = call
    operation = described[path][method]
    fixed: dict[str, Any] = {"generation_mode": mode}
    if "{" in path and data.draw(st.booleans()):
        [name] = [name for name in known if f"{{{name}}}" in path]
        fixed["path_parameters"] = {name: known[name]}
    case = data.draw(operation.as_strategy(**fixed))

    answer = case.call(
        base_url=f"http://127.0.0.1:{web.port}",
        headers={"Authorization": f"Bearer {web.key}"},
    )

    case.validate_response(answer, checks=CHECKS)
