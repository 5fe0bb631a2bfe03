# SPDX-License-Identifier: Apache-2.0
"""From an uploaded file to requests and chunks, in two deterministic passes.

Pass 1 (checks.py) reads the file without the database: it collects every error and
decides the order of running. Pass 2 inserts the rows. A restart repeats pass 1 and goes on after
the last row inserted; a file with errors inserts nothing.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max

from . import disks, lifecycle, limits
from .checks import Errors, Plan, check_file, file_problem, rules_for
from .estimates import Estimate, estimate
from .jsonl import LineError
from .models import Batch, BatchEstimate, BatchRequest, Chunk
from .ordering import RUNS_NOT, cut_chunks
from .speeds import tokens_per_second
from .tasks import poke_engines

if TYPE_CHECKING:
    from .stages import StageLease

SLICE_ROWS = 1000
SLICE_BYTES = 4_000_000


def run(batch: Batch, lease: StageLease) -> bool:
    """Validate and insert; True when the batch left `validating`, False to be poked again.

    The batch ends in in_progress or, with its errors listed, in failed. Raises
    StatusMoved when it was cancelled or its window ended meanwhile, and NoRoom while a
    disk is nearly full.
    """
    disks.check()
    file = batch.input_file
    problem = file_problem(file, batch.input_file_ref, batch.team)
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="intake-", dir=settings.SPOOL_DIR) as spool:
        folder = Path(spool)
        with (folder / "errors").open("w+b") as spooled:
            errors = Errors(spooled)
            if problem:
                errors.add(problem)
                return _fail(batch, lease, errors)
            assert file is not None  # else file_problem had told
            with default_storage.open(file.storage_name) as stream:
                plan = first_pass(batch, stream, folder, errors, lease)
            if not errors.count:
                _reserve(batch, plan, errors)
            if errors.count:
                return _fail(batch, lease, errors)
            with default_storage.open(file.storage_name) as stream:
                if not _insert(batch, stream, plan, lease):
                    return False
    return _start(batch, plan, lease)


def first_pass(
    batch: Batch, stream: IO[bytes], folder: Path, errors: Errors, lease: StageLease
) -> Plan:
    """Check the batch's file; StageLost when another worker has the batch, NoRoom."""

    def between() -> None:
        lease.check()
        disks.check()

    rules = rules_for(
        batch.team,
        endpoint=batch.endpoint,
        mixed=batch.allow_mixed_models,
        dedupe=batch.dedupe,
    )
    return check_file(stream, rules, folder=folder, errors=errors, between=between)


def _reserve(batch: Batch, plan: Plan, errors: Errors) -> None:
    """Count the batch's tokens against the limits; without room, that is an error."""
    try:
        limits.reserve_tokens(batch, plan.input_tokens(), model=_model(plan))
    except LineError as error:
        errors.add(error)


def _model(plan: Plan) -> str:
    """The batch's model; "" for several."""
    return plan.models[0] if len(plan.models) == 1 else ""


def _fail(batch: Batch, lease: StageLease, errors: Errors) -> bool:
    """Store the report, drop rows of an earlier start, move to failed."""
    purge(batch, lease)
    assert errors.spool is not None  # run() gives one
    with lease.files("reports") as store:
        report = store("report", errors.spool)
        lifecycle.fail(
            batch, epoch=lease.epoch, errors=errors.as_openai(), report=report
        )
    lease.check()
    return True


def purge(batch: Batch, lease: StageLease) -> None:
    """Delete the batch's chunks and requests."""
    _delete_rows(Chunk, batch, lease)
    _delete_rows(BatchRequest, batch, lease)


def _delete_rows(
    model: type[Chunk | BatchRequest], batch: Batch, lease: StageLease
) -> None:
    """Delete the batch's rows of a table in slices, while it is in the status we know."""
    rows = model._default_manager.filter(batch=batch)
    # Copies come after their originals and point at them: the last goes first.
    while keys := list(rows.order_by("-pk").values_list("pk", flat=True)[:1000]):
        with transaction.atomic():
            lease.fence(status=batch.status)
            # The bodies need not be read to be deleted.
            model._default_manager.filter(pk__in=keys).only("pk").delete()


