# SPDX-License-Identifier: Apache-2.0
"""django-q2's entry points, each a thin call, and the pokes that enqueue them.

A poke only wakes: it carries an id and nothing else, and losing or repeating one
does no harm. What is to be done is read from our tables.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from django.core.cache import cache
from django.db.models import Q
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from .models import Engine

logger = logging.getLogger(__name__)
CONTROL_QUEUE = "batchsite"
# More waiting pokes than this say nothing new.
ENOUGH_POKES = 50
# A chore's poke that nobody took for so many seconds may have been lost.
POKE_WAITS = 300


def poke_stage(batch_pk: int) -> None:
    """Wake a control worker for that batch."""
    async_task("jobs.tasks.attend_stage", batch_pk, cluster=CONTROL_QUEUE)


def poke_chore(name: str) -> None:
    """Wake a control worker for that chore, unless a poke for it waits already."""
    try:
        if not cache.add(_woken(name), 1, timeout=POKE_WAITS):
            return
    except Exception:
        logger.exception("the cache does not tell whether %s was poked", name)
    async_task("jobs.tasks.attend_chore", name, cluster=CONTROL_QUEUE)


def _woken(name: str) -> str:
    return f"chore-woken:{name.replace(' ', '-')}"


def poke_engines(models: list[str]) -> None:
    """Wake the workers of the engines that could run one of these models."""
    able = Engine.objects.filter(
        Q(kind=Engine.Kind.MANAGED) | Q(serves__served_model__name__in=models),
        paused=False,
    ).distinct()
    for engine in able.with_live_worker():
        poke_engine(engine)


def poke_engine(engine: Engine) -> None:
    """Wake one engine's worker, unless a poke already waits in its queue."""
    if not waiting_pokes(engine.queue):
        async_task("jobs.tasks.attend", engine.name, cluster=engine.queue)


def waiting_pokes(queue: str) -> int:
    """Tasks of a queue that no process has taken yet."""
    return int(OrmQ.objects.filter(key=queue, lock__lte=timezone.now()).count())


def attend_stage(batch_pk: int) -> str:
    """Bring the batch as far as control work can; says what was done."""
    from .stages import attend_batch

    return attend_batch(batch_pk)


def attend_chore(name: str) -> str:
    """Do one of the regular chores; says what was done."""
    from .chores import do_chore

    with contextlib.suppress(Exception):
        cache.delete(_woken(name))

    return do_chore(name)


def attend(engine_name: str) -> dict[str, Any]:
    """Keep the engine's feeder at work for about a minute; returns its figures."""
    from .attending import attend_engine

    return attend_engine(engine_name)
