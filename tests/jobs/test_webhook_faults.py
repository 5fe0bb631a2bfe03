# SPDX-License-Identifier: Apache-2.0
"""Webhooks of real control workers: killed in the middle, and with bad receivers."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import openai
import pytest
from standardwebhooks.webhooks import Webhook

from tests.faults.checks import batch_row, seed, wait_until_final
from tests.site import DATABASES, Process, Site, wait_for
from tests.webhook_receiver import Receiver

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("site", DATABASES, indirect=True)


def start_control(site: Site, **env: str) -> Process:
    """A control worker that may send to the receiver."""
    control = site.start("runworker", BATCHSITE_WEBHOOK_ALLOWED="127.0.0.1", **env)
    control.expect("ready")
    return control


def make_endpoints(site: Site, urls: list[str], *, messages: int) -> dict[str, Any]:
    """Endpoints of one team and messages to each; their secrets and public ids."""
    printed = site.python(
        f"""
import json
from batchsite.accounts.people import ensure_member
from jobs.models import WebhookDelivery, WebhookEndpoint
from jobs.webhooks.signing import endpoint_secret
team = ensure_member(team_name="Blue", email="owner@example.com").team
made = {{}}
for url in {urls!r}:
    endpoint = WebhookEndpoint.objects.create(team=team, url=url)
    made[url] = {{"secret": endpoint_secret(endpoint), "ids": []}}
    for number in range({messages}):
        delivery = WebhookDelivery.objects.create(
            team=team, endpoint=endpoint, url=url, type="webhook.test",
            payload=json.dumps({{"url": url, "number": number}}),
        )
        made[url]["ids"].append(delivery.public_id)
print(json.dumps(made))
"""
    )
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def states(site: Site) -> Counter[str]:
    rows = site.query(
        "SELECT state, COUNT(*) AS n FROM jobs_webhookdelivery GROUP BY 1"
    )
    return Counter({row["state"]: row["n"] for row in rows})


@both
def test_every_message_arrives_although_workers_are_killed(
    site: Site, receiver: Receiver
) -> None:
    urls = [receiver.url(f"/slow?{number}") for number in range(6)]
    made = make_endpoints(site, urls, messages=40)
    sent = {public_id for one in made.values() for public_id in one["ids"]}
    for arrived in (40, 90, 140):
        control = start_control(site)
        wait_for(
            lambda least=arrived: len(receiver.got) >= least,  # type: ignore[misc]  # bound in the loop
            timeout=120,
            what=f"{arrived} messages",
        )
        control.kill()
    assert states(site)["pending"] > 0
    start_control(site)
    wait_for(
        lambda: states(site) == {"delivered": len(sent)}, timeout=120, what="the rest"
    )

    # At least once, the same message each time, and signed for its receiver.
    times = Counter(receiver.ids())
    assert set(times) == sent
    again = sum(times.values()) - len(sent)
    # Those under way at a kill: the worker keeps a team to 12 at once.
    assert again <= 3 * 12
    bodies: dict[str, bytes] = {}
    for one in receiver.got:
        public_id = one.headers["webhook-id"]
        assert bodies.setdefault(public_id, one.body) == one.body
        secret = made[receiver.url(one.path)]["secret"]
        verified = Webhook(secret).verify(one.body, one.headers)
        assert verified["url"] == receiver.url(one.path)


@both
def test_workers_side_by_side_make_no_attempt_twice(
    site: Site, receiver: Receiver
) -> None:
    """Each process has a cache of its own here, so that all of them claim at once."""
    urls = [receiver.url(f"/slow?{number}") for number in range(6)]
    made = make_endpoints(site, urls, messages=20)
    for _ in range(2):
        start_control(site, CACHE_URL="locmemcache://")
    wait_for(lambda: states(site) == {"delivered": 120}, timeout=120, what="all")
    times = Counter(receiver.ids())
    assert set(times) == {
        public_id for one in made.values() for public_id in one["ids"]
    }
    assert set(times.values()) == {1}


@pytest.mark.parametrize("site", DATABASES[:1], indirect=True)
def test_bad_receivers_harm_neither_the_worker_nor_the_others(
    site: Site, receiver: Receiver
) -> None:
    paths = ("hang", "reset", "redirect", "big", "garbage", "drip", "deaf", "nul")
    bad = [receiver.url(f"/{path}") for path in paths]
    flaky, good = receiver.url("/flaky"), receiver.url("/ok")
    make_endpoints(site, [*bad, flaky], messages=1)
    make_endpoints(site, [good], messages=20)
    control = start_control(site)

    def attempts(url: str) -> list[dict[str, Any]]:
        return site.query(
            "SELECT a.status_code, a.response, a.error, d.state"
            " FROM jobs_webhookattempt a"
            " JOIN jobs_webhookdelivery d ON d.id = a.delivery_id"
            " WHERE d.url = %s ORDER BY a.id",
            url,
        )

    wait_for(lambda: len(attempts(good)) == 20, timeout=120, what="the good ones")
    wait_for(
        lambda: all(attempts(url) for url in bad), timeout=120, what="the bad ones"
    )
    wait_for(lambda: len(attempts(flaky)) == 2, timeout=120, what="the second try")
    assert [row["status_code"] for row in attempts(flaky)] == [500, 200]
    assert attempts(flaky)[0]["state"] == "delivered"

    outcome = {path: attempts(receiver.url(f"/{path}"))[0] for path in paths}
    for path in ("hang", "reset", "garbage", "deaf"):
        assert outcome[path]["status_code"] is None, path
        assert outcome[path]["error"], path
        assert outcome[path]["state"] == "pending", path
    assert outcome["redirect"]["status_code"] == 302
    assert outcome["redirect"]["state"] == "pending"
    for path in ("big", "drip", "nul"):
        assert outcome[path]["state"] == "delivered", path
        assert len(outcome[path]["response"]) <= 2000
    # Where the redirect led nobody went.
    assert "/landed" not in {one.path for one in receiver.got}
    assert control.popen.poll() is None
    assert control.stop() == 0


@both
def test_a_batch_tells_of_its_progress_and_its_end(
    site: Site, receiver: Receiver, test_engine: str
) -> None:
    url = receiver.url("/ok")
    secret = make_endpoints(site, [url], messages=0)[url]["secret"]
    seed(site, "external_engine", url=test_engine, window=8)
    start_control(site)
    site.start("runworker", "--engine", "ext").expect("ready")
    made = seed(site, "batch", rows=200, delay=0.6)
    row = wait_until_final(site, made, timeout=180)
    assert row["status"] == "completed"

    client = openai.OpenAI(api_key="none")

    def events() -> list[dict[str, Any]]:
        got = list(receiver.got)
        for one in got:
            client.webhooks.verify_signature(one.body, one.headers, secret=secret)
        return [json.loads(one.body) for one in got]

    wait_for(
        lambda: any(event["type"] == "batch.completed" for event in events()),
        timeout=60,
        what="batch.completed",
    )
    wait_for(lambda: states(site)["pending"] == 0, timeout=60, what="the rest")
    assert {event["data"]["id"] for event in events()} == {made}
    told = [event for event in events() if event["type"] == "batch.progress"]
    assert told
    tenths = sorted(event["data"]["percent"] // 10 for event in told)
    assert len(set(tenths)) == len(tenths)
    assert all(event["data"]["total"] == 200 for event in told)
    # The end is written last.
    (end,) = [event for event in events() if event["type"] == "batch.completed"]
    assert all(event["id"] < end["id"] for event in told)
    assert batch_row(site, made)["progress_told"] == tenths[-1] * 10
