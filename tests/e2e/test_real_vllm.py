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
from tests.faults.checks import seed
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


def request(custom_id: str, url: str, **body: Any) -> bytes:
    line = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    return json.dumps(line).encode() + b"\n"


def line(custom_id: str, text: str, **body: Any) -> bytes:
    messages = [{"role": "user", "content": text}]
    return request(
        custom_id,
        "/v1/chat/completions",
        **{"model": install.MODEL_NAME, "messages": messages, **body},
    )


def session_of_vllm(site: Site) -> int:
    """The session of the present start; its leader is the API server."""
    return int(site.engine_record("local")["session"])


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
    os.killpg(running.up.pid, signal.SIGINT)
    assert running.up.wait(timeout=20) == 0
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


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}},
            "required": ["city"],
        },
    },
}
ANSWER = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def test_every_endpoint_of_vllm_answers_batches(site: Site) -> None:
    """Two servings of the bundled model, one that writes and one that embeds."""
    folder = str(install.model_folder())
    writing = "--max-model-len 2048 --enable-auto-tool-choice --tool-call-parser hermes"
    embedding = "--max-model-len 2048 --runner pooling --convert embed"
    site.run("addmodel", "writes", "--source", folder, "--engine-args", writing)
    site.run("addmodel", "embeds", "--source", folder, "--engine-args", embedding)
    run = int(seed(site, "ask_judge", model="writes", rows=4))
    running = start_up(site, **REAL)
    chat = [
        line(
            "tool",
            "Weather?",
            model="writes",
            tools=[TOOL],
            tool_choice="required",
            max_tokens=200,
            temperature=0,
        )
    ]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": ANSWER}}
    chat.append(line("schema", "Is it?", model="writes", response_format=schema))
    picture = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    chat.append(
        line(
            "picture",
            "",
            model="writes",
            messages=[{"role": "user", "content": picture}],
        )
    )
    bodies: dict[str, dict[str, Any]] = {
        "/v1/completions": {
            "model": "writes",
            "prompt": ["One", "Two"],
            "max_tokens": 3,
            "logprobs": 1,
        },
        "/v1/responses": {"model": "writes", "input": "Hi", "max_output_tokens": 4},
        "/v1/embeddings": {"model": "embeds", "input": ["a cat", "a dog"]},
        "/v1/score": {"model": "embeds", "text_1": "a cat", "text_2": ["a dog", "x"]},
        "/v1/rerank": {"model": "embeds", "query": "cat", "documents": ["dog", "cat"]},
    }
    batches = {"/v1/chat/completions": running.submit(b"".join(chat))}
    for url, body in bodies.items():
        batches[url] = running.submit(request("r", url, **body), endpoint=url)
    answers: dict[str, Any] = {}
    for url, batch in batches.items():
        done = running.wait(batch, timeout=400, every=0.5)
        assert done.status == "completed", done
        assert done.usage is not None
        assert done.usage.input_tokens > 0
        for row in running.lines(done.output_file_id):
            answers[f"{url} {row['custom_id']}"] = row["response"]["body"]
        refused = [row["custom_id"] for row in running.lines(done.error_file_id)]
        # The model has no eyes, and vLLM says so with a 400 of that row alone.
        assert refused == (["picture"] if url == "/v1/chat/completions" else [])

    (call,) = answers["/v1/chat/completions tool"]["choices"][0]["message"][
        "tool_calls"
    ]
    assert call["function"]["name"] == "weather"
    said = answers["/v1/chat/completions schema"]["choices"][0]["message"]["content"]
    assert set(json.loads(said)) == {"yes"}
    choices = answers["/v1/completions r"]["choices"]
    assert [len(choice["logprobs"]["tokens"]) for choice in choices] == [3, 3]
    assert answers["/v1/responses r"]["usage"]["output_tokens"] == 4
    vectors = [x["embedding"] for x in answers["/v1/embeddings r"]["data"]]
    assert [len(vector) for vector in vectors] == [576, 576]
    assert len(answers["/v1/score r"]["data"]) == 2
    assert answers["/v1/rerank r"]["results"][0]["document"]["text"] == "cat"
    # A judge keeps to the schema of its rubric, however small the model is.
    assert seed(site, "judge_standing", run=run) == "completed 4 0"
    # One swap from the writing to the embedding model, no more.
    assert site.engine("local")["generation"] == 2
    assert running.up.stop(timeout=20) == 0
