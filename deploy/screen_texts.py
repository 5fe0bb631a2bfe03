# SPDX-License-Identifier: Apache-2.0
"""What people ask on the site of `make screenshots`, and what engines answer."""

from __future__ import annotations

import json
from typing import Any

from jobs.models import Batch, BatchRequest, Result

LARGE = "qwen3-8b"
CHAT = "/v1/chat/completions"
# what, what it does, the tone of its review, and what its maker could mend
THINGS = [
    ("kettle", "boils quickly but hums", "mixed", "Fasten the lid."),
    ("desk lamp", "gives warm light", "positive", "Put the switch on the cable."),
    ("umbrella", "turned inside out", "negative", "Make the ribs stronger."),
    ("notebook", "has paper that ink loves", "positive", "Lengthen the elastic."),
    ("travel mug", "keeps coffee hot", "mixed", "Stop the leak when it lies down."),
    ("bicycle bell", "is heard by everybody", "positive", "Add a longer screw."),
    ("door mat", "slides on stone", "negative", "Give it a back of rubber."),
    ("alarm clock", "glows all night", "mixed", "Let the light be turned off."),
]
TOO_LONG = (
    "This model's maximum context length is 8192 tokens. However, your request has"
    " {n} input tokens. Please reduce the length of the input messages."
)
ERRORS: list[dict[str, Any]] = [
    {"message": TOO_LONG, "type": "BadRequestError", "code": 400},
    {"message": "response_format: unknown type 'yaml'.", "type": "BadRequestError"},
]


def _question(place: int) -> str:
    thing, does, *_ = THINGS[place % len(THINGS)]
    return (
        "Summarise this review in one sentence, name its tone, and list what to mend."
        f"\n\nReview {place + 1:,}: The {thing} {does}."
    )


def _body(place: int) -> dict[str, Any]:
    return {
        "model": LARGE,
        "messages": [
            {"role": "system", "content": "You write for people in a hurry."},
            {"role": "user", "content": _question(place)},
        ],
        "max_tokens": 400,
    }


def batch_file(rows: int) -> bytes:
    """A batch file."""
    lines = [
        {
            "custom_id": f"review-{place + 1:05}",
            "method": "POST",
            "url": CHAT,
            "body": _body(place),
        }
        for place in range(rows)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def request_of(batch: Batch, place: int) -> BatchRequest:
    return BatchRequest(
        batch=batch,
        index=place,
        line=place + 1,
        custom_id=f"review-{place + 1:05}",
        url=CHAT,
        model=batch.model,
        body=json.dumps(_body(place)),
        run_order=place,
    )


def answer(request: BatchRequest) -> Result:
    thing, does, tone, more = THINGS[request.index % len(THINGS)]
    cut = request.index % 13 == 5
    text = (
        f"The {thing} {does}.\n\n**Tone:** {tone}\n\n**To mend**\n\n"
        f"- {more}\n- Say in the manual how the {thing} is cleaned.\n\n"
        f"| part | score |\n|---|---|\n| quality | {5 - request.index % 3} of 5 |\n"
        f"| value | {4 - request.index % 2} of 5 |"
    )
    finish = "length" if cut else "stop"
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text[:90] if cut else text},
        "finish_reason": finish,
    }
    return Result(
        request=request,
        index=request.index,
        outcome="completed",
        status_code=200,
        finish_reason=finish,
        body=json.dumps({"object": "chat.completion", "choices": [choice]}),
        input_tokens=96 + request.index % 7,
        output_tokens=118 + 7 * (request.index % 9),
        latency_ms=1900 + 137 * (request.index % 11),
        attempts=1,
    )


def failure(request: BatchRequest) -> Result:
    error = ERRORS[int(request.index % 3 == 1)]
    message = error["message"].format(n=9000 + 37 * request.index)
    return Result(
        request=request,
        index=request.index,
        outcome="failed",
        status_code=400,
        body=json.dumps({"error": error | {"message": message}}),
        latency_ms=40 + request.index,
        attempts=1,
    )
