# SPDX-License-Identifier: Apache-2.0
"""What an engine runs on, in words that are the same as long as it is the same."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from pathlib import Path

from .gpus import Reading


def in_words(reading: Reading) -> str:
    """`2 x NVIDIA L4`, or `CPU NAME, 8 cores`; "" while that is not known.

    GPUs that cannot be read just now do not make the host one without GPUs.
    """
    if reading.gpus:
        names = Counter(str(gpu.get("name") or "GPU") for gpu in reading.gpus)
        words = ", ".join(f"{n} x {name}" for name, n in sorted(names.items()))
        return words[:200]
    return cpu() if reading.note.startswith("no GPU") else ""


@functools.cache
def cpu(path: Path = Path("/proc/cpuinfo")) -> str:
    """This host's processor and how many cores this process may use."""
    try:
        found = re.search(r"^model name\s*: (.+)$", path.read_text(), re.M)
    except OSError:
        found = None
    name = " ".join(found[1].split()) if found else os.uname().machine
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        # Where the system does not tell, all of them count.
        cores = os.cpu_count() or 1
    return f"CPU {name[:150]}, {cores} core{'s' if cores != 1 else ''}"


@functools.cache
def memory() -> int | None:
    """Bytes of this host's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
