# SPDX-License-Identifier: Apache-2.0
"""What the pages of webhooks do by mouse."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from batchsite.accounts.models import Team, User
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.webhooks.signing import endpoint_secret
from tests.jobs.webhook_rows import PUBLIC, make_delivery, make_endpoint

from .conftest import OpenPage

pytestmark = pytest.mark.browser


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
