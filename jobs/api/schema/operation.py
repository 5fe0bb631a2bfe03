# SPDX-License-Identifier: Apache-2.0
"""How one method of one path is described: parameters, bodies, answers and errors."""

from __future__ import annotations

from .objects import Schema, one_of, ref, text

JSON = "application/json"
JSONL = "application/jsonl"
FORM = "multipart/form-data"
BYTES = "application/octet-stream"
# What anybody may be told, and what a call with a key may be told, too.
ANYBODY = (400, 405, 414, 431, 500)
ANY_CALL = (401, 403, 429, 503)
HEADERS: dict[str, Schema] = {
    "x-request-id": {
        "description": "The id of the call, also in the log.",
        "schema": text(),
    }
}
ERRORS: dict[int, str] = {
    400: "Something sent is wrong; `param` names it where there is one.",
    401: "No API key, or one that is wrong, revoked, expired or of a person who left.",
    403: "The key or its person may not do this.",
    404: "There is no such object, or it is another team's.",
    405: "The path does not know the method; `Allow` names those it knows.",
    409: "It is too late, or something else was made with the same key.",
    411: "The body came without its length.",
    413: "The body is too large.",
    414: "The URL is too long.",
    415: "The body has another type.",
    429: "A limit is reached.",
    431: "The headers are too long, or too many.",
    500: "A mistake of the server; report the `x-request-id`.",
    503: "There is too little disk space on the server; nothing was stored.",
}
ERROR_HEADERS: dict[int, dict[str, Schema]] = {
    401: {"WWW-Authenticate": {"schema": text()}},
    405: {"Allow": {"schema": text()}},
    409: {"x-should-retry": {"schema": one_of(["false"])}},
    503: {"x-should-retry": {"schema": one_of(["false"])}},
    429: {
        "Retry-After": {
            "description": "Seconds until it may work.",
            "schema": {"type": "integer", "minimum": 0},
        },
    },
}


def error_response(status: int) -> Schema:
    """An answer that is OpenAI's error envelope."""
    return {
        "description": ERRORS[status],
        "headers": HEADERS | ERROR_HEADERS.get(status, {}),
        "content": {JSON: {"schema": ref("Error")}},
    }


def refused(*statuses: int) -> dict[str, Schema]:
    """The errors of an operation: those, and what anybody may be told."""
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted({*statuses, *ANYBODY})
    }


def body(schema: Schema, media_type: str = JSON) -> Schema:
    """A request's body, which must be there."""
    content: Schema = {"schema": schema}
    if media_type == FORM:
        content["encoding"] = {"file": {"contentType": BYTES}}
    return {"required": True, "content": {media_type: content}}


def query(name: str, schema: Schema, description: str) -> Schema:
    """A parameter of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def in_path(name: str, description: str) -> Schema:
    """A parameter of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": text(least=1),
        "description": description,
    }


def operation(
    name: str,
    tag: str,
    summary: str,
    *,
    answer: Schema,
    errors: tuple[int, ...],
    media_type: str = JSON,
    sends: Schema | None = None,
    parameters: tuple[Schema, ...] = (),
    headers: dict[str, Schema] | None = None,
    description: str = "",
    open_to_all: bool = False,
) -> Schema:
    """One method of one path; `name` is what generated clients call it."""
    found: Schema = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "parameters": list(parameters),
        "security": [] if open_to_all else [{"bearer": []}, {"apiKey": []}],
        "responses": {
            "200": {
                "description": "Done.",
                "headers": HEADERS | (headers or {}),
                "content": {media_type: {"schema": answer}},
            },
            **refused(*errors, *(() if open_to_all else ANY_CALL)),
        },
    }
    if sends is not None:
        found["requestBody"] = sends
    return found


AFTER = query("after", text(), "Id of the last object of the page before.")
# What a call with a body may be told about it.
BAD_BODY = (400, 411, 413, 415)
