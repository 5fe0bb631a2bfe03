# SPDX-License-Identifier: Apache-2.0
"""One result read closely, and beside another batch's answer to the same request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import QueryDict

from batchsite.accounts.models import User
from jobs.answer_text import messages_of, parsed
from jobs.models import Batch, BatchRequest, Result
from jobs.result_search import is_failed, preview
from jobs.result_texts import whole_text
from jobs.templatetags.figures import printable

from . import markdown, previews
from .worddiff import Piece, differences

# Longer texts are cut off on the page and offered as a file.
SHOWN_TEXT = 60_000
# Markdown is read in more than linear time: of a text that is made for it, five times
# as many characters keep a web process busy for seconds, these for one at most.
RENDERED_TEXT = 20_000
CANDIDATES = 12


@dataclass(frozen=True)
class Pair:
    """A row and the other batch's answer; `same` is None where there is no other."""

    row: previews.Row
    other: previews.Row | None = None
    same: bool | None = None


def other_batch(user: User, batch: Batch, query: QueryDict) -> tuple[Batch | None, str]:
    """The batch that the address compares with, or why it cannot."""
    wanted = query.get("with", "").strip()
    if not wanted:
        return None, ""
    found = Batch.objects.visible_to(user).find(wanted)
    if found is None:
        return None, f"There is no batch {printable(wanted)[:60]} that you may see."
    if found.pk == batch.pk:
        return None, "A batch cannot be compared with itself."
    return found, ""


def candidates(batch: Batch) -> list[Batch]:
    """Batches that probably have the same custom ids: of the same file, or kin."""
    kin = Q(parent=batch)
    if batch.parent_id:
        kin |= Q(pk=batch.parent_id)
    if batch.input_file_id:
        kin |= Q(input_file=batch.input_file_id)
    found = Batch.objects.filter(kin, team=batch.team).kept().exclude(pk=batch.pk)
    return list(found.select_related("input_file").order_by("-pk")[:CANDIDATES])


def beside(rows: Sequence[previews.Row], other: Batch | None) -> list[Pair]:
    """The rows with the other batch's answers to the same custom ids; one query."""
    if other is None:
        return [Pair(row) for row in rows]
    ids = [row.result.request.custom_id for row in rows]
    answers = Result.objects.filter(request__batch=other, request__custom_id__in=ids)
    theirs = {one.request.custom_id: previews.row(one) for one in preview(answers)}
    return [_pair(row, theirs.get(row.result.request.custom_id)) for row in rows]


def _pair(row: previews.Row, other: previews.Row | None) -> Pair:
    if other is None:
        return Pair(row)
    same = (row.text, row.failed) == (other.text, other.failed)
    return Pair(row, other, same)


def read(result: Result, view: str, other: Batch | None) -> dict[str, Any]:
    """What that view of the result shows; the bodies are read only where they are shown."""
    if view == "provenance":
        return {"facts": provenance(result)}
    if view == "request":
        body = BatchRequest.objects.values_list("body", flat=True).get(
            pk=result.request_id
        )
        return {
            "messages": [
                (role, _cut(text)) for role, text in messages_of(parsed(body))
            ],
            "json": _cut(indented(body)),
        }
    body = Result.objects.values_list("body", flat=True).get(pk=result.pk)
    if view == "json":
        return {"json": _cut(indented(body) if body else _own_error(result))}
    text = whole_text(result, body)
    if view == "raw":
        return {"text": _cut(text), "cut_at": _cut_at(text, SHOWN_TEXT)}
    if view == "compare" and other is not None:
        return _compared(result, text, other)
    if is_failed(result):
        return {"text": _cut(text), "cut_at": _cut_at(text, SHOWN_TEXT)}
    html = markdown.rendered(text[:RENDERED_TEXT])
    return {"html": html, "text": "", "cut_at": _cut_at(text, RENDERED_TEXT)}


def _cut_at(text: str, most: int) -> int:
    """How much of it is shown; 0 for all of it."""
    return most if len(text) > most else 0


def _compared(result: Result, text: str, other: Batch) -> dict[str, Any]:
    theirs = (
        Result.objects.filter(
            request__batch=other, request__custom_id=result.request.custom_id
        )
        .select_related("request")
        .first()
    )
    if theirs is None:
        return {"theirs": None}
    their_text = whole_text(theirs, theirs.body)
    mine, others = text[:SHOWN_TEXT], their_text[:SHOWN_TEXT]
    left, right = differences(printable(mine), printable(others))
    pieces: dict[str, list[Piece]] = {"left": left, "right": right}
    return {"theirs": theirs, "same": text == their_text, **pieces}


def _own_error(result: Result) -> str:
    error = {"code": result.error_code, "message": result.error_message}
    return json.dumps({"error": error}, indent=2, ensure_ascii=False)


def indented(body: str) -> str:
    """JSON for people, in the order of its members; as it is where it is none."""
    if len(body) > 4 * SHOWN_TEXT:
        return body
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def _cut(text: str) -> str:
    return printable(text[:SHOWN_TEXT])


def provenance(result: Result) -> list[tuple[str, str]]:
    """Where the answer is from and what it took, as names and values."""
    noted = result.provenance if isinstance(result.provenance, dict) else {}
    facts: list[tuple[str, object]] = [
        ("custom_id", result.request.custom_id),
        ("line in the input file", result.request.line),
        ("model asked for", result.request.model),
        ("status", result.status_code or result.error_code),
        ("error class", result.error_class),
        ("ended by", result.finish_reason),
        ("tokens in", f"{result.input_tokens:,}"),
        ("of these cached", f"{result.cached_tokens:,}"),
        ("tokens out", f"{result.output_tokens:,}"),
        ("of these reasoning", f"{result.reasoning_tokens:,}"),
        ("latency", "" if result.latency_ms is None else f"{result.latency_ms:,} ms"),
        ("tries", result.attempts),
        ("request id of the engine", result.engine_request_id),
        ("stored", f"{result.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("place among the results", result.seq),
    ]
    facts += [(key.replace("_", " "), _word(value)) for key, value in noted.items()]
    return [(printable(name), printable(value)) for name, value in facts if value != ""]


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
