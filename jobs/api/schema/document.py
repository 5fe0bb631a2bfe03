# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: served at /v1/openapi.json, made by drf-spectacular.

It walks the URLs and asks DescribedSchema for each operation, so that a route that is
not described shows as a warning of `manage.py spectacular`.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import threading
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import etag
from drf_spectacular.drainage import warn
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework.decorators import (
    api_view,
    authentication_classes,
    permission_classes,
)
from rest_framework.request import Request

from jobs import extensions

from . import batches, files
from .objects import SCHEMAS, Schema
from .operation import ERRORS, JSON, error_response, operation

ITSELF = operation(
    "getDescription",
    "Description",
    "This description, as OpenAPI.",
    answer={"type": "object"},
    errors=(),
    open_to_all=True,
)
OWN: dict[str, dict[str, Schema]] = {
    **files.OPERATIONS,
    **batches.OPERATIONS,
    "/v1/openapi.json": {"GET": ITSELF},
}


@functools.cache
def operations() -> dict[str, dict[str, Schema]]:
    """Every operation by its path and method, those of other apps too."""
    found = dict(OWN)
    for module in extensions.described():
        found |= module.OPERATIONS
    return found


@functools.cache
def schemas() -> dict[str, Schema]:
    """Every named object, those of other apps too."""
    found = dict(SCHEMAS)
    for module in extensions.described():
        found |= module.SCHEMAS
    return found


class DescribedSchema(AutoSchema):
    """DEFAULT_SCHEMA_CLASS: operations come from `operations`, not from serializers."""

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: Any,
    ) -> Schema | None:
        """The operation, or None and a warning for a route that nobody described."""
        found = operations().get(path, {}).get(method)
        if found is None:
            warn(f"{method} {path} is not described in jobs/api/schema")
            return None
        return copy.deepcopy(found)


_making = threading.Lock()


def add_components(result: Schema, **kwargs: Any) -> Schema:
    """A hook of drf-spectacular: put in what the operations refer to."""
    result["components"] = {
        "schemas": schemas(),
        "responses": {f"Error{status}": error_response(status) for status in ERRORS},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        },
    }
    return result


def document() -> Schema:
    """The whole description; made once in each process."""
    # One thread at a time: drf-spectacular cannot make two at once.
    with _making:
        return _made()


@functools.cache
def _made() -> Schema:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]  # spectacular is
    made: Schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # as above
    return made


@functools.cache
def document_bytes() -> bytes:
    """The description as JSON."""
    return json.dumps(document()).encode()


@functools.cache
def document_etag() -> str:
    """Another one for another description."""
    return f'"{hashlib.sha256(document_bytes()).hexdigest()[:32]}"'


@etag(lambda request: document_etag())
@api_view(["GET"])
@authentication_classes([])
@permission_classes([])
def openapi(request: Request) -> HttpResponse:
    """/v1/openapi.json, for everybody."""
    return HttpResponse(
        document_bytes(),
        content_type=JSON,
        headers={"Cache-Control": "public, max-age=300"},
    )
