# SPDX-License-Identifier: Apache-2.0
"""People read times of day in a zone of their own."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, Team, User
from batchsite.accounts.zones import names, zone
from tests.conftest import MakeBatch
from tests.inputs import api_client
from tests.web import rows


def save(client: Client, name: str) -> str:
    r = client.post("/account/time-zone/", {"time_zone": name}, follow=True)
    return re.sub(r"\s+", " ", r.content.decode())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Europe/Vienna", "Europe/Vienna"),
        (" europe/vienna ", "Europe/Vienna"),
        ("New York", "America/New_York"),
        ("utc", "UTC"),
        ("", ""),
    ],
)
def test_a_zone_is_kept_by_its_name(
    client: Client, owner: User, given: str, kept: str
) -> None:
    client.force_login(owner)
    for _ in range(2):
        assert "Times of day are now those of" in save(client, given)
    owner.refresh_from_db()
    assert owner.time_zone == kept
    assert client.get("/account/time-zone/").status_code == 405


@pytest.mark.parametrize("given", ["Mars/Base", "../../etc/passwd", "x" * 65, "\0"])
def test_what_is_no_zone_is_refused_with_a_way_out(
    client: Client, owner: User, given: str
) -> None:
    client.force_login(owner)
    page = save(client, given)
    assert "errorlist" in page
    assert "Time zone" in page
    owner.refresh_from_db()
    assert owner.time_zone == ""


def test_the_choices_are_places() -> None:
    assert names()[0] == "UTC"
    assert {"Europe/Vienna", "Asia/Kolkata"} <= set(names())
    assert all("/" in name for name in names()[1:])
    # A host with an older list of zones shows the site's.
    assert str(zone("Moon/Base")) == "UTC"


def test_pages_and_the_admin_are_written_in_it(
    client: Client, staff: User, team: Team, make_batch: MakeBatch
) -> None:
    at = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    batch = rows.running(make_batch, created_at=at)
    User.objects.filter(pk=staff.pk).update(time_zone="Asia/Tokyo")
    event = AuditEvent.objects.create(team=team, actor=staff, action="batch.cancel")
    AuditEvent.objects.filter(pk=event.pk).update(created_at=at)
    client.force_login(staff)

    page = client.get(f"/batches/{batch.public_id}/").content.decode()
    audit = client.get(f"/teams/{team.pk}/audit/").content.decode()

    assert "2 Jul 08:30:00" in page
    # On hover the time is everybody's.
    assert "2026-07-01 23:30:00 UTC" in page
    assert "Time (Asia/Tokyo)" in audit
    assert "2 Jul 08:30:00" in audit
    admin = client.get(f"/admin/jobs/batch/{batch.pk}/change/").content.decode()
    assert "08:30:00 JST" in admin
    # The thread's own zone is back.
    assert timezone.get_current_timezone_name() == "UTC"


def test_an_export_is_made_in_it_while_it_is_sent(
    client: Client, owner: User, team: Team
) -> None:
    User.objects.filter(pk=owner.pk).update(time_zone="Pacific/Kiritimati")
    client.force_login(owner)

    r = client.get(f"/teams/{team.pk}/audit/export/")
    seen = [timezone.get_current_timezone_name() for _ in r]

    with timezone.override("Pacific/Kiritimati"):
        assert f"-{timezone.localdate()}.csv" in r["Content-Disposition"]
    # Whoever sends the parts goes on in the zone that was there.
    assert set(seen) == {"UTC"}


def test_a_poll_after_another_zone_is_not_what_the_browser_has(
    client: Client, owner: User
) -> None:
    client.force_login(owner)
    poll = {"hx-request": "true"}
    tag = client.get("/?part=steady", headers=poll)["ETag"]
    known = poll | {"if-none-match": tag}
    assert client.get("/?part=steady", headers=known).status_code == 304
    save(client, "Asia/Tokyo")
    assert client.get("/?part=steady", headers=known).status_code == 200


def test_calls_of_the_api_know_no_zones(owner: User, team: Team) -> None:
    User.objects.filter(pk=owner.pk).update(time_zone="Asia/Tokyo")
    r = api_client(owner, team).get("/v1/batches")
    assert r.status_code == 200
    assert timezone.get_current_timezone_name() == "UTC"
