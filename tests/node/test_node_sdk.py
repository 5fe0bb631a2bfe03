# SPDX-License-Identifier: Apache-2.0
"""OpenAI's own client for Node (T-01 to T-10 as another client sees them)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from django.conf import settings

from tests.e2e.client import Running, start_up
from tests.inputs import chat_lines
from tests.site import Site

pytestmark = pytest.mark.node

HERE = Path(__file__).resolve().parent
GUIDE = HERE.parent.parent / "docs" / "guide.md"


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The client, installed once for each version, outside the checkout."""
    wanted = json.loads((HERE / "package.json").read_text())["dependencies"]["openai"]
    cache = Path(settings.BATCHSITE_CACHE)
    folder = cache / f"node-openai-{wanted}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="node-") as draft:
            shutil.copy(HERE / "package.json", draft)
            subprocess.run(
                [
                    *("npm", "install", "--no-package-lock"),
                    *("--no-audit", "--no-fund", "--loglevel", "error"),
                ],
                cwd=draft,
                check=True,
                timeout=300,
            )
            # As a whole or not at all; another run may have been quicker.
            if not folder.exists():
                (Path(draft) / "node_modules").rename(folder)
    return folder


def run_node(script: Path, running: Running) -> str:
    """What the script prints; AssertionError with its words when it fails."""
    done = subprocess.run(
        ["node", "--require", str(HERE / "node18.cjs"), script.name],
        cwd=script.parent,
        env=os.environ
        | {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{running.port}/v1",
            "OPENAI_API_KEY": running.client.api_key,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(node_modules: Path, tmp_path: Path) -> Path:
    """Where a script finds the client."""
    (tmp_path / "node_modules").symlink_to(node_modules)
    return tmp_path


def test_the_main_path_in_node(site: Site, test_engine: str, folder: Path) -> None:
    running = start_up(site, "--no-engine")
    site.run("addengine", "ext", "--url", f"{test_engine}/v1")
    running.up.expect("Worker of engine ext is ready.", timeout=30)
    script = Path(shutil.copy(HERE / "main_path.mjs", folder))
    told = json.loads(run_node(script, running).splitlines()[-1])
    assert told == {"batches": 2, "answers": 30}


def test_the_guides_program_runs(site: Site, test_engine: str, folder: Path) -> None:
    model = "smollm2-135m-instruct"
    running = start_up(site, "--no-engine")
    site.run(
        *("addengine", "ext", "--url", f"{test_engine}/v1"),
        *("--model", f"{model}=tiny"),
    )
    running.up.expect("Worker of engine ext is ready.", timeout=30)
    (program,) = re.findall(r"```js\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    script = folder / "guide.mjs"
    script.write_text(program)
    (folder / "questions.jsonl").write_bytes(chat_lines(2, model=model))
    status, *answers = run_node(script, running).splitlines()
    assert status.startswith("completed")
    assert sorted(answers) == ["row-0 Count to 0.", "row-1 Count to 1."]
