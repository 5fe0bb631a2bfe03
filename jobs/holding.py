# SPDX-License-Identifier: Apache-2.0
"""Pausing, draining, restarting and resuming an engine by hand.

Each is kept with its reason in the engine's history and in the audit log. A paused
engine gets no new requests: what is in flight ends, and its model stays loaded. A
drained one is paused, and its host unloads the model once nothing is in flight, so that
its memory is free for whatever is to be done. A restarted one finishes what is in
flight, is ended by its host and begun anew.
"""

from __future__ import annotations

import time
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .models import Engine, EngineEvent
from .models.engines import STALE_SECONDS, database_time
from .refusals import Refused
from .tasks import poke_engine

REASON_LENGTH = 200
KINDS = {
    "pause": EngineEvent.Kind.ASK_PAUSE,
    "drain": EngineEvent.Kind.ASK_DRAIN,
    "resume": EngineEvent.Kind.ASK_RESUME,
    "restart": EngineEvent.Kind.ASK_RESTART,
}
# The states of a start that has not been told to end.
RESTARTABLE = (Engine.State.LOADING, Engine.State.READY, Engine.State.DRAINING)


def find(name: str) -> Engine:
    """The engine of that name; Refused when there is none, with those that are."""
    engine = Engine.objects.filter(name=name).first()
    if engine is None:
        names = ", ".join(Engine.objects.values_list("name", flat=True)) or "none"
        raise Refused(f"There is no engine {name!r}; there are: {names}.")
    return engine


def pause(
    *, engine: Engine, user: User | None, address: str | None = None, reason: str = ""
) -> bool:
    """No new requests; False when it is paused or drained already."""
    running = Engine.objects.filter(pk=engine.pk, paused=False)
    return _write(
        running, "pause", engine, user, address, reason, paused=True, drained=False
    )


def drain(
    *, engine: Engine, user: User | None, address: str | None = None, reason: str = ""
) -> bool:
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
        others, "drain", engine, user, address, reason, paused=True, drained=True
    )


def restart(
    *, engine: Engine, user: User | None, address: str | None = None, reason: str = ""
) -> bool:
    """Have the engine's present start ended by its host, and the next one begun.

    What is in flight gets the drain limit to end; the rest of it runs again. False when
    that start is to be ended already. Refused for an external engine, and for one that
    has nothing to restart.
    """
    if engine.kind == Engine.Kind.EXTERNAL:
        raise Refused(
            f"{engine.name} is a server elsewhere, which only whoever runs it can"
            " restart. Pause it meanwhile."
        )
    here = Engine.objects.filter(pk=engine.pk)
    asked = Q(restart_of=F("generation"))
    able = here.filter(
        host_heartbeat__gt=database_time(-STALE_SECONDS),
        state__in=RESTARTABLE,
        drained=False,
    ).exclude(asked)
    if _write(
        able, "restart", engine, user, address, reason, restart_of=F("generation")
    ):
        return True
    if here.filter(asked, state__in=RESTARTABLE).exists():
        return False
    raise Refused(_why_not_restarted(engine))


def _why_not_restarted(engine: Engine) -> str:
    """What keeps a restart from happening, and what helps instead."""
    living = Engine.objects.filter(pk=engine.pk)
    if not living.filter(host_heartbeat__gt=database_time(-STALE_SECONDS)).exists():
        return (
            f"{engine.name} has no running host that could restart it. Start it with"
            f" 'manage.py runengine --name {engine.name}'."
        )
    if engine.paused and engine.state == Engine.State.FAILED:
        return f"{engine.name} was given up. Resume it, and it starts at once."
    if engine.drained:
        return f"{engine.name} is drained. Resume it, and it starts when it is needed."
    return (
        f"{engine.name} is {engine.state}: there is nothing to restart. It starts by"
        " itself when a batch wants a model."
    )


def resume(
    *, engine: Engine, user: User | None, address: str | None = None, reason: str = ""
) -> bool:
    """Let it take requests again; False when it is not paused."""
    paused = Engine.objects.filter(pk=engine.pk, paused=True)
    with transaction.atomic():
        if not _write(
            paused, "resume", engine, user, address, reason, paused=False, drained=False
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
    reason: str,
    **columns: Any,
) -> bool:
    """The conditional UPDATE and its lines; False when there was nothing to change."""
    # One line, and nothing that PostgreSQL's text does not take.
    sound = "".join(letter if letter.isprintable() else " " for letter in reason)
    reason = " ".join(sound.split())[:REASON_LENGTH]
    by = user.email if user else ""
    asked = {"verb": verb, "by": by, "at": int(time.time()), "reason": reason}
    more: dict[str, Any] = {"reason": reason} if reason else {}
    with transaction.atomic():
        if not rows.update(**columns, asked=asked):
            return False
        EngineEvent.objects.create(
            engine=engine, kind=KINDS[verb], reason=reason, by=by
        )
        record(
            action=f"engine.{verb}",
            actor=user,
            target=engine.name,
            address=address,
            **more,
        )
    engine.refresh_from_db(fields=[*columns, "asked"])
    return True
