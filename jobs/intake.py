# SPDX-License-Identifier: Apache-2.0
"""From an uploaded file to requests and chunks, in two deterministic passes.

Pass 1 reads the file without the database: it collects every error and decides the
order of running. Pass 2 inserts the rows. A restart repeats pass 1 and goes on after
the last row inserted; a file with errors inserts nothing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Max

from . import lifecycle
from .estimates import DEFAULT_OUTPUT_TOKENS, tokens_per_second
from .jsonl import (
    Line,
    LineError,
    ParsedLine,
    parse_line,
    quoted,
    read_lines,
    unparseable,
)
from .models import Batch, BatchFile, BatchRequest, Chunk, ServedModel
from .ordering import RUNS_NOT, Order, Spool, cut_chunks, decide, max_tokens
from .tasks import poke_engines

if TYPE_CHECKING:
    from .stages import StageLease

ERRORS_SHOWN = 1000
SLICE_ROWS = 1000
SLICE_BYTES = 4_000_000


class Plan:
    """What pass 1 learned of each request, by index, in arrays (about 40 bytes a row)."""

    def __init__(self) -> None:
        self.offset = array("Q")
        self.line = array("I")
        self.size = array("I")
        self.id_start, self.id_end = array("I"), array("I")
        self.body_start, self.body_end = array("I"), array("I")
        self.tokens = array("I")
        self.model_of = array("H")
        self.models: list[str] = []
        self.order = Order(0)

    def __len__(self) -> int:
        return len(self.line)

    def add(self, line: Line, parsed: ParsedLine, model: int) -> None:
        """Note where a valid line's parts are; the arrays grow by one."""
        self.offset.append(line.offset)
        self.line.append(line.number)
        self.size.append(len(line.data or b""))
        self.id_start.append(parsed.custom_id_at.start)
        self.id_end.append(parsed.custom_id_at.end)
        self.body_start.append(parsed.body_at.start)
        self.body_end.append(parsed.body_at.end)
        body_size = parsed.body_at.end - parsed.body_at.start
        # Prompt tokens cost about a tenth of generated ones; four characters a token.
        self.tokens.append(
            (max_tokens(parsed.body) or DEFAULT_OUTPUT_TOKENS) + body_size // 40
        )
        self.model_of.append(model)


@dataclass(slots=True)
class Errors:
    """The bad lines: the first 1,000 for the batch object, all of them in a file."""

    spool: IO[bytes]
    count: int
    shown: list[dict[str, Any]]

    def add(self, error: LineError) -> None:
        """Take one more."""
        self.count += 1
        if len(self.shown) < ERRORS_SHOWN:
            self.shown.append(error.as_dict())
        self.spool.write(json.dumps(error.as_dict()).encode() + b"\n")

    def as_openai(self) -> dict[str, Any]:
        """OpenAI's errors list; a last entry says when it is not the whole list."""
        data = list(self.shown)
        if self.count > len(data):
            data.append(
                LineError(
                    "more_errors",
                    f"{self.count - len(data):,} more errors are not listed here;"
                    " the validation report has all of them.",
                ).as_dict()
            )
        return {"object": "list", "data": data}


def run(batch: Batch, lease: StageLease) -> bool:
    """Validate and insert; True when the batch left `validating`, False to be poked again.

    The batch ends in in_progress or, with its errors listed, in failed. Raises
    StatusMoved when it was cancelled or its window ended meanwhile.
    """
    file = batch.input_file
    problem = _file_problem(batch, file)
    settings.SPOOL_DIR.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="intake-", dir=settings.SPOOL_DIR) as spool:
        folder = Path(spool)
        with (folder / "errors").open("w+b") as spooled:
            errors = Errors(spooled, 0, [])
            if problem:
                errors.add(problem)
                return _fail(batch, lease, errors)
            assert file is not None  # else _file_problem had told
            with default_storage.open(file.storage_name) as stream:
                plan = validate(batch, stream, folder, errors, lease)
            if errors.count:
                return _fail(batch, lease, errors)
            with default_storage.open(file.storage_name) as stream:
                if not _insert(batch, stream, plan, lease):
                    return False
    return _start(batch, plan, lease)


