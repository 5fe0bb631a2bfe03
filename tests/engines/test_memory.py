# SPDX-License-Identifier: Apache-2.0
"""A start waits for its predecessor's GPU memory, and not for anybody else's."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from jobs.engines import gpus, memory
from jobs.engines.gpus import Usage
from jobs.engines.memory import MemoryGate
from tests.nvml import FakeGpu, FakeNvml
from tests.site import wait_for

GB = 1_000_000_000
OTHER, ENGINE = 11, 22


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """The host's only GPU; another process holds 3 of its 24 GB."""
    found = FakeGpu(used=3 * GB, computing={OTHER: 3 * GB})
    monkeypatch.setattr(gpus, "pynvml", FakeNvml([found]))
    return found


def gate(*, alive: set[int]) -> MemoryGate:
    """A gate that the first start has passed."""
    made = MemoryGate(alive=alive.__contains__)
    wait_for(lambda: not made.why_wait(), timeout=5)
    return made


def words(made: MemoryGate, look: Callable[[str], bool]) -> str:
    """Ask until the answer fits."""
    told = [""]

    def fits() -> bool:
        told[0] = made.why_wait()
        return look(told[0])

    wait_for(fits, timeout=5, what=f"other words than {told}")
    return told[0]


def test_usage_is_read_with_its_processes(gpu: FakeGpu) -> None:
    gpu.computing[12] = None
    (usage,) = gpus.read_usage()
    assert usage.used == 3 * GB
    assert usage.processes == {OTHER: 3 * GB, 12: None}
    assert gpus.read_usage("7") == []
    gpu.missing = frozenset({"memory", "processes"})
    (usage,) = gpus.read_usage()
    assert (usage.used, usage.processes) == (None, {})


def test_without_a_gpu_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "pynvml", FakeNvml(init_error=12))
    made = gate(alive=set())
    made.close()
    assert made.why_wait() == ""


def test_a_start_waits_until_the_dead_engine_has_let_go(gpu: FakeGpu) -> None:
    made = gate(alive={OTHER})
    gpu.used, gpu.computing[ENGINE] = 23 * GB, 20 * GB
    made.close()
    told = words(made, lambda told: "held by" in told)
    assert "memory of GPU 0 is still held by process 22 (20.0 GB), which ended" in told
    # The driver may name the process no more before its memory is free.
    del gpu.computing[ENGINE]
    assert "20.0 GB of GPU 0" in words(made, lambda told: "names process 11" in told)
    gpu.used = 3 * GB
    words(made, lambda told: not told)
    assert made.warning == ""


def test_what_another_living_process_took_meanwhile_is_its_own(gpu: FakeGpu) -> None:
    made = gate(alive={OTHER, 33})
    gpu.used, gpu.computing[33] = 13 * GB, 10 * GB
    made.close()
    words(made, lambda told: not told)


def test_after_the_limit_it_starts_with_a_warning_and_waits_no_second_time(
    gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gate(alive={OTHER})
    gpu.used, gpu.computing[ENGINE] = 23 * GB, 20 * GB
    made.close()
    words(made, lambda told: "held by" in told)
    monkeypatch.setattr(memory, "LIMIT_SECONDS", 0)
    words(made, lambda told: not told)
    assert "all the same: memory of GPU 0 is still held by process 22" in made.warning
    monkeypatch.setattr(memory, "LIMIT_SECONDS", 30)
    made.close()
    words(made, lambda told: not told)


def test_a_driver_that_does_not_answer_blocks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck = threading.Event()

    def read(gpu_ids: str) -> list[Usage]:
        stuck.wait()
        return []

    made = MemoryGate(read=read)
    assert "asks the GPUs" in made.why_wait()
    monkeypatch.setattr(memory, "LIMIT_SECONDS", 0)
    assert made.why_wait() == ""
    assert "asks the GPUs" in made.warning
    stuck.set()
