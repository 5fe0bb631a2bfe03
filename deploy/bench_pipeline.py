# SPDX-License-Identifier: Apache-2.0
"""`make bench`: how fast Batchsite itself is, with an engine that answers at once.

Three figures, with the machine they were measured on:
  intake    a 200 MB file of 50,000 requests, from upload to in_progress
  pipeline  requests a second from upload to finished output
  memory    the most that web and workers held, resident
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from openai import OpenAI

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"

from tests.e2e.client import Running, start_up  # noqa: E402 - needs the path above
from tests.engine_process import engine_process  # noqa: E402 - as above
from tests.postgres import binaries  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

MEGABYTE = 1_000_000
# The site takes any load that a benchmark asks for.
UNLIMITED = {
    "BATCHSITE_MAX_FILE_BYTES": str(8 << 30),
    "BATCHSITE_MAX_REQUESTS": "10000000",
}


def write_requests(path: Path, rows: int, size: int) -> int:
    """A batch file of that many different requests of about `size` bytes; its bytes."""
    padding = "lorem ipsum dolor sit amet " * (size // 27 + 1)
    with path.open("w") as out:
        for n in range(rows):
            request = {
                "custom_id": f"request-{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {
                    "model": "tiny",
                    "max_tokens": 16,
                    "messages": [{"role": "user", "content": f"{n} {padding}"[:size]}],
                },
            }
            out.write(json.dumps(request) + "\n")
    return path.stat().st_size


def batch_file(bodies: Iterable[dict[str, Any]]) -> bytes:
    """The content of a batch file of chat completions with these bodies."""
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        for n, body in enumerate(bodies)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


class Memory(threading.Thread):
    """Samples the resident size of the site's processes; `peak` by kind, in bytes."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.peak: dict[str, int] = {}
        self._site = site
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.5):
            for pid, command in self._site.left_over().items():
                kind = next(
                    (k for k in ("gunicorn", "--engine", "runworker") if k in command),
                    "",
                )
                with contextlib.suppress(OSError, IndexError):
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    size = pages * os.sysconf("SC_PAGE_SIZE")
                    self.peak[kind] = max(self.peak.get(kind, 0), size)

    def stop(self) -> None:
        self._end.set()
        self.join()


@contextlib.contextmanager
def running_site(folder: Path, database_url: str) -> Iterator[Running]:
    """A whole site with the test engine as its external engine."""
    site = Site(folder, database_url=database_url)
    site.run("migrate", "--verbosity", "0")
    with engine_process() as (url, _):
        site.run("addengine", "instant", "--url", url, "--window", "256")
        running = start_up(site, "--no-engine", LOG_LEVEL="WARNING", **UNLIMITED)
        running.up.expect("Worker of engine instant is ready.", timeout=120)
        try:
            yield running
        finally:
            running.up.stop()
            site.close()


def upload(client: OpenAI, path: Path) -> str:
    """Upload and create; the batch's id."""
    with path.open("rb") as file:
        made = client.files.create(file=file, purpose="batch")
    return client.batches.create(
        input_file_id=made.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
    ).id


def measure(folder: Path, database_url: str, rows: int, large: int) -> None:
    """Run both loads on one database and print the figures."""
    name = "PostgreSQL" if database_url else "SQLite"
    small_file, large_file = folder / "small.jsonl", folder / "large.jsonl"
    write_requests(small_file, rows, 200)
    bytes_ = write_requests(large_file, large, 3800)
    with running_site(folder / "site", database_url) as running:
        memory = Memory(running.site)
        memory.start()
        client = running.client
        warm = upload(client, small_file)
        patience = 600 + rows / 50
        running.wait(client.batches.retrieve(warm), timeout=patience)

        began = time.monotonic()
        batch = client.batches.retrieve(upload(client, small_file))
        batch = running.wait(batch, timeout=patience)
        seconds = time.monotonic() - began
        print(
            f"{name:<10}  pipeline  {rows:,} requests in {seconds:.1f} s:"
            f" {rows / seconds:,.0f} requests/s ({batch.status})"
        )

        began = time.monotonic()
        batch_id = upload(client, large_file)
        uploaded = time.monotonic() - began

        def validated() -> bool:
            return client.batches.retrieve(batch_id).status != "validating"

        wait_for(validated, timeout=300 + large / 200, what="intake")
        seconds = time.monotonic() - began
        client.batches.cancel(batch_id)
        print(
            f"{name:<10}  intake    {large:,} requests, {bytes_ / MEGABYTE:.0f} MB:"
            f" uploaded in {uploaded:.1f} s, validated and inserted after {seconds:.1f} s"
        )
        memory.stop()
    words = {"gunicorn": "web", "runworker": "control", "--engine": "engine worker"}
    peaks = ", ".join(
        f"{words[kind]} {size / MEGABYTE:.0f} MB"
        for kind, size in sorted(memory.peak.items())
        if kind in words
    )
    print(f"{name:<10}  memory    largest process: {peaks}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--large-rows", type=int, default=50_000)
    parser.add_argument("--database-url", default="")
    options = parser.parse_args()
    print(
        f"machine     {os.cpu_count()} cores, {cpu_model()}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.database_url, options.rows, options.large_rows)
    if not options.database_url:
        sizes = ["--rows", str(options.rows), "--large-rows", str(options.large_rows)]
        on_postgres(__file__, sizes)


def on_postgres(script: str, arguments: list[str]) -> None:
    """Run a benchmark again with a private PostgreSQL; nothing without its binaries."""
    if binaries() is None:
        return
    code = (
        "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:],"
        " '--database-url', os.environ['DATABASE_URL']])"
    )
    command = [sys.executable, "-m", "tests.postgres", sys.executable, "-c", code]
    subprocess.run([*command, script, *arguments], cwd=ROOT, check=True)


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
