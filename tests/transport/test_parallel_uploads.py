# SPDX-License-Identifier: Apache-2.0
"""Uploads in parts on real gunicorn: in parallel, raced, and killed in the middle (U-03)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import APIError, BadRequestError, OpenAI

from tests.inputs import chat_lines
from tests.site import DATABASES, Site, wait_for
from tests.web_server import WebServer, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("site", DATABASES, indirect=True),
]

CONTENT = chat_lines(1000)
PIECES = [CONTENT[start : start + 10_000] for start in range(0, len(CONTENT), 10_000)]


def client_of(web: WebServer) -> OpenAI:
    return OpenAI(
        base_url=f"http://127.0.0.1:{web.port}/v1", api_key=web.key, max_retries=0
    )


def begin(client: OpenAI, size: int = len(CONTENT)) -> str:
    upload = client.uploads.create(
        filename="in.jsonl", bytes=size, mime_type="x", purpose="batch"
    )
    return upload.id


def outcome(call: Any, *arguments: Any, **named: Any) -> Any:
    """What the call answers, or the message of the refusal."""
    try:
        return call(*arguments, **named)
    except BadRequestError as refused:
        return refused.message


def test_parts_and_ends_race_and_one_file_comes_of_it(site: Site) -> None:
    web = serve(site)
    client = client_of(web)
    upload = begin(client)
    with ThreadPoolExecutor(8) as pool:
        # Each piece twice, as a client does that lost some answers.
        sent = list(
            pool.map(
                lambda piece: client.uploads.parts.create(upload, data=piece),
                PIECES * 2,
            )
        )
        ids = [part.id for part in sent]
        assert ids[: len(PIECES)] == ids[len(PIECES) :]
        # A spool goes a moment after its answer.
        wait_for(lambda: len(web.bytes_kept()) == len(PIECES), what="one of each")

        too_much = begin(client, size=len(PIECES[0]))
        answers = list(
            pool.map(
                lambda n: outcome(
                    client.uploads.parts.create, too_much, data=b"%d" % n * 4000
                ),
                range(8),
            )
        )
        refused = [answer for answer in answers if isinstance(answer, str)]
        assert len(refused) == 6
        client.uploads.cancel(too_much)

        md5 = hashlib.md5(CONTENT).hexdigest()
        ends = list(
            pool.map(
                lambda _: client.uploads.complete(
                    upload, part_ids=ids[: len(PIECES)], md5=md5
                ),
                range(8),
            )
        )
    assert {end.status for end in ends} == {"completed"}
    (file_id,) = {end.file.id for end in ends if end.file}
    assert client.files.content(file_id).content == CONTENT
    assert web.files() == ["in.jsonl"]
    wait_for(lambda: len(web.bytes_kept()) == 1, what="no bytes but the file's")


def test_either_the_end_or_the_cancel_wins(site: Site) -> None:
    web = serve(site)
    client = client_of(web)
    for _ in range(8):
        upload = begin(client)
        part = client.uploads.parts.create(upload, data=CONTENT)
        before = len(web.files())
        with ThreadPoolExecutor(2) as pool:
            ended = pool.submit(
                outcome, client.uploads.complete, upload, part_ids=[part.id]
            )
            cancelled = pool.submit(outcome, client.uploads.cancel, upload)
            results = [ended.result(), cancelled.result()]
        (won,) = (one for one in results if not isinstance(one, str))
        (told,) = (one for one in results if isinstance(one, str))
        assert f"an upload with status '{won.status}'" in told
        assert len(web.files()) - before == (won.status == "completed")
    wait_for(lambda: len(web.bytes_kept()) == len(web.files()), what="no other bytes")


def kill_while_joining(web: WebServer, complete: Any, *, seconds: float) -> Any:
    """Kill the server so long after the whole file began; what was answered, or None."""
    spool = web.site.folder / "spool" / "uploads"
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(complete)
        wait_for(lambda: call.done() or any(spool.iterdir()), what="a joined file")
        time.sleep(seconds)
        for pid in (web.process.pid, *web.site.left_over()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        web.process.wait()
        with contextlib.suppress(APIError):
            return call.result()
    return None


def test_a_server_killed_while_it_joins_parts_loses_nothing(site: Site) -> None:
    web = serve(site)
    piece = (b'{"a": "' + b"x" * 990 + b'"}\n') * 30_000
    client = client_of(web)
    upload = begin(client, size=3 * len(piece))
    part = client.uploads.parts.create(upload, data=piece).id

    def complete() -> Any:
        return client_of(web).uploads.complete(upload, part_ids=[part] * 3)

    for seconds in (0, 0.05, 0.15):
        kill_while_joining(web, complete, seconds=seconds)
        (row,) = site.query("SELECT status, file_id FROM jobs_upload")
        assert (row["status"] == "completed") == bool(web.files())
        assert (row["file_id"] is None) == (row["status"] == "pending")
        for left in (site.folder / "spool" / "uploads").iterdir():
            left.unlink()
        web = serve(site, key=web.key)
    done = complete()
    assert done.file.bytes == 3 * len(piece)
    assert client_of(web).files.content(done.file.id).content == piece * 3
    # What the killed ones left is found, and nothing else.
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in web.bytes_kept():
        os.utime(path, (two_days_ago, two_days_ago))
    # Bytes from before the database was set up would stay.
    site.query("UPDATE accounts_installation SET created_at = '2001-01-01 00:00:00Z'")
    site.python("from jobs.expiry import sweep_storage; sweep_storage()")
    (kept,) = web.bytes_kept()
    assert kept.stat().st_size == 3 * len(piece)
    assert web.files() == ["in.jsonl"]
