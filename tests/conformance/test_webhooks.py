# SPDX-License-Identifier: Apache-2.0
"""B-28: what webhooks are told, by a receiver of our own."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai import OpenAI

from .proof import proves
from .server import LocalServer
from .test_batch_life import end_the_window

Told = tuple[dict[str, str], bytes]


@pytest.fixture
def received() -> Iterator[tuple[str, queue.Queue[Told]]]:
    """The address of a receiver, and what it gets."""
    told: queue.Queue[Told] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.put(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/told", told
        httpd.shutdown()
        thread.join()


def secret(server: LocalServer) -> str:
    """The signing secret of team Blue's batches."""
    return server.site.python(
        "from batchsite.accounts.models import Team\n"
        "from jobs.webhooks.signing import team_secret\n"
        "print(team_secret(Team.objects.get(name='Blue')))"
    ).strip()


@proves("B-28")
@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "expired"])
def test_webhooks_tell_of_each_end(
    local_site: LocalServer, received: tuple[str, queue.Queue[Told]], status: str
) -> None:
    url, told = received
    data = b"{}\n" if status == "failed" else local_site.requests(2)
    paused = status in ("cancelled", "expired")
    batch = local_site.submit(data, batchsite={"webhook_url": url, "paused": paused})
    if status == "cancelled":
        local_site.post(f"/batches/{batch['id']}/cancel")
    if status == "expired":
        end_the_window(local_site, batch)
    assert local_site.wait(batch)["status"] == status

    client = OpenAI(api_key="unused", webhook_secret=secret(local_site))
    seen: dict[str, dict[str, Any]] = {}
    while f"batch.{status}" not in seen:
        headers, body = told.get(timeout=60)
        # The SDK verifies the signature over the exact bytes.
        client.webhooks.verify_signature(body, headers)
        seen[json.loads(body)["type"]] = json.loads(body)

    event = seen[f"batch.{status}"]
    assert event["object"] == "event"
    assert event["data"]["id"] == batch["id"]
    assert type(event["created_at"]) is int
    typed = client.webhooks.unwrap(body, headers)
    assert typed.type == f"batch.{status}"
