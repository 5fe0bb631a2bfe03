# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.utils import timezone
from pytest_django import Settings

from batchsite.accounts.models import AuditEvent, Team
from jobs import processes
from jobs.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from jobs.webhooks import deliver, endpoints, sending
from jobs.webhooks.answer import Answer
from jobs.webhooks.attempts import WAITS, claim, due, finish, wait
from tests.conftest import MakeBatch
from tests.jobs.webhook_rows import make_delivery, make_endpoint
from tests.webhook_receiver import Receiver

OK = Answer(200, "thank you", duration_ms=12)
BROKEN = Answer(500, "oops")


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.BATCHSITE_WEBHOOK_ALLOWED = ["127.0.0.1"]


@pytest.fixture
def endpoint(team: Team) -> WebhookEndpoint:
    """Nothing listens there."""
    return make_endpoint(team, "http://127.0.0.1:9/")


def make_due(delivery: WebhookDelivery) -> WebhookDelivery:
    """As if the time of its next attempt had come."""
    WebhookDelivery.objects.filter(pk=delivery.pk).update(
        next_attempt_at=timezone.now() - timedelta(minutes=1)
    )
    delivery.refresh_from_db()
    return delivery


def attempt(delivery: WebhookDelivery, answer: Answer) -> WebhookDelivery:
    """One whole attempt that is answered so."""
    claimed = claim(delivery)
    assert claimed is not None
    finish(claimed, answer)
    return WebhookDelivery.objects.get(pk=delivery.pk)


def seconds_left(delivery: WebhookDelivery) -> float:
    return (delivery.next_attempt_at - timezone.now()).total_seconds()


def test_success_ends_a_delivery(endpoint: WebhookEndpoint) -> None:
    delivery = attempt(make_delivery(endpoint), OK)
    assert (delivery.state, delivery.attempts_made) == ("delivered", 1)
    logged = WebhookAttempt.objects.get()
    assert (logged.status_code, logged.response, logged.error) == (200, "thank you", "")
    assert logged.duration_ms == 12
    assert due(10) == []


def test_an_attempt_is_claimed_once(endpoint: WebhookEndpoint) -> None:
    delivery = make_delivery(endpoint)
    same = WebhookDelivery.objects.get()
    first = claim(delivery)
    assert first is not None
    assert claim(same) is None
    # Nobody sees it while it is claimed.
    assert due(10) == []
    assert first.headers["webhook-id"] == delivery.public_id
    assert first.headers["webhook-timestamp"] == str(int(first.at.timestamp()))


def test_the_attempt_of_a_dead_worker_is_made_again(endpoint: WebhookEndpoint) -> None:
    lost = claim(make_delivery(endpoint))
    assert lost is not None
    delivery = make_due(lost.delivery)
    assert due(10) == [delivery]
    second = claim(delivery)
    assert second is not None
    assert second.number == 2
    assert second.headers["webhook-id"] == lost.headers["webhook-id"]
    # The first comes back to life: its failure decides nothing any more.
    finish(lost, Answer(410))
    delivery.refresh_from_db()
    assert delivery.state == "pending"
    finish(second, OK)
    delivery.refresh_from_db()
    assert delivery.state == "delivered"
    assert delivery.attempts.count() == 2


def test_a_late_success_counts(endpoint: WebhookEndpoint) -> None:
    lost = claim(make_delivery(endpoint))
    assert lost is not None
    second = claim(make_due(lost.delivery))
    assert second is not None
    finish(lost, OK)
    finish(second, BROKEN)
    assert WebhookDelivery.objects.get().state == "delivered"


def test_failures_are_retried_over_about_a_day_and_then_given_up(
    endpoint: WebhookEndpoint,
) -> None:
    assert 20 * 3600 < sum(WAITS) < 28 * 3600
    delivery = make_delivery(endpoint)
    for number, planned in enumerate(WAITS, start=1):
        delivery = attempt(make_due(delivery), BROKEN)
        assert (delivery.state, delivery.attempts_made) == ("pending", number)
        assert planned * 0.7 - 5 < seconds_left(delivery) < planned * 1.3
    delivery = attempt(make_due(delivery), Answer(error="No answer within 10 s."))
    assert delivery.state == "failed"
    assert delivery.attempts.count() == len(WAITS) + 1
    assert delivery.attempts.last().error == "No answer within 10 s."  # type: ignore[union-attr]  # just counted


@pytest.mark.parametrize("status", [302, 400, 404, 429, 503])
def test_every_other_answer_is_retried(endpoint: WebhookEndpoint, status: int) -> None:
    assert attempt(make_delivery(endpoint), Answer(status)).state == "pending"


def test_waits_are_spread() -> None:
    assert len({wait(5) for _ in range(20)}) > 1


