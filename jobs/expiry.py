# SPDX-License-Identifier: Apache-2.0
"""What goes by itself: expired files, uploads past their hour, bytes that nobody names."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from batchsite.accounts.installation import ensure_row

from . import file_store, parts
from .models import Batch, BatchFile, Upload, UploadPart

# A chore ends within a minute; what is left waits for the next turn.
TURN_SECONDS = 45
SLICE = 500
# Nobody stores bytes and names them a day later.
UNNAMED_LIFE = timedelta(days=1)
# The folders of the storage in which each file has a row.
FOLDERS = ("uploads", "parts", "results", "reports")


def files_to_remove() -> bool:
    """Whether any file's time is over."""
    return BatchFile.objects.removable().exists()


def remove_expired_files(*, seconds: float = TURN_SECONDS) -> str:
    """Remove the bytes of files whose time is over, each with a line in the audit log.

    Their rows stay, as those of deleted files do. Stops after `seconds`.
    """
    end, removed, newest = time.monotonic() + seconds, 0, 0
    files = BatchFile.objects.removable().select_related("team").order_by("pk")
    while time.monotonic() < end and (
        found := list(files.filter(pk__gt=newest)[:SLICE])
    ):
        for file in found:
            if time.monotonic() >= end:
                break
            removed += file_store.remove(file, action="file.expire")
            newest = file.pk
    return f"{removed} expired files removed"


def uploads_to_expire() -> bool:
    """Whether any upload's hour is over."""
    return Upload.objects.overdue().exists()


def expire_uploads(*, seconds: float = TURN_SECONDS) -> str:
    """End the uploads whose hour is over; their parts go. Stops after `seconds`."""
    end, expired, newest = time.monotonic() + seconds, 0, 0
    uploads = Upload.objects.overdue().order_by("pk")
    while time.monotonic() < end and (
        found := list(uploads.filter(pk__gt=newest)[:SLICE])
    ):
        for upload in found:
            if time.monotonic() >= end:
                break
            expired += parts.expire_upload(upload)
            newest = upload.pk
    return f"{expired} uploads expired"


def sweep_storage(*, seconds: float = TURN_SECONDS) -> str:
    """Remove bytes that no row names and that are older than a day.

    Processes that were killed leave them, and storages that failed to delete. Bytes
    from before the database was set up stay: a new database beside old files is an
    operator's mistake, which must cost nothing. The folders come in random order, so
    that turns cut short reach all of them in time.
    """
    end, removed = time.monotonic() + seconds, 0
    period = (ensure_row().created_at, timezone.now() - UNNAMED_LIFE)
    shelves = list(_shelves())
    random.shuffle(shelves)
    for shelf in shelves:
        if time.monotonic() >= end:
            break
        removed += _sweep_shelf(shelf, *period)
    return f"{removed} files that nobody names removed"


def _shelves() -> Iterator[str]:
    """The storage's folders and those in them, which hold the files."""
    for folder in FOLDERS:
        try:
            inner = default_storage.listdir(folder)[0]
        except FileNotFoundError:
            continue
        yield folder
        yield from (f"{folder}/{name}" for name in inner)


def _sweep_shelf(shelf: str, after: datetime, before: datetime) -> int:
    names = [f"{shelf}/{name}" for name in default_storage.listdir(shelf)[1]]
    removed = 0
    for start in range(0, len(names), SLICE):
        some = names[start : start + SLICE]
        named = _named(some)
        # Only now the time is asked for: each answer is a call to a remote storage.
        for name in (one for one in some if one not in named):
            if _written_between(name, after, before):
                file_store.delete_bytes([name])
                removed += 1
    return removed


def _named(names: list[str]) -> set[str]:
    """Those that a row needs; a deleted file's row does not."""
    files = BatchFile.objects.filter(storage_name__in=names, deleted_at__isnull=True)
    pieces = UploadPart.objects.filter(storage_name__in=names)
    # A report is BATCH-ROLE-EPOCH: its own name has no index.
    owners = {name.rpartition("/")[2].rsplit("-", 2)[0] for name in names}
    reports = Batch.objects.filter(public_id__in=owners)
    return {
        *files.values_list("storage_name", flat=True),
        *pieces.values_list("storage_name", flat=True),
        *reports.values_list("error_report", flat=True),
    }


def _written_between(name: str, after: datetime, before: datetime) -> bool:
    try:
        return bool(after < default_storage.get_modified_time(name) < before)
    except FileNotFoundError:
        return False
