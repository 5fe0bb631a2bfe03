# SPDX-License-Identifier: Apache-2.0
"""What the test engine answers: OpenAI's bodies, made from the request alone."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.engine_journal import Journal, What

CONTEXT = 4096


class Refusal(Exception):
    """An answer with an error status and OpenAI's error body."""

    def __init__(
        self, status: int, message: str, kind: str, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"message": message, "type": kind, "param": param, "code": status}
        }


@dataclass
class State:
    """What the server was started with and what it has seen."""

    models: list[str]
    source: str
    delay: float
    api_key: str
    lora_rank: int = 0
    adapters: dict[str, str] = field(default_factory=dict)
    limit: int = 0
    started: int = field(default_factory=lambda: int(time.time()))
    running: int = 0
    finished: int = 0
    # The running requests that /metrics tells of since the core stands still.
    hung_at: int | None = None
    most_running: int = 0
    refused: int = 0
    aborted: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    by_key: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ids: itertools.count[int] = field(default_factory=itertools.count)
    journal: Journal | None = None

    def note(self, what: What, key: str) -> None:
        """A line of the journal, where one is kept."""
        if self.journal is not None:
            self.journal.note(what, key)


def text_of(content: Any) -> str:
    """The text of a message's content, a string or a list of parts."""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return "" if content is None else str(content)


def limited(text: str, limit: int | None) -> tuple[str, int, str]:
    """Cut to `limit` words, which are this server's tokens: text, tokens, finish reason."""
    words = text.split()
    if limit is not None and len(words) > limit:
        return " ".join(words[:limit]), limit, "length"
    return text, len(words) + 1, "stop"


def output_limit(body: dict[str, Any]) -> int | None:
    """The request's limit of output tokens; Refusal when it is over the context."""
    limit = body.get("max_completion_tokens", body.get("max_tokens"))
    if limit is None:
        return None
    if not isinstance(limit, int) or limit < 1:
        raise Refusal(
            400, f"max_tokens must be at least 1, got {limit}.", "BadRequestError"
        )
    if limit > CONTEXT:
        raise Refusal(
            400,
            f"'max_tokens' or 'max_completion_tokens' is too large: {limit}. This"
            f" model's maximum context length is {CONTEXT} tokens. (parameter="
            f"max_tokens, value={limit})",
            "BadRequestError",
            "max_tokens",
        )
    return limit


def wanted_text(body: dict[str, Any], echo: str) -> str:
    """What the answer says: the echo unless the request asks for something else."""
    test = body.get("test") or {}
    if "size" in test:
        return "x" * int(test["size"])
    if "content" in test:
        return str(test["content"])
    kind = (body.get("response_format") or {}).get("type", "text")
    return echo if kind == "text" else orjson.dumps({"answer": echo}).decode()


def usage(prompt: int, output: int) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def message_of(body: dict[str, Any], text: str) -> tuple[dict[str, Any], str]:
    """The answer's message and why it ended; a call of the first tool when one is given."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if not body.get("tools") or body.get("tool_choice") == "none":
        return message, ""
    name = body["tools"][0]["function"]["name"]
    call = {"name": name, "arguments": orjson.dumps({"said": text}).decode()}
    message |= {
        "content": None,
        "tool_calls": [{"id": "call-1", "type": "function", "function": call}],
    }
    return message, "tool_calls"


def logprobs_of(body: dict[str, Any], text: str) -> dict[str, Any] | None:
    """One entry a word, when the request asks for them."""
    if not body.get("logprobs"):
        return None
    return {
        "content": [
            {"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []}
            for word in text.split()
        ],
        "refusal": None,
    }


def chat(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/chat/completions: echoes the last message, calls the first tool."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "messages: Field required", "BadRequestError", "messages")
    prompt = sum(len(text_of(m.get("content")).split()) for m in messages)
    text = wanted_text(body, text_of(messages[-1].get("content")))
    text, tokens, reason = limited(text, output_limit(body))
    copies = int(body.get("n") or 1)
    message, called = message_of(body, text)
    return answer(
        state,
        body,
        prefix="chatcmpl",
        object_="chat.completion",
        choices=[
            {
                "index": index,
                "message": message,
                "logprobs": logprobs_of(body, text),
                "finish_reason": called or reason,
            }
            for index in range(copies)
        ],
        tokens=(prompt, tokens * copies),
    )


def completion(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/completions: echoes each prompt."""
    prompts = body.get("prompt")
    if prompts is None:
        raise Refusal(400, "prompt: Field required", "BadRequestError", "prompt")
    limit = output_limit(body) or 16
    choices: list[dict[str, Any]] = []
    read = written = 0
    for prompt in prompts if isinstance(prompts, list) else [prompts]:
        text, tokens, reason = limited(wanted_text(body, str(prompt)), limit)
        read, written = read + len(str(prompt).split()), written + tokens
        choices.append(
            {
                "index": len(choices),
                "text": text,
                "logprobs": None,
                "finish_reason": reason,
            }
        )
    return answer(
        state,
        body,
        prefix="cmpl",
        object_="text_completion",
        choices=choices,
        tokens=(read, written),
    )


def answer(
    state: State,
    body: dict[str, Any],
    *,
    prefix: str,
    object_: str,
    choices: list[dict[str, Any]],
    tokens: tuple[int, int],
) -> dict[str, Any]:
    """The envelope of a generated answer; counts its tokens."""
    state.prompt_tokens += tokens[0]
    state.output_tokens += tokens[1]
    return {
        "id": f"{prefix}-{next(state.ids):08x}",
        "object": object_,
        "created": int(time.time()),
        "model": body["model"],
        "choices": choices,
        "usage": usage(*tokens),
    }