def test_the_receivers_wish_to_wait_is_honoured_within_limits() -> None:
    assert wait(1, 120) == 120
    assert wait(1, 10**9) == 12 * 3600
    assert wait(5, 1) > 1000


def test_gone_disables_the_endpoint(endpoint: WebhookEndpoint) -> None:
    delivery = attempt(make_delivery(endpoint), Answer(410))
    assert delivery.state == "failed"
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    assert "410" in endpoint.disabled_reason
    audit = AuditEvent.objects.get(action="webhook.disable")
    assert (audit.actor, audit.team, audit.target) == (
        None,
        endpoint.team,
        endpoint.public_id,
    )


def test_gone_at_a_batchs_own_address_ends_that_delivery(
    team: Team, make_batch: MakeBatch
) -> None:
    batch = make_batch(webhook_url="https://93.184.215.14/own")
    delivery = make_delivery(None, team=team, batch=batch, url=batch.webhook_url)
    assert attempt(delivery, Answer(410)).state == "failed"


def test_an_endpoint_that_only_fails_is_disabled_after_three_days(
    endpoint: WebhookEndpoint,
) -> None:
    delivery = attempt(make_delivery(endpoint), BROKEN)
    endpoint.refresh_from_db()
    since = endpoint.failing_since
    assert since is not None
    attempt(make_due(delivery), BROKEN)
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.disabled_at) == (since, None)

    WebhookEndpoint.objects.update(failing_since=since - timedelta(days=3))
    attempt(make_due(delivery), BROKEN)
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    assert "three days" in endpoint.disabled_reason
    assert AuditEvent.objects.filter(action="webhook.disable").count() == 1


def test_one_success_starts_the_three_days_anew(endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(failing_since=timezone.now() - timedelta(days=4))
    attempt(make_delivery(endpoint), OK)
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.disabled_at) == (None, None)


def test_a_disabled_endpoint_gets_nothing(endpoint: WebhookEndpoint) -> None:
    WebhookEndpoint.objects.update(disabled_at=timezone.now())
    make_delivery(endpoint)
    (found,) = due(10)
    assert claim(found) is None
    found.refresh_from_db()
    assert found.state == "failed"
    assert found.attempts.get().error == "The endpoint is disabled."


def test_a_deleted_endpoint_gets_nothing(team: Team, make_batch: MakeBatch) -> None:
    delivery = make_delivery(
        None, team=team, batch=make_batch(), url="https://93.184.215.14/"
    )
    assert claim(delivery) is None
    delivery.refresh_from_db()
    assert delivery.state == "failed"


