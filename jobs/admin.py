# SPDX-License-Identifier: Apache-2.0
# Django's admin classes cannot be subscripted when they run.
# mypy: disable-error-code="type-arg"
"""The batch service in the admin: batches and engines to look after, history to read."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from batchsite.accounts.addresses import client_address
from batchsite.accounts.models import User

from . import changes, lifecycle, submit
from .admin_tables import Changeable, ReadOnly
from .batch_form import CHANGEABLE, BatchForm
from .engine_admin import EngineAdmin
from .model_admin import ServedModelAdmin
from .models import (
    Batch,
    BatchEstimate,
    BatchEvent,
    BatchFile,
    BatchRequest,
    CheckRun,
    Chunk,
    Engine,
    EngineEvent,
    EngineModel,
    FailureCount,
    IdempotencyKey,
    Measurement,
    Result,
    RowCheck,
    RowOutcome,
    SavedView,
    ServedModel,
    Suspect,
    ThroughputSample,
    Upload,
    UploadPart,
    Usage,
    UsageMark,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WorkerProcess,
)
from .provenance import provenance_of
from .row_check_admin import CheckRunAdmin, RowCheckAdmin, RowOutcomeAdmin
from .usage_admin import UsageAdmin, UsageMarkAdmin
from .webhook_admin import (
    WebhookAttemptAdmin,
    WebhookDeliveryAdmin,
    WebhookEndpointAdmin,
)


@admin.register(Batch)
class BatchAdmin(Changeable):
    """Name, tags, priority and pause may be changed, as in the API; the rest is history."""

    form = BatchForm

    list_display = [
        "public_id",
        "name",
        "status",
        "team",
        "owner",
        "model",
        "total",
        "completed",
        "failed",
        "priority",
        "paused",
        "created_at",
    ]
    list_filter = ["status", "paused", "team", "endpoint"]
    search_fields = ["public_id", "name", "owner__email", "model"]
    list_select_related = ["team", "owner"]
    show_full_result_count = False
    actions = ["cancel", "pause", "resume"]
    changeable = CHANGEABLE

    def save_model(
        self, request: HttpRequest, obj: Batch, form: Any, change: bool
    ) -> None:
        """Change what was changed, with its line in the batch's history."""
        assert isinstance(request.user, User)
        changes.update_batch(
            batch=obj,
            user=request.user,
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
    def cancel(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Cancel each one; those that are too far are named with their status."""
        assert isinstance(request.user, User)
        asked = 0
        for batch in queryset.select_related("team"):
            if batch.status == Batch.Status.CANCELLING:
                continue
            try:
                submit.cancel_batch(
                    batch=batch, user=request.user, address=client_address(request)
                )
            except lifecycle.CannotCancel as refused:
                self.message_user(
                    request, f"{batch.public_id}: {refused}", messages.WARNING
                )
                continue
            asked += 1
        if asked:
            noun = "batch is" if asked == 1 else "batches are"
            self.message_user(request, f"{asked} {noun} being cancelled.")

    @admin.action(description="Pause the chosen batches", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Start no more of their requests; those that are too far are named."""
        self._set_paused(request, queryset, paused=True)

    @admin.action(description="Resume the chosen batches", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Batch]) -> None:
        """Go on with them; those that are too far are named."""
        self._set_paused(request, queryset, paused=False)

    def _set_paused(
        self, request: HttpRequest, batches: QuerySet[Batch], *, paused: bool
    ) -> None:
        assert isinstance(request.user, User)
        changed = 0
        for batch in batches.exclude(paused=paused):
            try:
                changes.update_batch(
                    batch=batch,
                    user=request.user,
                    address=client_address(request),
                    paused=paused,
                )
            except changes.TooLate as refused:
                self.message_user(
                    request, f"{batch.public_id}: {refused}", messages.WARNING
                )
                continue
            changed += 1
        noun = "batch was" if changed == 1 else "batches were"
        verb = "paused" if paused else "resumed"
        self.message_user(request, f"{changed} {noun} {verb}.")


@admin.register(BatchFile)
class BatchFileAdmin(ReadOnly):
    list_display = [
        "public_id",
        "filename",
        "purpose",
        "bytes",
        "lines",
        "team",
        "created_at",
        "expires_at",
        "deleted_at",
    ]
    list_filter = ["purpose", "team"]
    search_fields = ["public_id", "filename"]
    list_select_related = ["team"]


@admin.register(Upload)
class UploadAdmin(ReadOnly):
    list_display = [
        "public_id",
        "filename",
        "purpose",
        "bytes",
        "status",
        "team",
        "created_at",
        "expires_at",
    ]
    list_filter = ["status", "purpose", "team"]
    search_fields = ["public_id", "filename"]
    list_select_related = ["team"]
    raw_id_fields = ["file"]


@admin.register(UploadPart)
class UploadPartAdmin(ReadOnly):
    """Parts of pending uploads; they go with its end."""

    list_display = ["public_id", "upload", "bytes", "created_at"]
    search_fields = ["public_id", "=upload__public_id"]
    list_select_related = ["upload"]
    raw_id_fields = ["upload"]


@admin.register(BatchRequest)
class BatchRequestAdmin(ReadOnly):
    list_display = ["custom_id", "batch", "index", "line", "model", "run_order"]
    search_fields = ["=batch__public_id", "=custom_id"]
    list_select_related = ["batch"]
    raw_id_fields = ["batch", "duplicate_of"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BatchRequest]:
        """Without bodies, which may be megabytes each, where rows are listed."""
        found = super().get_queryset(request)
        return found if _one(request) else found.defer("body")


@admin.register(Result)
class ResultAdmin(ReadOnly):
    list_display = [
        "request",
        "batch",
        "outcome",
        "status_code",
        "error_code",
        "finish_reason",
        "output_tokens",
        "latency_ms",
        "created_at",
    ]
    list_filter = ["outcome"]
    search_fields = ["=batch__public_id", "=request__custom_id"]
    list_select_related = ["batch", "request"]
    raw_id_fields = ["batch", "request"]
    # Its whole stands in a line of its own.
    exclude = ["provenance"]
    readonly_fields = ["where_from"]

    @admin.display(description="Where it is from")
    def where_from(self, result: Result) -> str:
        """All that is known of it, one member a line."""
        found = provenance_of(result)
        return "\n".join(f"{name}: {json.dumps(found[name])}" for name in found)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Result]:
        """Without answers and bodies where rows are listed."""
        found = super().get_queryset(request)
        return found if _one(request) else found.defer("body", "request__body")


