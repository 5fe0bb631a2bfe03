# SPDX-License-Identifier: Apache-2.0
"""Many threads at the API of a real database: run inside a site's own Django."""

from __future__ import annotations

import json
import sys
import threading

from django.db import connection
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from batchsite.accounts.people import ensure_member
from tests.inputs import api_client


def create_batches(count: int) -> None:
    """Create a batch in `count` threads with one Idempotency-Key, in a team with one place.

    Prints status, batch id and whether it was a replay, of each call, as JSON.
    """
    membership = ensure_member(team_name="Blue", email="owner@example.com")
    Team.objects.update(max_batches_per_hour=1)
    start = threading.Barrier(count)
    answers: list[tuple[int, str, bool]] = []
    body = {
        "input_file_id": "file-none",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }

    def call(client: APIClient) -> None:
        start.wait()
        headers = {"Idempotency-Key": "one", "Host": "localhost"}
        r = client.post("/v1/batches", body, format="json", headers=headers)
        replayed = "idempotent-replayed" in r
        answers.append((r.status_code, r.json().get("id", ""), replayed))
        connection.close()

    clients = [api_client(membership.user, membership.team) for _ in range(count)]
    threads = [threading.Thread(target=call, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(answers))
