# SPDX-License-Identifier: Apache-2.0
"""Starts the process of a managed engine for one model."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from jobs import processes
from jobs.models import Engine, ServedModel

from . import install, vllm
from .adapters import Adapter
from .child import Child, read_record, record_path, rotated_log


def log_path(engine: str) -> Path:
    """vLLM's log of the present start; those of earlier ones end in .1 to .5."""
    return Path(settings.DATA_DIR) / "logs" / f"{engine}.log"


def engine_sessions() -> frozenset[int]:
    """The sessions of all engines that hosts of this data folder run, as on record.

    With those below them, and below this host: a runtime that vLLM starts may have a
    session of its own.
    """
    found = set(processes.sessions_below(os.getpid()))
    for path in Path(settings.RUN_DIR).glob("*.json"):
        record = read_record(path)
        if record is not None and record.boot_id == processes.boot_id():
            found |= {record.session} | processes.sessions_below(record.pid)
    return frozenset(found)


def launch(
    model: ServedModel,
    *,
    engine: str,
    generation: int,
    socket: Path,
    gpu_ids: str,
    gpu: bool,
    adapters: Sequence[Adapter] = (),
) -> tuple[Child, vllm.LoraRoom]:
    """Start vLLM, or what BATCHSITE_ENGINE_MODULE names; OSError when it cannot run.

    There is room for the model's adapters in it, which are loaded once it serves.
    """
    python = install.engine_python()
    run_dir = Path(settings.RUN_DIR)
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lora = vllm.lora_arguments(model.engine_args, [one.rank for one in adapters])
    room = vllm.lora_room([*lora, *model.engine_args])
    command = vllm.command_line(
        python=python,
        module=settings.BATCHSITE_ENGINE_MODULE,
        model=vllm.ModelSpec(
            model.name, model.source, model.revision, model.engine_args
        ),
        socket_path=str(socket),
        gpu=gpu,
        cpu_flags=vllm.cpu_flags(),
        lora=lora,
    )
    env = vllm.environment(
        os.environ,
        python=python,
        source=model.source,
        gpu=gpu,
        gpu_ids=gpu_ids,
        own_python=str(python) == sys.executable,
        secrets=external_key_names(),
        lora=bool(room.rank),
        adapters=[one.source for one in adapters],
    )
    child = Child(
        command=command,
        env=env,
        # Not the checkout: its folders must not be taken for packages.
        folder=run_dir,
        log=rotated_log(log_path(engine)),
        socket=socket,
        generation=generation,
        record=record_path(run_dir, engine, generation),
    )
    return child, room


def external_key_names() -> list[str]:
    """Variables that hold other engines' API keys; no engine's process gets them."""
    return list(
        Engine.objects.exclude(api_key_env="").values_list("api_key_env", flat=True)
    )
