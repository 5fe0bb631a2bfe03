# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters of the model that a host's engine serves: loaded one by one, beside it.

vLLM loads an adapter while it serves. So its refusal is about that adapter alone, and the
base goes on without it.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from django.conf import settings

from jobs.models import ServedModel

from . import probe, vllm
from .client import AnswerTooLarge, EngineClient, EngineUnreachable
from .loads import ATTEMPTS, clear_failures, count_failure

log = logging.getLogger(__name__)
# So long after its death at most, a host has seen that its engine is gone.
SEEN_SECONDS = 10.0
CONFIG = "adapter_config.json"


class BadAdapter(Exception):
    """What is wrong with an adapter's folder, in words."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What of an adapter its loading needs; `rank` 0: not known before vLLM has it."""

    pk: int
    name: str
    source: str
    rank: int

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same adapter."""
        return self.name, self.source

    @classmethod
    def of(cls, model: ServedModel) -> Self:
        """The adapter as it is now; what is wrong with it vLLM says when it is loaded."""
        try:
            local = vllm.is_local(model.source)
            rank = rank_of(Path(model.source).expanduser()) if local else 0
        except BadAdapter:
            rank = 0
        return cls(model.pk, model.name, model.source, rank)


def rank_of(folder: Path) -> int:
    """The largest rank that a folder in peft's layout asks for; BadAdapter if it is none."""
    try:
        config = json.loads((folder / CONFIG).read_text())
        ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    except FileNotFoundError as error:
        raise BadAdapter(f"{folder} is no LoRA adapter: it has no {CONFIG}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAdapter(f"{folder / CONFIG} names no rank") from error
    most = vllm.LORA_RANKS[-1]
    if not all(isinstance(rank, int) and 0 < rank <= most for rank in ranks):
        raise BadAdapter(f"{folder / CONFIG}: vLLM takes ranks from 1 to {most}")
    return max(map(int, ranks))


def adapters_of(base: ServedModel | None) -> Iterable[ServedModel]:
    """The base's adapters that can be loaded, by name."""
    if base is None:
        return []
    return ServedModel.objects.loadable().filter(base=base)


class Adapters:
    """The adapters of one start of an engine; `loaded` maps their names to sources.

    The loading runs in a thread, since a download takes long and the host's heartbeat
    must go on. `first` are those that the start waits for, `room` is what it has for
    them and for later ones.
    """

    def __init__(self, base: ServedModel | None = None, socket_path: str = "") -> None:
        """Read the base's adapters; no base: there was no start yet."""
        self.room = vllm.LoraRoom()
        self.loaded: dict[str, str] = {}
        self.first = [Adapter.of(model) for model in adapters_of(base)]
        self._left_out: list[Adapter] = []
        if base and base.load_failures == ATTEMPTS - 1:
            # The last attempt tells whether it is the room for adapters that it lacks.
            self.first, self._left_out = [], self.first
        self._base = base
        self._socket_path = socket_path
        self._tried = {a.key for a in (*self.first, *self._left_out)}
        self._current: Adapter | None = None
        self._failed: list[tuple[Adapter, int, str]] = []
        self._worked: list[Adapter] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def are_in(self) -> bool:
        """Begin with the first ones, now that the engine serves; whether that is done."""
        if self._base and self._left_out:
            why = f"{self._base} loads only without adapters: {self._base.state_reason}"
            self._failed += [(a, ATTEMPTS, why) for a in self._left_out]
            self._left_out = []
        if self._thread is None and self.first:
            self._start(self.first)
        return self._thread is None or not self._thread.is_alive()

    def tend(self, *, ready: bool) -> None:
        """Settle, and load what was added meanwhile if the engine is ready."""
        self.settle()
        if not ready or not self.are_in():
            return
        new = [
            m for m in adapters_of(self._base) if (m.name, m.source) not in self._tried
        ]
        fitting = [a for a in map(Adapter.of, new) if self._has_room(a)]
        if fitting:
            self._tried |= {a.key for a in fitting}
            self._start(fitting)

    def serve(self, model: ServedModel) -> bool:
        """Whether the engine as it runs serves this adapter, or soon will."""
        if self._base is None or model.base_id != self._base.pk:
            return False
        tried = (model.name, model.source) in self._tried
        return tried or self._has_room(Adapter.of(model))

    def _has_room(self, adapter: Adapter) -> bool:
        """Whether the adapter can be loaded while the engine serves.

        One that must be downloaded is left to a start: the whole engine would stand still
        for it. One that has changed is too: vLLM keeps the old one under its name.
        """
        return (
            adapter.name not in self.loaded
            and len(self.loaded) < self.room.places
            and vllm.is_local(adapter.source)
            and adapter.rank <= self.room.rank
        )

    def doing(self) -> str:
        """What is being loaded, in words."""
        current = self._current
        return f"loads the adapter {current.name}" if current else "loads its adapters"

    def end(self) -> None:
        """The engine is stopped on purpose: no adapter is to blame for what follows."""
        self._ended.set()

    def blame(self, why: str) -> str:
        """Count the engine's death for the adapter that was being loaded: its name, or ""."""
        self._ended.set()
        if (current := self._current) is None:
            return ""
        self._failed.append((current, 1, why))
        return current.name

    def settle(self) -> None:
        """Tell the database what failed and what worked; may be repeated after an error."""
        while self._failed:
            adapter, times, why = self._failed[0]
            count_failure(adapter.pk, why, times=times)
            # Who enables it again wants it tried again.
            self._tried.discard(adapter.key)
            del self._failed[0]
        while self._worked:
            clear_failures(self._worked[0].pk)
            del self._worked[0]

    def _start(self, adapters: Sequence[Adapter]) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(adapters,), name="adapters", daemon=True
        )
        self._thread.start()

    def _run(self, adapters: Sequence[Adapter]) -> None:
        for adapter in adapters:
            self._current = adapter
            try:
                reason = self._try(adapter)
            except (EngineUnreachable, AnswerTooLarge):
                # If the engine is dead its host sees it soon, and blames or ends this.
                self._ended.wait(SEEN_SECONDS)
                reason = None
            if self._ended.is_set():
                return
            if reason:
                log.warning("the adapter %s does not load: %s", adapter.name, reason)
                self._failed.append((adapter, ATTEMPTS, reason))
            elif reason == "":
                self.loaded = {**self.loaded, adapter.name: adapter.source}
                self._worked.append(adapter)
            else:
                self._tried.discard(adapter.key)
            self._current = None

    def _try(self, adapter: Adapter) -> str:
        """Load it; "" or why it does not work after three attempts.

        Raises EngineUnreachable when it may be the engine rather than the adapter.
        """
        client = EngineClient(socket_path=self._socket_path)
        reason = ""
        for attempt in range(ATTEMPTS):
            # A folder that is just being filled may be complete a moment later.
            self._ended.wait(attempt)
            reason = probe.load_adapter(
                client,
                name=adapter.name,
                source=adapter.source,
                timeout=settings.BATCHSITE_ENGINE_START_TIMEOUT,
            )
            if not reason:
                return ""
        if probe.health(client) != 200:
            raise EngineUnreachable("it is not well")
        return reason
