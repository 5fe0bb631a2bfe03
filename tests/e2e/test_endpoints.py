# SPDX-License-Identifier: Apache-2.0
"""Every endpoint that engines serve: requests reach them untouched, answers come whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from tests.site import Site

from .client import Running, start_up

pytestmark = pytest.mark.slow

SHOWN = '"test": {"show_request": true}'
TOOL = (
    '{"type":"function","function":{"name":"weather","strict":true,"parameters":'
    '{"type":"object","properties":{"city":{"type":"string"}}}}}'
)
IMAGE = (
    '{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}'
)
# Spaces, escapes, numbers and the order of keys are the client's own business.
BODIES: dict[str, dict[str, str]] = {
    "/v1/chat/completions": {
        "tools": '{"messages":[{"role":"user","content":"caf\\u00e9 \\ud83d\\ude00 ☕"}],'
        f'  "model":"tiny","tools":[{TOOL}],"tool_choice":"required",{SHOWN}}}',
        "schema": '{"response_format":{"type":"json_schema","json_schema":{"name":"a",'
        '"schema":{"type":"object"}}},"seed":9007199254740993,"temperature":1e-1,'
        f'"messages":[{{"role":"user","content":"x"}}],"model":"tiny",{SHOWN}}}',
        "choices": '{"n":3,"logprobs":true,"top_logprobs":2,"model":"tiny",'
        f'"messages":[{{"role":"user","content":"two words"}}],{SHOWN}}}',
        "image": f'{{"messages":[{{"role":"user","content":[{IMAGE},'
        f'{{"type":"text","text":"what is it"}}]}}],"model":"tiny",{SHOWN}}}',
    },
    "/v1/completions": {"c": f'{{"model":"tiny","prompt":["a b","c"],{SHOWN}}}'},
    "/v1/embeddings": {
        "e": '{"model":"tiny","input":["a","b"],"encoding_format":"float",'
        f'"dimensions":8,{SHOWN}}}'
    },
    "/v1/responses": {
        "r": f'{{"model":"tiny","input":"one two three","max_output_tokens":2,{SHOWN}}}'
    },
    "/v1/score": {
        "s": f'{{"model":"tiny","text_1":"a b","text_2":["b c","a b"],{SHOWN}}}'
    },
    "/v1/rerank": {
        "k": f'{{"model":"tiny","query":"b","documents":["a","b"],"top_n":1,{SHOWN}}}'
    },
}


def answers(running: Running, endpoint: str) -> dict[str, dict[str, Any]]:
    """Run the endpoint's bodies as one batch; the answers' bodies by custom_id."""
    bodies = BODIES[endpoint]
    lines = [
        f'{{"custom_id":"{name}","method":"POST","url":"{endpoint}","body": {body} }}\n'
        for name, body in bodies.items()
    ]
    batch = running.wait(
        running.submit("".join(lines).encode(), endpoint=endpoint), every=0.1
    )
    assert batch.status == "completed"
    assert batch.error_file_id is None
    assert batch.model == "tiny"
    assert batch.usage is not None
    assert batch.usage.input_tokens > 0
    rows = {row["custom_id"]: row for row in running.lines(batch.output_file_id)}
    assert {row["response"]["status_code"] for row in rows.values()} == {200}
    found = {name: row["response"]["body"] for name, row in rows.items()}
    assert {name: body["received"] for name, body in found.items()} == bodies
    return found


def test_every_endpoint_gets_its_requests_untouched(
    site: Site, test_engine: str
) -> None:
    site.run("addengine", "ext", "--url", f"{test_engine}/v1")
    running = start_up(site, "--no-engine")

    chat = answers(running, "/v1/chat/completions")
    call = ChatCompletion.model_validate(chat["tools"]).choices[0]
    assert call.finish_reason == "tool_calls"
    assert chat["tools"]["choices"][0]["message"]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"said":"café 😀 ☕"}',
    }
    assert json.loads(chat["schema"]["choices"][0]["message"]["content"]) == {
        "answer": "x"
    }
    choices = ChatCompletion.model_validate(chat["choices"]).choices
    assert [choice.index for choice in choices] == [0, 1, 2]
    assert choices[2].logprobs is not None
    assert chat["image"]["choices"][0]["message"]["content"].strip() == "what is it"

    completion = answers(running, "/v1/completions")["c"]
    assert [choice["text"] for choice in completion["choices"]] == ["a b", "c"]
    embedding = answers(running, "/v1/embeddings")["e"]
    assert len(CreateEmbeddingResponse.model_validate(embedding).data[1].embedding) == 8
    response = answers(running, "/v1/responses")["r"]
    assert Response.model_validate(response).output_text == "one two"
    assert [x["score"] for x in answers(running, "/v1/score")["s"]["data"]] == [
        1 / 3,
        1,
    ]
    ranked = answers(running, "/v1/rerank")["k"]["results"]
    assert [found["index"] for found in ranked] == [1, 0]

    counted = site.query(
        "SELECT endpoint, input_tokens, cached_tokens, output_tokens, reasoning_tokens"
        " FROM jobs_batch ORDER BY id"
    )
    by_endpoint = {row.pop("endpoint"): tuple(dict(row).values()) for row in counted}
    assert by_endpoint["/v1/responses"] == (3, 1, 2, 1)
    assert by_endpoint["/v1/embeddings"] == (2, 0, 0, 0)
    assert by_endpoint["/v1/rerank"] == (3, 0, 0, 0)
    reasons = site.query("SELECT finish_reason FROM jobs_result ORDER BY id")
    assert {row["finish_reason"] for row in reasons} == {
        *("tool_calls", "stop", "max_output_tokens", "")
    }
