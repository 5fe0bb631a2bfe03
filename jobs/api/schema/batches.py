# SPDX-License-Identifier: Apache-2.0
"""The operations on batches."""

from __future__ import annotations

from jobs.models import Result

from .objects import COUNT, Schema, one_of, ref, text, whole
from .operation import AFTER, BAD_BODY, JSONL, body, in_path, operation, query

BATCH_ID = in_path("batch_id", "The batch's id.")
IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": text(255, least=1),
    "description": "A repeated call with the same key answers the first one's batch.",
}
LINES: Schema = {"type": "string", "description": "JSON objects, one a line."}
OPERATIONS: dict[str, dict[str, Schema]] = {
    "/v1/batches": {
        "GET": operation(
            "listBatches",
            "Batches",
            "List the team's batches, newest first.",
            parameters=(
                query("limit", whole(1, 100, default=20), "Length of the page."),
                AFTER,
            ),
            answer=ref("BatchList"),
            errors=(400,),
        ),
        "POST": operation(
            "createBatch",
            "Batches",
            "Make a batch of an uploaded file.",
            description="What is wrong in the file shows on the batch.",
            parameters=(IDEMPOTENCY_KEY,),
            sends=body(ref("CreateBatch")),
            answer=ref("Batch"),
            errors=(*BAD_BODY, 409),
        ),
    },
    "/v1/batches/{batch_id}": {
        "GET": operation(
            "getBatch",
            "Batches",
            "Look at a batch.",
            parameters=(BATCH_ID,),
            answer=ref("Batch"),
            errors=(404,),
        ),
        "POST": operation(
            "updateBatch",
            "Batches",
            "Change a batch.",
            description="What is not named stays; 409 for what its status forbids.",
            parameters=(BATCH_ID,),
            sends=body(ref("UpdateBatch")),
            answer=ref("Batch"),
            errors=(*BAD_BODY, 404, 409),
        ),
        "DELETE": operation(
            "deleteBatch",
            "Batches",
            "Delete a batch that has ended.",
            description="It can be restored for a month; then its rows and files go.",
            parameters=(BATCH_ID,),
            answer=ref("BatchDeleted"),
            errors=(404, 409),
        ),
    },
    "/v1/batches/{batch_id}/restore": {
        "POST": operation(
            "restoreBatch",
            "Batches",
            "Bring a deleted batch back.",
            description="One that is not deleted stays as it is.",
            parameters=(BATCH_ID,),
            answer=ref("Batch"),
            errors=(404, 409),
        ),
    },
    "/v1/batches/validate": {
        "POST": operation(
            "validateBatch",
            "Batches",
            "Check a file as a new batch would, and estimate what it costs.",
            description="Takes what createBatch takes, and makes nothing.",
            sends=body(ref("CreateBatch")),
            answer=ref("Validation"),
            errors=BAD_BODY,
        ),
    },
    "/v1/batches/{batch_id}/results": {
        "GET": operation(
            "getResults",
            "Batches",
            "Fetch the answers so far, in the order in which they came.",
            description="Each line is a ResultLine; it works while the batch runs.",
            parameters=(
                BATCH_ID,
                query(
                    "after",
                    whole(0, 2**31 - 1, default=0),
                    "The last answer's x-batchsite-last-seq.",
                ),
                query("limit", whole(1, 1000, default=1000), "Most lines."),
                query(
                    "outcome", one_of(Result.Outcome.values), "Only lines of that kind."
                ),
                query(
                    "check",
                    text(least=1),
                    "`NAME:failed`: only lines of which that check said so. Also"
                    " passed, error and not_applicable; without a name, any check.",
                ),
            ),
            answer=LINES,
            media_type=JSONL,
            headers={
                "x-batchsite-last-seq": {
                    "description": "Where to go on.",
                    "schema": COUNT,
                },
                "x-batchsite-has-more": {
                    "description": "Whether there are more answers now.",
                    "schema": one_of(["true", "false"]),
                },
            },
            errors=(400, 404),
        ),
    },
    "/v1/batches/{batch_id}/events": {
        "GET": operation(
            "listEvents",
            "Batches",
            "List what happened to a batch, oldest first.",
            parameters=(
                BATCH_ID,
                query("limit", whole(1, 1000, default=100), "Length of the page."),
                AFTER,
            ),
            answer=ref("EventList"),
            errors=(400, 404),
        ),
    },
    "/v1/batches/{batch_id}/validation_errors": {
        "GET": operation(
            "getValidationErrors",
            "Batches",
            "Fetch all bad lines of a failed batch.",
            description="Each line is a LineError.",
            parameters=(BATCH_ID,),
            answer=LINES,
            media_type=JSONL,
            errors=(404,),
        ),
    },
    "/v1/batches/{batch_id}/retry": {
        "POST": operation(
            "retryBatch",
            "Batches",
            "Make a batch of the failed rows of one that has ended.",
            description="Or of chosen rows, also with another model or other sampling.",
            parameters=(BATCH_ID, IDEMPOTENCY_KEY),
            sends=body(ref("RetryBatch")),
            answer=ref("Batch"),
            errors=(*BAD_BODY, 404, 409),
        ),
    },
    "/v1/batches/{batch_id}/cancel": {
        "POST": operation(
            "cancelBatch",
            "Batches",
            "Ask for a batch's end.",
            description="Repeating it is harmless.",
            parameters=(BATCH_ID,),
            answer=ref("Batch"),
            errors=(404, 409),
        ),
    },
}
