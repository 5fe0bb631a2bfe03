# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from pytest_django import Settings

from jobs.webhooks import AddressError, addresses, check_address
from jobs.webhooks.checks import allowed_addresses


def answer_lookups(monkeypatch: pytest.MonkeyPatch, *found: str | OSError) -> None:
    """Let the name service answer with these addresses or that error."""

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        if isinstance(found[0], OSError):
            raise found[0]
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "url",
    [
        "https://93.184.215.14/hook",
        "http://93.184.215.14:8080/hook?x=1",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        # An IPv4 address behind a NAT64 translator, or mapped, is what it stands for.
        "https://[64:ff9b::5db8:d70e]/",
        "https://[::ffff:93.184.215.14]/",
    ],
)
def test_public_addresses_are_taken(url: str) -> None:
    check_address(url)


@pytest.mark.parametrize(
    "host",
    [
        # loopback, in every spelling
        "127.0.0.1",
        "127.9.9.9",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001::7f00:1]",
        "[::7f00:1]",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        # nobody, everybody
        "0",
        "0.0.0.0",
        "0.1.2.3",
        "[::]",
        "[::ffff:0:0]",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
        "240.0.0.1",
        # neighbours
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "192.0.2.1",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fec0::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[100::1]",
        "[4000::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "[2002:5db8:d70e::1]",
        "192.88.99.1",
        # metadata
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "0xa9fea9fe",
    ],
)
def test_addresses_of_this_host_and_its_neighbours_are_refused(host: str) -> None:
    with pytest.raises(AddressError):
        check_address(f"http://{host}/hook")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must start"),
        ("ftp://93.184.215.14/", "must start"),
        ("file:///etc/passwd", "must start"),
        ("//93.184.215.14/", "must start"),
        ("93.184.215.14", "must start"),
        ("javascript:alert(1)", "must start"),
        ("https://93.184.215.14/#top", "fragment"),
        ("https://me:secret@93.184.215.14/", "user name"),
        ("https://me@93.184.215.14/", "user name"),
        ("https://@93.184.215.14/", "user name"),
        ("https://93.184.215.14:0/", "not a port"),
        ("https://93.184.215.14:65536/", "not a URL"),
        ("https://93.184.215.14:http/", "not a URL"),
        ("https://93.184.215.14:22/", "Port 22"),
        ("https://93.184.215.14:25/", "Port 25"),
        ("https:///hook", "names no host"),
        ("https://./hook", "names no host"),
        ("https://[::1", "not a URL"),
        ("https://a\\b/", "characters"),
        ("https://93.184.215.14/a b", "characters"),
        ("https://93.184.215.14/\r\nX-Evil: 1", "characters"),
        ("https://93.184.215.14/\x00", "characters"),
        ("https://93.184.215.14/\ud800", "characters"),
        ("https://%31%32%37.0.0.1/", "not a host name"),
        ("https://93.184.215.14/" + "a" * 500, "longer than"),
    ],
)
def test_an_odd_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        check_address(url)


def test_an_at_sign_in_the_path_is_no_user_name() -> None:
    check_address("https://93.184.215.14/@me?to=a@b.example")


def test_a_name_is_judged_by_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_lookups(monkeypatch, "93.184.215.14", "2606:2800::1")
    check_address("https://hooks.example.com/")
    answer_lookups(monkeypatch, "93.184.215.14", "10.0.0.1")
    with pytest.raises(AddressError, match=r"hooks\.example\.com \(10\.0\.0\.1\)"):
        check_address("https://hooks.example.com/")
    answer_lookups(monkeypatch, "fe80::1%2")
    with pytest.raises(AddressError, match="link-local"):
        check_address("https://hooks.example.com/")


def test_a_name_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_lookups(monkeypatch, socket.gaierror(socket.EAI_NONAME, "unknown"))
    with pytest.raises(AddressError, match=r"no host hooks\.example\.com"):
        check_address("https://hooks.example.com/")


def test_a_name_service_that_is_down_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer_lookups(monkeypatch, socket.gaierror(socket.EAI_AGAIN, "try again"))
    check_address("https://hooks.example.com/")


def test_the_operator_lists_names_and_networks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = [
        "Hooks.Internal.",
        "localhost",
        "10.1.0.0/16",
        "127.0.0.1",
        "fd00::/8",
    ]
    answer_lookups(monkeypatch, OSError("is not asked"))
    for host in ("hooks.internal", "hooks.internal.", "localhost", "10.1.2.3"):
        check_address(f"http://{host}:8025/")
        with pytest.raises(AddressError, match="Port 25 is not allowed"):
            check_address(f"http://{host}:25/")
    for host in ("127.0.0.1", "[::ffff:10.1.2.3]", "[fd12::1]"):
        check_address(f"http://{host}:8080/")
    # Their neighbours stay closed.
    for host in ("10.2.0.1", "127.0.0.2", "[::1]", "127.1", "x.localhost"):
        with pytest.raises(AddressError):
            check_address(f"http://{host}/")
    answer_lookups(monkeypatch, "10.1.9.9")
    check_address("http://other.example/")


def test_a_listed_port_is_open_on_its_host_alone(settings: Settings) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["localhost:25", "10.1.0.1:8025"]
    check_address("http://localhost:25/")
    check_address("http://10.1.0.1:8025/")
    for other in ("localhost", "localhost:8025", "10.1.0.1", "10.1.0.2:8025"):
        with pytest.raises(AddressError):
            check_address(f"http://{other}/")


def test_the_list_opens_no_odd_url(settings: Settings) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["hooks.internal"]
    for url in ("ftp://hooks.internal/", "http://a@hooks.internal/"):
        with pytest.raises(AddressError):
            check_address(url)


def test_lookups_that_hang_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, end = threading.Event(), threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        end.wait(60)
        return []

    monkeypatch.setattr(addresses, "LOOKUP_SECONDS", 0.01)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        check_address("https://hooks.example.com/")
        assert asked.wait(20)
    finally:
        end.set()


def test_lookups_that_hang_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    end, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any, **__: Any) -> list[Any]:
        asked.release()
        end.wait(60)
        return []

    monkeypatch.setattr(addresses, "LOOKUP_SECONDS", 0.01)
    monkeypatch.setattr(addresses, "_lookups", threading.BoundedSemaphore(2))
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        for _ in range(5):
            check_address("https://hooks.example.com/")
        assert asked.acquire(timeout=20)
        assert asked.acquire(timeout=20)
        assert not asked.acquire(timeout=0.1)
    finally:
        end.set()


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "10.0.0", "hooks:x", "*.internal", "http://a", ""]
)
def test_a_list_that_would_open_nothing_is_an_error(
    settings: Settings, entry: str
) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = [entry, "hooks.internal", "10.1.0.1/16", "::1"]
    (found,) = allowed_addresses()
    assert found.id == "jobs.E001"
    assert repr(entry) in found.msg
