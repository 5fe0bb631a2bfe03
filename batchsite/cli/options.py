# SPDX-License-Identifier: Apache-2.0
"""Options that several commands have, and what is made of their values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.templating import CHAT, Template

from .problems import Problem

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_span = re.compile(r"(\d{1,9})\s*([smhd]?)")

BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="Id of the batch.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 also when rows of it failed.")
]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Stay and show how it goes.")
]
OutFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Write here, not to stdout."),
]

# --- of a new batch
Model = Annotated[str, typer.Option("--model", "-m", help="Name of the model.")]
Name = Annotated[str, typer.Option("--name", help="What people call the batch.")]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="To find it by; may be repeated.")
]
Priority = Annotated[
    int | None, typer.Option("--priority", help="-100 to 100; higher runs first.")
]
Window = Annotated[
    str,
    typer.Option(
        "--window", "--expires-in", metavar="TIME", help="Deadline: 90m, 48h or 3d."
    ),
]
Webhook = Annotated[
    str, typer.Option("--webhook", metavar="URL", help="Is told of its end.")
]
Metadata = Annotated[
    list[str] | None,
    typer.Option("--metadata", metavar="KEY=VALUE", help="May be repeated."),
]
Paused = Annotated[
    bool, typer.Option("--paused", help="Check the file, and start no request.")
]

# --- of a request's body
OF_REQUESTS = "What each request asks"
System = Annotated[
    str,
    typer.Option(
        "--system",
        metavar="TEXT",
        help="System prompt, or @FILE that has it.",
        rich_help_panel=OF_REQUESTS,
    ),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        min=1,
        help="Most tokens of an answer.",
        rich_help_panel=OF_REQUESTS,
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        min=0,
        help="0: always the likeliest words.",
        rich_help_panel=OF_REQUESTS,
    ),
]
Members = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=JSON",
        help="Another member of each request's body; may be repeated.",
        rich_help_panel=OF_REQUESTS,
    ),
]

# --- of a table
OF_TABLES = "Reading a table"
Prompt = Annotated[
    str,
    typer.Option(
        "--template",
        "-t",
        metavar="TEXT",
        help="Prompt with {column} placeholders, or @FILE that has it.",
        rich_help_panel=OF_REQUESTS,
    ),
]
CustomId = Annotated[
    str,
    typer.Option(
        "--custom-id",
        metavar="COLUMN",
        help="Column with the ids; else row-1, row-2…",
        rich_help_panel=OF_TABLES,
    ),
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint", metavar="PATH", help=f"Like {CHAT}.", rich_help_panel=OF_REQUESTS
    ),
]
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty",
        help="Take rows with empty cells too.",
        rich_help_panel=OF_TABLES,
    ),
]
Delimiter = Annotated[
    str,
    typer.Option(
        "--delimiter",
        metavar="CHAR",
        help="Between cells of a CSV.",
        rich_help_panel=OF_TABLES,
    ),
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="KIND",
        help="csv, tsv, jsonl or parquet; else by its name.",
        rich_help_panel=OF_TABLES,
    ),
]


def seconds_of(span: str) -> int:
    """`90m`, `48h`, `3d` or a number of seconds."""
    found = _span.fullmatch(span.strip().lower())
    if not found:
        raise Problem(f"--window {span}: write a number and s, m, h or d, as in 48h.")
    return int(found[1]) * UNITS[found[2] or "s"]


def text_of(given: str) -> str:
    """The text itself, or what is in the file that @FILE names."""
    if not given.startswith("@"):
        return given
    path = Path(given[1:])
    try:
        return path.read_text(encoding="utf-8-sig").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read as text in UTF-8: {error}") from error


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """KEY=VALUE as they were given, the last of equal keys."""
    found: dict[str, str] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise Problem(f"{option} {text}: write KEY=VALUE.")
        found[key] = value
    return found


def members_of(
    given: Sequence[str] | None,
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> dict[str, Any]:
    """Members of a request's body, by options of their own and by --set."""
    found: dict[str, Any] = {}
    if max_tokens is not None:
        found["max_tokens"] = max_tokens
    if temperature is not None:
        found["temperature"] = finite(temperature)
    for key, text in pairs("--set", given).items():
        try:
            found[key] = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            # Most values are words, which JSON would want in quotes.
            found[key] = text
    return found


def finite(temperature: float) -> float:
    """The temperature, if JSON can hold it."""
    if not math.isfinite(temperature):
        raise Problem("--temperature must be a number.")
    return temperature


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def extensions(
    *,
    name: str,
    tags: Sequence[str] | None,
    priority: int | None,
    window: str,
    webhook: str,
    paused: bool = False,
    mixed_models: bool = False,
    by_arrival: bool = False,
    dedupe: bool = True,
) -> dict[str, Any]:
    """The `batchsite` object of a new batch, with what was given alone."""
    found: dict[str, Any] = {
        "name": name or None,
        "tags": list(tags) if tags else None,
        "priority": priority,
        "expires_in_seconds": seconds_of(window) if window else None,
        "webhook_url": webhook or None,
        "paused": paused or None,
        "allow_mixed_models": mixed_models or None,
        "output_order": "completion" if by_arrival else None,
        "dedupe": None if dedupe else False,
    }
    return {key: value for key, value in found.items() if value is not None}


def check_strict(*, strict: bool, watch: bool) -> None:
    """Problem for --strict where nobody waits for the end that it judges."""
    if strict and not watch:
        raise Problem(
            "--strict is about how the batch ends: it needs --watch. Later:"
            " batchsite watch BATCH --strict"
        )


def template_of(
    prompt: str,
    *,
    model: str,
    system: str,
    custom_id: str,
    endpoint: str,
    max_tokens: int | None,
    temperature: float | None,
    members: Sequence[str] | None,
    allow_empty: bool,
) -> Template:
    """The template that the options describe; Problem when it can make nothing."""
    if not model:
        raise Problem("A template needs a model: --model NAME. See: batchsite models")
    try:
        return Template(
            prompt=text_of(prompt),
            model=model,
            system=text_of(system),
            custom_id=custom_id,
            endpoint=endpoint or CHAT,
            max_tokens=max_tokens,
            temperature=None if temperature is None else finite(temperature),
            body=members_of(members),
            allow_empty=allow_empty,
        )
    except ValueError as error:
        raise Problem(str(error)) from error
