# SPDX-License-Identifier: Apache-2.0
"""The only module that asks NVIDIA's driver about GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pynvml


@dataclass(frozen=True, slots=True)
class Reading:
    """The GPUs of this host just now; `note` says in words why there are none."""

    gpus: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""


def read_gpus(gpu_ids: str = "") -> Reading:
    """Read the gauges of the GPUs named by `gpu_ids` (CUDA_VISIBLE_DEVICES); "" is all.

    Never raises. Memory is in bytes, utilization in percent, temperature in degrees
    Celsius, power in watts; a gauge that the GPU does not have is None.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Reading(note=in_words(error))
    try:
        found = [_gauges(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        return Reading(note=in_words(error))
    finally:
        _or_none(pynvml.nvmlShutdown)
    if not found:
        return Reading(note="no GPU: the NVIDIA driver finds none")
    chosen = [gpu for gpu in found if _is_named(gpu, gpu_ids)]
    if not chosen:
        return Reading(
            note=f"no GPU: this host has {len(found)}, none of them is {gpu_ids!r}"
        )
    return Reading(gpus=chosen)


def in_words(error: pynvml.NVMLError) -> str:
    """Why NVML gave nothing, for people."""
    reasons = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no GPU: the NVIDIA driver is not installed",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "no GPU: the NVIDIA driver is installed but not loaded",
        pynvml.NVML_ERROR_NO_PERMISSION: "no GPU: this user may not talk to the NVIDIA driver",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
            "no GPU: the NVIDIA driver was updated and its library does not match;"
            " restart the host"
        ),
        pynvml.NVML_ERROR_GPU_IS_LOST: (
            "a GPU is lost: it fell off the bus or must be reset"
        ),
    }
    code = getattr(error, "value", None)
    return reasons.get(code, f"the GPUs cannot be read: {error}")


def present() -> bool:
    """Whether this host has an NVIDIA GPU that its driver can use."""
    return bool(read_gpus().gpus)


def _gauges(index: int) -> dict[str, Any]:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _or_none(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    rates = _or_none(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    power = _or_none(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    return {
        "index": index,
        "uuid": _text(pynvml.nvmlDeviceGetUUID(handle)),
        "name": _text(pynvml.nvmlDeviceGetName(handle)),
        "memory_used": memory and memory.used,
        "memory_total": memory and memory.total,
        "utilization": rates and rates.gpu,
        "temperature": _or_none(
            lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        ),
        "power": None if power is None else power / 1000,
    }


def _is_named(gpu: dict[str, Any], gpu_ids: str) -> bool:
    names = [name.strip() for name in gpu_ids.split(",") if name.strip()]
    return not names or any(
        name == str(gpu["index"]) or (len(name) > 4 and gpu["uuid"].startswith(name))
        for name in names
    )


def _or_none(read: Callable[[], Any]) -> Any:
    """The reading, or None where this GPU or driver does not support it."""
    try:
        return read()
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    # Older releases of pynvml return bytes.
    return value.decode() if isinstance(value, bytes) else value


class Watch(threading.Thread):
    """Reads the GPUs every few seconds beside the host's loop.

    A driver in trouble can block a reading for long; the heartbeat must go on.
    """

    def __init__(self, gpu_ids: str = "", *, seconds: float = 4) -> None:
        super().__init__(name="gpu-watch", daemon=True)
        self._gpu_ids = gpu_ids
        self._seconds = seconds
        self._ending = threading.Event()
        self.latest = Reading(note="the GPUs were not read yet")

    def run(self) -> None:
        while True:
            self.latest = read_gpus(self._gpu_ids)
            if self._ending.wait(self._seconds):
                return

    def end(self) -> None:
        """Let the thread end after its present reading."""
        self._ending.set()
