# SPDX-License-Identifier: Apache-2.0
"""What the test engine was asked and what it answered, in a file that outlives it."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from pathlib import Path
from typing import Literal, NamedTuple

What = Literal["asked", "answered"]


class Journal:
    """Appends to the file; each write is one whole line, whoever else writes."""

    def __init__(self, path: str) -> None:
        self._out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, what: What, key: str) -> None:
        """A line: what, when by this host's monotonic clock, the request's key."""
        os.write(self._out, f"{what} {time.monotonic():.4f} {key}\n".encode())


class Entry(NamedTuple):
    """A line of the journal; `at` as time.monotonic() of any process of this host."""

    what: str
    at: float
    key: str


class Reader:
    """Reads the file as it grows; `entries` by key, in the order of time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.entries: dict[str, list[Entry]] = defaultdict(list)

    def read(self) -> None:
        """Take what came since the last call; nothing before the first engine runs."""
        try:
            with self._path.open("rb") as lines:
                lines.seek(self._offset)
                fresh = lines.read()
        except FileNotFoundError:
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            what, at, key = line.split(" ", 2)
            self.entries[key].append(Entry(what, float(at), key))

    def times_asked(self) -> list[int]:
        """How often each request came to the engine."""
        return [
            sum(entry.what == "asked" for entry in entries)
            for entries in self.entries.values()
        ]

    def last_asked(self, key: str) -> float:
        """When the request came the last time."""
        return max(e.at for e in self.entries[key] if e.what == "asked")
