# SPDX-License-Identifier: Apache-2.0
"""Where items of suites come from: files, results of a batch, and what ships."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from django.core.files.storage import default_storage

from jobs.answer_text import parsed, read
from jobs.models import Batch, BatchFile, Result
from jobs.refusals import Refused
from jobs.result_search import ResultFilter, search
from jobs.row_checks.parameters import bad

from . import item_lines
from .item_lines import Item
from .scoring import Metric
from .scoring import read as read_metrics

# Of a batch; "replay 200 of its rows".
MOST_REPLAYED = 5000
# What a filter leaves is looked at for so long, and so many of it.
LOOKED_SECONDS = 5.0
LOOKED_AT = 20_000
READ_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Source:
    """Items, what is asked of those that ask nothing, and what a version says of it."""

    items: Iterable[Item]
    about: dict[str, Any]
    metrics: Sequence[Metric] = ()


# --- files


def of_file(file: BatchFile) -> Source:
    """The items of a team's file; Refused, as they are read, names the line that is none."""
    about = {"kind": "file", "file_id": file.public_id, "filename": file.filename}
    return Source(_lines_of(file), {**about, "sha256": file.sha256})


def _lines_of(file: BatchFile) -> Iterator[Item]:
    try:
        content = default_storage.open(file.storage_name)
    except FileNotFoundError:
        raise bad("file_id", "its content is gone.") from None
    with content:
        yield from item_lines.read(content)


# --- results


def of_results(
    batch: Batch,
    wanted: ResultFilter,
    *,
    most: int,
    with_reference: bool,
    rows: Sequence[int] | None = None,
) -> Source:
    """A sample of a batch's requests, the same one whenever it is drawn; or those `rows`.

    With `with_reference` what was answered then is what answers are compared with; only
    answered rows are taken then, and none that is no item: with an infinite number, or
    an answer of 200,000 characters. Of what a filter leaves the first 20,000 are looked
    at, for 5 s in all.
    """
    if not 1 <= most <= MOST_REPLAYED:
        raise bad("most", f"expected 1 to {MOST_REPLAYED:,}.")
    until = time.monotonic() + LOOKED_SECONDS
    indexes = list(rows or ()) or _matching(batch, wanted, until)
    random.Random(batch.public_id).shuffle(indexes)  # noqa: S311 - a sample
    found: list[Item] = []
    size = 0
    while indexes and len(found) < most and time.monotonic() < until:
        some, indexes = indexes[:READ_AT_ONCE], indexes[READ_AT_ONCE:]
        results = Result.objects.filter(batch=batch, index__in=some)
        by_index = {row.index: row for row in results.select_related("request")}
        for index in some:
            row = by_index.get(index)
            item = _replayed(row, batch, with_reference) if row else None
            if row is None or item is None or len(found) >= most:
                continue
            size += len(row.request.body) + len(row.body)
            if size > item_lines.MOST_BYTES:
                break
            found.append(item)
    if not found:
        raise Refused("No row of the batch can be taken.", param="batch_id")
    about = {
        "kind": "batch",
        "batch_id": batch.public_id,
        "model": batch.model,
        "with_reference": with_reference,
    }
    return Source(sorted(found, key=lambda item: item.custom_id), about)


def _matching(batch: Batch, wanted: ResultFilter, until: float) -> list[int]:
    if wanted.is_empty:
        draw = random.Random(batch.public_id)  # noqa: S311 - a sample
        return draw.sample(range(batch.total), min(batch.total, LOOKED_AT))
    found: list[int] = []
    after = -1
    while len(found) < LOOKED_AT and time.monotonic() < until:
        page = search(batch, wanted, after=after, limit=READ_AT_ONCE)
        found += [row.index for row in page.rows]
        after = page.reached
        if page.ended:
            break
    return found


def _replayed(row: Result, batch: Batch, with_reference: bool) -> Item | None:
    body = parsed(row.request.body)
    if not isinstance(body, dict):
        return None
    text = None
    if with_reference:
        if row.outcome != Result.Outcome.COMPLETED:
            return None
        text = read(row.body, row.finish_reason).text
        if text is None or len(text) > item_lines.REFERENCE_LENGTH:
            return None
    body.pop("model", None)
    try:
        item_lines.as_text("body", [body, text])
    except Refused:
        return None
    url = row.request.url or batch.endpoint
    return Item(row.request.custom_id, url, body, reference=text)


# --- what ships


@dataclass(frozen=True, slots=True)
class Ready:
    """A suite that ships: its file, and what is asked of its items."""

    slug: str
    name: str
    about: str
    metrics: Sequence[Metric]


def _ready(slug: str, name: str, about: str, *metrics: str) -> Ready:
    return Ready(slug, name, about, read_metrics("metrics", list(metrics)))


READY: Sequence[Ready] = (
    _ready(
        "arithmetic",
        "Arithmetic",
        "Sums and short problems in words; the last number of the answer counts.",
        "numeric",
    ),
    _ready(
        "extraction",
        "Extraction to JSON",
        "Fields out of a mail, a bill or a note, as JSON.",
        "fields",
    ),
    _ready(
        "classification",
        "Classification",
        "One of the labels that the request names, and nothing else.",
        "normalised",
    ),
    _ready(
        "instructions",
        "Instruction following",
        "Rules of form that a program can check: length, case, words, JSON.",
    ),
)


def ready(slug: str) -> Ready:
    """The one that ships under that name; Refused where none does."""
    for one in READY:
        if one.slug == slug:
            return one
    known = ", ".join(one.slug for one in READY)
    raise bad("ready", f"none of {known} is named so.")


def of_ready(slug: str) -> Source:
    """Its items, and what is asked of them."""
    one = ready(slug)
    stored = files("benchmarks").joinpath("ready", f"{one.slug}.jsonl")
    with stored.open("rb") as stream:
        items = list(item_lines.read(stream))
    return Source(items, {"kind": "ready", "ready": one.slug}, one.metrics)
