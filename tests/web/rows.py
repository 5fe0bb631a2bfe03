# SPDX-License-Identifier: Apache-2.0
"""Rows that pages show, written as the service leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from jobs import recording
from jobs.models import (
    Batch,
    BatchRequest,
    Engine,
    Result,
    ServedModel,
    ThroughputSample,
    WorkerProcess,
)

CONTEXT_ERROR = json.dumps({"error": {"message": "The context is too long."}})


def chat(text: str) -> str:
    """A chat answer as an engine sends it."""
    return json.dumps({"choices": [{"message": {"content": text}}]})


def answer(batch: Batch, bodies: Sequence[str], *, failed: Sequence[str] = ()) -> None:
    """Give the batch requests with these answers, and then some that failed with 400."""
    start = batch.result_seq
    results = [
        _result(batch, place, body, good=place - start < len(bodies))
        for place, body in enumerate([*bodies, *failed], start=start)
    ]
    Batch.objects.filter(pk=batch.pk).update(
        completed=F("completed") + len(bodies),
        failed=F("failed") + len(failed),
        result_seq=F("result_seq") + len(results),
        output_tokens=F("output_tokens") + 5 * len(bodies),
    )
    recording.insert(batch.pk, results)
    batch.refresh_from_db()


def _result(batch: Batch, place: int, body: str, *, good: bool) -> Result:
    request = BatchRequest.objects.create(
        batch=batch,
        index=place,
        line=place + 1,
        custom_id=f"row-{place}",
        url=batch.endpoint,
        model="tiny",
        body=json.dumps({"messages": [{"role": "user", "content": f"ask {place}"}]}),
        run_order=place,
    )
    return Result(
        request=request,
        index=place,
        outcome="completed" if good else "failed",
        status_code=200 if good else 400,
        finish_reason="stop" if good else "",
        body=body,
        input_tokens=10,
        output_tokens=5,
    )


def running(make: Any, **over: Any) -> Batch:
    """A batch that started 40 minutes ago."""
    now = timezone.now()
    columns = {
        "status": Batch.Status.IN_PROGRESS,
        "total": 1000,
        "model": "tiny",
        "created_at": now - timedelta(minutes=41),
        "in_progress_at": now - timedelta(minutes=40),
    }
    batch: Batch = make(**columns | over)
    return batch


def managed(name: str = "gpu0", *, alive: bool = True, **over: Any) -> Engine:
    """A managed engine that serves `tiny`, with living host and worker, or dead ones."""
    beat = timezone.now() - timedelta(seconds=0 if alive else 60)
    model, _ = ServedModel.objects.get_or_create(name="tiny", defaults={"source": "/m"})
    columns = {
        "kind": Engine.Kind.MANAGED,
        "state": Engine.State.READY,
        "socket_path": "/run/gpu0-1.sock",
        "loaded_model": model,
        "host_heartbeat": beat,
        "worker_heartbeat": beat,
    }
    return Engine.objects.create(name=name, **columns | over)


def control_worker() -> WorkerProcess:
    """A control worker that is alive."""
    return WorkerProcess.objects.create(token="host/boot/1/1", heartbeat=timezone.now())


def sampled(batch: Batch, engine: Engine, *, rows: int = 100, minutes: int = 6) -> None:
    """Samples of `rows` results of 50 output tokens each every 10 s until now."""
    now = timezone.now()
    for step in range(minutes * 6):
        ThroughputSample.objects.create(
            batch=batch,
            engine=engine,
            at=now - timedelta(seconds=10 * step),
            seconds=10,
            rows=rows,
            input_tokens=0,
            output_tokens=rows * 50,
        )
