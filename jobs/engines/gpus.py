# SPDX-License-Identifier: Apache-2.0
"""The only module that asks NVIDIA's driver about GPUs."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pynvml

from jobs import processes

# The number of the kernel's first PID namespace, in which the driver counts processes.
FIRST_NAMESPACE = "4026531836"
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)


@dataclass(frozen=True, slots=True)
class Reading:
    """The GPUs of this host just now; `note` says in words why there are none.

    `faults` names GPUs that are there and yet cannot be used, in words; `asked` says
    that the driver answered at all.
    """

    gpus: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    faults: list[str] = field(default_factory=list)
    asked: bool = True


def read_gpus(gpu_ids: str = "", *, own: Collection[int] | None = None) -> Reading:
    """Read the gauges of the GPUs named by `gpu_ids` (CUDA_VISIBLE_DEVICES); "" is all.

    Never raises. Memory is in bytes, utilization in percent, temperature and the
    temperature of the GPU's own slowdown in degrees Celsius, power in watts,
    `ecc_errors` counts uncorrected ones since the GPU was reset; a gauge that the GPU
    does not have is None. `others` is memory of processes outside the sessions `own`,
    None where `own` is, or where these processes cannot be told apart.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Reading(note=in_words(error), asked=False)
    try:
        count = pynvml.nvmlDeviceGetCount()
        found, faults = [], {}
        for index in range(count):
            try:
                found.append(_gauges(index, own))
            except pynvml.NVMLError as error:
                faults[index] = f"GPU {index} cannot be used: {_why_lost(error)}"
    except pynvml.NVMLError as error:
        return Reading(note=in_words(error), asked=False)
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    if not count:
        return Reading(note="no GPU: the NVIDIA driver finds none")
    chosen = [gpu for gpu in found if _is_named(gpu, gpu_ids)]
    # Of a lost GPU only the index is known; Watch knows the others by what it saw.
    ours = [
        words
        for index, words in faults.items()
        if _is_named({"index": index, "uuid": ""}, gpu_ids)
    ]
    if chosen or ours:
        return Reading(chosen, note="" if chosen else ours[0], faults=ours)
    return Reading(note=f"no GPU: this host has {count}, none of them is {gpu_ids!r}")


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in use on one GPU, in bytes, and of which processes; None: not told."""

    index: int
    uuid: str
    used: int | None
    processes: Mapping[int, int | None] = field(default_factory=dict)


def read_usage(gpu_ids: str = "") -> list[Usage]:
    """Who holds memory on the GPUs named by `gpu_ids`; empty where there is none.

    Never raises; may block for long when the driver is in trouble. In a container
    other processes may be missing, or have pids of the host.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = [_usage(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        _or_none(pynvml.nvmlShutdown)
    return [
        usage
        for usage in found
        if _is_named({"index": usage.index, "uuid": usage.uuid}, gpu_ids)
    ]


def _usage(index: int) -> Usage:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = _or_none(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    held = _or_none(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    return Usage(
        index,
        _text(pynvml.nvmlDeviceGetUUID(handle)),
        memory and memory.used,
        {process.pid: process.usedGpuMemory for process in held},
    )


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
        pynvml.NVML_ERROR_GPU_IS_LOST: f"a GPU is lost: {_why_lost(error)}",
    }
    code = getattr(error, "value", None)
    return reasons.get(code, f"the GPUs cannot be read: {error}")


def driver() -> str:
    """The driver's version and its CUDA's, as "570.86.15, CUDA 12.8"; "" without one."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ""
    try:
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        version = _text(pynvml.nvmlSystemGetDriverVersion())
        return f"{version}, CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    except pynvml.NVMLError:
        return ""
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _why_lost(error: pynvml.NVMLError) -> str:
    if getattr(error, "value", None) in LOST:
        return "it fell off the bus or must be reset"
    return f"its driver says {error}"


def present() -> bool:
    """Whether this host has an NVIDIA GPU that its driver can use."""
    return bool(read_gpus().gpus)


def _gauges(index: int, own: Collection[int] | None) -> dict[str, Any]:
    """One GPU's gauges; NVMLError when it is lost."""
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
        "slowdown": _or_none(
            lambda: pynvml.nvmlDeviceGetTemperatureThreshold(
                handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
            )
        ),
        "power": None if power is None else power / 1000,
        "ecc_errors": _or_none(
            lambda: pynvml.nvmlDeviceGetTotalEccErrors(
                handle,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                pynvml.NVML_VOLATILE_ECC,
            )
        ),
        "others": None if own is None else _memory_of_others(handle, own),
    }


def _memory_of_others(handle: Any, own: Collection[int]) -> int | None:
    """Bytes of the GPU's memory that processes outside these sessions hold.

    In a container the driver's process numbers mean other processes, and an engine's
    own memory would pass for a stranger's: then it is not known.
    """
    if processes.pid_namespace() != FIRST_NAMESPACE:
        return None
    lists = [
        _or_none(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        _or_none(lambda: pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)),
    ]
    if lists == [None, None]:
        return None
    # One that computes and draws is in both lists, with all of its memory.
    held: dict[int, int] = {}
    for process in (one for found in lists for one in found or []):
        held[process.pid] = max(held.get(process.pid, 0), process.usedGpuMemory or 0)
    return sum(size for pid, size in held.items() if _session(pid) not in {0, *own})


def _session(pid: int) -> int:
    """The session of a process; 0 when it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def _is_named(gpu: dict[str, Any], gpu_ids: str) -> bool:
    names = [name.strip() for name in gpu_ids.split(",") if name.strip()]
    return not names or any(
        name == str(gpu["index"]) or (len(name) > 4 and gpu["uuid"].startswith(name))
        for name in names
    )


def _or_none(read: Callable[[], Any]) -> Any:
    """The reading, or None where this GPU or driver does not support it.

    NVMLError when the GPU is lost.
    """
    try:
        return read()
    except pynvml.NVMLError as error:
        if getattr(error, "value", None) in LOST:
            raise
        return None


def _text(value: str | bytes) -> str:
    # Older releases of pynvml return bytes.
    return value.decode() if isinstance(value, bytes) else value


class Watch(threading.Thread):
    """Reads the GPUs every few seconds beside the host's loop.

    A driver in trouble can block a reading for long; the heartbeat must go on. A GPU
    that was there once and is no longer found is a fault. `own` tells the sessions of
    this site's engines, whose memory is nobody else's.
    """

    def __init__(
        self,
        gpu_ids: str = "",
        *,
        seconds: float = 4,
        own: Callable[[], Collection[int]] | None = None,
    ) -> None:
        super().__init__(name="gpu-watch", daemon=True)
        self._gpu_ids = gpu_ids
        self._seconds = seconds
        self._own = own
        self._ending = threading.Event()
        self._seen: dict[str, str] = {}
        self.latest = Reading(note="the GPUs were not read yet")

    def run(self) -> None:
        while True:
            self.latest = self._read()
            if self._ending.wait(self._seconds):
                return

    def _read(self) -> Reading:
        reading = read_gpus(self._gpu_ids, own=self._own() if self._own else None)
        found = {gpu["uuid"]: f"GPU {gpu['index']}" for gpu in reading.gpus}
        missing = [name for uuid, name in self._seen.items() if uuid not in found]
        self._seen |= found
        # A driver that does not answer at all, as after its update, says nothing of
        # the GPUs: programs that run go on.
        if not missing or not reading.asked:
            return reading
        told = [
            f"{name} is not found any more"
            for name in missing
            if not any(fault.startswith(f"{name} ") for fault in reading.faults)
        ]
        return replace(reading, faults=[*reading.faults, *told])

    def end(self) -> None:
        """Let the thread end after its present reading."""
        self._ending.set()
