# SPDX-License-Identifier: Apache-2.0
"""The batch service's tables; rows and querysets only, the operations live beside."""

from __future__ import annotations

from .batches import Batch
from .engines import (
    Engine,
    EngineModel,
    Measurement,
    ServedModel,
    ThroughputSample,
    WorkerProcess,
)
from .estimates import BatchEstimate
from .events import BatchEvent, EngineEvent
from .files import BatchFile
from .requests import BatchRequest, Chunk
from .results import FailureCount, Result, Suspect
from .row_checks import CheckRun, RowCheck, RowOutcome
from .uploads import IdempotencyKey, Upload, UploadPart
from .usage import Usage, UsageMark
from .views import SavedView
from .webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint

__all__ = [
    "Batch",
    "BatchEstimate",
    "BatchEvent",
    "BatchFile",
    "BatchRequest",
    "CheckRun",
    "Chunk",
    "Engine",
    "EngineEvent",
    "EngineModel",
    "FailureCount",
    "IdempotencyKey",
    "Measurement",
    "Result",
    "RowCheck",
    "RowOutcome",
    "SavedView",
    "ServedModel",
    "Suspect",
    "ThroughputSample",
    "Upload",
    "UploadPart",
    "Usage",
    "UsageMark",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WorkerProcess",
]
