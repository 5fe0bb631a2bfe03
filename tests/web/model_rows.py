# SPDX-License-Identifier: Apache-2.0
"""Models with a past, for pages that show it."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from django.utils import timezone

from jobs.models import Batch, Engine, EngineEvent, Measurement, ServedModel

from . import rows

LONG = "an-organisation/" + "a-long-name-of-a-model-" * 5
ERROR = (
    "ValueError: the model's max seq len (131072) is larger than the KV cache can hold"
    "\n\u2026\n" + "\n".join(["a line of the log"] * 40)
)


def models_that_ran(make_batch: Any) -> dict[str, Any]:
    """`tiny` on gpu0 with measurements, loads, swaps and a trial; and others.

    Gives what stands in the addresses of their pages.
    """
    tiny, _ = ServedModel.objects.get_or_create(name="tiny", defaults={"source": "/m"})
    engine = Engine.objects.filter(name="gpu0").first() or rows.managed()
    other = ServedModel.objects.create(
        name=LONG,
        source=LONG,
        engine_args=["--max-model-len", "8192", "--chat-template", "/t/" + "x" * 90],
    )
    other.engines.set([engine])
    ServedModel.objects.create(name="tuned", source="/m/tuned", base=tiny)
    ServedModel.objects.create(name="old", source="/m/old", state="disabled")
    failed = ServedModel.objects.create(
        name="too-large",
        source="org/too-large",
        state="failed",
        state_reason=ERROR,
        load_failures=3,
    )
    measure(tiny, engine)
    swap(engine, [LONG, "tiny"] * 4)
    batch = make_batch(name="test of tiny", model="tiny", total=1)
    rows.answer(batch, [rows.chat("Hello! It is nice to meet you.")])
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk).update(
        status="completed", completed_at=now, closed_at=now, closing_reason="done"
    )
    return {
        "model": tiny.pk,
        "model_failed": failed.pk,
        "model_long": other.pk,
        "tested": batch.public_id,
    }


def measure(model: ServedModel, engine: Engine) -> None:
    """Some hours of work on that engine, and some on one that is gone."""
    now = timezone.now()
    for hour in range(60):
        here = hour % 3
        speed = 2400 + 500 * math.sin(hour / 5) if here else 900 + 9 * hour
        Measurement.objects.create(
            served_model=model,
            engine=engine if here else None,
            hardware="1 x NVIDIA H100" if here else "1 x NVIDIA L4",
            rows=180 + hour,
            input_tokens=90_000,
            output_tokens=round(speed * 600),
            seconds=600,
            latency_seconds=400,
            request_seconds=36_000,
            created_at=now - timedelta(hours=5 * hour),
        )


def swap(engine: Engine, models: list[str]) -> None:
    """The engine loaded these, one after the other, in the last 20 hours."""
    now = timezone.now()
    step = timedelta(hours=20) / len(models)
    at = now - timedelta(hours=20)
    old = ("stopped", "")
    for number, model in enumerate(models):
        moves = [("loading", 5.0), ("ready", 700.0)]
        if number == 2:
            moves = [
                ("loading", 5.0),
                ("failed", 900.0),
                ("loading", 60.0),
                ("ready", 800.0),
            ]
        for state, seconds in moves:
            EngineEvent.objects.create(
                engine=engine,
                old_state=old[0],
                new_state=state,
                model=model,
                seconds=seconds,
                at=at,
            )
            old = (state, model)
            at += timedelta(minutes=12)
        at += step - timedelta(minutes=12 * len(moves))
        if number < len(models) - 1:
            EngineEvent.objects.create(
                engine=engine,
                old_state="ready",
                new_state="draining",
                model=model,
                seconds=7000,
                at=at - timedelta(minutes=8),
            )
            old = ("draining", model)
