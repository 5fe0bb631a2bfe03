# SPDX-License-Identifier: Apache-2.0
"""The audit log of a team in the browser, and as CSV."""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, Team, User
from batchsite.accounts.people import create_api_key, record
from batchsite.web.audit_lines import WORDS
from jobs.web.spreadsheets import cell, lines
from tests.site import ROOT


def downloads(team: Team, actor: User, many: int) -> None:
    for number in range(many):
        record(action="file.download", actor=actor, team=team, target=f"file-{number}")


def shown(client: Client, path: str) -> list[str]:
    """The files that the lines of a page name."""
    return re.findall(r"the file (file-\d+)", client.get(path).content.decode())


def rows(client: Client, path: str) -> list[dict[str, str]]:
    r: Any = client.get(path)
    assert r["Content-Type"] == "text/csv; charset=utf-8"
    assert r["Content-Disposition"].startswith('attachment; filename="audit-blue-')
    text = b"".join(r.streaming_content).decode()
    assert text.startswith("\ufeff")
    return list(csv.DictReader(text[1:].splitlines()))


def test_lines_are_words(client: Client, team: Team, owner: User, staff: User) -> None:
    create_api_key(team=team, user=owner, name="ci", by=staff, address="192.0.2.1")
    record(action="surprise.party", actor=None, team=team, target="<b>")
    client.force_login(owner)

    page = client.get(f"/teams/{team.pk}/audit/").content.decode()

    assert "staff@example.com</span> made the API key “ci” (sk-bs-" in page
    assert "…) for owner@example.com" in page
    assert "192.0.2.1" in page
    # An action without words is still a line.
    assert "the service</span> surprise.party &lt;b&gt;" in page
    assert "Time (UTC)" in page


