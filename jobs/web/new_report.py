# SPDX-License-Identifier: Apache-2.0
"""What the check of a batch file found, as its page shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import default_storage

from jobs.checks import rules_for
from jobs.dry_run import Verdict, dry_run
from jobs.jsonl import ENDPOINTS, Line, read_lines
from jobs.models import BatchFile

from .new_forms import Choices

# Bad lines on one page; of all bad lines the first 1,000 can be read here.
LINES = 50
LINE_CHARACTERS = 600
NEIGHBOUR_CHARACTERS = 160
# A check of the same file with the same rules says the same.
KEPT_SECONDS = 600
# Where a file does not say what it is for.
USUAL = "/v1/chat/completions"
# What to do, by the code of the error.
KINDS = {
    "invalid_json_line": ("no valid JSON", "Write one JSON object on each line."),
    "missing_required_parameter": (
        "a field is missing",
        "Each line needs custom_id, method, url and body.",
    ),
    "invalid_custom_id": (
        "a custom_id that is none",
        "Use a text of 1 to 512 characters.",
    ),
    "duplicate_custom_id": (
        "a custom_id that an earlier line has",
        "Give each line its own.",
    ),
    "invalid_method": ("another method than POST", "Write “POST”."),
    "invalid_url": (
        "a url that is not the batch's endpoint",
        "Write the same url on each line, or choose that endpoint below.",
    ),
    "model_not_found": (
        "a model that is not served here",
        "Write the name of a model that this site serves.",
    ),
    "mismatched_model": (
        "another model than the lines before",
        "Allow different models below, or make a file for each.",
    ),
    "streaming_unsupported": ("streaming asked for", "Take “stream” out."),
    "line_too_long": ("too long", "Shorten the request."),
    "invalid_request": (
        "a body that the endpoint cannot take",
        "Add what the messages below name.",
    ),
    "empty_file": ("no requests", "Put at least one request into the file."),
    "too_many_requests_in_file": ("too many requests", "Split the file."),
    "too_many_inputs": ("too many inputs", "Split the file."),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """Errors of one kind: how many, and what to do."""

    count: int
    words: str
    advice: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A line beside a bad one, shortened."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """One error with the start of its line and of those around it."""

    number: int | None
    field: str
    message: str
    code: str
    text: str = ""
    before: Neighbour | None = None
    after: Neighbour | None = None


def endpoint_of(file: BatchFile) -> str:
    """The endpoint that the first line of the file names; the usual one otherwise."""
    with default_storage.open(file.storage_name) as stream:
        first = next(read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES), None)
    try:
        url = json.loads((first and first.data) or b"null")["url"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return USUAL
    return url if url in ENDPOINTS else USUAL


def checked(file: BatchFile, choices: Choices) -> Verdict:
    """The dry run of the file, or what the same one said a moment ago; LimitReached."""
    rules = rules_for(
        file.team,
        endpoint=choices.endpoint,
        mixed=choices.allow_mixed_models,
        dedupe=choices.dedupe,
    )
    facts = (
        settings.VERSION,
        file.public_id,
        file.sha256,
        choices,
        sorted(rules.models),
        rules.most,
    )
    key = f"new-batch-{hashlib.sha256(repr(facts).encode()).hexdigest()}"
    found: Verdict | None = cache.get(key)
    if found is None:
        found = dry_run(team=file.team, input_file_id=file.public_id, **asdict(choices))
        cache.set(key, found, KEPT_SECONDS)
    return found


def kinds(verdict: Verdict) -> list[Kind]:
    """The errors by kind, those with most lines first."""
    found = []
    for code, count in verdict.kinds.items():
        words, advice = KINDS.get(code, (code.replace("_", " "), ""))
        found.append(Kind(count, words, advice))
    return sorted(found, key=lambda kind: -kind.count)


def in_context(file: BatchFile, errors: Sequence[Mapping[str, Any]]) -> list[BadLine]:
    """The errors, each with the lines around it; reads the file up to the last one."""
    wanted = {error["line"] for error in errors if error["line"] is not None}
    around: dict[int, tuple[Line | None, Line, Line | None]] = {}
    if wanted:
        around = dict(_around(file, wanted))
    return [_bad(error, around.get(error["line"])) for error in errors]


def _around(
    file: BatchFile, wanted: set[int]
) -> Iterator[tuple[int, tuple[Line | None, Line, Line | None]]]:
    """Of each wanted line the one before it, itself and the one after it."""
    last = max(wanted)
    before: Line | None = None
    this: Line | None = None
    with default_storage.open(file.storage_name) as stream:
        for line in read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES):
            if this is not None and this.number in wanted:
                yield this.number, (before, this, line)
            if this is not None and this.number >= last:
                return
            before, this = this, line
    if this is not None and this.number in wanted:
        yield this.number, (before, this, None)


def _bad(
    error: Mapping[str, Any], around: tuple[Line | None, Line, Line | None] | None
) -> BadLine:
    before, this, after = around or (None, None, None)
    return BadLine(
        number=error["line"],
        field=error["param"] or "",
        message=error["message"],
        code=error["code"],
        text=_start(this, LINE_CHARACTERS) if this else "",
        before=_neighbour(before),
        after=_neighbour(after),
    )


def _neighbour(line: Line | None) -> Neighbour | None:
    if line is None:
        return None
    return Neighbour(line.number, _start(line, NEIGHBOUR_CHARACTERS))


def _start(line: Line, most: int) -> str:
    """The first characters of the line; an ellipsis where it goes on."""
    if line.data is None:
        return "(longer than a line may be)"
    # A character has four bytes at most; one that is cut is left out.
    text = line.data[: 4 * most + 4].decode(errors="replace")
    return text if len(text) <= most else f"{text[:most]}…"
