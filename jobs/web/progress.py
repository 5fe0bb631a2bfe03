# SPDX-License-Identifier: Apache-2.0
"""How far, how fast, when done, what failed: the live numbers of one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.utils import timezone

from jobs.models import Batch, ThroughputSample
from jobs.templatetags.figures import (
    NOTHING,
    duration,
    has_bad_lines,
    percent,
    thousands,
)

Status = Batch.Status
RATE_WINDOW = timedelta(minutes=5)
LINE_WINDOW = timedelta(minutes=15)
# Samples come every 10 s; after this long without results the rate is falling.
SAMPLE_GAP = timedelta(seconds=15)
STALLED_AFTER = timedelta(seconds=60)
# Before either is reached an estimate would be a guess.
ETA_RESULTS = 20
ETA_SECONDS = 30
# No estimate is surer than this, in either direction.
LEAST_SPREAD = 0.1
LINE_POINTS = 45


@dataclass(frozen=True)
class Sample:
    """Results of one stretch of time, ending at `at`."""

    at: datetime
    seconds: float
    rows: int
    tokens: int


@dataclass(frozen=True)
class Rate:
    """Requests and output tokens a second; `last` is when the newest result came."""

    rows: float = 0.0
    tokens: float = 0.0
    last: datetime | None = None


@dataclass(frozen=True)
class Figure:
    """One of the four numbers that are read from two metres."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    colour: str = ""
    warning: str = ""


@dataclass(frozen=True)
class Progress:
    """Everything live that the detail page shows of a batch."""

    sentence: str
    figures: list[Figure]
    line: str = ""
    shown: tuple[object, ...] = field(default=())


def samples(batch: Batch, now: datetime) -> list[Sample]:
    """The batch's samples of the last quarter of an hour, oldest first."""
    rows = (
        ThroughputSample.objects.filter(batch=batch, at__gt=now - LINE_WINDOW)
        .order_by("at")
        .values_list("at", "seconds", "rows", "output_tokens")
    )
    return [Sample(*row) for row in rows]


def rate(taken: Sequence[Sample], now: datetime, window: timedelta) -> Rate:
    """Means over the window, counting from its first sample.

    Engines that run the batch together overlap in time, so the wall clock divides,
    not the sum of the samples' seconds.
    """
    recent = [sample for sample in taken if sample.at > now - window]
    busy = [sample.at for sample in recent if sample.rows]
    if not busy:
        return Rate()
    start = min(sample.at - timedelta(seconds=sample.seconds) for sample in recent)
    newest = max(sample.at for sample in recent)
    end = newest if now - newest < SAMPLE_GAP else now
    seconds = max((end - start).total_seconds(), 1.0)
    return Rate(
        sum(sample.rows for sample in recent) / seconds,
        sum(sample.tokens for sample in recent) / seconds,
        max(busy),
    )


def eta(
    batch: Batch, taken: Sequence[Sample], now: datetime
) -> tuple[float, float] | None:
    """Seconds until the last result, as a range; None while it would be a guess.

    The range spans the rates of the last minute and of the last five, and is never
    narrower than a tenth to either side.
    """
    answered = batch.completed + batch.failed
    age = (now - (batch.in_progress_at or now)).total_seconds()
    if not answered or (answered < ETA_RESULTS and age < ETA_SECONDS):
        return None
    rates = [rate(taken, now, window) for window in (RATE_WINDOW, timedelta(minutes=1))]
    spans = []
    per_row = batch.output_tokens / answered
    for each in rates:
        if each.tokens and per_row:
            spans.append(batch.remaining * per_row / each.tokens)
        elif each.rows:
            spans.append(batch.remaining / each.rows)
    if not spans:
        return None
    return min(spans) * (1 - LEAST_SPREAD), max(spans) * (1 + LEAST_SPREAD)


def spoken_range(low: float, high: float) -> str:
    """As in `18 to 22 min`, with a dash: two numbers of the unit that fits the larger one."""
    if high < 60:
        return f"{_span(low, high, 5)} s"
    if high < 90 * 60:
        return f"{_span(low / 60, high / 60, 1)} min"
    if high < 48 * 3600:
        return f"{_span(low / 3600, high / 3600, 0.5)} h"
    return f"{_span(low / 86_400, high / 86_400, 0.5)} d"


