# SPDX-License-Identifier: Apache-2.0
"""How the test engine loads LoRA adapters while it serves: as vLLM does, from folders.

A folder's adapter_config.json may ask for behaviour in "test":

    delay: s                take that long
    kill: true | "/path"    SIGKILL the server; with a path only when that file is not there
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.engine_answers import Refusal, State


def kill_self(wish: Any) -> None:
    """SIGKILL this process; with a path as wish only when that file is not there."""
    if isinstance(wish, str):
        try:
            Path(wish).touch(exist_ok=False)
        except FileExistsError:
            return
    os.kill(os.getpid(), signal.SIGKILL)


async def load_adapter(state: State, body: dict[str, Any]) -> str:
    """POST /v1/load_lora_adapter: the text of vLLM's answer."""
    name, folder = str(body["lora_name"]), Path(str(body["lora_path"]))
    if not state.lora_rank:
        raise Refusal(404, "Not Found", "NotFoundError")
    if name in state.models or name in state.adapters:
        raise Refusal(
            400,
            f"The lora adapter '{name}' has already been loaded.",
            "InvalidUserInput",
        )
    try:
        config = json.loads((folder / "adapter_config.json").read_text())
    except OSError as error:
        message = f"Loading lora {name} failed: No adapter found for <path>"
        raise Refusal(404, message, "NotFoundError") from error
    test = config.get("test", {})
    await asyncio.sleep(test.get("delay", 0))
    if test.get("kill"):
        kill_self(test["kill"])
    if config["r"] > state.lora_rank:
        raise Refusal(
            500,
            f"LoRA rank {config['r']} is greater than max_lora_rank {state.lora_rank}.",
            "InternalServerError",
        )
    state.adapters[name] = str(folder)
    return f"Success: LoRA adapter '{name}' added successfully."


def make_adapter(folder: Path, *, rank: int = 8, **test: Any) -> Path:
    """A folder that the test engine loads as an adapter."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"peft_type": "LORA", "r": rank, "test": test}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
