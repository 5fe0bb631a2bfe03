# SPDX-License-Identifier: Apache-2.0
"""A reviewer's steps read by indexes, however many items there are."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client

from batchsite.accounts.models import User
from curation import reviewing
from curation.models import ReviewItem
from tests import query_plans

from .conftest import GOOD, MakeQueue
from .test_reviewing import take

pytestmark = pytest.mark.django_db
BIG = {
    "curation_candidate",
    "curation_claim",
    "curation_itemversion",
    "curation_resolution",
    "curation_response",
    "curation_reviewevent",
    "curation_reviewitem",
    "curation_skip",
}


def test_a_reviewer_finds_work_by_an_index(
    make_queue: MakeQueue, curators: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_plans, "BIG", BIG)
    ann = curators[0]
    queue, others = make_queue(400, overlap=2), make_queue(400)
    # Most are done already.
    done = list(queue.items.values_list("pk", flat=True)[:300])
    ReviewItem.objects.filter(pk__in=done).update(state="completed", submitted=2)
    assert others.items.count() == 400
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            # For so few rows it would read a table whole although an index is there.
            cursor.execute("SET LOCAL enable_seqscan = off")
    with query_plans.queries() as found:
        first = take(queue, ann)
        reviewing.keep(version=first.version, user=ann)
        reviewing.save_draft(version=first.version, user=ann, answers=GOOD)
        reviewing.submit(version=first.version, user=ann, answers=GOOD)
        reviewing.undo(queue=queue, user=ann)
        take(queue, ann)
    assert [fault for query in found for fault in query_plans.faults(query)] == []
    # What a page waits for: taking an item and submitting it.
    assert len(found) < 90


@pytest.mark.parametrize(
    "path",
    [
        "items/",
        "items/?view=disputed",
        "items/?view=flagged",
        "items/?view=gold",
        "items/?q=row-5",
        "review/",
        "review/jump/?to=row-5",
    ],
)
def test_pages_read_by_indexes(
    client: Client,
    make_queue: MakeQueue,
    curators: list[User],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(query_plans, "BIG", BIG)
    queue, others = make_queue(300, overlap=2, gold_rate=50), make_queue(300)
    assert others.items.count() == 300
    client.force_login(curators[0])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")
    with query_plans.queries() as found:
        r = client.get(f"/reviews/{queue.public_id}/{path}")
    assert r.status_code in (200, 302)
    assert [fault for query in found for fault in query_plans.faults(query)] == []