def _span(low: float, high: float, step: float) -> str:
    first = max(round(low / step) * step, step)
    last = max(round(high / step) * step, first)
    return f"{first:g}" if first == last else f"{first:g}{NOTHING}{last:g}"


def sparkline(taken: Sequence[Sample], now: datetime) -> str:
    """Points of an SVG polyline, 100 wide and 24 high: output tokens over 15 minutes."""
    step = LINE_WINDOW / LINE_POINTS
    sums = [0.0] * LINE_POINTS
    for sample in taken:
        place = int((sample.at - (now - LINE_WINDOW)) / step)
        sums[min(max(place, 0), LINE_POINTS - 1)] += sample.tokens or sample.rows
    first = next((place for place, total in enumerate(sums) if total), LINE_POINTS)
    # The newest stretch is still being filled and would always look like a fall.
    points = list(enumerate(sums))[first:-1]
    if len(points) < 3:
        return ""
    top = max(total for _, total in points) or 1.0
    wide = 100 / (LINE_POINTS - 2)
    return " ".join(
        f"{place * wide:.1f},{22 - total / top * 20:.1f}" for place, total in points
    )


def progress(
    batch: Batch, *, why_waiting: Callable[[], str], at_risk: bool = False
) -> Progress:
    """The live part of the detail page.

    `why_waiting` is asked only when a running batch had no result for a minute;
    `at_risk`: the estimated end lies behind the deadline.
    """
    now = timezone.now()
    taken = [] if batch.is_terminal else samples(batch, now)
    current = rate(taken, now, RATE_WINDOW)
    idle = current.last is None or now - current.last > STALLED_AFTER
    runs = batch.status == Status.IN_PROGRESS and not batch.paused
    waiting = why_waiting() if runs and idle else ""
    estimate = eta(batch, taken, now) if runs else None
    end = now + timedelta(seconds=sum(estimate or ()) / 2)
    late = at_risk or (runs and end > batch.expires_at)
    figures = [
        _far(batch),
        _fast(batch, current),
        replace(
            _done(batch, estimate, current, now, waiting),
            warning=_late(batch) if late else "",
        ),
        _failures(batch),
    ]
    line = sparkline(taken, now)
    sentence = _sentence(batch, current, now, waiting)
    return Progress(sentence, figures, line, (batch.status, sentence, line, *figures))


def _far(batch: Batch) -> Figure:
    if not batch.total:
        words = {
            Status.VALIDATING: "checking",
            Status.FAILED: "not run",
            Status.CANCELLED: "not run",
            Status.EXPIRED: "not run",
        }
        note = (
            "nothing was sent to an engine"
            if batch.is_terminal
            else "the input file is being read"
        )
        return Figure("how far", words.get(Status(batch.status), NOTHING), "", note)
    answered = batch.completed + batch.failed
    colour = "green" if batch.status == Status.COMPLETED else ""
    share = percent(answered / batch.total).removesuffix(" %")
    note = f"{thousands(answered)} of {thousands(batch.total)} requests"
    if batch.status in (Status.CANCELLED, Status.EXPIRED):
        # Rows that never ran count as failed at the end; what ran is the progress.
        share = percent(batch.completed / batch.total).removesuffix(" %")
        note = f"{thousands(batch.completed)} of {thousands(batch.total)} answered"
    return Figure("how far", share, "%", note, colour)


def _fast(batch: Batch, current: Rate) -> Figure:
    if batch.is_terminal:
        ran = (batch.closed_at or timezone.now()) - (
            batch.in_progress_at or batch.created_at
        )
        seconds = max(ran.total_seconds(), 1.0)
        if not batch.output_tokens:
            return Figure("how fast", NOTHING, "", "no tokens were made")
        speed = batch.output_tokens / seconds
        rows = batch.completed / seconds
        return Figure(
            "how fast", _pace(speed), "tok/s", f"{_pace(rows)} req/s on average"
        )
    if not current.rows:
        return Figure("how fast", NOTHING, "", "nothing in the last 5 minutes")
    return Figure(
        "how fast", _pace(current.tokens), "tok/s", f"{_pace(current.rows)} req/s"
    )


