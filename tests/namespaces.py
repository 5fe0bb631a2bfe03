# SPDX-License-Identifier: Apache-2.0
"""Hosts of a test: network namespaces with host names of their own, on one bridge."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class NotPermitted(Exception):
    """This machine, or this user, has no network namespaces to give."""


def ip(*arguments: str) -> None:
    """Run iproute2's `ip`; NotPermitted with its own words when it fails."""
    try:
        done = subprocess.run(
            ["ip", *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise NotPermitted("ip is missing (Debian package: iproute2)") from error
    if done.returncode:
        raise NotPermitted(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    """Use as a context manager, as root. The test itself is on the bridge, at `address`.

    The hosts reach it and each other, and nothing else.
    """

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self._made: list[Sequence[str]] = []

    def __enter__(self) -> Self:
        try:
            self._make_bridge()
            for host in self.hosts:
                self._make_host(host)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    @property
    def address(self) -> str:
        """The bridge's own address."""
        return f"{self._prefix}.1"

    @property
    def network(self) -> str:
        """All addresses of the hosts and of the bridge."""
        return f"{self._prefix}.0/24"

    def address_of(self, host: str) -> str:
        """The host's own address."""
        return f"{self._prefix}.{10 + self.hosts.index(host)}"

    def inside(self, host: str) -> list[str]:
        """What to put before a command, so that it runs on that host."""
        named = 'hostname "$0" && exec "$@"'
        name = self._name(host)
        return [
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "--uts",
            "sh",
            "-c",
            named,
            name,
        ]

    def cut(self, host: str) -> None:
        """Pull the host's cable: packets vanish both ways, and nobody is told."""
        ip("link", "set", self._name(host), "nomaster")

    def mend(self, host: str) -> None:
        """Put the cable back."""
        ip("link", "set", self._name(host), "master", self._bridge)

    def _name(self, host: str) -> str:
        return f"{self._bridge}-{host}"

    def _make_bridge(self) -> None:
        # Of tests that run at the same time only one can make a bridge of that name.
        for number in random.sample(range(1, 255), 5):
            self._bridge, self._prefix = f"bs{number}", f"10.231.{number}"
            try:
                ip("link", "add", self._bridge, "type", "bridge")
                break
            except NotPermitted as error:
                refused = error
        else:
            raise refused
        self._made.append(("link", "del", self._bridge))
        ip("addr", "add", f"{self.address}/24", "dev", self._bridge)
        ip("link", "set", self._bridge, "up")

    def _make_host(self, host: str) -> None:
        name = self._name(host)
        ip("netns", "add", name)
        self._made.append(("netns", "del", name))
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._made.append(("link", "del", name))
        ip("link", "set", name, "master", self._bridge, "up")
        ip("-n", name, "addr", "add", f"{self.address_of(host)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", name, "link", "set", device, "up")

    def _remove(self) -> None:
        for command in reversed(self._made):
            subprocess.run(["ip", *command], capture_output=True, check=False)
        self._made.clear()
