# SPDX-License-Identifier: Apache-2.0
"""The batch file format: reading lines in constant memory and checking one of them.

Line errors have OpenAI's codes and messages where these are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in typeshed; CPython's string scanner
from typing import IO, Any

BOM = b"\xef\xbb\xbf"
CUSTOM_ID_LENGTH = 512
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/score",
    "/v1/rerank",
)
# What each endpoint cannot do without: one of these sets of fields. The first set is the
# one that an error names. vLLM's embeddings also take a chat; its score takes four forms.
NEEDED: dict[str, tuple[tuple[str, ...], ...]] = {
    "/v1/chat/completions": (("messages",),),
    "/v1/completions": (("prompt",), ("prompt_embeds",)),
    "/v1/embeddings": (("input",), ("messages",)),
    "/v1/responses": (("input",), ("prompt",)),
    "/v1/score": (
        ("text_1", "text_2"),
        ("queries", "documents"),
        ("queries", "items"),
        ("data_1", "data_2"),
    ),
    "/v1/rerank": (("query", "documents"),),
}
_space = re.compile(r"[ \t\n\r]*").match


@dataclass(eq=False)
class LineError(Exception):
    """What is wrong with one line; `line` is 1-based, None for the whole file."""

    code: str
    message: str
    param: str | None = None
    line: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's batch error object."""
        return {
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "line": self.line,
        }


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the file that is not blank; `data` is None when it was too long."""

    number: int
    offset: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Where a value stands in the line's text, in characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ParsedLine:
    """A line that may run: its id, its parsed body, and where both stand in the text."""

    custom_id: str
    model: str
    body: dict[str, Any]
    custom_id_at: Slice
    body_at: Slice


def read_lines(stream: IO[bytes], *, limit: int, offset: int = 0) -> Iterator[Line]:
    """The lines of a file that are not blank, with their numbers and byte offsets.

    At most `limit` + 1 bytes are held; a longer line comes with data None. A BOM and
    carriage returns are not part of the data.
    """
    number = 0
    while raw := stream.readline(limit + 2):
        number += 1
        start, size = offset, len(raw)
        whole = raw.endswith(b"\n") or size <= limit
        while not raw.endswith(b"\n") and (rest := stream.readline(1 << 20)):
            whole = False
            size += len(rest)
            raw = rest
        offset += size
        if not whole:
            yield Line(number, start, None)
            continue
        if number == 1 and raw.startswith(BOM):
            raw = raw[len(BOM) :]
            start += len(BOM)
        data = raw.rstrip(b"\r\n")
        if data.strip():
            yield Line(number, start, data)


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_reject_constant)


def parse_object(text: str) -> dict[str, tuple[Any, Slice]]:
    """The members of a JSON object with the place of each value in the text.

    The place lets the body be stored exactly as received. ValueError (or
    RecursionError) when the text is not one JSON object; of equal keys the last wins.
    """
    at = _space(text, 0).end()  # type: ignore[union-attr]  # the pattern always matches
    if text[at : at + 1] != "{":
        raise ValueError("not an object")
    members: dict[str, tuple[Any, Slice]] = {}
    at = _space(text, at + 1).end()  # type: ignore[union-attr]  # as above
    while text[at : at + 1] != "}" or members:
        if text[at : at + 1] != '"':
            raise ValueError("no key")
        key, at = scanstring(text, at + 1, True)
        at = _space(text, at).end()  # type: ignore[union-attr]  # as above
        if text[at : at + 1] != ":":
            raise ValueError("no colon")
        start = _space(text, at + 1).end()  # type: ignore[union-attr]  # as above
        value, end = _decoder.raw_decode(text, start)
        members[key] = (value, Slice(start, end))
        at = _space(text, end).end()  # type: ignore[union-attr]  # as above
        if text[at : at + 1] == "}":
            break
        if text[at : at + 1] != ",":
            raise ValueError("no comma")
        at = _space(text, at + 1).end()  # type: ignore[union-attr]  # as above
    if text[at + 1 :].strip(" \t\n\r"):
        raise ValueError("text after the object")
    return members


def parse_array(text: str) -> list[tuple[Any, Slice]]:
    """The entries of a JSON array with their places in the text; ValueError for no array."""
    at = _space(text, 0).end()  # type: ignore[union-attr]  # the pattern always matches
    if text[at : at + 1] != "[":
        raise ValueError("not an array")
    entries: list[tuple[Any, Slice]] = []
    at = _space(text, at + 1).end()  # type: ignore[union-attr]  # as above
    while text[at : at + 1] != "]" or entries:
        value, end = _decoder.raw_decode(text, at)
        entries.append((value, Slice(at, end)))
        at = _space(text, end).end()  # type: ignore[union-attr]  # as above
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise ValueError("no comma")
        at = _space(text, at + 1).end()  # type: ignore[union-attr]  # as above
    if text[at + 1 :].strip(" \t\n\r"):
        raise ValueError("text after the array")
    return entries


def unparseable(n: int) -> LineError:
    """The error of line `n` when it is no JSON, or nested too deeply for us."""
    return LineError(
        "invalid_json_line", "This line is not parseable as valid JSON.", None, n
    )


def parse_line(
    line: Line, *, endpoint: str, models: Collection[str], limit: int
) -> tuple[str, ParsedLine]:
    """Check one line; returns its text and its parts, or raises LineError (the first)."""
    n = line.number
    if line.data is None:
        raise LineError(
            "line_too_long", f"This line is longer than {limit:,} bytes.", None, n
        )
    try:
        text = line.data.decode()
        members = parse_object(text)
    except (ValueError, RecursionError) as error:
        raise unparseable(n) from error
    for key in ("custom_id", "method", "url", "body"):
        if key not in members:
            raise LineError(
                "missing_required_parameter",
                f"Missing required parameter: '{key}'.",
                key,
                n,
            )
    custom_id, custom_id_at = members["custom_id"]
    _check_custom_id(custom_id, n)
    if members["method"][0] != "POST":
        raise LineError("invalid_method", "The method must be 'POST'.", "method", n)
    if members["url"][0] != endpoint:
        raise LineError(
            "invalid_url",
            "The URL provided for this request does not match the batch endpoint.",
            "url",
            n,
        )
    body, body_at = members["body"]
    model = _check_body(body, endpoint, n, models)
    return text, ParsedLine(custom_id, model, body, custom_id_at, body_at)


def _check_custom_id(custom_id: Any, n: int) -> None:
    good = isinstance(custom_id, str) and 0 < len(custom_id) <= CUSTOM_ID_LENGTH
    if good:
        good = _storable(custom_id)
    if not good:
        raise LineError(
            "invalid_custom_id",
            f"The custom_id must be a string of 1 to {CUSTOM_ID_LENGTH} characters"
            " without NUL characters and lone surrogates.",
            "custom_id",
            n,
        )


def quoted(text: str, most: int = 200) -> str:
    """A client's text as part of a message: short, and storable in every database."""
    shown = text[:most].encode(errors="backslashreplace").decode()
    return shown.replace("\0", "\\u0000")


