# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pynvml
import pytest

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
            "power": 71.5,
        }
    ]
    assert gpus.present()
    assert fake.opened == 0


@pytest.mark.parametrize("ids", ["1", SECOND, SECOND[:12], " 1 ,"])
def test_only_the_named_gpus_are_shown(
    monkeypatch: pytest.MonkeyPatch, ids: str
) -> None:
    driver(monkeypatch, FakeGpu(), FakeGpu(uuid=SECOND))
    assert [gpu["index"] for gpu in gpus.read_gpus(ids).gpus] == [1]


def test_readings_that_a_gpu_lacks_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = frozenset({"memory", "utilization", "temperature", "power"})
    driver(monkeypatch, FakeGpu(missing=lacking))
    gpu = gpus.read_gpus().gpus[0]
    assert {gpu["memory_used"], gpu["utilization"], gpu["power"]} == {None}


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


def test_no_gpu_and_none_of_that_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver(monkeypatch)
    assert gpus.read_gpus().note == "no GPU: the NVIDIA driver finds none"
    assert not gpus.present()
    driver(monkeypatch, FakeGpu())
    assert "none of them is '7'" in gpus.read_gpus("7").note


def test_lost_gpu_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = driver(monkeypatch, FakeGpu())

    def lost(index: int) -> FakeGpu:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    fake.nvmlDeviceGetHandleByIndex = lost  # type: ignore[method-assign] # a driver that fails
    assert "a GPU is lost" in gpus.read_gpus().note


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
