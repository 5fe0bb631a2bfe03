# SPDX-License-Identifier: Apache-2.0
"""Where a batch stands: place, expected start, what it waits for, its deadline."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from jobs import deadlines, standing
from jobs.models import (
    Batch,
    BatchEstimate,
    Chunk,
    Engine,
    EngineModel,
    Measurement,
    ServedModel,
    ThroughputSample,
    WorkerProcess,
)
from jobs.obstacles import read_site
from jobs.standing import Standing
from tests.conftest import MakeBatch, MakeFile
from tests.jobs.rows import running_batch

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look grows old by itself."""
    monkeypatch.setattr(standing, "LOOK_SECONDS", 3600.0)


def serving(*models: str, name: str = "ext", **over: Any) -> Engine:
    """A living external engine that serves these models."""
    columns: dict[str, Any] = {
        "kind": "external",
        "base_url": "http://127.0.0.1:9",
        "state": "ready",
        "worker_heartbeat": timezone.now(),
    }
    engine = Engine.objects.create(name=name, **(columns | over))
    for model in models:
        served, _ = ServedModel.objects.get_or_create(name=model)
        EngineModel.objects.create(engine=engine, served_model=served, remote_name="x")
    return engine


def managed(name: str = "gpu0", **over: Any) -> Engine:
    columns: dict[str, Any] = {
        "kind": "managed",
        "state": "stopped",
        "worker_heartbeat": timezone.now(),
        "host_heartbeat": timezone.now(),
    }
    return Engine.objects.create(name=name, **(columns | over))


def measured(model: str, engine: Engine) -> None:
    """One request of ten tokens a second."""
    Measurement.objects.create(
        served_model=ServedModel.objects.get(name=model),
        engine=engine,
        rows=60,
        input_tokens=60,
        output_tokens=600,
        seconds=60,
        hardware=f"the server {engine.name}",
    )


def place(batch: Batch) -> Standing:
    return standing.take_look().by_pk[batch.pk]


def test_places_count_the_teams_own_batches_in_the_order_of_running(
    make_batch: MakeBatch, make_file: MakeFile, other_team: Team
) -> None:
    WorkerProcess.objects.create(token="w", heartbeat=timezone.now())
    serving("tiny")
    first = running_batch(make_batch)
    file = make_file(team=other_team)
    running_batch(make_batch, team=other_team, input_file=file, priority=50)
    urgent = running_batch(make_batch, priority=10)
    checked = make_batch()
    paused = running_batch(make_batch, paused=True)
    done = make_batch(status="completed")
    seen = standing.take_look().by_pk
    assert seen[urgent.pk].position == 1
    assert seen[first.pk].position == 2
    assert seen[checked.pk].position == 3
    assert seen[paused.pk].position is None
    assert done.pk not in seen
    assert standing.of([done]) == {}


def test_a_start_is_expected_when_the_work_before_is_done(
    make_batch: MakeBatch,
) -> None:
    engine = serving("tiny", "other")
    measured("tiny", engine)
    measured("other", engine)
    first = running_batch(make_batch, chunks=[100])
    second = running_batch(make_batch, chunks=[50], model="other")
    third = running_batch(make_batch, chunks=[10])
    now = time.time()
    seen = standing.take_look().by_pk
    starts = [seen[batch.pk].expected_start for batch in (first, second, third)]
    for start, wait in zip(starts, (0, 100, 150), strict=True):
        assert start is not None
        assert 0 <= start + 1 - (now + wait) < 60
    # two engines share the work
    other = serving(name="ext2")
    for model in ServedModel.objects.all():
        EngineModel.objects.create(engine=other, served_model=model, remote_name="x")
    start = place(third).expected_start
    assert start is not None
    assert 0 <= start + 1 - (now + 75) < 60


def test_work_on_other_engines_holds_nobody_up(make_batch: MakeBatch) -> None:
    measured("tiny", serving("tiny"))
    measured("other", serving("other", name="ext2"))
    running_batch(make_batch, chunks=[100])
    other = running_batch(make_batch, chunks=[50], model="other")
    start = place(other).expected_start
    assert start is not None
    assert start - time.time() < 50