def embeddings(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/embeddings: eight numbers that depend on the input's bytes."""
    given = body.get("input")
    if given is None:
        raise Refusal(400, "input: Field required", "BadRequestError", "input")
    texts = [str(text) for text in given] if isinstance(given, list) else [str(given)]
    tokens = sum(len(text.split()) for text in texts)
    state.prompt_tokens += tokens
    return {
        "id": f"embd-{next(state.ids):08x}",
        "object": "list",
        "created": int(time.time()),
        "model": body["model"],
        "data": [
            {
                "index": index,
                "object": "embedding",
                "embedding": [
                    sum(text.encode()[start::8]) % 1000 / 1000 for start in range(8)
                ],
            }
            for index, text in enumerate(texts)
        ],
        "usage": usage(tokens, 0),
    }


def responses(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/responses: echoes the input; cut at max_output_tokens it is incomplete."""
    given = body.get("input")
    if not given:
        raise Refusal(400, "input: Field required", "BadRequestError", "input")
    said = given if isinstance(given, str) else text_of(given[-1].get("content"))
    text, tokens, reason = limited(said, body.get("max_output_tokens"))
    read = len(said.split())
    state.prompt_tokens += read
    state.output_tokens += tokens
    whole = reason == "stop"
    part: dict[str, Any] = {
        "type": "output_text",
        "text": text,
        "annotations": [],
        "logprobs": None,
    }
    return {
        "id": f"resp_{next(state.ids):08x}",
        "object": "response",
        "created_at": int(time.time()),
        "model": body["model"],
        "parallel_tool_calls": True,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "status": "completed" if whole else "incomplete",
        "incomplete_details": None if whole else {"reason": "max_output_tokens"},
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        ],
        "usage": {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": read + tokens,
        },
    }


def common_words(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1: the share of words that both have."""
    mine, theirs = set(one.split()), set(other.split())
    return len(mine & theirs) / max(1, len(mine | theirs))


def pair_usage(state: State, texts: list[str]) -> dict[str, Any]:
    """The usage of endpoints that read and write nothing, as vLLM gives it."""
    tokens = sum(len(text.split()) for text in texts)
    state.prompt_tokens += tokens
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def score(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/score: the likeness of a text to each of several, in vLLM's two spellings."""
    one = body.get("text_1", body.get("queries"))
    others = body.get("text_2", body.get("documents"))
    if not isinstance(one, str) or not others:
        raise Refusal(400, "text_1 and text_2: Field required", "BadRequestError")
    texts = [others] if isinstance(others, str) else list(others)
    return {
        "id": f"score-{next(state.ids):08x}",
        "object": "list",
        "created": int(time.time()),
        "model": body["model"],
        "data": [
            {"index": index, "object": "score", "score": common_words(one, text)}
            for index, text in enumerate(texts)
        ],
        "usage": pair_usage(state, [one, *texts]),
    }


def rerank(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/rerank: the documents, the most alike to the query first."""
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list):
        raise Refusal(400, "query and documents: Field required", "BadRequestError")
    results: list[dict[str, Any]] = [
        {
            "index": index,
            "document": {"text": text},
            "relevance_score": common_words(query, text),
        }
        for index, text in enumerate(documents)
    ]
    results.sort(key=lambda found: -found["relevance_score"])
    return {
        "id": f"rerank-{next(state.ids):08x}",
        "model": body["model"],
        "results": results,
        "usage": pair_usage(state, [query, *documents]),
    }


def tokenize(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/tokenize: one token for each word."""
    text = body.get("prompt") or " ".join(
        text_of(message.get("content")) for message in body.get("messages") or []
    )
    words = str(text).split()
    return {
        "count": len(words),
        "max_model_len": CONTEXT,
        "tokens": [sum(word.encode()) for word in words],
        "token_strs": None,
    }


def models(state: State) -> dict[str, Any]:
    """/v1/models: the served names, then the adapters."""
    known: list[tuple[str, str, str | None]] = [
        *((name, state.source, None) for name in state.models),
        *((name, path, state.models[0]) for name, path in state.adapters.items()),
    ]
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": state.started,
                "owned_by": "vllm",
                "root": root,
                "parent": parent,
                "max_model_len": None if parent else CONTEXT,
            }
            for name, root, parent in known
        ],
    }


def metrics(state: State) -> str:
    """/metrics: the names that vLLM gives to what Batchsite reads."""
    running = state.running if state.hung_at is None else state.hung_at
    label = f'{{engine="0",model_name="{state.models[0]}"}}'
    values = {
        "num_requests_running": ("gauge", running),
        "num_requests_waiting": ("gauge", 0),
        "kv_cache_usage_perc": ("gauge", min(1.0, running / 256)),
        "prefix_cache_queries_total": ("counter", state.prompt_tokens),
        "prefix_cache_hits_total": ("counter", state.prompt_tokens // 2),
        "prompt_tokens_total": ("counter", state.prompt_tokens),
        "generation_tokens_total": ("counter", state.output_tokens),
        "request_success_total": ("counter", state.finished),
    }
    return "".join(
        f"# HELP vllm:{name} Of the test engine.\n# TYPE vllm:{name} {kind}\n"
        f"vllm:{name}{label} {float(value)}\n"
        for name, (kind, value) in values.items()
    )


GENERATING = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/embeddings": embeddings,
    "/v1/responses": responses,
    "/v1/score": score,
    "/v1/rerank": rerank,
    "/tokenize": tokenize,
}
