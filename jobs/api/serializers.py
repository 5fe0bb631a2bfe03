# SPDX-License-Identifier: Apache-2.0
"""Rows as OpenAI's objects: every field present, times in whole unix seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from jobs.estimates import Estimate
from jobs.eta import Eta
from jobs.ids import event_id
from jobs.models import Batch, BatchEvent, BatchFile, ServedModel, Upload, UploadPart
from jobs.row_checks import Said, Tally
from jobs.standing import Standing

# OpenAI takes the purpose `evals`, and its published file object has no such value:
# clients that check it would stumble over the whole list.
SHOWN_PURPOSES = {BatchFile.Purpose.EVALS.value: BatchFile.Purpose.USER_DATA.value}


def unix(moment: datetime | None) -> int | None:
    """Whole seconds since 1970, or None."""
    return None if moment is None else int(moment.timestamp())


def file_object(file: BatchFile) -> dict[str, Any]:
    """OpenAI's file object."""
    return {
        "id": file.public_id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": unix(file.created_at),
        "expires_at": unix(file.expires_at),
        "filename": file.filename,
        "purpose": SHOWN_PURPOSES.get(file.purpose, file.purpose),
        "status": file.status,
        "status_details": None,
    }


def file_deleted(file: BatchFile) -> dict[str, Any]:
    """OpenAI's answer to a deletion."""
    return {"id": file.public_id, "object": "file", "deleted": True}


def upload_object(upload: Upload) -> dict[str, Any]:
    """OpenAI's upload object; `file` once it is completed."""
    return {
        "id": upload.public_id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": unix(upload.created_at),
        "expires_at": unix(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": upload.file and file_object(upload.file),
    }


def part_object(part: UploadPart) -> dict[str, Any]:
    """OpenAI's object of an upload's part."""
    return {
        "id": part.public_id,
        "object": "upload.part",
        "created_at": unix(part.created_at),
        "upload_id": part.upload.public_id,
    }


def batch_object(
    batch: Batch,
    place: Standing | None,
    checks: Sequence[Tally] = (),
    *,
    with_params: bool = False,
) -> dict[str, Any]:
    """OpenAI's batch object; see `Batch.objects.for_api()`.

    A deleted output file keeps its id here. `place` is where a batch that is not
    finished stands in the queue. What OpenAI does not have is in `batchsite`; the
    checks' parameters, which may be long, only where they are asked for.
    """
    return {
        "id": batch.public_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": batch.errors,
        "input_file_id": batch.input_file_ref,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": id_of(batch, "output_file"),
        "error_file_id": id_of(batch, "error_file"),
        "created_at": unix(batch.created_at),
        "in_progress_at": unix(batch.in_progress_at),
        "expires_at": unix(batch.expires_at),
        "finalizing_at": unix(batch.finalizing_at),
        "completed_at": unix(batch.completed_at),
        "failed_at": unix(batch.failed_at),
        "expired_at": unix(batch.expired_at),
        "cancelling_at": unix(batch.cancelling_at),
        "cancelled_at": unix(batch.cancelled_at),
        "request_counts": {
            "total": batch.total,
            "completed": batch.completed,
            "failed": batch.failed,
        },
        "usage": usage(batch),
        "metadata": batch.metadata,
        "batchsite": {
            **extensions(batch, place),
            "checks": [check_object(one, with_params=with_params) for one in checks],
        },
    }


def extensions(batch: Batch, place: Standing | None) -> dict[str, Any]:
    """The fields of a batch that are Batchsite's own."""
    return {
        "name": batch.name,
        "tags": batch.tags,
        "priority": batch.priority,
        "paused": batch.paused,
        "dedupe": batch.dedupe,
        "output_order": batch.output_order,
        "allow_mixed_models": batch.allow_mixed_models,
        "webhook_url": batch.webhook_url or None,
        "parent_id": id_of(batch, "parent"),
        "derivation": batch.derivation,
        "result_seq": batch.result_seq,
        "queue": place
        and {
            "position": place.position,
            "expected_start": place.expected_start,
            "blocked_reason": place.blocked_reason,
        },
        "eta": eta_object(place.eta) if place and place.eta else None,
        "stalled_since": unix(batch.stalled_since),
        "deadline_at_risk": place is not None and place.at_risk,
    }


def check_object(tally: Tally, *, with_params: bool) -> dict[str, Any]:
    """A check of a batch and its counts; `checked` is their sum."""
    check = tally.check
    return {
        "name": check.name,
        "kind": check.kind,
        "params": json.loads(check.params) if with_params else None,
        "checked": check.checked_seq,
        "passed": check.passed,
        "failed": check.failed,
        "not_applicable": check.not_applicable,
        "errors": check.errors,
    }


def said_object(said: Sequence[Said]) -> dict[str, Any]:
    """What the checks said of one row; the outcome is null until a check saw it."""
    return {
        one.name: {
            "outcome": one.outcome and one.outcome.value,
            "reason": one.reason or None,
        }
        for one in said
    }


def id_of(batch: Batch, relation: str) -> str | None:
    """The public id of a related file or batch; no query after `for_api()`."""
    if getattr(batch, f"{relation}_id") is None:
        return None
    known: str | None = getattr(batch, f"{relation}_public_id", None)
    return known or getattr(batch, relation).public_id


def event_object(event: BatchEvent) -> dict[str, Any]:
    """One entry of a batch's history; its id is also the one that webhooks carry."""
    return {
        "id": event_id(event.pk),
        "object": "batch.event",
        "created_at": unix(event.created_at),
        "kind": event.kind,
        "old_status": event.old_status or None,
        "new_status": event.new_status or None,
        "message": event.message or None,
        "data": event.data,
    }


def estimate_object(found: Estimate) -> dict[str, Any]:
    """What a file will cost, in whole seconds; the range is rounded outwards."""
    return asdict(found) | {
        "seconds": None if found.seconds is None else round(found.seconds),
        "seconds_low": _floor(found.seconds_low),
        "seconds_high": _ceil(found.seconds_high),
    }


def eta_object(found: Eta) -> dict[str, Any]:
    """When the last answer is expected, in whole seconds from now, or why not known."""
    return {
        "seconds_low": _floor(found.low),
        "seconds_high": _ceil(found.high),
        "reason": found.reason or None,
    }


def _floor(seconds: float | None) -> int | None:
    return None if seconds is None else math.floor(seconds)


def _ceil(seconds: float | None) -> int | None:
    return None if seconds is None else math.ceil(seconds)


def usage(batch: Batch) -> dict[str, Any] | None:
    """Tokens so far; None before the first result, and for a file that was no input."""
    if not batch.result_seq:
        return None
    return {
        "input_tokens": batch.input_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.output_tokens,
        "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
        "total_tokens": batch.input_tokens + batch.output_tokens,
    }


def model_object(model: ServedModel) -> dict[str, Any]:
    """OpenAI's model object; an adapter's names its base as vLLM does."""
    return {
        "id": model.name,
        "object": "model",
        "created": unix(model.created_at),
        "owned_by": "batchsite",
        "parent": model.base.name if model.base else None,
    }


def list_object(data: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page of a list; the next one starts after `last_id`."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
