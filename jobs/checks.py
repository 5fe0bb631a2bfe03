# SPDX-License-Identifier: Apache-2.0
"""Pass 1 over an input file: every error, the order of running, nothing written.

Intake does it before it inserts rows; a dry run does it and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.files.storage import default_storage

from batchsite.accounts.models import Team

from .jsonl import (
    Line,
    LineError,
    ParsedLine,
    input_count,
    parse_line,
    quoted,
    read_lines,
    unparseable,
)
from .models import BatchFile, ServedModel
from .ordering import Order, Spool, decide, max_tokens

ERRORS_SHOWN = 1000
# A tokenizer of English text makes about one token of four characters.
CHARACTERS_A_TOKEN = 4
# Used for sizing chunks where a request does not limit its answer.
DEFAULT_OUTPUT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """What the lines of a file are checked against."""

    endpoint: str
    models: frozenset[str]
    most: int
    mixed: bool = False
    dedupe: bool = True


def requests_limit(team: Team) -> int:
    """The most requests that a batch of the team may have."""
    own = team.max_requests
    return settings.BATCHSITE_MAX_REQUESTS if own is None else own


def rules_for(team: Team, *, endpoint: str, mixed: bool, dedupe: bool) -> Rules:
    """The rules of a batch of the team, with the models that can be used now."""
    return Rules(
        endpoint,
        frozenset(ServedModel.objects.enabled().values_list("name", flat=True)),
        requests_limit(team),
        mixed,
        dedupe,
    )


class Plan:
    """What pass 1 learned of each request, by index, in arrays (about 44 bytes a row)."""

    def __init__(self) -> None:
        self.offset = array("Q")
        self.line = array("I")
        self.size = array("I")
        self.id_start, self.id_end = array("I"), array("I")
        self.body_start, self.body_end = array("I"), array("I")
        self.tokens = array("I")
        # Most output tokens, over all its answers; 0 where the request does not say.
        self.limit = array("I")
        self.model_of = array("H")
        self.models: list[str] = []
        # Lines that are not blank, bad ones too.
        self.lines = 0
        self.order = Order(0)

    def __len__(self) -> int:
        return len(self.line)

    def add(self, line: Line, parsed: ParsedLine, model: int) -> None:
        """Note where a valid line's parts are; the arrays grow by one."""
        self.offset.append(line.offset)
        self.line.append(line.number)
        self.size.append(len(line.data or b""))
        self.id_start.append(parsed.custom_id_at.start)
        self.id_end.append(parsed.custom_id_at.end)
        self.body_start.append(parsed.body_at.start)
        self.body_end.append(parsed.body_at.end)
        body_size = parsed.body_at.end - parsed.body_at.start
        limit = max_tokens(parsed.body)
        # Prompt tokens cost about a tenth of generated ones.
        self.tokens.append(
            (limit or DEFAULT_OUTPUT_TOKENS) + body_size // (10 * CHARACTERS_A_TOKEN)
        )
        answers = parsed.body.get("n")
        answers = answers if isinstance(answers, int) and 0 < answers <= 128 else 1
        self.limit.append(min(limit * answers, 0xFFFFFFFF))
        self.model_of.append(model)

    def prompt_tokens(self, index: int) -> int:
        """Estimated input tokens of a request: its body's characters over four."""
        characters = self.body_end[index] - self.body_start[index]
        return max(1, characters // CHARACTERS_A_TOKEN)

    def input_tokens(self) -> int:
        """Estimated input tokens of all requests, copies too."""
        return sum(map(self.prompt_tokens, range(len(self))))


@dataclass(slots=True)
class Errors:
    """The bad lines: the first 1,000 for the batch object, all of them in a file.

    `kinds` counts them by code.
    """

    spool: IO[bytes] | None = None
    count: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    shown: list[dict[str, Any]] = field(default_factory=list)

    def add(self, error: LineError) -> None:
        """Take one more."""
        self.count += 1
        self.kinds[error.code] += 1
        if len(self.shown) < ERRORS_SHOWN:
            self.shown.append(error.as_dict())
        if self.spool is not None:
            self.spool.write(json.dumps(error.as_dict()).encode() + b"\n")

    def as_openai(self) -> dict[str, Any]:
        """OpenAI's errors list; a last entry says when it is not the whole list."""
        data = list(self.shown)
        if self.count > len(data):
            data.append(
                LineError(
                    "more_errors",
                    f"{self.count - len(data):,} more errors are not listed here;"
                    " the validation report has all of them.",
                ).as_dict()
            )
        return {"object": "list", "data": data}


def file_problem(file: BatchFile | None, ref: str, team: Team) -> LineError | None:
    """Why the file that `ref` names is no input for the team's batch, or None."""
    if file is None or file.deleted_at or not default_storage.exists(file.storage_name):
        return LineError(
            "invalid_request",
            f"Cannot find file {quoted(ref)}, or organization"
            f" {team.name} does not have access to it.",
            "file_id",
        )
    if file.purpose != BatchFile.Purpose.BATCH:
        return LineError(
            "invalid_file_purpose",
            f"File {file.public_id} has purpose '{file.purpose}'; a batch needs 'batch'.",
            "file_id",
        )
    return None


def check_file(
    stream: IO[bytes],
    rules: Rules,
    *,
    folder: Path,
    errors: Errors,
    between: Callable[[], None],
) -> Plan:
    """Check each line, spool its sort key in `folder`, decide the order.

    Without errors the plan names every request; with errors it is of no use.
    `between` is called every 500 lines and may raise.
    """
    plan, spool = Plan(), Spool(folder)
    seen: set[int] = set()
    lines = inputs = 0
    source = read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES)
    for lines, line in enumerate(source, start=1):
        if lines % 500 == 0:
            between()
        try:
            text, parsed = _check(line, rules, plan, seen)
            inputs += input_count(parsed.body)
            if errors.count or lines > rules.most:
                continue
            model = plan.models.index(parsed.model)
            raw = text[parsed.body_at.start : parsed.body_at.end]
            spool.add(model=model, body=parsed.body, raw_body=raw)
        except LineError as error:
            errors.add(error)
        except RecursionError:
            # Writing JSON needs a little more stack than reading it.
            errors.add(unparseable(line.number))
        else:
            plan.add(line, parsed, model)
    plan.lines = lines
    if problem := _count_problem(lines, inputs, rules):
        errors.add(problem)
    keys = spool.sorted_keys()
    if not errors.count:
        plan.order = decide(keys, plan.model_of, dedupe=rules.dedupe)
    return plan


