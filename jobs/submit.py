# SPDX-License-Identifier: Apache-2.0
"""What the API and the browser do with files and batches."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record

from . import lifecycle
from .jsonl import read_lines
from .models import Batch, BatchEvent, BatchFile
from .tasks import poke_stage
from .uploads import SpooledUpload, size_limit

logger = logging.getLogger(__name__)

BATCH_FILE_LIFE = timedelta(days=30)
WINDOW = timedelta(hours=24)
INVALID_FORMAT = "Invalid file format for Batch API. Must be .jsonl"


class Refused(Exception):
    """The request is not acceptable; the message is for the person who made it."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


def store_upload(
    *,
    team: Team,
    user: User | None,
    upload: UploadedFile[Any],
    purpose: str,
    expires_after: int | None = None,
) -> BatchFile:
    """Check a received file, put its bytes into the storage and add its row.

    `expires_after` is in seconds; files for batches live 30 days without it. Refused
    when it is too large or, for a batch, not JSONL; then nothing is left behind.
    """
    spooled = upload if isinstance(upload, SpooledUpload) else None
    size = upload.size or 0
    if size > size_limit(team) or (spooled and spooled.too_large):
        raise Refused("File is too large.")
    if purpose == BatchFile.Purpose.BATCH:
        check_batch_file(upload)
    sha256 = spooled.sha256 if spooled else sha256_of(upload)
    upload.seek(0)
    # A random name: the client's is neither unique nor safe.
    token = secrets.token_hex(16)
    name = default_storage.save(f"uploads/{token[:2]}/{token}", upload)
    life = timedelta(seconds=expires_after) if expires_after else None
    if life is None and purpose == BatchFile.Purpose.BATCH:
        life = BATCH_FILE_LIFE
    now = timezone.now()
    try:
        return BatchFile.objects.create(
            team=team,
            created_by=user,
            filename=upload.name or "upload",
            purpose=purpose,
            bytes=size,
            sha256=sha256,
            storage_name=name,
            created_at=now,
            expires_at=now + life if life else None,
        )
    except BaseException:
        default_storage.delete(name)
        raise


def check_batch_file(upload: UploadedFile[Any]) -> None:
    """Refuse what is clearly no batch file, by its name and first line.

    All further lines are intake's business. A BOM and blank lines may come first.
    """
    if not (upload.name or "").lower().endswith(".jsonl"):
        raise Refused(INVALID_FORMAT)
    if not upload.size:
        raise Refused(f"{INVALID_FORMAT}; the file is empty.")
    upload.seek(0)
    stream: IO[bytes] = upload.file  # type: ignore[assignment]  # uploads are binary
    first = next(read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES), None)
    if first is None or first.data is None:
        # Only blank lines, or a line too long: intake says so, with its number.
        return
    try:
        json.loads(first.data.decode())
    except UnicodeDecodeError as error:
        raise Refused(
            f"{INVALID_FORMAT}; line {first.number} is not UTF-8 text."
        ) from error
    except ValueError as error:
        raise Refused(
            f"{INVALID_FORMAT}; line {first.number} is not valid JSON."
        ) from error
    except RecursionError:
        return


def sha256_of(upload: UploadedFile[Any]) -> str:
    """Hex digest of a file that was not hashed while it came in."""
    digest = hashlib.sha256()
    upload.seek(0)
    for chunk in upload.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def open_content(file: BatchFile) -> File[bytes]:
    """The bytes of a file; FileNotFoundError when they are gone. The caller closes it."""
    return default_storage.open(file.storage_name)


def delete_file(
    *, file: BatchFile, user: User | None, address: str | None = None
) -> bool:
    """Delete the bytes and keep the row, so that batches still name the file.

    False when somebody else deleted it first.
    """
    with transaction.atomic():
        won = (
            BatchFile.objects.present()
            .filter(pk=file.pk)
            .update(deleted_at=timezone.now())
        )
        if won != 1:
            return False
        record(
            action="file.delete",
            actor=user,
            team=file.team,
            target=file.public_id,
            address=address,
        )
        transaction.on_commit(lambda: _delete_bytes(file))
    return True


def _delete_bytes(file: BatchFile) -> None:
    """Remove the bytes; the file counts as deleted even when the storage fails."""
    try:
        default_storage.delete(file.storage_name)
    except Exception:
        logger.exception(
            "The bytes of %s stay in the storage as %s.",
            file.public_id,
            file.storage_name,
        )


def create_batch(
    *,
    team: Team,
    user: User | None,
    input_file_id: str,
    endpoint: str,
    completion_window: str = "24h",
    metadata: dict[str, str] | None = None,
    output_expires_after: int | None = None,
    dedupe: bool = True,
    name: str = "",
    tags: Sequence[str] = (),
    priority: int = 0,
    parent: Batch | None = None,
    webhook_url: str = "",
) -> Batch:
    """Make a batch in `validating` and wake a control worker for it.

    An input file that the team does not have makes a batch all the same: intake fails
    it and says why, as OpenAI does. `output_expires_after` is in seconds after the
    output file's creation.
    """
    now = timezone.now()
    with transaction.atomic():
        batch = Batch.objects.create(
            team=team,
            owner=user,
            name=name,
            tags=list(tags),
            priority=priority,
            dedupe=dedupe,
            parent=parent,
            webhook_url=webhook_url,
            endpoint=endpoint,
            completion_window=completion_window,
            metadata=metadata,
            output_expires_after=output_expires_after,
            input_file_ref=input_file_id,
            input_file=BatchFile.objects.visible_to_team(team).find(input_file_id),
            created_at=now,
            expires_at=now + WINDOW,
        )
        BatchEvent.objects.create(
            batch=batch, kind="status", new_status=Batch.Status.VALIDATING
        )
        poke_stage(batch.pk)
    return batch


def cancel_batch(
    *, batch: Batch, user: User | None, address: str | None = None
) -> Batch:
    """Ask for the end of a batch and wake a control worker; repeating it is harmless.

    Raises lifecycle.CannotCancel when the batch has ended or is about to.
    """
    if batch.status in (Batch.Status.CANCELLING, Batch.Status.CANCELLED):
        return batch
    with transaction.atomic():
        batch = lifecycle.cancel(batch, message=f"asked for by {user}" if user else "")
        record(
            action="batch.cancel",
            actor=user,
            team=batch.team,
            target=batch.public_id,
            address=address,
        )
        poke_stage(batch.pk)
    return batch
