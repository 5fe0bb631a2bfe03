# SPDX-License-Identifier: Apache-2.0
"""Lines of results on their way to a file, a pipe or a reader."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .printing import one_line, write_data
from .problems import Problem

WRITE_BYTES = 1 << 16
# A line's object as text for people.
AsText = Callable[[dict[str, Any]], str]


@dataclass
class Sink:
    """Where lines go: `file`, else stdout, made readable by `text` if that is wanted."""

    file: IO[bytes] | None = None
    text: AsText | None = None
    count: int = field(default=0, init=False)

    def write(self, lines: Iterable[bytes]) -> None:
        """Take some lines without their ends, all at once: Ctrl-C leaves no half of them."""
        taken = [readable(line, self.text) if self.text else line for line in lines]
        if not taken:
            return
        data = b"\n".join(taken) + b"\n"
        if self.file is None:
            write_data(data)
        else:
            self.file.write(data)
            self.file.flush()
        self.count += len(taken)


@contextlib.contextmanager
def opened(
    path: Path | None, *, jsonl: bool | None, text: AsText, mode: str = ""
) -> Iterator[Sink]:
    """A sink for stdout or a file.

    A file is replaced only when all that goes into it has come; with `mode`, "wb" or
    "ab", it has each line at once.
    """
    if path is None or str(path) == "-":
        wanted = sys.stdout.isatty() if jsonl is None else not jsonl
        yield Sink(text=text if wanted else None)
        return
    with placed(path, mode=mode) as file:
        yield Sink(file, text if jsonl is False else None)


@contextlib.contextmanager
def placed(path: Path, *, mode: str = "") -> Iterator[IO[bytes]]:
    """A file to write, under its name when it is whole; with `mode` at once, as devices."""
    if not mode and path.exists() and not path.is_file():
        mode = "wb"
    target = path if mode else path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with target.open(mode or "wb") as file:
            yield file
        if not mode:
            target.replace(path)
    except OSError as error:
        raise Problem(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        if not mode:
            target.unlink(missing_ok=True)


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a stream that comes in pieces; none that is empty."""
    begun: list[bytes] = []
    for piece in pieces:
        first, *others = piece.split(b"\n")
        begun.append(first)
        for other in others:
            if line := b"".join(begun):
                yield line
            begun = [other]
    if line := b"".join(begun):
        yield line


def batched(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """A few lines at a time: fewer writes, and little memory."""
    taken: list[bytes] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line)
        if size > WRITE_BYTES:
            yield taken
            taken, size = [], 0
    yield taken


def readable(line: bytes, text: AsText) -> bytes:
    """The line for people; as it is when it is none of ours."""
    try:
        return text(json.loads(line)).encode(errors="replace")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return line


def answer_text(line: dict[str, Any]) -> str:
    """An answer below its id."""
    said = _said(line["response"]["body"])
    return f"── {one_line(line['custom_id'])}\n{said.strip()}\n"


def _said(body: dict[str, Any]) -> str:
    """The words of an answer; JSON where it has none."""
    if choices := body.get("choices"):
        first = choices[0]
        message = first.get("message") or {}
        if isinstance(words := message.get("content") or first.get("text"), str):
            return words
    if isinstance(output := body.get("output"), list):
        texts = [
            str(part["text"])
            for item in output
            for part in item.get("content") or ()
            if "text" in part
        ]
        if texts:
            return "\n".join(texts)
    if body.get("object") == "list" and isinstance(data := body.get("data"), list):
        vectors = [d for d in data if isinstance(d.get("embedding"), list)]
        if vectors:
            sizes = {len(vector["embedding"]) for vector in vectors}
            return f"{len(vectors)} embedding of {', '.join(map(str, sizes))} numbers"
    return json.dumps(body, ensure_ascii=False)


def failure_text(line: dict[str, Any]) -> str:
    """A bad line of a file, or a request and why it has no answer."""
    if "custom_id" not in line:
        place = f"line {line['line']}" if line.get("line") else "the file"
        message, param = one_line(line["message"]), one_line(line.get("param") or "")
        return f"{place}: {message}" + (f" ({param})" if param not in message else "")
    if error := line.get("error"):
        why = f"{error['code']}: {error['message']}"
    else:
        response = line["response"]
        body = response["body"]
        told = body.get("error", body)
        words = told.get("message") if isinstance(told, dict) else told
        why = f"status {response['status_code']}: {words or json.dumps(body)}"
    return f"{one_line(line['custom_id'])}: {one_line(why)}"
