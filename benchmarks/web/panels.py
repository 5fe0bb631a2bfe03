# SPDX-License-Identifier: Apache-2.0
"""What benchmarks show on the first page."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.cache import cache

from batchsite.accounts.models import User
from benchmarks.comparing import Contestant, contestants
from benchmarks.models import Run
from benchmarks.scoring import OVERALL
from jobs.extensions import Panel

RUNS = 3
BEST = 3
KEPT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A model in a variant: its mean, 0 to 1, and how far that is from the baseline's."""

    model: str
    variant: str
    mean: float
    apart: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A run with the best of its models."""

    code: str
    name: str
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """The person's newest runs that have ended, with figures."""

    lines: tuple[Line, ...]


def home_panel(user: User) -> Panel | None:
    """The newest ended runs with their best models; None without any."""
    key = f"benchmarks:home:{user.pk}"
    found: tuple[Line, ...] | None = cache.get(key)
    if found is None:
        runs = Run.objects.visible_to(user).filter(state=Run.State.DONE)
        lines = (_line(run) for run in runs.order_by("-pk")[:RUNS])
        found = tuple(line for line in lines if line.places)
        cache.set(key, found, KEPT_SECONDS)
    return Panel("benchmarks/_home_panel.html", Lines(found)) if found else None


def _line(run: Run) -> Line:
    """The first one of a run is the baseline, as on its own page."""
    found = contestants(run)
    means = [(one, _mean(one)) for one in found]
    first = means[0][1]
    places = [
        Place(
            one.model,
            one.variant,
            mean,
            None if one is found[0] or first is None else mean - first,
        )
        for one, mean in means
        if mean is not None
    ]
    places.sort(key=lambda place: -place.mean)
    return Line(run.public_id, run.name, tuple(places[:BEST]))


def _mean(one: Contestant) -> float | None:
    figure = one.metrics().get(OVERALL)
    return figure.mean if figure else None
