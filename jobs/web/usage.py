# SPDX-License-Identifier: Apache-2.0
"""What was used in the last weeks, by whom and with which model: lines and a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta

from django.db.models import Case, IntegerField, Sum, Value, When
from django.utils import timezone

from batchsite.accounts.models import Team
from jobs.models import Usage
from jobs.templatetags.figures import printable

from .charts import round_up
from .stacks import HIGH, WIDE, peak, ranked

WEEKS = 12
# How the address writes what has no name: batches of several models, people who left.
UNNAMED = "-"
SEVERAL, GONE = "several models", "somebody who left"
# The part of a week's place that its column takes.
COLUMN = 0.72


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of Usage rows."""

    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    engine_seconds: float = 0.0

    def __add__(self, other: Figures) -> Figures:
        """Both together."""
        return Figures(
            *(getattr(self, f.name) + getattr(other, f.name) for f in fields(self))
        )

    @property
    def hours(self) -> str:
        """The engine's time in hours, with more digits where it is little."""
        hours = self.engine_seconds / 3600
        return f"{hours:,.2f}" if hours < 10 else f"{hours:,.1f}"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one person used of one model in one week; the names are printable."""

    team_pk: int
    team: str
    person: str
    model: str
    week: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; `week` instead of a name, or the team that it leads to."""

    name: str
    figures: Figures
    week: date | None = None
    team: int | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """A layer's part of one week's column; `words` say it on hover."""

    x: str
    y: str
    width: str
    height: str
    words: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One series: its colour, its bars, and its sum."""

    name: str
    colour: int
    bars: list[Bar]
    total: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Columns of weeks; `top` is the scale's end, `marks` are weeks under it."""

    layers: list[Layer]
    top: float
    peak: float
    unit: str
    marks: list[date]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows, and its CSV too."""

    by: str
    lines: list[Line]
    total: Figures
    picture: Picture | None
    people: list[tuple[str, str]]
    models: list[tuple[str, str]]
    is_used: bool


def report(team: Team | None, *, by: str, who: str = "", model: str = "") -> Report:
    """The last 12 weeks of the team, or of all teams; one query.

    `by`: week, person, model or team. `who` and `model` narrow it: an e-mail address
    and a name, or UNNAMED.
    """
    edges = weeks(timezone.now())
    every = _cells(team, edges)
    cells = [c for c in every if _fits(c.person, who) and _fits(c.model, model)]
    return Report(
        by=by,
        lines=_by_week(cells, edges) if by == "week" else _by_name(cells, by),
        total=sum((c.figures for c in cells), Figures()),
        picture=_picture(cells, _naming(by), edges),
        people=_choices((c.person for c in every), GONE),
        models=_choices((c.model for c in every), SEVERAL),
        is_used=bool(every),
    )


def weeks(now: datetime) -> list[datetime]:
    """The begins of the last 12 weeks in the current time zone, and the last one's end.

    Monday's midnights, whatever hour the clock was put to in between.
    """
    zone = timezone.get_current_timezone()
    today = timezone.localtime(now).date()
    monday = today - timedelta(days=today.weekday())
    days = (monday + timedelta(weeks=n) for n in range(1 - WEEKS, 2))
    return [datetime.combine(day, time.min, tzinfo=zone) for day in days]


def _cells(team: Team | None, edges: Sequence[datetime]) -> list[Cell]:
    week = Case(
        *(When(hour__lt=end, then=Value(n)) for n, end in enumerate(edges[1:])),
        output_field=IntegerField(),
    )
    sums = {f"sum_{f.name}": Sum(f.name) for f in fields(Figures)}
    rows = (
        Usage.objects.of(team)
        .between(edges[0], edges[-1])
        .annotate(week=week)
        .values_list("team_id", "team__name", "user__email", "model", "week")
        .annotate(**sums)
        .order_by()
    )
    return [
        Cell(
            *(pk, printable(name), printable(email or UNNAMED)),
            *(printable(model or UNNAMED), number, Figures(*figures)),
        )
        for pk, name, email, model, number, *figures in rows
    ]


def _fits(value: str, wanted: str) -> bool:
    return not wanted or value == wanted


def _choices(values: Iterable[str], unnamed: str) -> list[tuple[str, str]]:
    """Values to choose from with their words, the one without a name last."""
    found = sorted(set(values), key=lambda value: (value == UNNAMED, value))
    return [(value, unnamed if value == UNNAMED else value) for value in found]


def _naming(by: str) -> Callable[[Cell], str]:
    """What a cell's series is called; weeks are stacked up of models."""
    if by == "team":
        return lambda cell: cell.team
    if by == "person":
        return lambda cell: GONE if cell.person == UNNAMED else cell.person
    return lambda cell: SEVERAL if cell.model == UNNAMED else cell.model


def _by_week(cells: Sequence[Cell], edges: Sequence[datetime]) -> list[Line]:
    """Newest first, down to the first one with anything."""
    if not cells:
        return []
    sums: defaultdict[int, Figures] = defaultdict(Figures)
    for cell in cells:
        sums[cell.week] += cell.figures
    return [
        Line("", sums[week], week=edges[week].date())
        for week in range(WEEKS - 1, min(sums) - 1, -1)
    ]


def _by_name(cells: Sequence[Cell], by: str) -> list[Line]:
    """Most engine time first, then most tokens."""
    naming = _naming(by)
    sums: defaultdict[str, Figures] = defaultdict(Figures)
    teams: dict[str, int] = {}
    for cell in cells:
        name = naming(cell)
        sums[name] += cell.figures
        teams[name] = cell.team_pk
    lines = [
        Line(name, figures, team=teams[name] if by == "team" else None)
        for name, figures in sums.items()
    ]
    return sorted(
        lines,
        key=lambda line: (
            -line.figures.engine_seconds,
            -line.figures.input_tokens - line.figures.output_tokens,
            line.name,
        ),
    )


def _picture(
    cells: Sequence[Cell], naming: Callable[[Cell], str], edges: Sequence[datetime]
) -> Picture | None:
    """Output tokens by week; of what makes none, as embeddings, input tokens."""
    unit = "output"
    if not any(cell.figures.output_tokens for cell in cells):
        unit = "input"
    made: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * WEEKS)
    for cell in cells:
        made[naming(cell)][cell.week] += getattr(cell.figures, f"{unit}_tokens")
    kept = {name: amounts for name, amounts in ranked(made).items() if any(amounts)}
    if not kept:
        return None
    days = [edge.date() for edge in edges]
    highest = peak(kept)
    # Its axis is labelled in whole tokens.
    top = round_up(max(highest, 1.0))
    layers, below = [], [0.0] * WEEKS
    for colour, (name, amounts) in enumerate(kept.items()):
        above = [a + b for a, b in zip(below, amounts, strict=True)]
        bars = [
            _bar(place, below[place], above[place], top, f"{name}, week of {_day(day)}")
            for place, day in enumerate(days[:WEEKS])
            if amounts[place]
        ]
        layers.append(Layer(name, colour, bars, sum(amounts)))
        below = above
    return Picture(layers, top, highest, f"{unit} tokens", days[:WEEKS:3])


def _bar(place: int, low: float, high: float, top: float, whose: str) -> Bar:
    wide = WIDE / WEEKS
    height = (high - low) / top * HIGH
    return Bar(
        f"{(place + (1 - COLUMN) / 2) * wide:.1f}",
        f"{HIGH - high / top * HIGH:.2f}",
        f"{wide * COLUMN:.1f}",
        f"{height:.2f}",
        f"{whose}: {high - low:,.0f}",
    )


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"