def _file_problem(batch: Batch, file: BatchFile | None) -> LineError | None:
    if file is None or file.deleted_at or not default_storage.exists(file.storage_name):
        return LineError(
            "invalid_request",
            f"Cannot find file {quoted(batch.input_file_ref)}, or organization"
            f" {batch.team.name} does not have access to it.",
            "file_id",
        )
    if file.purpose != BatchFile.Purpose.BATCH:
        return LineError(
            "invalid_file_purpose",
            f"File {file.public_id} has purpose '{file.purpose}'; a batch needs 'batch'.",
            "file_id",
        )
    return None


def validate(
    batch: Batch, stream: IO[bytes], folder: Path, errors: Errors, lease: StageLease
) -> Plan:
    """Pass 1: check each line, spool its sort key, decide the order.

    Without errors the plan names every request; with errors it is of no use.
    """
    plan, spool = Plan(), Spool(folder)
    seen: set[int] = set()
    models = frozenset(ServedModel.objects.enabled().values_list("name", flat=True))
    limit = batch.team.max_requests or settings.BATCHSITE_MAX_REQUESTS
    lines = 0
    for lines, line in enumerate(_lines(stream), start=1):
        if lines % 500 == 0:
            lease.check()
        try:
            text, parsed = _check(line, batch, plan, seen, models)
            if errors.count or lines > limit:
                continue
            model = plan.models.index(parsed.model)
            raw = text[parsed.body_at.start : parsed.body_at.end]
            spool.add(model=model, body=parsed.body, raw_body=raw)
        except LineError as error:
            errors.add(error)
        except RecursionError:
            # Writing JSON needs a little more stack than reading it.
            errors.add(unparseable(line.number))
        else:
            plan.add(line, parsed, model)
    if problem := _count_problem(lines, limit):
        errors.add(problem)
    keys = spool.sorted_keys()
    if not errors.count:
        plan.order = decide(keys, len(plan), dedupe=batch.dedupe)
    return plan


def _count_problem(lines: int, limit: int) -> LineError | None:
    if lines > limit:
        return LineError(
            "too_many_requests_in_file",
            f"The file has {lines:,} requests; at most {limit:,} are allowed in one batch.",
        )
    if lines == 0:
        return LineError(
            "empty_file",
            "The input file is empty. Please ensure that the batch contains at least"
            " one request.",
        )
    return None


def _lines(stream: IO[bytes]) -> Iterator[Line]:
    return read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES)


def _check(
    line: Line, batch: Batch, plan: Plan, seen: set[int], models: frozenset[str]
) -> tuple[str, ParsedLine]:
    """The rules of one line and those between lines."""
    text, parsed = parse_line(
        line,
        endpoint=batch.endpoint,
        models=models,
        limit=settings.BATCHSITE_MAX_LINE_BYTES,
    )
    digest = int.from_bytes(
        hashlib.blake2b(parsed.custom_id.encode(), digest_size=8).digest()
    )
    if digest in seen:
        raise LineError(
            "duplicate_custom_id",
            "The custom_id for this request is a duplicate of another request. The"
            " custom_id parameter must be unique for each request in a batch.",
            "custom_id",
            line.number,
        )
    seen.add(digest)
    if not plan.models:
        plan.models.append(parsed.model)
    if parsed.model not in plan.models:
        raise LineError(
            "mismatched_model",
            f"The model '{quoted(parsed.model)}' does not match the rest of the batch. Each"
            " batch must contain requests for a single model.",
            "body.model",
            line.number,
        )
    return text, parsed


def _fail(batch: Batch, lease: StageLease, errors: Errors) -> bool:
    """Store the report, drop rows of an earlier start, move to failed."""
    purge(batch, lease)
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
            model._default_manager.filter(pk__in=keys).delete()


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
        tokens_per_second=tokens_per_second(plan.models[0]),
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
    with transaction.atomic():
        started = lifecycle.start(
            batch,
            epoch=lease.epoch,
            total=len(plan),
            model=plan.models[0] if len(plan.models) == 1 else "",
        )
        if started:
            poke_engines(plan.models)
    lease.check()
    return True
