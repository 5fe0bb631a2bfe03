# SPDX-License-Identifier: Apache-2.0
"""Running rows of an ended batch once more, as a child batch with an input file of its own.

The rows come from the database, so that the parent's files may be gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models.functions import Length

from batchsite.accounts.models import User
from batchsite.accounts.people import record

from . import derivation, disks, file_store, gates, limits, output, row_checks, submit
from .models import Batch, BatchFile, BatchRequest, Result
from .refusals import Refused
from .rewriting import Rewrite
from .uploads import SpooledUpload, size_limit

# Some databases take no more than about 1,000 parameters.
IDS_AT_ONCE = 500
# What a child has of its parent unless it is told otherwise.
INHERITED = (
    "name",
    "tags",
    "priority",
    "dedupe",
    "output_order",
    "allow_mixed_models",
    "webhook_url",
    "metadata",
    "output_expires_after",
)


@contextmanager
def prepared(
    *,
    parent: Batch,
    user: User | None,
    custom_ids: Sequence[str] | None = None,
    model: str | None = None,
    body: Mapping[str, Any] | None = None,
    system_prompt: str | None = None,
    over: Mapping[str, Any] | None = None,
    address: str | None = None,
) -> Iterator[Callable[[], Batch]]:
    """What makes the child batch, to be called in the block.

    Its rows are the failed ones of an ended batch, or those with these custom ids, in a
    new input file, which becomes known together with the batch and goes again when the
    block makes none. `model`, the members of `body` (None removes one) and
    `system_prompt` are changed in each request. `over` are further arguments of
    submit.create_batch; the rest is as in the parent, and the time counts anew. Refused
    when the parent has not ended, has no such rows, or when the file would be too large
    for the team or a disk is nearly full; LimitReached when the team or this process has no room for it.
    """
    _check(parent, system_prompt)
    disks.check()
    members = {**(body or {}), **({} if model is None else {"model": model})}
    rewrite = Rewrite(members, system_prompt)
    keys = _chosen(parent, custom_ids)
    inherited = {name: getattr(parent, name) for name in INHERITED}
    inherited["checks"] = row_checks.definitions_of(parent)
    limits.check_room(
        team=parent.team, lines=parent.failed if keys is None else len(keys)
    )
    with (
        gates.place(gates.FILES_WRITTEN, "writing other files"),
        _spooled(parent, keys, rewrite) as (spool, rows),
        file_store.pending(spool, team=parent.team, user=user) as named,
    ):
        made = derivation.of_retry(
            parent.public_id,
            chosen=custom_ids is not None,
            count=rows,
            model=model,
            body=body,
            system_prompt=system_prompt,
        )
        arguments = inherited | dict(over or {}) | {"derivation": made}
        yield lambda: _child(
            parent, named, user=user, address=address, arguments=arguments
        )


def retry_failed(
    *, batch: Batch, user: User | None, address: str | None = None
) -> Batch:
    """All failed requests of an ended batch once more, unchanged; Refused as `prepared`."""
    if not may_retry(batch) or not batch.failed:
        raise Refused("no request of an ended batch failed")
    with prepared(parent=batch, user=user, address=address) as make:
        return make()


def may_retry(batch: Batch) -> bool:
    """Whether the batch has ended and left requests that can run once more."""
    return batch.is_terminal and batch.total > 0


def _child(
    parent: Batch,
    named: Callable[[], BatchFile],
    *,
    user: User | None,
    address: str | None,
    arguments: Mapping[str, Any],
) -> Batch:
    """The file's row, the batch and its line in the audit log, in one transaction."""
    with transaction.atomic():
        child = submit.create_batch(
            team=parent.team,
            user=user,
            input_file_id=named().public_id,
            endpoint=parent.endpoint,
            parent=parent,
            **arguments,
        )
        record(
            action="batch.retry",
            actor=user,
            team=parent.team,
            target=parent.public_id,
            address=address,
            child=child.public_id,
        )
    return child


