# SPDX-License-Identifier: Apache-2.0
"""Output tokens over time by model, as a stacked picture that needs no script."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.core.cache import cache
from django.db.models import Func, IntegerField, Sum
from django.utils import timezone

from jobs.models import ThroughputSample
from jobs.templatetags.figures import printable

from .charts import round_up
from .stacks import HIGH, WIDE, peak, ranked


@dataclass(frozen=True, slots=True)
class Span:
    """How far back, in which steps (seconds), from samples of which resolution.

    `kept`: for how long (seconds) the sums are taken from the cache. Only samples that
    are written after their step has ended show that much later.
    """

    word: str
    seconds: int
    step: int
    resolutions: tuple[int, ...]
    kept: int = 0


SPANS = {
    "1h": Span("last hour", 3600, 60, (10,)),
    "24h": Span("last 24 hours", 86_400, 1200, (10, 60), kept=60),
    "7d": Span("last 7 days", 604_800, 7200, (10, 60, 600), kept=300),
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
    """The throughput of these teams; one query, added up by the database, or none."""
    chosen = SPANS[span]
    now = int(timezone.now().timestamp())
    # The newest step is still being filled and would always look like a fall.
    end = now // chosen.step
    first = end - chosen.seconds // chosen.step
    return _chart(span, _known(teams, chosen, first, end), first=first, end=end)


def _known(
    teams: Sequence[int], span: Span, first: int, end: int
) -> Mapping[str, Sequence[float]]:
    """What was made, as somebody of the same teams was told a moment ago."""
    if not span.kept:
        return _made(teams, span, first, end)
    key = f"throughput:{span.step}:{end}:{teams_key(teams)}"
    known: Mapping[str, Sequence[float]] | None = cache.get(key)
    if known is None:
        known = dict(_made(teams, span, first, end))
        cache.set(key, known, span.kept)
    return known


def teams_key(teams: Sequence[int]) -> str:
    """Names these very teams, and no others, in the key of a cache."""
    listed = ",".join(str(team) for team in sorted(teams))
    return hashlib.sha256(listed.encode()).hexdigest()


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
    kept = ranked(made)
    highest = peak(kept)
    # Its axis is labelled in whole tokens.
    top = round_up(max(highest, 1.0))
    layers, below = [], [0.0] * (end - first)
    for colour, (name, values) in enumerate(kept.items()):
        above = [a + b for a, b in zip(below, values, strict=True)]
        points = _outline(below, above, top)
        mean = sum(values) / len(values)
        layers.append(Layer(printable(name), colour, points, values[-1], mean))
        below = above
    return Chart(span, chosen.word, layers, top, _marks(chosen, first, end), highest)


def _outline(below: Sequence[float], above: Sequence[float], top: float) -> str:
    """The points of a polygon between two lines."""
    wide = WIDE / max(len(above) - 1, 1)

    def point(place: int, value: float) -> str:
        return f"{place * wide:.1f},{HIGH - value / top * HIGH:.1f}"

    upper = [point(place, value) for place, value in enumerate(above)]
    lower = [point(place, value) for place, value in enumerate(below)]
    return " ".join([*upper, *reversed(lower)])


def _marks(span: Span, first: int, end: int) -> list[tuple[float, datetime]]:
    """Four places on the time axis."""
    found = []
    for part in (0.0, 0.25, 0.5, 0.75):
        at = (first + part * (end - first)) * span.step
        found.append((part * 100, datetime.fromtimestamp(at, tz=UTC)))
    return found