def test_without_measurements_the_first_may_start_and_the_next_is_not_known(
    make_batch: MakeBatch,
) -> None:
    serving("tiny")
    first, second = running_batch(make_batch), running_batch(make_batch)
    seen = standing.take_look().by_pk
    assert seen[first.pk].expected_start is not None
    assert seen[second.pk].expected_start is None


def test_a_batch_with_answers_has_started(make_batch: MakeBatch) -> None:
    serving("tiny")
    batch = running_batch(make_batch)
    Batch.objects.filter(pk=batch.pk).update(completed=1, result_seq=1)
    assert batch.in_progress_at is not None
    assert place(batch).expected_start == int(batch.in_progress_at.timestamp())


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({}, None),
        ({"worker_heartbeat": None}, "no worker is running for the engine ext"),
        ({"paused": True}, "the engine ext is paused"),
        ({"fault": "it answered 401"}, "the engine ext: it answered 401"),
        (
            {"gates": {"closed": [{"gate": "x", "reason": "GPU 0 is at 95 °C"}]}},
            "the engine ext takes no new requests: GPU 0 is at 95 °C",
        ),
    ],
)
def test_what_an_external_engine_lacks_is_said_in_words(
    make_batch: MakeBatch, over: dict[str, Any], reason: str | None
) -> None:
    serving("tiny", **over)
    assert place(running_batch(make_batch)).blocked_reason == reason


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"host_heartbeat": None}, "the engine gpu0 is not running"),
        ({"state": "loading"}, "the engine gpu0 is loading tiny"),
        (
            {"state": "failed", "state_reason": "out of memory"},
            "the engine gpu0 failed: out of memory",
        ),
        ({"state": "stopping"}, "the engine gpu0 is stopping"),
    ],
)
def test_what_a_managed_engine_does_is_said_in_words(
    make_batch: MakeBatch, over: dict[str, Any], reason: str
) -> None:
    model = ServedModel.objects.create(name="tiny", source="/models/tiny")
    managed(wanted_model=model, **over)
    assert place(running_batch(make_batch)).blocked_reason == reason


def test_one_engine_that_can_is_enough(make_batch: MakeBatch) -> None:
    serving("tiny", paused=True)
    serving("tiny", name="ext2")
    assert place(running_batch(make_batch)).blocked_reason is None


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (None, "no engine serves the model tiny"),
        ({}, "no engine serves the model tiny"),
        ({"state": "disabled"}, "the model tiny is disabled"),
        (
            {"state": "failed", "state_reason": "no such folder"},
            "the model tiny does not load: no such folder",
        ),
    ],
)
def test_a_model_that_nothing_serves_is_named(
    make_batch: MakeBatch, model: dict[str, Any] | None, reason: str
) -> None:
    serving("other")
    if model is not None:
        ServedModel.objects.create(name="tiny", **model)
    assert place(running_batch(make_batch)).blocked_reason == reason


def test_a_batch_of_several_models_is_blocked_when_all_of_them_are(
    make_batch: MakeBatch,
) -> None:
    serving("tiny", paused=True)
    serving("other", name="ext2")
    batch = running_batch(make_batch, chunks=[2, 3], model="", allow_mixed_models=True)
    Chunk.objects.filter(batch=batch, start=0).update(model="tiny")
    Chunk.objects.filter(batch=batch, start=2).update(model="other")
    assert place(batch).blocked_reason is None
    Engine.objects.filter(name="ext2").update(fault="gone")
    assert place(batch).blocked_reason == "the engine ext2: gone"


def test_validation_waits_for_a_control_worker(make_batch: MakeBatch) -> None:
    batch = make_batch()
    assert place(batch).blocked_reason == "no control worker is running"
    old = timezone.now() - timedelta(minutes=1)
    WorkerProcess.objects.create(token="old", heartbeat=old)
    assert place(batch).blocked_reason == "no control worker is running"
    WorkerProcess.objects.create(token="new", heartbeat=timezone.now())
    assert place(batch).blocked_reason is None


def test_validation_waits_while_no_control_worker_has_room(
    make_batch: MakeBatch,
) -> None:
    batch = make_batch()
    for name in "ab":
        WorkerProcess.objects.create(
            token=name, heartbeat=timezone.now(), trouble="the disk of x is full"
        )
    assert place(batch).blocked_reason == "intake waits: the disk of x is full"
    WorkerProcess.objects.filter(token="b").update(trouble="")
    assert place(batch).blocked_reason is None


