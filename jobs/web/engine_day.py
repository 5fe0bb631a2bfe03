# SPDX-License-Identifier: Apache-2.0
"""The last 24 hours of the managed engines: which model each held, as a picture and a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobs.access import person
from jobs.models import Engine, EngineEvent
from jobs.templatetags.figures import duration, printable

from . import engines
from .conditional import fragment

State = Engine.State
SHOWN = timedelta(hours=24)
# Of an engine that moves more often the latest part of the day is shown.
MOST_EVENTS = 600
MOST_ROWS = 40
# The picture's width; no span is too thin to be pointed at.
WIDTH = 1000.0
THINNEST = 2.0
WORDS = {
    State.READY: "ready",
    State.LOADING: "loading",
    State.DRAINING: "draining",
    State.STOPPING: "stopping",
    State.FAILED: "failed",
}
TICKS = ("24 h ago", "18 h", "12 h", "6 h", "now")


@dataclass(frozen=True)
class Span:
    """A time in which an engine was in one state with one model.

    `cut`: its host went without a word, at some time within it.
    """

    state: str
    model: str
    since: datetime
    until: datetime
    cut: bool = False

    @property
    def words(self) -> str:
        """`ready with tiny from 12:03 to 12:40, 37 min`."""
        since, until = (timezone.localtime(at) for at in (self.since, self.until))
        model = (
            f" {'with ' if self.state == State.READY else ''}{printable(self.model)}"
        )
        cut = "; its host went within this time" if self.cut else ""
        return (
            f"{WORDS[State(self.state)]}{model.rstrip()} from {since:%H:%M} to"
            f" {until:%H:%M}, {self.lasted}{cut}"
        )

    @property
    def word(self) -> str:
        """The state in a word."""
        return WORDS[State(self.state)]

    @property
    def lasted(self) -> str:
        """How long it was so."""
        return duration(self.until - self.since)


@dataclass(frozen=True)
class Bar:
    """A span in the picture: where it begins and how wide it is."""

    span: Span
    x: str
    width: str


@dataclass(frozen=True)
class Lane:
    """One model of one engine."""

    model: str
    bars: list[Bar]


@dataclass(frozen=True)
class Day:
    """One engine's last 24 hours; `rows` are its latest spans, newest first."""

    engine: str
    lanes: list[Lane]
    rows: list[Span]
    more: int


def days(known: Iterable[Engine], now: datetime) -> list[Day]:
    """The managed engines' last 24 hours; one query for each."""
    managed = (e for e in known if e.kind == Engine.Kind.MANAGED)
    return [day(engine, now) for engine in managed]


def day(engine: Engine, now: datetime) -> Day:
    """One engine's last 24 hours, its models in the order in which they came."""
    start = now - SHOWN
    told = engine.events.filter(Q(kind=EngineEvent.Kind.HOST) | ~Q(new_state=""))
    events = list(told.order_by("-id")[:MOST_EVENTS])[::-1]
    seen = [
        replace(span, since=max(span.since, start))
        for span in spans(engine, events, now)
        if span.until > start and span.state in WORDS
    ]
    lanes: dict[str, list[Bar]] = {}
    for span in seen:
        lanes.setdefault(span.model, []).append(_bar(span, start))
    return Day(
        engine.name,
        [Lane(printable(model) or "no model", bars) for model, bars in lanes.items()],
        seen[::-1][:MOST_ROWS],
        max(len(seen) - MOST_ROWS, 0),
    )


def spans(engine: Engine, events: list[EngineEvent], now: datetime) -> list[Span]:
    """What the events say, oldest first, and the present state until now.

    Of an engine whose host is gone nothing is known after its last sign of life.
    """
    found = []
    state, model, since = _before(engine, events)
    for event in events:
        lost = event.kind == EngineEvent.Kind.HOST
        if not event.new_state and not lost:
            continue
        cut = lost and state != State.STOPPED
        found.append(Span(state, model, since, max(event.at, since), cut))
        state, since = event.new_state or State.STOPPED, event.at
        model = "" if state == State.STOPPED else event.model
    end = now
    if not engines.runs(engine):
        end = max(engine.host_heartbeat or since, since)
    return [*found, Span(state, model, since, end)]


def _before(engine: Engine, events: list[EngineEvent]) -> tuple[str, str, datetime]:
    """State, model and beginning of the time before the first of the events."""
    if not events:
        model = engine.loaded_model.name if engine.loaded_model else ""
        return engine.state, model, engine.state_since
    first = events[0]
    if not first.new_state or first.seconds is None:
        return State.STOPPED, "", first.at
    began = first.at - timedelta(seconds=first.seconds)
    model = "" if first.old_state == State.STOPPED else first.model
    return first.old_state or State.STOPPED, model, began


def _bar(span: Span, start: datetime) -> Bar:
    scale = WIDTH / SHOWN.total_seconds()
    x = (span.since - start).total_seconds() * scale
    width = max((span.until - span.since).total_seconds() * scale, THINNEST)
    return Bar(span, f"{min(x, WIDTH - THINNEST):.1f}", f"{width:.1f}")


@require_safe
@login_required
def engine_day(request: HttpRequest) -> HttpResponse:
    """The picture alone, for the poll of the engines' page."""
    person(request)
    shown = days(engines.engines(), timezone.now())
    ctx = {"days": shown, "ticks": TICKS}
    return fragment(request, "jobs/_engine_day.html", ctx, shown)
