# SPDX-License-Identifier: Apache-2.0
"""The operations on files, uploads and models."""

from __future__ import annotations

from .objects import Schema, one_of, ref, text, whole
from .operation import (
    AFTER,
    BAD_BODY,
    BYTES,
    FORM,
    body,
    in_path,
    operation,
    query,
)

FILE_ID = in_path("file_id", "The file's id.")
UPLOAD_ID = in_path("upload_id", "The upload's id.")
BINARY: Schema = {"type": "string", "format": "binary"}
OPERATIONS: dict[str, dict[str, Schema]] = {
    "/v1/files": {
        "GET": operation(
            "listFiles",
            "Files",
            "List the team's files.",
            parameters=(
                query("purpose", text(), "Files of this purpose only."),
                query("limit", whole(1, 10_000, default=10_000), "Length of the page."),
                query(
                    "order",
                    {**one_of(["asc", "desc"]), "default": "desc"},
                    "By creation, newest first unless asked.",
                ),
                AFTER,
            ),
            answer=ref("FileList"),
            errors=(400,),
        ),
        "POST": operation(
            "uploadFile",
            "Files",
            "Upload a file.",
            sends=body(ref("SendFile"), FORM),
            answer=ref("File"),
            errors=BAD_BODY,
        ),
    },
    "/v1/files/{file_id}": {
        "GET": operation(
            "getFile",
            "Files",
            "Look at a file.",
            parameters=(FILE_ID,),
            answer=ref("File"),
            errors=(404,),
        ),
        "DELETE": operation(
            "deleteFile",
            "Files",
            "Delete a file.",
            description="Batches go on naming it.",
            parameters=(FILE_ID,),
            answer=ref("FileDeleted"),
            errors=(400, 404),
        ),
    },
    "/v1/files/{file_id}/content": {
        "GET": operation(
            "downloadFile",
            "Files",
            "Fetch a file's bytes.",
            parameters=(FILE_ID,),
            answer=BINARY,
            media_type=BYTES,
            errors=(404,),
        ),
    },
    "/v1/uploads": {
        "POST": operation(
            "beginUpload",
            "Uploads",
            "Begin a file that comes in parts.",
            description="It lives an hour.",
            sends=body(ref("BeginUpload")),
            answer=ref("Upload"),
            errors=BAD_BODY,
        ),
    },
    "/v1/uploads/{upload_id}/parts": {
        "POST": operation(
            "addPart",
            "Uploads",
            "Send a part of at most 64 MB.",
            parameters=(UPLOAD_ID,),
            sends=body(ref("SendPart"), FORM),
            answer=ref("UploadPart"),
            errors=(*BAD_BODY, 404),
        ),
    },
    "/v1/uploads/{upload_id}/complete": {
        "POST": operation(
            "completeUpload",
            "Uploads",
            "Put the parts together, in this order.",
            parameters=(UPLOAD_ID,),
            sends=body(ref("CompleteUpload")),
            answer=ref("Upload"),
            errors=(*BAD_BODY, 404),
        ),
    },
    "/v1/uploads/{upload_id}/cancel": {
        "POST": operation(
            "cancelUpload",
            "Uploads",
            "Give an upload up.",
            parameters=(UPLOAD_ID,),
            answer=ref("Upload"),
            errors=(400, 404),
        ),
    },
    "/v1/models": {
        "GET": operation(
            "listModels",
            "Models",
            "List the models that batches may name.",
            answer=ref("ModelList"),
            errors=(),
        ),
    },
    "/v1/models/{name}": {
        "GET": operation(
            "getModel",
            "Models",
            "Look at a model; its name may contain slashes.",
            parameters=(in_path("name", "The model's name."),),
            answer=ref("Model"),
            errors=(404,),
        ),
    },
}
