# SPDX-License-Identifier: Apache-2.0
"""Finding results of a batch, by pages, at the same cost in the first and the last of a million.

What has an index is read by it. Everything else is looked for by reading on from a
place, for a second or 50,000 rows at most; the page then says how far it came.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Length, Substr

from . import extensions
from .failures import Summary
from .models import Batch, Result
from .models.results import ResultQuerySet
from .models.words import words_of
from .result_texts import seen_text
from .row_checks import (
    FOUND_BY_INDEX,
    Outcome,
    Wanted,
    filter_results,
    flagged_indexes,
)

# One request reads on for so long, or so many rows.
MOST_SECONDS = 1.0
MOST_ROWS = 50_000
# Rows looked at between two glances at the clock, at first and at most.
FIRST_STEP, LAST_STEP = 500, 10_000
QUICK_SECONDS = 0.05
# Of what matches in the database so many are read at once, to look at their texts.
READ_AT_ONCE = 50
# Longer answers are not parsed for a preview; their first characters are shown.
PARSED_CHARACTERS = 60_000
SHOWN_CHARACTERS = 600
# Counting stops here: "200+".
COUNTED = 200
# As OpenAI and vLLM say how an answer ended, and what is seen of other engines.
FINISH_REASONS = (
    "stop",
    "length",
    "tool_calls",
    "content_filter",
    "abort",
    "completed",
)


@dataclass(frozen=True, slots=True)
class ResultFilter:
    """Which results are wanted; empty or None wants all.

    Tokens are output tokens, times milliseconds, both ends included. `words` are looked
    for in `place`: "answers" (and errors), "requests" or "ids", in either case. `check`
    is what a row check said; `more` are names and values of extensions.RowFilter.
    """

    outcome: str = ""
    error_class: str = ""
    finish_reason: str = ""
    least_tokens: int | None = None
    most_tokens: int | None = None
    least_ms: int | None = None
    most_ms: int | None = None
    words: str = ""
    place: str = "answers"
    check: Wanted | None = None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether every result is wanted."""
        return replace(self, place="answers") == ResultFilter()

    def indexed(self, batch: Batch) -> tuple[ResultQuerySet, bool]:
        """The rows that an index leaves, and whether one does."""
        rows = Result.objects.filter(batch=batch)
        if self.outcome == Result.Outcome.FAILED or self.error_class:
            rows = rows.failed()
            if self.error_class:
                rows = rows.filter(error_class=self.error_class)
            return rows, True
        if self.finish_reason and self.finish_reason != "stop":
            # As the partial index has it, word by word.
            unusual = words_of("finish_reason", "", "stop", negated=True)
            return rows.filter(unusual, finish_reason=self.finish_reason), True
        return rows, False

    def scanned(self) -> Q:
        """What is left to ask of each row that the index leaves."""
        asked = Q()
        if self.outcome == Result.Outcome.COMPLETED:
            asked &= Q(outcome=Result.Outcome.COMPLETED)
        if self.finish_reason == "stop" or (
            self.finish_reason and (self.outcome or self.error_class)
        ):
            asked &= Q(finish_reason=self.finish_reason)
        for name, value in (
            ("output_tokens__gte", self.least_tokens),
            ("output_tokens__lte", self.most_tokens),
            ("latency_ms__gte", self.least_ms),
            ("latency_ms__lte", self.most_ms),
        ):
            if value is not None:
                asked &= Q(**{name: value})
        return asked & self._texts()

    def _texts(self) -> Q:
        """Where the words may be; JSON writes some characters in two ways."""
        if not self.words:
            return Q()
        if self.place == "ids":
            return Q(request__custom_id__icontains=self.words)
        column = "request__body" if self.place == "requests" else "body"
        asked = Q(error_message__icontains=self.words)
        if self.place == "requests":
            asked = Q()
        for plain in {True, False}:
            inner = json.dumps(self.words, ensure_ascii=plain)[1:-1]
            asked |= Q(**{f"{column}__icontains": inner})
        return asked

    def holds(self, result: Result) -> bool:
        """Whether an answer's own text has the words, and not just its JSON."""
        if not self.words or self.place != "answers" or not shortened(result):
            return True
        return self.words.casefold() in seen_text(result).casefold()


# The rows that have no good answer.
FAILED = ResultFilter(outcome=Result.Outcome.FAILED)


@dataclass(frozen=True, slots=True)
class Found:
    """Some results in input order; `reached`: the last index that was looked at.

    `ended`: there is nothing after that.
    """

    rows: list[Result]
    reached: int
    ended: bool


def search(
    batch: Batch,
    wanted: ResultFilter,
    *,
    after: int = -1,
    limit: int,
    seconds: float | None = None,
    most: int | None = None,
) -> Found:
    """Up to `limit` results behind the index `after`, in input order.

    Fewer without being the end when the time or the number of rows ran out (MOST_SECONDS,
    MOST_ROWS unless told otherwise): go on from `reached`.
    """
    check = wanted.check
    if (
        check
        and wanted == ResultFilter(check=check)
        and check.outcome in FOUND_BY_INDEX
    ):
        return _flagged(batch, check, after=after, limit=limit)
    base, is_indexed = wanted.indexed(batch)
    asked = wanted.scanned()
    if not asked and not wanted.check and not wanted.more:
        rows = list(_shown(base.filter(index__gt=after))[: limit + 1])
        more = len(rows) > limit
        rows = rows[:limit]
        return Found(rows, rows[-1].index if rows else after, not more)
    scan = _Scan(wanted, base, asked, limit)
    until = time.monotonic() + (seconds or MOST_SECONDS)
    upper = _indexes(base) if is_indexed else _others(batch, wanted)
    return scan.run(after, upper, until=until, most=most or MOST_ROWS)


