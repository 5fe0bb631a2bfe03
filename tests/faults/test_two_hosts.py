# SPDX-License-Identifier: Apache-2.0
"""Two hosts on one PostgreSQL, one of which is cut off in the middle of its work.

Each has an engine host with its engine, and a worker. The control worker is on the
database's side. Nobody resets a connection: packets only stop coming.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from jobs.processes import read_token, start_time
from tests.namespaces import Network, NotPermitted
from tests.postgres import PostgresServer
from tests.site import Process, Site, wait_for

from .checks import FINAL, assert_exactly_once, batch_row, seed

pytestmark = pytest.mark.sweep
GONE = "the worker cannot reach the database"


@dataclass
class Hosts:
    """Hosts `a` and `b` with their processes; the site is what they share."""

    site: Site
    network: Network
    control: Process
    engines: dict[str, Process]
    workers: dict[str, Process]

    def start_worker(self, host: str) -> None:
        """As a service manager does, also after an exit with 70."""
        self.workers[host] = self.site.start(
            *("runworker", "--engine", host, "--drain-seconds", "5"),
            inside=self.network.inside(host),
        )

    def keep_running(self) -> bool:
        """Start again what gave up; AssertionError for any other end."""
        for host, worker in self.workers.items():
            if (code := worker.popen.poll()) is not None:
                assert code == 70, worker.log()
                self.start_worker(host)
        return True

    def engine(self, host: str) -> dict[str, Any]:
        return self.site.engine(host)

    def server(self, host: str) -> tuple[int, int | None]:
        """Generation of the host's engine, and when its process started."""
        pid = int(self.site.engine_record(host)["pid"])
        return self.engine(host)["generation"], start_time(pid)

    def leases(self, host: str) -> set[int]:
        """The chunks that the host's worker has leased."""
        rows = self.site.query(
            "SELECT id FROM jobs_chunk WHERE state = 'leased' AND engine_id = %s",
            self.engine(host)["id"],
        )
        return {row["id"] for row in rows}

    def results(self, host: str) -> int:
        """Results of the host's engine so far."""
        (row,) = self.site.query(
            "SELECT COUNT(*) AS n FROM jobs_result WHERE engine_id = %s",
            self.engine(host)["id"],
        )
        return int(row["n"])

    def stop(self) -> None:
        """SIGTERM to all of them; AssertionError unless everything ends well."""
        for process in (*self.workers.values(), *self.engines.values(), self.control):
            assert process.stop(timeout=60) == 0, process.log()
        assert self.site.left_over() == {}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    try:
        network = Network("a", "b").__enter__()
    except NotPermitted as error:
        pytest.skip(f"two hosts need root and network namespaces: {error}")
    with (
        network,
        PostgresServer(networks={network.address: network.network}) as server,
    ):
        url = server.create("two_hosts").replace("127.0.0.1", network.address)
        site = Site(tmp_path_factory.mktemp("hosts") / "site", database_url=url)
        try:
            site.run("migrate", "--skip-checks", "--verbosity", "0")
            hosts = started(site, network)
            yield hosts
            hosts.stop()
        finally:
            site.close()


def started(site: Site, network: Network) -> Hosts:
    """Both hosts and the control worker, ready; the engines wait for their first batch."""
    site.run(
        *("addmodel", "tiny", "--source", "org/tiny"),
        *("--engine-args", "--max-num-seqs 8"),
    )
    hosts = Hosts(site, network, site.start("runworker"), {}, {})
    hosts.control.expect("Control worker is ready.", timeout=60)
    for host in network.hosts:
        inside = network.inside(host)
        hosts.engines[host] = site.start("runengine", "--name", host, inside=inside)
        hosts.engines[host].expect("runs", timeout=60)
        hosts.start_worker(host)
        hosts.workers[host].expect("is ready", timeout=60)
    return hosts


def running(hosts: Hosts, rows: int) -> str:
    """A batch that both hosts are at; its id. Chunks have 16 rows."""
    made = seed(hosts.site, "batch", rows=rows, max_tokens=2000, delay=1)
    before = {host: hosts.results(host) for host in hosts.network.hosts}
    wait_for(
        lambda: (
            hosts.keep_running()
            and all(hosts.results(host) > before[host] + 16 for host in before)
        ),
        timeout=90,
        what="results of both",
    )
    names = {read_token(hosts.engine(host)["worker_token"]) for host in before}
    assert len({name.host for name in names if name}) == 2
    return made


def taken_over(hosts: Hosts, lost: set[int]) -> bool:
    """Whether none of the chunks is in the hands of `b` any more."""
    return not lost & hosts.leases("b")


def works_again(hosts: Hosts, stored: int) -> None:
    """The host that was cut off, with `stored` results, gets new chunks and runs them."""
    hosts.network.mend("b")
    wait_for(
        lambda: hosts.keep_running() and hosts.results("b") > stored,
        timeout=90,
        what="new results of the host that was cut off",
    )


def ends_whole(hosts: Hosts, made: str, rows: int) -> None:
    """Each answer once, whoever gave up meanwhile and was started again."""
    wait_for(
        lambda: hosts.keep_running() and batch_row(hosts.site, made)["status"] in FINAL,
        timeout=240,
        what="the end of the batch",
    )
    assert_exactly_once(hosts.site, made, rows)


def test_the_other_host_goes_on_and_the_one_that_comes_back_drops_what_it_lost(
    hosts: Hosts,
) -> None:
    made = running(hosts, 500)
    before = hosts.server("b")
    hosts.network.cut("b")
    lost = hosts.leases("b")
    assert lost
    # After 15 s of lease and a look of the other host.
    wait_for(lambda: taken_over(hosts, lost), timeout=60, what="the other's claims")
    stored = hosts.results("b")
    works_again(hosts, stored)
    ends_whole(hosts, made, 500)
    log = "".join(process.log() for process in hosts.site.processes)
    assert "lost the lease" in log or "its results are dropped" in log
    assert hosts.server("b")[0] == before[0]


def test_a_host_that_is_cut_off_for_long_notices_and_keeps_its_engine_warm(
    hosts: Hosts,
) -> None:
    made = running(hosts, 900)
    before = hosts.server("b")
    assert before[1] is not None
    worker = hosts.workers["b"]
    hosts.network.cut("b")
    began = time.monotonic()
    # tcp_user_timeout is 20 s, and a heartbeat comes every 4 s.
    worker.expect(GONE, timeout=60)
    time.sleep(max(0.0, began + 45 - time.monotonic()))
    # The server has let go of the host's connections too.
    connected = "SELECT pid FROM pg_stat_activity WHERE client_addr = %s::inet"
    assert hosts.site.query(connected, hosts.network.address_of("b")) == []
    stored = hosts.results("b")
    works_again(hosts, stored)
    assert hosts.server("b") == before
    ends_whole(hosts, made, 900)
