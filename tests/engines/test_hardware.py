# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from jobs.engines import hardware
from jobs.engines.gpus import Reading


def test_gpus_are_counted_by_name() -> None:
    gpus = [{"name": "NVIDIA L4"}, {"name": "NVIDIA A100"}, {"name": "NVIDIA L4"}]
    assert hardware.in_words(Reading(gpus)) == "1 x NVIDIA A100, 2 x NVIDIA L4"


def test_a_host_without_gpus_is_its_cpu(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\nmodel name\t: Xeon(R)   CPU @ 2 GHz\nflags\t: fpu\n"
    )
    assert hardware.cpu(info).startswith("CPU Xeon(R) CPU @ 2 GHz, ")
    assert hardware.cpu(tmp_path / "none").startswith("CPU ")
    words = hardware.in_words(Reading(note="no GPU: the NVIDIA driver finds none"))
    assert words == hardware.cpu()


def test_gpus_that_cannot_be_read_are_not_taken_for_none() -> None:
    assert hardware.in_words(Reading(note="the GPUs were not read yet")) == ""
    assert hardware.in_words(Reading(note="a GPU is lost: it fell off the bus")) == ""
