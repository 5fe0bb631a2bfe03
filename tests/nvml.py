# SPDX-License-Identifier: Apache-2.0
"""A fake NVML: pynvml's own structs, constants and errors over invented GPUs.

Swapped in for the one import of pynvml, in jobs/engines/gpus.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pynvml


@dataclass
class FakeGpu:
    """One GPU; a reading named in `missing` is not supported by it.

    `lost` is the error that each call then fails with.
    """

    name: str = "NVIDIA L4"
    uuid: str = "GPU-5f4e3d2c-0000-4000-8000-000000000000"
    used: int = 3_000_000_000
    total: int = 24_000_000_000
    utilization: int = 42
    temperature: int = 55
    milliwatts: int = 71_500
    slowdown: int = 90
    ecc_errors: int = 0
    # Bytes by pid, of those that compute and those that draw; None: not told.
    computing: dict[int, int | None] = field(default_factory=dict)
    drawing: dict[int, int | None] = field(default_factory=dict)
    lost: int = 0
    missing: frozenset[str] = frozenset()


@dataclass
class FakeNvml:
    """Stands in for the module; `init_error` is what nvmlInit fails with."""

    gpus: list[FakeGpu] = field(default_factory=list)
    init_error: int = 0
    opened: int = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML"):
            return getattr(pynvml, name)
        raise AttributeError(name)

    def nvmlInit(self) -> None:
        if self.init_error:
            raise pynvml.NVMLError(self.init_error)
        self.opened += 1

    def nvmlShutdown(self) -> None:
        if not self.opened:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.86.15"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if self.gpus[index].lost:
            raise pynvml.NVMLError(self.gpus[index].lost)
        return self.gpus[index]

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return gpu.name

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> bytes:
        return gpu.uuid.encode()

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:
        supported(gpu, "memory")
        return pynvml.c_nvmlMemory_t(
            total=gpu.total, used=gpu.used, free=gpu.total - gpu.used
        )

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        supported(gpu, "utilization")
        return pynvml.c_nvmlUtilization_t(gpu=gpu.utilization, memory=1)

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        supported(gpu, "temperature")
        return gpu.temperature

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        supported(gpu, "power")
        return gpu.milliwatts

    def nvmlDeviceGetTemperatureThreshold(self, gpu: FakeGpu, kind: int) -> int:
        assert kind == pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        supported(gpu, "slowdown")
        return gpu.slowdown

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, since: int) -> int:
        assert kind == pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
        assert since == pynvml.NVML_VOLATILE_ECC
        supported(gpu, "ecc")
        return gpu.ecc_errors

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        supported(gpu, "processes")
        return holding(gpu.computing)

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        supported(gpu, "processes")
        return holding(gpu.drawing)


def holding(memory: dict[int, int | None]) -> list[Any]:
    """Processes as pynvml lists them."""
    made = []
    for pid, size in memory.items():
        process = pynvml.nvmlFriendlyObject(
            {"pid": pid, "usedGpuMemory": size, "gpuInstanceId": 0}
        )
        made.append(process)
    return made


def supported(gpu: FakeGpu, reading: str) -> None:
    """Fail as NVML does for a lost GPU, or for a reading that this one does not have."""
    if gpu.lost:
        raise pynvml.NVMLError(gpu.lost)
    if reading in gpu.missing:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
