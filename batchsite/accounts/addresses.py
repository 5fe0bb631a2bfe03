# SPDX-License-Identifier: Apache-2.0
"""Where a request comes from."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """The client's IP address; behind the trusted proxy the one that it names.

    None when there is none, as on a Unix socket.
    """
    address = request.META.get("REMOTE_ADDR", "")
    if settings.BATCHSITE_BEHIND_PROXY:
        # The proxy itself adds the last entry; those before it anybody can invent.
        address = request.META.get("HTTP_X_FORWARDED_FOR", address).rpartition(",")[2]
    try:
        return str(ip_address(address.strip().partition("%")[0]))
    except ValueError:
        return None


def place(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 of an IPv6 one, out of which
    its holder can take as many addresses as there are calls.
    """
    ip = ip_address(address)
    if not isinstance(ip, IPv6Address):
        return address
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(IPv6Network((ip, 64), strict=False))
