# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pynvml
import pytest

from jobs import processes
from jobs.engines import gpus
from tests.nvml import FakeGpu, FakeNvml
from tests.site import wait_for

SECOND = "GPU-aaaaaaaa-1111-4000-8000-000000000001"


def driver(
    monkeypatch: pytest.MonkeyPatch, *found: FakeGpu, error: int = 0
) -> FakeNvml:
    """A host whose driver finds these GPUs, or fails to start."""
    fake = FakeNvml(list(found), init_error=error)
    monkeypatch.setattr(gpus, "pynvml", fake)
    return fake


def test_gauges_of_a_gpu_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = driver(monkeypatch, FakeGpu())
    reading = gpus.read_gpus()
    assert reading.note == ""
    assert reading.gpus == [
        {
            "index": 0,
            "uuid": "GPU-5f4e3d2c-0000-4000-8000-000000000000",
            "name": "NVIDIA L4",
            "memory_used": 3_000_000_000,
            "memory_total": 24_000_000_000,
            "utilization": 42,
            "temperature": 55,
            "slowdown": 90,
            "power": 71.5,
            "ecc_errors": 0,
            "others": None,
        }
    ]
    assert reading.faults == []
    assert gpus.present()
    assert gpus.driver() == "570.86.15, CUDA 12.8"
    assert fake.opened == 0


@pytest.mark.parametrize("ids", ["1", SECOND, SECOND[:12], " 1 ,"])
def test_only_the_named_gpus_are_shown(
    monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    driver(monkeypatch, FakeGpu(), FakeGpu(uuid=SECOND))
    assert [gpu["index"] for gpu in gpus.read_gpus(ids).gpus] == [1]


def test_readings_that_a_gpu_lacks_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {"memory", "utilization", "temperature", "power", "slowdown", "ecc"}
    driver(monkeypatch, FakeGpu(missing=frozenset({*lacking, "processes"})))
    reading = gpus.read_gpus(own=[])
    gpu = reading.gpus[0]
    known = {"index", "uuid", "name"}
    assert {value for name, value in gpu.items() if name not in known} == {None}
    assert reading.faults == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "the NVIDIA driver is not installed"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "may not talk"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "restart the host"),
        (pynvml.NVML_ERROR_UNKNOWN, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    driver(monkeypatch, FakeGpu(), error=error)
    reading = gpus.read_gpus()
    assert reading.gpus == []
    assert words in reading.note
    assert gpus.driver() == ""


def test_no_gpu_and_none_of_that_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver(monkeypatch)
    assert gpus.read_gpus().note == "no GPU: the NVIDIA driver finds none"
    assert not gpus.present()
    driver(monkeypatch, FakeGpu())
    assert "none of them is '7'" in gpus.read_gpus("7").note


@pytest.fixture
def stranger() -> Iterator[int]:
    """The pid of a living process in a session of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as popen:
        yield popen.pid
        popen.send_signal(signal.SIGKILL)


def test_an_engines_own_memory_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, stranger: int
) -> None:
    monkeypatch.setattr(gpus, "FIRST_NAMESPACE", processes.pid_namespace())
    own = os.getpid()
    ended = 2**22 + 1
    driver(
        monkeypatch,
        FakeGpu(
            computing={own: 20_000_000_000, stranger: 3_000, ended: 5_000},
            drawing={stranger: 3_000, own: None},
        ),
    )
    assert gpus.read_gpus(own=[os.getsid(own)]).gpus[0]["others"] == 3_000
    assert gpus.read_gpus(own=[os.getsid(own), stranger]).gpus[0]["others"] == 0
    # In a container the driver's numbers are those of other processes.
    monkeypatch.setattr(gpus, "FIRST_NAMESPACE", "another")
    assert gpus.read_gpus(own=[]).gpus[0]["others"] is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pynvml.NVML_ERROR_GPU_IS_LOST, "it fell off the bus or must be reset"),
        (pynvml.NVML_ERROR_UNKNOWN, "its driver says Unknown Error"),
    ],
)
def test_a_lost_gpu_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    driver(monkeypatch, FakeGpu(lost=error), FakeGpu(uuid=SECOND))
    reading = gpus.read_gpus()
    assert [gpu["index"] for gpu in reading.gpus] == [1]
    assert reading.faults == [f"GPU 0 cannot be used: {words}"]
    # An engine on the other GPU has nothing to do with it.
    assert gpus.read_gpus("1").faults == []
    assert gpus.read_gpus(SECOND).faults == []
    only = gpus.read_gpus("0")
    assert only.gpus == []
    assert only.faults == [only.note]


def test_a_gpu_that_is_lost_in_the_middle_of_a_reading_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = driver(monkeypatch, FakeGpu())

    def lost(gpu: FakeGpu) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_RESET_REQUIRED)

    fake.nvmlDeviceGetPowerUsage = lost  # type: ignore[method-assign] # a driver that fails
    assert "must be reset" in gpus.read_gpus().faults[0]


def test_a_gpu_that_is_not_found_any_more_is_a_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = driver(monkeypatch, FakeGpu(), FakeGpu(uuid=SECOND))
    watch = gpus.Watch(SECOND)
    assert watch._read().faults == []
    fake.gpus[1].lost = pynvml.NVML_ERROR_GPU_IS_LOST
    assert watch._read().faults == ["GPU 1 is not found any more"]
    del fake.gpus[1]
    assert watch._read().faults == ["GPU 1 is not found any more"]
    fake.gpus.clear()
    assert watch._read().faults == ["GPU 1 is not found any more"]
    # A driver that was updated below a running engine says nothing of the GPU.
    fake.init_error = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    assert watch._read().faults == []
    fake.init_error = 0
    fake.gpus[:] = [FakeGpu(), FakeGpu(uuid=SECOND)]
    assert watch._read().faults == []


def test_a_lost_gpu_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = driver(monkeypatch, FakeGpu())
    watch = gpus.Watch()
    watch._read()
    fake.gpus[0].lost = pynvml.NVML_ERROR_GPU_IS_LOST
    assert len(watch._read().faults) == 1


def test_watch_keeps_the_latest_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = driver(monkeypatch, FakeGpu())
    watch = gpus.Watch(seconds=0.01)
    assert watch.latest.note == "the GPUs were not read yet"
    watch.start()
    wait_for(lambda: watch.latest.gpus, timeout=5)
    fake.gpus[0].temperature = 80
    wait_for(lambda: watch.latest.gpus[0]["temperature"] == 80, timeout=5)
    watch.end()
    watch.join(5)
    assert not watch.is_alive()
