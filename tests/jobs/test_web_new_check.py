# SPDX-License-Identifier: Apache-2.0
"""New batch, last step: the check of the file, the options, and the batch."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from batchsite.accounts.models import Team, User
from jobs import gates
from jobs.models import Batch, BatchFile, Engine, EngineEvent, Measurement, ServedModel
from tests.conftest import MakeBatch, MakeFile
from tests.inputs import chat_lines
from tests.jobs.rows import external_engine
from tests.web import rows

GIVEN = {"endpoint": "/v1/chat/completions", "dedupe": "on", "do": "create"}


@pytest.fixture(autouse=True)
def tiny(db: None) -> ServedModel:
    return ServedModel.objects.create(name="tiny", source="/m")


@pytest.fixture
def signed_in(client: Client, teammate: User) -> Client:
    client.force_login(teammate)
    return client


def address_of(file: BatchFile) -> str:
    return f"/batches/new/files/{file.public_id}/"


def page_of(client: Client, file: BatchFile, query: str = "") -> str:
    r = client.get(address_of(file) + query)
    assert r.status_code == 200
    return r.content.decode()


def line(custom_id: str, **body: Any) -> str:
    whole = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]} | body
    return json.dumps(
        {
            "custom_id": custom_id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": whole,
        }
    )


def words(page: str) -> str:
    """The page's text with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


# --- bad files


def test_bad_lines_are_shown_with_their_neighbours(
    signed_in: Client, make_file: MakeFile
) -> None:
    lines = [line("one"), "", '{"broken": <b>', line("one"), line("two", model="x")]
    page = page_of(signed_in, make_file("\n".join(lines).encode()))

    said = words(page)
    assert "3 errors in 4 lines: nothing can run yet" in said
    # The kinds, with what to do.
    assert "1 no valid JSON Write one JSON object on each line." in said
    assert "a custom_id that an earlier line has" in said
    assert "a model that is not served here" in said
    # Line 3 between its neighbours; blank lines count and are not shown.
    assert "Line 3 This line is not parseable" in said
    start = page.index('aria-label="Line 3 and its neighbours"')
    around = page[start : page.index("</li>", start)]
    assert re.findall(r'new-number">(\d+)<', around) == ["1", "3", "4"]
    assert "{&quot;broken&quot;: &lt;b&gt;" in around
    assert '<code class="hostile">body.model</code>' in page
    assert "Create the batch" not in said


def test_many_bad_lines_have_pages_and_a_report(
    signed_in: Client, make_file: MakeFile
) -> None:
    file = make_file(b"bad\n" * 1234)

    first = page_of(signed_in, file)
    assert first.count('<p class="new-bad-head">') == 50
    assert "1 to 50 of 1,234" in words(first)
    later = re.search(r'href="(\?[^"]+from=50)"', first)
    assert later
    second = page_of(signed_in, file, later[1].replace("&amp;", "&"))
    assert "51 to 100 of 1,234" in words(second)
    last = page_of(signed_in, file, "?from=950")
    assert "234 more are in the report" in words(last)

    r = signed_in.get(f"{address_of(file)}report/?endpoint=/v1/chat/completions")
    assert 'filename="requests_errors.jsonl"' in r["Content-Disposition"]
    report = [json.loads(one) for one in r.getvalue().splitlines()]
    assert [one["line"] for one in report] == list(range(1, 1235))


@pytest.mark.parametrize("query", ["?from=x", "?from=99999", "?endpoint=/x&mixed=2"])
def test_addresses_that_say_nothing_are_no_error(
    signed_in: Client, make_file: MakeFile, query: str
) -> None:
    page_of(signed_in, make_file(b"bad\n"), query)


def test_different_models_are_allowed_by_a_link(
    signed_in: Client, make_file: MakeFile
) -> None:
    ServedModel.objects.create(name="large", source="/l")
    file = make_file("\n".join([line("one"), line("two", model="large")]).encode())

    page = page_of(signed_in, file)
    link = re.search(r'href="(\?[^"]+)">allow different models', page)
    assert link
    page = page_of(signed_in, file, link[1].replace("&amp;", "&"))

    assert "Every line is good" in page
    assert 'name="allow_mixed_models"' in page
    assert re.search(r'name="allow_mixed_models"[^>]* checked', page)


