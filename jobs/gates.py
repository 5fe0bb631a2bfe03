# SPDX-License-Identifier: Apache-2.0
"""Heavy work in web processes, of which each does only so much at once.

Reading or writing files of 200 MB takes a core for seconds. Without a limit a few calls
would leave no thread, and no core, to the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from .limits import LimitReached

# When to try again, in seconds.
RETRY_AFTER = 5
DRY_RUNS = BoundedSemaphore(1)
# Less is written while nobody notices.
LIGHT_BYTES = 8_000_000
# Joining the parts of an upload, and writing the input file of a retry.
FILES_WRITTEN = BoundedSemaphore(2)


@contextmanager
def place(
    gate: BoundedSemaphore, doing: str, *, size: int | None = None
) -> Iterator[None]:
    """One of the gate's places for the block; LimitReached when all are taken.

    Work on `size` bytes, where that is known and little, needs no place.
    """
    if size is not None and size <= LIGHT_BYTES:
        yield
        return
    if not gate.acquire(blocking=False):
        raise LimitReached(
            f"The server is busy {doing}. Please try again in {RETRY_AFTER}s.",
            retry_after=RETRY_AFTER,
        )
    try:
        yield
    finally:
        gate.release()
