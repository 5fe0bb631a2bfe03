# SPDX-License-Identifier: Apache-2.0
"""What people do with models: add, change, enable, disable, retry, remove.

Pages, commands and the admin call these; each leaves a line in the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet, Sum

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from .engines import registry
from .models import Batch, Chunk, Engine, ServedModel
from .refusals import Refused
from .tasks import poke_engines

State = ServedModel.State
NAMED = 3


def put(
    *,
    name: str,
    source: str,
    revision: str = "",
    engine_args: Sequence[str] = (),
    base: str = "",
    engines: Sequence[str] | None = None,
    request_timeout: int | None = None,
    new: bool = False,
    user: User | None = None,
    address: str | None = None,
) -> tuple[ServedModel, bool]:
    """Add the model or change it, as registry.add_model says; True when it is new.

    With `new` a model of that name is no model to change: Refused. CannotRegister for
    what cannot be registered.
    """
    with transaction.atomic():
        before = ServedModel.objects.filter(name=name).first()
        if new and before is not None:
            raise Refused(f"There is a model {name!r} already.", param="name")
        known = facts(before) if before else {}
        model, created = registry.add_model(
            name=name,
            source=source,
            revision=revision,
            engine_args=engine_args,
            base=base,
            engines=engines,
            request_timeout=request_timeout,
        )
        now = facts(model)
        changed = sorted(what for what in now if now[what] != known.get(what))
        if created or changed:
            record(
                action="model.add" if created else "model.change",
                actor=user,
                target=name,
                address=address,
                changed=changed,
                before={what: known[what] for what in changed if what in known},
                after={what: now[what] for what in changed},
            )
        transaction.on_commit(lambda: poke_engines([name]))
    return model, created


def facts(model: ServedModel) -> dict[str, Any]:
    """What people decide about a model, for the audit log."""
    return {
        "source": model.source,
        "revision": model.revision,
        "arguments": list(model.engine_args),
        "base": model.base.name if model.base else "",
        "engines": sorted(model.engines.values_list("name", flat=True)),
        "limit": model.request_timeout,
        "state": model.state,
    }


def enable(
    *, model: ServedModel, user: User | None = None, address: str | None = None
) -> bool:
    """Let batches name it again; False when it is enabled, or failed, already."""
    return _move(model, State.DISABLED, State.ENABLED, "enable", user, address)


def disable(
    *, model: ServedModel, user: User | None = None, address: str | None = None
) -> bool:
    """No new batch may name it, and no engine loads it; False when it is so already.

    Batches that have it wait; what is in flight ends.
    """
    changed = _move(model, State.ENABLED, State.DISABLED, "disable", user, address)
    return changed or _move(
        model, State.FAILED, State.DISABLED, "disable", user, address
    )


def retry(
    *, model: ServedModel, user: User | None = None, address: str | None = None
) -> bool:
    """Have a model tried again that failed to load; False when it has not failed."""
    return _move(model, State.FAILED, State.ENABLED, "retry", user, address)


def _move(
    model: ServedModel,
    old: str,
    new: str,
    verb: str,
    user: User | None,
    address: str | None,
) -> bool:
    """The conditional UPDATE and its line; False when the state was another one."""
    with transaction.atomic():
        won = ServedModel.objects.filter(pk=model.pk, state=old).update(
            state=new, state_reason="", load_failures=0
        )
        if not won:
            return False
        record(action=f"model.{verb}", actor=user, target=model.name, address=address)
        transaction.on_commit(lambda: poke_engines([model.name]))
    model.refresh_from_db(fields=["state", "state_reason", "load_failures"])
    return True


def remove(
    *, model: ServedModel, user: User | None = None, address: str | None = None
) -> None:
    """Forget the model, its pins and its measurements; the files stay where they are.

    Refused while batches need it, an engine holds it, or adapters belong to it.
    """
    with transaction.atomic():
        ServedModel.objects.select_for_update().filter(pk=model.pk).first()
        if why := why_kept(model):
            raise Refused(why)
        record(
            action="model.remove",
            actor=user,
            target=model.name,
            address=address,
            before=facts(model),
        )
        model.delete()


def why_kept(model: ServedModel) -> str:
    """Why the model cannot be removed now, in words; "" when it can."""
    if count := needing(model.name).count():
        batches = "A batch needs" if count == 1 else f"{count:,} batches need"
        return (
            f"{batches} {model}: wait for the end, or cancel first. To have no more of"
            " them, disable the model."
        )
    if names := holders(model):
        return (
            f"{model} is loaded, or about to be, on {', '.join(names)}: drain the"
            " engine, or let it load another model, first."
        )
    adapters = list(model.adapters.values_list("name", flat=True)[: NAMED + 1])
    if adapters:
        more = " and others" if len(adapters) > NAMED else ""
        return (
            f"{model} is the base of {', '.join(adapters[:NAMED])}{more}: remove these"
            " adapters first."
        )
    served = list(model.served_by.values_list("engine__name", flat=True)[:NAMED])
    if served:
        return (
            f"{model} is served by {', '.join(served)}: 'manage.py addengine' without it"
            " takes it away, or disable it."
        )
    return ""


def holders(model: ServedModel) -> list[str]:
    """Engines that have the model, or are loading it: their hosts write its key."""
    loading = Q(wanted_model=model, state=Engine.State.LOADING)
    has_it = Q(loaded_model=model) | loading
    names = list(Engine.objects.filter(has_it).values_list("name", flat=True))
    if model.base is not None:
        names += [
            engine.name
            for engine in Engine.objects.filter(loaded_model=model.base)
            if model.name in engine.loaded_adapters
        ]
    return names


def needing(name: str) -> QuerySet[Batch]:
    """The unfinished batches that name the model, among others perhaps."""
    mixed = Chunk.objects.open().filter(model=name, batch__allow_mixed_models=True)
    active = Batch.objects.active()
    # A batch that is being checked has not said yet which models it names.
    return active.filter(Q(model=name) | Q(pk__in=mixed.values("batch")))


def queued() -> dict[str, tuple[int, int]]:
    """Batches and requests that wait or run, by model; batches of several are left out."""
    left = F("total") - F("completed") - F("failed")
    rows = Batch.objects.active().exclude(model="").order_by().values_list("model")
    counted = rows.annotate(batches=Count("pk"), rows_left=Sum(left))
    return {model: (batches, rows_left or 0) for model, batches, rows_left in counted}