def _pace(value: float) -> str:
    return (
        thousands(value)
        if value >= 100
        else f"{value:.1f}"
        if value >= 1
        else f"{value:.2g}"
    )


def _done(
    batch: Batch,
    estimate: tuple[float, float] | None,
    current: Rate,
    now: datetime,
    waiting: str,
) -> Figure:
    if batch.ended_at:
        took = duration(batch.ended_at - batch.created_at)
        note = (
            "until it was refused"
            if batch.status == Status.FAILED
            else "from its creation to the last file"
        )
        return Figure("took", took, "", note)
    if batch.status in (Status.FINALIZING, Status.CANCELLING):
        note = (
            "the files are being written"
            if batch.status == Status.FINALIZING
            else "what is in flight gets up to 30 s"
        )
        return Figure("when done", "soon", "", note)
    if batch.paused:
        return Figure(
            "when done", "paused", "", "continues when it is resumed", "amber"
        )
    stalled = current.last is None or now - current.last > STALLED_AFTER
    if batch.status == Status.IN_PROGRESS and (waiting or (stalled and current.last)):
        note = waiting or f"no result for {duration(now - (current.last or now))}"
        word = "stalled" if batch.completed + batch.failed else "waiting"
        return Figure("when done", word, "", note, "amber")
    if estimate is None:
        return Figure("when done", NOTHING, "", "known after the first 20 results")
    number, _, unit = spoken_range(*estimate).partition(" ")
    end = timezone.localtime(now + timedelta(seconds=sum(estimate) / 2))
    return Figure("when done", number, unit, f"about {end:%H:%M}, {end:%Z}")


def _late(batch: Batch) -> str:
    deadline = timezone.localtime(batch.expires_at)
    return f"too late for its deadline, {deadline.day} {deadline:%b %H:%M %Z}"


def _failures(batch: Batch) -> Figure:
    if batch.status == Status.FAILED:
        count = len((batch.errors or {}).get("data", []))
        if not has_bad_lines(batch):
            return Figure("what failed", "all", "", "nothing could be run", "red")
        words = f"error{'s' if count != 1 else ''} in the input file"
        return Figure("what failed", thousands(count), "", words, "red")
    if not batch.failed:
        return Figure(
            "what failed",
            "0",
            "",
            "nothing so far" if not batch.is_terminal else "nothing",
        )
    share = batch.failed / max(batch.completed + batch.failed, 1) * 100
    unit = "requests" if batch.failed != 1 else "request"
    words = (
        f"{share:.1f} % of the answers"
        if share >= 0.1
        else "under 0.1 % of the answers"
    )
    if batch.status in (Status.CANCELLED, Status.EXPIRED):
        return Figure(
            "what failed",
            thousands(batch.failed),
            unit,
            "those that never ran included",
        )
    return Figure("what failed", thousands(batch.failed), unit, words, "red")


def _sentence(batch: Batch, current: Rate, now: datetime, waiting: str) -> str:
    """The state in words, one line under the heading."""
    left = f"{thousands(batch.remaining)} request{'s' if batch.remaining != 1 else ''} left"
    if batch.status == Status.IN_PROGRESS:
        if batch.paused:
            return f"Paused with {left}."
        if waiting:
            return f"Waiting: {waiting}"
        if current.last and now - current.last <= STALLED_AFTER:
            return f"Running, {left}."
        return f"Started, {left}."
    if batch.status == Status.FAILED and not has_bad_lines(batch):
        return "The batch could not be run; why is said below."
    return {
        Status.VALIDATING: "Every line of the input file is being checked before anything runs.",
        Status.FINALIZING: "Every request has its result; the files are being written.",
        Status.COMPLETED: "Every request has its result; the files are ready.",
        Status.FAILED: "The input file has errors, so nothing was run. Mend the lines below and send it again.",
        Status.EXPIRED: "The completion window ended before the work did. What was answered is in the files.",
        Status.CANCELLING: "Cancelling: nothing new is started, what is in flight may still finish.",
        Status.CANCELLED: "Cancelled. What was answered before is in the files.",
    }[Status(batch.status)]