def _insert(batch: Batch, stream: IO[bytes], plan: Plan, lease: StageLease) -> bool:
    """Pass 2: insert what is not there yet; False when it had to stop before the end.

    Pass 1 is repeated in each turn, however long it takes, so the turn counts from
    here and has at least one slice.
    """
    newest = BatchRequest.objects.filter(batch=batch).aggregate(top=Max("index"))["top"]
    index = 0 if newest is None else newest + 1
    originals = _inserted_originals(batch, plan, index)
    lease.start_turn()
    while index < len(plan):
        rows: list[BatchRequest] = []
        size = 0
        while index < len(plan) and len(rows) < SLICE_ROWS and size < SLICE_BYTES:
            row = _read_row(batch, stream, plan, index)
            rows.append(row)
            size += plan.size[index]
            index += 1
        disks.check()
        with transaction.atomic():
            lease.fence(status=Batch.Status.VALIDATING)
            _insert_slice(rows, plan, originals)
        if lease.used_up:
            break
    return index == len(plan)


def _read_row(batch: Batch, stream: IO[bytes], plan: Plan, index: int) -> BatchRequest:
    stream.seek(plan.offset[index])
    text = stream.read(plan.size[index]).decode()
    place = plan.order.run_order[index]
    return BatchRequest(
        batch=batch,
        index=index,
        line=plan.line[index],
        custom_id=json.loads(text[plan.id_start[index] : plan.id_end[index]]),
        url=batch.endpoint,
        model=plan.models[plan.model_of[index]],
        body=text[plan.body_start[index] : plan.body_end[index]],
        run_order=None if place == RUNS_NOT else place,
    )


def _inserted_originals(batch: Batch, plan: Plan, upto: int) -> dict[int, int]:
    """Primary keys of originals that have copies and were inserted before, by index.

    The others are put in as their slice is inserted; -1 marks them.
    """
    originals = {copied: -1 for copied in plan.order.copies if copied != RUNS_NOT}
    if upto:
        known = BatchRequest.objects.filter(
            batch=batch, index__lt=upto, run_order__isnull=False
        )
        for pk, index in known.values_list("pk", "index").iterator(chunk_size=2000):
            if index in originals:
                originals[index] = pk
    return originals


def _insert_slice(
    rows: list[BatchRequest], plan: Plan, originals: dict[int, int]
) -> None:
    """Insert originals first, so that their keys are known to the copies."""
    running = [row for row in rows if row.run_order is not None]
    for row in BatchRequest.objects.bulk_create(running):
        if row.index in originals:
            originals[row.index] = row.pk
    copies = [row for row in rows if row.run_order is None]
    for row in copies:
        row.duplicate_of_id = originals[plan.order.copies[row.index]]
    BatchRequest.objects.bulk_create(copies)


def _start(batch: Batch, plan: Plan, lease: StageLease) -> bool:
    """Create the chunks and let the batch run."""
    _delete_rows(Chunk, batch, lease)
    sequence = plan.order.sequence()
    ranges = cut_chunks(
        sequence,
        model_of=plan.model_of,
        size_of=plan.size,
        tokens_of=plan.tokens,
        rates=[tokens_per_second(model) for model in plan.models],
    )
    for at in range(0, len(ranges), SLICE_ROWS):
        with transaction.atomic():
            lease.fence(status=Batch.Status.VALIDATING)
            Chunk.objects.bulk_create(
                Chunk(
                    batch=batch,
                    model=plan.models[plan.model_of[sequence[start]]],
                    start=start,
                    end=end,
                )
                for start, end in ranges[at : at + SLICE_ROWS]
            )
    expected = estimate(plan, endpoint=batch.endpoint, team=batch.team)
    with transaction.atomic():
        started = lifecycle.start(
            batch,
            epoch=lease.epoch,
            total=len(plan),
            model=_model(plan),
        )
        if started:
            _keep(batch, expected, rows=len(sequence))
            poke_engines(plan.models)
    lease.check()
    return True


def _keep(batch: Batch, expected: Estimate, *, rows: int) -> None:
    """Store what is expected of the batch, to be compared with what comes."""
    BatchEstimate.objects.create(
        batch=batch,
        model=batch.model,
        endpoint=batch.endpoint,
        rows=rows,
        input_tokens=expected.input_tokens,
        output_tokens=expected.output_tokens,
        seconds=expected.seconds,
        seconds_low=expected.seconds_low,
        seconds_high=expected.seconds_high,
        basis=expected.basis,
    )
