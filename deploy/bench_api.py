# SPDX-License-Identifier: Apache-2.0
"""`make bench-api`: how fast the API answers while a batch runs.

status    GET /v1/batches/{id} by clients that ask again at once: requests/s and p99
listing   pages of 100 out of 100,000 batches and files, at the list's beginning,
          middle and end: milliseconds, the median and the slowest of 30
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"

from deploy.bench_pipeline import batch_file, cpu_model, on_postgres, running_site  # noqa: E402 - needs the path above
from tests.e2e.client import Running  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

MANY = """
import uuid
from datetime import timedelta
from django.db import connection
from django.utils import timezone
from batchsite.accounts.models import Team
from jobs.models import Batch, BatchFile
team = Team.objects.get(name="Blue")
Team.objects.update(requests_per_minute=10_000_000)
now = timezone.now() - timedelta(days=40)
for start in range(0, {rows}, 1000):
    BatchFile.objects.bulk_create(
        BatchFile(team=team, filename=f"{{n}}.jsonl", purpose="batch", bytes=1,
                  sha256="0" * 64, storage_name=f"none/{{n}}", created_at=now)
        for n in range(start, start + 1000))
    Batch.objects.bulk_create(
        Batch(team=team, endpoint="/v1/chat/completions", input_file_ref="file-none",
              status="completed", closing_reason="done", closed_at=now, created_at=now,
              expires_at=now + timedelta(days=1), completed_at=now)
        for n in range(start, start + 1000))
# PostgreSQL's autovacuum does this within a minute of such a load.
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
for model, kind in ((Batch, "batches"), (BatchFile, "files")):
    ids = list(model.objects.order_by("-pk").values_list("public_id", flat=True))
    print(kind, ids[1], ids[len(ids) // 2], ids[-102])
"""


def running_batch(running: Running, rows: int) -> str:
    """A batch that keeps the engine busy; its id, once it runs."""
    bodies = (
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": f"say {n}"}],
            "test": {"delay": 1},
        }
        for n in range(rows)
    )
    batch = running.submit(batch_file(bodies))

    def runs() -> bool:
        counts = running.client.batches.retrieve(batch.id).request_counts
        return counts is not None and counts.completed > 0

    wait_for(runs, timeout=60, what="the batch to run")
    return batch.id


class Asker(asyncio.Protocol):
    """One kept connection that asks the same again and again.

    It reads no more of an answer than its status and length: a client that did would
    take from the site the very cores that are measured.
    """

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[bytes] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the server."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self) -> asyncio.Future[bytes]:
        """Send the request; the answer's first line, once it is whole."""
        assert self._transport is not None
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Collect until the length is reached that the answer says."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, rest = head.lower().partition(b"content-length: ")
        if len(body) >= int(rest.split(b"\r\n", 1)[0]) and self._answered:
            self._answered.set_result(head.split(b"\r\n", 1)[0])
            self._answered = None

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for an answer that does not come."""
        if self._answered:
            self._answered.set_exception(error or ConnectionError("closed"))


async def hammer(
    port: int, path: str, key: str, *, clients: int, seconds: float, rate: float = 0
) -> list[float]:
    """How long each answer took, in seconds, for so many clients at once.

    With a `rate` (requests/s) they take turns: each asks when its time has come, and
    waiting for a late answer counts as waiting for the next one too.
    """
    took: list[float] = []
    turns = itertools.count()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Authorization: Bearer {key}\r\nAccept: application/json\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Asker(request), "127.0.0.1", port)
        for _ in range(clients)
    ]
    start = time.monotonic()

    async def one(asker: Asker) -> None:
        while (began := time.monotonic()) < start + seconds:
            if rate:
                began = start + next(turns) / rate
                await asyncio.sleep(max(0.0, began - time.monotonic()))
            line = await asker.ask()
            assert line.split(b" ")[1] == b"200", line
            took.append(time.monotonic() - began)

    await asyncio.gather(*(one(asker) for _, asker in made))
    for transport, _ in made:
        transport.close()
    return sorted(took)


def measure_status(running: Running, name: str, seconds: float) -> None:
    """Ask for a running batch at 300 requests/s, then as fast as 16 clients can."""
    batch = running_batch(running, rows=int(300 * (2 * seconds + 15)))
    port, path = running.port, f"/v1/batches/{batch}"
    key = str(running.client.api_key)
    asyncio.run(hammer(port, path, key, clients=16, seconds=2))
    for words, clients, rate in (("300/s offered", 64, 300.0), ("16 clients", 16, 0.0)):
        before = running.client.batches.retrieve(batch).request_counts
        took = asyncio.run(
            hammer(port, path, key, clients=clients, seconds=seconds, rate=rate)
        )
        after = running.client.batches.retrieve(batch)
        assert before is not None
        assert after.request_counts is not None
        answered = after.request_counts.completed - before.completed
        print(
            f"{name:<10}  status, {words}: {len(took) / seconds:,.0f} requests/s,"
            f" p50 {took[len(took) // 2] * 1000:.0f} ms,"
            f" p99 {took[int(len(took) * 0.99)] * 1000:.0f} ms;"
            f" the batch ({after.status}) went on at {answered / seconds:,.0f} rows/s"
        )
    running.client.batches.cancel(batch)


def measure_listing(running: Running, name: str, site: Site, rows: int) -> None:
    """Time pages at three places of long lists."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    headers = {"Authorization": f"Bearer {running.client.api_key}"}
    for line in site.python(MANY.format(rows=rows)).splitlines():
        kind, *cursors = line.split()
        places = []
        for place, cursor in zip(("first", "middle", "last"), cursors, strict=True):
            took = []
            for _ in range(30):
                began = time.monotonic()
                connection.request(
                    "GET", f"/v1/{kind}?limit=100&after={cursor}", headers=headers
                )
                answer = connection.getresponse()
                page = json.loads(answer.read())
                took.append((time.monotonic() - began) * 1000)
                assert len(page["data"]) == 100, page
            places.append(f"{place} {statistics.median(took):.0f} / {max(took):.0f} ms")
        print(f"{name:<10}  {rows:,} {kind}: {', '.join(places)} (median / slowest)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database-url", default="")
    options = parser.parse_args()
    name = "PostgreSQL" if options.database_url else "SQLite"
    if not options.database_url:
        print(
            f"machine     {os.cpu_count()} cores, {cpu_model()},"
            f" Python {platform.python_version()}"
        )
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder) / "site", options.database_url) as running,
    ):
        measure_listing(running, name, running.site, options.rows)
        measure_status(running, name, options.seconds)
    if not options.database_url:
        sizes = ["--seconds", str(options.seconds), "--rows", str(options.rows)]
        on_postgres(__file__, sizes)


if __name__ == "__main__":
    main()
