# SPDX-License-Identifier: Apache-2.0
"""Which chunk a feeder gets, and that nobody else gets it too."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import claims
from jobs.models import Batch, Chunk
from tests.conftest import MakeBatch
from tests.site import SQLITE_FIRST, Site

from .rows import claim_next, external_engine, running_batch


@pytest.mark.parametrize("site", SQLITE_FIRST, indirect=True)
def test_many_claimers_at_once_take_each_chunk_once(site: Site) -> None:
    code = "from tests.jobs.parallel import claim_chunks; claim_chunks(8, 64)"
    found = json.loads(site.python(code))
    taken = sorted(claim for claims in found for claim in claims)
    assert taken == [[start, 2 if start == 63 else 1] for start in range(64)]
    held = "SELECT lease_epoch FROM jobs_chunk WHERE state = 'leased' ORDER BY start"
    assert [row["lease_epoch"] for row in site.query(held)] == [1] * 63 + [2]


@pytest.mark.django_db
def test_what_was_lost_goes_before_what_follows_and_this_before_the_rest(
    make_batch: MakeBatch,
) -> None:
    running_batch(make_batch, chunks=[2, 2, 2, 2])
    engine = external_engine()
    first = claim_next(engine)
    assert first is not None
    assert (first.start, first.end) == (0, 2)
    lost = Chunk.objects.filter(start=6)
    lost.update(state="leased", leased_by="dead", lease_expires_at=timezone.now())

    def claim(after: int | None) -> int | None:
        (work,) = claims.claimable_work(None) or [first.work]
        found = claims.claim(work, engine=engine, worker="w2", after=after)
        return None if found is None else found.start

    assert [claim(4), claim(4), claim(4), claim(None)] == [6, 4, 2, None]
    assert claims.claimable_work(None) == []


@pytest.mark.django_db
def test_a_lease_that_ran_out_is_work_when_nothing_else_is(
    make_batch: MakeBatch,
) -> None:
    batch = running_batch(make_batch)
    assert claims.anything_claimable()
    assert claim_next(external_engine()) is not None
    assert not claims.anything_claimable()
    assert claims.claimable_work(["tiny"]) == []
    Chunk.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    assert claims.anything_claimable()
    assert [work.batch for work in claims.claimable_work(["tiny"])] == [batch.pk]
    assert claims.claimable_work(["other"]) == []
    # Nothing of a batch that does not run, whatever its chunks say.
    for columns in (
        {"paused": True},
        {"closed_at": timezone.now(), "closing_reason": "done"},
    ):
        Batch.objects.filter(pk=batch.pk).update(**columns)
        assert claims.claimable_work(["tiny"]) == []
        Batch.objects.filter(pk=batch.pk).update(paused=False, closed_at=None)
