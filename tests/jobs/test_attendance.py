# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from jobs import attendance, chores, engine_side, lifecycle, processes, stages, tasks
from jobs.flight import Halt
from jobs.models import Batch, Chunk, Engine, EngineEvent, ServedModel, WorkerProcess
from jobs.models.engines import STALE_SECONDS, database_time
from jobs.turns import Turns
from tests.conftest import MakeBatch

from .rows import claim_next, external_engine, running_batch

pytestmark = pytest.mark.django_db
ELSEWHERE = "other-host/boot/1/1/1"


def gone_process() -> str:
    """The token of a process that has ended."""
    with subprocess.Popen(["sleep", "60"]) as popen:
        token = processes.token(popen.pid)
        popen.kill()
    return token


def managed_engine(**over: object) -> Engine:
    columns: dict[str, object] = {"name": "gpu0", "kind": Engine.Kind.MANAGED}
    return Engine.objects.create(**(columns | over))


def chore_pokes() -> list[str]:
    """The chores that wait in the control workers' queue."""
    waiting = [row.task for row in OrmQ.objects.filter(key=tasks.CONTROL_QUEUE)]
    return [task["args"][0] for task in waiting if "attend_chore" in task["func"]]


def test_a_chore_waits_once_and_one_that_fails_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> bool:
        raise OSError("no space left on device")

    fine = chores.Chore("fine", 0, lambda: True, lambda: "done")
    bad = chores.Chore("broken", 0, broken, str)
    monkeypatch.setattr(chores, "CHORES", (bad, fine))
    control = attendance.ControlDuty()
    for _ in range(3):
        assert control.beat()
    assert chore_pokes() == ["fine"]
    assert tasks.attend_chore("fine") == "done"
    control.beat()
    assert chore_pokes() == ["fine", "fine"]


@pytest.mark.parametrize("hours", [-1, 1])
def test_signs_of_life_go_by_the_databases_clock(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    fresh = database_time(-STALE_SECONDS)
    WorkerProcess.objects.create(token=ELSEWHERE, heartbeat=timezone.now())
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(hours=hours))
    assert attendance.ControlDuty().beat()
    assert WorkerProcess.objects.filter(heartbeat__gt=fresh).count() == 2


