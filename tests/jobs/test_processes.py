# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from jobs import processes

from .test_attendance import gone_process


def test_a_process_of_another_pid_namespace_may_live() -> None:
    gone = processes.read_token(gone_process())
    assert gone is not None
    container = gone._replace(namespace=f"{gone.namespace}1")
    assert not processes.provably_gone("/".join(map(str, container)))
    # After a boot of this host nobody of its own namespace is left.
    rebooted = gone._replace(boot="earlier")
    assert processes.provably_gone("/".join(map(str, rebooted)))


@pytest.mark.parametrize("owner", ["a", "host/boot/77/1", "host/boot/1/x/1", "////"])
def test_what_is_no_token_is_nobody_who_is_gone(owner: str) -> None:
    host = processes.token().partition("/")[0]
    assert not processes.provably_gone(owner.replace("host", host))
