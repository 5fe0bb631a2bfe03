# SPDX-License-Identifier: Apache-2.0
"""Regular work of benchmarks, run by control workers."""

from __future__ import annotations

from jobs.chores import Chore

from . import running

CHORES: tuple[Chore, ...] = (Chore("benchmark cells", 3, running.wanted, running.work),)
