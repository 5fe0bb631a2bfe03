# SPDX-License-Identifier: Apache-2.0
"""Files in the storage: checked, stored, opened, removed.

A file's row names its bytes. The bytes come first and go last, so that a process that
is killed leaves at most bytes that no row names; `jobs.expiry` sweeps them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import IO, Any

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.db import Error as DatabaseError
from django.db import transaction
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import record

from . import disks, limits
from .jsonl import read_lines
from .models import BatchFile
from .refusals import Refused
from .uploads import TOO_LARGE, SpooledUpload, size_limit

logger = logging.getLogger(__name__)

BATCH_FILE_LIFE = timedelta(days=30)
# Of the team's files, so many are looked through for one that was sent twice.
NEWEST = 50
INVALID_FORMAT = "Invalid file format for Batch API. Must be .jsonl"


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
    when it is too large, when the team has no room, when a disk has none, or, for a
    batch, when it is not JSONL; then nothing is left behind.
    """
    disks.check()
    check_upload(upload, team=team, purpose=purpose)
    limits.check_storage(team=team, more=upload.size or 0)
    with stored(upload, "uploads") as name:
        file = as_row(
            team=team,
            user=user,
            upload=upload,
            purpose=purpose,
            storage_name=name,
            expires_after=expires_after,
        )
        add_row(file)
    return file


def store_once(
    *,
    team: Team,
    user: User,
    upload: SpooledUpload,
    purpose: str,
    expires_after: int | None = None,
) -> BatchFile:
    """As store_upload; of a form that was sent twice the file that the first one stored."""
    newest = BatchFile.objects.visible_to_team(team).order_by("-id")[:NEWEST]
    for known in newest:
        same = (known.sha256, known.purpose, known.filename, known.created_by_id)
        if same == (upload.sha256, purpose, upload.name, user.pk):
            return known
    return store_upload(
        team=team,
        user=user,
        upload=upload,
        purpose=purpose,
        expires_after=expires_after,
    )


def add_row(file: BatchFile) -> None:
    """Insert the row of a stored file; Refused when the team has no room for it."""
    with transaction.atomic():
        limits.lock_storage(file.team)
        limits.check_storage(team=file.team, more=file.bytes)
        file.save(force_insert=True)


def check_upload(upload: UploadedFile[Any], *, team: Team, purpose: str) -> None:
    """Refused when a received file is too large for the team or no file of its purpose."""
    cut = isinstance(upload, SpooledUpload) and upload.too_large
    if cut or (upload.size or 0) > size_limit(team):
        raise Refused(TOO_LARGE)
    if purpose == BatchFile.Purpose.BATCH:
        check_batch_file(upload)


def check_batch_name(name: str) -> None:
    """Refuse a name that no batch file has."""
    if not name.lower().endswith(".jsonl"):
        raise Refused(INVALID_FORMAT)


def check_batch_file(upload: UploadedFile[Any]) -> None:
    """Refuse what is clearly no batch file, by its name and first line.

    All further lines are intake's business. A BOM and blank lines may come first.
    """
    check_batch_name(upload.name or "")
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


@contextlib.contextmanager
def stored(upload: UploadedFile[Any], folder: str) -> Iterator[str]:
    """Save the bytes; gives their storage name, which a row must name in the block.

    They go again when the block or the saving fails: a full disk leaves a part of the
    file. Not after a database error, which may hide a COMMIT that was made: then a
    sweep asks which bytes are named, a day later.
    """
    upload.seek(0)
    # A random name: the client's is neither unique nor safe.
    token = secrets.token_hex(16)
    name = f"{folder}/{token[:2]}/{token}"
    try:
        name = default_storage.save(name, upload)
        yield name
    except DatabaseError:
        raise
    except BaseException:
        delete_bytes([name])
        raise


@contextlib.contextmanager
def pending(
    upload: SpooledUpload, *, team: Team, user: User | None
) -> Iterator[Callable[[], BatchFile]]:
    """Put a batch's input that the server wrote into the storage; gives what adds its row.

    The bytes go again when there is no row after the block. Who is killed before leaves
    bytes that no row names, for the sweep, and no file that nobody asked for.
    """
    purpose = BatchFile.Purpose.BATCH
    check_upload(upload, team=team, purpose=purpose)
    with stored(upload, "uploads") as name:

        def add() -> BatchFile:
            file = as_row(
                team=team,
                user=user,
                upload=upload,
                purpose=purpose,
                storage_name=name,
                expires_after=None,
            )
            add_row(file)
            return file

        yield add
        if not BatchFile.objects.filter(storage_name=name).exists():
            delete_bytes([name])


def as_row(
    *,
    team: Team,
    user: User | None,
    upload: UploadedFile[Any],
    purpose: str,
    storage_name: str,
    expires_after: int | None,
) -> BatchFile:
    """The row of a stored file, not saved yet; `expires_after` is in seconds."""
    sha256, lines = measured(upload)
    life = timedelta(seconds=expires_after) if expires_after else None
    if life is None and purpose == BatchFile.Purpose.BATCH:
        life = BATCH_FILE_LIFE
    now = timezone.now()
    return BatchFile(
        team=team,
        created_by=user,
        filename=upload.name or "upload",
        purpose=purpose,
        bytes=upload.size or 0,
        lines=lines,
        sha256=sha256,
        storage_name=storage_name,
        created_at=now,
        expires_at=now + life if life else None,
    )


def measured(upload: UploadedFile[Any]) -> tuple[str, int]:
    """SHA-256 as hex and number of line ends; read only if not counted on arrival."""
    if isinstance(upload, SpooledUpload):
        return upload.sha256, upload.lines
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    upload.seek(0)
    for chunk in upload.chunks():
        digest.update(chunk)
        lines += chunk.count(b"\n")
        last = chunk[-1:] or last
    return digest.hexdigest(), lines + (last != b"\n")


def open_content(
    *, file: BatchFile, user: User | None, address: str | None = None
) -> File[bytes]:
    """The bytes of a file for somebody, noted in the audit log. The caller closes it.

    FileNotFoundError when they are gone.
    """
    content = default_storage.open(file.storage_name)
    record(
        action="file.download",
        actor=user,
        team=file.team,
        target=file.public_id,
        address=address,
    )
    return content


def delete_file(
    *, file: BatchFile, user: User | None, address: str | None = None
) -> bool:
    """Delete the bytes and keep the row, so that batches still name the file.

    False when somebody else deleted it first.
    """
    return remove(file, action="file.delete", actor=user, address=address)


def remove(file: BatchFile, *, action: str, **who: Any) -> bool:
    """Mark the file as deleted, with a line in the audit log; then its bytes go.

    `who` is what `record` takes. False when somebody else did it first.
    """
    with transaction.atomic():
        won = BatchFile.objects.filter(pk=file.pk, deleted_at__isnull=True).update(
            deleted_at=timezone.now()
        )
        if won != 1:
            return False
        who.setdefault("actor", None)
        record(action=action, team=file.team, target=file.public_id, **who)
        transaction.on_commit(lambda: delete_bytes([file.storage_name]))
    return True


def delete_bytes(names: Iterable[str]) -> None:
    """Remove bytes that no row needs; what the storage keeps is left to the sweep."""
    for name in names:
        try:
            default_storage.delete(name)
        except Exception:
            logger.exception("The bytes %s stay in the storage.", name)