def test_the_endpoint_is_that_of_the_first_line(
    signed_in: Client, make_file: MakeFile
) -> None:
    one = {"custom_id": "1", "method": "POST", "url": "/v1/embeddings"}
    file = make_file(
        json.dumps(one | {"body": {"model": "tiny", "input": "a"}}).encode()
    )

    page = page_of(signed_in, file)

    assert "Every line is good" in page
    assert '<option value="/v1/embeddings" selected>' in page


# --- good files


def test_a_good_file_says_what_it_would_cost(
    signed_in: Client, make_file: MakeFile, tiny: ServedModel
) -> None:
    copies = "\n".join(line(str(n), temperature=0, max_tokens=9) for n in range(3))
    page = words(page_of(signed_in, make_file(copies.encode())))

    assert "1 run; 2 exact copies get their answers" in page
    assert "not known: this model has not run here" in page
    assert "never ran here, so that the time is not known" in page
    assert "waits: no engine serves the model tiny" in page

    Measurement.objects.create(
        served_model=tiny,
        engine=external_engine(),
        rows=100,
        input_tokens=500,
        output_tokens=4000,
        seconds=200.0,
    )
    page = words(page_of(signed_in, make_file(chat_lines(100))))
    assert "no exact copies among them" in page
    assert "measured requests of tiny" in page
    assert re.search(r"time on one engine [\d.]+(\N{EN DASH}[\d.]+)? (s|min) ", page)


def test_the_states_of_models_are_words(
    signed_in: Client, make_file: MakeFile, tiny: ServedModel
) -> None:
    large = ServedModel.objects.create(name="large", source="/l")
    # The engine that rows.managed makes has tiny loaded.
    engine = rows.managed()
    Engine.objects.filter(pk=engine.pk).update(loaded_model=tiny)
    file = make_file("\n".join([line("1"), line("2", model="large")]).encode())

    page = words(page_of(signed_in, file, "?mixed=1"))
    assert "tiny 1 loaded on gpu0" in page
    assert "needs a swap on gpu0; how long it loads is not known yet" in page

    for seconds in (30.0, 40.0, 90.0):
        EngineEvent.objects.create(
            engine=engine,
            model=large.name,
            old_state="loading",
            new_state="ready",
            seconds=seconds,
        )
    page = words(page_of(signed_in, file, "?mixed=1"))
    assert "large 1 needs a swap on gpu0 of about 40 s" in page


def test_a_full_queue_is_said_before_it_refuses(
    signed_in: Client, make_file: MakeFile, team: Team
) -> None:
    team.max_queued_requests = 2
    team.save(update_fields=["max_queued_requests"])
    file = make_file(chat_lines(3), lines=3)

    assert "Queued request limit reached" in page_of(signed_in, file)
    r = signed_in.post(address_of(file), GIVEN)

    assert "Queued request limit reached" in r.content.decode()
    assert not Batch.objects.exists()


def test_a_busy_server_is_asked_again(signed_in: Client, make_file: MakeFile) -> None:
    file = make_file(b"bad\n")
    with gates.DRY_RUNS:
        page = page_of(signed_in, file)
        r = signed_in.get(f"{address_of(file)}report/")
        made = signed_in.post(address_of(file), GIVEN)
    assert 'hx-trigger="load delay:5s"' in page
    assert "The server is busy checking another file" in page
    assert r.status_code == 302
    assert "The server is busy" in made.content.decode()
    # Once checked, a file is not checked again.
    page_of(signed_in, file)
    with gates.DRY_RUNS:
        assert "1 error in 1 line" in words(page_of(signed_in, file))


# --- making the batch