def _one(request: HttpRequest) -> bool:
    """Whether the page is that of one object."""
    match = request.resolver_match
    return match is not None and "object_id" in match.kwargs


@admin.register(Chunk)
class ChunkAdmin(ReadOnly):
    list_display = [
        "batch",
        "start",
        "end",
        "state",
        "model",
        "engine",
        "leased_by",
        "lease_expires_at",
        "attempts",
    ]
    list_filter = ["state"]
    search_fields = ["=batch__public_id", "leased_by"]
    list_select_related = ["batch", "engine"]
    raw_id_fields = ["batch"]


@admin.register(BatchEvent)
class BatchEventAdmin(ReadOnly):
    list_display = [
        "created_at",
        "batch",
        "kind",
        "old_status",
        "new_status",
        "message",
    ]
    list_filter = ["kind", "new_status"]
    search_fields = ["=batch__public_id", "message"]
    list_select_related = ["batch"]


admin.site.register(WebhookEndpoint, WebhookEndpointAdmin)
admin.site.register(WebhookDelivery, WebhookDeliveryAdmin)
admin.site.register(WebhookAttempt, WebhookAttemptAdmin)


@admin.register(SavedView)
class SavedViewAdmin(admin.ModelAdmin):
    list_display = ["name", "user", "query", "created_at"]
    list_select_related = ["user"]
    search_fields = ["name", "user__email"]
    autocomplete_fields = ["user"]


@admin.register(FailureCount)
class FailureCountAdmin(ReadOnly):
    list_display = ["batch", "error_class", "hour", "rows", "newest_at"]
    list_select_related = ["batch"]
    search_fields = ["=batch__public_id", "error_class"]


@admin.register(Suspect)
class SuspectAdmin(ReadOnly):
    list_display = ["request", "deaths", "lonely_deaths", "group", "updated_at"]
    list_select_related = ["request"]


admin.site.register(ServedModel, ServedModelAdmin)
admin.site.register(Engine, EngineAdmin)


@admin.register(EngineEvent)
class EngineEventAdmin(ReadOnly):
    list_display = ["at", "engine", "kind", "new_state", "model", "seconds", "reason"]
    list_filter = ["engine", "kind", "new_state"]
    list_select_related = ["engine"]


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnly):
    list_display = ["key", "team", "batch", "created_at"]
    search_fields = ["key", "=batch__public_id"]
    list_select_related = ["team", "batch"]


@admin.register(EngineModel)
class EngineModelAdmin(admin.ModelAdmin):
    list_display = ["engine", "served_model", "remote_name", "window"]
    list_filter = ["engine"]
    search_fields = ["served_model__name", "remote_name"]
    list_select_related = ["engine", "served_model"]


@admin.register(WorkerProcess)
class WorkerProcessAdmin(ReadOnly):
    list_display = ["token", "started_at", "heartbeat"]


@admin.register(Measurement)
class MeasurementAdmin(ReadOnly):
    list_display = [
        "served_model",
        "engine",
        "hardware",
        "rows",
        "input_tokens",
        "output_tokens",
        "seconds",
        "latency",
        "concurrency",
        "created_at",
    ]
    list_filter = ["served_model", "hardware"]
    list_select_related = ["served_model", "engine"]


@admin.register(ThroughputSample)
class ThroughputSampleAdmin(ReadOnly):
    list_display = [
        *("at", "batch", "engine", "rows", "output_tokens", "seconds"),
        "resolution",
    ]
    list_filter = ["resolution"]
    search_fields = ["=batch__public_id"]
    list_select_related = ["batch", "engine"]


@admin.register(BatchEstimate)
class BatchEstimateAdmin(ReadOnly):
    list_display = [
        *("batch", "model", "rows", "seconds_low", "seconds_high", "ran_seconds"),
        *("output_tokens", "ran_output_tokens", "made_at", "settled_at"),
    ]
    list_filter = ["endpoint"]
    search_fields = ["=batch__public_id", "=model"]
    list_select_related = ["batch"]


admin.site.register(RowCheck, RowCheckAdmin)
admin.site.register(CheckRun, CheckRunAdmin)
admin.site.register(RowOutcome, RowOutcomeAdmin)
admin.site.register(Usage, UsageAdmin)
admin.site.register(UsageMark, UsageMarkAdmin)
