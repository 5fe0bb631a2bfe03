# SPDX-License-Identifier: Apache-2.0
"""How fast engines were on the site of `make screenshots`, and what they loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from jobs.models import (
    Batch,
    Engine,
    EngineEvent,
    Measurement,
    ServedModel,
    ThroughputSample,
)


def _wave(step: int, share: float) -> float:
    """A speed about 1 that moves a little, and the same way in every run."""
    return 1 + share * (math.sin(step / 5) + 0.6 * math.sin(step / 1.7 + 1))


def samples(batch: Batch, engine: Engine, speed: int) -> None:
    """Every 10 s of the last 16 minutes."""
    now = timezone.now()
    ThroughputSample.objects.bulk_create(
        _sample(
            batch, engine, now - timedelta(seconds=10 * step), 10, speed, step, 0.06
        )
        for step in range(96)
    )


def history(batches: Sequence[Batch], engines: Sequence[Engine]) -> None:
    """Every minute of the day before, for the picture of the throughput."""
    now = timezone.now()
    for number, (batch, engine) in enumerate(zip(batches, engines, strict=True)):
        ThroughputSample.objects.bulk_create(
            _sample(
                batch,
                engine,
                now - timedelta(minutes=16 + step),
                60,
                4400 - 3100 * number,
                step // 20,
                0.1,
            )
            for step in range(1424 - 500 * number)
        )


def _sample(
    batch: Batch,
    engine: Engine,
    at: datetime,
    seconds: int,
    speed: int,
    step: int,
    share: float,
) -> ThroughputSample:
    tokens = round(speed * seconds * _wave(step, share))
    return ThroughputSample(
        batch=batch,
        engine=engine,
        at=at,
        resolution=seconds,
        seconds=seconds,
        rows=tokens // 158,
        input_tokens=tokens,
        output_tokens=tokens,
    )


def measured(model: ServedModel, engine: Engine, speed: int) -> None:
    """An hour of work every five hours, for eight days."""
    now = timezone.now()
    for step in range(40):
        tokens = round(speed * 600 * _wave(step, 0.08))
        Measurement.objects.create(
            served_model=model,
            engine=engine,
            hardware="1 x NVIDIA H100",
            rows=tokens // 158,
            input_tokens=tokens,
            output_tokens=tokens,
            seconds=600,
            latency_seconds=12_000,
            request_seconds=60_000,
            created_at=now - timedelta(minutes=20, hours=5 * step),
        )


def swaps(engine: Engine, models: Sequence[str]) -> None:
    """It loaded these, one after the other, within the day."""
    at = timezone.now() - timedelta(hours=21)
    before = ""
    for model in models:
        for old, new, name, minutes in (
            ("ready", "draining", before, 3),
            ("draining", "loading", model, 6),
            ("loading", "ready", model, 231),
        ):
            if name:
                EngineEvent.objects.create(
                    engine=engine, old_state=old, new_state=new, model=name, at=at
                )
                at += timedelta(minutes=minutes)
        before = model
    Engine.objects.filter(pk=engine.pk).update(state_since=at)
