# SPDX-License-Identifier: Apache-2.0
"""The client inside the test's own process, with folders of its own."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from batchsite.cli.main import main


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    def ok(self) -> str:
        """stdout of a command that must have succeeded."""
        assert self.code == 0, self
        return self.out


Cli = Callable[..., Ended]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the developer's own key."""
    for name in ("BATCHSITE_URL", "BATCHSITE_API_KEY", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for kind in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `batchsite ARGUMENTS`; `stdin` is what a pipe has for it."""

    def run(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["batchsite", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def signed_in(
    live_server: LiveServer, owner: User, team: Team, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The environment names a site without workers; its address."""
    key = create_api_key(team=team, user=owner, name="cli")
    monkeypatch.setenv("BATCHSITE_URL", live_server.url)
    monkeypatch.setenv("BATCHSITE_API_KEY", key)
    return live_server.url