def test_an_interrupted_deletion_leaves_an_endpoint_that_is_told_nothing(
    endpoint: WebhookEndpoint, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make_batch(webhook_url=endpoint.url)
    delivery = make_delivery(endpoint, batch=own)

    def killed(self: WebhookDelivery, **_: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(WebhookDelivery.objects.all().__class__, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            endpoints.delete(endpoint=endpoint, by=None)
    endpoint.refresh_from_db()
    assert endpoint.disabled_at is not None
    # As if it had been killed one step later.
    WebhookDelivery.objects.update(endpoint=None)
    (found,) = due(10)
    assert claim(found) is None
    assert delivery.attempts.get().error == "The endpoint is disabled."
    endpoints.delete(endpoint=endpoint, by=None)
    assert not WebhookEndpoint.objects.exists()


def test_nothing_is_wanted_when_nothing_is_due(endpoint: WebhookEndpoint) -> None:
    make_delivery(endpoint, due=False)
    assert not deliver.wanted()
    assert deliver.run() == "0 attempts"


def test_a_turn_sends_all_that_is_due(
    team: Team,
    other_team: Team,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However long the turn takes, none of its failures is due again within it.
    monkeypatch.setattr("jobs.webhooks.attempts.WAITS", (3600,) * 8)
    good = make_endpoint(team, receiver.url("/ok"))
    bad = make_endpoint(other_team, receiver.url("/status/500"))
    messages = [make_delivery(good) for _ in range(30)]
    failed = make_delivery(bad)
    assert deliver.wanted()
    assert deliver.run() == "31 attempts"
    assert not deliver.wanted()
    sent = sorted(
        one.headers["webhook-id"] for one in receiver.got if one.path == "/ok"
    )
    assert sent == sorted(one.public_id for one in messages)
    assert good.deliveries.filter(state="delivered").count() == 30
    failed.refresh_from_db()
    assert (failed.state, failed.attempts_made) == ("pending", 1)


def test_an_answer_of_500_and_then_200_is_delivered(
    team: Team, receiver: Receiver
) -> None:
    delivery = make_delivery(make_endpoint(team, receiver.url("/flaky")))
    deliver.run()
    make_due(delivery)
    deliver.run()
    delivery.refresh_from_db()
    assert delivery.state == "delivered"
    first, second = receiver.got
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body == delivery.payload.encode()
    assert [one.status_code for one in delivery.attempts.all()] == [500, 200]


def test_slow_receivers_take_only_their_share(
    team: Team,
    other_team: Team,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred messages to one that hangs wait; those of another arrive meanwhile."""
    slow = make_endpoint(team, receiver.url("/hang"))
    late = timezone.now() - timedelta(hours=1)
    for _ in range(100):
        make_delivery(slow, next_attempt_at=late)
    quick = make_endpoint(other_team, receiver.url("/ok"))
    for _ in range(20):
        make_delivery(quick)

    def all_arrived() -> bool:
        return quick.deliveries.filter(state="delivered").count() == 20

    monkeypatch.setattr(deliver, "stop_requested", all_arrived)
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 300)
    with sending.sender() as send:
        turn = deliver.Turn(send)
        turn.claim_until(time.monotonic() + 60)
        assert all_arrived()
        receiver.end.set()
        turn.drain()
    hanging = [one for one in receiver.got if one.path == "/hang"]
    assert len(hanging) == deliver.MOST_TO_AN_ADDRESS


def test_one_team_leaves_room_for_others(
    team: Team, other_team: Team, receiver: Receiver
) -> None:
    for number in range(30):
        make_delivery(make_endpoint(team, receiver.url(f"/ok?{number}")))
    make_delivery(make_endpoint(other_team, receiver.url("/ok?other")))
    with sending.sender() as send:
        turn = deliver.Turn(send)
        turn._claim()
        open_now = [one.delivery.team for one in turn._open.values()]
        turn.drain()
    assert open_now.count(team) == deliver.MOST_OF_A_TEAM
    assert open_now.count(other_team) == 1


def test_pokes_do_not_pile_up(endpoint: WebhookEndpoint) -> None:
    make_delivery(endpoint)
    assert deliver.wanted()
    assert not deliver.wanted()
    deliver.run()
    make_due(WebhookDelivery.objects.get())
    assert deliver.wanted()


def test_the_right_to_claim_of_a_killed_process_is_free(
    endpoint: WebhookEndpoint,
) -> None:
    make_delivery(endpoint)
    gone = processes.token().rpartition("/")[0] + "/1"
    cache.set(deliver.BUSY_KEY, gone, 60)
    assert deliver.wanted()
    assert deliver.run() == "1 attempts"


def test_one_process_of_a_host_claims_at_a_time(endpoint: WebhookEndpoint) -> None:
    make_delivery(endpoint)
    cache.add(deliver.BUSY_KEY, "another process", 60)
    assert not deliver.wanted()
    assert deliver.run() == "somebody else is at it"
    assert WebhookDelivery.objects.get().attempts_made == 0


def test_who_waits_for_slow_answers_keeps_others_from_beginning(
    endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other control work waits, so nothing more is claimed; but nobody takes over."""
    for _ in range(5):
        make_delivery(endpoint)
    answers: list[Future[Answer]] = []
    seen: list[tuple[bool, str]] = []

    @contextlib.contextmanager
    def slow() -> Iterator[sending.Send]:
        def send(url: str, headers: Mapping[str, str], body: bytes) -> Future[Answer]:
            answers.append(Future())
            return answers[-1]

        yield send

    def drained(turn: deliver.Turn) -> None:
        cache.delete(deliver.BUSY_KEY)
        answers[0].set_result(OK)
        turn._look_at = 0
        turn._finish()
        assert turn._is_time_to_look()
        seen.append((deliver.wanted(), deliver.run()))
        for answer in answers[1:]:
            answer.set_result(OK)
        whole(turn)

    whole = deliver.Turn.drain
    monkeypatch.setattr(sending, "sender", slow)
    monkeypatch.setattr(deliver, "waiting_pokes", lambda _: 1)
    monkeypatch.setattr(deliver.Turn, "drain", drained)
    assert deliver.run() == f"{deliver.MOST_TO_AN_ADDRESS} attempts"
    assert seen == [(False, "somebody else is at it")]
    assert deliver.wanted()


class BrokenCache(LocMemCache):
    """One that answers nothing."""

    def get(self, *_: Any, **__: Any) -> Any:
        raise ConnectionError("the cache is away")

    add = set = delete = get


def test_messages_are_sent_although_the_cache_fails(
    team: Team,
    receiver: Receiver,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.CACHES = {
        "default": {"BACKEND": f"{__name__}.{BrokenCache.__name__}"},
    }
    make_delivery(make_endpoint(team, receiver.url("/ok")))
    assert deliver.wanted()
    assert deliver.run() == "1 attempts"
    assert WebhookDelivery.objects.get().state == "delivered"
    assert "the cache does not tell" in caplog.text
