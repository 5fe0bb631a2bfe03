# SPDX-License-Identifier: Apache-2.0
"""The engine host: one managed engine's life; every move of Engine.state is here.

What is true is this process's own knowledge of its child. The host's columns of the
Engine row are a copy of it, written whenever it changes and with each heartbeat, so
that a database outage leaves a ready engine alone and is made up for afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from jobs.models import Engine, ServedModel
from jobs.models.engines import HEARTBEAT_SECONDS

from . import gpus, install, probe, vllm
from .adapters import Adapters
from .child import Child, clear_record, read_record, socket_path, tail
from .client import EngineClient, EngineUnreachable
from .hostrow import HostRow, LostToken, Wishes, clear_load_failures, count_load_failure
from .launch import engine_sessions, launch, log_path, record_path

log = logging.getLogger(__name__)
State = Engine.State
DATABASE_GONE = (OperationalError, InterfaceError)

LOAD_ATTEMPTS = 3
LONGEST_PAUSE = 60.0
STOP_SECONDS = 10.0
# When the host itself ends: `up` as a whole has 15 s to stop.
CLOSE_SECONDS = 3.5
# After this long without trouble a crash counts as the first one again.
STABLE_SECONDS = 120.0
# A living vLLM answers /health within milliseconds.
HUNG_SECONDS = 120.0
LOOK_SECONDS = 1.0
WAITS = "waits for the first batch"
DRAINED = "drained: no model is loaded until the engine is resumed"


class EngineHost:
    """Holds one engine's token and child; `step` is one turn of its loop."""

    def __init__(self, row: HostRow, *, preload: str = "") -> None:
        """`preload` names the model that is loaded while no batch wants another."""
        self.row = row
        self.preload = preload
        self.child: Child | None = None
        self.model: ServedModel | None = None
        self.adapters = Adapters()
        self.wishes: Wishes | None = None
        self.record = record_path(row.name)
        self.log = log_path(row.name)
        self.closing = False
        self.columns: dict[str, Any] = {}
        self._changed = False
        self._failed_load = ""
        self._loaded: int | None = None
        self._crashes = 0
        self._since = self._written = self._looked = self._answered = 0.0
        self._not_before = self._ask_again = 0.0
        self._drain_began: datetime | None = None
        self.watch = gpus.Watch()

    def open(self) -> None:
        """Once the token is held: clean up after the last host, read the row."""
        engine = self.row.read()
        self.watch = gpus.Watch(engine.gpu_ids, own=engine_sessions)
        self.watch.start()
        last = read_record(self.record)
        self.columns = {
            "state": State.STOPPED,
            "state_reason": "cleans up after the last host",
            "state_since": timezone.now(),
            "loaded_model_id": None,
            "loaded_adapters": {},
            "socket_path": "",
            "version": "",
            "gauges": {},
            "generation": max(engine.generation, last.generation if last else 0),
        }
        self.row.write(**self.columns)
        if not clear_record(self.record):
            log.warning("processes of the last host's engine do not end")

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
            self._ask_again = time.monotonic() + LOOK_SECONDS
            if not connection.in_atomic_block:
                connection.close()

    def _act(self) -> None:
        state = self.columns["state"]
        if self.child is None:
            self._consider_start()
        elif state == State.STOPPING:
            self._finish_stop()
        elif self.child.ended():
            self._after_death(self.child)
        elif state == State.LOADING:
            self._while_loading(self.child)
        elif state == State.READY:
            self._while_ready(self.child)
        else:
            self._while_draining()

    def _talk(self) -> None:
        """Write what changed, the heartbeat when it is due, and read the wishes."""
        if self._failed_load and self.model is not None:
            count_load_failure(
                self.model.pk, limit=LOAD_ATTEMPTS, why=self._failed_load
            )
            self._failed_load, self.model = "", None
        if self._loaded is not None:
            clear_load_failures(self._loaded)
            self._loaded = None
        now = time.monotonic()
        if self._changed or now - self._written >= HEARTBEAT_SECONDS:
            self._flush()
        if self.wishes is None or now - self._looked >= LOOK_SECONDS:
            self.wishes = self.row.read()
            self._looked = now
            self.adapters.tend(ready=self.columns["state"] == State.READY)

    def _flush(self) -> None:
        reading = self.watch.latest
        self.columns["gauges"] |= {
            "gpus": reading.gpus,
            "gpu_note": reading.note,
            "gpu_faults": reading.faults,
        }
        self.row.write(**self.columns)
        self._changed = False
        self._written = time.monotonic()

    def _move(self, state: State, reason: str, **columns: Any) -> None:
        """The engine is now in `state`; the row follows with the next _flush."""
        if state != self.columns["state"]:
            columns["state_since"] = timezone.now()
            self._since = time.monotonic()
            log.info("engine %s: %s, %s", self.row.name, state, reason)
        columns |= {"state": state, "state_reason": reason}
        if any(self.columns.get(name) != value for name, value in columns.items()):
            self.columns |= columns
            self._changed = True

    # --- starting

    def _consider_start(self) -> None:
        if self.wishes is None or self.closing or time.monotonic() < self._not_before:
            return
        if self.wishes.drained:
            self._move(State.STOPPED, DRAINED)
            return
        model = self.wishes.wanted
        if model is None and self.preload:
            model = ServedModel.objects.filter(name=self.preload).first()
        if model and model.base and not self.row.may_load(model):
            # The base goes on without an adapter that does not load.
            model = model.base
        if model is None:
            self._move(State.STOPPED, WAITS)
        elif model.state == ServedModel.State.FAILED:
            self._move(
                State.FAILED,
                f"{model} does not load and is given up: {model.state_reason}",
            )
        elif not self.row.may_load(model):
            self._pause(1)
            self._move(
                State.STOPPED,
                f"{model} is wanted, which cannot be loaded here: {self.row.why_not(model)}",
            )
        elif not install.is_installed():
            self._pause(10)
            self._move(
                State.FAILED,
                f"vLLM is not installed ({install.engine_python()} is missing):"
                " run 'manage.py installengine'",
            )
        elif not clear_record(self.record, timeout=2):
            self._move(State.FAILED, "waits for the last engine's processes to end")
        else:
            self._start(model.base or model, self.wishes)

    def _start(self, model: ServedModel, wishes: Wishes) -> None:
        """Raise the generation in the database, then start the process."""
        generation = self.columns["generation"] + 1
        before = dict(self.columns)
        try:
            self.adapters.settle()
            socket = socket_path(settings.RUN_DIR, self.row.name, generation)
            self._move(
                State.LOADING,
                f"starts {model}",
                generation=generation,
                socket_path=str(socket),
                gauges={},
                version="",
            )
            self._flush()
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
            self.model, self.adapters = model, adapters
        except DATABASE_GONE:
            self.columns = before
            raise
        except OSError as error:
            self._pause(10)
            self._move(State.FAILED, f"the engine cannot be started: {error}")

    def _client(self) -> EngineClient:
        return EngineClient(socket_path=self.columns["socket_path"])

    def _while_loading(self, child: Child) -> None:
        elapsed = time.monotonic() - child.started
        model = self.model
        if model is None:
            raise RuntimeError("an engine is loading without a model")
        if self._drained():
            self._begin_stop(f"stops loading {model}: the engine is being drained")
        elif other := self._other_model():
            self._begin_stop(f"stops loading {model}: {other} is wanted")
        elif elapsed > settings.BATCHSITE_ENGINE_START_TIMEOUT:
            self._load_failed(child, f"was not ready after {elapsed:.0f} s")
        elif probe.health(self._client()) == 200:
            if self.adapters.are_in():
                self._ready(model)
            else:
                self._move(State.LOADING, f"serves {model}, {self.adapters.doing()}")
        elif time.monotonic() - self._answered >= LOOK_SECONDS:
            self._answered = time.monotonic()
            lines = vllm.log_lines(tail(self.log))
            line = lines[-1][:300] if lines else ""
            self._move(
                State.LOADING,
                f"loading {model} for {elapsed:.0f} s: {line}".rstrip(": "),
                gauges={"loading": {"elapsed": round(elapsed), "line": line}},
            )

    def _ready(self, model: ServedModel) -> None:
        try:
            about = probe.identity(self._client(), timeout=5)
        except (EngineUnreachable, probe.BadAnswer) as error:
            log.warning("the engine is healthy and yet: %s", error)
            return
        self._answered = time.monotonic()
        self._loaded = model.pk
        self._move(
            State.READY,
            f"serves {model}",
            loaded_model_id=model.pk,
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

    def _then(self) -> str:
        """What comes once nothing is in flight, in words; "" to go on as it is."""
        if self._drained():
            return "the model is unloaded"
        other = self._other_model()
        return f"{other} is loaded" if other else ""

    def _while_ready(self, child: Child) -> None:
        now = time.monotonic()
        if now - self._since > STABLE_SECONDS:
            self._crashes = 0
        if then := self._then():
            self._move(State.DRAINING, f"finishes its requests; then {then}")
            # Read the row anew after the move is written: see _while_draining.
            self._drain_began = self.wishes = None
        elif (served := self.adapters.loaded) != self.columns["loaded_adapters"]:
            self._move(State.READY, f"serves {self.model}", loaded_adapters=served)
        elif now - self._written >= HEARTBEAT_SECONDS:
            self._look_at(child)

    def _look_at(self, child: Child) -> None:
        """Health and gauges, just before a heartbeat writes them."""
        status = probe.health(self._client())
        now = time.monotonic()
        if status == 200:
            self._answered = now
        if status >= 500 or now - self._answered > HUNG_SECONDS:
            self._crashed(
                child,
                f"answers /health with {status}"
                if status
                else f"did not answer for {HUNG_SECONDS:.0f} s",
            )
            return
        if text := probe.metrics(self._client()):
            self.columns["gauges"] = vllm.gauges(text)

    def _while_draining(self) -> None:
        wish, then = self.wishes, self._then()
        if wish is None:
            return
        if not then:
            self._move(State.READY, f"serves {self.model}")
            return
        # Only a heartbeat from after the move tells of what is in flight since.
        self._drain_began = self._drain_began or wish.now
        told = wish.worker_heartbeat and wish.worker_heartbeat > self._drain_began
        # People who drain an engine have time; a batch that wants another model has not.
        limit = settings.BATCHSITE_DRAIN_SECONDS
        overdue = not wish.drained and time.monotonic() - self._since > limit
        if not wish.worker_lives or (told and not wish.in_flight) or overdue:
            self._begin_stop(f"stops, then {then}")
        else:
            self._move(
                State.DRAINING, f"finishes {wish.in_flight} requests; then {then}"
            )

    # --- ending

    def _begin_stop(self, reason: str) -> None:
        if self.child is not None:
            self.adapters.end()
            self.child.terminate()
            self._move(State.STOPPING, reason)

    def _finish_stop(self) -> None:
        if self.child is None:
            return
        limit = CLOSE_SECONDS if self.closing else STOP_SECONDS
        overdue = time.monotonic() - self._since > limit
        if (self.child.ended() or overdue) and self.child.clear():
            self.child = self.model = None
            self._move(State.STOPPED, "stopped", loaded_model_id=None, socket_path="")

    def _after_death(self, child: Child) -> None:
        if self.columns["state"] == State.LOADING:
            self._load_failed(child, "")
        else:
            self._crashed(child, "")

    def _load_failed(self, child: Child, why: str) -> None:
        if not self._cleared(child):
            return
        reason = f"{why or child.why()}: {vllm.why_it_ended(tail(self.log))}"
        culprit = self.adapters.blame(reason)
        self._failed_load = "" if culprit else reason
        self._crashes += 1
        seconds = self._pause()
        self._move(
            State.FAILED,
            f"{culprit or self.model} did not load, it is tried again in {seconds:.0f} s; {reason}",
            loaded_model_id=None,
            socket_path="",
            gauges={},
        )
        self.wishes = None

    def _crashed(self, child: Child, why: str) -> None:
        if not self._cleared(child):
            return
        self._crashes += 1
        seconds = self._pause()
        last_words = vllm.why_it_ended(tail(self.log), lines_shown=3)
        reason = f"{why or child.why()}: {last_words}"
        self.model = None
        self.adapters.blame(reason)
        self._move(
            State.FAILED,
            f"crashed, starts again in {seconds:.0f} s; {reason}",
            loaded_model_id=None,
            socket_path="",
            gauges={},
        )

    def _cleared(self, child: Child) -> bool:
        """Whether nothing of the child's session is left; kills what is."""
        if not child.clear():
            self._move(State.STOPPING, "waits for the dead engine's processes to end")
            return False
        self.child = None
        return True

    def _pause(self, seconds: float = 0) -> float:
        """No start before so many seconds; by default 1, 2, 4 … 60, more each crash."""
        seconds = seconds or min(LONGEST_PAUSE, 2.0 ** (self._crashes - 1))
        self._not_before = time.monotonic() + seconds
        return seconds

    # --- the host's own end

    def stop(self, *, at_once: bool = False) -> bool:
        """One turn of stopping the engine; True when nothing of it is left.

        The heartbeat goes on meanwhile, so that no other host starts beside it.
        """
        self.closing = True
        if self.child is not None and self.columns["state"] != State.STOPPING:
            self._begin_stop("the engine host stops")
        if self.child is not None and at_once:
            self.child.clear()
        with contextlib.suppress(LostToken):
            self.step()
        return self.child is None

    def close(self) -> None:
        """Tell the database the end, if it answers, and give the token back."""
        self.watch.end()
        self._move(State.STOPPED, "its host is not running", gauges={})
        try:
            self._flush()
            self.row.release()
        except DATABASE_GONE as error:
            log.warning("the database does not answer: %s", error)
