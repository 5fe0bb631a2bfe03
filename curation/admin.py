# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""What is curated in the admin: to look at, in lists that have no end."""

from __future__ import annotations

from django.contrib import admin

from batchsite.accounts.admin_lists import Scope
from jobs.admin_tables import ReadOnly, hostile, long_text, rows_of

from . import models


class RubricAdmin(ReadOnly):
    prefix = "rubric_"
    list_display = ["public_id", hostile("name"), "team", "created_by", "created_at"]
    list_filter = ["team", ("archived_at", admin.EmptyFieldListFilter)]
    list_select_related = ["team", "created_by"]
    search_fields = ["name"]


class RubricVersionAdmin(ReadOnly):
    list_display = [hostile("rubric.name", "rubric"), "number", "used", "created_at"]
    list_filter = ["used"]
    list_select_related = ["rubric"]
    search_fields = ["rubric__name"]
    fields = ["rubric", "number", "used", "questions_shown", "created_by", "created_at"]
    questions_shown = staticmethod(long_text("questions_text", "Questions"))


class ReviewQueueAdmin(ReadOnly):
    prefix = "queue_"
    list_display = [
        *("public_id", hostile("name"), "kind", "state", "team"),
        *("overlap", "coverage", "auto_resolve", "due_at", "created_at"),
    ]
    list_filter = ["state", "kind", "team"]
    list_select_related = ["team"]
    search_fields = ["name"]


class OfQueue(ReadOnly):
    """Rows that belong to a queue or an item of one: the public id finds them."""

    queue_path = "queue"
    item_path = ""
    search_help_text = (
        "The id of a queue or an item finds its rows. Anything else looks through all"
        " rows, newest first, 10,000 a page."
    )

    def scope_of(self, term: str) -> Scope:
        """The rows of that queue or item; else all."""
        if self.item_path and term.strip().startswith("item_"):
            return rows_of(models.ReviewItem, "item_", self.item_path, term)
        return rows_of(models.ReviewQueue, "queue_", self.queue_path, term)


class ReviewItemAdmin(OfQueue):
    item_path = "pk"
    list_display = [
        *("public_id", hostile("queue.name", "queue"), "state", "submitted", "needed"),
        *("priority", "flagged", "assigned_to", "created_at"),
    ]
    list_filter = ["state", "flagged"]
    list_select_related = ["queue", "assigned_to"]
    search_fields = ["key", "flag_reason"]


class ItemVersionAdmin(OfQueue):
    queue_path = "item__queue"
    item_path = "item"
    list_display = ["item", "number", hostile("custom_id"), "endpoint", "created_at"]
    list_select_related = ["item"]
    search_fields = ["custom_id"]
    fields = ["item", "number", "custom_id", "endpoint", "request_shown", "why"]
    request_shown = staticmethod(long_text("request_body", "Request"))


class CandidateAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "place", hostile("model"), "batch_code", "finish_reason"]
    list_select_related = ["version"]
    search_fields = ["model", "batch_code"]
    fields = [
        *("version", "place", "model", "batch_code", "batch", "result"),
        *("finish_reason", "provenance", "body_shown"),
    ]
    body_shown = staticmethod(long_text("body", "Answer"))


class ClaimAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", "expires_at", "created_at"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email"]


class ResponseAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", "state", "seconds", "submitted_at"]
    list_filter = ["state"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email"]
    fields = [
        *("version", "user", "state", "answers_shown", "layout", "seconds"),
        *("created_at", "updated_at", "submitted_at"),
    ]
    answers_shown = staticmethod(long_text("answers_text", "Answers"))


class SkipAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "user", hostile("reason"), "created_at"]
    list_select_related = ["version", "user"]
    search_fields = ["user__email", "reason"]


class ResolutionAdmin(OfQueue):
    queue_path = "version__item__queue"
    item_path = "version__item"
    list_display = ["version", "how", "by", hostile("note"), "created_at"]
    list_filter = ["how"]
    list_select_related = ["version", "by"]
    search_fields = ["by__email", "note"]
    fields = ["version", "how", "chosen", "answers_shown", "by", "note", "created_at"]
    answers_shown = staticmethod(long_text("answers_text", "Answers"))


class ReviewEventAdmin(OfQueue):
    queue_path = "item__queue"
    item_path = "item"
    list_display = ["created_at", "item", "kind", "user", hostile("message")]
    list_select_related = ["item", "user"]
    search_fields = ["kind", "user__email", "message"]


class ReworkAdmin(OfQueue):
    list_display = ["queue", "batch", hostile("note"), "created_at", "applied_at"]
    list_filter = [("applied_at", admin.EmptyFieldListFilter)]
    list_select_related = ["queue", "batch"]
    search_fields = ["note"]
    fields = ["queue", "batch", "note", "created_by", "created_at", "applied_at"]


class DatasetAdmin(ReadOnly):
    prefix = "dataset_"
    list_display = ["public_id", hostile("name"), "team", "created_by", "created_at"]
    list_filter = ["team"]
    list_select_related = ["team", "created_by"]
    search_fields = ["name"]


class DatasetVersionAdmin(ReadOnly):
    list_display = [
        *(hostile("dataset.name", "dataset"), "number", "format", "rows"),
        *("test_rows", "created_by", "created_at"),
    ]
    list_select_related = ["dataset", "created_by"]
    search_fields = ["dataset__name", "format"]
    fields = [
        *("dataset", "number", "format", "rows", "test_rows", "train_file"),
        *("test_file", "manifest_shown", "created_by", "created_at"),
    ]
    manifest_shown = staticmethod(long_text("manifest_text", "Manifest"))


for model, page in (
    (models.Rubric, RubricAdmin),
    (models.RubricVersion, RubricVersionAdmin),
    (models.ReviewQueue, ReviewQueueAdmin),
    (models.ReviewItem, ReviewItemAdmin),
    (models.ItemVersion, ItemVersionAdmin),
    (models.Candidate, CandidateAdmin),
    (models.Claim, ClaimAdmin),
    (models.Response, ResponseAdmin),
    (models.Skip, SkipAdmin),
    (models.Resolution, ResolutionAdmin),
    (models.ReviewEvent, ReviewEventAdmin),
    (models.Rework, ReworkAdmin),
    (models.Dataset, DatasetAdmin),
    (models.DatasetVersion, DatasetVersionAdmin),
):
    admin.site.register(model, page)
