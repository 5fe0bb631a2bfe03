# SPDX-License-Identifier: Apache-2.0
"""Checks on the page of a batch: counts, marks, the filter, and adding one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from batchsite.accounts.models import AuditEvent, User
from jobs import row_checks
from jobs.models import Batch, RowCheck
from jobs.row_checks import following
from tests.conftest import MakeBatch
from tests.web import rows

HTMX = {"hx-request": "true"}
VALID = {"name": "valid <b>", "kind": "json"}
SHORT = {"name": "short", "kind": "length", "params": {"most": 5}}


@pytest.fixture
def batch(make_batch: MakeBatch) -> Batch:
    """Runs; three answers, of which the second is no JSON, and a failed request."""
    made = rows.running(make_batch)
    texts = ["[1]", "no", '{"long": "answer"}']
    rows.answer(made, [rows.chat(t) for t in texts], failed=[rows.CONTEXT_ERROR])
    return made


def checked(batch: Batch, *checks: dict[str, Any]) -> Batch:
    given = row_checks.read("checks", list(checks))
    row_checks.add(batch=batch, checks=given, user=None)
    following.run()
    batch.refresh_from_db()
    return batch


def part(html: str, element: str) -> str:
    """The section with that id."""
    start = html.index(f'id="{element}"')
    return html[start : html.index("</section>", start)]


def test_the_card_counts_and_links_to_the_rows(
    client: Client, viewer: User, batch: Batch
) -> None:
    client.force_login(viewer)
    address = f"/batches/{batch.public_id}/"
    assert "A check is a rule" in part(client.get(address).content.decode(), "checks")

    checked(batch, VALID, SHORT)
    html = client.get(address).content.decode()
    card = part(html, "checks")
    assert "checked 4 of 4" in card
    assert "valid &lt;b&gt;" in card
    assert "has a length: most 5" in card
    assert re.findall(r"(\d+) (passed|failed|not judged|to come)", card) == [
        *(("1", "failed"), ("2", "passed"), ("1", "not judged")),
        *(("1", "failed"), ("2", "passed"), ("1", "not judged")),
    ]
    # viewers read
    assert 'id="check-form"' not in html

    found = re.search(r'href="([^"]*check=valid[^"]*)"', card)
    assert found
    results = part(client.get(found[1]).content.decode(), "results")
    assert set(re.findall(r">row-\d+<", results)) == {">row-1<"}


def test_rows_carry_their_marks_in_words(
    client: Client, owner: User, batch: Batch
) -> None:
    checked(batch, VALID, SHORT)
    client.force_login(owner)
    results = part(
        client.get(f"/batches/{batch.public_id}/").content.decode(), "results"
    )
    assert results.count('class="marks"') == 4
    assert "failed: not JSON: Expecting value at character 1" in results
    assert results.count("2 passed") == 1
    assert results.count("1 passed") == 2


def test_the_card_is_polled_until_all_is_checked(
    client: Client, owner: User, batch: Batch
) -> None:
    checked(batch, VALID)
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=batch.in_progress_at,
        completed_at=batch.in_progress_at,
        total=4,
    )
    RowCheck.objects.update(checked_seq=3, passed=1)
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/checks/"
    r = client.get(address, headers=HTMX)
    assert "checked 3 of 4" in r.content.decode()
    assert "every 2s" in r.content.decode()
    again = client.get(address, headers={**HTMX, "if-none-match": r["ETag"]})
    assert again.status_code == 304
    RowCheck.objects.update(checked_seq=4, passed=2)
    r = client.get(address, headers={**HTMX, "if-none-match": r["ETag"]})
    assert r.status_code == 200
    assert "hx-trigger" not in r.content.decode()
    # opened by itself it leads to the page
    r = client.get(address)
    assert r["Location"] == f"/batches/{batch.public_id}/#checks"


def test_the_filter_goes_on_to_the_next_page(
    client: Client, owner: User, batch: Batch
) -> None:
    rows.answer(batch, [rows.chat("no JSON")] * 60)
    checked(batch, VALID)
    client.force_login(owner)
    address = f"/batches/{batch.public_id}/results/"
    query = "?check=valid+%3Cb%3E%3Afailed"
    seen = []
    for _ in range(2):
        html = client.get(f"{address}{query}").content.decode()
        seen += re.findall(r">row-(\d+)<", part(html, "results"))
        found = re.search(r'href="(\?check=[^"]*after=\d+)#results" data-key', html)
        query = found[1].replace("&amp;", "&") if found else ""
    assert [int(n) for n in seen] == [1, *range(4, 64)]
    assert not query


def test_the_filter_meets_others_and_unknown_checks_are_said(
    client: Client, owner: User, batch: Batch
) -> None:
    checked(batch, VALID, SHORT)
    client.force_login(owner)

    def found(**query: str) -> list[str]:
        page = client.get(f"/batches/{batch.public_id}/results/", query)
        return re.findall(r">(row-\d)<", part(page.content.decode(), "results"))

    assert found(check="valid <b>:failed", outcome="completed") == ["row-1"]
    assert found(check="valid <b>:failed", outcome="failed") == []
    assert len(found(check="valid <b>:passed")) == 2
    assert found(check=":failed") == found(check=":failed", tokens_min="0")
    for check in ("gone:failed", "x", "valid <b>:maybe"):
        page = client.get(f"/batches/{batch.public_id}/results/", {"check": check})
        assert "This batch has no such check." in page.content.decode()
        assert found(check=check) == []


def test_members_add_checks(client: Client, teammate: User, batch: Batch) -> None:
    client.force_login(teammate)
    address = f"/batches/{batch.public_id}/checks/add/"
    assert client.get(address).status_code == 405
    given = {"name": "yes or no", "kind": "regex", "pattern": "^(yes|no)$", "most": "3"}
    for _ in range(2):
        r = client.post(address, given, follow=True)
        assert r.redirect_chain == [(f"/batches/{batch.public_id}/#checks", 302)]
    (check,) = RowCheck.objects.all()
    assert (check.name, check.params) == ("yes or no", '{"pattern": "^(yes|no)$"}')
    assert "4 to come" in part(r.content.decode(), "checks")
    assert AuditEvent.objects.filter(action="batch.checks").count() == 1
    for given in (
        {
            "name": "s",
            "kind": "json_schema",
            "schema": '{"type": "object"}',
        },
        {"name": "l", "kind": "length", "unit": "words", "least": "1", "most": "9"},
        {"name": "g", "kind": "language", "languages": "en, de"},
        {"name": "r", "kind": "not_refused", "phrases": "Nein\r\n\r\nNon"},
        {"name": "c", "kind": "contains", "value": "x", "negate": "on"},
        {"name": "e", "kind": "not_empty"},
    ):
        assert client.post(address, given).status_code == 302, given
    assert dict(RowCheck.objects.values_list("name", "params")) == {
        "yes or no": '{"pattern": "^(yes|no)$"}',
        "s": '{"schema": {"type": "object"}}',
        "l": '{"least": 1, "most": 9, "unit": "words"}',
        "g": '{"languages": ["en", "de"]}',
        "r": '{"phrases": ["Nein", "Non"]}',
        "c": '{"negate": true, "value": "x"}',
        "e": "{}",
    }


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"name": "a", "kind": "regex", "pattern": "("}, "pattern", "No pattern"),
        ({"name": "a", "kind": "regex"}, "pattern", "It is required."),
        ({"name": "a", "kind": "json_schema", "schema": "{"}, "schema", "no JSON"),
        (
            {"name": "a", "kind": "json_schema", "schema": "[" * 9000},
            "schema",
            "too deeply",
        ),
        (
            {"name": "a", "kind": "json_schema", "schema": '{"$ref": "http://x"}'},
            "schema",
            "nothing is fetched",
        ),
        ({"name": "a", "kind": "language", "languages": "xx"}, "languages", "none of"),
        ({"name": "a", "kind": "length"}, "__all__", "Give least or most."),
        ({"name": "a\0", "kind": "json"}, "name", "Null characters"),
        ({"name": "", "kind": "json"}, "name", "required"),
        ({"name": "a", "kind": "x"}, "kind", "valid choice"),
    ],
)
def test_a_wrong_check_is_shown_at_its_field(
    client: Client,
    owner: User,
    batch: Batch,
    given: dict[str, str],
    field: str,
    words: str,
) -> None:
    client.force_login(owner)
    r = client.post(f"/batches/{batch.public_id}/checks/add/", given)
    assert r.status_code == 200
    form = r.context["check_form"]
    assert list(form.errors) == [field]
    assert words in str(form.errors)
    assert '<details class="card add-check" open>' in r.content.decode()
    assert not RowCheck.objects.exists()


def test_another_check_of_the_same_name_is_told_at_the_name(
    client: Client, owner: User, batch: Batch
) -> None:
    checked(batch, SHORT)
    client.force_login(owner)
    given = {"name": "short", "kind": "json"}
    r = client.post(f"/batches/{batch.public_id}/checks/add/", given)
    assert list(r.context["check_form"].errors) == ["name"]


def test_who_may_not_add(
    client: Client, viewer: User, stranger: User, batch: Batch
) -> None:
    address = f"/batches/{batch.public_id}/checks/"
    for user, look, change in ((viewer, 200, 403), (stranger, 404, 404)):
        client.force_login(user)
        assert client.get(address, headers=HTMX).status_code == look
        given = {"name": "a", "kind": "json"}
        assert client.post(f"{address}add/", given).status_code == change
    client.logout()
    assert client.post(f"{address}add/").status_code == 302
    assert not RowCheck.objects.exists()
