# SPDX-License-Identifier: Apache-2.0
"""What a team used, by week, person and model; and of all teams, for staff."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from batchsite.accounts.models import Team, User
from jobs.web import usage
from tests.web.usage_rows import NOW, some_weeks, used


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[None]:
    """Pages are asked for on that Wednesday."""
    monkeypatch.setattr("jobs.web.usage.timezone.now", lambda: NOW)
    yield


def lines(page: bytes) -> list[list[str]]:
    """The cells of the table's lines."""
    body = page.decode().split("<tbody")[1].split("</tbody>")[0]
    found = []
    for row in body.split("<tr")[1:]:
        cells = re.split(r"</t[hd]>", row)[:-1]
        found.append(
            [" ".join(re.sub(r"<[^>]+>", " ", f"<{c}").split()) for c in cells]
        )
    return found


def test_by_week_newest_first_with_a_total(
    client: Client, team: Team, owner: User, viewer: User, other_team: Team
) -> None:
    used(team, owner)
    used(team, viewer, rows=20, model="big")
    used(team, owner, at=NOW - timedelta(weeks=2), rows=1000)
    used(team, owner, at=NOW - timedelta(weeks=12))
    used(other_team, owner, rows=999)
    client.force_login(viewer)

    r = client.get(f"/teams/{team.pk}/usage/")

    assert lines(r.content) == [
        ["9 Mar 2026 so far", "27", "3", "3,000", "1,200", "1,500", "0.30"],
        ["2 Mar 2026", "0", "0", "0", "0", "0", "0.00"],
        ["23 Feb 2026", "900", "100", "100,000", "40,000", "50,000", "10.0"],
        ["Total", "927", "103", "103,000", "41,200", "51,500", "10.3"],
    ]
    assert "big, week of 9 Mar: 1,000" in r.content.decode()


def test_by_person_and_model_and_narrowed(
    client: Client, team: Team, owner: User, teammate: User
) -> None:
    used(team, owner)
    used(team, teammate, rows=30, model="")
    used(team, None, rows=20)
    client.force_login(owner)
    path = f"/teams/{team.pk}/usage/"

    def names(query: str) -> list[str]:
        return [line[0] for line in lines(client.get(path + query).content)]

    assert names("?by=person") == [
        "teammate@example.com",
        "somebody who left",
        "owner@example.com",
        "Total",
    ]
    assert names("?by=model") == ["several models", "tiny", "Total"]
    assert names("?by=model&model=-") == ["several models", "Total"]
    assert names("?by=person&person=owner@example.com&model=tiny") == [
        "owner@example.com",
        "Total",
    ]
    # Teams are no lines of one team; unknown words are the first choice.
    assert names("?by=team")[0].startswith("9 Mar")
    assert b"Nothing fits" in client.get(f"{path}?person=nobody").content


def test_an_unused_team_says_what_comes_here(
    client: Client, team: Team, owner: User
) -> None:
    client.force_login(owner)
    page = client.get(f"/teams/{team.pk}/usage/").content.decode()
    assert "Nothing was used in the last 12 weeks" in page


def test_the_csv_is_the_view(client: Client, team: Team, owner: User) -> None:
    used(team, owner, model="=HYPERLINK(1)")
    used(team, owner, rows=100)
    client.force_login(owner)

    def cells(query: str) -> list[list[str]]:
        r = client.get(f"/teams/{team.pk}/usage/export/{query}")
        assert r["Content-Type"] == "text/csv; charset=utf-8"
        text = r.getvalue().decode().removeprefix("\ufeff")
        return list(csv.reader(io.StringIO(text)))

    assert cells("?by=model&person=owner@example.com") == [
        ["model", *usage_head()],
        ["tiny", "90", "10", "10000", "4000", "5000", "1.0000"],
        # A spreadsheet takes no name for a formula.
        ["'=HYPERLINK(1)", "9", "1", "1000", "400", "500", "0.1000"],
        ["total", "99", "11", "11000", "4400", "5500", "1.1000"],
    ]
    assert cells("")[0][0] == "week from (UTC)"
    assert cells("")[1][0] == "2026-03-09"


def usage_head() -> list[str]:
    return [
        *("answered", "failed", "input tokens", "cached input tokens"),
        *("output tokens", "engine hours"),
    ]


def test_weeks_are_those_of_who_looks(client: Client, team: Team, owner: User) -> None:
    # In Tokyo it was Monday already.
    used(team, owner, at=datetime(2026, 3, 8, 16, tzinfo=UTC))
    client.force_login(owner)
    path = f"/teams/{team.pk}/usage/"
    assert lines(client.get(path).content)[1][:2] == ["2 Mar 2026", "9"]

    User.objects.filter(pk=owner.pk).update(time_zone="Asia/Tokyo")

    r = client.get(path)
    assert lines(r.content)[0][:2] == ["9 Mar 2026 so far", "9"]
    assert b"Weeks begin on Monday, Asia/Tokyo." in r.content
    exported = client.get(f"{path}export/").getvalue().decode()
    assert "week from (Asia/Tokyo)" in exported


def test_weeks_begin_at_midnight_before_and_after_the_clock_is_put() -> None:
    with timezone.override("Europe/Vienna"):
        edges = usage.weeks(datetime(2026, 4, 1, tzinfo=UTC))
    assert len(edges) == 13
    assert [edge.astimezone(UTC).hour for edge in edges] == [23] * 11 + [22] * 2
    assert {edge.weekday() for edge in edges} == {0}


def test_staff_see_all_teams(
    client: Client, team: Team, other_team: Team, owner: User, staff: User
) -> None:
    used(team, owner)
    used(other_team, owner, rows=20)
    client.force_login(owner)
    for path in ("/usage/", "/usage/export/"):
        assert client.get(path).status_code == 403
    client.force_login(staff)

    page = client.get("/usage/").content

    assert [line[0] for line in lines(page)] == ["Green", "Blue", "Total"]
    assert f"/teams/{team.pk}/usage/".encode() in page
    assert b'"Green"' in client.get("/usage/export/").getvalue()


def test_hostile_names_are_escaped(client: Client, team: Team, owner: User) -> None:
    used(team, owner, model="<script>x</script>\x1b")
    client.force_login(owner)
    for by in ("week", "model"):
        page = client.get(f"/teams/{team.pk}/usage/?by={by}&person=%00<b>").content
        assert b"<script>x" not in page
        page = client.get(f"/teams/{team.pk}/usage/?by={by}").content
        assert b"<script>x" not in page
        assert b"&lt;script&gt;x" in page
        assert b"\x1b" not in page


def test_one_query_reads_the_usage(
    team: Team, owner: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    some_weeks(team, [owner], now=NOW)
    with django_assert_num_queries(1):
        found = usage.report(team, by="person")
    assert found.picture is not None
    # Parts of the picture are never larger than the whole.
    assert found.picture.peak <= found.picture.top
    assert [layer.name for layer in usage.report(team, by="week").picture.layers][  # type: ignore[union-attr]  # there is one
        -1
    ] == "others"


def test_what_makes_no_output_is_drawn_by_its_input(team: Team, owner: User) -> None:
    used(team, owner, output_tokens=0)
    found: Any = usage.report(team, by="week").picture
    assert (found.unit, found.peak) == ("input tokens", 1000)


def test_the_site_s_time_zone_without_a_choice(
    client: Client, team: Team, owner: User, settings: Settings
) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    used(team, owner)
    client.force_login(owner)
    assert b"Europe/Vienna" in client.get(f"/teams/{team.pk}/usage/").content
