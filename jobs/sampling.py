# SPDX-License-Identifier: Apache-2.0
"""What one feeder's engine does, in samples a batch and in measurements a model."""

from __future__ import annotations

import math
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from . import usage
from .models import Batch, Engine, Measurement, ServedModel, ThroughputSample
from .occupancy import Stay, Work
from .writer import Tally

SAMPLE_SECONDS = 10
MEASURE_SECONDS = 60


@dataclass(slots=True)
class Sum:
    """What one model did since the last measurement."""

    tally: Tally = field(default_factory=Tally)
    stay: Stay = field(default_factory=Stay)

    def add(self, tally: Tally, stay: Stay) -> None:
        """Take in some more."""
        self.tally.merge(tally)
        self.stay.merge(stay)


class Sampler:
    """Writes a ThroughputSample per batch every 10 s and measures each minute.

    `tallies` and `stays` give what was stored, and who was in flight, since they were
    called last. When the engine falls idle, what is there is written at once: a run of
    a few seconds counts too, with the weight of a few seconds.
    """

    def __init__(
        self,
        tallies: Callable[[], Mapping[Work, Tally]],
        stays: Callable[[], Mapping[Work, Stay]],
    ) -> None:
        self._tallies = tallies
        self._stays = stays
        self._sampled_at = self._measured_at = time.monotonic()
        self._sums: dict[str, Sum] = {}
        self._window = 0

    def sample(self, engine: Engine, *, window: int, idle: bool) -> None:
        """Store what happened since the last call; nothing within 10 s of it.

        `idle`: nothing is in flight or on its way into the database. `window` is the
        most requests that the feeder keeps in flight.
        """
        now = time.monotonic()
        if now - self._sampled_at < SAMPLE_SECONDS and not idle:
            return
        # An idle engine is asked at each heartbeat: its time belongs to no sample.
        seconds, self._sampled_at = max(now - self._sampled_at, 0.001), now
        self._window = window or self._window
        tallies, stays = self._tallies(), self._stays()
        if tallies or stays:
            self._write(engine, seconds, tallies, stays)
        for work in {*tallies, *stays}:
            one = self._sums.setdefault(work[1], Sum())
            one.add(tallies.get(work, Tally()), stays.get(work, Stay()))
        if idle or now - self._measured_at >= MEASURE_SECONDS:
            self._measured_at = now
            self._measure(engine)
            if idle:
                self._sums = {}

    def _write(
        self,
        engine: Engine,
        seconds: float,
        tallies: Mapping[Work, Tally],
        stays: Mapping[Work, Stay],
    ) -> None:
        by_batch: dict[int, Sum] = {}
        for work in {*tallies, *stays}:
            one = by_batch.setdefault(work[0], Sum())
            one.add(tallies.get(work, Tally()), stays.get(work, Stay()))
        there = Batch.objects.filter(pk__in=by_batch)
        whose = {
            pk: usage.Whose(team, user, model)
            for pk, team, user, model in there.values_list(
                "pk", "team_id", "owner_id", "model"
            )
        }
        used: defaultdict[usage.Whose, float] = defaultdict(float)
        for batch, owned in whose.items():
            used[owned] += by_batch[batch].stay.engine_seconds
        with transaction.atomic():
            ThroughputSample.objects.bulk_create(
                _sample_of(batch, engine, seconds, by_batch[batch]) for batch in whose
            )
            usage.add_engine_seconds(used)

    def _measure(self, engine: Engine) -> None:
        """Store what has answers; what has none yet goes on."""
        done = {
            name: one
            for name, one in self._sums.items()
            if one.tally.rows and one.stay.engine_seconds
        }
        for model in ServedModel.objects.filter(name__in=done):
            store(model, engine, self._window, done[model.name])
        for name in done:
            del self._sums[name]


def _sample_of(
    batch: int, engine: Engine, seconds: float, one: Sum
) -> ThroughputSample:
    return ThroughputSample(
        batch_id=batch,
        engine=engine,
        seconds=seconds,
        rows=one.tally.rows,
        input_tokens=one.tally.input_tokens,
        output_tokens=one.tally.output_tokens,
        engine_seconds=one.stay.engine_seconds,
        request_seconds=one.stay.request_seconds,
    )


def store(model: ServedModel, engine: Engine, window: int, done: Sum) -> None:
    """Add to the measurement of this hour, set-up and concurrency, or begin it.

    An engine has one worker, which alone writes its measurements.
    """
    managed = engine.kind == Engine.Kind.MANAGED
    setup = {
        "served_model": model,
        "engine": engine,
        "hardware": hardware_of(engine),
        "revision": model.revision if managed else "",
        "engine_args": arguments_of(model) if managed else "",
        "window": window,
    }
    sums = {
        "rows": done.tally.rows,
        "input_tokens": done.tally.input_tokens,
        "cached_tokens": done.tally.cached_tokens,
        "output_tokens": done.tally.output_tokens,
        "seconds": done.stay.engine_seconds,
        "latency_seconds": done.tally.latency_seconds,
        "request_seconds": done.stay.request_seconds,
    }
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    octave = _octave(done.stay.request_seconds / done.stay.engine_seconds)
    for known in Measurement.objects.filter(**setup, created_at__gte=hour):
        if _octave(known.concurrency) == octave:
            more = {name: F(name) + value for name, value in sums.items()}
            Measurement.objects.filter(pk=known.pk).update(**more)
            return
    Measurement.objects.create(**setup, **sums)


def _octave(concurrency: float) -> int:
    """A few requests at once are another thing than a full window."""
    return round(math.log2(max(concurrency, 1.0)))


def hardware_of(engine: Engine) -> str:
    """What the engine runs on, as its host says; an external one is a thing of its own."""
    if engine.kind == Engine.Kind.EXTERNAL:
        return f"the server {engine.name}"
    said = engine.gauges.get("hardware")
    return said[:200] if isinstance(said, str) else ""


def arguments_of(model: ServedModel) -> str:
    """The model's engine arguments as one text."""
    return shlex.join(map(str, model.engine_args))
