# SPDX-License-Identifier: Apache-2.0
"""`make bench-pages`: how fast pages are with a batch of a million results.

Each address is asked 15 times, one at a time, of a site with two web processes: the
median and the slowest in milliseconds, and the bytes of the answer. 10,000 batches
stand beside the large one. Polls are asked again with the ETag of before.
"""

from __future__ import annotations

import argparse
import http.client
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

from deploy.bench_pipeline import cpu_model, on_postgres, running_site  # noqa: E402 - needs the path above
from tests.e2e.client import Running  # noqa: E402 - as above

TIMES = 15
FILL = """
from django.db import connection
from django.test import Client
from django.utils import timezone
from batchsite.accounts.models import Team, User
from jobs.failures import hour_of
from jobs.models import Batch, FailureCount
from tests import many_rows
team = Team.objects.get(name="Blue")
many_rows.ended_batches(team, 10_000)
sizes = many_rows.Sizes(rows={rows}, answered=1.0, chunk=1, length=600)
now = timezone.now()
batch = many_rows.batch_of(
    team, sizes, name="Large", status="completed", closing_reason="done",
    closed_at=now, completed_at=now)
batch.save(force_insert=True)
many_rows.fill_batch(batch.pk, sizes)
FailureCount.objects.create(
    batch=batch, error_class="http_400", hour=hour_of(now), rows=batch.failed, newest_at=now)
# PostgreSQL's autovacuum does this within a minute of such a load.
with connection.cursor() as cursor:
    cursor.execute("ANALYZE")
client = Client()
client.force_login(User.objects.get(email="owner@example.com"))
print(batch.public_id, client.cookies["sessionid"].value)
"""


def addresses(batch: str, rows: int) -> dict[str, tuple[str, bool]]:
    """What is asked: a name, the address, and whether it is a poll."""
    results = f"/batches/{batch}/results/"
    middle, end = f"after={rows // 2}", f"after={rows - 60}"
    return {
        "home": ("/", False),
        "home, poll": ("/?part=live", True),
        "list": ("/batches/", False),
        "list, poll": ("/batches/", True),
        "batch": (f"/batches/{batch}/", False),
        "results": (results, False),
        "results, middle": (f"{results}?{middle}", False),
        "results, end": (f"{results}?{end}", False),
        "failed, middle": (f"{results}?outcome=failed&{middle}", False),
        "error class, middle": (f"{results}?error=http_400&{middle}", False),
        "words in all": (f"{results}?q=said&{middle}", False),
        "words in none": (f"{results}?q=nowhere", False),
        "one result": (f"{results}{rows // 2}/", False),
        "errors": (f"/batches/{batch}/errors/", False),
    }


def measure(running: Running, name: str, rows: int) -> None:
    """Fill the site and time each address."""
    batch, session = running.site.python(FILL.format(rows=rows)).split()[-2:]
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    for word, (address, is_poll) in addresses(batch, rows).items():
        headers = {"Cookie": f"sessionid={session}"}
        if is_poll:
            headers["HX-Request"] = "true"
        took, size, status = [], 0, 0
        for _ in range(TIMES):
            began = time.monotonic()
            connection.request("GET", address, headers=headers)
            answer = connection.getresponse()
            size, status = len(answer.read()), answer.status
            took.append((time.monotonic() - began) * 1000)
            if is_poll and (etag := answer.getheader("ETag")):
                headers["If-None-Match"] = etag
        assert status == (304 if is_poll else 200), (address, status)
        print(
            f"{name:<10}  {word:<20} {statistics.median(took):6.0f} /"
            f" {max(took[1:]):.0f} ms (median / slowest), {size:,} bytes",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
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
        measure(running, name, options.rows)
    if not options.database_url:
        on_postgres(__file__, ["--rows", str(options.rows)])


if __name__ == "__main__":
    main()
