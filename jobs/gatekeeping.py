# SPDX-License-Identifier: Apache-2.0
"""Reads what a feeder's gates depend on and tells the engine's row which are closed."""

from __future__ import annotations

import logging
import time

from django.conf import settings

from . import disks, health
from .jsonl import quoted
from .models import Engine

logger = logging.getLogger(__name__)


def limits() -> health.Limits:
    """The limits that the settings name."""
    return health.Limits(
        celsius=settings.BATCHSITE_GATE_CELSIUS,
        others_percent=settings.BATCHSITE_GATE_OTHERS_PERCENT,
        ecc_errors=settings.BATCHSITE_GATE_ECC_ERRORS,
        lost_gpu=settings.BATCHSITE_GATE_LOST_GPU,
        free_bytes=settings.BATCHSITE_MIN_FREE_BYTES,
        seconds=settings.BATCHSITE_GATE_SECONDS,
    )


class GateKeeper:
    """Judges one engine's gates at each tick of its feeder's keeper.

    The only writer of the row's `gates`.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._limits = limits()
        self._gates: health.Gates | None = None
        self._signs: list[health.Sign] = []
        self._disks = disks.Watch()
        self._told: dict[str, str] = {}

    def start(self) -> None:
        """Begin to read the disks."""
        self._disks.start()

    def end(self) -> None:
        """Let the reading end."""
        self._disks.end()

    def look(self, engine: Engine, *, trouble: str) -> frozenset[str]:
        """Judge anew and write what changed; the names of the closed gates.

        `trouble` is why results cannot be stored just now, "" when they can.
        """
        now = time.time()
        if self._gates is None:
            self._gates = health.Gates(seconds=self._limits.seconds, known=engine.gates)
            self._told = {closure.gate: "" for closure in self._gates.closed}
        self._signs = [
            *health.gpu_signs(engine.gauges, self._limits),
            *health.disk_signs(self._disks.disks(), self._limits),
        ]
        database = health.database_sign(quoted(trouble, 200))
        self._gates.judge([*self._signs, database], now=now)
        self._log(engine.name)
        told = self._gates.as_json(now=now)
        if told != engine.gates and (any(told.values()) or engine.gates):
            mine = Engine.objects.filter(pk=engine.pk, worker_token=self._worker)
            mine.update(gates=told)
        return frozenset(closure.gate for closure in self._gates.closed)

    def database_fails(self, error: Exception) -> None:
        """The keeper itself got no answer; the row tells of it afterwards."""
        if self._gates is not None:
            sign = health.database_sign(quoted(str(error), 200))
            self._gates.judge([*self._signs, sign], now=time.time())

    def _log(self, engine: str) -> None:
        """One line when a gate closes, and one when it opens."""
        assert self._gates is not None
        closed = {closure.gate: closure.reason for closure in self._gates.closed}
        for gate in closed.keys() - self._told.keys():
            logger.warning("engine %s claims nothing: %s", engine, closed[gate])
        for gate in self._told.keys() - closed.keys():
            logger.warning("engine %s: the gate %r is open again", engine, gate)
        self._told = closed
