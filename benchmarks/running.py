# SPDX-License-Identifier: Apache-2.0
"""Runs: a suite on models, as ordinary batches of the lowest priority.

Control workers start the cells of a run and score them when their batches have ended;
a killed one is gone on with, and no answer is scored twice.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import disks, file_store, lifecycle, limits, submit
from jobs.auditing import note
from jobs.jsonl import quoted
from jobs.models import Batch, BatchFile, ServedModel
from jobs.models.leases import TakenOver
from jobs.refusals import NotNow, Refused
from jobs.row_checks.parameters import bad, string, title
from jobs.uploads import SpooledUpload

from . import evaluating
from .item_lines import as_text
from .models import Cell, Run, SuiteItem, SuiteVersion

log = logging.getLogger(__name__)
PRIORITY = -100
TURN_SECONDS = 40.0
AGAIN_SECONDS = 60
TAKEN_AT_ONCE = 20
READ_AT_ONCE = 500
MOST_CELLS = 100
MOST_REPEATS = 20
VARIANT = re.compile(r"[A-Za-z0-9._-]{1,40}")
BODY_LENGTH = 20_000
# What a variant may not change: the item is what is measured.
FIXED = ("model", "stream", "messages", "prompt", "input")
State = Cell.State
OPEN = (State.WAITING, State.RUNNING)


@dataclass(frozen=True, slots=True)
class Variant:
    """A setting: what it changes in each request's body, under a name."""

    name: str
    body: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As `read_variants` takes it."""
        return {"name": self.name, "body": self.body}


# The items as they are.
USUAL: tuple[Variant, ...] = (Variant("as-given"),)


def read_variants(param: str, value: Any) -> list[Variant]:
    """Variants from JSON: a list of {"name", "body"}; Refused names the field."""
    if not isinstance(value, list) or not value:
        raise bad(param, "expected an array of objects.", "invalid_type")
    found = [_variant(f"{param}[{n}]", one) for n, one in enumerate(value[:101])]
    if len({one.name for one in found}) < len(found):
        raise bad(param, "each variant needs a name of its own.")
    return found


def _variant(param: str, value: Any) -> Variant:
    if not isinstance(value, dict):
        raise bad(param, "expected an object.", "invalid_type")
    for member in value:
        if member not in ("name", "body"):
            where = f"{param}.{quoted(str(member), 50)}"
            raise bad(where, "a variant has no such field.", "unknown_parameter")
    name = string(f"{param}.name", value.get("name"), 40)
    if not VARIANT.fullmatch(name):
        raise bad(f"{param}.name", "use letters, figures, '.', '_' and '-'.")
    body = value.get("body", {})
    if not isinstance(body, dict):
        raise bad(f"{param}.body", "expected an object.", "invalid_type")
    for member in FIXED:
        if member in body:
            raise bad(f"{param}.body.{member}", "a variant cannot change this.")
    if len(as_text(f"{param}.body", body)) > BODY_LENGTH:
        raise bad(f"{param}.body", f"at most {BODY_LENGTH:,} characters.")
    return Variant(name, body)


def ask(
    *,
    version: SuiteVersion,
    models: Sequence[str],
    variants: Sequence[Variant] = USUAL,
    repeats: int = 1,
    name: str = "",
    user: User | None,
    rerun_of: Run | None = None,
    address: str | None = None,
) -> Run:
    """Put the items to each model in each variant, so many times; at most 100 cells.

    Engine settings are compared as models: the same weights under two names. Refused
    for a model that is not enabled, and for an archived suite.
    """
    suite = version.suite
    if suite.archived_at is not None:
        raise bad("suite", "it is archived.")
    if not models:
        raise bad("models", "name a model at least.", "empty_array")
    served = set(ServedModel.objects.enabled().values_list("name", flat=True))
    for number, model in enumerate(models):
        if model not in served:
            raise bad(f"models[{number}]", "no enabled model is named so.")
    if len(set(models)) < len(models):
        raise bad("models", "each model is named once.")
    if not 1 <= repeats <= MOST_REPEATS:
        raise bad("repeats", f"expected 1 to {MOST_REPEATS}.")
    cells = len(models) * len(variants) * repeats
    if cells > MOST_CELLS:
        why = f"{cells:,} batches would be made, {MOST_CELLS} are allowed."
        raise bad("models", why)
    matrix = {
        "models": list(models),
        "variants": [variant.as_json() for variant in variants],
        "repeats": repeats,
    }
    with transaction.atomic():
        run = Run.objects.create(
            team=suite.team,
            version=version,
            name=title("name", name or suite.name),
            matrix_text=json.dumps(matrix),
            rerun_of=rerun_of,
            created_by=user,
        )
        Cell.objects.bulk_create(_cells(run, models, variants, repeats))
        facts = {"suite": suite.public_id, "version": version.number, "cells": cells}
        note("benchmark.run", run, user, address, **facts)
    return run


def _cells(
    run: Run, models: Sequence[str], variants: Sequence[Variant], repeats: int
) -> Iterator[Cell]:
    """A model's cells one after the other, so that it is loaded once."""
    position = 0
    for model in models:
        for variant in variants:
            for repeat in range(1, repeats + 1):
                yield Cell(
                    run=run,
                    position=position,
                    model=model,
                    variant=variant.name,
                    body_text=json.dumps(variant.body),
                    repeat=repeat,
                )
                position += 1


