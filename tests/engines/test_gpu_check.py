# SPDX-License-Identifier: Apache-2.0
"""`make gpu-check` without its long parts: refusal, limits of time, report, figures."""

from __future__ import annotations

import importlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pynvml
import pytest

from deploy.gpu_watch import Memory, Moment, Swap, gaps, swaps
from jobs.engines import gpus
from jobs.engines.vllm import ModelSpec
from tests.engines.test_child import start
from tests.nvml import FakeGpu, FakeNvml
from tests.site import wait_for


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; what it sets for its own process is undone."""
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    return importlib.import_module("deploy.gpu_check")


def check_in(script: Any, folder: Path, *, seconds: float = 60) -> Any:
    return script.Check(
        cpu=True,
        rows=1,
        model=ModelSpec("tiny", "org/tiny"),
        scratch=folder,
        report=folder / "report.md",
        deadline=time.monotonic() + seconds,
    )


def test_a_host_without_gpu_is_told_in_one_sentence(
    script: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    missing = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND
    monkeypatch.setattr(gpus, "pynvml", FakeNvml(init_error=missing))
    assert script.main([]) == 2
    assert capsys.readouterr().out == (
        "This host has no GPU to check (no GPU: the NVIDIA driver is not installed);"
        " --cpu runs without.\n"
    )


def test_a_part_that_takes_too_long_ends_and_the_next_one_runs(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(script.MINUTES, "Machine", 0.2 / 60)
    check = check_in(script, tmp_path)

    def long(check: Any) -> None:
        check.say("it began")
        time.sleep(60)

    check.part("Machine", long)
    check.part("End", lambda check: check.say("memory is free"))
    report = check.report.read_text()
    assert check.failed == ["Machine"]
    assert "it began" in report
    assert "It did not end within 0 s." in report
    assert "memory is free" in report


def test_no_part_begins_after_the_limit_of_all(script: Any, tmp_path: Path) -> None:
    check = check_in(script, tmp_path, seconds=-1)
    check.part("End", lambda check: check.say("memory is free"))
    assert "There was no time left for it." in check.report.read_text()
    assert "memory is free" not in check.report.read_text()


def test_the_gauges_of_a_gpu_are_in_the_report(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeNvml([FakeGpu(missing=frozenset({"ecc"}))])
    monkeypatch.setattr(gpus, "pynvml", fake)
    check = check_in(script, tmp_path)
    check.part("Machine", script.machine)
    report = check.report.read_text()
    assert check.failed == []
    assert "NVIDIA driver: 570.86.15, CUDA 12.8" in report
    assert (
        "| NVIDIA L4 | 3000000000 | 24000000000 | 42 | 55 | 90 | 71.5 | None |"
        in report
    )


def test_a_swap_is_seen_with_its_times_and_the_memory_between() -> None:
    states = [
        *((0, "ready", 1, 90), (1, "ready", 1, 90), (2, "draining", 1, 90)),
        *((5, "stopping", 1, 60), (6, "stopped", 1, 3), (7, "loading", 2, 5)),
        *((20, "loading", 2, 80), (30, "ready", 2, 90), (31, "draining", 2, 90)),
        # The wish was taken back, and then the engine crashed.
        *((32, "ready", 2, 90), (33, "failed", 2, 4), (34, "failed", 2, 4)),
    ]
    moments = [Moment(at, state, number, size) for at, state, number, size in states]
    assert swaps(moments) == [Swap(seconds=28, load=23, memory=3)]
    assert swaps([]) == []


def test_the_time_without_an_answer_is_taken_from_the_results() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    seconds = [(0, 1), (90, 2), (5, 1), (91, 2), (200, 3)]
    answers = [(at + timedelta(seconds=s), generation) for s, generation in seconds]
    assert gaps(answers) == [85, 109]


def test_memory_on_a_cpu_is_what_the_engines_sessions_hold(tmp_path: Path) -> None:
    memory = Memory(cpu=True, run_dir=tmp_path)
    assert memory.in_use() == 0
    started = start(tmp_path, "import time; time.sleep(600)")
    (tmp_path / "gpu0-1.json").rename(tmp_path / "local-1.json")
    wait_for(lambda: memory.in_use() > 1_000_000)
    (tmp_path / "local-1.json").unlink()
    # A session that nobody knows any more still counts until it is gone.
    assert memory.in_use() > 1_000_000
    started.clear(timeout=5)
    assert memory.in_use() == 0


def test_turns_are_a_third_of_the_work(script: Any, tmp_path: Path) -> None:
    check = check_in(script, tmp_path)
    check.rows = 60
    assert script.turn(check) == 20
    check.theirs = 100.0
    assert script.turn(check) == 19
    check.theirs = 10_000.0
    assert script.turn(check) == 1
