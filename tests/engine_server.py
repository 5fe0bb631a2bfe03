# SPDX-License-Identifier: Apache-2.0
"""A small real OpenAI-compatible server in its own process: the engine of the tests.

    python -m tests.engine_server --port 0 --served-model-name tiny

It starts, binds, loads and dies as vLLM does, and answers from the request alone. A
request's top-level field "test" asks for behaviour:

    delay: s                wait before anything else
    times: n, key: "k"      the faults below only for the first n requests of that key
    status: 503             that status; with retry_after: s and message: "…"
    hang: true              never answer
    hang_core: true         no request is answered any more; /health and /metrics are
    disconnect: true        close the connection without an answer
    not_json: true          200 with a body that is no JSON
    kill: true | "/path"    SIGKILL itself; with a path only when that file did not exist
    size: n                 content of n bytes
    content: "…"            that content
    show_request: true      the request's text as it came, as "received" of the answer

GET /test/counts shows how many requests came by key, and in total, how many run, how
many were refused (--most-running), and how many clients went away before their answer:
such a request ends at once, as vLLM aborts it. --journal FILE keeps what a killed server
knew: a line when a request with a key comes, one when its answer goes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from tests.engine_adapters import kill_self, load_adapter
from tests.engine_answers import GENERATING, Refusal, State, metrics, models
from tests.engine_journal import Journal

JSON_TYPE = "application/json"
LOAD_ADAPTER = "/v1/load_lora_adapter"


def fault_is_due(state: State, test: dict[str, Any]) -> bool:
    """Whether the faults of "test" still apply: always, or for the first `times`."""
    if "times" not in test:
        return True
    key = str(test.get("key", ""))
    state.faults[key] += 1
    return state.faults[key] <= int(test["times"])


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
    if test.get("hang_core") and state.hung_at is None:
        state.hung_at = state.running
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


def parsed(received: bytes) -> dict[str, Any]:
    """The object in a request's body; Refusal for anything else."""
    try:
        body = orjson.loads(received)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"body is not JSON: {error}", "BadRequestError") from error
    if not isinstance(body, dict):
        raise Refusal(400, "body is not an object", "BadRequestError")
    return body


async def generate(state: State, request: web.BaseRequest) -> web.Response:
    """Answer a POST."""
    received = await request.content.read()
    body = parsed(received)
    if request.path == LOAD_ADAPTER:
        return web.Response(text=await load_adapter(state, body))
    state.requests += 1
    if test := body.get("test"):
        if "key" in test:
            state.by_key[str(test["key"])] += 1
            state.note("asked", str(test["key"]))
        if (replaced := await misbehave(state, request, test)) is not None:
            return replaced
    if state.delay:
        await asyncio.sleep(state.delay)
    if state.hung_at is not None:
        await asyncio.sleep(86_400)
    if body.get("model") not in {*state.models, *state.adapters}:
        raise Refusal(
            404,
            f"The model `{body.get('model')}` does not exist.",
            "NotFoundError",
            "model",
        )
    made = GENERATING[request.path](state, body)
    state.finished += 1
    if test and test.get("show_request"):
        made["received"] = received.decode()
    if test and "key" in test:
        state.note("answered", str(test["key"]))
    return json_response(made)


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
            "refused": state.refused,
            "aborted": state.aborted,
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
        if request.path not in {*GENERATING, LOAD_ADAPTER}:
            raise Refusal(404, "Not Found", "NotFoundError")
        if request.method != "POST":
            raise Refusal(405, "Method Not Allowed", "BadRequestError")
        if state.limit and state.running >= state.limit:
            state.refused += 1
            raise Refusal(503, "too many requests are running", "ServiceUnavailable")
        state.running += 1
        state.most_running = max(state.most_running, state.running)
        try:
            return await generate(state, request)
        except asyncio.CancelledError:
            state.aborted += 1
            raise
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
    """Print a line at once; a log that takes no more is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def core_process(wanted: bool) -> Iterator[None]:
    """A process that outlives a killed API server, as vLLM's EngineCore does.

    The server does not outlive it.
    """
    if not wanted:
        yield
        return
    core = subprocess.Popen(["sleep", "86400"])
    ending = threading.Event()

    def follow() -> None:
        core.wait()
        if not ending.is_set():
            say("EngineCore died unexpectedly")
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        ending.set()
        core.kill()
        core.wait()


def load(options: argparse.Namespace) -> None:
    """Take as long as asked, and fail when asked."""
    end = time.monotonic() + options.load_seconds
    while (left := end - time.monotonic()) > 0:
        say(f"Loading weights of {options.model}: {left:.1f} s left")
        time.sleep(min(left, 0.5))
    if options.fail_lora and options.enable_lora:
        sys.exit(f"RuntimeError: {options.fail_lora}")
    if options.fail_load:
        sys.exit(f"RuntimeError: {options.fail_load}")


async def serve(options: argparse.Namespace, sock: socket.socket) -> None:
    """Answer until SIGTERM or SIGINT."""
    state = State(
        models=options.served_model_name or [options.model],
        source=options.model,
        delay=options.delay,
        api_key=options.api_key,
        lora_rank=options.max_lora_rank if options.enable_lora else 0,
        limit=options.most_running,
        journal=Journal(options.journal) if options.journal else None,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await handle(state, request)

    runner = web.ServerRunner(
        web.Server(handler, access_log=None, handler_cancellation=True),
        shutdown_timeout=0.2,
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
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--max-lora-rank", type=int, default=16)
    parser.add_argument(
        "--most-running",
        type=int,
        default=0,
        help="answer 503 to requests beside so many others",
    )
    parser.add_argument("--load-seconds", type=float, default=0.0)
    parser.add_argument(
        "--fail-load", default="", help="fail to load with this message"
    )
    parser.add_argument(
        "--fail-lora", default="", help="fail to load with --enable-lora"
    )
    parser.add_argument(
        "--with-core", action="store_true", help="start a child process"
    )
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--journal", default="", help="append each request here")
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
