# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from jobs.webhooks import check_address, sending
from jobs.webhooks.answer import Answer
from tests.webhook_receiver import BIG, Receiver


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["127.0.0.1"]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Less than a second for receivers that would take the whole time anyhow."""
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.7)
    yield


def send(url: str, body: bytes = b"{}") -> Answer:
    return asyncio.run(sending.post(url, {"webhook-id": "msg_1"}, body))


def test_the_exact_bytes_and_headers_arrive(receiver: Receiver) -> None:
    body = '{"n": "ü \\u0000"}'.encode()
    answer = send(receiver.url("/ok?a=1"), body)
    assert (answer.status, answer.text, answer.error) == (200, "thank you", "")
    assert answer.accepted
    (got,) = receiver.got
    assert (got.path, got.body) == ("/ok?a=1", body)
    assert got.headers["webhook-id"] == "msg_1"
    assert "cookie" not in got.headers


@pytest.mark.parametrize("status", [201, 204, 299])
def test_each_2xx_is_success(receiver: Receiver, status: int) -> None:
    assert send(receiver.url(f"/status/{status}")).accepted


@pytest.mark.parametrize("status", [304, 400, 404, 410, 500])
def test_everything_else_is_not(receiver: Receiver, status: int) -> None:
    answer = send(receiver.url(f"/status/{status}"))
    assert (answer.status, answer.accepted, answer.error) == (status, False, "")


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    answer = send(receiver.url("/redirect"))
    assert (answer.status, answer.accepted) == (302, False)
    assert [one.path for one in receiver.got] == ["/redirect"]


def test_a_long_answer_is_read_and_kept_in_part(receiver: Receiver) -> None:
    answer = send(receiver.url("/big"))
    assert (answer.status, answer.text) == (200, "x" * 2000)
    assert receiver.sent_bytes < BIG


def test_what_is_kept_can_be_stored(receiver: Receiver) -> None:
    assert send(receiver.url("/nul")).text == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("path", ["/reset", "/garbage"])
def test_no_http_answer_is_an_error_in_words(receiver: Receiver, path: str) -> None:
    answer = send(receiver.url(path))
    assert (answer.status, answer.accepted) == (None, False)
    assert answer.error
    assert "\0" not in answer.error


@pytest.mark.parametrize("path", ["/hang", "/deaf"])
@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_gives_no_status_is_given_up(
    receiver: Receiver, path: str
) -> None:
    answer = send(receiver.url(path))
    assert (answer.status, answer.error) == (None, "No answer within 0.7 s.")


@pytest.mark.usefixtures("impatient")
def test_a_dripping_body_is_cut_and_its_status_counts(receiver: Receiver) -> None:
    answer = send(receiver.url("/drip"))
    assert answer.status == 200
    assert answer.text.startswith("ab")


def test_nobody_listening_is_an_error_in_words() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = send(f"http://127.0.0.1:{taken.getsockname()[1]}/")
    assert answer.status is None
    assert "ConnectorError" in answer.error


def test_the_receivers_wish_to_wait_is_read(receiver: Receiver) -> None:
    assert send(receiver.url("/later")).retry_after == 7
    assert send(receiver.url("/status/500")).retry_after is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{port}/ok",
        "http://[::1]:{port}/ok",
        "http://[::ffff:127.0.0.2]:{port}/ok",
        "http://0.0.0.0:{port}/ok",
        "http://2130706434:{port}/ok",
        "http://localhost:{port}/ok",
        "ftp://127.0.0.1:{port}/ok",
    ],
)
def test_other_addresses_are_refused_when_sending(receiver: Receiver, url: str) -> None:
    answer = send(url.format(port=receiver.port))
    assert (answer.status, answer.accepted) == (None, False)
    assert answer.error
    assert receiver.got == []


def test_a_name_that_was_moved_since_the_check_leads_nowhere(
    receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = []
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1"])

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        here = (next(answers), receiver.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", here)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    check_address("http://hooks.example.com/ok")
    answer = send("http://hooks.example.com/ok")
    assert answer.error == (
        "hooks.example.com leads to 127.0.0.1, a loopback address; nothing was sent."
    )
    assert receiver.got == []
    # The operator's word opens it.
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["hooks.example.com"]
    assert send(f"http://hooks.example.com:{receiver.port}/ok").accepted


def test_a_name_that_is_unknown_is_an_error_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    answer = send("http://hooks.example.com/ok")
    assert "hooks.example.com was not found" in answer.error


def test_the_environments_proxy_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert send(receiver.url()).accepted


def test_a_certificate_that_nobody_vouches_for_is_refused(
    receiver: Receiver, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks"
        f" -addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}"
    )
    subprocess.run(
        shlex.split(command),
        check=True,
        capture_output=True,
    )
    receiver.speak_tls(str(certificate), str(key))
    answer = send(receiver.url(scheme="https"))
    assert answer.status is None
    assert "Certificate" in answer.error
    assert receiver.got == []


def test_slow_receivers_hold_up_nobody(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 300)
    with sending.sender() as post:
        slow = [post(receiver.url("/hang"), {}, b"{}") for _ in range(8)]
        assert post(receiver.url("/ok"), {}, b"{}").result(60).accepted
        assert not any(one.done() for one in slow)
    # Leaving cuts off what is under way.
    assert all(one.cancelled() for one in slow)