def _flagged(batch: Batch, check: Wanted, *, after: int, limit: int) -> Found:
    """Those that a check flagged, which have an index of their own."""
    indexes = flagged_indexes(batch, check, after=after, limit=limit + 1)
    found = Result.objects.filter(batch=batch, index__in=indexes[:limit])
    rows = list(_shown(found))
    more = len(indexes) > limit
    return Found(rows, rows[-1].index if rows else after, not more)


@dataclass(slots=True)
class _Scan:
    wanted: ResultFilter
    base: ResultQuerySet
    asked: Q
    limit: int

    def run(
        self,
        after: int,
        upper: Callable[[int, int], int | None],
        *,
        until: float,
        most: int,
    ) -> Found:
        rows: list[Result] = []
        step, looked = FIRST_STEP, 0
        while True:
            began = time.monotonic()
            step = min(step, most - looked)
            end = upper(after, step)
            if end is None:
                return Found(rows, after, True)
            for result in self._matching(after, end):
                if len(rows) == self.limit:
                    return Found(rows, rows[-1].index, False)
                if self.wanted.holds(result):
                    rows.append(result)
                after = result.index
                if time.monotonic() >= until:
                    return Found(rows, after, False)
            after, looked = end, looked + step
            if looked >= most or time.monotonic() >= until:
                return Found(rows, after, False)
            if time.monotonic() - began < QUICK_SECONDS:
                step = min(step * 2, LAST_STEP)

    def _matching(self, after: int, end: int) -> Iterator[Result]:
        """What the database thinks matches, from `after` to `end`, read in small parts."""
        while True:
            some = self.base.filter(self.asked, index__gt=after, index__lte=end)
            if self.wanted.check:
                some = filter_results(some, self.wanted.check)
            for name, value in self.wanted.more:
                some = some.filter(extensions.row_filter(name).holds(value))
            rows = list(_shown(some)[:READ_AT_ONCE])
            yield from rows
            if len(rows) < READ_AT_ONCE:
                return
            after = rows[-1].index


def _counting(batch: Batch) -> Callable[[int, int], int | None]:
    """Steps through all places of the input, answered or not."""

    def upper(after: int, step: int) -> int | None:
        return None if after + 1 >= batch.total else after + step

    return upper


def _others(batch: Batch, wanted: ResultFilter) -> Callable[[int, int], int | None]:
    """Steps through what another app's filter has an index for; else through all."""
    for name, value in wanted.more:
        places = extensions.row_filter(name).places(batch, value)
        if places is not None:
            return _stepping(places)
    return _counting(batch)


def _indexes(base: ResultQuerySet) -> Callable[[int, int], int | None]:
    """Steps through the rows that an index leaves."""
    return _stepping(base.order_by("index").values_list("index", flat=True))


def _stepping(places: QuerySet[Any, int]) -> Callable[[int, int], int | None]:
    def upper(after: int, step: int) -> int | None:
        return max(places.filter(index__gt=after)[:step], default=None)

    return upper


def _shown(rows: ResultQuerySet) -> ResultQuerySet:
    return preview(rows).order_by("index")


def preview(rows: ResultQuerySet) -> ResultQuerySet:
    """With what a line of a table shows: bodies of megabytes never reach this process.

    `answer` and `asked` are the whole bodies when these are short enough to parse,
    `start` and `asked_start` their first characters.
    """
    return (
        rows.select_related("request")
        .defer("body", "request__body")
        .annotate(
            length=Length("body"),
            start=Substr("body", 1, SHOWN_CHARACTERS),
            asked_length=Length("request__body"),
            asked_start=Substr("request__body", 1, SHOWN_CHARACTERS),
        )
        .annotate(
            answer=_if_short("length", "body"),
            asked=_if_short("asked_length", "request__body"),
        )
    )


def _if_short(length: str, column: str) -> Case:
    return Case(
        When(**{f"{length}__lte": PARSED_CHARACTERS}, then=F(column)),
        default=Value(""),
        output_field=TextField(),
    )


def shortened(result: Result) -> bool:
    """Whether the text of the answer is at hand as a whole."""
    return is_failed(result) or getattr(result, "length", 0) <= PARSED_CHARACTERS


def is_failed(result: Result) -> bool:
    """Whether the row has no good answer."""
    return result.outcome == Result.Outcome.FAILED


def count_words(batch: Batch, wanted: ResultFilter, failed: Sequence[Summary]) -> str:
    """How many results match, in words; "" where only looking at each would tell.

    `failed` is what failures.summaries says of the batch.
    """
    if wanted.is_empty:
        return f"{batch.completed + batch.failed:,}"
    if wanted.check and wanted == ResultFilter(check=wanted.check):
        return _flagged_words(wanted.check)
    if wanted.scanned() or wanted.check or wanted.more:
        return ""
    if not wanted.finish_reason and not wanted.error_class:
        return f"{batch.failed:,}"
    if wanted.error_class and not wanted.finish_reason:
        return f"{sum(s.rows for s in failed if s.error_class == wanted.error_class):,}"
    rows, _ = wanted.indexed(batch)
    number = rows.order_by("index").values("pk")[: COUNTED + 1].count()
    return f"{COUNTED}+" if number > COUNTED else str(number)


def _flagged_words(wanted: Wanted) -> str:
    """How many rows a check's own counters say; "" for any check, and other outcomes."""
    if wanted.check is None or wanted.outcome not in FOUND_BY_INDEX:
        return ""
    failed = wanted.outcome is Outcome.FAILED
    return f"{wanted.check.failed if failed else wanted.check.errors:,}"
