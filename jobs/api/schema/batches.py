# SPDX-License-Identifier: Apache-2.0
"""The operations on batches."""

from __future__ import annotations

from .objects import Schema, ref, text, whole
from .operation import AFTER, BAD_BODY, body, in_path, operation, query

BATCH_ID = in_path("batch_id", "The batch's id.")
IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": text(255, least=1),
    "description": "A repeated call with the same key answers the first one's batch.",
}
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
