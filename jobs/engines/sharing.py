# SPDX-License-Identifier: Apache-2.0
"""Engines that use the same GPU: allowed where that is meant, and always said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobs.models import Engine
from jobs.models.engines import STALE_SECONDS, database_time


def warnings(name: str, gpus: Any, engines: Iterable[Engine]) -> list[str]:
    """What an engine shares with others of these, in words.

    `gpus` are its own as Engine.gauges has them: by their unique ids, so that engines of
    other hosts may be among the others.
    """
    own = _indexes(gpus)
    found = []
    for other in engines:
        both = own.keys() & _indexes(other.gauges.get("gpus")).keys()
        if other.name != name and both:
            shared = " and ".join(sorted(own[uuid] for uuid in both))
            found.append(
                f"GPU {shared} is also used by the engine {other.name}; together they"
                " may need more memory than it has"
            )
    return found


def running() -> list[Engine]:
    """Managed engines whose host gave a sign of life in the last 15 s."""
    fresh = database_time(-STALE_SECONDS)
    return list(
        Engine.objects.filter(kind=Engine.Kind.MANAGED, host_heartbeat__gt=fresh)
    )


def _indexes(gpus: Any) -> Mapping[str, str]:
    """The GPUs by unique id, each as its host counts it."""
    entries = gpus if isinstance(gpus, list) else []
    return {
        entry["uuid"]: str(entry.get("index", "?"))
        for entry in entries
        if isinstance(entry, dict) and entry.get("uuid")
    }
