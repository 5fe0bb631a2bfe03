# SPDX-License-Identifier: Apache-2.0
"""The client against a whole running site with its worker and the test engine."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.client import Running, start_up
from tests.site import ROOT, Site, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.one_database]
COMMAND = (sys.executable, "-m", "batchsite.cli")


@dataclass
class Person:
    """Somebody at a shell in a folder of their own, signed in by the environment."""

    running: Running
    folder: Path
    command: tuple[str, ...] = COMMAND

    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "TERM": "xterm-256color",
            "BATCHSITE_URL": f"http://127.0.0.1:{self.running.port}",
            "BATCHSITE_API_KEY": self.running.client.api_key,
        }

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """In a script: pipes everywhere."""
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done
        return done

    def type(self, *arguments: str, ctrl_c_at: str = "") -> tuple[int, str]:
        """In a terminal 100 wide; Ctrl-C once it shows the text. Code and all shown."""
        pid, terminal = pty.fork()
        if pid == 0:
            # A terminal's shell does so; who runs the tests may have it ignored.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(self.folder)
            os.execvpe(self.command[0], [*self.command, *arguments], self.env())
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        shown = b""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(terminal, 1 << 16)
            except OSError:
                break
            shown += data
            if ctrl_c_at and ctrl_c_at.encode() in shown:
                os.write(terminal, b"\x03")
                ctrl_c_at = ""
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


@pytest.fixture
def person(site: Site, test_engine: str, tmp_path: Path) -> Iterator[Person]:
    running = start_up(site, "--no-engine")
    site.run("addengine", "first", "--url", f"{test_engine}/v1")
    running.up.expect("Worker of engine first is ready.", timeout=30)
    folder = tmp_path / "person"
    folder.mkdir()
    yield Person(running, folder)


def rows(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_from_a_table_to_its_answers(person: Person) -> None:
    table = "id,text\n" + "".join(f"m{n},mail {n}\n" for n in range(40))
    (person.folder / "mails.csv").write_text(table)
    asked = ("mails.csv", "-t", "Say {text}", "-m", "tiny", "--custom-id", "id")
    assert "40 good requests for tiny" in person.run("submit", *asked, "--check").stderr
    done = person.run("submit", *asked, "--name", "Mails", "--watch", "--strict")
    batch_id = done.stdout.strip()
    assert "completed after" in done.stderr
    assert "40 of 40 answered" in done.stderr
    # In a pipe exactly what the site has, in the order of the table.
    found = rows(person.run("results", batch_id).stdout)
    assert [row["custom_id"] for row in found] == [f"m{n}" for n in range(40)]
    person.run("results", batch_id, "-o", "answers.jsonl")
    assert rows((person.folder / "answers.jsonl").read_text()) == found
    text = person.run("results", batch_id, "--text").stdout
    assert text.startswith("── m0\nSay mail 0\n\n── m1\n")
    assert person.run("errors", batch_id).stdout == ""
    code, shown = person.type("status")
    assert code == 0
    assert f"{batch_id}  \x1b[32mcompleted\x1b[0m  40/40" in shown
    # A reader that goes away is no crash.
    piped = f"{' '.join(person.command)} results {batch_id} | head -c 1"
    pipe = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", piped],
        cwd=person.folder,
        env=person.env(),
        capture_output=True,
        check=False,
    )
    assert pipe.returncode in (0, 141)
    assert pipe.stderr == b""


def test_a_running_batch_is_left_and_come_back_to(person: Person) -> None:
    (person.folder / "n.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(900)))
    code, shown = person.type(
        *("submit", "n.csv", "-t", "Say {n}", "-m", "tiny", "--watch"),
        *("--set", 'test={"delay": 1}'),
        ctrl_c_at="/900",
    )
    assert code == 130
    assert "The batch goes on without you." in shown
    batch_id = shown.split("batchsite watch ")[1].split()[0]
    # Answers so far, then all others as they come, each once.
    wait_for(lambda: person.run("results", batch_id).stdout, timeout=30)
    some = person.run("results", batch_id)
    assert "answers so far; the batch is running" in some.stderr
    assert 0 < len(rows(some.stdout)) < 900
    person.run("results", batch_id, "--follow", "-o", "all.jsonl")
    found = rows((person.folder / "all.jsonl").read_text())
    assert sorted(str(row["custom_id"]) for row in found) == sorted(
        f"row-{n}" for n in range(1, 901)
    )
    code, shown = person.type("watch", batch_id)
    assert code == 0
    assert "900 of 900 answered" in shown


def test_bad_files_bad_rows_and_retry(person: Person) -> None:
    (person.folder / "bad.jsonl").write_text('{"custom_id": "a"}\nno json\n')
    done = person.run("submit", "bad.jsonl", "--watch", code=1)
    assert "the file has errors" in done.stderr
    errors = rows(person.run("errors", done.stdout.strip()).stdout)
    assert [error["line"] for error in errors] == [1, 2]

    # The engine refuses more tokens than it has room for.
    (person.folder / "n.csv").write_text("n\n1\n2\n")
    asked = ("n.csv", "-t", "Say {n}", "-m", "tiny", "--max-tokens", "100000")
    done = person.run("submit", *asked, "--watch")
    assert "2 not" in done.stderr
    parent = done.stdout.strip()
    code, shown = person.type("errors", parent)
    assert code == 0
    assert "row-1: status 400: " in shown
    child = json.loads(
        person.run(
            *("retry", parent, "--max-tokens", "9", "--system", "Be brief."),
            *("--custom-id", "row-2", "--watch", "--json"),
        ).stdout
    )
    assert child["status"] == "completed"
    assert child["batchsite"]["parent_id"] == parent
    assert child["request_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert "Cannot cancel" in person.run("cancel", child["id"], code=4).stderr


def test_a_large_file_is_gone_on_with_after_ctrl_c(person: Person) -> None:
    pad = "x" * 20_000
    with (person.folder / "big.csv").open("w") as out:
        out.write("n\n" + "".join(f"{n} {pad}\n" for n in range(2000)))
    asked = ("submit", "big.csv", "-t", "{n}", "-m", "tiny", "--paused")
    code, shown = person.type(*asked, ctrl_c_at="uploading big.jsonl")
    assert code == 130
    assert "The same command goes on" in shown
    done = person.run(*asked)
    (upload,) = [
        row
        for row in person.running.site.query("SELECT * FROM jobs_upload")
        if row["status"] == "completed"
    ]
    assert upload["bytes"] > 40_000_000
    person.run("cancel", done.stdout.strip())


def test_the_installed_script_needs_no_checkout(person: Person, tmp_path: Path) -> None:
    """Built and installed as pip does it, without the rest of the source."""
    source, target = tmp_path / "source", tmp_path / "installed"
    subprocess.run(
        ["git", "clone", "--quiet", "--no-local", str(ROOT), str(source)], check=True
    )
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", str(target), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    assert sorted(path.name for path in (target / "jobs").glob("*.py")) == [
        "__init__.py",
        "durations.py",
        "jsonl.py",
        "rewriting.py",
        "tables.py",
        "templating.py",
    ]
    env = person.env() | {"PYTHONPATH": str(target)}
    for arguments in (["--help"], ["--version"], ["status"], ["models"]):
        done = subprocess.run(
            [str(target / "bin" / "batchsite"), *arguments],
            cwd=person.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done
    assert done.stdout == "tiny\t\n"