def actions(tree: ast.AST) -> Iterator[str]:
    """The actions that a module names: action=…, and what note() and _audit() get."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = [k.value for k in node.keywords if k.arg == "action"]
        if isinstance(node.func, ast.Name) and node.func.id in ("note", "_audit"):
            named += node.args[:1]
        for value in named:
            for part in ast.walk(value):
                text = str(part.value) if isinstance(part, ast.Constant) else ""
                # The beginning of an f-string is no action yet.
                if "." in text and not text.endswith("."):
                    yield text


def test_every_action_of_the_service_has_words() -> None:
    written = {
        action
        for app in ("batchsite", "jobs")
        for path in (ROOT / app).rglob("*.py")
        for action in actions(ast.parse(path.read_text()))
    }

    assert len(written) > 20
    assert written <= set(WORDS)


def test_events_of_older_versions_have_words_too(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)
    for action in WORDS:
        record(action=action, actor=owner, team=team)
        address = f"/teams/{team.pk}/audit/?action={action}"
        page = client.get(address).content.decode()
        # Accounts are nobody's business in a team.
        lines = 0 if action.startswith("account.") else 1
        assert page.count('class="audit-who"') == lines


def test_pages_follow_each_other_without_gap_or_overlap(
    client: Client, team: Team, owner: User
) -> None:
    downloads(team, owner, 120)
    client.force_login(owner)
    found: list[str] = []
    path: str | None = f"/teams/{team.pk}/audit/?action=file.download"
    paths = []

    while path:
        paths.append(path)
        page = client.get(path).content.decode()
        found += re.findall(r"the file (file-\d+)", page)
        older = re.search(r'href="(\?[^"]*before=\d+[^"]*)"', page)
        path = (
            f"/teams/{team.pk}/audit/{older[1].replace('&amp;', '&')}"
            if older
            else None
        )

    assert found == [f"file-{number}" for number in reversed(range(120))]
    assert len(paths) == 3
    last = client.get(paths[-1]).content.decode()
    newer = re.search(r'href="(\?[^"]*after=\d+[^"]*)"', last)
    assert newer
    back = f"/teams/{team.pk}/audit/{newer[1].replace('&amp;', '&')}"
    assert shown(client, back) == shown(client, paths[1])


def test_filters_narrow_the_log(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    downloads(team, teammate, 2)
    record(action="file.delete", actor=owner, team=team, target="file-9")
    AuditEvent.objects.filter(target="file-0").update(
        created_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    )
    client.force_login(owner)
    base = f"/teams/{team.pk}/audit/"

    assert shown(client, f"{base}?action=file.delete") == ["file-9"]
    assert shown(client, f"{base}?who=TEAMmate") == ["file-1", "file-0"]
    assert shown(client, f"{base}?since=2026-03-01&until=2026-03-01") == ["file-0"]
    assert shown(client, f"{base}?until=2026-02-28") == []
    assert "No line fits" in client.get(f"{base}?who=nobody").content.decode()


def test_days_are_those_of_the_sites_time_zone(
    client: Client, team: Team, owner: User, settings: Settings
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    downloads(team, owner, 1)
    AuditEvent.objects.update(created_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))
    client.force_login(owner)
    base = f"/teams/{team.pk}/audit/"

    assert shown(client, f"{base}?since=2026-03-02&until=2026-03-02") == ["file-0"]
    page = client.get(base).content.decode()
    assert "Time (Asia/Tokyo)" in page
    assert "2 Mar 08:30:00" in page


@pytest.mark.parametrize(
    "query",
    [
        "action=nonsense",
        "since=yesterday",
        "until=9999-12-31",
        "since=0001-01-01",
        "who=a%00b",
        "before=x",
        "before=99999999999999999999999",
        "after=-1",
        "after=0",
    ],
)
def test_nonsense_in_the_address_breaks_nothing(
    client: Client, team: Team, owner: User, query: str
) -> None:
    downloads(team, owner, 1)
    client.force_login(owner)

    assert client.get(f"/teams/{team.pk}/audit/?{query}").status_code == 200
    assert client.get(f"/teams/{team.pk}/audit/export/?{query}").status_code in (
        200,
        400,
    )


def test_only_owners_and_staff_read_the_log(
    client: Client,
    team: Team,
    owner: User,
    teammate: User,
    stranger: User,
    staff: User,
) -> None:
    for path in (f"/teams/{team.pk}/audit/", f"/teams/{team.pk}/audit/export/"):
        assert client.get(path)["Location"].startswith("/login/?next=")
        for user, status in (
            (teammate, 403),
            (stranger, 404),
            (owner, 200),
            (staff, 200),
        ):
            client.force_login(user)
            assert client.get(path).status_code == status
        client.logout()
        assert client.post(path).status_code == 405


def test_peoples_sign_ins_are_for_staff_alone(
    client: Client,
    team: Team,
    other_team: Team,
    owner: User,
    stranger: User,
    staff: User,
) -> None:
    downloads(other_team, owner, 1)
    record(action="account.password_change", actor=stranger)
    record(action="account.password_change", actor=owner)
    record(action="secret.thing", actor=owner)
    for user in (owner, stranger):
        record(action="account.sign_in_failed", actor=None, target=user.email)
    path = f"/teams/{team.pk}/audit/"
    client.force_login(owner)

    page = client.get(path).content.decode()

    # Neither what the person did before joining nor what for another team.
    assert "No line fits" in client.get(f"{path}?who=owner").content.decode()
    assert "changed the own password" not in page
    assert "gave a wrong password" not in page
    assert "account.sign_in" not in page
    assert rows(client, f"{path}export/?who=owner")[1:] == []
    assert client.get(f"{path}export/?action=account.sign_in").status_code == 400

    client.force_login(staff)
    page = client.get(path).content.decode()
    assert 'value="account.sign_in"' in page
    assert "account.sign_in" in {r["action"] for r in rows(client, f"{path}export/")}

    # What happened to the accounts of the team's people; nothing else.
    assert page.count("changed the own password") == 1
    assert "somebody</span> gave a wrong password for owner@example.com" in page
    assert "stranger@example.com" not in page
    assert "file-0" not in page
    assert "secret.thing" not in page


def test_the_export_has_all_lines_and_is_noted(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    downloads(team, teammate, 1100)
    record(action="file.delete", actor=teammate, team=team, target="=1+1")
    client.force_login(owner)

    found = rows(client, f"/teams/{team.pk}/audit/export/?who=teammate")

    assert len(found) == 1101
    # A spreadsheet must not run what somebody named a file.
    assert found[0]["target"] == "'=1+1"
    assert found[-1]["target"] == "file-0"
    assert found[-1]["person"] == "teammate@example.com"
    noted = rows(client, f"/teams/{team.pk}/audit/export/?action=audit.export")
    assert [row["person"] for row in noted] == ["owner@example.com"] * 2
    assert noted[0]["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff20"]
)
def test_formulas_are_disarmed(start: str) -> None:
    assert cell(f"{start}cmd") == f"'{start}cmd"
    assert cell(f"a{start}cmd").removeprefix("'") == f"a{start}cmd"
    assert cell("plain = text") == "plain = text"
    assert cell(None) == ""
    assert cell(-5) == "'-5"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\uff1d", "\uff20"])
@pytest.mark.parametrize("before", [";", "\t", "\n", "\r", '; "', ';"";"'])
def test_formulas_inside_of_a_cell_are_disarmed(before: str, start: str) -> None:
    assert cell(f"a{before}{start}cmd") == f"a{before}'{start}cmd"
    (line,) = list(lines(["a"], [[f"a{before}{start}cmd", 5, None]]))[1:]
    assert line.endswith('","5",""\r\n')
    # As read by what takes semicolons and tabs for the ends of cells.
    for part in re.split(r'[;\t\r\n]["\s]*', line):
        assert not part.startswith(start)


def test_a_page_costs_the_same_for_many_lines(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)
    queries = []
    for many in (2, 60):
        downloads(team, owner, many)
        with CaptureQueriesContext(connection) as captured:
            client.get(f"/teams/{team.pk}/audit/?since={timezone.localdate()}")
        queries.append(len(captured))

    assert queries[0] == queries[1]


def test_an_empty_log_says_what_would_fill_it(
    client: Client, team: Team, staff: User
) -> None:
    client.force_login(staff)
    page = client.get(f"/teams/{team.pk}/audit/").content.decode()
    assert "Nothing has happened yet" in page
