# SPDX-License-Identifier: Apache-2.0
"""Items of suites as JSON Lines: {"custom_id", "body", "reference", "metrics", "tags"}.

`body` is a request without its model; `input` instead of it is what a user says, or a
list of messages. Lines of batch files and of datasets are read, too: `messages` (the
last one, of the assistant, is the reference), `id` and `expected_output`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from django.conf import settings

from jobs.jsonl import (
    ENDPOINTS,
    Line,
    LineError,
    parse_line,
    parse_object,
    quoted,
    read_lines,
    unparseable,
)
from jobs.refusals import Refused
from jobs.row_checks import parameters
from jobs.row_checks.parameters import bad

from .scoring import Metric, read_kept

CHAT = "/v1/chat/completions"
MOST_ITEMS = 20_000
MOST_BYTES = 50_000_000
MOST_TAGS, TAG_LENGTH = 20, 50
# Different ones of a suite: figures are made for each.
MOST_KINDS = 200
REFERENCE_LENGTH = 200_000
WHY_LENGTH = 500
# Stands for a model where requests are checked as lines of a batch file.
ANY_MODEL = "any"
MEMBERS = frozenset(
    {
        *("custom_id", "method", "url", "body", "input", "reference"),
        *("metrics", "tags", "messages"),
        # of datasets; what a run gives anew is passed over
        *("id", "expected_output", "output", "scores", "rationale"),
    }
)


@dataclass(frozen=True, slots=True)
class Item:
    """One item as it was read; `reference` is None where there is none."""

    custom_id: str
    url: str
    body: dict[str, Any]
    reference: Any = None
    metrics: list[Metric] | None = None
    tags: list[str] = field(default_factory=list)


def read(stream: IO[bytes]) -> Iterator[Item]:
    """The items of a file; Refused names the line and the field.

    At most 20,000 of 50 MB together, each with a name of its own and all for one
    endpoint, with 200 different tags.
    """
    names: set[str] = set()
    tags: set[str] = set()
    url, size = "", 0
    for line in read_lines(stream, limit=settings.BATCHSITE_MAX_LINE_BYTES):
        try:
            item = _item(line, len(names))
        except LineError as error:
            where = f", field '{error.param}'" if error.param else ""
            raise _refused(line, f"{error.message}{where}") from None
        except Refused as refused:
            raise _refused(line, refused.message) from None
        except RecursionError:
            raise _refused(line, "nested too deeply.") from None
        if item.custom_id in names:
            raise _refused(line, "another line has this custom_id.")
        if url and item.url != url:
            raise _refused(line, f"all items of a suite are for one endpoint, {url}.")
        names.add(item.custom_id)
        tags.update(item.tags)
        if len(tags) > MOST_KINDS:
            raise _refused(line, f"a suite has {MOST_KINDS} different tags at most.")
        url, size = item.url, size + len(line.data or b"")
        if len(names) > MOST_ITEMS or size > MOST_BYTES:
            why = (
                f"a suite has {MOST_ITEMS:,} items of {MOST_BYTES // 10**6} MB at most."
            )
            raise _refused(line, why)
        yield item
    if not names:
        raise Refused("The file has no items.", param="file", code="empty_file")


def _refused(line: Line, why: str) -> Refused:
    message = f"Line {line.number:,}: {quoted(why, WHY_LENGTH)}"
    return Refused(message, param="file", code="invalid_item")


def _item(line: Line, place: int) -> Item:
    if line.data is None:
        raise bad("line", f"longer than {settings.BATCHSITE_MAX_LINE_BYTES:,} bytes.")
    try:
        given = {k: v for k, (v, _) in parse_object(line.data.decode()).items()}
    except (ValueError, RecursionError):
        raise unparseable(line.number) from None
    for member in given:
        if member not in MEMBERS:
            raise bad(member[:50], "an item has no such field.", "unknown_parameter")
    reference = given.get("reference", given.get("expected_output"))
    body, last = _body(given)
    item = Item(
        custom_id=given.get("custom_id", given.get("id", f"item-{place + 1}")),
        url=parameters.choice("url", given.get("url", CHAT), ENDPOINTS),
        body=body,
        reference=last if reference is None else reference,
        metrics=_metrics(given.get("metrics")),
        tags=_tags(given.get("tags")),
    )
    _check(line, item)
    return item


def _body(given: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The request, and what the assistant said at the end of a dialogue, if anything."""
    if "body" in given:
        body = given["body"]
        if not isinstance(body, dict):
            raise bad("body", "expected an object.", "invalid_type")
        return {k: v for k, v in body.items() if k not in ("model", "stream")}, None
    messages = given.get("messages", given.get("input"))
    if isinstance(messages, str):
        return {"messages": [{"role": "user", "content": messages}]}, None
    if not isinstance(messages, list) or not messages:
        raise bad("body", "an item needs a body, an input, or messages.")
    last = messages[-1]
    if (
        "messages" in given
        and isinstance(last, dict)
        and last.get("role") == "assistant"
    ):
        content = last.get("content")
        said = content if isinstance(content, str) else None
        return {"messages": messages[:-1]}, said
    return {"messages": messages}, None


def _metrics(given: Any) -> list[Metric] | None:
    return None if given is None else read_kept(json.dumps(given))


def _tags(given: Any) -> list[str]:
    if not given:
        return []
    found = parameters.strings("tags", given, most=MOST_TAGS, longest=TAG_LENGTH)
    if not all(tag.isprintable() for tag in found):
        raise bad("tags", "use printable characters.")
    return found


def _check(line: Line, item: Item) -> None:
    """As strictly as a line of a batch file: it will be one."""
    as_text("body", item.body)
    content = {
        "custom_id": item.custom_id,
        "method": "POST",
        "url": item.url,
        "body": {**item.body, "model": ANY_MODEL},
    }
    data = Line(line.number, line.offset, json.dumps(content).encode())
    most = settings.BATCHSITE_MAX_LINE_BYTES
    parse_line(data, endpoint=item.url, models=(ANY_MODEL,), limit=most)
    if len(as_text("reference", item.reference)) > REFERENCE_LENGTH:
        raise bad("reference", f"at most {REFERENCE_LENGTH:,} characters.")


def as_text(param: str, value: Any) -> str:
    """The value as JSON that every reader takes; Refused names what it cannot hold.

    Infinite numbers, which 1e400 becomes, and half of a surrogate pair.
    """
    try:
        text = json.dumps(value, allow_nan=False)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise bad(param, "a string has half a surrogate pair.") from None
    except ValueError:
        raise bad(param, "a number is too large.") from None
    except RecursionError:
        raise bad(param, "it is nested too deeply.") from None
    return text