def _check(parent: Batch, system_prompt: str | None) -> None:
    if not parent.is_terminal:
        raise Refused(
            f"Batch {parent.public_id} has status '{parent.status}'; a retry needs a batch"
            " that has ended."
        )
    if parent.total == 0:
        raise Refused(f"Batch {parent.public_id} has no requests to retry.")
    if system_prompt is not None and parent.endpoint != "/v1/chat/completions":
        raise Refused(
            "Only batches for /v1/chat/completions have a system prompt; change"
            f" 'body' for {parent.endpoint}.",
            param="system_prompt",
            code="invalid_value",
        )


def _chosen(parent: Batch, custom_ids: Sequence[str] | None) -> list[int] | None:
    """The indexes of the rows with these ids, in input order; None: the failed ones."""
    if custom_ids is None:
        if not Result.objects.filter(
            batch=parent, outcome=Result.Outcome.FAILED
        ).exists():
            raise Refused(f"Batch {parent.public_id} has no failed requests to retry.")
        return None
    found: dict[str, int] = {}
    for at in range(0, len(custom_ids), IDS_AT_ONCE):
        part = custom_ids[at : at + IDS_AT_ONCE]
        rows = BatchRequest.objects.filter(batch=parent, custom_id__in=part)
        found |= dict(rows.values_list("custom_id", "index"))
    for custom_id in custom_ids:
        if custom_id not in found:
            raise Refused(
                f"Batch {parent.public_id} has no request with custom_id"
                f" '{custom_id[:200]}'.",
                param="custom_ids",
                code="invalid_value",
            )
    return sorted(found.values())


def _requests(parent: Batch, keys: list[int] | None) -> Iterator[BatchRequest]:
    """The rows in input order, read in pages of 500 rows or 4 MB."""
    for page in _failed(parent) if keys is None else _slices(keys):
        rows = BatchRequest.objects.filter(batch=parent, index__in=page)
        sizes = list(rows.order_by("index").values_list("index", Length("body")))
        while sizes:
            fit = output.fitting(size for _, size in sizes)
            yield from rows.filter(
                index__gte=sizes[0][0], index__lte=sizes[fit - 1][0]
            ).order_by("index")
            sizes = sizes[fit:]


def _slices(keys: list[int]) -> Iterator[list[int]]:
    for at in range(0, len(keys), IDS_AT_ONCE):
        yield keys[at : at + IDS_AT_ONCE]


def _failed(parent: Batch) -> Iterator[list[int]]:
    """The indexes of the failed rows, by keyset."""
    failed = Result.objects.failed().filter(batch=parent)
    indexes = failed.order_by("index").values_list("index", flat=True)
    last = -1
    while page := list(indexes.filter(index__gt=last)[:IDS_AT_ONCE]):
        yield page
        last = page[-1]


@contextmanager
def _spooled(
    parent: Batch, keys: list[int] | None, rewrite: Rewrite
) -> Iterator[tuple[SpooledUpload, int]]:
    """The new input file in the spool, and its number of rows."""
    spool = SpooledUpload(
        name=f"{parent.public_id}_retry.jsonl",
        content_type="application/jsonl",
        charset=None,
    )
    rows, limit = 0, size_limit(parent.team)
    try:
        for request in _requests(parent, keys):
            line = _line(request, rewrite)
            spool.take(line)
            spool.size = (spool.size or 0) + len(line)
            rows += 1
            if (spool.size or 0) > limit:
                raise Refused(
                    "The requests to retry make a file that is larger than"
                    f" {limit:,} bytes; choose fewer by 'custom_ids'."
                )
        yield spool, rows
    finally:
        spool.close()


def _line(request: BatchRequest, rewrite: Rewrite) -> bytes:
    """The request as a line of an input file; its body as it was stored."""
    head = json.dumps(
        {"custom_id": request.custom_id, "method": "POST", "url": request.url}
    )
    try:
        body = rewrite.apply(request.body)
    except RecursionError as error:
        raise Refused(
            f"The request with custom_id '{request.custom_id[:200]}' is nested too deeply"
            " to be changed."
        ) from error
    return f'{head[:-1]}, "body": {body}}}\n'.encode()
