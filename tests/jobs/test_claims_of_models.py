# SPDX-License-Identifier: Apache-2.0
"""Batches of several models: what engines find to do in them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import Team
from jobs import claims, engine_side
from jobs.models import Batch, BatchRequest, Chunk, Engine, EngineModel, ServedModel
from tests.conftest import MakeBatch
from tests.jobs.rows import external_engine, running_batch

pytestmark = pytest.mark.django_db


def mixed_batch(make_batch: MakeBatch, *models: str) -> Batch:
    """A running batch with one chunk of two rows for each of the models, in order."""
    chunks = [2] * len(models)
    batch = running_batch(make_batch, chunks=chunks, model="", allow_mixed_models=True)
    for place, model in enumerate(models):
        Chunk.objects.filter(batch=batch, start=place * 2).update(model=model)
        rows = BatchRequest.objects.filter(
            batch=batch, index__in=[place * 2, place * 2 + 1]
        )
        rows.update(model=model)
    return batch


def engine_of(*models: str, name: str = "ext") -> Engine:
    engine = external_engine(name)
    for model in models:
        served, _ = ServedModel.objects.get_or_create(name=model)
        EngineModel.objects.create(engine=engine, served_model=served, remote_name="x")
    return engine


def test_a_batch_is_work_for_each_of_its_models(make_batch: MakeBatch) -> None:
    batch = mixed_batch(make_batch, "a", "b", "a")
    single = running_batch(make_batch, model="b")
    found = [(w.batch, w.model) for w in claims.claimable_work(None)]
    assert found == [(batch.pk, "a"), (batch.pk, "b"), (single.pk, "b")]
    found = [(w.batch, w.model) for w in claims.claimable_work(["b"])]
    assert found == [(batch.pk, "b"), (single.pk, "b")]


def test_a_busy_engine_of_the_first_model_hides_no_other(make_batch: MakeBatch) -> None:
    batch = mixed_batch(make_batch, "a", "b")
    first = engine_of("a")
    (work,) = engine_side.survey(first).waiting
    held = claims.claim(work, engine=first, worker="w", after=None)
    assert held is not None
    second = engine_of("b", name="ext2")
    (work,) = engine_side.survey(second).waiting
    assert (work.batch, work.model) == (batch.pk, "b")
    claim = claims.claim(work, engine=second, worker="w2", after=None)
    assert claim is not None
    assert [row.index for row in claim.rows] == [2, 3]
    assert engine_side.survey(first).waiting == []


def test_an_engine_that_has_no_place_for_one_model_still_runs_the_other(
    make_batch: MakeBatch,
) -> None:
    batch = mixed_batch(make_batch, "a", "b")
    engine = engine_of("a", "b")
    seen = engine_side.survey(engine, skipped={(batch.pk, "a")})
    assert [(w.batch, w.model) for w in seen.waiting] == [(batch.pk, "b")]


def test_batches_of_one_model_cost_one_query(
    make_batch: MakeBatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    running_batch(make_batch)
    with django_assert_num_queries(1):
        assert len(claims.claimable_work(None)) == 1


def test_many_batches_of_one_team_hide_no_other_team(
    make_batch: MakeBatch, other_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CANDIDATES", 3)
    crowd = [running_batch(make_batch, priority=100) for _ in range(5)]
    soon = timezone.now() + timedelta(minutes=5)
    late = running_batch(make_batch, priority=100, expires_at=soon)
    alone = running_batch(make_batch, team=other_team, owner=None)
    found = [work.batch for work in claims.claimable_work(None)]
    # The team's own: what is late before what is old.
    assert found == [crowd[0].pk, crowd[1].pk, late.pk, alone.pk]


def test_many_batches_for_one_model_hide_no_other_model(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CANDIDATES", 2)
    for _ in range(4):
        running_batch(make_batch, model="a", priority=100)
    other = running_batch(make_batch, model="b")
    assert other.pk in [work.batch for work in claims.claimable_work(None)]