def _count_problem(lines: int, inputs: int, rules: Rules) -> LineError | None:
    if lines > rules.most:
        return LineError(
            "too_many_requests_in_file",
            f"The file has {lines:,} requests; at most {rules.most:,} are allowed in one"
            " batch.",
        )
    if rules.endpoint == "/v1/embeddings" and inputs > rules.most:
        return LineError(
            "too_many_inputs",
            f"The requests of the file have {inputs:,} embedding inputs in all; at most"
            f" {rules.most:,} are allowed in one batch.",
        )
    if lines == 0:
        return LineError(
            "empty_file",
            "The input file is empty. Please ensure that the batch contains at least"
            " one request.",
        )
    return None


def _check(
    line: Line, rules: Rules, plan: Plan, seen: set[int]
) -> tuple[str, ParsedLine]:
    """The rules of one line and those between lines."""
    text, parsed = parse_line(
        line,
        endpoint=rules.endpoint,
        models=rules.models,
        limit=settings.BATCHSITE_MAX_LINE_BYTES,
    )
    digest = int.from_bytes(
        hashlib.blake2b(parsed.custom_id.encode(), digest_size=8).digest()
    )
    if digest in seen:
        raise LineError(
            "duplicate_custom_id",
            "The custom_id for this request is a duplicate of another request. The"
            " custom_id parameter must be unique for each request in a batch.",
            "custom_id",
            line.number,
        )
    seen.add(digest)
    if parsed.model not in plan.models:
        if plan.models and not rules.mixed:
            raise LineError(
                "mismatched_model",
                f"The model '{quoted(parsed.model)}' does not match the rest of the"
                " batch. Each batch must contain requests for a single model.",
                "body.model",
                line.number,
            )
        plan.models.append(parsed.model)
    return text, parsed
