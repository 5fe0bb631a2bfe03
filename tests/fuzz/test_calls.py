# SPDX-License-Identifier: Apache-2.0
"""Generated bodies, queries, headers and paths: described answers, never a 5xx."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from jobs.models import Batch
from tests.conftest import MakeBatch
from tests.described import check

from .amounts import fuzzed, generated
from .strategies import (
    ASCII,
    CHAT,
    DEEP,
    TEXT,
    VALUES,
    damaged,
    mostly,
    objects,
    quoted,
)

pytestmark = pytest.mark.django_db
LIFE = objects(
    {
        "anchor": mostly(quoted("created_at")),
        "seconds": mostly(st.integers(0, 3_000_000).map(str)),
    }
)
EXTENSIONS = objects(
    {
        "name": mostly(TEXT.map(json.dumps)),
        "tags": mostly(st.lists(TEXT, max_size=25).map(json.dumps)),
        "priority": mostly(st.integers(-150, 150).map(str)),
        "paused": mostly(quoted("x") | st.sampled_from(["true", "false", "null"])),
        "expires_in_seconds": mostly(st.integers(0, 3_000_000).map(str)),
    }
)
CREATE = objects(
    {
        "input_file_id": mostly(quoted("FILE", "file-none") | TEXT.map(json.dumps)),
        "endpoint": mostly(quoted(CHAT, "/v1/embeddings", "/v1/x")),
        "completion_window": mostly(quoted("24h")),
        "metadata": mostly(st.dictionaries(TEXT, TEXT, max_size=18).map(json.dumps)),
        "output_expires_after": mostly(LIFE),
        "batchsite": mostly(EXTENSIONS),
    }
)
UPDATE = objects({"metadata": mostly(st.just("null")), "batchsite": mostly(EXTENSIONS)})
RETRY = objects(
    {
        "custom_ids": mostly(st.lists(TEXT, max_size=3).map(json.dumps)),
        "model": mostly(TEXT.map(json.dumps)),
        "body": mostly(VALUES),
        "system_prompt": mostly(TEXT.map(json.dumps)),
    }
)
BEGIN = objects(
    {
        "filename": mostly(TEXT.map(json.dumps)),
        "purpose": mostly(quoted("batch", "user_data", "batch_output")),
        "bytes": mostly(st.integers(-1, 1 << 34).map(str)),
        "mime_type": mostly(TEXT.map(json.dumps)),
        "expires_after": mostly(LIFE),
    }
)
COMPLETE = objects(
    {
        "part_ids": mostly(st.lists(TEXT, max_size=3).map(json.dumps)),
        "md5": mostly(TEXT.map(json.dumps)),
    }
)
CALLS = [
    ("/v1/batches", CREATE),
    ("/v1/batches/validate", CREATE),
    ("/v1/batches/BATCH", UPDATE),
    ("/v1/batches/BATCH/retry", RETRY),
    ("/v1/batches/BATCH/cancel", VALUES),
    ("/v1/uploads", BEGIN),
    ("/v1/uploads/upload_none/complete", COMPLETE),
]
POSTS = st.one_of(
    *(
        st.tuples(st.just(path), damaged(mostly(body, VALUES | DEEP)))
        for path, body in CALLS
    )
)


@pytest.fixture
def batch(settings: Settings, make_batch: MakeBatch) -> Batch:
    """A batch to ask for; calls are not limited here."""
    settings.BATCHSITE_REQUESTS_PER_MINUTE = 0
    settings.BATCHSITE_FAILED_KEYS_PER_MINUTE = 0
    settings.BATCHSITE_BATCHES_PER_HOUR = 0
    return make_batch()


@fuzzed(1500, post=POSTS)
def test_bodies_never_break_the_server(
    api: APIClient, batch: Batch, post: tuple[str, bytes]
) -> None:
    generated["bodies"] += 1
    path = post[0].replace("BATCH", batch.public_id)
    data: Any = post[1].replace(b'"FILE"', f'"{batch.input_file_ref}"'.encode())

    answer = api.generic("POST", path, data, content_type="application/json")

    check(answer)
    assert answer.status_code < 500


WORDS = st.one_of(
    TEXT,
    ASCII,
    st.integers().map(str),
    st.sampled_from(
        ["1", "20", "0", "-1", "1e3", "٣", "asc", "desc", "batch", "x" * 3000]
    ),
)
QUERY = st.lists(
    st.tuples(
        st.sampled_from(["limit", "after", "order", "purpose", "outcome"]) | TEXT, WORDS
    ),
    max_size=4,
).map(
    lambda pairs: "&".join(
        f"{quote(k, errors='surrogatepass')}={quote(v, errors='surrogatepass')}"
        for k, v in pairs
    )
)
LISTS = [
    *("/v1/files", "/v1/batches", "/v1/models"),
    *("/v1/batches/BATCH/events", "/v1/batches/BATCH/results"),
]


@fuzzed(
    700,
    path=st.sampled_from(LISTS),
    query=QUERY | st.binary(max_size=30).map(lambda raw: raw.decode("latin-1")),
    cursor=st.booleans(),
)
def test_queries_and_cursors_never_break_the_server(
    api: APIClient, batch: Batch, path: str, query: str, cursor: bool
) -> None:
    generated["queries"] += 1
    if cursor:
        query = f"after={batch.input_file_ref}&{query}"

    # The query goes on the wire as it is.
    answer = api.generic(
        "GET", path.replace("BATCH", batch.public_id), QUERY_STRING=query
    )

    check(answer)
    assert answer.status_code in (200, 400)


PATHS = st.one_of(
    st.tuples(
        st.sampled_from(["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"]),
        st.sampled_from(
            [
                *("/v1/files/{}", "/v1/files/{}/content", "/v1/batches/{}"),
                *("/v1/batches/{}/cancel", "/v1/batches/{}/results"),
                *("/v1/batches/{}/events", "/v1/batches/{}/validation_errors"),
                *("/v1/uploads/{}/cancel", "/v1/models/{}", "/v1/{}", "/v1/{}/"),
            ]
        ),
        TEXT | ASCII | st.binary(max_size=8).map(lambda raw: raw.decode("latin-1")),
    )
)


@fuzzed(500, call=PATHS)
def test_paths_never_break_the_server(
    api: APIClient, batch: Batch, call: tuple[str, str, str]
) -> None:
    generated["paths"] += 1
    method, path, name = call
    if name.strip("/") == "docs":
        return

    answer = api.generic(method, path.format(quote(name, errors="surrogatepass")))

    check(answer)
    assert answer.status_code < 500


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_ACCEPT", "CONTENT_TYPE"),
            *("HTTP_IDEMPOTENCY_KEY", "HTTP_HOST", "HTTP_ORIGIN", "HTTP_REFERER"),
            *("HTTP_CONTENT_ENCODING", "HTTP_X_FORWARDED_FOR", "HTTP_X_REQUEST_ID"),
            *("HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_COOKIE", "HTTP_RANGE"),
            *("HTTP_OPENAI_ORGANIZATION", "HTTP_ACCEPT_LANGUAGE", "CONTENT_LENGTH"),
            *("HTTP_IF_NONE_MATCH", "HTTP_TRANSFER_ENCODING", "HTTP_HX_REQUEST"),
        ]
    ),
    # Servers hand headers over as latin-1.
    st.binary(max_size=20).map(lambda raw: raw.decode("latin-1"))
    | st.sampled_from(["gzip", "application/json", "Bearer", "Bearer ", "*/*", "5"])
    | ASCII,
    max_size=4,
)


@fuzzed(400, headers=HEADERS, path=st.sampled_from(["/v1/files", "/v1/batches"]))
def test_headers_never_break_the_server(
    api: APIClient, batch: Batch, headers: dict[str, Any], path: str
) -> None:
    generated["headers"] += 1
    for method in ("GET", "POST"):
        environ = {
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": "2",
            "wsgi.input": BytesIO(b"{}"),
            **headers,
        }
        answer = api.generic(method, path, **environ)

        check(answer)
        assert answer.status_code < 500