def test_a_deadline_that_the_work_will_pass_is_noted_once(
    make_batch: MakeBatch,
) -> None:
    measured("tiny", serving("tiny"))
    soon = timezone.now() + timedelta(seconds=120)
    early = running_batch(make_batch, chunks=[100], expires_at=soon)
    late = running_batch(make_batch, chunks=[100], expires_at=soon)
    seen = standing.take_look().by_pk
    assert not seen[early.pk].at_risk
    assert seen[late.pk].at_risk
    assert deadlines.any_at_risk()
    assert deadlines.note_risks() == "1 batches"
    assert not deadlines.any_at_risk()
    assert deadlines.note_risks() == "0 batches"
    event = late.events.get()
    assert event.kind == "deadline_at_risk"
    assert f"{soon:%Y-%m-%d %H:%M} UTC" in event.message


def test_each_batch_at_risk_is_told_however_many_there_are(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "NOTED_AT_ONCE", 1)
    measured("tiny", serving("tiny"))
    soon = timezone.now() + timedelta(seconds=1)
    late = [running_batch(make_batch, chunks=[100], expires_at=soon) for _ in range(3)]
    assert [deadlines.note_risks() for _ in late] == ["1 batches"] * 3
    assert not deadlines.any_at_risk()


def test_nothing_is_at_risk_where_nothing_is_known(make_batch: MakeBatch) -> None:
    soon = timezone.now() + timedelta(seconds=1)
    batch = running_batch(make_batch, expires_at=soon)
    assert not place(batch).at_risk
    assert not deadlines.any_at_risk()