def rerun(*, run: Run, user: User | None, address: str | None = None) -> Run:
    """The same items, models and settings once more, as a run of its own."""
    matrix = run.matrix
    return ask(
        version=run.version,
        models=matrix["models"],
        variants=read_variants("variants", matrix["variants"]),
        repeats=matrix["repeats"],
        name=run.name,
        user=user,
        rerun_of=run,
        address=address,
    )


def cancel(*, run: Run, user: User | None, address: str | None = None) -> None:
    """End what has not ended; what is done stays. NotNow for a run that has ended."""
    with transaction.atomic():
        _lock(run)
        if run.state != Run.State.RUNNING:
            raise NotNow(f"The run is {run.get_state_display().lower()} already.")
        now = timezone.now()
        keys = list(run.cells.filter(state__in=OPEN).values_list("pk", flat=True))
        left = Cell.objects.filter(pk__in=keys, state__in=OPEN)
        # Whoever is at one of them is too late from now on.
        left.update(state=State.CANCELLED, ended_at=now, turn=F("turn") + 1)
        # As they are now: one may have been started just before.
        for batch in Batch.objects.filter(benchmark_cell__in=keys):
            try:
                submit.cancel_batch(batch=batch, user=user, address=address)
            except lifecycle.CannotCancel:
                # It has just ended by itself.
                continue
        Run.objects.filter(pk=run.pk).update(state=Run.State.CANCELLED, ended_at=now)
        note("benchmark.cancel", run, user, address)
    run.refresh_from_db()


def resume(*, run: Run, user: User | None, address: str | None = None) -> int:
    """Run what was cancelled or failed once more; how many cells. NotNow for none."""
    with transaction.atomic():
        _lock(run)
        lost = run.cells.filter(state__in=(State.CANCELLED, State.FAILED))
        keys = list(lost.values_list("pk", flat=True))
        if not keys:
            raise NotNow("Nothing of the run was cancelled or failed.")
        evaluating.forget(keys)
        Cell.objects.filter(pk__in=keys).update(
            state=State.WAITING,
            batch=None,
            problem="",
            scored=0,
            figures_text="{}",
            ended_at=None,
            taken_until=None,
            turn=F("turn") + 1,
        )
        Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, ended_at=None)
        note("benchmark.resume", run, user, address, cells=len(keys))
    run.refresh_from_db()
    return len(keys)


def _lock(run: Run) -> None:
    locked = Run.objects.select_for_update().get(pk=run.pk)
    run.state = locked.state


# --- the work


def wanted() -> bool:
    """Whether there is a cell to start or to score."""
    return Cell.objects.due().exists()


