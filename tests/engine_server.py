# SPDX-License-Identifier: Apache-2.0
"""A small real OpenAI-compatible server in its own process: the engine of the tests.

    python -m tests.engine_server --port 0 --served-model-name tiny

It starts, binds, loads and dies as vLLM does, and answers from the request alone. A
request's top-level field "test" asks for behaviour:

    delay: s                wait before anything else
    times: n, key: "k"      the faults below only for the first n requests of that key
    status: 503             that status; with retry_after: s and message: "…"
    hang: true              never answer
    disconnect: true        close the connection without an answer
    not_json: true          200 with a body that is no JSON
    kill: true | "/path"    SIGKILL itself; with a path only when that file did not exist
    size: n                 content of n bytes
    content: "…"            that content

GET /test/counts shows how many requests came by key, and in total.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

CONTEXT = 4096
JSON_TYPE = "application/json"


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
    started: int = field(default_factory=lambda: int(time.time()))
    running: int = 0
    most_running: int = 0
    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    by_key: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ids: itertools.count[int] = field(default_factory=itertools.count)


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


def chat(state: State, body: dict[str, Any]) -> dict[str, Any]:
    """/v1/chat/completions: echoes the last message."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refusal(400, "messages: Field required", "BadRequestError", "messages")
    prompt = sum(len(text_of(m.get("content")).split()) for m in messages)
    text = wanted_text(body, text_of(messages[-1].get("content")))
    text, tokens, reason = limited(text, output_limit(body))
    copies = int(body.get("n") or 1)
    return answer(
        state,
        body,
        prefix="chatcmpl",
        object_="chat.completion",
        choices=[
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": reason,
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
    """/v1/models."""
    return {
        "object": "list",
        "data": [
            {
                "id": name,
                "object": "model",
                "created": state.started,
                "owned_by": "vllm",
                "root": state.source,
                "parent": None,
                "max_model_len": CONTEXT,
            }
            for name in state.models
        ],
    }


def metrics(state: State) -> str:
    """/metrics: the names that vLLM gives to what Batchsite reads."""
    label = f'{{engine="0",model_name="{state.models[0]}"}}'
    values = {
        "num_requests_running": ("gauge", state.running),
        "num_requests_waiting": ("gauge", 0),
        "kv_cache_usage_perc": ("gauge", min(1.0, state.running / 256)),
        "prefix_cache_queries_total": ("counter", state.prompt_tokens),
        "prefix_cache_hits_total": ("counter", state.prompt_tokens // 2),
        "prompt_tokens_total": ("counter", state.prompt_tokens),
        "generation_tokens_total": ("counter", state.output_tokens),
    }
    return "".join(
        f"# HELP vllm:{name} Of the test engine.\n# TYPE vllm:{name} {kind}\n"
        f"vllm:{name}{label} {float(value)}\n"
        for name, (kind, value) in values.items()
    )


def fault_is_due(state: State, test: dict[str, Any]) -> bool:
    """Whether the faults of "test" still apply: always, or for the first `times`."""
    if "times" not in test:
        return True
    key = str(test.get("key", ""))
    state.faults[key] += 1
    return state.faults[key] <= int(test["times"])


def kill_self(wish: Any) -> None:
    """SIGKILL this process; with a path as wish only when that file is not there."""
    if isinstance(wish, str):
        try:
            Path(wish).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


async def misbehave(
    state: State, request: web.BaseRequest, test: dict[str, Any]
) -> web.Response | None:
    """Do what "test" asks for; a response when it replaces the answer."""
    if test.get("delay"):
        await asyncio.sleep(float(test["delay"]))
    if not fault_is_due(state, test):
        return None
    if test.get("kill"):
        kill_self(test["kill"])
    if test.get("hang"):
        await asyncio.sleep(86_400)
    if test.get("disconnect"):
        if request.transport is not None:
            request.transport.abort()
        raise asyncio.CancelledError
    if test.get("not_json"):
        return web.Response(body=b"<html>not JSON</html>", content_type=JSON_TYPE)
    if status := test.get("status"):
        headers = (
            {"Retry-After": str(test["retry_after"])} if "retry_after" in test else {}
        )
        kind = "BadRequestError" if status < 500 else "InternalServerError"
        body = Refusal(status, test.get("message", "as asked"), kind).body
        return web.Response(
            status=status,
            body=orjson.dumps(body),
            content_type=JSON_TYPE,
            headers=headers,
        )
    return None


GENERATING = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/embeddings": embeddings,
    "/tokenize": tokenize,
}


async def generate(state: State, request: web.BaseRequest) -> web.Response:
    """Answer a POST."""
    try:
        body = orjson.loads(await request.content.read())
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"body is not JSON: {error}", "BadRequestError") from error
    if not isinstance(body, dict):
        raise Refusal(400, "body is not an object", "BadRequestError")
    state.requests += 1
    if test := body.get("test"):
        if "key" in test:
            state.by_key[str(test["key"])] += 1
        if (replaced := await misbehave(state, request, test)) is not None:
            return replaced
    if state.delay:
        await asyncio.sleep(state.delay)
    if body.get("model") not in state.models:
        raise Refusal(
            404,
            f"The model `{body.get('model')}` does not exist.",
            "NotFoundError",
            "model",
        )
    return json_response(GENERATING[request.path](state, body))


def json_response(body: Any) -> web.Response:
    """A 200 with a JSON body."""
    return web.Response(body=orjson.dumps(body), content_type=JSON_TYPE)


def show(state: State, path: str) -> web.Response:
    """Answer a GET."""
    if path == "/health":
        return web.Response()
    if path == "/metrics":
        return web.Response(text=metrics(state))
    bodies: dict[str, Any] = {
        "/version": {"version": "0.0.0+test"},
        "/v1/models": models(state),
        "/test/counts": {
            "keys": state.by_key,
            "requests": state.requests,
            "running": state.running,
            "most_running": state.most_running,
        },
    }
    if path not in bodies:
        raise Refusal(404, "Not Found", "NotFoundError")
    return json_response(bodies[path])


def check_key(state: State, request: web.BaseRequest) -> None:
    """Refuse a request under /v1 that does not carry the key the server asks for."""
    given = request.headers.get("Authorization", "")
    if (
        state.api_key
        and request.path.startswith("/v1")
        and given != f"Bearer {state.api_key}"
    ):
        raise Refusal(401, "Unauthorized", "AuthenticationError")


async def handle(state: State, request: web.BaseRequest) -> web.Response:
    """One request: route, count, answer."""
    try:
        check_key(state, request)
        if request.method == "GET":
            return show(state, request.path)
        if request.path not in GENERATING:
            raise Refusal(404, "Not Found", "NotFoundError")
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed", "BadRequestError")
        state.running += 1
        state.most_running = max(state.most_running, state.running)
        try:
            return await generate(state, request)
        finally:
            state.running -= 1
    except Refusal as refusal:
        return web.Response(
            status=refusal.status,
            body=orjson.dumps(refusal.body),
            content_type=JSON_TYPE,
        )


def bound_socket(options: argparse.Namespace) -> socket.socket:
    """Bind first, as vLLM does; OSError when the socket file exists already."""
    if options.uds:
        unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.bind(options.uds)
        return unix
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    tcp.bind((options.host, options.port))
    return tcp


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def core_process(wanted: bool) -> Iterator[None]:
    """A process that outlives a killed API server, as vLLM's EngineCore does."""
    core = subprocess.Popen(["sleep", "86400"]) if wanted else None
    try:
        yield
    finally:
        if core:
            core.kill()
            core.wait()


def load(options: argparse.Namespace) -> None:
    """Take as long as asked, and fail when asked."""
    end = time.monotonic() + options.load_seconds
    while (left := end - time.monotonic()) > 0:
        say(f"Loading weights of {options.model}: {left:.1f} s left")
        time.sleep(min(left, 0.5))
    if options.fail_load:
        sys.exit(f"RuntimeError: {options.fail_load}")


async def serve(options: argparse.Namespace, sock: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT."""
    state = State(
        models=options.served_model_name or [options.model],
        source=options.model,
        delay=options.delay,
        api_key=options.api_key,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await handle(state, request)

    runner = web.ServerRunner(
        web.Server(handler, access_log=None), shutdown_timeout=0.2
    )
    await runner.setup()
    await web.SockSite(runner, sock, backlog=4096).start()
    host, port = sock.getsockname()[:2] if not options.uds else ("", "")
    where = f"unix:{options.uds}" if options.uds else f"http://{host}:{port}"
    say(f"listening on {where}")
    await stop.wait()
    if options.ignore_sigterm:
        await asyncio.Event().wait()
    await runner.cleanup()


def parse(arguments: list[str]) -> argparse.Namespace:
    """This server's arguments; those that only vLLM knows are ignored."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model", default="test-model")
    parser.add_argument("--served-model-name", nargs="+", default=[])
    parser.add_argument("--uds", default="")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per request")
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument(
        "--fail-load", default="", help="fail to load with this message"
    )
    parser.add_argument(
        "--with-core", action="store_true", help="start a child process"
    )
    parser.add_argument("--ignore-sigterm", action="store_true")
    return parser.parse_known_args(arguments)[0]


def main() -> None:
    """Bind, load, serve."""
    options = parse(sys.argv[1:])
    try:
        sock = bound_socket(options)
    except OSError as error:
        sys.exit(f"cannot bind {options.uds or options.port}: {error}")
    # While loading, SIGTERM ends the process as it ends vLLM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with core_process(options.with_core), contextlib.suppress(KeyboardInterrupt):
        load(options)
        asyncio.run(serve(options, sock))


if __name__ == "__main__":
    main()
