# SPDX-License-Identifier: Apache-2.0
"""What a queue's judgements say of its reviewers, and of the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from batchsite.accounts.models import User
from curation import agreement, quality, queues, resolving, reviewing, rubrics
from curation.models import Response, ReviewItem, ReviewQueue
from curation.questions import read
from jobs.models import Batch

from .conftest import BAD, GOOD, WHICH, MakeQueue

pytestmark = pytest.mark.django_db


def say(
    item: ReviewItem, user: User, answers: Mapping[str, str], seconds: float = 3
) -> None:
    work = reviewing.open_item(item=item, user=user)
    reviewing.submit(version=work.version, user=user, answers=answers, seconds=seconds)


def test_too_few_items_have_no_numbers(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(2, overlap=2)
    first, second = queue.items.all()
    say(first, curators[0], GOOD)
    say(first, curators[1], GOOD)
    say(second, curators[0], BAD)
    # What nobody compares is no question of agreement.
    (verdict,) = quality.agreements(queue)
    assert (verdict.question.key, verdict.units, verdict.is_enough) == (
        *("verdict", 1),
        False,
    )
    assert verdict.alpha is None
    assert quality.preferences_of(queue) is None


def test_agreement_is_told_question_by_question(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(4, overlap=2)
    ann, bob = curators[:2]
    said = [(GOOD, GOOD), (BAD, BAD), (GOOD, BAD), (GOOD, GOOD)]
    for item, (one, other) in zip(queue.items.all(), said, strict=True):
        say(item, ann, one, seconds=4)
        say(item, bob, other, seconds=10)
    (verdict,) = quality.agreements(queue)
    units = [{"a": a["verdict"], "b": b["verdict"]} for a, b in said]
    assert (verdict.units, verdict.percent) == (4, 0.75)
    expected = agreement.krippendorff_alpha(units, level=agreement.Level.NOMINAL)
    assert verdict.alpha == expected
    assert verdict.interval is not None
    (pair,) = verdict.pairs
    assert (pair.first, pair.second, pair.units) == (ann.email, bob.email, 4)
    # What was taken out of the queue does not count.
    ReviewItem.objects.filter(pk=queue.items.all()[2].pk).update(state="excluded")
    assert quality.agreements(queue)[0].percent == 1.0


def test_each_reviewers_work_is_told(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(4, overlap=2, gold_rate=10)
    ann, bob, cat = curators[:3]
    first, second, third, gold = queue.items.all()
    ReviewItem.objects.filter(pk=gold.pk).update(gold_text='{"verdict": "good"}')
    for item, seconds in ((first, 2.0), (second, 4.0), (gold, 9.0)):
        say(item, ann, GOOD, seconds)
    say(first, bob, BAD, 7)
    say(gold, bob, BAD, 7)
    resolving.decide(item=first, user=owner, answers=GOOD)
    work = reviewing.open_item(item=third, user=cat)
    reviewing.skip(version=work.version, user=cat)

    found = {one.email: one for one in quality.reviewers(queue)}
    one, two, three = (found[user.email] for user in (ann, bob, cat))
    assert (one.judged, one.seconds, one.skipped, one.drafts) == (3, 4.0, 0, 0)
    assert (one.gold.asked, one.gold.right) == (1, 1)
    assert (one.agreed, one.compared) == (1, 1)
    assert (two.judged, two.gold.share, two.agreed, two.compared) == (2, 0.0, 0, 1)
    assert (three.judged, three.seconds, three.skipped, three.drafts) == (0, None, 1, 1)
    assert quality.reviewers(queue)[0].email == ann.email


@pytest.fixture
def pairs(
    make_queue: MakeQueue,
    rubric: object,
    answered: Callable[..., Batch],
    curators: list[User],
) -> ReviewQueue:
    """Six pairs of two models' answers."""
    team = curators[0].memberships.get().team
    asks = rubrics.create_rubric(
        team=team, name="which", questions=read("q", WHICH), user=None
    )
    queue = make_queue(0, kind="pairwise", rubric_version=asks.latest)
    texts = [f"answer {n}" for n in range(6)]
    small, large = answered(*texts), answered(*(f"{text}!" for text in texts))
    for batch, model in ((small, "small"), (large, "large")):
        batch.requests.update(model=model)
    queues.add_items(
        queue=queue, subjects=queues.same_requests([small, large]), user=None
    )
    return queue


def test_models_are_compared_by_what_was_resolved(
    pairs: ReviewQueue, curators: list[User]
) -> None:
    votes = ["a", "b", "b", "tie", "b", "both_bad"]
    for item, vote in zip(pairs.items.all(), votes, strict=True):
        say(item, curators[0], {"better": vote})
    found = quality.preferences_of(pairs)
    assert found is not None
    (rate,) = found.rates
    assert (rate.first, rate.second) == ("large", "small")
    assert (rate.wins, rate.losses, rate.ties) == (3, 1, 2)
    assert found.strengths is not None
    assert [one.name for one in found.strengths] == ["large", "small"]
    # Sides are those that the reviewer saw, whatever was at which place.
    left = 0
    for response in Response.objects.all():
        winner = {"a": 0, "b": 1}.get(response.answers["better"])
        left += winner is not None and response.layout[0] == winner
    assert found.bias is not None
    assert (found.bias.left, found.bias.left + found.bias.right) == (left, 4)
