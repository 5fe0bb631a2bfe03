# SPDX-License-Identifier: Apache-2.0
"""What the client makes of sites that are away, busy, or none at all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from batchsite.cli import watching
from batchsite.cli.api import Api, path_of, pause
from batchsite.cli.config import Access
from batchsite.cli.problems import Problem, Refused, Unreachable
from tests.postgres import free_port

ENVELOPE = {"error": {"message": "Slow down.", "type": "requests", "code": "x"}}


@dataclass
class Scripted:
    """A server that gives these answers in turn; None hangs up instead."""

    url: str = ""
    answers: list[tuple[int, dict[str, str], Any] | None] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Scripted]:
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.seen.append((self.command, self.path, dict(self.headers), body))
            given = script.answers.pop(0)
            if given is None:
                self.close_connection = True
                return
            status, headers, content = given
            data = (
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        script.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        yield script
        http.shutdown()
        thread.join()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What people are told; nobody sleeps."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return []


@pytest.fixture
def api(server: Scripted, said: list[str]) -> Iterator[Api]:
    with closing(Api(Access(server.url, "sk-1"), say=said.append)) as made:
        yield made


def test_a_call_carries_the_key_and_the_query(server: Scripted, api: Api) -> None:
    server.answers = [(200, {}, {"data": 1})]
    assert api.get("batches", limit=5, after="a b") == {"data": 1}
    method, path, headers, _ = server.seen[0]
    assert (method, path) == ("GET", "/v1/batches?limit=5&after=a+b")
    assert headers["Authorization"] == "Bearer sk-1"


def test_a_busy_site_is_asked_again_when_it_says(
    server: Scripted, api: Api, said: list[str]
) -> None:
    server.answers = [
        (429, {"Retry-After": "7"}, ENVELOPE),
        (503, {}, b"<html>proxy</html>"),
        (200, {}, {"ok": 1}),
    ]
    assert api.get("models") == {"ok": 1}
    assert said[0].startswith("The site says: Slow down. Trying again in ")
    assert len(said) == 2
    assert 7 <= pause(1, {"Retry-After": "7"}) <= 9
    assert pause(1, {"Retry-After": "9999"}) <= 75
    assert pause(3) >= 4


def test_a_call_is_repeated_only_where_that_is_harmless(
    server: Scripted, api: Api
) -> None:
    server.answers = [None, (200, {}, {"id": "1"})]
    with pytest.raises(Unreachable, match="closed connection without response"):
        api.post("batches/x/retry", {})
    assert api.post("batches", {"a": 1}, idempotency_key="k") == {"id": "1"}
    server.answers = [(200, {}, {"id": "1"}), None, (200, {}, {"id": "2"})]
    api.get("models")
    assert api.post("batches", {"a": 1}, idempotency_key="k") == {"id": "2"}
    assert [h.get("Idempotency-Key") for _, _, h, _ in server.seen[-2:]] == ["k", "k"]


def test_a_full_disk_is_not_asked_again(server: Scripted, api: Api) -> None:
    server.answers = [(503, {"x-should-retry": "false"}, ENVELOPE)]
    with pytest.raises(Refused, match="Slow down") as caught:
        api.get("models")
    assert (caught.value.status, caught.value.code) == (503, "x")


def test_five_tries_are_enough(server: Scripted, api: Api, said: list[str]) -> None:
    server.answers = [(502, {}, b"bad gateway")] * 5
    with pytest.raises(Unreachable, match="status 502, and not as Batchsite does"):
        api.get("models")
    assert len(said) == 4
    assert server.answers == []


def test_a_wrong_key_says_how_to_sign_in(server: Scripted, api: Api) -> None:
    server.answers = [(401, {}, ENVELOPE)]
    with pytest.raises(Unreachable, match="does not accept this API key"):
        api.get("models")


def test_no_redirect_gets_the_key(server: Scripted, api: Api) -> None:
    server.answers = [(301, {"Location": "https://elsewhere.example.com/"}, b"")]
    with pytest.raises(Unreachable, match=r"to https://elsewhere\.example\.com/"):
        api.get("models")
    assert len(server.seen) == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff"])
def test_an_answer_of_something_else_is_told_apart(
    server: Scripted, api: Api, content: bytes
) -> None:
    server.answers = [(200, {}, content)]
    with pytest.raises(Unreachable, match="not Batchsite's"):
        api.get("models")


def test_nobody_at_the_address(said: list[str]) -> None:
    api = Api(Access(f"http://127.0.0.1:{free_port()}", "k"), say=said.append)
    with pytest.raises(Unreachable, match=r"cannot be reached: Connection refused\.$"):
        api.post("batches", {})
    assert len(said) == 1


def test_an_answer_that_breaks_off_is_an_error(server: Scripted, api: Api) -> None:
    server.answers = [(200, {"Content-Length": "50"}, b"half")]
    with (
        api.stream("files/x/content") as (_, pieces),
        pytest.raises(Unreachable, match="4 bytes read, 46 more expected"),
    ):
        list(pieces)


def batch(status: str) -> tuple[int, dict[str, str], Any]:
    return 200, {}, {"id": "batch_1", "status": status}


def test_watching_outlasts_a_restart(server: Scripted, api: Api) -> None:
    seen: list[str] = []
    server.answers = [
        batch("in_progress"),
        *[None] * 6,
        (500, {}, ENVELOPE),
        *[(502, {}, b"bad gateway")] * 5,
        batch("completed"),
    ]
    found = watching.follow(api, "batch_1", lambda batch: seen.append(batch["status"]))
    assert found["status"] == "completed"
    assert seen == ["in_progress", "completed"]


@pytest.mark.parametrize("status", [401, 404])
def test_watching_ends_when_the_site_says_no(
    server: Scripted, api: Api, status: int
) -> None:
    server.answers = [batch("in_progress"), (status, {}, ENVELOPE)]
    with pytest.raises(Problem):
        watching.follow(api, "batch_1", lambda batch: None)


def test_watching_begins_with_a_site_that_answers(
    said: list[str],
) -> None:
    api = Api(Access(f"http://127.0.0.1:{free_port()}", "k"), say=said.append)
    with pytest.raises(Unreachable):
        watching.follow(api, "batch_1", lambda batch: None)
    assert len(said) == 1


def test_a_form_tells_how_far_it_is(server: Scripted, api: Api) -> None:
    server.answers = [None, (200, {}, {"id": "1"})]
    told: list[int] = []
    data = bytes(200_000)
    api._known = True
    api.post_form(
        "files",
        {"purpose": "batch"},
        file=("file", 'a"\r\nb.jsonl', data),
        told=told.append,
        repeat=True,
    )
    assert told.count(0) >= 2
    assert told[-1] == len(data)
    body = server.seen[-1][3]
    assert data in body
    assert b'name="purpose"\r\n\r\nbatch\r\n' in body
    assert b'filename="a%22%0D%0Ab.jsonl"' in body


@pytest.mark.parametrize("given", ["../files", "a/b", "", "a?b", "x" * 201])
def test_an_id_cannot_name_another_path(given: str) -> None:
    with pytest.raises(Problem, match="is no id"):
        path_of("batches", given)


def test_a_proxy_of_the_environment_is_used(
    server: Scripted, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [(200, {}, {"ok": 1})]
    proxy = server.url.replace("http://", "http://ann:p%40ss@")
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with closing(Api(Access("http://site.example.com", "k"), say=said.append)) as api:
        assert api.get("models") == {"ok": 1}
    _, path, headers, _ = server.seen[0]
    assert path == "http://site.example.com/v1/models"
    assert headers["proxy-authorization"] == "Basic YW5uOnBAc3M="
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.answers = [(200, {}, {"ok": 2})]
    with closing(Api(Access(server.url, "k"), say=said.append)) as api:
        assert api.get("models") == {"ok": 2}
    assert server.seen[-1][1] == "/v1/models"
