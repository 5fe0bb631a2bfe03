# SPDX-License-Identifier: Apache-2.0
"""`make bench-gaps`: for how long an engine has nothing to do although there is work.

batches   batches of one model one after the other, with the engine's own account of
          when it had no request: the pauses between them, those that were submitted
          together and those whose client waits for the end of the one before
swaps     batches of two models in turn: seconds of a swap beyond the model's load

The engine is the test engine, whose answers and loads take as long as it is told.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ["LOG_LEVEL"] = "WARNING"

from deploy.bench_pipeline import batch_file, cpu_model, on_postgres  # noqa: E402 - needs the path above
from tests.e2e.client import Running, start_up  # noqa: E402 - as above
from tests.engine_journal import Entry, Reader  # noqa: E402 - as above
from tests.site import Site, wait_for  # noqa: E402 - as above

ROWS = 64
DELAY = 0.5
LOAD_SECONDS = 2
SWAPS = """
from jobs.engines.timeline import recorded_swaps
for swap in recorded_swaps("local"):
    print(swap.overhead, swap.seconds["loading"])
"""


def requests(batch: str, model: str) -> bytes:
    """A batch file whose requests are told apart in the engine's journal."""
    return batch_file(
        {
            "model": model,
            "messages": [{"role": "user", "content": f"{batch} {n}"}],
            "test": {"key": f"{batch}-{n}", "delay": DELAY},
        }
        for n in range(ROWS)
    )


def pauses(entries: Iterable[Entry]) -> list[float]:
    """Seconds without a request at the engine, between its first and its last."""
    flying, since = 0, 0.0
    found = []
    for entry in sorted(entries, key=lambda entry: entry.at):
        if entry.what == "asked":
            if not flying and since:
                found.append(entry.at - since)
            flying += 1
        else:
            flying -= 1
            since = entry.at
    return found


def measured(
    running: Running, journal: Path, batches: Sequence[str], *, together: bool
) -> str:
    """The engine's pauses over these batches, in words."""
    made = []
    for name in batches:
        made.append(running.submit(requests(name, "one")))
        if not together:
            running.wait(made[-1], timeout=300, every=0.1)
    for batch in made:
        assert running.wait(batch, timeout=300).status == "completed"
    reader = Reader(journal)
    reader.read()
    mine = [
        entry
        for key, entries in reader.entries.items()
        if key.rpartition("-")[0] in batches
        for entry in entries
    ]
    found = pauses(mine)
    return (
        f"{len(found)} pauses between {len(batches)} batches, the longest"
        f" {max(found, default=0.0):.2f} s, in all {sum(found):.2f} s"
    )


def measure(folder: Path, database_url: str, count: int) -> None:
    """Both parts on one database."""
    name = "PostgreSQL" if database_url else "SQLite"
    journal = folder / "journal"
    site = Site(folder / "site", database_url=database_url)
    site.run("migrate", "--verbosity", "0")
    arguments = f"--max-num-seqs 16 --load-seconds {LOAD_SECONDS} --journal {journal}"
    for model in ("one", "two"):
        site.run(
            "addmodel", model, "--source", f"org/{model}", "--engine-args", arguments
        )
    try:
        running = start_up(site, LOG_LEVEL="WARNING", BATCHSITE_MODEL_WAIT="0")
        running.wait(running.submit(requests("warm", "one")), timeout=300)
        for words, together in (
            ("submitted together", True),
            ("one after the other", False),
        ):
            names = [f"{words[:3]}{n}" for n in range(count)]
            said = measured(running, journal, names, together=together)
            print(f"{name:<10}  batches   {words}: {said}")
        for n in range(count):
            batch = running.submit(requests(f"swap{n}", ("two", "one")[n % 2]))
            assert running.wait(batch, timeout=300).status == "completed"
        wait_for(lambda: len(swaps(site)) == count, what="the swaps on the timeline")
        overheads, loads = zip(*swaps(site), strict=True)
        print(
            f"{name:<10}  swaps     {count}, a load {statistics.median(loads):.1f} s:"
            f" {statistics.median(overheads):.2f} s beyond it, at most"
            f" {max(overheads):.2f} s"
        )
        running.up.stop()
    finally:
        site.close()


def swaps(site: Site) -> list[tuple[float, float]]:
    """Of each swap of the engine: seconds beyond the load, seconds of the load."""
    lines = site.python(SWAPS).splitlines()
    pairs = [line.split() for line in lines]
    return [(float(beyond), float(load)) for beyond, load in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=6, help="batches of each kind")
    parser.add_argument("--database-url", default="")
    options = parser.parse_args()
    print(
        f"machine     {os.cpu_count()} cores, {cpu_model()}, Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.database_url, options.count)
    if not options.database_url:
        on_postgres(__file__, ["--count", str(options.count)])


if __name__ == "__main__":
    main()
