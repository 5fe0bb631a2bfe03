# SPDX-License-Identifier: Apache-2.0
"""The limits of a team in the browser."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from pytest_django import Settings

from batchsite.accounts.models import Team, User
from jobs.models import Batch
from tests.conftest import MakeBatch
from tests.web import rows


def cells(page: str, name: str) -> list[str]:
    """Used, limit and free of the row with that name."""
    row = page.split(f">{name}")[1].split("</tr>")[0]
    text = re.sub(r"<[^>]+>", " ", row.split("table-wide")[1])
    return re.findall(r"[\d,]+|none|–", text)  # noqa: RUF001 - the page's own dash


@pytest.fixture
def busy(make_batch: MakeBatch, team: Team) -> Batch:
    """A running batch with 600 of 1,000 requests to do."""
    return rows.running(
        make_batch, total=1000, completed=390, failed=10, expected_tokens=5000
    )


def test_what_is_used_and_free(
    client: Client, team: Team, teammate: User, busy: Batch, make_batch: MakeBatch
) -> None:
    Team.objects.filter(pk=team.pk).update(
        max_queued_requests=1000, max_queued_tokens=8000, max_batches_per_hour=7
    )
    make_batch(status=Batch.Status.COMPLETED)
    client.force_login(teammate)

    page = client.get(f"/teams/{team.pk}/limits/").content.decode()

    assert cells(page, "Requests waiting or running") == ["600", "1,000", "400"]
    assert cells(page, "Input tokens waiting or running") == ["5,000", "8,000", "3,000"]
    assert "tiny, estimated" in page
    assert cells(page, "Batches created in the last hour") == ["2", "7", "5"]
    # Members see their limits, staff change them.
    assert "/admin/" not in page


def test_own_limits_are_told_from_the_sites(
    client: Client, team: Team, staff: User, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_FILE_BYTES = 300_000_000
    Team.objects.filter(pk=team.pk).update(max_requests=123, batch_seconds=7200)
    client.force_login(staff)

    page = client.get(f"/teams/{team.pk}/limits/").content.decode()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))

    assert "Size of a batch file 300 MB the site" in text
    assert "Requests in one batch 123 set for this team" in text
    assert "Time that a batch has 2 h set for this team" in text
    Team.objects.filter(pk=team.pk).update(batch_seconds=None)
    page = client.get(f"/teams/{team.pk}/limits/").content.decode()
    assert "OpenAI\u2019s 24 hours" in page
    assert f"/admin/accounts/team/{team.pk}/change/" in page


def test_no_limit_is_said(
    client: Client, team: Team, owner: User, settings: Settings
) -> None:
    settings.BATCHSITE_MAX_QUEUED_REQUESTS = 0
    settings.BATCHSITE_MAX_QUEUED_TOKENS = 0
    settings.BATCHSITE_MAX_QUEUED_REQUESTS_TOTAL = 0
    settings.BATCHSITE_BATCHES_PER_HOUR = 0
    settings.BATCHSITE_REQUESTS_PER_MINUTE = 0
    client.force_login(owner)

    page = client.get(f"/teams/{team.pk}/limits/").content.decode()

    for name in (
        "Requests waiting or running",
        "Input tokens waiting or running",
        "Batches created in the last hour",
    ):
        assert cells(page, name) == ["0", "none", "–"]  # noqa: RUF001 - as above
    assert "no limit" in page
    assert "Requests of the whole site" not in page


def test_a_team_with_nothing_allowed_is_full(
    client: Client, team: Team, owner: User
) -> None:
    Team.objects.filter(pk=team.pk).update(max_queued_requests=0)
    client.force_login(owner)

    page = client.get(f"/teams/{team.pk}/limits/").content.decode()

    assert cells(page, "Requests waiting or running") == ["0", "0", "0"]


def test_limits_are_for_the_team_alone(
    client: Client, team: Team, viewer: User, stranger: User
) -> None:
    path = f"/teams/{team.pk}/limits/"
    assert client.get(path)["Location"].startswith("/login/?next=")
    client.force_login(stranger)
    assert client.get(path).status_code == 404
    client.force_login(viewer)
    assert client.get(path).status_code == 200
    assert client.post(path).status_code == 405
