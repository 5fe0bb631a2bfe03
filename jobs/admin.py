# SPDX-License-Identifier: Apache-2.0
"""The batch service in the admin; the classes stand in a module for each noun."""

from __future__ import annotations

from django.contrib import admin

from . import (
    batch_admin,
    engine_admin,
    file_admin,
    model_admin,
    models,
    result_admin,
    row_check_admin,
    usage_admin,
    webhook_admin,
)

for model, page in (
    (models.Batch, batch_admin.BatchAdmin),
    (models.BatchEstimate, batch_admin.BatchEstimateAdmin),
    (models.BatchEvent, batch_admin.BatchEventAdmin),
    (models.FailureCount, batch_admin.FailureCountAdmin),
    (models.IdempotencyKey, batch_admin.IdempotencyKeyAdmin),
    (models.SavedView, batch_admin.SavedViewAdmin),
    (models.BatchFile, file_admin.BatchFileAdmin),
    (models.Upload, file_admin.UploadAdmin),
    (models.UploadPart, file_admin.UploadPartAdmin),
    (models.BatchRequest, result_admin.BatchRequestAdmin),
    (models.Result, result_admin.ResultAdmin),
    (models.Chunk, result_admin.ChunkAdmin),
    (models.Suspect, result_admin.SuspectAdmin),
    (models.RowCheck, row_check_admin.RowCheckAdmin),
    (models.CheckRun, row_check_admin.CheckRunAdmin),
    (models.RowOutcome, row_check_admin.RowOutcomeAdmin),
    (models.Engine, engine_admin.EngineAdmin),
    (models.EngineEvent, engine_admin.EngineEventAdmin),
    (models.EngineModel, engine_admin.EngineModelAdmin),
    (models.WorkerProcess, engine_admin.WorkerProcessAdmin),
    (models.Measurement, engine_admin.MeasurementAdmin),
    (models.ThroughputSample, engine_admin.ThroughputSampleAdmin),
    (models.ServedModel, model_admin.ServedModelAdmin),
    (models.Usage, usage_admin.UsageAdmin),
    (models.UsageMark, usage_admin.UsageMarkAdmin),
    (models.WebhookEndpoint, webhook_admin.WebhookEndpointAdmin),
    (models.WebhookDelivery, webhook_admin.WebhookDeliveryAdmin),
    (models.WebhookAttempt, webhook_admin.WebhookAttemptAdmin),
):
    admin.site.register(model, page)