def work(*, seconds: float = TURN_SECONDS) -> str:
    """Start and score cells until `seconds` are over."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end and (cell := _take()) is not None:
        go_on(cell, end)
        count += 1
    return f"{count} cells were looked after"


def _take() -> Cell | None:
    due = Cell.objects.due().select_related("run__version__suite__team", "batch")
    for cell in due[:TAKEN_AT_ONCE]:
        if Cell.objects.due().take(cell):
            return cell
    return None


def go_on(cell: Cell, end: float) -> None:
    """Start a held cell, or score it until `end`."""
    try:
        _go_on(cell, end)
    except TakenOver:
        return


def _go_on(cell: Cell, end: float) -> None:
    try:
        if cell.state == State.WAITING:
            _start(cell)
        elif cell.batch is None:
            _close(cell, State.FAILED, problem="Its batch was removed.")
        elif cell.batch.status == Batch.Status.COMPLETED:
            if not evaluating.score(cell, end):
                cell.hold(taken_until=None)
                return
            figures = json.dumps(evaluating.figures(cell))
            _close(cell, State.DONE, figures_text=figures)
        else:
            _close(cell, State.FAILED, problem=_why(cell.batch))
    except (limits.LimitReached, disks.NoRoom):
        # Nothing is wrong with it: there is no room just now.
        cell.hold(taken_until=Now() + timedelta(seconds=AGAIN_SECONDS))
    except Refused as refused:
        _close(cell, State.FAILED, problem=refused.message[:500])
    except (TakenOver, DatabaseError):
        raise
    except Exception:
        # Another try would end the same way, and keep all other cells waiting.
        log.exception("benchmark cell failed", extra={"cell": cell.pk})
        _close(cell, State.FAILED, problem="A mistake of the server; see its log.")


def _why(batch: Batch) -> str:
    told = (batch.errors or {}).get("data") or []
    if told:
        return f"Its batch failed: {told[0].get('message', '')}"[:500]
    return f"Its batch ended as {batch.get_status_display().lower()}."


def _start(cell: Cell) -> None:
    run = cell.run
    disks.check()
    limits.check_room(team=run.team, lines=run.version.count)
    spool = SpooledUpload(
        name=f"{run.public_id}_{cell.position}.jsonl",
        content_type="application/jsonl",
        charset=None,
    )
    with closing(spool):
        _write(spool, cell)
        with file_store.pending(spool, team=run.team, user=run.created_by) as add:
            _submit(cell, add)


@transaction.atomic
def _submit(cell: Cell, add: Any) -> None:
    run = cell.run
    file: BatchFile = add()
    batch = submit.create_batch(
        team=run.team,
        user=run.created_by,
        input_file_id=file.public_id,
        endpoint=run.version.url,
        name=f"{run.name}: {cell.variant} on {cell.model}, {cell.repeat}"[:200],
        tags=["benchmark"],
        priority=PRIORITY,
        # Each answer is measured, also where two items ask the same.
        dedupe=False,
    )
    cell.hold(batch=batch, state=State.RUNNING, taken_until=None)


def _write(spool: SpooledUpload, cell: Cell) -> None:
    version, changes = cell.run.version, cell.body
    for item in _items(version):
        body = {**json.loads(item.body), **changes, "model": cell.model}
        line = {"custom_id": item.custom_id, "method": "POST", "url": version.url}
        data = json.dumps(line | {"body": body}).encode() + b"\n"
        spool.take(data)
        spool.size = (spool.size or 0) + len(data)


def _items(version: SuiteVersion) -> Iterator[SuiteItem]:
    rows, after = version.items.order_by("index"), -1
    while found := list(rows.filter(index__gt=after)[:READ_AT_ONCE]):
        yield from found
        after = found[-1].index


def _close(cell: Cell, state: str, **values: Any) -> None:
    """End the cell, and with the last one its run."""
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=cell.run_id)
        now = timezone.now()
        cell.hold(state=state, ended_at=now, taken_until=None, **values)
        if locked.state != Run.State.RUNNING:
            return
        if not locked.cells.filter(state__in=OPEN).exists():
            Run.objects.filter(pk=locked.pk).update(state=Run.State.DONE, ended_at=now)
