# SPDX-License-Identifier: Apache-2.0
"""The pages of webhooks in light, dark and on a phone; and what they do by mouse."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped]  # no stubs
    Axe,
)
from django.utils import timezone
from playwright.sync_api import expect

from batchsite.accounts.models import Team, User
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.webhooks.signing import endpoint_secret
from tests.jobs.webhook_rows import PUBLIC, make_delivery, make_endpoint

from .conftest import OpenPage
from .test_pages import SCREENS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_are_sound(
    open_page: OpenPage, complaints: list[str], owner: User, team: Team, screen: str
) -> None:
    endpoint = make_endpoint(team, f"{PUBLIC}/{'long' * 60}", description="Nightly")
    make_endpoint(
        team,
        disabled_at=timezone.now(),
        disabled_reason="Every attempt failed for three days.",
        failing_since=timezone.now(),
    )
    delivery = make_delivery(endpoint, due=False, attempts_made=2)
    delivery.attempts.create(error="No answer within 10 s.")
    delivery.attempts.create(status_code=500, response="<b>" * 500)
    base = f"/teams/{team.pk}/webhooks/"
    page = open_page(base, user=owner, **SCREENS[screen])
    for path in (
        base,
        f"{base}new/",
        f"{base}{endpoint.public_id}/",
        f"{base}deliveries/",
        f"{base}deliveries/{delivery.public_id}/",
    ):
        page.goto(path)
        found = Axe().run(page).response["violations"]
        bad = [
            (v["id"], [node["html"] for node in v["nodes"]])
            for v in found
            if v["impact"] in ("serious", "critical")
        ]
        assert bad == [], path
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert complaints == []


@pytest.mark.parametrize("scripts", [True, False])
def test_an_endpoint_is_added_tried_and_deleted(
    open_page: OpenPage, complaints: list[str], owner: User, team: Team, scripts: bool
) -> None:
    """With and without JavaScript."""
    page = open_page(
        f"/teams/{team.pk}/webhooks/", user=owner, java_script_enabled=scripts
    )
    page.get_by_role("link", name="New endpoint").click()
    page.get_by_label("URL").fill(PUBLIC)
    page.get_by_label("batch.progress").uncheck()
    page.get_by_role("button", name="Add the endpoint").click()
    expect(page.get_by_role("heading", name=PUBLIC)).to_be_visible()
    endpoint = WebhookEndpoint.objects.get()
    assert "batch.progress" not in endpoint.events

    page.get_by_role("button", name="Show the secret").click()
    expect(page.locator("#webhook-secret")).to_have_text(endpoint_secret(endpoint))

    page.get_by_role("button", name="Send a test message").click()
    expect(page.get_by_role("heading", name="webhook.test")).to_be_visible()
    assert WebhookDelivery.objects.get().state == "pending"

    page.get_by_role("link", name=PUBLIC).click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete the endpoint").click()
    expect(page.get_by_role("heading", name="No endpoints yet")).to_be_visible()
    assert not WebhookEndpoint.objects.exists()
    assert complaints == []


def test_a_delivery_that_waits_shows_its_end_by_itself(
    open_page: OpenPage, complaints: list[str], owner: User, team: Team
) -> None:
    delivery = make_delivery(make_endpoint(team), due=False)
    page = open_page(
        f"/teams/{team.pk}/webhooks/deliveries/{delivery.public_id}/", user=owner
    )
    expect(page.get_by_text("None was made yet.")).to_be_visible()
    delivery.attempts.create(status_code=204, duration_ms=7)
    WebhookDelivery.objects.update(state="delivered", attempts_made=1)
    expect(page.get_by_text("answered 204")).to_be_visible(timeout=20_000)
    assert complaints == []