def test_chores_are_poked_without_a_cache_too(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    broken = "django.core.cache.backends.filebased.FileBasedCache"
    caches = {"default": {"BACKEND": broken, "LOCATION": "/proc/1/none"}}
    settings.CACHES = {**settings.CACHES, **caches}
    tasks.poke_chore("fine")
    assert chore_pokes() == ["fine"]
    monkeypatch.setattr(
        chores, "CHORES", (chores.Chore("fine", 0, lambda: True, lambda: "done"),)
    )
    assert tasks.attend_chore("fine") == "done"


def test_a_token_names_a_process_and_tells_when_it_is_gone() -> None:
    assert not processes.provably_gone(processes.token())
    assert processes.provably_gone(gone_process())
    # Nothing can be said of another host, nor of an empty token.
    assert not processes.provably_gone(ELSEWHERE)
    assert not processes.provably_gone("")


def test_the_first_worker_gets_the_token_and_the_second_hears_whose_it_is() -> None:
    external_engine()
    assert attendance.take_worker_token("ext", "a") is None
    assert attendance.take_worker_token("ext", "b") == "a"


@pytest.mark.parametrize("stale", [True, False])
def test_a_token_is_taken_over_when_stale_or_its_holder_is_gone(stale: bool) -> None:
    engine = external_engine()
    holder = ELSEWHERE if stale else gone_process()
    age = timedelta(seconds=60 if stale else 1)
    Engine.objects.filter(pk=engine.pk).update(
        worker_token=holder, worker_heartbeat=timezone.now() - age
    )
    assert attendance.take_worker_token("ext", "b") is None


def test_taking_the_token_frees_the_chunks_of_the_one_before(
    make_batch: MakeBatch,
) -> None:
    engine = external_engine()
    batch = running_batch(make_batch)
    assert claim_next(engine) is not None
    assert attendance.take_worker_token("ext", "b") is None
    assert batch.chunks.get().state == Chunk.State.PENDING


def test_an_engine_workers_duty_ends_when_its_token_is_gone() -> None:
    external_engine()
    attendance.take_worker_token("ext", "a")
    duty = attendance.EngineDuty("ext", "a")
    assert duty.beat()
    Engine.objects.update(worker_token="b")
    duty._beat_at = 0
    assert not duty.beat()
    duty.leave()
    assert Engine.objects.get().worker_token == "b"


def test_an_engine_is_poked_once_when_work_waits(make_batch: MakeBatch) -> None:
    engine = external_engine()
    model = ServedModel.objects.create(name="tiny")
    engine.serves.create(served_model=model, remote_name="tiny")
    attendance.take_worker_token("ext", "a")
    duty = attendance.EngineDuty("ext", "a")
    duty.beat()
    assert not OrmQ.objects.exists()
    running_batch(make_batch)
    for _ in range(2):
        duty._poke_at = 0
        duty.beat()
    assert OrmQ.objects.get().key == "engine-ext"


def test_control_duty_shows_itself_and_leaves() -> None:
    duty = attendance.ControlDuty()
    assert duty.beat()
    assert WorkerProcess.objects.get().token == processes.token()
    duty.leave()
    assert not WorkerProcess.objects.exists()


def test_batches_that_want_a_stage_are_poked_and_others_not(
    make_batch: MakeBatch,
) -> None:
    make_batch()
    running_batch(make_batch)
    make_batch(status=Batch.Status.COMPLETED)
    held = make_batch()
    assert stages.take(held) is not None
    assert attendance.poke_waiting_batches() == 1
    # A queue that is full of pokes gets no more.
    for _ in range(tasks.ENOUGH_POKES):
        tasks.poke_stage(1)
    assert attendance.poke_waiting_batches() == 0


def test_a_batch_past_its_deadline_is_moved_at_once(make_batch: MakeBatch) -> None:
    past = timezone.now() - timedelta(seconds=1)
    batch = running_batch(
        make_batch, created_at=past - timedelta(days=1), expires_at=past
    )
    attendance.poke_waiting_batches()
    batch.refresh_from_db()
    assert batch.status == Batch.Status.FINALIZING


def test_what_dead_control_workers_held_is_freed(make_batch: MakeBatch) -> None:
    dead, alive = make_batch(), make_batch()
    for batch, owner in ((dead, gone_process()), (alive, ELSEWHERE)):
        Batch.objects.filter(pk=batch.pk).update(
            stage_owner=owner,
            stage_lease_expires_at=timezone.now() + timedelta(minutes=1),
        )
    WorkerProcess.objects.create(token=gone_process(), heartbeat=timezone.now())
    attendance.free_what_the_dead_held()
    assert stages.take(Batch.objects.get(pk=dead.pk)) is not None
    assert stages.take(Batch.objects.get(pk=alive.pk)) is None
    assert not WorkerProcess.objects.exists()


def test_an_attended_batch_says_how_it_ended(make_batch: MakeBatch) -> None:
    assert stages.attend_batch(10**9) == "nothing to do"
    batch = make_batch()
    assert stages.take(batch) is not None
    assert stages.attend_batch(batch.pk) == "somebody else is at it"
    running = running_batch(make_batch)
    assert stages.attend_batch(running.pk) == "in_progress"


def test_a_managed_engine_is_a_target_only_while_it_is_ready() -> None:
    model = ServedModel.objects.create(
        name="tiny", source="/m", engine_args=["--max-num-seqs", "8"]
    )
    engine = managed_engine(
        state=Engine.State.READY, socket_path="/s", loaded_model=model, generation=3
    )
    target = engine_side.target_of(engine)
    assert target is not None
    assert (target.generation, target.window, target.managed) == (3, 10, True)
    engine.state = Engine.State.LOADING
    assert engine_side.target_of(engine) is None


def wanted(engine: Engine) -> ServedModel | None:
    survey = engine_side.survey(engine)
    return engine_side.model_to_load(engine, survey, [], Turns())


def test_the_queue_decides_which_model_is_wanted(make_batch: MakeBatch) -> None:
    a = ServedModel.objects.create(name="a", source="/a")
    b = ServedModel.objects.create(name="b", source="/b")
    engine = managed_engine()
    assert wanted(engine) is None
    running_batch(make_batch, model="b")
    assert wanted(engine) == b
    assert engine_side.want(engine, b)
    engine.refresh_from_db()
    assert engine_side.is_swapping(engine, engine_side.survey(engine))
    # A model that failed three times is not wanted any more.
    ServedModel.objects.filter(pk=b.pk).update(state=ServedModel.State.FAILED)
    running_batch(make_batch, model="a")
    engine.refresh_from_db()
    assert wanted(engine) == a
    # Whoever saw another generation has no say.
    engine.generation += 1
    assert not engine_side.want(engine, a)


@pytest.mark.parametrize(
    ("kind", "suspects"),
    [
        (EngineEvent.Kind.DIED, 1),
        (EngineEvent.Kind.HUNG, 1),
        # Stopped on purpose, by whomever, or gone with its host.
        (EngineEvent.Kind.MOVED, 0),
    ],
)
def test_only_a_death_that_nobody_asked_for_makes_suspects(
    make_batch: MakeBatch, kind: str, suspects: int
) -> None:
    model = ServedModel.objects.create(name="tiny", source="/m")
    engine = managed_engine(
        state=Engine.State.READY, socket_path="/s", loaded_model=model, generation=3
    )
    batch = running_batch(make_batch, chunks=[1])
    target = engine_side.target_of(engine)
    assert target is not None
    halt = Halt("gone", died=True, lost=(batch.requests.get().pk,))
    # Until the host says how it ended, only a connection may have broken.
    assert engine_side.may_be_alive(engine, target, halt)
    EngineEvent.objects.create(engine=engine, generation=2, kind="died")
    EngineEvent.objects.create(engine=engine, generation=3, kind=kind)
    # The next start may have begun already.
    Engine.objects.update(state=Engine.State.LOADING, generation=4)
    engine.refresh_from_db()
    assert not engine_side.may_be_alive(engine, target, halt)
    engine_side.blame(engine, target, halt)
    assert batch.requests.filter(suspect__isnull=False).count() == suspects


def test_an_external_engines_fault_is_said_in_words_and_cleared() -> None:
    engine = external_engine()
    target = engine_side.target_of(engine)
    assert target is not None
    engine_side.blame(engine, target, Halt("401: no key", died=False, lost=()))
    engine.refresh_from_db()
    assert engine.fault == "401: no key"
    engine_side.clear_fault(engine)
    engine.refresh_from_db()
    assert engine.fault == ""


def test_the_token_is_checked_with_every_report() -> None:
    engine = external_engine()
    attendance.take_worker_token("ext", "a")
    engine_side.report(engine, worker="a", in_flight=5)
    engine.refresh_from_db()
    assert engine.in_flight == 5
    with pytest.raises(engine_side.TokenLost):
        engine_side.report(engine, worker="b", in_flight=0)


def test_a_cancelled_batch_is_let_go(make_batch: MakeBatch) -> None:
    from jobs import claims

    batch = running_batch(make_batch)
    assert claims.still_running([batch.pk]) == {batch.pk}
    lifecycle.cancel(batch)
    assert claims.still_running([batch.pk]) == set()
