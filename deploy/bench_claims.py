# SPDX-License-Identifier: Apache-2.0
"""`make bench-claims`: what claiming costs with millions of requests in PostgreSQL.

claims    feeders that look, claim and extend, by the product's own functions, always
          for what comes first:
          1, 10 and 100 at once, as fast as they can
run       a real batch through a whole site on the same tables, engine that answers at
          once: database time a request

Database time is what PostgreSQL itself counts: planning and executing, summed over all
statements (pg_stat_statements). "CPU" is processor time of the server's processes.
Waiting for a processor counts in the first, not in the second.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "ERROR"

from deploy.bench_pipeline import cpu_model  # noqa: E402 - needs the path above
from tests.postgres import PostgresServer  # noqa: E402 - as above
from tests.site import wait_for  # noqa: E402 - as above

# A request takes about 420 bytes with its indexes; a tenth of them have results.
BYTES_A_ROW = 600
SERVER = {
    "max_connections": "400",
    "shared_buffers": "1GB",
    "max_wal_size": "1GB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_planning": "on",
}
HEARTBEAT = 4.0
# By what is asked for, in this order; the rest is "other".
KINDS = {
    "results": (
        r'^INSERT INTO "jobs_result"|^UPDATE "jobs_batch" SET "completed"'
        r'|^SELECT "jobs_batch"."result_seq"|^SELECT \$1 FROM ONLY'
        r'|^UPDATE "jobs_chunk" SET .*"lease_epoch" = \$\d+ AND'
        r'|^SELECT \$1 AS "a" FROM "jobs_chunk"'
    ),
    "survey": r'ROW_NUMBER|SUM\(\("jobs_chunk"|FROM "jobs_enginemodel"|DISTINCT "jobs_chunk"',
    "rows": r'^SELECT .*FROM "jobs_batchrequest" LEFT OUTER JOIN "jobs_result"',
    "claim": r'^UPDATE "jobs_chunk" SET "state" = .*"attempts" = |FOR UPDATE SKIP LOCKED',
    "heartbeat": (
        r'^UPDATE "jobs_chunk" SET "lease_expires_at"|^SELECT "jobs_chunk"."id"'
        r'|^UPDATE "jobs_engine"|jobs_throughputsample|jobs_measurement'
    ),
    "tick": r'^SELECT .*FROM "jobs_engine"|^SELECT "jobs_batch"."id" AS "pk" FROM',
    "queue": r'"django_q_',
    "begin, commit": r"^(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)",
}


@dataclass
class Load:
    """What claimers did: seconds of each call by its kind, and what they got."""

    times: dict[str, list[float]] = field(default_factory=dict)
    chunks: int = 0
    rows: int = 0
    losses: int = 0

    @contextlib.contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Note how long the block takes."""
        began = time.perf_counter()
        yield
        self.times.setdefault(kind, []).append(time.perf_counter() - began)

    def add(self, other: Load) -> None:
        """Put the other's figures to these."""
        for kind, times in other.times.items():
            self.times.setdefault(kind, []).extend(times)
        self.chunks += other.chunks
        self.rows += other.rows
        self.losses += other.losses

    def line(self, kind: str) -> str:
        """p50 and p99 of one kind of call in ms, as the claimer saw it."""
        times = sorted(self.times.get(kind, [0.0]))
        p50, p99 = times[len(times) // 2], times[int(len(times) * 0.99)]
        return f"{kind} {p50 * 1000:.1f} / {p99 * 1000:.1f}"


def claimer(number: int, seconds: float) -> Load:
    """One feeder's claims."""
    from jobs import claims, engine_side
    from jobs.flight import Snapshot
    from jobs.models import Engine

    nothing = Snapshot([], [], {}, 0, 0, 256, {}, {}, None, 0, {})
    engine = Engine.objects.get(name=f"host{number}")
    worker, load, after = f"bench/{number}", Load(), None
    held: list[Any] = []
    deadline, beat = time.monotonic() + seconds, time.monotonic() + HEARTBEAT
    while time.monotonic() < deadline:
        with load.timed("survey"):
            seen = engine_side.survey(engine)
        work = engine_side.next_claim(seen, nothing)
        with load.timed("claim"):
            claim = work and claims.claim(
                work, engine=engine, worker=worker, after=after
            )
        if not claim:
            load.losses += 1
            continue
        after, held = claim.end, [*held[-3:], claim.lease]
        load.chunks, load.rows = load.chunks + 1, load.rows + len(claim.rows)
        if time.monotonic() >= beat:
            beat += HEARTBEAT
            with load.timed("extend"):
                claims.extend(worker, held)
    return load


def work_alone(number: int, seconds: float, start: Any, loads: Any) -> None:
    """Body of a claimer's process."""
    from django.db import connection

    connection.ensure_connection()
    start.wait()
    try:
        loads.put(claimer(number, seconds))
    finally:
        connection.close()


@dataclass
class Spent:
    """Milliseconds in the database by kind, since the statistics were reset."""

    kinds: dict[str, float]
    calls: dict[str, int]
    others: list[str]
    cpu: float

    @property
    def total(self) -> float:
        return sum(self.kinds.values())


@contextlib.contextmanager
def spending(server: PostgresServer) -> Iterator[Spent]:
    """Gives what the block spends, filled in at its end."""
    spent = Spent({}, {}, [], server.cpu_seconds())
    with psycopg.connect(server.url(), autocommit=True) as watch:
        watch.execute("SELECT pg_stat_statements_reset()")
        yield spent
        spent.cpu = (server.cpu_seconds() - spent.cpu) * 1000
        rows = watch.execute(
            "SELECT query, calls, total_plan_time + total_exec_time"
            " FROM pg_stat_statements WHERE toplevel ORDER BY 3 DESC"
        ).fetchall()
    for query, calls, milliseconds in rows:
        kind = next((k for k, like in KINDS.items() if re.search(like, query)), "other")
        spent.kinds[kind] = spent.kinds.get(kind, 0.0) + milliseconds
        spent.calls[kind] = spent.calls.get(kind, 0) + calls
        if kind == "other":
            spent.others.append(f"{milliseconds:.0f} ms, {calls} times: {query[:150]}")


def show_spent(spent: Spent, rows: int, kinds: Collection[str] = tuple(KINDS)) -> None:
    """The kinds of statements, ms a request each, and their sum."""
    ordered = sorted(spent.kinds.items(), key=lambda pair: -pair[1])
    parts = [
        f"{kind} {spent.kinds[kind] / rows:.4f} ({spent.calls[kind]:,} times,"
        f" {spent.kinds[kind] / spent.calls[kind]:.2f} ms each)"
        for kind, _ in ordered
        if kind in kinds
    ]
    print(f"{'':<10}  database time a request, ms: {', '.join(parts)}")
    print(
        f"{'':<10}  all statements {spent.total / rows:.4f} ms a request,"
        f" the server's CPU {spent.cpu / rows:.4f} ms"
    )


def measure_claims(server: PostgresServer, claimers: int, seconds: float) -> None:
    """Run so many in processes of their own and print what they met."""
    context = multiprocessing.get_context("fork")
    start, loads, total = context.Barrier(claimers), context.Queue(), Load()
    crowd = [
        context.Process(target=work_alone, args=(n, seconds, start, loads))
        for n in range(claimers)
    ]
    with spending(server) as spent:
        for one in crowd:
            one.start()
        for _ in crowd:
            total.add(loads.get(timeout=seconds + 600))
        for one in crowd:
            one.join()
    print(
        f"claims      {claimers} at once: {total.chunks / seconds:,.0f} claims/s of"
        f" {total.rows / max(1, total.chunks):.0f} rows, {total.losses} in vain"
    )
    calls = ", ".join(map(total.line, total.times))
    print(f"{'':<10}  p50 / p99 in ms, with the wait for a processor: {calls}")
    show_spent(spent, max(1, total.rows))


def measure_run(server: PostgresServer, folder: Path, rows: int) -> None:
    """One real batch beside what waits, through a site of its own."""
    from deploy.bench_pipeline import running_site, upload, write_requests

    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("UPDATE jobs_batch SET paused = true")
        # Engines of nobody here: `up` would start a worker for each external one.
        connection.execute("DELETE FROM jobs_enginemodel")
        connection.execute("UPDATE jobs_engine SET kind = 'managed', base_url = ''")
    file = folder / "requests.jsonl"
    write_requests(file, rows, 200)
    with running_site(folder / "site", server.url()) as running:
        client = running.client
        running.wait(client.batches.retrieve(upload(client, file)), timeout=900)
        batch = upload(client, file)

        def runs() -> bool:
            return client.batches.retrieve(batch).status != "validating"

        wait_for(runs, timeout=300, what="intake")
        with spending(server) as spent:
            began = time.monotonic()
            # Seldom, so that what is measured is the work and not this.
            ended = running.wait(client.batches.retrieve(batch), timeout=900, every=2)
            seconds = time.monotonic() - began
    print(
        f"run         {rows:,} requests, intake left out, in {seconds:.0f} s"
        f" ({ended.status}), {rows / seconds:,.0f} requests/s"
    )
    show_spent(spent, rows)
    print("\n".join(f"{'':<10}  other: {line}" for line in spent.others[:4]))


def prepare(server: PostgresServer, folder: Path, sizes: Any) -> None:
    """Migrate and fill this process's database; says how long it took."""
    from django.core.management import call_command
    from django.db import connection

    from tests.many_rows import Sizes, fill, vacuum

    call_command("migrate", verbosity=0)
    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
        # What is made here refers to itself alone; checking it takes as long again.
        cursor.execute("SET session_replication_role = replica")
    fill(Sizes(**sizes))
    vacuum()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size = cursor.fetchone()[0] / 1e9
    # The claimers' processes must not share it.
    connection.close()
    count = sizes["rows"] * sizes["batches"]
    print(
        f"filled      {count:,} requests in {sizes['batches']} batches, {size:.1f} GB,"
        f" in {time.monotonic() - began:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--run-rows", type=int, default=50_000)
    options = parser.parse_args()
    needed = options.rows * BYTES_A_ROW + 3_000_000_000
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        sys.exit(
            f"{tempfile.gettempdir()} has {free / 1e9:.1f} GB free, and this needs"
            f" {needed / 1e9:.1f} GB: set TMPDIR, or take fewer --rows."
        )
    print(
        f"machine     {os.cpu_count()} cores, {cpu_model()},"
        f" Python {platform.python_version()}"
    )
    with (
        tempfile.TemporaryDirectory(prefix="bs-bench-") as name,
        PostgresServer(settings=SERVER) as server,
    ):
        folder = Path(name)
        os.environ |= {
            "DATABASE_URL": server.url(),
            "BATCHSITE_DATA": str(folder / "bench"),
            "DJANGO_SETTINGS_MODULE": "batchsite.settings",
        }
        import django

        django.setup()
        sizes = {
            "batches": options.batches,
            "rows": options.rows // options.batches,
            "chunk": options.chunk,
            "engines": 100,
        }
        prepare(server, folder, sizes)
        for claimers in (1, 10, 100):
            measure_claims(server, claimers, options.seconds)
        measure_run(server, folder, options.run_rows)


if __name__ == "__main__":
    main()
