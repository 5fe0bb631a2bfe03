# SPDX-License-Identifier: Apache-2.0
"""The engine host: one managed engine's life; every move of Engine.state is here.

What is true is this process's own knowledge of its child. The host's columns of the
Engine row are a copy of it (rowcopy.py), so that a database outage leaves a ready
engine alone and is made up for afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import datetime

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from jobs.models import Engine, EngineEvent, ServedModel
from jobs.models.engines import HEARTBEAT_SECONDS

from . import gpus, hardware, probe, vllm
from .adapters import Adapters
from .child import Child, clear_records, record_paths, socket_path, tail
from .client import EngineClient, EngineUnreachable
from .hang import Death, Pulse
from .hostrow import HostRow, LostToken, Wishes, has_open_suspects
from .incident import Incident
from .launch import engine_sessions, launch, log_path
from .loads import Loads
from .memory import MemoryGate
from .rowcopy import RowCopy
from .startable import obstacle

log = logging.getLogger(__name__)
State = Engine.State
Kind = EngineEvent.Kind
DATABASE_GONE = (OperationalError, InterfaceError)

STOP_SECONDS = 10.0
# When the host itself ends: `up` as a whole has 15 s to stop.
CLOSE_SECONDS = 3.5
# After this long without trouble an incident is over.
STABLE_SECONDS = 120.0
LOOK_SECONDS = 0.25
SAY_SECONDS = 1.0
# A swap waits for several steps, one after the other.
HURRY = 0.05
DRAINED = "drained: no model is loaded until the engine is resumed"


class EngineHost:
    """Holds one engine's token and child; `step` is one turn of its loop."""

    def __init__(self, row: HostRow, *, preload: str = "") -> None:
        """`preload` names the model that is loaded while no batch wants another."""
        self.row = row
        self.copy = RowCopy(row)
        self.preload = preload
        self.child: Child | None = None
        self.model: ServedModel | None = None
        self.adapters = Adapters()
        self.wishes: Wishes | None = None
        self.log = log_path(row.name)
        self.closing = False
        self.incident = Incident()
        self.pulse = Pulse()
        self.loads = Loads()
        self._looked = self._said = 0.0
        self._not_before = self._ask_again = 0.0
        self._drain_began: datetime | None = None
        self.watch = gpus.Watch()
        self.memory = MemoryGate()

    def open(self) -> None:
        """Once the token is held: clean up after the last host, read the row."""
        engine = self.row.read()
        self.watch = gpus.Watch(engine.gpu_ids, own=engine_sessions)
        self.watch.start()
        self.memory = MemoryGate(engine.gpu_ids)
        self.incident.deaths = self.incident.trouble = engine.incident_deaths
        on_record = record_paths(settings.RUN_DIR, self.row.name)
        self.copy.columns = {
            "state": State.STOPPED,
            "state_reason": "cleans up after the last host",
            "state_since": timezone.now(),
            "loaded_model_id": None,
            "loaded_adapters": {},
            "socket_path": "",
            "version": "",
            "gauges": {},
            "generation": max([engine.generation, *on_record]),
            "incident_deaths": self.incident.deaths,
        }
        self.copy.note(Kind.HOST, "its host started")
        self.copy.flush()
        if not self._clear_records():
            log.warning("processes of the last host's engine do not end")

    def _clear_records(self, *, timeout: float = 10) -> bool:
        """Kill what is left of earlier starts; True when nothing is.

        Not of later ones: those are another host's, which took over while this one was
        paused and does not know it yet.
        """
        newest = self.copy.columns["generation"]
        return clear_records(
            settings.RUN_DIR, self.row.name, newest=newest, timeout=timeout
        )

    # --- the loop

    def step(self) -> None:
        """Look at the child, act, tell the database; never blocks for long.

        Raises LostToken when another host has the engine.
        """
        try:
            self._act()
            if time.monotonic() >= self._ask_again:
                self._talk()
        except DATABASE_GONE as error:
            if self.wishes is not None:
                log.warning("the database does not answer: %s", error)
            # Without the database nothing is started and nothing swapped.
            self.wishes = None
            self._ask_again = time.monotonic() + SAY_SECONDS
            if not connection.in_atomic_block:
                connection.close()

    @property
    def pace(self) -> float:
        """Seconds to wait before the next step."""
        state = self.copy.state
        moved = time.monotonic() - self.copy.since < 1
        if moved or state in (State.DRAINING, State.STOPPING):
            return HURRY
        return 2 * HURRY if state == State.LOADING else LOOK_SECONDS

    def _act(self) -> None:
        state = self.copy.state
        if self.child is None:
            self._consider_start()
        elif state == State.FAILED:
            self._bury(self.child)
        elif state == State.STOPPING:
            self._finish_stop(self.child)
        elif self.child.ended():
            self._after_death(self.child)
        elif state == State.LOADING:
            self._while_loading(self.child)
        elif state == State.READY:
            self._while_ready()
        else:
            self._while_draining()

    def _talk(self) -> None:
        """Write what changed, the heartbeat when it is due, and read the wishes."""
        self.loads.save()
        now = time.monotonic()
        if self.copy.changed or now - self.copy.written >= HEARTBEAT_SECONDS:
            reading = self.watch.latest
            self.copy.columns["gauges"] |= {
                "gpus": reading.gpus,
                "gpu_note": reading.note,
                "gpu_faults": reading.faults,
                "hardware": hardware.in_words(reading),
                "host_memory": hardware.memory(),
            }
            self.copy.flush()
        due = HURRY if self.copy.state == State.DRAINING else LOOK_SECONDS
        if self.wishes is None or now - self._looked >= due:
            self._looked = now
            if not self._is_quiet() or not self.row.holds():
                self.wishes = self.row.read()
                self.adapters.tend(ready=self.copy.state == State.READY)

    def _is_quiet(self) -> bool:
        """Whether nothing is under way, for which the row must be read as it is now."""
        state = self.copy.state
        serves = state == State.READY and self.adapters.are_in()
        return self.wishes is not None and (serves or state == State.STOPPED)

    # --- starting

    def _consider_start(self) -> None:
        if self.wishes is None or self.closing or time.monotonic() < self._not_before:
            return
        if self.incident.exhausted and not self._may_go_on(self.wishes):
            return
        if self._drained():
            self.copy.move(State.STOPPED, DRAINED)
            return
        model = self.wishes.wanted
        if model is None and self.preload:
            model = ServedModel.objects.filter(name=self.preload).first()
        if model and model.base and not self.row.may_load(model):
            # The base goes on without an adapter that does not load.
            model = model.base
        found = obstacle(model, self.row, clear=self._clear_records, memory=self.memory)
        if found is not None:
            if found.pause:
                self._pause(found.pause)
            self.copy.move(found.state, found.reason)
        elif model is not None:
            self._start(model.base or model, self.wishes)

    def _may_go_on(self, wishes: Wishes) -> bool:
        """After too many deaths: whether a person took the pause away."""
        if wishes.paused:
            self.copy.move(State.FAILED, self.incident.words(self.log))
            return False
        self.incident.over()
        self.copy.columns["incident_deaths"] = 0
        self.copy.note(Kind.RESUMED, "a person let it go on")
        return True

    def _start(self, model: ServedModel, wishes: Wishes) -> None:
        """Raise the generation in the database, then start the process."""
        generation = self.copy.columns["generation"] + 1
        try:
            self.adapters.settle()
            socket = socket_path(settings.RUN_DIR, self.row.name, generation)
            self.model, self.copy.model = model, model.name
            if self.memory.warning:
                self.copy.note(Kind.MEMORY, self.memory.warning)
                self.memory.warning = ""
            self.copy.move(
                State.LOADING,
                f"starts {model}",
                generation=generation,
                socket_path=str(socket),
                gauges={},
                version="",
            )
            self.copy.flush()
            adapters = Adapters(model, str(socket))
            self.child, adapters.room = launch(
                model,
                engine=self.row.name,
                generation=generation,
                socket=socket,
                gpu_ids=wishes.gpu_ids,
                gpu=gpus.present(),
                adapters=adapters.first,
            )
            self.adapters = adapters
        except DATABASE_GONE:
            self.copy.move(State.STOPPED, "waits for the database", socket_path="")
            raise
        except OSError as error:
            self._pause(10)
            self.copy.move(State.FAILED, f"the engine cannot be started: {error}")

    def _client(self) -> EngineClient:
        return EngineClient(socket_path=self.copy.columns["socket_path"])

    def _while_loading(self, child: Child) -> None:
        elapsed = time.monotonic() - child.started
        model = self.model
        if model is None:
            raise RuntimeError("an engine is loading without a model")
        if self._drained():
            self._begin_stop(f"stops loading {model}: the engine is being drained")
        elif other := self._other_model():
            self._begin_stop(f"stops loading {model}: {other} is wanted")
        elif self._must_restart():
            self._begin_stop(f"stops loading {model}, then starts anew")
        elif elapsed > settings.BATCHSITE_ENGINE_START_TIMEOUT:
            self._load_failed(f"was not ready after {elapsed:.0f} s")
        elif child.socket.exists() and probe.health(self._client()) == 200:
            if self.adapters.are_in():
                self._ready(model, elapsed)
            else:
                doing = self.adapters.doing()
                self.copy.move(State.LOADING, f"serves {model}, {doing}")
        elif time.monotonic() - self._said >= SAY_SECONDS:
            self._said = time.monotonic()
            lines = vllm.log_lines(tail(self.log))
            line = lines[-1][:300] if lines else ""
            self.copy.move(
                State.LOADING,
                f"loading {model} for {elapsed:.0f} s: {line}".rstrip(": "),
                gauges={"loading": {"elapsed": round(elapsed), "line": line}},
            )

    def _ready(self, model: ServedModel, load_seconds: float) -> None:
        try:
            about = probe.identity(self._client(), timeout=5)
        except (EngineUnreachable, probe.BadAnswer) as error:
            log.warning("the engine is healthy and yet: %s", error)
            return
        self.pulse = Pulse()
        self.loads.succeeded(model)
        self.copy.move(
            State.READY,
            f"serves {model}",
            loaded_model_id=model.pk,
            load_seconds=load_seconds,
            loaded_adapters=self.adapters.loaded,
            version=about.version,
            gauges={},
        )

    # --- running

    def _other_model(self) -> ServedModel | None:
        """The loadable model that is wanted and that no part of this start can serve."""
        wanted = self.wishes.wanted if self.wishes and self.wishes.loadable else None
        if wanted is None or self.model is None or wanted.pk == self.model.pk:
            return None
        return None if self.adapters.serve(wanted) else wanted

    def _drained(self) -> bool:
        """Whether people asked to unload the model until they resume the engine."""
        return self.wishes is not None and self.wishes.drained

    def _must_restart(self) -> bool:
        """Whether people asked for the end of this very start."""
        generation = self.copy.columns["generation"]
        return self.wishes is not None and self.wishes.restart_of == generation

    def _then(self) -> str:
        """What comes once nothing is in flight, in words; "" to go on as it is."""
        if self._drained():
            return "the model is unloaded"
        if other := self._other_model():
            return f"{other} is loaded"
        return f"{self.model} is loaded anew" if self._must_restart() else ""

    def _while_ready(self) -> None:
        now = time.monotonic()
        if then := self._then():
            self.copy.move(State.DRAINING, f"finishes its requests; then {then}")
            # Read the row anew after the move is written: see _while_draining.
            self._drain_began = self.wishes = None
        elif (served := self.adapters.loaded) != self.copy.columns["loaded_adapters"]:
            self.copy.move(State.READY, f"serves {self.model}", loaded_adapters=served)
        elif now - self.copy.written >= HEARTBEAT_SECONDS:
            wish = self.wishes
            in_flight = wish.in_flight if wish and wish.worker_lives else 0
            # Just before the heartbeat writes them.
            death = self.pulse.feel(self._client(), in_flight=in_flight)
            self.copy.columns["gauges"] = dict(self.pulse.gauges)
            if death is not None:
                self._crashed(death)
            elif now - self.copy.since > STABLE_SECONDS:
                self._note_stable()

    def _note_stable(self) -> None:
        """End the incident, unless what may have caused it is still to run."""
        if self.incident.deaths and has_open_suspects(self.row.pk):
            return
        self.incident.over()
        self.copy.columns["incident_deaths"] = 0

    def _while_draining(self) -> None:
        wish, then = self.wishes, self._then()
        if wish is None:
            return
        if not then:
            self.copy.move(State.READY, f"serves {self.model}")
            return
        # Only a heartbeat from after the move tells of what is in flight since.
        self._drain_began = self._drain_began or wish.now
        told = wish.worker_heartbeat and wish.worker_heartbeat > self._drain_began
        # People who drain an engine have time; a batch that wants another model has not.
        limit = settings.BATCHSITE_DRAIN_SECONDS
        overdue = not wish.drained and time.monotonic() - self.copy.since > limit
        if not wish.worker_lives or (told and not wish.in_flight) or overdue:
            self._begin_stop(f"stops, then {then}")
        else:
            self.copy.move(
                State.DRAINING, f"finishes {wish.in_flight} requests; then {then}"
            )

    # --- ending

    def _begin_stop(self, reason: str) -> None:
        if self.child is not None:
            self.adapters.end()
            self.child.terminate()
            self.copy.move(State.STOPPING, reason)

    def _finish_stop(self, child: Child) -> None:
        limit = CLOSE_SECONDS if self.closing else STOP_SECONDS
        overdue = time.monotonic() - self.copy.since > limit
        if (child.ended() or overdue) and child.clear():
            self.child = self.model = None
            self.memory.close()
            self.copy.move(
                State.STOPPED, "stopped", loaded_model_id=None, socket_path=""
            )

    def _after_death(self, child: Child) -> None:
        if self.copy.state == State.LOADING:
            self._load_failed(child.why())
        else:
            self._crashed(Death(Kind.DIED, child.why()))

    def _load_failed(self, why: str) -> None:
        reason = f"{why}: {vllm.why_it_ended(tail(self.log))}"
        culprit = self.adapters.blame(reason)
        if self.model is not None and not culprit:
            self.loads.failed(self.model, reason)
        self.incident.load_failed()
        again = f"{culprit or self.model} did not load, it is tried again in"
        self.model = None
        self._fail(Kind.LOAD_FAILED, again, reason)

    def _crashed(self, death: Death) -> None:
        self.incident.died()
        last_words = vllm.why_it_ended(tail(self.log), lines_shown=3)
        self.model = None
        reason = f"{death.why}: {last_words}"
        self.adapters.blame(reason)
        self._fail(death.kind, "crashed, starts again in", reason)

    def _fail(self, kind: EngineEvent.Kind, again: str, reason: str) -> None:
        """The engine is of no use any more; what is left of it goes in the next step.

        First the row says so: a feeder that lost its connections asks it why.
        """
        seconds = self._pause()
        self.copy.move(
            State.FAILED,
            f"{again} {seconds:.0f} s; {reason}",
            kind=kind,
            loaded_model_id=None,
            socket_path="",
            gauges={},
            incident_deaths=self.incident.deaths,
        )
        self.incident.last = reason
        if self.incident.exhausted:
            # A person's word is followed at once.
            self._not_before = 0.0
            words = self.incident.words(self.log)
            self.copy.move(State.FAILED, words)
            self.copy.note(Kind.PAUSED, words, paused=True)
        # The next start asks the row anew, after all this is written.
        self.wishes = None

    def _bury(self, child: Child) -> None:
        """Kill what is left of a failed engine's session."""
        if child.clear():
            self.child = None
            self.memory.close()
        else:
            self.copy.move(State.FAILED, "waits for the dead engine's processes to end")

    def _pause(self, seconds: float = 0) -> float:
        """No start before so many seconds; by default more with each failure."""
        seconds = seconds or self.incident.pause
        self._not_before = time.monotonic() + seconds
        return seconds

    # --- the host's own end

    def stop(self, *, at_once: bool = False) -> bool:
        """One turn of stopping the engine; True when nothing of it is left.

        The heartbeat goes on meanwhile, so that no other host starts beside it.
        """
        self.closing = True
        if self.child is not None and self.copy.state != State.STOPPING:
            self._begin_stop("its host stops")
        if self.child is not None and at_once:
            self.child.clear()
        with contextlib.suppress(LostToken):
            self.step()
        return self.child is None

    def close(self) -> None:
        """Tell the database the end, if it answers, and give the token back."""
        self.watch.end()
        self.copy.move(State.STOPPED, "its host is not running", gauges={})
        try:
            self.copy.flush()
            self.row.release()
        except DATABASE_GONE as error:
            log.warning("the database does not answer: %s", error)
