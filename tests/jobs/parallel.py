# SPDX-License-Identifier: Apache-2.0
"""Many threads at a real database: run inside a site's own Django."""

from __future__ import annotations

import json
import sys
import threading

from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from batchsite.accounts.models import Team
from batchsite.accounts.people import ensure_member
from jobs import claims
from jobs.models import Chunk, Engine
from tests.inputs import api_client
from tests.many_rows import Sizes, fill


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


def claim_chunks(claimers: int, chunks: int) -> None:
    """Claim from one batch in `claimers` threads until nothing is left.

    One of the chunks was leased by somebody who died. Prints the claims of each thread
    as JSON: pairs of the chunk's start and its epoch.
    """
    fill(Sizes(teams=1, batches=1, rows=chunks, chunk=1, answered=0))
    engine = Engine.objects.get()
    now = timezone.now()
    Chunk.objects.filter(start=chunks - 1).update(
        state="leased", leased_by="dead", lease_epoch=1, lease_expires_at=now
    )
    (work,) = claims.claimable_work(["tiny"])
    start = threading.Barrier(claimers)
    found: dict[int, list[tuple[int, int]]] = {n: [] for n in range(claimers)}

    def take(number: int) -> None:
        start.wait()
        after = None
        while claim := claims.claim(
            work, engine=engine, worker=f"w{number}", after=after
        ):
            assert [row.index for row in claim.rows] == [claim.start]
            found[number].append((claim.start, claim.lease.epoch))
            after = claim.end
        connection.close()

    threads = [threading.Thread(target=take, args=(n,)) for n in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps(list(found.values())))
