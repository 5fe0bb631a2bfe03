# SPDX-License-Identifier: Apache-2.0
"""The results that a filter leaves, as a file: in the output file's lines, or for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.http import Http404, HttpRequest, StreamingHttpResponse

from batchsite.accounts.addresses import client_address
from jobs import output, readings
from jobs.access import person
from jobs.models import Batch, Result
from jobs.result_search import ResultFilter, is_failed, search
from jobs.result_texts import whole_text

from . import spreadsheets

ROWS = 200
# Every slice ends by itself: long searches send what they found so far.
SLICE_SECONDS = 5.0
HEAD = (
    *("custom_id", "status", "answer", "error", "finish_reason", "model"),
    *("input_tokens", "output_tokens", "latency_ms", "attempts"),
)
FORMATS = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


def response(
    request: HttpRequest, batch: Batch, wanted: ResultFilter, *, form: str
) -> StreamingHttpResponse:
    """A download that is read from the tables while it is sent; Http404 for other formats."""
    if form not in FORMATS:
        raise Http404("Results come as jsonl or csv.")
    readings.note(
        f"results_{form}",
        batch=batch,
        reader=f"user-{person(request).pk}",
        user=person(request),
        address=client_address(request),
    )
    rows = matching(batch, wanted)
    parts = (
        _jsonl(rows) if form == "jsonl" else spreadsheets.lines(HEAD, map(_cells, rows))
    )
    answer = StreamingHttpResponse(parts, content_type=FORMATS[form])
    name = f"{batch.public_id}_results.{form}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def matching(batch: Batch, wanted: ResultFilter) -> Iterator[Result]:
    """Every result that matches, in input order, some at a time with their bodies."""
    after = -1
    while True:
        found = search(
            batch, wanted, after=after, limit=ROWS, seconds=SLICE_SECONDS, most=2**31
        )
        yield from _with_bodies(found.rows)
        if found.ended:
            return
        after = found.reached


def _with_bodies(rows: Sequence[Result]) -> Iterator[Result]:
    """The same results, their bodies read 4 MB at a time."""
    while rows:
        some = rows[: output.fitting(one.length for one in rows)]  # type: ignore[attr-defined]  # of result_search.preview
        pks = [one.pk for one in some]
        bodies = dict(Result.objects.filter(pk__in=pks).values_list("pk", "body"))
        for one in some:
            one.body = bodies[one.pk]
            yield one
        rows = rows[len(some) :]


def _jsonl(rows: Iterator[Result]) -> Iterator[bytes]:
    for result in rows:
        yield output.output_line(result)


def _cells(result: Result) -> list[object]:
    failed = is_failed(result)
    text = whole_text(result, result.body)
    return [
        result.request.custom_id,
        result.status_code or "",
        "" if failed else text,
        text if failed else "",
        result.finish_reason,
        result.request.model,
        result.input_tokens,
        result.output_tokens,
        "" if result.latency_ms is None else result.latency_ms,
        result.attempts,
    ]
