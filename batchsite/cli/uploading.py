# SPDX-License-Identifier: Apache-2.0
"""Files on their way to the site: small ones in one call, large ones in parts.

What is known of an upload in parts is kept on this machine, so that the same command,
given again after a broken connection or Ctrl-C, sends only what is missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from . import config
from .api import Api, path_of
from .problems import Problem, Refused

# 8 GiB, the most of an upload, in less than the 1,000 parts that it may have.
PART_BYTES = 16 * 1024 * 1024
# An upload lives an hour.
RECORD_LIFE = 7200
# How much of the file is at the site, and of how much.
Told = Callable[[int, int], None]


@dataclass
class Progress:
    """An upload in parts; `parts` has the id of each one that has arrived."""

    upload_id: str
    part_bytes: int
    expires_at: int
    parts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file's content: its size, and what it is recognised by."""

    size: int
    md5: str
    sha256: str


def upload(
    api: Api,
    path: Path,
    *,
    name: str,
    told: Told,
    say: Callable[[str], None],
    part_bytes: int = PART_BYTES,
) -> str:
    """Bring a file to the site, for batches; its id there."""
    try:
        with path.open("rb") as file:
            print_of = fingerprint(file)
            if print_of.size > part_bytes:
                return _in_parts(
                    api, file, print_of, name=name, told=told, say=say, size=part_bytes
                )
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}.") from error
    made = api.post_form(
        "files",
        {"purpose": "batch"},
        file=("file", name, data),
        told=lambda sent: told(sent, len(data)),
        # A second file of the same content would only take room until it expires.
        repeat=True,
    )
    return str(made["id"])


def fingerprint(file: IO[bytes]) -> Fingerprint:
    """One pass over the file."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    while piece := file.read(1 << 20):
        md5.update(piece)
        sha256.update(piece)
        size += len(piece)
    return Fingerprint(size, md5.hexdigest(), sha256.hexdigest())


def _in_parts(
    api: Api,
    file: IO[bytes],
    print_of: Fingerprint,
    *,
    name: str,
    told: Told,
    say: Callable[[str], None],
    size: int,
) -> str:
    """Go on with the upload that was begun, or begin one; the file's id."""
    record = _record(api.url, print_of)
    if known := _read(record):
        say("Going on with the upload that was begun earlier.")
        try:
            return _finish(api, file, print_of, known, record, told)
        except Refused as refused:
            # It ended meanwhile, or belongs to another team than the key of now.
            if refused.status not in (400, 404):
                raise
            record.unlink(missing_ok=True)
            say("That upload has ended at the site. Beginning anew.")
    begun = api.post(
        "uploads",
        {
            "filename": name,
            "purpose": "batch",
            "bytes": print_of.size,
            "mime_type": "application/jsonl",
        },
    )
    fresh = Progress(str(begun["id"]), size, int(begun["expires_at"]))
    _sweep(record.parent)
    _write(record, fresh)
    try:
        return _finish(api, file, print_of, fresh, record, told)
    except Refused:
        record.unlink(missing_ok=True)
        raise


def _finish(
    api: Api,
    file: IO[bytes],
    print_of: Fingerprint,
    known: Progress,
    record: Path,
    told: Told,
) -> str:
    """Send the parts that are missing, and make the file of all."""
    at = len(known.parts) * known.part_bytes
    file.seek(at)
    while data := file.read(known.part_bytes):
        before = at
        part = api.post_form(
            path_of("uploads", known.upload_id, "parts"),
            {},
            file=("data", "part", data),
            told=lambda sent, before=before: told(before + sent, print_of.size),  # type: ignore[misc]  # the default binds it now
            # Bytes that the site has already are the part that they were.
            repeat=True,
        )
        known.parts.append(str(part["id"]))
        _write(record, known)
        at += len(data)
    told(print_of.size, print_of.size)
    done = api.post(
        path_of("uploads", known.upload_id, "complete"),
        {"part_ids": known.parts, "md5": print_of.md5},
        repeat=True,
    )
    record.unlink(missing_ok=True)
    return str(done["file"]["id"])


def _record(url: str, print_of: Fingerprint) -> Path:
    """Where the progress of this content's upload to this site is kept."""
    digest = hashlib.sha256(f"{url} {print_of.sha256}".encode()).hexdigest()
    return config.folder("STATE", ".local/state") / "uploads" / f"{digest[:32]}.json"


def _read(record: Path) -> Progress | None:
    """What was kept, unless the upload's hour is over or the record is broken."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = Progress(**json.loads(record.read_text()))
        if known.expires_at > time.time() and known.part_bytes > 0:
            return known
    with contextlib.suppress(OSError):
        record.unlink()
    return None


def _sweep(records: Path) -> None:
    """Remove the records of uploads that ended long ago without us."""
    for left in records.glob("*.json"):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - RECORD_LIFE:
                left.unlink()


def _write(record: Path, known: Progress) -> None:
    config.write_private(record, json.dumps(asdict(known)) + "\n")
