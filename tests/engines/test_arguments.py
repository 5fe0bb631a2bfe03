# SPDX-License-Identifier: Apache-2.0
"""vLLM's own arguments: asked once, kept, and what is like an unknown one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from jobs.engines import arguments
from jobs.engines.arguments import CannotTell

HELP = """
import sys
if "--help=all" in sys.argv and {newer}:
    sys.exit("unrecognized arguments")
print("usage: api_server.py [-h] [--max-model-len MAX_MODEL_LEN] [--headless]")
print("  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE")
print("  --enable-prefix-caching, --no-enable-prefix-caching")
print(" ".join(f"[--option-{{n}} N]" for n in range({options})))
"""


@pytest.fixture
def engine(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that lists its arguments as vLLM does, in place of vLLM."""
    settings.BATCHSITE_CACHE = tmp_path / "cache"
    settings.BATCHSITE_ENGINE_PYTHON = str(tmp_path / "python")
    settings.BATCHSITE_ENGINE_MODULE = "stand_in"
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\ncd {tmp_path} && exec {sys.executable} -B "$@"\n')
    program.chmod(0o755)
    (tmp_path / "stand_in.py").write_text(HELP.format(newer=False, options=40))
    return tmp_path


def test_arguments_are_learned_once_and_checked_without_starting_anything(
    engine: Path,
) -> None:
    with pytest.raises(CannotTell, match=r"'manage\.py installengine' does"):
        arguments.unknown(["--seed", "1"])
    assert arguments.learn() == 45
    (engine / "stand_in.py").unlink()
    given = [
        *("--max_model_len", "9", "--max-model-length=9", "--option-3.deep", "1"),
        *("-tp", "2", "--no-enable-prefix-caching", "--qqqq", "--qqqq"),
    ]
    found = arguments.unknown(given)
    assert [(one.name, one.nearest) for one in found] == [
        ("--max-model-length", "--max-model-len"),
        ("--qqqq", ""),
    ]
    assert found[1].words == "The installed vLLM knows no --qqqq."
    # What has no names needs no answer.
    assert arguments.unknown(["-tp", "2"]) == []


def test_an_older_help_and_none_at_all(engine: Path) -> None:
    (engine / "stand_in.py").write_text(HELP.format(newer=True, options=40))
    assert arguments.learn() == 45
    (engine / "stand_in.py").write_text(HELP.format(newer=False, options=3))
    with pytest.raises(CannotTell, match="does not list vLLM's arguments"):
        arguments.learn()
    (engine / "python").unlink()
    with pytest.raises(CannotTell, match="could not be asked"):
        arguments.learn()
    # What was learned before still counts.
    assert len(arguments.known()) == 45


def test_without_vllm_and_with_a_broken_answer_it_says_so(engine: Path) -> None:
    (engine / "python").unlink()
    with pytest.raises(CannotTell, match="vLLM is not installed"):
        arguments.known()
    arguments._path().parent.mkdir()
    for broken in ("", "[]", '{"flags": 3}', "{}"):
        arguments._path().write_text(broken)
        with pytest.raises(CannotTell):
            arguments.known()


def test_installengine_asks_once(
    engine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.management.commands import installengine

    monkeypatch.setattr(installengine, "install", lambda say: None)
    call_command("installengine")
    assert "It takes 45 of them." in capsys.readouterr().out
    call_command("installengine")
    assert "Asking" not in capsys.readouterr().out