def _storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text: no NUL, no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _check_body(body: Any, endpoint: str, n: int, models: Collection[str]) -> str:
    """The body's model, or LineError."""
    if not isinstance(body, dict):
        raise LineError(
            "invalid_request", "The request body must be a JSON object.", "body", n
        )
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise LineError(
            "invalid_request", "Model parameter is required.", "body.model", n
        )
    if model not in models:
        raise LineError(
            "model_not_found",
            f"The provided model '{quoted(model)}' is not supported by the Batch API.",
            "body.model",
            n,
        )
    if missing := _missing_field(body, endpoint):
        raise LineError(
            "invalid_request",
            f"{missing.capitalize()} parameter is required.",
            f"body.{missing}",
            n,
        )
    if body.get("stream"):
        kind = "Chat Completions: " if endpoint == "/v1/chat/completions" else ""
        raise LineError(
            "streaming_unsupported",
            f"{kind}Streaming is not supported in the Batch API.",
            "body.stream",
            n,
        )
    return model


def _missing_field(body: dict[str, Any], endpoint: str) -> str | None:
    """A field without which the endpoint can do nothing, or None when all is there.

    Of the ways to call the endpoint the body's own counts: the one it begins.
    """
    gaps = [
        [field for field in fields if body.get(field) in (None, "", [])]
        for fields in NEEDED.get(endpoint, ())
    ]
    if not all(gaps):
        return None
    begun = [
        gap
        for gap, fields in zip(gaps, NEEDED[endpoint], strict=True)
        if len(gap) < len(fields)
    ]
    return (begun or gaps)[0][0]


def input_count(body: dict[str, Any]) -> int:
    """How many inputs an embeddings request has: texts, or lists of tokens."""
    given = body.get("input")
    if not isinstance(given, list) or (given and isinstance(given[0], int)):
        return 1
    return len(given)
