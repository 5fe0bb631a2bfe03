# SPDX-License-Identifier: Apache-2.0
"""The commands against the site's own web application, without a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from pytest_django.live_server_helper import LiveServer

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import create_api_key
from batchsite.cli import config
from jobs.models import Batch, BatchFile, ServedModel
from tests.conftest import MakeBatch
from tests.inputs import chat_lines
from tests.site import ROOT

from .conftest import Cli

pytestmark = pytest.mark.django_db(transaction=True)


def test_login_checks_and_keeps_the_key(
    cli: Cli, live_server: LiveServer, owner: User, team: Team
) -> None:
    key = create_api_key(team=team, user=owner, name="cli")
    refused = cli("login", live_server.url, stdin=b"sk-bs-wrong\n")
    assert refused.code == 3
    assert "does not accept this API key" in refused.err
    assert config.stored() is None
    done = cli("login", f"{live_server.url}/v1/", stdin=f"{key}\n".encode())
    assert done.code == 0
    assert key not in done.err + done.out
    assert config.stored() == config.Access(live_server.url, key)
    assert cli("status").code == 0
    assert cli("logout").code == 0
    ended = cli("status")
    assert ended.code == 3
    assert "batchsite login" in ended.err


@pytest.mark.parametrize("key", [b"", b"two words\xc3\xa9\n", b"a\x1bb\n"])
def test_what_is_no_key_is_not_sent(cli: Cli, key: bytes) -> None:
    assert cli("login", "http://127.0.0.1:1", stdin=key).code == 2


def test_models(cli: Cli, signed_in: str) -> None:
    assert "serves no model yet" in cli("models").err
    ServedModel.objects.create(name="tiny", source="x")
    assert cli("models").ok() == "tiny\t\n"
    assert json.loads(cli("models", "--json").ok())[0]["id"] == "tiny"


def test_submit_sends_all_that_was_asked_for(
    cli: Cli, signed_in: str, home: Path
) -> None:
    (home / "a.jsonl").write_bytes(chat_lines(3))
    ended = cli(
        *("submit", "a.jsonl", "--name", "Mails", "--tag", "a", "--tag", "b"),
        *("--priority", "-5", "--window", "48h", "--metadata", "for=test"),
        *("--webhook", "https://93.184.216.34/hook", "--paused", "--mixed-models"),
        *("--by-arrival", "--no-dedupe"),
    )
    batch = Batch.objects.get()
    # A script gets the id and nothing else.
    assert ended.ok() == f"{batch.public_id}\n"
    assert f"Created {batch.public_id} (Mails)." in ended.err
    assert (batch.name, batch.tags, batch.priority) == ("Mails", ["a", "b"], -5)
    assert batch.metadata == {"for": "test"}
    assert batch.webhook_url == "https://93.184.216.34/hook"
    assert (batch.paused, batch.allow_mixed_models, batch.dedupe) == (True, True, False)
    assert batch.output_order == "completion"
    assert (
        48 * 3600 - 2 < (batch.expires_at - batch.created_at).total_seconds() < 172801
    )
    assert batch.input_file is not None
    assert batch.input_file.filename == "a.jsonl"


def test_submit_reads_the_endpoint_and_may_set_the_model(
    cli: Cli, signed_in: str
) -> None:
    body = {"model": "x", "input": "y"}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}
    given = b"\n" + json.dumps(line).encode() + b"\nno json\n"
    made = json.loads(cli("submit", "-", "-m", "tiny", "--json", stdin=given).ok())
    assert made["endpoint"] == "/v1/embeddings"
    file = BatchFile.objects.get()
    assert file.filename == "stdin.jsonl"
    content = content_of(file)
    # Lines keep their numbers, and bad ones are the site's to name.
    assert (
        content
        == b"\n"
        + json.dumps(line | {"body": {"model": "tiny", "input": "y"}}).encode()
        + b"\nno json\n"
    )


def content_of(file: BatchFile) -> bytes:
    with default_storage.open(file.storage_name) as stored:
        found: bytes = stored.read()
    return found


def test_a_table_is_converted_on_its_way(cli: Cli, signed_in: str, home: Path) -> None:
    (home / "m.csv").write_text("text\nhello\n")
    ended = cli("submit", "m.csv", "-t", "Say {text}", "-m", "tiny")
    assert ended.code == 0
    assert "1 requests made of m.csv" in ended.err
    file = BatchFile.objects.get()
    assert file.filename == "m.jsonl"
    assert b"Say hello" in content_of(file)
    for arguments, words in (
        (("m.csv",), "is a table"),
        (("a.jsonl", "--max-tokens", "5"), "need --template"),
        (("m.csv", "-t", "{text}"), "needs a model"),
        (("m.csv", "-t", "{text}", "-m", "x", "--window", "soon"), "as in 48h"),
        (("none.jsonl",), "cannot be read"),
    ):
        ended = cli("submit", *arguments)
        assert ended.code == 2
        assert words in ended.err
    assert Batch.objects.count() == 1


def test_a_refusal_is_the_sites_own_words(cli: Cli, signed_in: str, home: Path) -> None:
    (home / "a.jsonl").write_bytes(chat_lines(1))
    ended = cli("submit", "a.jsonl", "--priority", "101")
    assert ended.code == 4
    assert "batchsite.priority" in ended.err
    assert cli("status", "batch_none").code == 4
    assert cli("cancel", "../files").code == 2


def test_check_says_errors_and_makes_nothing(
    cli: Cli, signed_in: str, home: Path
) -> None:
    (home / "a.jsonl").write_bytes(chat_lines(2))
    bad = cli("submit", "a.jsonl", "--check")
    assert bad.code == 1
    assert bad.out.startswith("line 1: The provided model 'tiny' is not supported")
    assert "2 errors" in bad.err
    ServedModel.objects.create(name="tiny", source="x")
    good = cli("submit", "a.jsonl", "--check")
    assert good.code == 0
    assert "2 good requests for tiny." in good.err
    assert "Tokens: about" in good.err
    assert json.loads(cli("submit", "a.jsonl", "--check", "--json").ok())["valid"]
    assert not Batch.objects.exists()
    assert not BatchFile.objects.filter(deleted_at=None).exists()


def test_status_lists_and_shows(
    cli: Cli, signed_in: str, make_batch: MakeBatch
) -> None:
    assert "No batches yet" in cli("status").err
    done = make_batch(
        status="completed", completed=3, failed=1, name="evil \x1b[31m\tname"
    )
    running = make_batch(status="in_progress", paused=True)
    first, second = cli("status").ok().splitlines()
    assert first.split("\t")[:2] == [running.public_id, "paused"]
    assert second == "\t".join(
        [done.public_id, "completed", "4/4, 1 failed", "just now", "evil �[31m name"]
    )
    assert len(cli("status", "-n", "1").ok().splitlines()) == 1
    assert [b["id"] for b in json.loads(cli("status", "--json").ok())] == [
        running.public_id,
        done.public_id,
    ]
    facts = dict(
        line.split("\t", 1) for line in cli("status", done.public_id).ok().splitlines()
    )
    assert facts["status"] == "completed"
    assert facts["done"] == "4/4, 1 failed"
    assert (
        json.loads(cli("status", done.public_id, "--json").ok())["id"] == done.public_id
    )


def test_more_batches_than_a_page_has(
    cli: Cli, signed_in: str, make_batch: MakeBatch
) -> None:
    file = make_batch().input_file
    for _ in range(101):
        make_batch(input_file=file)
    assert len(cli("status", "-n", "500").ok().splitlines()) == 102
    assert len(cli("status", "-n", "101").ok().splitlines()) == 101


@pytest.mark.parametrize(
    ("over", "strict", "code", "words"),
    [
        ({"status": "completed", "completed": 2}, True, 0, "2 of 2 answered."),
        ({"status": "completed", "completed": 1, "failed": 1}, False, 0, "1 not."),
        ({"status": "completed", "completed": 1, "failed": 1}, True, 1, "retry"),
        ({"status": "cancelled", "failed": 1}, False, 1, "cancelled"),
        ({"status": "expired", "completed": 1}, False, 1, "expired"),
        ({"status": "failed"}, False, 1, "the file has errors"),
    ],
)
def test_watch_tells_scripts_how_it_ended(
    cli: Cli,
    signed_in: str,
    make_batch: MakeBatch,
    over: dict[str, Any],
    strict: bool,
    code: int,
    words: str,
) -> None:
    batch = make_batch(**over)
    ended = cli("watch", batch.public_id, *["--strict"] * strict)
    assert ended.code == code
    assert words in ended.err


def test_ctrl_c_leaves_the_batch_running(
    cli: Cli,
    signed_in: str,
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    batch = make_batch(status="in_progress")
    ended = cli("watch", batch.public_id)
    assert ended.code == 130
    assert "goes on without you" in ended.err
    assert f"batchsite watch {batch.public_id}" in ended.err
    ended = cli("results", batch.public_id, "--follow")
    assert ended.code == 130
    assert f"results {batch.public_id} --follow --after 0" in ended.err
    batch.refresh_from_db()
    assert batch.status == "in_progress"


def test_cancel_and_retry(cli: Cli, signed_in: str, make_batch: MakeBatch) -> None:
    batch = make_batch()
    ended = cli("cancel", batch.public_id)
    assert ended.code == 0
    assert "is cancelling" in ended.err
    assert cli("cancel", batch.public_id, "--json").code == 0
    done = make_batch(status="completed", completed=2)
    ended = cli("retry", done.public_id)
    assert ended.code == 4
    assert "no failed requests" in ended.err


def test_strict_without_watch_is_a_usage_error(
    cli: Cli, signed_in: str, make_batch: MakeBatch, home: Path
) -> None:
    (home / "a.jsonl").write_bytes(chat_lines(1))
    before = make_batch(status="completed", completed=1, failed=1)
    for arguments in (("submit", "a.jsonl"), ("retry", before.public_id)):
        ended = cli(*arguments, "--strict")
        assert (ended.code, ended.out) == (2, "")
        assert "needs --watch" in ended.err
    # Nothing was sent.
    assert BatchFile.objects.filter(filename="a.jsonl").count() == 0
    assert Batch.objects.count() == 1


def test_the_client_starts_without_django() -> None:
    """It is for machines that have no site, and must be quick."""
    code = (
        "import sys, batchsite.cli.main;"
        "print([n for n in sys.modules if n.split('.')[0] in"
        " ('django', 'aiohttp', 'pyarrow', 'orjson', 'rest_framework')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
