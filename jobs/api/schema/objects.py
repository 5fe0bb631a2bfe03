# SPDX-License-Identifier: Apache-2.0
"""The objects of the API as JSON schemas: what may be sent, and all that is answered.

Answers have every member at any time, so that all of them are required here and none
other is allowed. Source of OpenAI's objects: its API description, openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobs.jsonl import CUSTOM_ID_LENGTH, ENDPOINTS
from jobs.models import Batch, BatchFile, Upload
from jobs.row_checks import Outcome
from jobs.row_checks.definitions import CHECKS_MOST, NAME_LENGTH
from jobs.row_checks.rules import KINDS

from ..params import LIFE_SECONDS, METADATA_KEY, METADATA_PAIRS, METADATA_VALUE

Schema = dict[str, Any]
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
UNIX: Schema = {"type": "integer", "description": "Seconds since 1970."}
COUNT: Schema = {"type": "integer", "minimum": 0}
UPLOAD_BYTES = 8 << 30
UPLOADABLE = [p for p in BatchFile.Purpose.values if p != "batch_output"]


def ref(name: str) -> Schema:
    """A named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(longest: int | None = None, least: int = 0, **more: Any) -> Schema:
    """A string of so many characters."""
    lengths = {"minLength": least or None, "maxLength": longest}
    return {"type": "string", **{k: v for k, v in lengths.items() if v}, **more}


def one_of(values: Iterable[str]) -> Schema:
    """One of those strings."""
    return {"type": "string", "enum": list(values)}


def whole(least: int, most: int, **more: Any) -> Schema:
    """An integer in the range."""
    return {"type": "integer", "minimum": least, "maximum": most, **more}


def array(items: Schema, **more: Any) -> Schema:
    """A list of such values."""
    return {"type": "array", "items": items, **more}


def noted(description: str, schema: Schema) -> Schema:
    """That, with a description."""
    return {**schema, "description": description}


def or_null(schema: Schema) -> Schema:
    """That, or null, which it may be already."""
    if "$ref" in schema or "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if isinstance(schema["type"], list):
        return schema
    return {**schema, "type": [schema["type"], "null"]}


def obj(*required: str, **members: Schema) -> Schema:
    """An object with those members and no others; all required unless some are named."""
    return {
        "type": "object",
        "properties": members,
        "required": list(required or members),
        "additionalProperties": False,
    }


def some(**members: Schema) -> Schema:
    """An object with any of those members and no others."""
    return {"type": "object", "properties": members, "additionalProperties": False}


def listed(kind: str) -> Schema:
    """A page of a list."""
    return obj(
        object={"const": "list"},
        data=array(ref(kind)),
        first_id=or_null(text()),
        last_id=or_null(text()),
        has_more=BOOLEAN,
    )


