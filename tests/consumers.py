# SPDX-License-Identifier: Apache-2.0
"""Hugging Face's `datasets` and TRL, in an environment on top of the engine's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from jobs.engines import install

PINS = Path(__file__).with_name("consumers.txt")
# Reads a file as its users do: `datasets` loads it, TRL renders it with the model's own
# chat template, which it refuses for rows of another form than it knows.
SCRIPT = """
import json, sys
from datasets import load_dataset
from transformers import AutoTokenizer
from trl.data_utils import apply_chat_template, is_conversational
kind, path, model = sys.argv[1:]
rows = load_dataset(kind, data_files=path, split="train")
tokenizer = AutoTokenizer.from_pretrained(model)
found = []
for row in rows:
    assert is_conversational(row), row
    found.append(apply_chat_template(row, tokenizer))
print(json.dumps({"rows": len(rows), "columns": rows.column_names, "shown": found}))
"""


def python() -> Path:
    """The environment's Python; made once, and again for other versions."""
    engine = Path(install.engine_python())
    cache = Path(
        os.environ.get("BATCHSITE_CACHE", Path.home() / ".cache" / "batchsite")
    )
    digest = hashlib.sha256(PINS.read_bytes() + str(engine).encode()).hexdigest()[:12]
    folder = cache / f"consumers-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "consumers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".ready").exists():
            _make(folder, engine)
    return folder / "bin" / "python"


def _make(folder: Path, engine: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    below = subprocess.run(
        [str(engine), "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
    version = f"python{sysconfig.get_python_version()}"
    (folder / "lib" / version / "site-packages" / "engine.pth").write_text(f"{below}\n")
    subprocess.run(
        [str(folder / "bin" / "pip"), "install", "-q", "--no-deps", "-r", str(PINS)],
        check=True,
    )
    (folder / ".ready").touch()
