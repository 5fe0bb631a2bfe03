# SPDX-License-Identifier: Apache-2.0
"""Batches with requests and chunks in the tables, as intake leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db.models import Sum

from jobs import claims
from jobs.claims import Claim
from jobs.models import Batch, BatchRequest, Chunk, Engine, Result
from tests.conftest import MakeBatch


def running_batch(
    make_batch: MakeBatch,
    *,
    chunks: Sequence[int] = (3,),
    copies: int = 0,
    model: str = "tiny",
    **over: object,
) -> Batch:
    """A batch in progress: one chunk per number of rows, then `copies` of row 0."""
    rows = sum(chunks)
    batch = make_batch(
        status=Batch.Status.IN_PROGRESS, total=rows + copies, model=model, **over
    )
    made = BatchRequest.objects.bulk_create(
        BatchRequest(
            batch=batch,
            index=n,
            line=n + 1,
            custom_id=f"r{n}",
            url=batch.endpoint,
            model=model,
            body=f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{n}"}}]}}',
            run_order=n,
        )
        for n in range(rows)
    )
    BatchRequest.objects.bulk_create(
        BatchRequest(
            batch=batch,
            index=rows + n,
            line=rows + n + 1,
            custom_id=f"copy{n}",
            url=batch.endpoint,
            model=model,
            body="{}",
            duplicate_of=made[0],
        )
        for n in range(copies)
    )
    start = 0
    for size in chunks:
        Chunk.objects.create(batch=batch, model=model, start=start, end=start + size)
        start += size
    return batch


def with_wishes(batch: Batch, **test: object) -> None:
    """Have the test engine treat the batch's requests so: `delay=0.5`."""
    for request in batch.requests.all():
        wishes = {"key": request.custom_id, **test}
        request.body = json.dumps({**json.loads(request.body), "test": wishes})
        request.save(update_fields=["body"])


def external_engine(name: str = "ext") -> Engine:
    """An engine by URL that is ready."""
    return Engine.objects.create(
        name=name,
        kind=Engine.Kind.EXTERNAL,
        base_url="http://127.0.0.1:9",
        state=Engine.State.READY,
    )


def claim_next(engine: Engine, worker: str = "w1") -> Claim | None:
    """What a feeder of that worker claims first, if anything."""
    work = claims.claimable_work(None)
    if not work:
        return None
    return claims.claim(work[0], engine=engine, worker=worker, after=None)


def claimed(engine: Engine) -> Claim:
    """What a feeder claims first; there must be something."""
    claim = claim_next(engine)
    assert claim is not None
    return claim


def answer(claim: Claim, place: int, **over: object) -> Result:
    """A good result for one row of a claim."""
    row = claim.rows[place]
    columns: dict[str, object] = {
        "request_id": row.pk,
        "index": row.index,
        "outcome": Result.Outcome.COMPLETED,
        "status_code": 200,
        "body": '{"id": "x", "choices": []}',
        "input_tokens": 5,
        "output_tokens": 7,
    }
    return Result(**(columns | over))


def counts_match(batch: Batch) -> bool:
    """Whether the batch's counters equal its rows."""
    rows = Result.objects.filter(batch=batch)
    tokens = rows.aggregate(tokens=Sum("output_tokens"))["tokens"] or 0
    return (
        batch.result_seq == rows.count()
        and batch.failed == rows.filter(outcome=Result.Outcome.FAILED).count()
        and batch.output_tokens == tokens
    )
