# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from batchsite.accounts.models import AuditEvent, Team, User
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.outbox import EVENT_TYPES
from jobs.webhooks import endpoints
from jobs.webhooks.signing import endpoint_secret, team_secret
from tests.conftest import MakeBatch
from tests.jobs.webhook_rows import PUBLIC, make_delivery, make_endpoint

CHANGES = ("change", "secret", "rotate", "enable", "disable", "delete", "test")


@pytest.fixture
def endpoint(team: Team) -> WebhookEndpoint:
    return make_endpoint(team, description="Nightly")


@pytest.fixture
def signed_in(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def path(endpoint: WebhookEndpoint, verb: str = "") -> str:
    base = f"/teams/{endpoint.team_id}/webhooks/{endpoint.public_id}/"
    return f"{base}{verb}/" if verb else base


def log_path(delivery: WebhookDelivery, verb: str = "") -> str:
    base = f"/teams/{delivery.team_id}/webhooks/deliveries/{delivery.public_id}/"
    return f"{base}{verb}/" if verb else base


def actions() -> list[str]:
    found = AuditEvent.objects.filter(action__startswith="webhook.").order_by("id")
    return list(found.values_list("action", flat=True))


def pages(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> list[str]:
    base = f"/teams/{endpoint.team_id}/webhooks/"
    return [base, f"{base}deliveries/", path(endpoint), log_path(delivery)]


def posts(endpoint: WebhookEndpoint, delivery: WebhookDelivery) -> list[str]:
    base = f"/teams/{endpoint.team_id}/webhooks/"
    return [
        *(path(endpoint, verb) for verb in CHANGES),
        f"{base}new/",
        f"{base}secret/",
        f"{base}rotate/",
        log_path(delivery, "redeliver"),
    ]


def test_strangers_find_nothing(
    client: Client, stranger: User, endpoint: WebhookEndpoint
) -> None:
    client.force_login(stranger)
    delivery = make_delivery(endpoint)
    for address in pages(endpoint, delivery):
        assert client.get(address).status_code == 404, address
    for address in posts(endpoint, delivery):
        assert client.post(address).status_code == 404, address
    # Nor through a team of their own.
    mine = Team.objects.get(name="Green")
    for address in [*pages(endpoint, delivery)[2:], *posts(endpoint, delivery)[:6]]:
        moved = address.replace(f"/teams/{endpoint.team_id}/", f"/teams/{mine.pk}/")
        assert client.get(moved).status_code in (404, 405), moved
        if address.endswith("delete/"):
            client.post(moved)
    assert WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()
    assert actions() == []


def test_nobody_signs_in_first(client: Client, endpoint: WebhookEndpoint) -> None:
    delivery = make_delivery(endpoint)
    for address in pages(endpoint, delivery):
        assert client.get(address).headers["Location"].startswith("/login/")
    for address in posts(endpoint, delivery):
        assert client.post(address).headers["Location"].startswith("/login/")


def test_viewers_do_not_see_webhooks(
    client: Client, viewer: User, endpoint: WebhookEndpoint
) -> None:
    client.force_login(viewer)
    delivery = make_delivery(endpoint)
    for address in pages(endpoint, delivery):
        r = client.get(address)
        assert r.status_code == 403, address
        assert "for its members; viewers do not see them" in r.content.decode()


def test_members_look_and_change_nothing(
    client: Client, teammate: User, endpoint: WebhookEndpoint
) -> None:
    client.force_login(teammate)
    delivery = make_delivery(endpoint)
    for address in pages(endpoint, delivery):
        r = client.get(address)
        assert r.status_code == 200, address
        assert 'method="post" action="/teams/' not in r.content.decode()
        assert endpoint_secret(endpoint) not in r.content.decode()
    for address in posts(endpoint, delivery):
        assert client.post(address).status_code == 403, address
    assert actions() == []


def test_changes_are_posts(signed_in: Client, endpoint: WebhookEndpoint) -> None:
    delivery = make_delivery(endpoint)
    for address in posts(endpoint, delivery):
        if not address.endswith("new/"):
            assert signed_in.get(address).status_code == 405, address


def test_changes_need_the_csrf_token(owner: User, endpoint: WebhookEndpoint) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(path(endpoint, "delete")).status_code == 403
    assert WebhookEndpoint.objects.filter(pk=endpoint.pk).exists()


def test_an_owner_adds_an_endpoint(signed_in: Client, owner: User, team: Team) -> None:
    base = f"/teams/{team.pk}/webhooks/"
    assert "No endpoints yet" in signed_in.get(base).content.decode()
    assert signed_in.get(f"{base}new/").status_code == 200
    form = {
        "url": PUBLIC,
        "description": "Nightly",
        "events": ["batch.completed", "batch.failed"],
    }
    r = signed_in.post(f"{base}new/", form)
    endpoint = WebhookEndpoint.objects.get()
    assert r.headers["Location"] == path(endpoint)
    assert (endpoint.url, endpoint.team, endpoint.created_by) == (PUBLIC, team, owner)
    assert endpoint.events == ["batch.completed", "batch.failed"]
    assert actions() == ["webhook.create"]
    assert AuditEvent.objects.get(action="webhook.create").data["url"] == PUBLIC
    # The same again is a mistake that the form tells.
    r = signed_in.post(f"{base}new/", form)
    assert "has an endpoint with this URL already" in r.content.decode()
    assert WebhookEndpoint.objects.count() == 1


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"url": "http://127.0.0.1:8000/"}, "a loopback address"),
        ({"url": "http://169.254.169.254/"}, "a link-local address"),
        ({"url": "https://a:b@93.184.215.14/"}, "user name or a password"),
        ({"url": "nonsense"}, "must start with https://"),
        ({"url": ""}, "required"),
        ({"events": []}, "Choose at least one event."),
        ({"events": ["batch.exploded"]}, "not one of the available choices"),
        ({"description": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_bad_form_makes_nothing_and_says_why(
    signed_in: Client, team: Team, over: dict[str, Any], told: str
) -> None:
    form = {"url": PUBLIC, "events": ["batch.completed"]} | over
    r = signed_in.post(f"/teams/{team.pk}/webhooks/new/", form)
    assert r.status_code == 200
    assert told in r.content.decode()
    assert not WebhookEndpoint.objects.exists()
    assert actions() == []


def test_all_events_are_kept_as_none(signed_in: Client, team: Team) -> None:
    form = {"url": PUBLIC, "events": list(EVENT_TYPES)}
    signed_in.post(f"/teams/{team.pk}/webhooks/new/", form)
    assert WebhookEndpoint.objects.get().events == []


def test_a_team_has_a_limited_number_of_endpoints(
    signed_in: Client, team: Team
) -> None:
    for number in range(endpoints.MOST_OF_A_TEAM):
        make_endpoint(team, f"{PUBLIC}/{number}")
    form = {"url": PUBLIC, "events": ["batch.failed"]}
    r = signed_in.post(f"/teams/{team.pk}/webhooks/new/", form)
    assert "20 endpoints at most" in r.content.decode()


def test_an_owner_changes_the_events(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    form = {"description": "Weekly", "events": ["batch.failed"]}
    for _ in range(2):
        assert signed_in.post(path(endpoint, "change"), form).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.description, endpoint.events) == ("Weekly", ["batch.failed"])
    assert actions() == ["webhook.change"]
    r = signed_in.post(path(endpoint, "change"), {"description": "None", "events": []})
    assert "Choose at least one event." in r.content.decode()
    endpoint.refresh_from_db()
    assert endpoint.description == "Weekly"


def test_the_secret_is_shown_on_demand_and_stored_nowhere(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    secret = endpoint_secret(endpoint)
    assert secret not in signed_in.get(path(endpoint)).content.decode()
    r = signed_in.post(path(endpoint, "secret"))
    assert secret in r.content.decode()
    assert "no-store" in r.headers["Cache-Control"]
    assert secret not in signed_in.get(path(endpoint)).content.decode()
    assert actions() == ["webhook.secret"]


def test_a_rotation_that_is_sent_twice_happens_once(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    for _ in range(2):
        r = signed_in.post(path(endpoint, "rotate"), {"version": 1})
        assert r.status_code == 302
    endpoint.refresh_from_db()
    assert endpoint.secret_version == 2
    assert endpoint.secret_rotated_at is not None
    assert actions() == ["webhook.rotate"]
    signed_in.post(path(endpoint, "rotate"), {"version": "nonsense"})
    assert actions() == ["webhook.rotate"]


def test_the_teams_own_secret_is_shown_and_rotated(
    signed_in: Client, team: Team
) -> None:
    base = f"/teams/{team.pk}/webhooks/"
    r = signed_in.post(f"{base}secret/")
    assert team_secret(team) in r.content.decode()
    assert "no-store" in r.headers["Cache-Control"]
    for _ in range(2):
        signed_in.post(f"{base}rotate/", {"version": 1})
    team.refresh_from_db()
    assert team.webhook_secret_version == 2
    assert actions() == ["webhook.secret", "webhook.rotate"]


def test_disable_and_enable(signed_in: Client, endpoint: WebhookEndpoint) -> None:
    for _ in range(2):
        signed_in.post(path(endpoint, "disable"))
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    assert "owner@example.com" in endpoint.disabled_reason
    assert "Nothing is sent here" in signed_in.get(path(endpoint)).content.decode()
    for _ in range(2):
        signed_in.post(path(endpoint, "enable"))
    enabled = WebhookEndpoint.objects.get()
    assert (enabled.disabled_at, enabled.disabled_reason) == (None, "")
    assert actions() == ["webhook.disable", "webhook.enable"]


def test_an_address_that_is_closed_now_is_not_enabled(
    signed_in: Client, team: Team
) -> None:
    endpoint = make_endpoint(team, "http://10.0.0.1/", disabled_at=timezone.now())
    r = signed_in.post(path(endpoint, "enable"), follow=True)
    assert "a private address" in r.content.decode()
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None


def test_a_deleted_endpoint_leaves_its_log(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    delivery = make_delivery(endpoint, state="delivered")
    delivery.attempts.create(status_code=200)
    for _ in range(2):
        r = signed_in.post(path(endpoint, "delete"))
        assert r.headers["Location"] == f"/teams/{endpoint.team_id}/webhooks/"
    assert not WebhookEndpoint.objects.exists()
    assert actions() == ["webhook.disable", "webhook.delete"]
    r = signed_in.get(log_path(delivery))
    assert "this endpoint was deleted" in r.content.decode()
    # Nothing signs for it any more.
    r = signed_in.post(log_path(delivery, "redeliver"), follow=True)
    assert "Its endpoint was deleted." in r.content.decode()
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_a_test_message_is_queued(signed_in: Client, endpoint: WebhookEndpoint) -> None:
    r = signed_in.post(path(endpoint, "test"), follow=True)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.type, delivery.state) == ("webhook.test", "pending")
    assert delivery.public_id in r.content.decode()
    assert actions() == ["webhook.test"]
    endpoints.disable(endpoint=endpoint, by=None)
    r = signed_in.post(path(endpoint, "test"), follow=True)
    assert "Enable the endpoint first." in r.content.decode()
    assert WebhookDelivery.objects.count() == 1


@pytest.mark.parametrize("state", ["delivered", "failed", "pending"])
def test_the_same_message_is_sent_again(
    signed_in: Client, endpoint: WebhookEndpoint, state: str
) -> None:
    delivery = make_delivery(endpoint, due=False, state=state, attempts_made=9)
    for _ in range(2):
        assert signed_in.post(log_path(delivery, "redeliver")).status_code == 302
    again = WebhookDelivery.objects.due().get()
    assert (again.public_id, again.payload) == (delivery.public_id, delivery.payload)
    assert actions() == ["webhook.redeliver"]


def test_what_is_under_way_is_not_sent_again(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    soon = timezone.now() + timedelta(seconds=20)
    delivery = make_delivery(endpoint, attempts_made=1, next_attempt_at=soon)
    r = signed_in.post(log_path(delivery, "redeliver"), follow=True)
    assert "It is under way" in r.content.decode()
    delivery.refresh_from_db()
    assert delivery.next_attempt_at == soon


def test_nothing_is_sent_again_to_a_disabled_endpoint(
    signed_in: Client, team: Team
) -> None:
    endpoint = make_endpoint(team, disabled_at=timezone.now())
    delivery = make_delivery(endpoint, state="failed")
    r = signed_in.post(log_path(delivery, "redeliver"), follow=True)
    assert "Enable the endpoint first." in r.content.decode()


def test_a_batchs_own_message_is_sent_again(
    signed_in: Client, team: Team, make_batch: MakeBatch
) -> None:
    batch = make_batch(webhook_url="https://93.184.215.14/own")
    delivery = make_delivery(
        None, team=team, batch=batch, url=batch.webhook_url, state="failed"
    )
    signed_in.post(log_path(delivery, "redeliver"))
    assert WebhookDelivery.objects.due().get() == delivery


def test_a_delivery_shows_what_was_sent_and_each_answer(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    delivery = make_delivery(endpoint, payload='{"data": "<b>&amp;"}', attempts_made=2)
    delivery.attempts.create(error="No answer within 10 s.", duration_ms=10_002)
    delivery.attempts.create(status_code=500, response="<script>alert(1)</script>")
    text = signed_in.get(log_path(delivery)).content.decode()
    assert "No answer within 10 s." in text
    assert "10,002 ms" in text
    assert "<strong>500</strong>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    assert "{&quot;data&quot;: &quot;&lt;b&gt;&amp;amp;&quot;}" in text
    assert "webhook-id" in text
    assert "v1," in text


def test_the_signature_of_a_rotated_secret_is_not_invented(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    delivery = make_delivery(endpoint, state="delivered")
    earlier = timezone.now() - timedelta(seconds=1)
    delivery.attempts.create(status_code=200, created_at=earlier)
    endpoints.rotate(endpoint=endpoint, version=1, by=None)
    text = signed_in.get(log_path(delivery)).content.decode()
    assert "by a secret that was rotated since" in text
    assert "v1," not in text


def test_the_log_is_paged_and_filtered(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    rows = [
        make_delivery(endpoint, state="failed" if number % 2 else "delivered")
        for number in range(60)
    ]
    rows.reverse()

    def shown(query: str) -> list[str]:
        r = signed_in.get(f"{path(endpoint)}{query}")
        return [row.public_id for row in r.context["log"].rows]

    def follow(query: str, way: str) -> str:
        log = signed_in.get(f"{path(endpoint)}{query}").context["log"]
        return str(getattr(log, way))

    ids = [row.public_id for row in rows]
    assert shown("") == ids[:25]
    second = follow("", "older")
    assert shown(second) == ids[25:50]
    last = follow(second, "older")
    assert shown(last) == ids[50:]
    assert follow(last, "older") == ""
    assert shown(follow(last, "newer")) == ids[25:50]
    assert shown(follow(follow(last, "newer"), "newer")) == ids[:25]
    assert follow("", "newer") == ""
    failed = [row.public_id for row in rows if row.state == "failed"]
    assert shown("?state=failed") == failed[:25]
    assert shown(follow("?state=failed", "older")) == failed[25:]
    assert shown("?state=nonsense") == ids[:25]
    assert shown("?before=nonsense") == []


def test_the_teams_log_has_everything_and_costs_little(
    signed_in: Client,
    endpoint: WebhookEndpoint,
    other_team: Team,
    make_batch: MakeBatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    base = f"/teams/{endpoint.team_id}/webhooks/deliveries/"
    batch = make_batch(webhook_url="https://93.184.215.14/own")
    for _ in range(10):
        make_delivery(endpoint, batch=batch)
    make_delivery(None, team=endpoint.team, batch=batch, url=batch.webhook_url)
    make_delivery(make_endpoint(other_team))
    assert len(signed_in.get(base).context["log"].rows) == 11
    with django_assert_num_queries(5):
        r = signed_in.get(base, headers={"HX-Request": "true"})
    assert r.status_code == 200
    etag = r.headers["ETag"]
    headers = {"HX-Request": "true", "If-None-Match": etag}
    assert signed_in.get(base, headers=headers).status_code == 304


def test_a_waiting_delivery_is_polled_until_it_is_over(
    signed_in: Client, endpoint: WebhookEndpoint
) -> None:
    delivery = make_delivery(endpoint)
    headers = {"HX-Request": "true"}
    r = signed_in.get(log_path(delivery), headers=headers)
    assert "hx-trigger" in r.content.decode()
    WebhookDelivery.objects.update(state="delivered")
    r = signed_in.get(log_path(delivery), headers=headers)
    assert "hx-trigger" not in r.content.decode()


def test_who_was_switched_off_is_told_on_every_page(
    client: Client, owner: User, viewer: User, stranger: User, team: Team
) -> None:
    endpoint = make_endpoint(
        team,
        disabled_at=timezone.now(),
        disabled_reason="Every attempt failed for three days.",
        failing_since=timezone.now() - timedelta(days=3),
    )
    told = "Every attempt failed for three days."
    for person, sees, links in [
        (owner, True, True),
        (viewer, True, False),
        (stranger, False, False),
    ]:
        client.force_login(person)
        for address in ("/batches/", "/alarms/"):
            text = client.get(address).content.decode()
            assert (told in text) is sees, (person, address)
            assert (path(endpoint) in text) is links, (person, address)
    client.force_login(owner)
    client.post(path(endpoint, "enable"))
    assert told not in client.get("/batches/").content.decode()


def test_what_people_disabled_is_no_alarm(signed_in: Client, team: Team) -> None:
    endpoints.disable(endpoint=make_endpoint(team), by=None)
    assert "switched off" not in signed_in.get("/batches/").content.decode()
