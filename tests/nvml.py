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
    """One GPU; a reading named in `missing` is not supported by it."""

    name: str = "NVIDIA L4"
    uuid: str = "GPU-5f4e3d2c-0000-4000-8000-000000000000"
    used: int = 3_000_000_000
    total: int = 24_000_000_000
    utilization: int = 42
    temperature: int = 55
    milliwatts: int = 71_500
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

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
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


def supported(gpu: FakeGpu, reading: str) -> None:
    """Fail as NVML does for a reading that this GPU does not have."""
    if reading in gpu.missing:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
