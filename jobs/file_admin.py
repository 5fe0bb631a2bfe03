# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Files and uploads in the admin, to read."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin
from django.urls import reverse

from batchsite.accounts.admin_lists import Scope
from batchsite.accounts.admin_parts import Link, listed, shown

from .admin_tables import ReadOnly, hostile, rows_of
from .models import Batch, BatchFile, Upload, UploadPart

ID_SEARCH = (
    "Its id finds a row. Anything else looks through all rows, newest first, 10,000 a"
    " page."
)


class BatchFileAdmin(ReadOnly):
    prefix = "file-"
    list_display = [
        "public_id",
        hostile("filename"),
        "purpose",
        "bytes",
        "lines",
        "team",
        "created_at",
        "expires_at",
        "deleted_at",
    ]
    list_filter = ["purpose", ("deleted_at", admin.EmptyFieldListFilter), "team"]
    search_fields = ["filename"]
    search_help_text = ID_SEARCH
    list_select_related = ["team"]

    def view_on_site(self, obj: BatchFile) -> str | None:
        if obj.deleted_at:
            return None
        return reverse("file-download", args=[obj.public_id])

    def related(self, obj: BatchFile) -> Iterable[Link]:
        """The batches that read it or wrote it, and the upload that brought it."""
        yield from shown(obj.team, "Team")
        yield from shown(obj.created_by, "Person")
        yield listed(Batch, "Batches that read it", input_file__id__exact=obj.pk)
        yield from shown(getattr(obj, "output_of", None), "Batch of these results")
        yield from shown(getattr(obj, "errors_of", None), "Batch of these errors")
        yield from shown(getattr(obj, "upload", None), "Upload")


class UploadAdmin(ReadOnly):
    prefix = "upload_"
    list_display = [
        "public_id",
        hostile("filename"),
        "purpose",
        "bytes",
        "status",
        "team",
        "created_at",
        "expires_at",
    ]
    list_filter = ["status", "purpose", "team"]
    search_fields = ["filename"]
    search_help_text = ID_SEARCH
    list_select_related = ["team"]

    def related(self, obj: Upload) -> Iterable[Link]:
        """Its parts, and the file that it became."""
        yield from shown(obj.team, "Team")
        yield from shown(obj.created_by, "Person")
        yield from shown(obj.file, "File")
        yield listed(UploadPart, "Parts", upload__id__exact=obj.pk)


class UploadPartAdmin(ReadOnly):
    """Parts of pending uploads; they go with its end."""

    prefix = "part_"
    list_display = ["public_id", "upload", "bytes", "created_at"]
    search_fields = ["=sha256"]
    search_help_text = "A part's id finds it, an upload's id its parts, a SHA-256 what has these bytes."
    list_select_related = ["upload"]

    def scope_of(self, term: str) -> Scope:
        """The parts of the upload of that id; else as of others."""
        if term.strip().startswith("upload_"):
            return rows_of(Upload, "upload_", "upload_id", term)
        return super().scope_of(term)

    def related(self, obj: UploadPart) -> Iterable[Link]:
        """The upload."""
        yield from shown(obj.upload, "Upload")