METADATA: Schema = {
    "type": ["object", "null"],
    "description": "Up to 16 pairs of strings, keys to 64 and values to 512 characters.",
    "maxProperties": METADATA_PAIRS,
    "propertyNames": {"maxLength": METADATA_KEY},
    "additionalProperties": text(METADATA_VALUE),
}
LIFE = obj(anchor={"const": "created_at"}, seconds=whole(*LIFE_SECONDS))
ERROR = obj(
    error=obj(
        message=text(least=1),
        type=text(least=1),
        param=or_null(text()),
        code=or_null(text()),
    )
)
FILE = obj(
    id=text(),
    object={"const": "file"},
    bytes=COUNT,
    created_at=UNIX,
    expires_at=or_null(UNIX),
    filename=text(),
    purpose=one_of(BatchFile.Purpose.values),
    status=one_of(BatchFile.Status.values),
    status_details=or_null(text()),
)
UPLOAD = obj(
    id=text(),
    object={"const": "upload"},
    bytes=COUNT,
    created_at=UNIX,
    expires_at=UNIX,
    filename=text(),
    purpose=text(),
    status=one_of(Upload.Status.values),
    file=or_null(ref("File")),
)
UPLOAD_PART = obj(
    id=text(),
    object={"const": "upload.part"},
    created_at=UNIX,
    upload_id=text(),
)
LINE_ERROR = obj(
    code=text(), message=text(), param=or_null(text()), line=or_null(COUNT)
)
USAGE = obj(
    input_tokens=COUNT,
    input_tokens_details=obj(cached_tokens=COUNT),
    output_tokens=COUNT,
    output_tokens_details=obj(reasoning_tokens=COUNT),
    total_tokens=COUNT,
)
CHECK = obj(
    "name",
    "kind",
    name=noted("The title of its column.", text(NAME_LENGTH, least=1)),
    kind=one_of(KINDS),
    params=noted("What this kind takes.", or_null(ANYTHING)),
)
CHANGEABLE: dict[str, Schema] = {
    "name": noted("What people call it.", or_null(text(200))),
    "tags": noted("To find it by.", or_null(array(text(50, least=1), maxItems=20))),
    "priority": noted("Higher runs first.", or_null(whole(-100, 100))),
    "paused": noted("A paused batch starts no request.", or_null(BOOLEAN)),
    "expires_in_seconds": noted(
        "From its creation, instead of 24 hours.", or_null(whole(*LIFE_SECONDS))
    ),
    "checks": noted(
        "Rules over the answers; an update adds to them.",
        or_null(array(ref("Check"), maxItems=CHECKS_MOST)),
    ),
}
EXTENSIONS: dict[str, Schema] = CHANGEABLE | {
    "webhook_url": noted(
        "Is told of the batch's progress and end.", or_null(text(500))
    ),
    "dedupe": noted(
        "Exact copies of deterministic requests run once.", or_null(BOOLEAN)
    ),
    "output_order": noted(
        "Of the lines in the result files.",
        or_null(one_of(Batch.OutputOrder.values)),
    ),
    "allow_mixed_models": noted("Lines may name different models.", or_null(BOOLEAN)),
}
OUTPUT_LIFE = noted("The life of the result files.", or_null(LIFE))
DERIVATION = obj(
    kind={"const": "retry"},
    of=text(),
    rows=one_of(["failed", "chosen"]),
    count=COUNT,
    model=or_null(text()),
    body=noted("The short values; null removed it.", or_null({"type": "object"})),
    body_keys=noted("What was changed in each body.", or_null(array(text()))),
    system_prompt=or_null(obj(sha256=text(), start=text(200))),
)
BATCHSITE = obj(
    name=text(),
    tags=array(text()),
    priority={"type": "integer"},
    paused=BOOLEAN,
    dedupe=BOOLEAN,
    output_order=one_of(Batch.OutputOrder.values),
    allow_mixed_models=BOOLEAN,
    webhook_url=or_null(text()),
    parent_id=or_null(text()),
    derivation=or_null(DERIVATION),
    result_seq=COUNT,
    queue=or_null(
        obj(
            position=or_null(COUNT),
            expected_start=or_null(UNIX),
            blocked_reason=or_null(text()),
        )
    ),
    eta=or_null(
        obj(
            seconds_low=or_null(COUNT),
            seconds_high=or_null(COUNT),
            reason=noted("Why there are no seconds.", or_null(text())),
        )
    ),
    stalled_since=or_null(UNIX),
    deadline_at_risk=BOOLEAN,
    checks=array(
        obj(
            name=text(),
            kind=one_of(KINDS),
            params=noted("Null in lists.", or_null(ANYTHING)),
            checked=noted("The sum of the following.", COUNT),
            passed=COUNT,
            failed=COUNT,
            not_applicable=COUNT,
            errors=COUNT,
        )
    ),
)
BATCH = obj(
    id=text(),
    object={"const": "batch"},
    endpoint=one_of(ENDPOINTS),
    model=or_null(text()),
    errors=or_null(obj(object={"const": "list"}, data=array(ref("LineError")))),
    input_file_id=text(),
    completion_window=text(),
    status=one_of(Batch.Status.values),
    output_file_id=or_null(text()),
    error_file_id=or_null(text()),
    created_at=UNIX,
    in_progress_at=or_null(UNIX),
    expires_at=UNIX,
    finalizing_at=or_null(UNIX),
    completed_at=or_null(UNIX),
    failed_at=or_null(UNIX),
    expired_at=or_null(UNIX),
    cancelling_at=or_null(UNIX),
    cancelled_at=or_null(UNIX),
    request_counts=obj(total=COUNT, completed=COUNT, failed=COUNT),
    usage=or_null(ref("Usage")),
    metadata=or_null(ANYTHING),
    batchsite=ref("BatchExtension"),
)
SAID = obj(
    outcome=noted(
        "Null until the check saw the row.",
        or_null(one_of(outcome.value for outcome in Outcome)),
    ),
    reason=or_null(text()),
)
RESULT_LINE = obj(
    *("id", "custom_id", "response", "error"),
    id=text(),
    custom_id=text(),
    response=or_null(obj(status_code={"type": "integer"}, request_id=text(), body={})),
    error=or_null(obj(code=text(), message=text())),
    batchsite=noted(
        "Only of a batch with checks, by their names.",
        obj(checks={"type": "object", "additionalProperties": SAID}),
    ),
)
EVENT = obj(
    id=text(),
    object={"const": "batch.event"},
    created_at=UNIX,
    kind=text(),
    old_status=or_null(one_of(Batch.Status.values)),
    new_status=or_null(one_of(Batch.Status.values)),
    message=or_null(text()),
    data=or_null(ANYTHING),
)
ESTIMATE = obj(
    input_tokens=COUNT,
    output_tokens_most=or_null(COUNT),
    output_tokens=or_null(COUNT),
    seconds=or_null(COUNT),
    seconds_low=or_null(COUNT),
    seconds_high=or_null(COUNT),
    gpu_hours=or_null({"type": "number"}),
    basis=text(),
    accuracy=or_null(
        obj(
            estimates=COUNT,
            median_error=noted(
                "As a part of the time that the batches took.", {"type": "number"}
            ),
            within=noted("So many took a time within their range.", COUNT),
        )
    ),
)
VALIDATION = obj(
    object={"const": "batch.validation"},
    valid=BOOLEAN,
    errors=obj(object={"const": "list"}, data=array(ref("LineError"))),
    error_count=COUNT,
    request_counts=obj(total=COUNT),
    models=array(text()),
    duplicates=or_null(COUNT),
    estimate=or_null(ref("Estimate")),
)
CREATE = obj(
    "input_file_id",
    "endpoint",
    "completion_window",
    input_file_id=noted("A file for batches.", text(100, least=1)),
    endpoint=noted("The `url` of every line.", one_of(ENDPOINTS)),
    completion_window={"const": "24h"},
    metadata=METADATA,
    output_expires_after=OUTPUT_LIFE,
    batchsite=noted("What OpenAI does not have.", or_null(some(**EXTENSIONS))),
)
UPDATE = some(metadata=METADATA, batchsite=or_null(some(**CHANGEABLE)))
RETRY = some(
    custom_ids=or_null(array(text(CUSTOM_ID_LENGTH), minItems=1, maxItems=10_000)),
    model=or_null(text(200, least=1)),
    body=or_null(ANYTHING),
    system_prompt=or_null(text(least=1)),
    metadata=METADATA,
    output_expires_after=OUTPUT_LIFE,
    batchsite=noted("What OpenAI does not have.", or_null(some(**EXTENSIONS))),
)
BEGIN_UPLOAD = obj(
    "filename",
    "purpose",
    "bytes",
    "mime_type",
    filename=text(20_000, least=1),
    purpose=one_of(UPLOADABLE),
    bytes=whole(1, UPLOAD_BYTES),
    mime_type=text(200, least=1),
    expires_after=or_null(LIFE),
)
COMPLETE_UPLOAD = obj(
    "part_ids",
    part_ids=array(text(least=1)),
    md5=or_null(text()),
)
SEND_FILE = obj(
    "file",
    "purpose",
    file={"type": "string", "format": "binary"},
    purpose=one_of(UPLOADABLE),
    **{
        "expires_after[anchor]": {"const": "created_at"},
        "expires_after[seconds]": whole(*LIFE_SECONDS),
    },
)
SEND_PART = obj(data={"type": "string", "format": "binary"})
MODEL = obj(
    id=text(),
    object={"const": "model"},
    created=UNIX,
    owned_by=text(),
    parent=noted("The base of a LoRA adapter; null for a model.", or_null(text())),
)
SCHEMAS: dict[str, Schema] = {
    "Batch": BATCH,
    "BatchExtension": BATCHSITE,
    "BatchList": listed("Batch"),
    "BeginUpload": BEGIN_UPLOAD,
    "Check": CHECK,
    "CompleteUpload": COMPLETE_UPLOAD,
    "CreateBatch": CREATE,
    "Error": ERROR,
    "Estimate": ESTIMATE,
    "Event": EVENT,
    "EventList": listed("Event"),
    "File": FILE,
    "BatchDeleted": obj(id=text(), object={"const": "batch"}, deleted={"const": True}),
    "FileDeleted": obj(id=text(), object={"const": "file"}, deleted={"const": True}),
    "FileList": listed("File"),
    "LineError": LINE_ERROR,
    "Model": MODEL,
    "ModelList": obj(object={"const": "list"}, data=array(ref("Model"))),
    "ResultLine": RESULT_LINE,
    "RetryBatch": RETRY,
    "SendFile": SEND_FILE,
    "SendPart": SEND_PART,
    "UpdateBatch": UPDATE,
    "Upload": UPLOAD,
    "UploadPart": UPLOAD_PART,
    "Usage": USAGE,
    "Validation": VALIDATION,
}
