# SPDX-License-Identifier: Apache-2.0
"""Receiving uploads in constant memory: hashed and measured while they come in.

The bytes go to SPOOL_DIR/uploads, on the file system of the local storage, which then
only renames. Over the limit they are counted and thrown away, so that the client has
sent everything when it is told; but not without end.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, QueryDict
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.datastructures import MultiValueDict
from django.utils.http import parse_header_parameters

from batchsite.accounts.models import Team, User

# In META of a request whose chunked body the server decodes and ends itself.
CHUNKED = "batchsite.chunked"
TOO_LARGE = "File is too large."
# Of a body twice as long as its limit, this much more is read and thrown away.
DISCARDED_BYTES = 64_000_000
# The closing boundary is looked for in this much of the body's end.
TAIL_BYTES = 4096


def size_limit(team: Team) -> int:
    """The largest file in bytes that the team may upload."""
    own = team.max_file_bytes
    return settings.BATCHSITE_MAX_FILE_BYTES if own is None else own


def size_limit_for(user: User | None) -> int:
    """The largest file in bytes that the person may upload to any team; 0 for nobody."""
    if user is None or not user.is_authenticated:
        return 0
    limits = [size_limit(team) for team in Team.objects.visible_to(user)]
    return max(limits, default=settings.BATCHSITE_MAX_FILE_BYTES)


def printable_name(name: str) -> str:
    """A file's name as Django cleans those of multipart bodies; "" if nothing is left.

    No path, no control or direction characters, at most 255 characters in all.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable())
    if kept in ("", ".", ".."):
        return ""
    return str(UploadedFile(name=kept).name)


class Readable(Protocol):
    """A request's body."""

    def read(self, size: int, /) -> bytes: ...


class CountedBody:
    """Counts the bytes read and keeps the last ones.

    Servers end a body that was cut off like a whole one. RequestDataTooBig after
    `most` bytes, which no client sends by mistake.
    """

    def __init__(self, body: Readable, *, most: int) -> None:
        self._body = body
        self._most = most
        self.count = 0
        self.tail = b""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes of the body."""
        data = self._body.read(size)
        self.count += len(data)
        if self.count > self._most:
            raise RequestDataTooBig(TOO_LARGE)
        kept = data if len(data) >= TAIL_BYTES else self.tail + data
        self.tail = kept[-TAIL_BYTES:]
        return data


class SpooledUpload(UploadedFile):  # type: ignore[type-arg]  # has no [] at run time
    """A received file; with `too_large` the content is incomplete and of no use."""

    def __init__(self, *, name: str, content_type: str, charset: str | None) -> None:
        folder = settings.SPOOL_DIR / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        self.spool = tempfile.NamedTemporaryFile(dir=folder)  # noqa: SIM115 - close() is the request's
        self.digest = hashlib.sha256()
        self._line_ends = 0
        self._last = b""
        self.too_large = False
        super().__init__(self.spool, name, content_type, 0, charset)

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return self.digest.hexdigest()

    @property
    def lines(self) -> int:
        """How many lines were taken; the last one need not be terminated."""
        return self._line_ends + (self._last not in (b"", b"\n"))

    def take(self, data: bytes) -> None:
        """Append some bytes; `size` stays the caller's to set."""
        self.spool.write(data)
        self.digest.update(data)
        self._line_ends += data.count(b"\n")
        self._last = data[-1:] or self._last

    def temporary_file_path(self) -> str:
        """Where the bytes are; a local storage moves this file."""
        return self.spool.name

    def close(self) -> None:
        """Remove the file, unless a storage has moved it away."""
        with contextlib.suppress(FileNotFoundError):
            self.spool.close()


class SpoolReceiver(FileUploadHandler):
    """Writes and hashes the files of one request, `limit` bytes in all."""

    chunk_size = 1 << 18

    def __init__(self, request: HttpRequest | None, *, limit: int) -> None:
        super().__init__(request)
        self.limit = limit
        self.received = 0
        self.files: list[SpooledUpload] = []

    def new_file(
        self,
        field_name: str,
        file_name: str,
        content_type: str,
        content_length: int | None,
        charset: str | None = None,
        content_type_extra: dict[str, Any] | None = None,
    ) -> None:
        """Open the file of the part that begins."""
        self.files.append(
            SpooledUpload(name=file_name, content_type=content_type, charset=charset)
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Take some bytes of the newest file."""
        upload = self.files[-1]
        self.received += len(raw_data)
        if self.received > self.limit:
            upload.too_large = True
            return
        upload.take(raw_data)

    def file_complete(self, file_size: int) -> SpooledUpload:
        """The newest file, at its beginning."""
        upload = self.files[-1]
        upload.size = file_size
        upload.spool.seek(0)
        return upload

    def discard(self) -> None:
        """Remove what was received."""
        for upload in self.files:
            upload.close()


Received = tuple[QueryDict, "MultiValueDict[str, UploadedFile[Any]]"]


def receive(request: HttpRequest, body: Readable, *, limit: int) -> Received:
    """The fields and files of a multipart body; at most `limit` bytes of files are kept.

    MultiPartParserError when the body is malformed or was cut off, RequestDataTooBig
    when it has no end in sight; then no file stays.
    """
    counted = CountedBody(body, most=2 * limit + DISCARDED_BYTES)
    receiver = SpoolReceiver(request, limit=limit)
    try:
        parser = MultiPartParser(
            request.META,
            counted,  # type: ignore[arg-type]  # the parser calls read() alone
            [receiver],
            # Whatever charset the header names: some are none for text.
            "utf-8",
        )
        fields, files = parser.parse()
        if not _whole(request.META, counted):
            raise MultiPartParserError("The upload was cut off.")
    except BaseException:
        receiver.discard()
        raise
    return fields, files


def _whole(meta: dict[str, Any], body: CountedBody) -> bool:
    """Whether all that was announced has come, the closing boundary too."""
    if not meta.get(CHUNKED) and body.count != int(meta.get("CONTENT_LENGTH") or 0):
        return False
    boundary = parse_header_parameters(meta["CONTENT_TYPE"])[1]["boundary"]
    return b"--%b--" % boundary.encode() in body.tail


class SpoolUploadHandler(FileUploadHandler):
    """FILE_UPLOAD_HANDLERS: receives the uploads of forms, of signed-in people only."""

    def handle_raw_input(
        self,
        input_data: Readable,
        META: dict[str, Any],
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> Received:
        """Take over the whole body."""
        assert self.request is not None  # Django makes one handler for each request
        limit = size_limit_for(getattr(self.request, "user", None))
        return receive(self.request, input_data, limit=limit)
