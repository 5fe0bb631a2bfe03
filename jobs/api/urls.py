# SPDX-License-Identifier: Apache-2.0
"""Paths exactly as OpenAI's clients send them: no slash at the end."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt

from .batch_extras import (
    batch_events,
    batch_results,
    batch_retry,
    batch_validate,
    batch_validation_errors,
)
from .batches import batch_cancel, batch_collection, batch_detail, batch_restore
from .errors import envelope, invalid_url
from .files import file_collection, file_content, file_detail
from .models import model_collection, model_detail
from .schema.document import openapi
from .schema.page import reference
from .uploads import upload_cancel, upload_collection, upload_complete, upload_parts


@csrf_exempt
def unknown_path(request: HttpRequest) -> JsonResponse:
    """404 in the envelope; as a path of its own it also keeps APPEND_SLASH away."""
    return JsonResponse(envelope(invalid_url(request), status=404), status=404)


# under /v1/
api_urls: list[URLPattern] = [
    path("files", file_collection, name="api-files"),
    path("files/<str:file_id>", file_detail, name="api-file"),
    path("files/<str:file_id>/content", file_content, name="api-file-content"),
    path("uploads", upload_collection, name="api-uploads"),
    path("uploads/<str:upload_id>/parts", upload_parts, name="api-upload-parts"),
    path(
        "uploads/<str:upload_id>/complete",
        upload_complete,
        name="api-upload-complete",
    ),
    path("uploads/<str:upload_id>/cancel", upload_cancel, name="api-upload-cancel"),
    path("batches", batch_collection, name="api-batches"),
    path("batches/validate", batch_validate, name="api-batch-validate"),
    path("batches/<str:batch_id>", batch_detail, name="api-batch"),
    path("batches/<str:batch_id>/cancel", batch_cancel, name="api-batch-cancel"),
    path("batches/<str:batch_id>/restore", batch_restore, name="api-batch-restore"),
    path("batches/<str:batch_id>/events", batch_events, name="api-batch-events"),
    path("batches/<str:batch_id>/results", batch_results, name="api-batch-results"),
    path("batches/<str:batch_id>/retry", batch_retry, name="api-batch-retry"),
    path(
        "batches/<str:batch_id>/validation_errors",
        batch_validation_errors,
        name="api-batch-validation-errors",
    ),
    path("models", model_collection, name="api-models"),
    path("models/<path:name>", model_detail, name="api-model"),
    path("openapi.json", openapi, name="api-openapi"),
    path("docs", reference, name="api-docs"),
    re_path(r"^.+$", unknown_path),
]
