# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import AuditEvent, Team, User
from jobs.models import WebhookDelivery, WebhookEndpoint
from tests.jobs.webhook_rows import make_delivery, make_endpoint


@pytest.fixture
def admin(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


def act(admin: Client, table: str, action: str, *keys: int) -> str:
    r = admin.post(
        f"/admin/jobs/{table}/",
        {"action": action, "_selected_action": keys, "sure": "yes"},
        follow=True,
    )
    assert r.status_code == 200
    return r.content.decode()


def test_staff_switch_endpoints(admin: Client, staff: User, team: Team) -> None:
    good = make_endpoint(team)
    closed = make_endpoint(team, "http://10.0.0.1/", disabled_at=timezone.now())
    text = act(admin, "webhookendpoint", "disable", good.pk, closed.pk)
    assert "Disabled: 1." in text
    text = act(admin, "webhookendpoint", "enable", good.pk, closed.pk)
    assert "Enabled: 1." in text
    assert "a private address" in text
    assert WebhookEndpoint.objects.enabled().get() == good
    logged = AuditEvent.objects.filter(action__startswith="webhook.").order_by("id")
    assert [(one.action, one.actor, one.target) for one in logged] == [
        ("webhook.disable", staff, good.public_id),
        ("webhook.enable", staff, good.public_id),
    ]


def test_staff_send_messages_again(admin: Client, team: Team) -> None:
    sent = make_delivery(make_endpoint(team), state="delivered")
    lost = make_delivery(None, team=team, url="https://93.184.215.14/x", state="failed")
    text = act(admin, "webhookdelivery", "redeliver", sent.pk, lost.pk)
    assert "To be sent again: 1." in text
    assert f"Message {lost.public_id}: Its endpoint was deleted." in text
    assert WebhookDelivery.objects.due().get() == sent


@pytest.mark.parametrize(
    "table", ["webhookendpoint", "webhookdelivery", "webhookattempt"]
)
def test_nothing_is_added_or_edited_here(admin: Client, team: Team, table: str) -> None:
    delivery = make_delivery(make_endpoint(team))
    delivery.attempts.create(status_code=200)
    assert admin.get(f"/admin/jobs/{table}/add/").status_code == 403
    assert admin.get(f"/admin/jobs/{table}/").status_code == 200
