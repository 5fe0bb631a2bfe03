# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Requests and results in the admin, to read: tables of millions of rows."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from batchsite.accounts.admin_lists import words_filter
from batchsite.accounts.admin_parts import Link, listed, shown

from .admin_tables import OfBatch, ReadOnly, batch_link, hostile, long_text
from .models import Batch, BatchRequest, Result, Suspect
from .provenance import provenance_of

ROW_SEARCH = (
    "A batch's id finds its rows in the order of the input, the id and a custom_id one"
    " row. Anything else is looked for among"
)
NEWEST_FIRST = "newest first, 10,000 rows a page."
FINISHES = {name: name for name in ("stop", "length", "tool_calls", "content_filter")}


class BatchRequestAdmin(OfBatch):
    within = "index"
    request_path = ""
    list_display = [
        hostile("custom_id"),
        batch_link,
        "index",
        "line",
        hostile("model"),
        "run_order",
    ]
    search_fields = ["custom_id"]
    search_help_text = f"{ROW_SEARCH} custom_ids, {NEWEST_FIRST}"
    list_select_related = ["batch"]
    fields = [
        *("batch", "index", "line", "custom_id_shown", "url", "model_shown"),
        *("run_order", "duplicate_of", "body_shown"),
    ]
    custom_id_shown = staticmethod(hostile("custom_id", "Custom id"))
    model_shown = staticmethod(hostile("model"))
    body_shown = staticmethod(long_text("body", "Body"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchRequest]:
        """Without bodies, which may be megabytes each, where rows are listed."""
        found = super().get_queryset(request)
        return found if _one(request) else found.defer("body")

    def view_on_site(self, obj: BatchRequest) -> str | None:
        """The page of its result, which an unanswered request does not have."""
        if not hasattr(obj, "result"):
            return None
        return _result_page(obj.batch, obj.index)

    def related(self, obj: BatchRequest) -> Iterable[Link]:
        """The batch, the result, and the request whose answer it takes."""
        yield from shown(obj.batch, "Batch")
        yield from shown(getattr(obj, "result", None), "Result")
        yield from shown(obj.duplicate_of, "Runs as")
        yield listed(BatchRequest, "Copies", duplicate_of__id__exact=obj.pk)


class ResultAdmin(OfBatch):
    within = "index"
    request_path = "request__"
    list_display = [
        hostile("request.custom_id", "custom_id"),
        batch_link,
        "index",
        "outcome",
        "status_code",
        hostile("error_class"),
        hostile("finish_reason"),
        "output_tokens",
        "latency_ms",
        "created_at",
    ]
    list_filter = ["outcome", words_filter("finish reason", "finish_reason", FINISHES)]
    # What is in other large tables would be looked for in all of these.
    search_fields = ["=engine_request_id", "error_class"]
    search_help_text = (
        f"{ROW_SEARCH} the engines' request ids and error classes, {NEWEST_FIRST}"
    )
    list_select_related = ["batch", "request"]
    # Tries and cached tokens stand among what the answer is from.
    fieldsets = (
        (None, {"fields": ("batch", "request", "index", "seq", "created_at")}),
        (
            "Answer",
            {
                "fields": (
                    *("outcome", "status_code", "finish_reason_shown", "answer"),
                    *("error_code", "error_class_shown", "error_shown"),
                )
            },
        ),
        (
            "Figures",
            {
                "fields": (
                    *("input_tokens", "output_tokens", "reasoning_tokens"),
                    "latency_ms",
                )
            },
        ),
        (
            "Where it is from",
            {"fields": ("engine", "engine_request_id", "where_from")},
        ),
    )
    answer = staticmethod(long_text("body", "Body"))
    error_shown = staticmethod(long_text("error_message", "Error message"))
    error_class_shown = staticmethod(hostile("error_class", "Error class"))
    finish_reason_shown = staticmethod(hostile("finish_reason", "Finish reason"))

    @admin.display(description="All that is known")
    def where_from(self, result: Result) -> str:
        """All that is known of it, one member a line."""
        found = provenance_of(result)
        return "\n".join(f"{name}: {json.dumps(found[name])}" for name in found)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Result]:
        """Without answers and bodies where rows are listed."""
        found = super().get_queryset(request)
        if _one(request):
            return found.select_related("batch", "request", "engine")
        return found.defer("body", "error_message", "provenance", "request__body")

    def view_on_site(self, obj: Result) -> str:
        return _result_page(obj.batch, obj.index)

    def related(self, obj: Result) -> Iterable[Link]:
        """The batch, the request and the engine."""
        yield from shown(obj.batch, "Batch")
        yield from shown(obj.request, "Request")
        yield from shown(obj.engine, "Engine")


class ChunkAdmin(OfBatch):
    within = "start"
    list_display = [
        batch_link,
        "start",
        "end",
        "state",
        hostile("model"),
        "engine",
        "leased_by",
        "lease_expires_at",
        "attempts",
    ]
    list_filter = ["state"]
    search_fields = ["leased_by"]
    list_select_related = ["batch", "engine"]
    view_on_site = False


class SuspectAdmin(ReadOnly):
    list_display = [
        hostile("request.custom_id", "custom_id"),
        "deaths",
        "lonely_deaths",
        "group",
        "last_engine",
        "updated_at",
    ]
    search_fields = ["last_engine__name"]
    list_select_related = ["request", "last_engine"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Suspect]:
        """Without the bodies of the requests."""
        return super().get_queryset(request).defer("request__body")

    def related(self, obj: Suspect) -> Iterable[Link]:
        """The request, and the engine that died last."""
        yield from shown(obj.request, "Request")
        yield from shown(obj.last_engine, "Engine")


def _result_page(batch: Batch, index: int) -> str:
    return reverse("batch-result", args=[batch.public_id, index])


def _one(request: HttpRequest) -> bool:
    """Whether the page is that of one object."""
    match = request.resolver_match
    return match is not None and "object_id" in match.kwargs
