# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""Batches in the admin, and what is kept of each: to look after, and history to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from batchsite.accounts.addresses import client_address
from batchsite.accounts.admin_lists import Keyset, Scope, words_filter
from batchsite.accounts.admin_parts import (
    Link,
    Question,
    actor,
    listed,
    shown,
    unsure,
)

from . import changes, removal, retry, submit
from .admin_tables import (
    Changeable,
    OfBatch,
    ReadOnly,
    batch_link,
    batch_page,
    hostile,
    long_text,
)
from .batch_form import CHANGEABLE, BatchForm
from .ids import may_be_id
from .jsonl import ENDPOINTS
from .models import (
    Batch,
    BatchEvent,
    BatchRequest,
    CheckRun,
    Chunk,
    FailureCount,
    Result,
    RowCheck,
    ThroughputSample,
    WebhookDelivery,
)
from .refusals import NotNow, Refused
from .templatetags.figures import EVENT_WORDS

Endpoints = words_filter("endpoint", "endpoint", {name: name for name in ENDPOINTS})
REFUSALS = (NotNow, Refused)
CANCEL = Question(
    "Cancel batches",
    "They start no more requests and end within a minute. Results are kept and written"
    " to their files; a cancelled batch cannot go on.",
    "Cancel these batches",
)
RETRY = Question(
    "Run failed requests again",
    "Each batch that has ended gets a child batch with its failed requests, in the"
    " name of its team.",
    "Run them again",
)
DELETE = Question(
    "Delete batches",
    "They are gone from all lists at once, and can be restored from the deleted batches"
    " for some weeks; then their rows and result files are removed.",
    "Delete these batches",
)
TAG = Question(
    "Tag batches", "Each keeps its tags and gets this one.", "Add the tag", "Tag"
)


