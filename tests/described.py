# SPDX-License-Identifier: Apache-2.0
"""Whether an answer under /v1/ is one that the OpenAPI document describes."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from typing import Any

from django.urls import Resolver404
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from jobs.api.schema.document import document

# What a path or method that does not exist may be told.
NOWHERE = (400, 401, 404, 405, 413, 429)


def template_of(route: str) -> str:
    """A Django route as OpenAPI writes paths."""
    return "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", route)


@functools.cache
def validator(path: str, method: str, status: str, media_type: str) -> Any:
    """Checks the bodies of such answers; AssertionError for one not described."""
    operation = document()["paths"][path][method]
    assert status in operation["responses"], f"{status} of {method} {path}"
    response = operation["responses"][status]
    if "$ref" in response:
        name = response["$ref"].rpartition("/")[2]
        response = document()["components"]["responses"][name]
    assert media_type in response["content"], f"{media_type} of {method} {path}"
    schema = response["content"][media_type]["schema"]
    return Draft202012Validator({"components": document()["components"], **schema})


@functools.cache
def of_component(name: str) -> Any:
    """Checks values of a named schema."""
    ref = {"$ref": f"#/components/schemas/{name}"}
    return Draft202012Validator({"components": document()["components"], **ref})


def fits(name: str, value: Any) -> bool:
    """Whether a value is of the named schema."""
    return bool(of_component(name).is_valid(value))


def check(answer: Any) -> bytes:
    """The content; AssertionError when the description does not allow the answer.

    `answer` is the test client's; what streams is read to its end, which closes it.
    """
    content: bytes = answer.getvalue()
    check_unread(answer)
    if answer.streaming and answer["Content-Type"] == "application/json":
        method = answer.request["REQUEST_METHOD"].lower()
        path = template_of(answer.resolver_match.route)
        checker = validator(path, method, str(answer.status_code), "application/json")
        checker.validate(json.loads(content))
    return content


def check_unread(answer: Any) -> None:
    """The same, but what streams is left to the caller."""
    method = answer.request["REQUEST_METHOD"].lower()
    assert answer["x-request-id"]
    media_type = answer["Content-Type"].partition(";")[0]
    path = ""
    with contextlib.suppress(Resolver404):
        path = template_of(answer.resolver_match.route)
    known = document()["paths"].get(path)
    if known is None or method not in known:
        # No such path, no such method, or refused before the path was looked at.
        assert answer.status_code in NOWHERE, answer.status_code
        if method != "head":
            of_component("Error").validate(answer.json())
        return
    checker = validator(path, method, str(answer.status_code), media_type)
    if media_type == "application/json" and not answer.streaming:
        checker.validate(answer.json())


class DescribedClient(APIClient):
    """An API client that fails on an answer under /v1/ that is not described."""

    def request(self, **kwargs: Any) -> Any:
        """Send the request and check its answer."""
        answer = super().request(**kwargs)
        path = answer.request["PATH_INFO"]
        if path.startswith("/v1/") and path != "/v1/docs":
            check_unread(answer)
        return answer
