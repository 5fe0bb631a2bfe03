# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Uploads: a file that arrives in parts, and is a file once it is complete.

A part's bytes are stored before its row is, and the file's before the move that makes
it one: killed in between, a process leaves bytes that no row names, for the sweep.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from django.core.files.storage import default_storage
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from batchsite.accounts.models import Team, User

from . import disks, gates, limits
from .file_store import as_row, check_batch_name, check_upload, delete_bytes, stored
from .models import BatchFile, Upload, UploadPart
from .models.uploads import UPLOAD_LIFE
from .refusals import Refused
from .uploads import TOO_LARGE, SpooledUpload, printable_name, size_limit

Status = Upload.Status
# 8 GB in pieces of 64 MB are 120; so that ending an upload stays a small transaction.
MOST_PARTS = 1000
MOST_PENDING = 100
PIECE_BYTES = 1 << 20


class Ended(Exception):
    """The upload left `pending` while something was done for it."""


def create_upload(
    *,
    team: Team,
    user: User | None,
    filename: str,
    purpose: str,
    size: int,
    mime_type: str,
    expires_after: int | None = None,
) -> Upload:
    """An upload that waits for its parts, `size` bytes in all, for an hour.

    `expires_after` is the file's life in seconds. Refused when the file would be, or a
    disk has no room for it, and LimitReached when the team has MOST_PENDING already.
    """
    name = printable_name(filename)
    if not name:
        raise Refused(
            "Invalid 'filename': nothing is left of it without path and control"
            " characters.",
            param="filename",
            code="invalid_value",
        )
    if size > size_limit(team):
        raise Refused(TOO_LARGE)
    if purpose == BatchFile.Purpose.BATCH:
        check_batch_name(name)
    disks.check(size)
    for overdue in Upload.objects.overdue().filter(team=team):
        expire_upload(overdue)
    with transaction.atomic():
        limits.lock_storage(team)
        _check_pending(team)
        limits.check_storage(team=team, more=size)
        now = timezone.now()
        return Upload.objects.create(
            team=team,
            created_by=user,
            filename=name,
            purpose=purpose,
            mime_type=mime_type,
            bytes=size,
            expires_after=expires_after,
            created_at=now,
            expires_at=now + UPLOAD_LIFE,
        )


def _check_pending(team: Team) -> None:
    """LimitReached when the team has as many pending uploads as it may."""
    count = Upload.objects.filter(team=team, status=Status.PENDING).count()
    if count >= MOST_PENDING:
        raise limits.LimitReached(
            f"{team} has {count} pending uploads, and {MOST_PENDING} are allowed."
            " Please complete or cancel some, or try again once they have expired."
        )


def add_part(*, upload: Upload, data: SpooledUpload) -> UploadPart:
    """Store some bytes of a pending upload.

    Bytes that it already has are the part that they were: a client which did not get
    the answer sends them again. Refused when they are more than was announced.
    """
    _must_be_pending(upload, "add a part to")
    if data.too_large:
        raise Refused("Part is too large: 64 MB at most.", param="data")
    if not data.size:
        raise Refused("Part is empty.", param="data")
    if known := upload.parts.filter(sha256=data.sha256).first():
        return known
    try:
        with stored(data, "parts") as name, transaction.atomic():
            return _new_part(upload, data, name)
    except Known as known_now:
        return known_now.part
    except Ended:
        raise _refusal(upload, "add a part to") from None


class Known(Exception):
    """Somebody stored the same bytes a moment ago."""

    def __init__(self, part: UploadPart) -> None:
        super().__init__(part.public_id)
        self.part = part


def _new_part(upload: Upload, data: SpooledUpload, name: str) -> UploadPart:
    """Insert the row, with the upload's row locked: parts may come in parallel."""
    pending = Upload.objects.select_for_update().filter(
        pk=upload.pk, status=Status.PENDING
    )
    if not pending.exists():
        raise Ended
    if known := upload.parts.filter(sha256=data.sha256).first():
        raise Known(known)
    size = data.size or 0
    count = upload.parts.count()
    so_far = upload.parts.aggregate(sum=Sum("bytes"))["sum"] or 0
    if so_far + size > upload.bytes:
        raise Refused(
            f"The parts are larger than the upload: with this one they have"
            f" {so_far + size} bytes, and {upload.bytes} were declared.",
            param="data",
        )
    if count >= MOST_PARTS:
        raise Refused(f"An upload has {MOST_PARTS} parts at most.", param="data")
    return UploadPart.objects.create(
        upload=upload, bytes=size, sha256=data.sha256, storage_name=name
    )


