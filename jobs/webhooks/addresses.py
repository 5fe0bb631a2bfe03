# SPDX-License-Identifier: Apache-2.0
"""Which addresses webhooks may be sent to.

Whoever may name an address must not reach through it what only this host can reach:
itself, its neighbours, a cloud's metadata service. An address is checked when it is
stored and again when it is connected to, because a name can point elsewhere by then.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import threading
from dataclasses import dataclass
from typing import TypeAlias

from django.conf import settings
from yarl import URL

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# As the columns that store addresses.
MOST_CHARACTERS = 500
LOOKUP_SECONDS = 3.0
# A lookup that nobody answers keeps its thread for as long as the system likes.
LOOKUPS_AT_ONCE = 8
_lookups = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)
# The properties of Python's own address types, and what they are called in words.
CLOSED_KINDS = (
    ("is_unspecified", "the address of no host"),
    ("is_loopback", "a loopback address"),
    ("is_link_local", "a link-local address"),
    ("is_multicast", "a multicast address"),
    ("is_private", "a private address"),
    ("is_reserved", "a reserved address"),
)
# What Python calls public and is not for us. Sources: RFC 6890 (192.0.0.0/24), RFC 7526
# (6to4 relays), RFC 3056 (6to4), RFC 4380 (Teredo), RFC 9637 (documentation), and the
# address of Azure's metadata, which is the same in every network.
CLOSED_NETWORKS: tuple[tuple[Network, str], ...] = (
    (ipaddress.ip_network("168.63.129.16/32"), "a metadata address"),
    (ipaddress.ip_network("192.0.0.0/24"), "a reserved address"),
    (ipaddress.ip_network("192.88.99.0/24"), "a 6to4 address"),
    (ipaddress.ip_network("2002::/16"), "a 6to4 address"),
    (ipaddress.ip_network("2001::/32"), "a Teredo address"),
    (ipaddress.ip_network("3fff::/20"), "a private address"),
)
# RFC 4291: the only part of IPv6 that is given out.
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# RFC 6052: the last 32 bits are the IPv4 address that a translator connects to.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class AddressError(ValueError):
    """Webhooks are not sent there; the message says why, for the person who asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed address; `listed`: the operator trusts its host name."""

    url: URL
    host: str
    port: int
    listed: bool


def check_address(url: str) -> None:
    """Raise AddressError unless webhooks may be sent to that URL.

    Looks the host name up, for 3 s at most. A name that does not exist is refused; one
    that cannot be looked up just now is taken, since each sending checks again. Names
    that the operator listed are not looked up at all.
    """
    target = parse(url)
    if target.listed:
        return
    for address in _lookup(target.host, target.port):
        if why := why_closed(address):
            told = (
                target.host
                if target.host == str(address)
                else f"{target.host} ({address})"
            )
            raise AddressError(
                f"{told} is {why}; webhooks are sent to public addresses only."
            )


def parse(url: str) -> Target:
    """The parts of an address that is well-formed and names no forbidden host.

    Parsed as the HTTP client parses it, so that nothing else is connected to. Raises
    AddressError; does not look names up.
    """
    if len(url) > MOST_CHARACTERS:
        raise AddressError(f"The URL is longer than {MOST_CHARACTERS} characters.")
    if not url.isprintable() or " " in url or "\\" in url:
        raise AddressError("The URL contains characters that do not belong into one.")
    if not url.lower().startswith(("https://", "http://")):
        raise AddressError("The URL must start with https:// or http://.")
    if "#" in url:
        raise AddressError("The URL must not have a fragment (#).")
    if "@" in url.split("/", 3)[2].split("?", 1)[0]:
        raise AddressError("The URL must not contain a user name or a password.")
    try:
        parsed = URL(url)
        host, port = (parsed.raw_host or "").rstrip(".").lower(), parsed.port
    except ValueError as error:
        raise AddressError(f"This is not a URL: {error}") from error
    if not host or port is None:
        raise AddressError("The URL names no host.")
    target = Target(parsed, host, port, _host_is_listed(host, port))
    _check_host(target)
    return target


def _check_host(target: Target) -> None:
    """Refuse by the URL's text alone; the operator's list goes first."""
    if not 0 < target.port < 65536:
        raise AddressError(f"{target.port} is not a port.")
    host = target.host
    usual = target.port >= 1024 or target.port in (80, 443)
    if not usual and f"{host}:{target.port}" not in _listed_names():
        raise AddressError(
            f"Port {target.port} is not allowed: use 80, 443 or one from 1024 on."
        )
    if target.listed:
        return
    if host == "localhost" or host.endswith(".localhost"):
        raise AddressError(f"{host} is this machine; webhooks are not sent there.")
    if "%" in host:
        raise AddressError(f"{host} is not a host name.")
    if _is_legacy_number(host):
        raise AddressError(f"{host}: write an IPv4 address as four decimal numbers.")


def _is_legacy_number(host: str) -> bool:
    """Whether C libraries read the name as an IPv4 address that is not dotted decimal.

    These are 127.1, 2130706433, 0x7f.1, 0177.0.0.1: read differently by each program.
    """
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return False
    with contextlib.suppress(OSError):
        socket.inet_aton(host)
        return True
    return False


def why_closed(address: Address) -> str:
    """What is wrong with sending there, as "a loopback address"; empty: nothing.

    IPv4 addresses inside IPv6 ones (mapped, NAT64) are judged as what they stand for.
    """
    if any(address in network for network in _listed_networks()):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if inner := _inner(address):
            return why_closed(inner)
        if address.scope_id:
            return "a link-local address"
    for network, words in CLOSED_NETWORKS:
        if address in network:
            return words
    for kind, words in CLOSED_KINDS:
        if getattr(address, kind):
            return words
    public = address.is_global and (address.version == 4 or address in GLOBAL_UNICAST)
    return "" if public else "not a public address"


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def _listed_networks() -> list[Network]:
    """The operator's networks and single addresses, of BATCHSITE_WEBHOOK_ALLOWED."""
    found = []
    for entry in settings.BATCHSITE_WEBHOOK_ALLOWED:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_network(entry.strip(), strict=False))
    return found


def _listed_names() -> set[str]:
    """The entries of BATCHSITE_WEBHOOK_ALLOWED: hosts, also with a port, and networks."""
    return {
        entry.strip().rstrip(".").lower()
        for entry in settings.BATCHSITE_WEBHOOK_ALLOWED
    }


def _host_is_listed(host: str, port: int) -> bool:
    if not _listed_names().isdisjoint((host, f"{host}:{port}")):
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        return any(address in network for network in _listed_networks())
    return False


def _lookup(host: str, port: int) -> list[Address]:
    """The addresses of a host; none when the name service does not answer.

    None also while as many lookups as there may be at once wait for an answer.

    Raises AddressError for a name that does not exist.
    """
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host)]
    places = _lookups
    answers: queue.SimpleQueue[list[Address] | OSError | UnicodeError] = (
        queue.SimpleQueue()
    )

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([ipaddress.ip_address(info[4][0]) for info in infos])
        except (OSError, UnicodeError) as error:
            answers.put(error)
        finally:
            places.release()

    if not places.acquire(blocking=False):
        return []
    # getaddrinfo knows no time limit; the thread ends when the system's has passed.
    threading.Thread(target=ask, name="webhook-lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=LOOKUP_SECONDS)
    except queue.Empty:
        return []
    if isinstance(answer, list):
        return answer
    if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
        return []
    raise AddressError(f"There is no host {host}.") from answer
