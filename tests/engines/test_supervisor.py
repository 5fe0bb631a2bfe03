# SPDX-License-Identifier: Apache-2.0
"""The host's single steps, with the test engine as its real child."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from jobs import processes
from jobs.engines import gpus, hang, memory, startable, supervisor
from jobs.engines.hostrow import HostRow, LostToken
from jobs.engines.incident import MOST_STARTS, Incident
from jobs.engines.supervisor import EngineHost
from jobs.models import Engine, ServedModel, Suspect
from tests.conftest import MakeBatch
from tests.jobs.rows import running_batch
from tests.nvml import FakeGpu, FakeNvml
from tests.site import ROOT, wait_for

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture(autouse=True)
def test_engine_is_the_engine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BATCHSITE_ENGINE_PYTHON = sys.executable
    settings.BATCHSITE_ENGINE_MODULE = "tests.engine_server"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def host() -> Iterator[EngineHost]:
    """An engine host that holds its token; its engine is gone after the test."""
    made = EngineHost(HostRow("gpu0"))
    assert made.row.acquire() == ""
    made.open()
    yield made
    Engine.objects.update(host_token=made.row.token)
    while not made.stop(at_once=True):
        pass
    made.close()


def model(name: str = "tiny", *engine_args: str, **over: Any) -> ServedModel:
    columns = {"source": f"org/{name}", "engine_args": list(engine_args)} | over
    return ServedModel.objects.create(name=name, **columns)


def want(wanted: ServedModel | None) -> None:
    Engine.objects.update(wanted_model=wanted)


def until(host: EngineHost, state: str, *, timeout: float = 15) -> Engine:
    """Step until the row says so."""

    def look() -> Engine | None:
        # The test need not wait for the time of the next look.
        host._looked = 0
        host.step()
        return Engine.objects.filter(state=state).first()

    try:
        found = wait_for(look, timeout=timeout, what=state)
    except AssertionError as error:
        raise AssertionError(f"{error}: {vars(Engine.objects.get())}") from error
    assert found is not None
    return found


def test_engine_without_a_wish_is_stopped_and_says_why(host: EngineHost) -> None:
    host.step()
    host.step()
    host.step()
    engine = Engine.objects.get()
    assert (engine.state, engine.state_reason) == ("stopped", startable.WAITS)
    assert engine.host_heartbeat is not None
    assert engine.gauges["gpu_note"] or engine.gauges["gpus"]


def test_wanted_model_is_loaded_with_progress_in_words(host: EngineHost) -> None:
    want(model("tiny", "--load-seconds", "2.5"))
    engine = until(host, "loading")
    assert engine.generation == 1

    def progress() -> bool:
        host.step()
        return "Loading weights" in Engine.objects.get().state_reason

    wait_for(progress)
    assert Engine.objects.get().gauges["loading"]["line"].startswith("Loading")
    engine = until(host, "ready")
    assert engine.state_reason == "serves tiny"
    assert engine.version == "0.0.0+test"
    assert "loading" not in engine.gauges
    assert engine.load_seconds >= 2.5


def test_gauges_come_with_the_heartbeat(host: EngineHost) -> None:
    want(model())
    until(host, "ready")
    host.copy.written = 0
    host.step()
    gauges = Engine.objects.get().gauges
    assert gauges["running"] == 0
    assert gauges["hardware"]
    assert gauges["kv_cache"] == 0


def test_preloaded_model_gives_way_to_what_a_batch_wants(host: EngineHost) -> None:
    model("first")
    host.preload = "first"
    engine = until(host, "ready")
    assert engine.loaded_model is not None
    assert engine.loaded_model.name == "first"
    want(model("second"))
    until(host, "draining")
    assert "then second is loaded" in Engine.objects.get().state_reason
    until(host, "loading")
    engine = until(host, "ready")
    assert engine.generation == 2
    assert engine.loaded_model is not None
    assert engine.loaded_model.name == "second"


def test_drain_ends_early_when_the_wish_is_taken_back(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 60
    first, second = model("first"), model("second")
    want(first)
    until(host, "ready")
    Engine.objects.update(worker_heartbeat=timezone.now(), in_flight=2)
    want(second)
    until(host, "draining")
    want(first)
    engine = until(host, "ready")
    assert engine.generation == 1


def test_drain_limit_ends_a_drain(host: EngineHost, settings: Settings) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 1
    want(model("first"))
    until(host, "ready")
    Engine.objects.update(
        worker_heartbeat=timezone.now() + timedelta(minutes=1), in_flight=2
    )
    want(model("second"))
    until(host, "draining")
    until(host, "loading")


def test_zero_in_flight_counts_only_from_after_the_drain_began(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 60
    want(model("first"))
    until(host, "ready")
    Engine.objects.update(worker_heartbeat=timezone.now(), in_flight=0)
    want(model("second"))
    until(host, "draining")
    for _ in range(5):
        host._looked = 0
        host.step()
    assert Engine.objects.get().state == "draining"
    Engine.objects.update(worker_heartbeat=timezone.now())
    until(host, "loading")


def test_drained_engine_ends_its_requests_and_is_unloaded_until_resumed(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 0
    want(model())
    until(host, "ready")
    Engine.objects.update(
        paused=True,
        drained=True,
        worker_heartbeat=timezone.now() + timedelta(minutes=1),
        in_flight=2,
    )
    until(host, "draining")
    # People have time: no limit cuts off what is in flight.
    for _ in range(5):
        host._looked = 0
        host.step()
    engine = Engine.objects.get()
    assert engine.state == "draining"
    assert engine.state_reason == "finishes 2 requests; then the model is unloaded"
    Engine.objects.update(in_flight=0)

    def told() -> bool:
        host._looked = 0
        host.step()
        return Engine.objects.get().state_reason == supervisor.DRAINED

    wait_for(told)
    engine = Engine.objects.get()
    assert (engine.state, engine.loaded_model, engine.generation) == (
        "stopped",
        None,
        1,
    )
    assert host.child is None
    Engine.objects.update(paused=False, drained=False)
    assert until(host, "ready").generation == 2


def test_paused_engine_stays_loaded(host: EngineHost) -> None:
    want(model())
    until(host, "ready")
    Engine.objects.update(paused=True)
    for _ in range(3):
        host._looked = 0
        host.step()
    assert Engine.objects.get().state == "ready"


def test_drain_while_loading_stops_at_once_and_resume_before_the_end_keeps_the_model(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 60
    want(model("tiny", "--load-seconds", "60"))
    until(host, "loading")
    Engine.objects.update(paused=True, drained=True)
    until(host, "stopped")
    ServedModel.objects.update(engine_args=[])
    Engine.objects.update(paused=False, drained=False)
    generation = until(host, "ready").generation
    Engine.objects.update(
        paused=True, drained=True, worker_heartbeat=timezone.now(), in_flight=2
    )
    until(host, "draining")
    Engine.objects.update(paused=False, drained=False)
    assert until(host, "ready").generation == generation


def test_restart_ends_requests_first_and_loads_the_same_model(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 60
    want(model())
    first = until(host, "ready").generation
    Engine.objects.update(
        restart_of=first,
        worker_heartbeat=timezone.now() + timedelta(minutes=1),
        in_flight=2,
    )
    engine = until(host, "draining")
    host.step()
    engine.refresh_from_db()
    assert engine.state_reason == "finishes 2 requests; then tiny is loaded anew"
    Engine.objects.update(in_flight=0)
    until(host, "loading")
    engine = until(host, "ready")
    # Each start is restarted once, and this end is no death.
    assert engine.generation == first + 1
    assert engine.incident_deaths == 0
    assert not engine.events.filter(kind__in=["died", "hung"]).exists()
    for _ in range(3):
        host._looked = 0
        host.step()
    assert Engine.objects.get().state == "ready"


def test_restart_does_not_wait_for_ever(host: EngineHost, settings: Settings) -> None:
    settings.BATCHSITE_DRAIN_SECONDS = 0
    want(model("tiny", "--load-seconds", "1"))
    until(host, "loading")
    Engine.objects.update(restart_of=1)
    until(host, "stopped")
    assert until(host, "ready").generation == 2
    Engine.objects.update(
        restart_of=2,
        worker_heartbeat=timezone.now() + timedelta(minutes=1),
        in_flight=2,
    )
    until(host, "loading")
    assert until(host, "ready").generation == 3


def test_model_wanted_while_another_loads_is_loaded_instead(host: EngineHost) -> None:
    want(model("slow", "--load-seconds", "60"))
    until(host, "loading")
    want(model("quick"))
    assert until(host, "ready").loaded_model == ServedModel.objects.get(name="quick")


def test_load_that_takes_too_long_is_a_failure(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_ENGINE_START_TIMEOUT = 1
    want(model("slow", "--load-seconds", "60"))
    engine = until(host, "failed")
    assert "was not ready after 1 s" in engine.state_reason
    assert ServedModel.objects.get().load_failures == 1


def test_failures_to_load_are_forgotten_after_a_success(host: EngineHost) -> None:
    want(model("tiny", load_failures=2, state_reason="earlier"))
    until(host, "ready")
    host.step()
    found = ServedModel.objects.get()
    assert (found.load_failures, found.state_reason) == (0, "")


def test_models_that_cannot_be_loaded_are_told(host: EngineHost) -> None:
    want(model("elsewhere", source=""))

    def told() -> bool:
        host._looked = 0
        host.step()
        return "cannot be loaded here" in Engine.objects.get().state_reason

    wait_for(told)
    ServedModel.objects.update(source="x", state="failed", state_reason="no weights")
    engine = until(host, "failed")
    assert "given up: no weights" in engine.state_reason


def test_missing_vllm_is_told_with_the_command_that_mends_it(
    host: EngineHost, settings: Settings
) -> None:
    settings.BATCHSITE_ENGINE_PYTHON = "/no/such/python"
    want(model())
    assert "manage.py installengine" in until(host, "failed").state_reason
    assert ServedModel.objects.get().load_failures == 0


def test_engine_that_stops_answering_is_started_anew(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    want(model())
    until(host, "ready")
    assert host.child is not None
    os.kill(host.child.pid, signal.SIGSTOP)
    monkeypatch.setattr(hang, "SILENT_SECONDS", 0.5)
    host.copy.written = 0
    engine = until(host, "failed")
    assert "did not answer" in engine.state_reason
    assert until(host, "ready").generation == 2


def test_incident_ends_with_a_pause_that_a_person_takes_away(host: EngineHost) -> None:
    want(model())
    host.incident.deaths = MOST_STARTS - 1
    until(host, "ready")
    assert host.child is not None
    os.kill(host.child.pid, signal.SIGKILL)
    engine = until(host, "failed")
    assert engine.paused
    assert engine.incident_deaths == MOST_STARTS
    assert "ended 8 times in a row" in engine.state_reason
    assert "was killed by SIGKILL" in engine.state_reason
    for _ in range(5):
        host._looked = 0
        host.step()
    assert Engine.objects.get().generation == 1
    Engine.objects.update(paused=False)
    engine = until(host, "ready")
    assert (engine.generation, engine.incident_deaths) == (2, 0)
    told = list(engine.events.values_list("kind", "new_state"))
    assert told == [
        ("host", ""),
        ("moved", "loading"),
        ("moved", "ready"),
        ("died", "failed"),
        ("paused", ""),
        ("resumed", ""),
        ("moved", "loading"),
        ("moved", "ready"),
    ]


def test_next_host_knows_that_the_last_one_gave_up() -> None:
    host = EngineHost(HostRow("gpu0"))
    host.row.acquire()
    Engine.objects.update(
        wanted_model=model(), paused=True, incident_deaths=MOST_STARTS
    )
    host.open()
    engine = until(host, "failed")
    assert "take the pause away" in engine.state_reason
    assert engine.generation == 0
    host.close()


def test_incident_is_over_when_the_engine_was_stable_and_no_suspect_waits(
    host: EngineHost, monkeypatch: pytest.MonkeyPatch, make_batch: MakeBatch
) -> None:
    want(model())
    until(host, "ready")
    monkeypatch.setattr(supervisor, "STABLE_SECONDS", 0)
    batch = running_batch(make_batch, chunks=[1])
    request = batch.requests.get()
    Suspect.objects.create(request=request, last_engine=Engine.objects.get())
    host.incident.died()
    host.copy.written = 0
    host.step()
    assert host.incident.deaths == 1
    Suspect.objects.all().delete()
    host.copy.written = 0
    host.step()
    assert host.incident.deaths == 0


def test_start_waits_for_its_predecessors_gpu_memory_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = FakeGpu(used=1_000_000_000)
    monkeypatch.setattr(gpus, "pynvml", FakeNvml([gpu]))
    host = EngineHost(HostRow("gpu0"))
    host.row.acquire()
    host.open()
    want(model("first"))
    until(host, "ready")
    gpu.used = 21_000_000_000
    want(model("second"))

    def told() -> bool:
        host.step()
        return "20.0 GB of GPU 0 are in use" in Engine.objects.get().state_reason

    wait_for(told)
    assert Engine.objects.get().state_reason.startswith("second is next: ")
    monkeypatch.setattr(memory, "LIMIT_SECONDS", 0)
    engine = until(host, "ready")
    assert engine.generation == 2
    warning = engine.events.get(kind="memory")
    assert "all the same: 20.0 GB of GPU 0 are in use" in warning.reason
    while not host.stop(at_once=True):
        pass
    host.close()


def test_pauses_grow_and_failed_loads_count_in_an_incident_only() -> None:
    incident = Incident()
    pauses = []
    for _ in range(8):
        incident.load_failed()
        pauses.append(incident.pause)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert incident.deaths == 0
    incident.over()
    incident.died()
    incident.load_failed()
    assert (incident.deaths, incident.exhausted) == (2, False)
    for _ in range(MOST_STARTS - 2):
        incident.died()
    assert incident.exhausted
    assert incident.pause == 8


def test_host_that_lost_its_token_stops_writing(host: EngineHost) -> None:
    want(model())
    until(host, "ready")
    Engine.objects.update(host_token="another", state_reason="mine now")
    host.copy.written = 0
    with pytest.raises(LostToken):
        host.step()
    assert Engine.objects.get().state_reason == "mine now"
    assert host.stop(at_once=True)
    assert host.child is None


def test_generation_on_record_counts_when_the_database_missed_it(
    settings: Settings,
) -> None:
    path = Path(settings.RUN_DIR) / "gpu0-41.json"
    path.parent.mkdir(parents=True)
    record = {
        "pid": 2**22,
        "start_time": 1,
        "session": 2**22,
        "generation": 41,
        "boot_id": processes.boot_id(),
        "socket": str(path.with_suffix(".sock")),
        "log": str(path),
    }
    path.write_text(json.dumps(record))
    host = EngineHost(HostRow("gpu0"))
    host.row.acquire()
    host.open()
    assert Engine.objects.get().generation == 41
    host.close()
