# SPDX-License-Identifier: Apache-2.0
"""A running site (`manage.py up`) and OpenAI's SDK on it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from openai import OpenAI
from openai.types import Batch

from tests.postgres import free_port
from tests.site import Process, Site, wait_for

# A busy machine takes long to start five processes.
PATIENCE = 180.0
FINAL = {"completed", "failed", "expired", "cancelled"}


@dataclass
class Running:
    """`up` on its own port, and a client with a key of team Blue."""

    site: Site
    up: Process
    port: int
    client: OpenAI

    def submit(self, lines: bytes, **over: Any) -> Batch:
        """Upload a file and create its batch."""
        file = self.client.files.create(file=("in.jsonl", lines), purpose="batch")
        return self.client.batches.create(
            input_file_id=file.id,
            endpoint=over.pop("endpoint", "/v1/chat/completions"),
            completion_window="24h",
            **over,
        )

    def wait(self, batch: Batch, *, timeout: float = 60, every: float = 0.2) -> Batch:
        """Poll as clients do, until the status is final; all times in seconds."""
        deadline = time.monotonic() + timeout
        while batch.status not in FINAL:
            assert time.monotonic() < deadline, f"{batch}\n{self.up.log()}"
            time.sleep(every)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The parsed lines of a result file."""
        if file_id is None:
            return []
        text = self.client.files.content(file_id).text
        return [json.loads(line) for line in text.splitlines()]


def start_up(site: Site, *arguments: str, **env: str) -> Running:
    """Start the whole site and wait until its web server answers."""
    port = free_port()
    key = site.run(
        *("createapikey", "--team", "Blue", "--user", "owner@example.com"),
        *("--name", "test"),
    ).stdout.splitlines()[-1]
    up = site.start("up", "--port", str(port), *arguments, **env)
    up.expect("Batchsite is at", timeout=PATIENCE)

    def answers() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/login/", timeout=2).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    wait_for(answers, timeout=PATIENCE, what="the web server")
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
    return Running(site, up, port, client)
