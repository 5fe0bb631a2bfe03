# SPDX-License-Identifier: Apache-2.0
"""Pausing, draining and resuming an engine by hand, each with a line in the audit log.

A paused engine gets no new requests: what is in flight ends, and its model stays
loaded. A drained one is paused, and its host unloads the model once nothing is in
flight, so that its memory is free for whatever is to be done.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .models import Engine
from .refusals import Refused
from .tasks import poke_engine


def find(name: str) -> Engine:
    """The engine of that name; Refused when there is none, with those that are."""
    engine = Engine.objects.filter(name=name).first()
    if engine is None:
        names = ", ".join(Engine.objects.values_list("name", flat=True)) or "none"
        raise Refused(f"There is no engine {name!r}; there are: {names}.")
    return engine


def pause(*, engine: Engine, user: User | None, address: str | None = None) -> bool:
    """No new requests; False when it is paused or drained already."""
    running = Engine.objects.filter(pk=engine.pk, paused=False)
    return _write(
        running, "pause", engine, user, address, {"paused": True, "drained": False}
    )


def drain(*, engine: Engine, user: User | None, address: str | None = None) -> bool:
    """Pause, and have the model unloaded; False when it is drained already.

    Refused for an external engine, whose server is nobody's here to unload.
    """
    if engine.kind == Engine.Kind.EXTERNAL:
        raise Refused(
            f"{engine.name} is a server elsewhere, whose model cannot be unloaded from"
            " here. Pause it instead."
        )
    others = Engine.objects.filter(pk=engine.pk).exclude(paused=True, drained=True)
    return _write(
        others, "drain", engine, user, address, {"paused": True, "drained": True}
    )


def resume(*, engine: Engine, user: User | None, address: str | None = None) -> bool:
    """Let it take requests again; False when it is not paused."""
    paused = Engine.objects.filter(pk=engine.pk, paused=True)
    with transaction.atomic():
        if not _write(
            paused, "resume", engine, user, address, {"paused": False, "drained": False}
        ):
            return False
        for living in Engine.objects.filter(pk=engine.pk).with_live_worker():
            poke_engine(living)
    return True


def _write(
    rows: QuerySet[Engine],
    verb: str,
    engine: Engine,
    user: User | None,
    address: str | None,
    columns: dict[str, bool],
) -> bool:
    """The conditional UPDATE and its line; False when there was nothing to change."""
    with transaction.atomic():
        if not rows.update(**columns):
            return False
        record(action=f"engine.{verb}", actor=user, target=engine.name, address=address)
    for name, value in columns.items():
        setattr(engine, name, value)
    return True
