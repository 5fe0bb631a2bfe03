# SPDX-License-Identifier: Apache-2.0
"""What the pages of models show: state, speed, use, queue, history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Max, Q, Sum
from django.utils import timezone

from batchsite.accounts.models import User
from jobs import catalogue
from jobs.models import Batch, Engine, EngineEvent, Measurement, ServedModel

from .charts import Chart, Point, chart
from .model_states import Site, Standing, standings

USED = timedelta(days=7)
MEASURED = timedelta(days=30)
MOST_POINTS = 300
MOST_ROWS = 30
LOADS = 10
BATCHES = 10


@dataclass(frozen=True)
class Figures:
    """What a model did: tokens a second, measured when and over how much; a week's use."""

    speed: float | None
    requests: int
    newest: datetime | None
    week_requests: int
    week_tokens: int


NOTHING_DONE = Figures(None, 0, None, 0, 0)


@dataclass(frozen=True)
class ModelRow:
    """A model as the list shows it; `queue` are batches and requests that wait or run."""

    model: ServedModel
    standing: Standing
    figures: Figures
    queue: tuple[int, int]

    @property
    def pins(self) -> list[str]:
        """The engines that alone may load it."""
        return sorted(engine.name for engine in self.model.engines.all())

    @property
    def shown(self) -> tuple[object, ...]:
        """What the row displays: a change here is a change there."""
        model = self.model
        return (
            *(model.pk, model.name, model.source, model.state, self.pins),
            *(self.standing, self.figures, self.queue),
        )


def rows() -> list[ModelRow]:
    """All models by name; a fixed number of queries."""
    models = list(
        ServedModel.objects.select_related("base").prefetch_related(
            "engines", "base__engines"
        )
    )
    states = standings(models, Site())
    done, queue = figures(), catalogue.queued()
    return [
        ModelRow(
            model,
            states[model.pk],
            done.get(model.pk, NOTHING_DONE),
            queue.get(model.name, (0, 0)),
        )
        for model in models
    ]


def figures(model: ServedModel | None = None) -> Mapping[int, Figures]:
    """What the models did in the last 30 days, by primary key; one query."""
    now = timezone.now()
    measured = Measurement.objects.filter(created_at__gte=now - MEASURED)
    if model is not None:
        measured = measured.filter(served_model=model)
    week = Q(created_at__gte=now - USED)
    sums = measured.order_by().values_list("served_model")
    found = sums.annotate(
        tokens=Sum("output_tokens"),
        took=Sum("seconds"),
        answered=Sum("rows"),
        newest=Max("created_at"),
        week_rows=Sum("rows", filter=week),
        week_tokens=Sum("output_tokens", filter=week),
    )
    return {
        pk: Figures(
            speed=tokens / took if tokens and took else None,
            requests=answered,
            newest=newest,
            week_requests=week_rows or 0,
            week_tokens=week_tokens or 0,
        )
        for pk, tokens, took, answered, newest, week_rows, week_tokens in found
    }


@dataclass(frozen=True)
class Load:
    """One load of a model: when it was ready, where, and after how many seconds."""

    at: datetime
    engine: str
    seconds: float | None


def loads(model: ServedModel) -> list[Load]:
    """The newest loads of the last 30 days, newest first; an adapter's are its base's."""
    name = model.base.name if model.base else model.name
    ready = EngineEvent.objects.filter(
        model=name, old_state=Engine.State.LOADING, new_state=Engine.State.READY
    )
    rows = ready.order_by("-id").values_list("at", "engine__name", "seconds")
    return [Load(*row) for row in rows[:LOADS]]


@dataclass(frozen=True)
class History:
    """The model's measurements of 30 days: a picture, and the newest as rows."""

    chart: Chart | None
    rows: list[Measurement]
    more: int


def history(model: ServedModel) -> History:
    """How fast it ran, hour by hour; one query."""
    since = timezone.now() - MEASURED
    measured = Measurement.objects.filter(served_model=model, created_at__gte=since)
    newest = list(
        measured.select_related("engine").order_by("-created_at")[:MOST_POINTS]
    )
    points = [
        Point(
            at=one.created_at,
            value=one.speed,
            series=one.engine.name if one.engine else one.hardware or "an engine",
            words=f"{one.rows:,} requests, {one.concurrency:.0f} at once",
        )
        for one in reversed(newest)
        if one.output_tokens
    ]
    shown = newest[:MOST_ROWS]
    return History(chart(points, unit="tok/s"), shown, len(newest) - len(shown))


def batches_of(model: ServedModel, user: User) -> list[Batch]:
    """The newest batches of the user's teams that ran on the model."""
    found = Batch.objects.visible_to(user).filter(model=model.name)
    return list(found.for_list()[:BATCHES])
