# SPDX-License-Identifier: Apache-2.0
"""The description as a page for people: /v1/docs, without a script and offline."""

from __future__ import annotations

import functools
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from .document import document
from .objects import Schema
from .operation import ERRORS, FORM


@require_safe
def reference(request: HttpRequest) -> HttpResponse:
    """Every operation and object of the API, for everybody."""
    ctx = {
        "title": document()["info"]["title"],
        "version": document()["info"]["version"],
        "groups": groups(),
        "objects": objects(),
        "base_url": request.build_absolute_uri("/v1"),
    }
    return render(request, "api/reference.html", ctx)


@functools.cache
def groups() -> list[dict[str, Any]]:
    """Operations by tag, in the order in which the tags first come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document()["paths"].items():
        for method, described in methods.items():
            [tag] = described["tags"]
            found.setdefault(tag, []).append(shown(path, method, described))
    order = ("Files", "Uploads", "Batches", "Models")
    named = [tag for tag in order if tag in found]
    named += [tag for tag in found if tag not in order]
    return [{"tag": tag, "operations": found[tag]} for tag in named]


def shown(path: str, method: str, described: Schema) -> dict[str, Any]:
    """One operation as the page shows it."""
    content = described.get("requestBody", {}).get("content", {})
    answer = described["responses"]["200"]["content"]
    [(answer_type, answered)] = answer.items()
    return {
        "id": described["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": described["summary"],
        "description": described["description"],
        "parameters": [parameter(each) for each in described["parameters"]],
        "fields": [
            field for sent in content.values() for field in fields(sent["schema"])
        ],
        "is_form": FORM in content,
        "answer": words(answered["schema"]),
        "answer_link": name_in(answered["schema"]),
        "answer_type": answer_type,
        "errors": [
            {"status": status, "words": plain(ERRORS[int(status)])}
            for status in described["responses"]
            if status != "200"
        ],
    }


def parameter(described: Schema) -> dict[str, Any]:
    """A parameter of the path, the query or the headers."""
    return {
        "name": described["name"],
        "place": described["in"],
        "required": described.get("required", False),
        "words": words(described["schema"]),
        "description": plain(described["description"]),
    }


def plain(text: str) -> str:
    """Words without the marks of Markdown."""
    return text.replace("`", "")


@functools.cache
def objects() -> list[dict[str, Any]]:
    """The objects that are answered or sent, by name."""
    schemas: dict[str, Schema] = document()["components"]["schemas"]
    return [{"name": name, "fields": fields(schemas[name])} for name in sorted(schemas)]


def fields(schema: Schema, prefix: str = "") -> list[dict[str, Any]]:
    """The members of an object, those of objects inside it after it."""
    if name := name_in(schema):
        schema = document()["components"]["schemas"][name]
    rows: list[dict[str, Any]] = []
    for name, member in schema.get("properties", {}).items():
        rows.append(
            {
                "name": f"{prefix}{name}",
                "required": name in schema.get("required", []),
                "words": words(member),
                "link": name_in(member),
                "description": plain(member.get("description", "")),
            }
        )
        if "properties" in member:
            rows += fields(member, f"{prefix}{name}.")
    return rows


def name_in(schema: Schema) -> str:
    """The named schema that this one is, or holds; "" for none."""
    inner = [schema, schema.get("items", {}), *schema.get("anyOf", [])]
    found = [part["$ref"] for part in inner if "$ref" in part]
    return found[0].rpartition("/")[2] if found else ""


def words(schema: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        return name_in(schema)
    if "anyOf" in schema:
        return " or ".join(words(part) for part in schema["anyOf"])
    if "const" in schema:
        return "true" if schema["const"] is True else str(schema["const"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    kinds = schema.get("type", "anything")
    first, *others = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join([bounded(first, schema), *others])


def bounded(kind: str, schema: Schema) -> str:
    """A type with the range of its values, in words."""
    if schema.get("format") == "binary":
        return "bytes"
    if kind == "array":
        inner = words(schema["items"]).replace("string", "strings", 1)
        return f"list of {between(schema, 'Items')}{inner}"
    if kind == "string" and "maxLength" in schema:
        return f"string of {between(schema, 'Length')}characters"
    if "maximum" in schema:
        return f"{kind} from {schema['minimum']:,} to {schema['maximum']:,}"
    return kind


def between(schema: Schema, what: str) -> str:
    """In words, such as "1 to 50 " or "up to 50 "; nothing without a limit."""
    most, least = schema.get(f"max{what}"), schema.get(f"min{what}")
    if most is None:
        return ""
    return f"{least:,} to {most:,} " if least else f"up to {most:,} "
