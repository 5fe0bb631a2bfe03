# SPDX-License-Identifier: Apache-2.0
"""Points over time as an SVG that the server draws: no script, and words on each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

# The picture's own units; the browser stretches them to the card.
WIDTH, HEIGHT = 1000.0, 200.0
EDGE = 12.0
# Further engines share the last colour.
COLOURS = 4


@dataclass(frozen=True)
class Point:
    """A value of a series at a time; `words` say more of it on hover."""

    at: datetime
    value: float
    series: str
    words: str


@dataclass(frozen=True)
class Dot:
    """A point in the picture."""

    x: str
    y: str
    words: str


@dataclass(frozen=True)
class Line:
    """One series: its number for the colour, its points as a line and as dots."""

    name: str
    colour: int
    points: str
    dots: list[Dot]


@dataclass(frozen=True)
class Chart:
    """The lines, the axis' labels from top to bottom, and the first and last time."""

    lines: list[Line]
    ticks: list[str]
    unit: str
    since: datetime
    until: datetime


def chart(points: Sequence[Point], *, unit: str) -> Chart | None:
    """The chart of points that are in the order of time; None without any."""
    if not points:
        return None
    since, until = points[0].at, points[-1].at
    top = round_up(max(point.value for point in points))
    span = (until - since).total_seconds()

    def place(point: Point) -> Dot:
        part = (point.at - since).total_seconds() / span if span else 0.5
        x = EDGE + part * (WIDTH - 2 * EDGE)
        y = HEIGHT - EDGE - point.value / top * (HEIGHT - 2 * EDGE)
        at = timezone.localtime(point.at)
        words = f"{point.series}, {at.day} {at:%b %H:%M}: {point.value:,.0f} {unit}"
        return Dot(f"{x:.1f}", f"{y:.1f}", f"{words}, {point.words}")

    series: dict[str, list[Dot]] = {}
    for point in points:
        series.setdefault(point.series, []).append(place(point))
    lines = [
        Line(
            name,
            min(number, COLOURS),
            " ".join(f"{dot.x},{dot.y}" for dot in dots),
            dots,
        )
        for number, (name, dots) in enumerate(sorted(series.items()), start=1)
    ]
    ticks = [f"{top:,.0f}", f"{top / 2:,.0f}", "0"] if top >= 2 else [f"{top:g}", "0"]
    return Chart(lines, ticks, unit, since, until)


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 …, so that the axis has plain numbers; 1 for nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
