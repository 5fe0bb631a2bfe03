# SPDX-License-Identifier: Apache-2.0
"""How far, how fast, when done, what failed: the live numbers of one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.utils import timezone

from jobs.eta import Eta, Rate, Sample, moving_rate
from jobs.models import Batch, ThroughputSample
from jobs.templatetags.figures import (
    NOTHING,
    duration,
    has_bad_lines,
    minutes,
    percent,
    thousands,
)

Status = Batch.Status
LINE_WINDOW = timedelta(minutes=15)
# After so long without an answer the page says what is waited for.
IDLE_SECONDS = 60.0
LINE_POINTS = 45


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


def samples(batch: Batch, start: datetime, end: datetime) -> list[Sample]:
    """The batch's samples of that time, oldest first."""
    rows = (
        ThroughputSample.objects.filter(batch=batch, at__gt=start, at__lte=end)
        .order_by("at")
        .values_list("at", "seconds", "rows", "output_tokens", "request_seconds")
    )
    return [Sample(at.timestamp(), *some) for at, *some in rows]  # type: ignore[arg-type]  # mypy forgets which is which


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


def sparkline(taken: Sequence[Sample], start: datetime, end: datetime) -> str:
    """Points of an SVG polyline, 100 wide and 24 high: output tokens from start to end."""
    begin = start.timestamp()
    step = max((end.timestamp() - begin) / LINE_POINTS, 0.001)
    sums = [0.0] * LINE_POINTS
    for sample in taken:
        # A sample of minutes lies in several places of a short line.
        first = (sample.at - sample.seconds - begin) / step
        last = max((sample.at - begin) / step, first + 0.001)
        amount = (sample.tokens or sample.rows) / (last - first)
        for place in range(max(int(first), 0), min(int(last), LINE_POINTS - 1) + 1):
            sums[place] += amount * (min(last, place + 1) - max(first, place))
    first_place = next((n for n, total in enumerate(sums) if total), LINE_POINTS)
    # The newest stretch is still being filled and would always look like a fall.
    points = list(enumerate(sums))[first_place:-1]
    if len(points) < 3:
        return ""
    top = max(total for _, total in points) or 1.0
    wide = 100 / (LINE_POINTS - 2)
    return " ".join(
        f"{place * wide:.1f},{22 - total / top * 20:.1f}" for place, total in points
    )


def progress(
    batch: Batch,
    *,
    why_waiting: Callable[[], str],
    end: Eta | None = None,
    at_risk: bool = False,
) -> Progress:
    """The live part of the detail page.

    `why_waiting` is asked only when a running batch had no result for a minute; `end`
    is when it will be done; `at_risk`: that lies behind the deadline.
    """
    now = timezone.now()
    start, stop = _shown_time(batch, now)
    taken = samples(batch, start, stop) if batch.in_progress_at else []
    current = Rate() if batch.is_terminal else moving_rate(taken, now.timestamp())
    runs = batch.status == Status.IN_PROGRESS and not batch.paused
    waiting = why_waiting() if runs and _silence(current, now) > IDLE_SECONDS else ""
    figures = [
        _far(batch),
        _fast(batch, current),
        replace(
            _done(batch, end, now, waiting), warning=_late(batch) if at_risk else ""
        ),
        _failures(batch),
    ]
    line = sparkline(taken, start, stop)
    sentence = _sentence(batch, current, now, waiting)
    return Progress(sentence, figures, line, (batch.status, sentence, line, *figures))


def _shown_time(batch: Batch, now: datetime) -> tuple[datetime, datetime]:
    """What the line shows: the last quarter of an hour, or all of it after the end."""
    if batch.is_terminal and batch.in_progress_at:
        # The last samples are written some seconds after the last answers.
        ended = (batch.closed_at or now) + timedelta(seconds=15)
        return batch.in_progress_at, ended
    return now - LINE_WINDOW, now


def _silence(current: Rate, now: datetime) -> float:
    """Seconds since the newest answer."""
    return math.inf if current.last is None else now.timestamp() - current.last


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
            "how fast", pace(speed), "tok/s", f"{pace(rows)} req/s on average"
        )
    if not current.rows:
        return Figure("how fast", NOTHING, "", "nothing in the last 15 minutes")
    return Figure(
        "how fast", pace(current.tokens), "tok/s", f"{pace(current.rows)} req/s"
    )


def pace(value: float) -> str:
    """A speed in as many digits as it deserves: `4,912`, `12.3`, `0.21`."""
    return (
        thousands(value)
        if value >= 100
        else f"{value:.1f}"
        if value >= 1
        else f"{value:.2g}"
    )


def _done(batch: Batch, end: Eta | None, now: datetime, waiting: str) -> Figure:
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
    if batch.stalled_since:
        note = f"no answer for {minutes(now - batch.stalled_since)}"
        return Figure("when done", "stalled", "", note, "amber")
    if waiting:
        return Figure("when done", "waiting", "", waiting, "amber")
    if end is None or end.low is None or end.high is None:
        note = end.reason if end else "known after the first 20 results"
        return Figure("when done", NOTHING, "", note)
    number, _, unit = spoken_range(end.low, end.high).partition(" ")
    moment = timezone.localtime(now + timedelta(seconds=end.middle or 0.0))
    return Figure("when done", number, unit, f"about {moment:%H:%M}, {moment:%Z}")


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
        if batch.stalled_since:
            return f"Stalled for {minutes(now - batch.stalled_since)}, {left}."
        if waiting:
            return f"Waiting: {waiting}"
        if _silence(current, now) <= IDLE_SECONDS:
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