def test_the_batch_is_made_once_with_everything(
    signed_in: Client, make_file: MakeFile, teammate: User
) -> None:
    file = make_file(chat_lines(2))
    token = re.search(r'name="token" value="(\w{32})"', page_of(signed_in, file))
    assert token
    given = {
        **GIVEN,
        "token": token[1],
        "name": "Mails of May",
        "tags": "weekly, mails,, weekly",
        "priority": "7",
        "hours": "1.5",
        "webhook_url": "",
        "keep_days": "2",
        "output_order": "completion",
        "metadata": "customer = internal\r\n\r\na=b=c",
        "allow_mixed_models": "on",
        "paused": "on",
    }

    r = signed_in.post(address_of(file), given)
    again = signed_in.post(address_of(file), given)

    batch = Batch.objects.get()
    assert r["Location"] == again["Location"] == f"/batches/{batch.public_id}/"
    assert (batch.owner, batch.input_file) == (teammate, file)
    assert (batch.name, batch.priority) == ("Mails of May", 7)
    assert set(batch.tags) == {"weekly", "mails"}
    assert (batch.expires_at - batch.created_at).total_seconds() == 5400
    assert batch.output_expires_after == 2 * 86_400
    assert batch.metadata == {"customer": "internal", "a": "b=c"}
    assert (batch.output_order, batch.dedupe) == ("completion", True)
    assert (batch.allow_mixed_models, batch.paused) == (True, True)

    changed = signed_in.post(address_of(file), given | {"name": "Other"})
    assert "sent already, with other values" in changed.content.decode()
    assert Batch.objects.count() == 1


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"endpoint": "/v1/none"}, "endpoint", "valid choice"),
        ({"name": "x" * 201}, "name", "maximum length 200"),
        ({"tags": "x" * 51}, "tags", "maximum length 50"),
        ({"tags": ",".join(map(str, range(21)))}, "tags", "maximum length 20"),
        ({"priority": "101"}, "priority", "&lt;= 100"),
        ({"priority": "much"}, "priority", "whole number"),
        ({"hours": "0.5"}, "hours", "between 1 and 720"),
        ({"hours": "0"}, "hours", "between 1 and 720"),
        ({"hours": "721"}, "hours", "between 1 and 720"),
        ({"keep_days": "31"}, "keep_days", "between 0.04 and 30"),
        ({"webhook_url": "ftp://x"}, "webhook_url", "webhook_url"),
        ({"webhook_url": "http://127.0.0.1/"}, "webhook_url", "webhook_url"),
        ({"metadata": "no pair"}, "metadata", "key = value"),
        ({"metadata": "k" * 65 + "=v"}, "metadata", "maximum length 64"),
        ({"output_order": "random"}, "output_order", "valid choice"),
    ],
)
def test_refusals_are_said_at_the_field(
    signed_in: Client,
    make_file: MakeFile,
    given: dict[str, str],
    field: str,
    said: str,
) -> None:
    r = signed_in.post(address_of(make_file(chat_lines(1))), GIVEN | given)

    page = r.content.decode()
    after = page[page.index(f'name="{field}"') :]
    assert said in after[: after.index("</ul>")]
    assert 'role="alert"' in page
    assert not Batch.objects.exists()


def test_a_bad_file_makes_no_batch(signed_in: Client, make_file: MakeFile) -> None:
    r = signed_in.post(address_of(make_file(b"bad\n")), GIVEN)
    assert "Nothing was made: the file has errors" in r.content.decode()
    assert not Batch.objects.exists()


def test_the_check_is_made_with_the_options_that_are_asked_for(
    signed_in: Client, make_file: MakeFile
) -> None:
    file = make_file(chat_lines(1))
    given = GIVEN | {"endpoint": "/v1/completions", "do": "check", "name": "Kept"}

    page = signed_in.post(address_of(file), given).content.decode()

    assert "a url that is not the batch" in page
    assert 'value="Kept"' in page
    assert not Batch.objects.exists()


def test_who_may(
    client: Client,
    owner: User,
    viewer: User,
    stranger: User,
    make_file: MakeFile,
    make_batch: MakeBatch,
    other_team: Team,
) -> None:
    file = make_file(chat_lines(1))
    for address in (address_of(file), f"{address_of(file)}report/"):
        assert client.get(address)["Location"] == f"/login/?next={address}"
        for user, status in ((stranger, 404), (viewer, 403)):
            client.force_login(user)
            assert client.get(address).status_code == status
            if "report" not in address:
                assert client.post(address, GIVEN).status_code == status
        client.logout()
    client.force_login(owner)
    assert client.put(address_of(file)).status_code == 405
    assert client.post(f"{address_of(file)}report/").status_code == 405
    assert client.get("/batches/new/files/%00/").status_code == 404
    # No batch file, and a batch of another team.
    other = make_file(chat_lines(1), purpose="user_data")
    assert client.get(address_of(other)).status_code == 404
    foreign = make_batch(team=other_team, owner=stranger)
    r = client.get(f"{address_of(file)}?clone={foreign.public_id}")
    assert r.status_code == 404
    assert not Batch.objects.filter(team=file.team).exists()