def complete_upload(
    *, upload: Upload, part_ids: Sequence[str], md5: str | None = None
) -> Upload:
    """Make the file of the parts, in the order of their ids.

    Repeating it answers the upload that was completed. Refused when a part is unknown,
    when size or MD5 (hex) is not the announced one, and when the file would be;
    LimitReached while this process joins as many others as it may.
    """
    if upload.status == Status.COMPLETED:
        return upload
    _must_be_pending(upload, "complete")
    disks.check(upload.bytes)
    try:
        parts = _in_order(upload, part_ids)
        with (
            gates.place(gates.FILES_WRITTEN, "writing other files", size=upload.bytes),
            _joined(upload, parts, md5) as data,
        ):
            check_upload(data, team=upload.team, purpose=upload.purpose)
            with stored(data, "uploads") as name, transaction.atomic():
                file = as_row(
                    team=upload.team,
                    user=upload.created_by,
                    upload=data,
                    purpose=upload.purpose,
                    storage_name=name,
                    expires_after=upload.expires_after,
                )
                file.save(force_insert=True)
                _end(upload, Status.COMPLETED, file=file)
    except (Ended, FileNotFoundError, Refused):
        # Parts and their bytes go with the end of the upload, which may be just now.
        upload.refresh_from_db()
        if upload.status == Status.COMPLETED:
            return upload
        _must_be_pending(upload, "complete")
        raise
    upload.refresh_from_db()
    return upload


def cancel_upload(*, upload: Upload) -> Upload:
    """End a pending upload without a file; repeating it is harmless."""
    if upload.status != Status.CANCELLED:
        _must_be_pending(upload, "cancel")
        with contextlib.suppress(Ended), transaction.atomic():
            _end(upload, Status.CANCELLED)
        upload.refresh_from_db()
        if upload.status != Status.CANCELLED:
            raise _refusal(upload, "cancel")
    return upload


def expire_upload(upload: Upload) -> bool:
    """End an upload whose hour is over; False when it ended otherwise."""
    try:
        with transaction.atomic():
            _end(upload, Status.EXPIRED)
    except Ended:
        return False
    return True


def _end(upload: Upload, status: str, *, file: BatchFile | None = None) -> None:
    """Move a pending upload to its last status; its parts go. Ended if it is not pending.

    Within a transaction of the caller, which Ended must roll back.
    """
    won = Upload.objects.filter(pk=upload.pk, status=Status.PENDING).update(
        status=status, file=file
    )
    if won != 1:
        raise Ended
    names = list(upload.parts.values_list("storage_name", flat=True))
    upload.parts.all().delete()
    transaction.on_commit(lambda: delete_bytes(names))


def _must_be_pending(upload: Upload, verb: str) -> None:
    """Refused for an upload that ended, also if nobody noticed that its hour is over."""
    if upload.status == Status.PENDING and upload.expires_at <= timezone.now():
        expire_upload(upload)
        upload.refresh_from_db()
    if upload.status != Status.PENDING:
        raise _refusal(upload, verb)


def _refusal(upload: Upload, verb: str) -> Refused:
    upload.refresh_from_db(fields=["status"])
    return Refused(f"Cannot {verb} an upload with status '{upload.status}'.")


def _in_order(upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    """The parts with these ids; one whose bytes come twice is named twice."""
    known = {part.public_id: part for part in upload.parts.all()}
    for number, public_id in enumerate(part_ids):
        if public_id not in known:
            raise Refused(
                f"Invalid 'part_ids[{number}]': this upload has no such part.",
                param=f"part_ids[{number}]",
                code="invalid_value",
            )
    return [known[public_id] for public_id in part_ids]


@contextlib.contextmanager
def _joined(
    upload: Upload, parts: Sequence[UploadPart], md5: str | None
) -> Iterator[SpooledUpload]:
    """The whole file in the spool; Refused when it is not what was announced."""
    total = sum(part.bytes for part in parts)
    if total != upload.bytes:
        raise Refused(
            f"The parts have {total} bytes together, and {upload.bytes} were declared.",
            param="part_ids",
        )
    with contextlib.closing(
        SpooledUpload(name=upload.filename, content_type=upload.mime_type, charset=None)
    ) as data:
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            with default_storage.open(part.storage_name) as content:
                while piece := content.read(PIECE_BYTES):
                    data.take(piece)
                    digest.update(piece)
        if md5 is not None and md5.lower() != digest.hexdigest():
            raise Refused(
                f"The MD5 of the parts is {digest.hexdigest()}, not the one given.",
                param="md5",
                code="invalid_value",
            )
        data.size = total
        yield data