def test_polling_costs_no_queries_of_its_own(
    api: APIClient,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    batch = running_batch(make_batch)
    api.get(f"/v1/batches/{batch.public_id}")
    # the key with its person's role, the batch
    with django_assert_num_queries(2):
        r = api.get(f"/v1/batches/{batch.public_id}")
    assert r.json()["batchsite"]["queue"] == {
        "position": 1,
        "expected_start": None,
        "blocked_reason": "no engine serves the model tiny",
    }


def sampled(batch: Batch, engine: Engine) -> None:
    """Ten minutes at one request of ten tokens a second."""
    now = timezone.now()
    ThroughputSample.objects.bulk_create(
        ThroughputSample(
            batch=batch,
            engine=engine,
            at=now - timedelta(seconds=10 * n),
            seconds=10.0,
            rows=10,
            input_tokens=10,
            output_tokens=100,
        )
        for n in range(60)
    )


def test_the_end_is_told_as_a_range_or_why_it_is_not_known(
    api: APIClient,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = serving("tiny")
    later = timezone.now() + timedelta(hours=1)
    batch = running_batch(make_batch, chunks=[500], in_progress_at=later)
    path = f"/v1/batches/{batch.public_id}"
    reason = api.get(path).json()["batchsite"]["eta"]["reason"]
    assert reason == "known after 20 answers, or half a minute"

    Batch.objects.filter(pk=batch.pk).update(
        completed=400, result_seq=400, output_tokens=4000
    )
    sampled(batch, engine)
    monkeypatch.setattr(standing, "_newest", None)
    api.get(path)
    with django_assert_num_queries(2):
        found = api.get(path).json()["batchsite"]["eta"]
    # 100 requests at one a second; a machine that is slow has seen a gap meanwhile
    assert isinstance(found["seconds_low"], int)
    assert 85 <= found["seconds_low"] < found["seconds_high"] <= 400
    assert found["reason"] is None

    r = api.post(path, {"batchsite": {"paused": True}}, format="json")
    assert r.json()["batchsite"]["eta"]["reason"] == "the batch is paused"
    assert r.json()["batchsite"]["eta"]["seconds_low"] is None


def test_copies_take_no_time(make_batch: MakeBatch) -> None:
    engine = serving("tiny")
    batch = running_batch(make_batch, chunks=[300], copies=300)
    Batch.objects.filter(pk=batch.pk).update(
        completed=400, result_seq=400, output_tokens=2000
    )
    BatchEstimate.objects.create(
        batch=batch,
        model="tiny",
        endpoint=batch.endpoint,
        rows=300,
        input_tokens=3000,
        basis="",
    )
    sampled(batch, engine)
    end = place(batch).eta
    # Of the 200 that are left 100 run.
    assert end is not None
    assert end.middle is not None
    assert 95 <= end.middle <= 195


def test_an_end_that_is_near_is_not_late(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch's own speed tells more than the model's history."""
    monkeypatch.setattr(standing, "RUNS_SECONDS", 3600.0)
    engine = serving("tiny")
    measured("tiny", engine)
    Measurement.objects.update(output_tokens=1)
    soon = timezone.now() + timedelta(seconds=300)
    batch = running_batch(make_batch, chunks=[500], expires_at=soon)
    Batch.objects.filter(pk=batch.pk).update(
        completed=400, result_seq=400, output_tokens=4000
    )
    assert place(batch).at_risk
    sampled(batch, engine)
    assert not place(batch).at_risk


def test_waiting_behind_other_work_makes_nobody_late(make_batch: MakeBatch) -> None:
    """Its own speed has fallen to a fifth, which says nothing of its own work."""
    engine = serving("tiny")
    measured("tiny", engine)
    soon = timezone.now() + timedelta(seconds=300)
    batch = running_batch(make_batch, chunks=[500], expires_at=soon)
    Batch.objects.filter(pk=batch.pk).update(
        completed=400, result_seq=400, output_tokens=4000
    )
    sampled(batch, engine)
    ThroughputSample.objects.update(at=F("at") - timedelta(minutes=8))
    end = place(batch).eta
    assert end is not None
    assert end.middle is not None
    assert end.middle > 300
    assert not place(batch).at_risk


def test_a_list_is_one_look(
    api: APIClient,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for _ in range(3):
        running_batch(make_batch)
    api.get("/v1/batches")
    with django_assert_num_queries(2):
        found = api.get("/v1/batches").json()["data"]
    assert [b["batchsite"]["queue"]["position"] for b in found] == [3, 2, 1]


def test_a_batch_that_is_new_is_looked_for_at_once(
    api: APIClient, make_batch: MakeBatch
) -> None:
    first = running_batch(make_batch)
    assert standing.of([first])[first.public_id].position == 1
    second = running_batch(make_batch)
    assert standing.of([first, second])[second.public_id].position == 2


def test_a_change_shows_at_once(api: APIClient, make_batch: MakeBatch) -> None:
    batch = running_batch(make_batch)
    path = f"/v1/batches/{batch.public_id}"
    for paused, reason in (
        (False, "no engine serves the model tiny"),
        (True, "the batch is paused"),
        (False, "no engine serves the model tiny"),
    ):
        for r in (
            api.post(path, {"batchsite": {"paused": paused}}, format="json"),
            api.get(path),
        ):
            assert r.json()["batchsite"]["queue"]["blocked_reason"] == reason


def test_a_look_that_takes_long_is_not_taken_again_at_once(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "LOOK_SHARE", 1e-12)
    first = running_batch(make_batch)
    standing.of([first])
    second = running_batch(make_batch)
    seen = standing.of([first, second])
    assert seen[second.public_id] == Standing()
    assert seen[first.public_id].position == 1


def test_of_a_queue_that_is_too_long_the_rest_has_no_place(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "QUEUE_MOST", 1)
    first, second = running_batch(make_batch), running_batch(make_batch)
    seen = standing.of([first, second])
    assert seen[first.public_id].position == 1
    assert seen[second.public_id] == Standing()


def test_a_full_disk_is_the_reason_before_any_other(make_batch: MakeBatch) -> None:
    running_batch(make_batch)
    make_batch()
    queue = standing.read_queue()
    site = read_site()
    assert not (site.database_full or site.files_full)

    def reasons(*, database_full: bool, files_full: bool) -> set[str | None]:
        full = replace(site, database_full=database_full, files_full=files_full)
        found = standing.standings(queue, full, now=time.time())
        return {one.blocked_reason for one in found.values()}

    words = reasons(database_full=True, files_full=False)
    assert words == {"the disk of the database is full"}
    # What runs writes no files.
    assert reasons(database_full=False, files_full=True) == {
        "no engine serves the model tiny",
        "the disk of the data folder is full",
    }
