# SPDX-License-Identifier: Apache-2.0
"""Output tokens over time by model, as a stacked picture that needs no script."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import Func, IntegerField, Sum
from django.utils import timezone

from jobs.models import ThroughputSample
from jobs.templatetags.figures import printable

WIDE, HIGH = 720, 150
# More models than colours are summed up as others.
COLOURS = 5
OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Span:
    """How far back, in which steps (seconds), from samples of which resolution."""

    word: str
    seconds: int
    step: int
    resolutions: tuple[int, ...]


SPANS = {
    "1h": Span("last hour", 3600, 60, (10,)),
    "24h": Span("last 24 hours", 86_400, 1200, (10, 60)),
    "7d": Span("last 7 days", 604_800, 7200, (10, 60, 600)),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One model's share: its colour, the outline in the picture, what it makes now and made."""

    name: str
    colour: int
    points: str
    now: float
    mean: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Layers from the bottom up; `top` is the scale's end in tokens a second.

    `marks`: places on the time axis as (x in hundredths, moment).
    """

    span: str
    word: str
    layers: list[Layer]
    top: float
    marks: list[tuple[float, datetime]]
    peak: float = 0.0


class Step(Func):
    """The number of a step of so many seconds since 1970 that a time lies in."""

    output_field = IntegerField()

    def __init__(self, column: str, seconds: int) -> None:
        super().__init__(column)
        self.seconds = int(seconds)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        """Whole seconds as SQLite counts them."""
        template = (
            f"(CAST(strftime('%%%%s', %(expressions)s) AS INTEGER) / {self.seconds})"
        )
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        """Rounded down, as SQLite's division does."""
        template = f"floor(extract(epoch FROM %(expressions)s) / {self.seconds})::int"
        return self.as_sql(compiler, connection, template=template, **extra)


def chart(teams: Sequence[int], span: str) -> Chart:
    """The throughput of these teams; one query, added up by the database."""
    chosen = SPANS[span]
    now = int(timezone.now().timestamp())
    # The newest step is still being filled and would always look like a fall.
    end = now // chosen.step
    first = end - chosen.seconds // chosen.step
    return _chart(span, _made(teams, chosen, first, end), first=first, end=end)


def _made(
    teams: Sequence[int], span: Span, first: int, end: int
) -> dict[str, list[float]]:
    """Tokens a second by model, one number a step."""
    start = datetime.fromtimestamp(first * span.step, tz=UTC)
    rows = (
        ThroughputSample.objects.filter(
            resolution__in=span.resolutions,
            at__gte=start,
            batch__team__in=teams,
        )
        .annotate(place=Step("at", span.step))
        .values_list("place", "batch__model")
        .annotate(tokens=Sum("output_tokens"))
        .order_by()
    )
    made: dict[str, list[float]] = defaultdict(lambda: [0.0] * (end - first))
    for place, model, tokens in rows:
        if first <= place < end:
            made[model or "several models"][place - first] += tokens / span.step
    return made


def _chart(
    span: str, made: Mapping[str, Sequence[float]], *, first: int, end: int
) -> Chart:
    chosen = SPANS[span]
    ranked = sorted(made, key=lambda name: -sum(made[name]))
    kept = {name: list(made[name]) for name in ranked[:COLOURS]}
    if rest := ranked[COLOURS:]:
        kept[OTHERS] = [
            sum(some) for some in zip(*(made[n] for n in rest), strict=True)
        ]
    totals = [sum(some) for some in zip(*kept.values(), strict=True)]
    peak = max(totals, default=0.0)
    top = round_up(peak)
    layers, below = [], [0.0] * (end - first)
    for colour, (name, values) in enumerate(kept.items()):
        above = [a + b for a, b in zip(below, values, strict=True)]
        points = _outline(below, above, top)
        mean = sum(values) / len(values)
        layers.append(Layer(printable(name), colour, points, values[-1], mean))
        below = above
    return Chart(span, chosen.word, layers, top, _marks(chosen, first, end), peak)


def _outline(below: Sequence[float], above: Sequence[float], top: float) -> str:
    """The points of a polygon between two lines."""
    wide = WIDE / max(len(above) - 1, 1)

    def point(place: int, value: float) -> str:
        return f"{place * wide:.1f},{HIGH - value / top * HIGH:.1f}"

    upper = [point(place, value) for place, value in enumerate(above)]
    lower = [point(place, value) for place, value in enumerate(below)]
    return " ".join([*upper, *reversed(lower)])


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 … that is not smaller; 1 for nothing."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10


def _marks(span: Span, first: int, end: int) -> list[tuple[float, datetime]]:
    """Four places on the time axis."""
    found = []
    for part in (0.0, 0.25, 0.5, 0.75):
        at = (first + part * (end - first)) * span.step
        found.append((part * 100, datetime.fromtimestamp(at, tz=UTC)))
    return found