class BatchAdmin(Keyset, Changeable):
    """Name, tags, priority and pause may be changed, as in the API; the rest is history."""

    form = BatchForm
    list_display = [
        "public_id",
        hostile("name"),
        "status",
        "held",
        "team",
        "owner",
        hostile("model"),
        "total",
        "completed",
        "failed",
        "priority",
        "created_at",
        "expires_at",
    ]
    list_filter = [
        *("status", "paused", Endpoints),
        ("deleted_at", admin.EmptyFieldListFilter),
        "team",
    ]
    search_fields = ["name", "owner__email", "model"]
    search_help_text = (
        "A batch's id finds it. Anything else looks through names, owners and models,"
        " newest first, 10,000 batches a page."
    )
    list_select_related = ["team", "owner"]
    actions = [
        *("cancel", "pause", "resume", "retry_failed", "tag", "put_away", "restore")
    ]
    changeable = CHANGEABLE
    fieldsets = (
        (None, {"fields": (*CHANGEABLE, "public_id", "team", "owner")}),
        (
            "Where it stands",
            {
                "fields": (
                    *("status", "closing_reason", "total", "completed", "failed"),
                    *("errors", "error_report", "stalled_since", "check_count"),
                    "usage_open",
                )
            },
        ),
        (
            "What was asked for",
            {
                "fields": (
                    *("endpoint", "model", "allow_mixed_models", "dedupe"),
                    *("output_order", "completion_window", "metadata", "webhook_url"),
                    *("output_expires_after", "parent", "derivation"),
                )
            },
        ),
        (
            "Files",
            {"fields": ("input_file_ref", "input_file", "output_file", "error_file")},
        ),
        (
            "Times",
            {
                "fields": (
                    *("created_at", "in_progress_at", "finalizing_at", "completed_at"),
                    *("failed_at", "cancelling_at", "cancelled_at", "expired_at"),
                    *("expires_at", "closed_at"),
                    *("deleted_at", "deleted_by", "remove_at"),
                )
            },
        ),
        (
            "Tokens and counters",
            {
                "fields": (
                    *("input_tokens", "cached_tokens", "output_tokens"),
                    *("reasoning_tokens", "expected_requests", "expected_tokens"),
                    *("result_seq", "progress_told"),
                )
            },
        ),
        (
            "The control worker's lease",
            {"fields": ("stage_owner", "stage_epoch", "stage_lease_expires_at")},
        ),
    )

    def scope_of(self, term: str) -> Scope:
        """The batch of that id; else all."""
        code = term.strip()
        if code.startswith("batch_") and may_be_id(code):
            return Scope(rows={"public_id": code})
        return Scope(term=term)

    @admin.display(description="hold")
    def held(self, batch: Batch) -> str:
        """A word for a pause: a cross for each batch that runs would look like harm."""
        return "paused" if batch.paused else "-"

    def view_on_site(self, obj: Batch) -> str:
        return reverse("batch-detail", args=[obj.public_id])

    def related(self, obj: Batch) -> Iterable[Link]:
        """What belongs to the batch; its files and people are links of their fields."""
        code = obj.public_id
        yield from shown(obj.team, "Team")
        yield from shown(obj.owner, "Owner")
        for file, words in (
            (obj.input_file, "Input file"),
            (obj.output_file, "Output file"),
            (obj.error_file, "Error file"),
        ):
            yield from shown(file, words)
        yield from shown(obj.parent, "Parent")
        yield listed(Batch, "Children", parent__id__exact=obj.pk)
        yield listed(BatchRequest, "Requests", q=code)
        yield listed(Result, "Results", q=code)
        yield listed(Chunk, "Chunks", q=code)
        yield listed(BatchEvent, "Events", q=code)
        yield listed(RowCheck, "Checks", q=code)
        yield listed(CheckRun, "Run of the checks", q=code)
        yield listed(FailureCount, "Failures", q=code)
        yield listed(ThroughputSample, "Samples", q=code)
        yield listed(WebhookDelivery, "Webhook messages", q=code)

    def save_model(
        self, request: HttpRequest, obj: Batch, form: Any, change: bool
    ) -> None:
        """Change what was changed, with its line in the batch's history."""
        changes.update_batch(
            batch=obj,
            user=actor(request),
            address=client_address(request),
            **{name: form.cleaned_data[name] for name in form.changed_data},
        )

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The form again, with the reason, when the batch's status does not allow it."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except changes.TooLate as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return HttpResponseRedirect(request.path)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Batch | None = None
    ) -> bool:
        return False

    @admin.action(description="Cancel the chosen batches", permissions=["change"])
    def cancel(
        self, request: HttpRequest, queryset: QuerySet[Batch]
    ) -> HttpResponse | None:
        """Cancel each one; those that are too far are named with their status."""
        if asked := unsure(self, request, queryset, CANCEL):
            return asked
        open_ones = queryset.exclude(status=Batch.Status.CANCELLING)
        self._each(request, open_ones, submit.cancel_batch, "asked to end")
        return None

    @admin.action(description="Pause the chosen batches", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Start no more of their requests; those that are too far are named."""
        running = queryset.exclude(paused=True)
        self._each(request, running, changes.update_batch, "paused", paused=True)

    @admin.action(description="Resume the chosen batches", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Go on with them; those that are too far are named."""
        paused = queryset.exclude(paused=False)
        self._each(request, paused, changes.update_batch, "resumed", paused=False)

    @admin.action(
        description="Run failed requests of the chosen batches again",
        permissions=["change"],
    )
    def retry_failed(
        self, request: HttpRequest, queryset: QuerySet[Batch]
    ) -> HttpResponse | None:
        """A child batch of each; those that have not ended or lost nothing are named."""
        if asked := unsure(self, request, queryset, RETRY):
            return asked
        self._each(request, queryset, retry.retry_failed, "run again in part")
        return None

    @admin.action(description="Tag the chosen batches", permissions=["change"])
    def tag(
        self, request: HttpRequest, queryset: QuerySet[Batch]
    ) -> HttpResponse | None:
        """Add a tag, which is asked for, to each."""
        if asked := unsure(self, request, queryset, TAG):
            return asked
        line = request.POST.get("line", "")
        self._each(request, queryset, changes.add_tag, "tagged", tag=line)
        return None

    # Django's own deletion is called delete_selected, and is another thing.
    @admin.action(description="Delete the chosen batches", permissions=["change"])
    def put_away(
        self, request: HttpRequest, queryset: QuerySet[Batch]
    ) -> HttpResponse | None:
        """Delete each one that has ended, to be restored within a month."""
        if asked := unsure(self, request, queryset, DELETE):
            return asked
        self._each(request, queryset, removal.delete_batch, "deleted")
        return None

    @admin.action(description="Restore the chosen batches", permissions=["change"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Bring back those that are deleted."""
        deleted = queryset.filter(deleted_at__isnull=False)
        self._each(request, deleted, removal.restore_batch, "restored")

    def _each(
        self,
        request: HttpRequest,
        batches: QuerySet[Batch],
        do: Callable[..., object],
        done: str,
        **named: Any,
    ) -> None:
        """Do it with each; says with how many, and names those that refused."""
        count = 0
        for batch in batches.select_related("team"):
            try:
                do(
                    batch=batch,
                    user=actor(request),
                    address=client_address(request),
                    **named,
                )
            except REFUSALS as refused:
                words = f"Left as it was, {batch.public_id}: {refused}"
                self.message_user(request, words, messages.WARNING)
                continue
            count += 1
        noun = "batch was" if count == 1 else "batches were"
        self.message_user(request, f"{count} {noun} {done}.")


class BatchEventAdmin(OfBatch):
    list_display = [
        "created_at",
        batch_link,
        "kind",
        "old_status",
        "new_status",
        hostile("message"),
    ]
    list_filter = [
        words_filter("kind", "kind", {"status": "status"} | EVENT_WORDS),
        words_filter("new status", "new_status", dict(Batch.Status.choices)),
    ]
    search_fields = ["message"]
    list_select_related = ["batch"]
    fields = [
        *("batch", "created_at", "kind", "old_status", "new_status"),
        *("message_shown", "data"),
    ]
    message_shown = staticmethod(long_text("message", "Message"))

    def view_on_site(self, obj: BatchEvent) -> str:
        return reverse("batch-log", args=[obj.batch.public_id])

    def related(self, obj: BatchEvent) -> Iterable[Link]:
        """The batch, and its other events."""
        yield from shown(obj.batch, "Batch")
        yield listed(BatchEvent, "All its events", q=obj.batch.public_id)


class BatchEstimateAdmin(OfBatch):
    list_display = [
        batch_link,
        hostile("model"),
        *("rows", "seconds_low", "seconds_high", "ran_seconds"),
        *("output_tokens", "ran_output_tokens", "made_at", "settled_at"),
    ]
    list_filter = [Endpoints]
    search_fields = ["model"]
    list_select_related = ["batch"]
    view_on_site = staticmethod(batch_page)


class FailureCountAdmin(OfBatch):
    list_display = [batch_link, "error_class", "hour", "rows", "newest_at"]
    list_select_related = ["batch"]
    search_fields = ["error_class"]

    def view_on_site(self, obj: FailureCount) -> str:
        return reverse("batch-errors", args=[obj.batch.public_id])


class IdempotencyKeyAdmin(OfBatch):
    list_display = [hostile("key"), "team", batch_link, "created_at"]
    list_filter = ["team"]
    search_fields = ["key"]
    list_select_related = ["team", "batch"]
    view_on_site = staticmethod(batch_page)


class SavedViewAdmin(ReadOnly):
    """People keep their views themselves; staff read them, and forget them."""

    list_display = [hostile("name"), "user", hostile("query"), "created_at"]
    list_select_related = ["user"]
    search_fields = ["name", "user__email"]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("jobs.delete_savedview")

    def view_on_site(self, obj: Any) -> str:
        return f"{reverse('batch-list')}?{obj.query}"
