# SPDX-License-Identifier: Apache-2.0
"""Engine time of batches from before usage was counted."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from batchsite.accounts.models import User
from jobs.failures import hour_of
from jobs.models import Batch, BatchEstimate, ThroughputSample, Usage
from tests.conftest import MakeBatch

from .rows import external_engine

pytestmark = pytest.mark.django_db
fill = import_module("jobs.migrations.0021_fill_engine_time").fill


def test_it_comes_of_samples_or_else_of_estimates(
    make_batch: MakeBatch, owner: User
) -> None:
    now = hour_of(timezone.now())
    running = make_batch(status=Batch.Status.IN_PROGRESS, model="tiny")
    old = make_batch(status=Batch.Status.COMPLETED, model="", owner=None)
    Batch.objects.filter(pk=old.pk).update(closed_at=now - timedelta(days=50))
    engine = external_engine()
    for minutes in (10, 20, 70):
        ThroughputSample.objects.create(
            batch=running,
            engine=engine,
            at=now - timedelta(minutes=minutes),
            seconds=60,
            rows=1,
            input_tokens=0,
            output_tokens=0,
            engine_seconds=30.0,
        )
    for batch in (running, old):
        BatchEstimate.objects.create(
            batch=batch,
            endpoint=batch.endpoint,
            rows=1,
            input_tokens=1,
            basis="",
            ran_seconds=500.0,
        )

    fill(apps, None)

    found = Usage.objects.order_by("hour").values_list(
        "user", "model", "hour", "engine_seconds"
    )
    assert list(found) == [
        (None, "", now - timedelta(days=50), 500.0),
        (owner.pk, "tiny", now - timedelta(hours=2), 30.0),
        (owner.pk, "tiny", now - timedelta(hours=1), 60.0),
    ]
