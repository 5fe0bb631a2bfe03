# SPDX-License-Identifier: Apache-2.0
"""Throughput of one feeder's work, from the results that it stored."""

from __future__ import annotations

import time
from datetime import timedelta

from django.utils import timezone

from .models import Batch, Engine, Measurement, ServedModel, ThroughputSample
from .writer import Tally, Writer

SAMPLE_SECONDS = 10
MEASURE_SECONDS = 60
KEPT = timedelta(hours=1)


class Sampler:
    """Writes a ThroughputSample per batch every 10 s and a Measurement each minute."""

    def __init__(self) -> None:
        self._sampled_at = time.monotonic()
        self._measured_at = time.monotonic()
        self._by_model: dict[str, Tally] = {}
        # Seconds in which the model had results: idle time says nothing of its speed.
        self._active: dict[str, float] = {}

    def sample(self, engine: Engine, writer: Writer) -> None:
        """Store what the writer stored since the last call; nothing within 10 s of it."""
        seconds = time.monotonic() - self._sampled_at
        if seconds < SAMPLE_SECONDS:
            return
        self._sampled_at = time.monotonic()
        tallies = writer.take_tally()
        models = dict(Batch.objects.filter(pk__in=tallies).values_list("pk", "model"))
        if engine.loaded_model is not None:
            # A batch of several models has none of its own; what is loaded ran it.
            models = {
                pk: name or engine.loaded_model.name for pk, name in models.items()
            }
        ThroughputSample.objects.bulk_create(
            ThroughputSample(
                batch_id=batch,
                engine=engine,
                seconds=seconds,
                rows=tally.rows,
                input_tokens=tally.input_tokens,
                output_tokens=tally.output_tokens,
            )
            for batch, tally in tallies.items()
            if batch in models
        )
        for batch, tally in tallies.items():
            total = self._by_model.setdefault(models.get(batch, ""), Tally())
            total.rows += tally.rows
            total.input_tokens += tally.input_tokens
            total.output_tokens += tally.output_tokens
        for model in {models.get(batch, "") for batch in tallies}:
            self._active[model] = self._active.get(model, 0.0) + seconds
        self._measure(engine)

    def _measure(self, engine: Engine) -> None:
        if time.monotonic() - self._measured_at < MEASURE_SECONDS:
            return
        self._measured_at = time.monotonic()
        for model in ServedModel.objects.filter(name__in=self._by_model):
            total = self._by_model[model.name]
            Measurement.objects.create(
                served_model=model,
                engine=engine,
                rows=total.rows,
                input_tokens=total.input_tokens,
                output_tokens=total.output_tokens,
                seconds=self._active[model.name],
            )
        self._by_model, self._active = {}, {}
        ThroughputSample.objects.filter(
            engine=engine, at__lt=timezone.now() - KEPT
        ).delete()
