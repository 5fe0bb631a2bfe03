# SPDX-License-Identifier: Apache-2.0
"""What vLLM's server takes as arguments, as the installed one says itself.

Asking takes as long as importing vLLM, so `installengine` writes the answer down, and
pages only read it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from . import install, vllm

FLAG = re.compile(r"(?<![\w-])--[A-Za-z][\w-]*")
# Fewer are no help text of vLLM's.
LEAST_FLAGS = 30
ASK_SECONDS = 300


class CannotTell(Exception):
    """Why arguments cannot be checked here, in words, with what helps."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An argument that vLLM does not take, and the one that may be meant; "": none."""

    name: str
    nearest: str

    @property
    def words(self) -> str:
        """As a sentence."""
        meant = f" Did you mean {self.nearest}?" if self.nearest else ""
        return f"The installed vLLM knows no {self.name}.{meant}"


def unknown(engine_args: Sequence[str]) -> list[Unknown]:
    """Those of the arguments that the installed vLLM does not take; CannotTell.

    Names of one dash are not judged: vLLM lists them only beside the long ones.
    """
    names = [vllm.name_of(word) for word in engine_args if word.startswith("--")]
    if not names:
        return []
    flags = known()
    found = []
    for name in dict.fromkeys(names):
        if name not in flags:
            nearest = difflib.get_close_matches(name, flags, n=1, cutoff=0.6)
            found.append(Unknown(name, nearest[0] if nearest else ""))
    return found


def known() -> frozenset[str]:
    """The arguments that were written down for the present engine; CannotTell."""
    try:
        found = json.loads(_path().read_text())
        flags = frozenset(str(flag) for flag in found["flags"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CannotTell(_why_not()) from error
    return flags


def _why_not() -> str:
    if not install.is_installed():
        return (
            "The engine arguments could not be checked: vLLM is not installed on the"
            " web server's host. An engine that does not take them says so when it loads"
            " the model."
        )
    return (
        "The engine arguments could not be checked: nobody has asked this vLLM yet what"
        " it takes. 'manage.py installengine' does."
    )


def learn() -> int:
    """Ask the engine's interpreter and write its answer down; how many there are.

    CannotTell when it gives none.
    """
    for wish in ("--help=all", "--help"):
        flags = set(FLAG.findall(_help(wish)))
        if len(flags) >= LEAST_FLAGS:
            break
    else:
        raise CannotTell(f"{install.engine_python()} does not list vLLM's arguments.")
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"flags": sorted(flags)}))
    draft.replace(path)
    return len(flags)


def _help(wish: str) -> str:
    command = [str(install.engine_python()), "-m", settings.BATCHSITE_ENGINE_MODULE]
    try:
        done = subprocess.run(
            [*command, wish],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=ASK_SECONDS,
            stdin=subprocess.DEVNULL,
            # Not the checkout: its folders must not be taken for packages.
            cwd=tempfile.gettempdir(),
            env=install.clean_environment()
            | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "COLUMNS": "200"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotTell(
            f"vLLM could not be asked for its arguments: {error}."
        ) from error
    return done.stdout


def _path() -> Path:
    """Where the answer of the present engine is kept: another one has another place."""
    said = f"{install.engine_python()} {settings.BATCHSITE_ENGINE_MODULE}"
    key = hashlib.sha256(said.encode()).hexdigest()[:12]
    return Path(settings.BATCHSITE_CACHE) / f"arguments-{key}.json"
