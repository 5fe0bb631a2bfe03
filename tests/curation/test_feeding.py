# SPDX-License-Identifier: Apache-2.0
"""Answers on their way into queues: what is chosen, by whom, and once however often."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation import feeding, queues, rubrics
from curation.models import Candidate, Feed, FeedRule, ReviewItem, ReviewQueue
from curation.questions import read
from jobs import row_checks
from jobs.models import Batch, Result
from jobs.refusals import Refused
from jobs.result_search import ResultFilter
from jobs.row_checks import following
from tests.conftest import MakeBatch
from tests.web import rows

from .conftest import WHICH, MakeQueue

pytestmark = pytest.mark.django_db
Answered = Callable[..., Batch]


def places(queue: ReviewQueue) -> list[int]:
    """The indexes of the results in the queue."""
    found = Candidate.objects.filter(version__item__queue=queue, place=0)
    return sorted(found.values_list("result__index", flat=True))


def run() -> None:
    assert feeding.wanted()
    feeding.run()
    assert not feeding.wanted()


def test_all_that_match_are_added_once(
    make_queue: MakeQueue, answered: Answered, curators: list[User]
) -> None:
    queue, batch = make_queue(0), answered("yes", "no", "yes indeed")

    for _ in range(2):
        feeding.ask(
            queue=queue,
            batch=batch,
            user=curators[0],
            wanted=ResultFilter(words="yes"),
        )
        run()

    assert places(queue) == [0, 2]
    first, second = Feed.objects.order_by("pk")
    assert (first.state, first.added, first.known) == ("done", 2, 0)
    assert (second.added, second.known) == (0, 2)
    assert queue.items.first().events.get().user == curators[0]  # type: ignore[union-attr]


def test_chosen_rows_and_those_without_an_answer(
    make_queue: MakeQueue, make_batch: MakeBatch
) -> None:
    queue = make_queue(0)
    batch = make_batch(3, status="in_progress", total=3)
    answers = [rows.chat("a"), rows.chat("b")]
    rows.answer(batch, answers, failed=[rows.CONTEXT_ERROR])

    feeding.ask(queue=queue, batch=batch, user=None, rows=[2, 1, 1])
    run()

    assert places(queue) == [1]
    feed = Feed.objects.get()
    assert (feed.added, feed.without_answer) == (1, 1)


def test_a_sample_is_the_same_whenever_it_is_drawn(
    make_queue: MakeQueue, answered: Answered
) -> None:
    batch = answered(*(f"a {n}" for n in range(30)))
    found = []
    for _ in range(2):
        queue = make_queue(0)
        feeding.ask(queue=queue, batch=batch, user=None, how="random", most=5)
        run()
        found.append(places(queue))
    assert found[0] == found[1]
    assert len(found[0]) == 5
    assert found[0] != [0, 1, 2, 3, 4]


def test_a_sample_that_is_cut_off_goes_on(
    make_queue: MakeQueue, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "READ_AT_ONCE", 4)
    batch = answered(*(f"a {n}" for n in range(20)))
    whole = make_queue(0)
    feeding.ask(queue=whole, batch=batch, user=None, how="random", most=6)
    run()

    queue = make_queue(0)
    feed = feeding.ask(queue=queue, batch=batch, user=None, how="random", most=6)
    turns = 0
    while Feed.objects.get(pk=feed.pk).state == "waiting":
        # Each turn has time for one look; another process takes it up.
        feeding.go_on(Feed.objects.get(pk=feed.pk), time.monotonic())
        turns += 1

    assert turns > 3
    assert places(queue) == places(whole)
    # What was put before a turn's end is not counted as known in the next one.
    found = Feed.objects.get(pk=feed.pk)
    assert (found.added, found.known) == (6, 0)


@pytest.mark.parametrize("how", ["all", "random"])
def test_who_lost_a_feed_to_another_adds_nothing_more(
    make_queue: MakeQueue,
    answered: Answered,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    monkeypatch.setattr(feeding, "READ_AT_ONCE", 2)
    queue, batch = make_queue(0), answered(*(f"a {n}" for n in range(6)))
    feed = feeding.ask(queue=queue, batch=batch, user=None, how=how, most=6)
    paused = Feed.objects.get(pk=feed.pk)
    real = feeding._whole

    def sleep(batch: Batch, indexes: Sequence[int]) -> list[Result]:
        # Past its lease: another process does all meanwhile.
        monkeypatch.setattr(feeding, "_whole", real)
        Feed.objects.update(taken_until=None)
        assert feeding.run() == "6 items were added"
        return real(batch, indexes)

    monkeypatch.setattr(feeding, "_whole", sleep)

    assert feeding.go_on(paused, time.monotonic() + 60) == 0

    found = Feed.objects.get(pk=feed.pk)
    assert (found.state, found.added, found.known) == ("done", 6, 0)
    assert len(places(queue)) == 6


def test_a_feed_is_in_one_pair_of_hands_and_comes_back_when_these_are_gone(
    make_queue: MakeQueue, answered: Answered
) -> None:
    queue, batch = make_queue(0), answered("a")
    feed = feeding.ask(queue=queue, batch=batch, user=None)
    Feed.objects.update(taken_until=timezone.now() + timedelta(minutes=1))
    feeding.run()
    assert places(queue) == []

    Feed.objects.update(taken_until=timezone.now() - timedelta(seconds=1))
    feeding.run()
    assert places(queue) == [0]
    assert Feed.objects.get(pk=feed.pk).taken_until is None


def test_each_kind_of_answer_is_in_a_stratified_sample(
    make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0)
    batch = answered(*["yes"] * 40, "no", "maybe")
    feeding.ask(queue=queue, batch=batch, user=None, how="stratified", most=6)
    run()
    assert {40, 41} < set(places(queue))
    assert len(places(queue)) == 6


def test_what_the_model_was_least_sure_of(
    make_queue: MakeQueue, make_batch: MakeBatch
) -> None:
    def said(logprob: float | None) -> str:
        body = json.loads(rows.chat("x"))
        if logprob is not None:
            tokens = {"content": [{"token": "x", "logprob": logprob}]}
            body["choices"][0]["logprobs"] = tokens
        return json.dumps(body)

    queue = make_queue(0)
    batch = make_batch(4, status="in_progress", total=4)
    rows.answer(batch, [said(-0.1), said(-4.0), said(None), said(-2.0)])
    feeding.ask(queue=queue, batch=batch, user=None, how="least_certain", most=2)
    run()
    assert places(queue) == [1, 3]


def test_where_two_models_differ(make_queue: MakeQueue, answered: Answered) -> None:
    queue = make_queue(0)
    one = answered("red", "same", "green")
    two = answered("blue", "same", "greener", input_file=one.input_file)
    feeding.ask(
        queue=queue, batch=one, user=None, beside=[two], how="disagreement", most=1
    )
    run()
    # The furthest apart first.
    assert places(queue) == [0]
    assert Candidate.objects.filter(version__item__queue=queue).count() == 1


def test_what_failed_in_one_of_two_batches_is_no_disagreement(
    make_queue: MakeQueue, answered: Answered, make_batch: MakeBatch
) -> None:
    queue = make_queue(0)
    one = answered("red", "green")
    two = make_batch(status="in_progress", total=2, input_file=one.input_file)
    rows.answer(two, [rows.chat("blue")], failed=["{}"])
    feeding.ask(
        queue=queue, batch=one, user=None, beside=[two], how="disagreement", most=2
    )
    run()
    assert places(queue) == [0]


def test_pairs_of_two_batches(
    team: Team, make_queue: MakeQueue, answered: Answered
) -> None:
    asked = rubrics.create_rubric(
        team=team, name="Which", questions=read("q", WHICH), user=None
    )
    queue = make_queue(0, kind="pairwise", rubric_version=asked.latest)
    one = answered("red", "same")
    two = answered("blue", "same", input_file=one.input_file)
    with pytest.raises(Refused, match="compares two batches"):
        feeding.ask(queue=queue, batch=one, user=None)

    feeding.ask(queue=queue, batch=one, user=None, beside=[two])
    run()

    states = queue.items.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["pending", "completed"]


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"how": "disagreement"}, "whose answers may differ"),
        ({"how": "best"}, "none of all, random"),
        ({"most": 0}, "expected 1 to 10,000"),
        ({"rows": []}, "choose 1 to 1,000 rows"),
    ],
)
def test_what_cannot_be_asked(
    make_queue: MakeQueue, answered: Answered, over: dict[str, Any], words: str
) -> None:
    queue, batch = make_queue(0), answered("a")
    with pytest.raises(Refused, match=words):
        feeding.ask(queue=queue, batch=batch, user=None, **over)
    assert not Feed.objects.exists()


def test_not_from_other_teams_nor_into_archived_queues(
    make_queue: MakeQueue, answered: Answered, other_team: Team
) -> None:
    queue, batch = make_queue(0), answered("a")
    theirs = answered("b", team=other_team)
    with pytest.raises(Refused, match="no batch of the queue's team"):
        feeding.ask(queue=queue, batch=theirs, user=None)
    queues.change_queue(queue=queue, user=None, state="archived")
    queue.refresh_from_db()
    with pytest.raises(Refused, match="archived"):
        feeding.ask(queue=queue, batch=batch, user=None)


def test_a_check_that_is_gone_ends_the_feed_with_the_reason(
    make_queue: MakeQueue, answered: Answered
) -> None:
    feed = feeding.ask(queue=make_queue(0), batch=answered("a"), user=None)
    Feed.objects.update(wanted_text=json.dumps({"check": "gone:failed"}))
    feeding.run()
    feed.refresh_from_db()
    assert (feed.state, feed.problem) == (
        "failed",
        "Invalid 'check': this batch has no such check.",
    )


# --- rules


def ended(batch: Batch) -> Batch:
    """The batch, ended just now."""
    now = timezone.now()
    Batch.objects.filter(pk=batch.pk).update(
        status="completed",
        completed_at=now,
        closed_at=now,
        closing_reason="done",
        completed=batch.total,
    )
    return batch


def test_a_rule_feeds_each_batch_of_its_kind_once(
    make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0)
    before = ended(answered("old", model="m1", tags=["nightly"]))
    feeding.add_rule(queue=queue, user=None, model="m1", tag="nightly", how="all")
    running = answered("later", model="m1", tags=["nightly"])
    for batch in (
        answered("another model", model="m2", tags=["nightly"]),
        answered("no tag", model="m1"),
    ):
        ended(batch)
    assert not feeding.wanted()

    ended(running)
    run()

    assert [feed.batch for feed in Feed.objects.all()] == [running]
    assert before not in Candidate.objects.values_list("batch", flat=True)
    assert queue.items.count() == 1
    feeding.run()
    assert ReviewItem.objects.count() == 1


def test_a_rule_looks_no_further_back_than_it_must(
    make_queue: MakeQueue, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "FEEDS_AT_ONCE", 2)
    queue = make_queue(0)
    rule = feeding.add_rule(queue=queue, user=None, how="all")
    old = timezone.now() - timedelta(days=5)
    FeedRule.objects.update(created_at=old, looked_at=old)
    for _ in range(3):
        ended(answered("a"))
    feeding.run()
    # More than one turn takes: it has not looked at all of them yet.
    rule.refresh_from_db()
    assert rule.looked_at == old
    feeding.run()
    rule.refresh_from_db()
    assert rule.looked_at > old
    assert queue.items.count() == 3
    # One that ended long before nobody looks at any more; one of a slow clock is found.
    late, slow = ended(answered("b")), ended(answered("c"))
    Batch.objects.filter(pk=late.pk).update(
        closed_at=timezone.now() - timedelta(days=2)
    )
    Batch.objects.filter(pk=slow.pk).update(
        closed_at=timezone.now() - timedelta(hours=2)
    )
    feeding.run()
    assert queue.items.count() == 4


def test_a_rule_takes_what_fails_a_check_when_all_is_checked(
    make_queue: MakeQueue, answered: Answered
) -> None:
    queue = make_queue(0)
    feeding.add_rule(queue=queue, user=None, check="valid:failed", how="all")
    failing, other = answered('{"a": 1}', "no JSON", "none"), answered("no JSON")
    for batch, name in ((failing, "valid"), (other, "another")):
        asked = row_checks.read("checks", [{"name": name, "kind": "json"}])
        row_checks.add(batch=batch, checks=asked, user=None)
        ended(batch)
    ended(answered("without checks"))
    assert not feeding.wanted()

    following.run()
    run()

    assert places(queue) == [1, 2]
    found = {feed.batch_id: feed for feed in Feed.objects.all()}
    assert set(found) == {failing.pk, other.pk}
    assert (found[other.pk].state, found[other.pk].added) == ("done", 0)
    with pytest.raises(Refused, match="NAME:failed"):
        feeding.add_rule(queue=queue, user=None, check="valid")


def test_paused_queues_are_not_fed_and_rules_have_bounds(
    make_queue: MakeQueue, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = make_queue(0)
    rule = feeding.add_rule(queue=queue, user=None, how="all")
    queues.change_queue(queue=queue, user=None, state="paused")
    ended(answered("a"))
    assert not feeding.wanted()
    monkeypatch.setattr(feeding, "MOST_RULES", 1)
    with pytest.raises(Refused, match="1 rules at most"):
        feeding.add_rule(queue=queue, user=None)
    with pytest.raises(Refused, match="cannot choose so"):
        feeding.add_rule(queue=queue, user=None, how="disagreement")
    feeding.remove_rule(rule=rule, user=None)
    assert not FeedRule.objects.exists()


# --- the page


def test_results_are_sent_from_their_page(
    client: Client, curators: list[User], make_queue: MakeQueue, answered: Answered
) -> None:
    batch = answered("yes", "no")
    client.force_login(curators[0])
    results = client.get(f"/batches/{batch.public_id}/results/?q=yes").content.decode()
    path = f"/batches/{batch.public_id}/to-review/"
    assert f'href="{path}?q=yes"' in results
    assert f'formaction="{path}"' in results
    assert "no queue to send them to" in client.get(path).content.decode()

    queue = make_queue(0)
    page = client.get(f"{path}?q=yes").content.decode()
    assert "what the filter leaves" in page
    r = client.post(
        f"{path}?q=yes", {"queue": queue.public_id, "how": "all", "most": "10"}
    )
    assert r["Location"] == f"/reviews/{queue.public_id}/"
    assert "on its way" in client.get(r["Location"]).content.decode()
    run()
    assert places(queue) == [0]
    client.post(f"{path}?row=1&row=1", {"queue": queue.public_id})
    run()
    assert places(queue) == [0, 1]
    r = client.post(
        path, {"queue": queue.public_id, "how": "disagreement", "most": "10"}
    )
    assert "Name the batch whose answers may differ." in r.content.decode()


def test_who_does_not_curate_is_offered_nothing(
    client: Client, teammate: User, answered: Answered
) -> None:
    batch = answered("yes")
    client.force_login(teammate)
    results = client.get(f"/batches/{batch.public_id}/results/").content.decode()
    assert "to-review" not in results
    assert client.get(f"/batches/{batch.public_id}/to-review/").status_code == 403
