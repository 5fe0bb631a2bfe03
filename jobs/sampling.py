# SPDX-License-Identifier: Apache-2.0
"""Throughput of the work on one engine, from the results that were stored."""

from __future__ import annotations

import time
from datetime import timedelta

from django.db.models import Count, Max, Sum
from django.utils import timezone

from .models import Engine, Measurement, Result, ServedModel, ThroughputSample

SAMPLE_SECONDS = 10
KEPT = timedelta(hours=1)
MEASURE_SECONDS = 60


class Sampler:
    """Writes a ThroughputSample per batch every 10 s and a Measurement each minute."""

    def __init__(self) -> None:
        self._last_result: int | None = None
        self._sampled_at = time.monotonic()
        self._measured_at = time.monotonic()
        self._sums: dict[str, list[int]] = {}

    def sample(self, engine: Engine) -> None:
        """Take what was stored since the last call; does nothing within 10 s of it."""
        now = time.monotonic()
        if self._last_result is None:
            newest = Result.objects.aggregate(top=Max("pk"))["top"]
            self._last_result = newest or 0
        seconds = now - self._sampled_at
        if seconds < SAMPLE_SECONDS:
            return
        self._sampled_at = now
        fresh = Result.objects.filter(pk__gt=self._last_result, engine=engine)
        for row in fresh.values("batch_id", "batch__model").annotate(
            rows=Count("pk"),
            input=Sum("input_tokens"),
            output=Sum("output_tokens"),
            top=Max("pk"),
        ):
            self._last_result = max(self._last_result, row["top"])
            ThroughputSample.objects.create(
                batch_id=row["batch_id"],
                engine=engine,
                seconds=seconds,
                rows=row["rows"],
                input_tokens=row["input"],
                output_tokens=row["output"],
            )
            sums = self._sums.setdefault(row["batch__model"], [0, 0, 0])
            for place, count in enumerate((row["rows"], row["input"], row["output"])):
                sums[place] += count
        self._measure(engine, now)

    def _measure(self, engine: Engine, now: float) -> None:
        seconds = now - self._measured_at
        if seconds < MEASURE_SECONDS:
            return
        self._measured_at = now
        for model in ServedModel.objects.filter(name__in=self._sums):
            rows, input_tokens, output_tokens = self._sums[model.name]
            Measurement.objects.create(
                served_model=model,
                engine=engine,
                rows=rows,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                seconds=seconds,
            )
        self._sums = {}
        ThroughputSample.objects.filter(
            engine=engine, at__lt=timezone.now() - KEPT
        ).delete()
