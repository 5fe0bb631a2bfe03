# SPDX-License-Identifier: Apache-2.0
"""What holds of an item: by the queue's rule, or by a person."""

from __future__ import annotations

from typing import Any

import pytest

from batchsite.accounts.models import User
from curation import gold, resolving, reviewing
from curation.models import Resolution, Response, ReviewItem, ReviewQueue
from curation.questions import read
from curation.resolving import Vote, majority, unanimous
from jobs.refusals import Refused

from .conftest import BAD, GOOD, MakeQueue
from .test_reviewing import judge, take

QUESTIONS = read(
    "q",
    [
        {"key": "a", "type": "label", "title": "A", "options": ["x", "y", "z"]},
        {"key": "b", "type": "rating", "title": "B", "required": False},
        {"key": "c", "type": "correction", "title": "C", "required": False},
        {"key": "n", "type": "text", "title": "N", "required": False},
    ],
)


def votes(*answers: dict[str, Any], weights: tuple[float, ...] = ()) -> list[Vote]:
    given = weights or (1.0,) * len(answers)
    return [Vote(a, w) for a, w in zip(answers, given, strict=True)]


@pytest.mark.parametrize(
    ("given", "all_say", "most_say"),
    [
        ([{"a": "x"}, {"a": "x", "n": "note"}], {"a": "x"}, {"a": "x"}),
        ([{"a": "x"}, {"a": "y"}], None, None),
        ([{"a": "x"}, {"a": "y"}, {"a": "x"}], None, {"a": "x"}),
        ([{"a": "x"}, {"a": "y"}, {"a": "z"}], None, None),
        # Silence is an answer too; what may be left out holds up nothing.
        ([{"a": "x", "b": 3}, {"a": "x"}], None, {"a": "x"}),
        ([{"a": "x", "b": 3}] * 2, {"a": "x", "b": 3}, {"a": "x", "b": 3}),
        ([{"a": "x", "b": 3}, {"a": "x", "b": 4}], None, {"a": "x"}),
        # Two corrections are for a person, even where they may be left out.
        ([{"a": "x", "c": "1"}, {"a": "x", "c": "2"}], None, None),
        ([{"a": "x", "c": "1"}, {"a": "x"}, {"a": "x"}], None, {"a": "x"}),
    ],
)
def test_rules_read_all_judgements(
    given: list[dict[str, Any]],
    all_say: dict[str, Any] | None,
    most_say: dict[str, Any] | None,
) -> None:
    assert unanimous(QUESTIONS, votes(*given)) == all_say
    assert majority(QUESTIONS, votes(*given)) == most_say


@pytest.mark.parametrize(
    ("given", "apart"),
    [
        ([{"a": "x"}, {"a": "x"}], 0.0),
        ([{"a": "x"}, {"a": "y"}], 1.0),
        ([{"a": "x"}, {"a": "y"}, {"a": "x"}], 0.5),
        ([{"a": "x"}, {"a": "y"}, {"a": "z"}], 1.0),
        # A scale from 1 to 10; notes are no dispute.
        ([{"a": "x", "b": 2}, {"a": "x", "b": 8, "n": "no"}], 6 / 9),
        ([{"a": "x", "b": 2}, {"a": "x"}], 0.0),
        ([{"a": "x"}], 0.0),
    ],
)
def test_severity_is_that_of_the_worst_question(
    given: list[dict[str, Any]], apart: float
) -> None:
    assert resolving.severity(QUESTIONS, given) == pytest.approx(apart)


def test_weights_decide_where_heads_do_not() -> None:
    given = ({"a": "x"}, {"a": "y"})
    assert majority(QUESTIONS, votes(*given, weights=(0.9, 0.5))) == {"a": "x"}
    assert majority(QUESTIONS, votes(*given, weights=(0.5, 0.5))) is None


def all_judge(queue: ReviewQueue, people: list[User], *answers: Any) -> ReviewItem:
    """Each of them judges the queue's one item."""
    item: ReviewItem | None = None
    for person, said in zip(people, answers, strict=False):
        item = judge(queue, person, said)
    assert item is not None
    return item


pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("rule", "answers", "state", "how"),
    [
        ("none", (GOOD, GOOD, GOOD), "awaiting_resolution", None),
        ("unanimous", (GOOD, GOOD, GOOD), "completed", "unanimous"),
        ("unanimous", (GOOD, GOOD, BAD), "awaiting_resolution", None),
        ("majority", (GOOD, BAD, GOOD), "completed", "majority"),
        ("weighted", (GOOD, BAD, GOOD), "completed", "weighted"),
    ],
)
def test_a_queue_resolves_by_its_rule(
    make_queue: MakeQueue,
    curators: list[User],
    rule: str,
    answers: Any,
    state: str,
    how: str | None,
) -> None:
    queue = make_queue(1, overlap=3, auto_resolve=rule)
    item = all_judge(queue, curators, *answers)
    assert item.state == state
    found = Resolution.objects.first()
    assert (found.how if found else None) == how
    assert found is None or found.answers == GOOD


def test_the_furthest_apart_come_first(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(3, overlap=3)
    said = [(GOOD, GOOD, GOOD), (GOOD, GOOD, BAD), (GOOD, BAD, BAD)]
    for item, three in zip(queue.items.order_by("pk"), said, strict=True):
        for user, answers in zip(curators, three, strict=False):
            work = reviewing.open_item(item=item, user=user)
            reviewing.submit(version=work.version, user=user, answers=answers)
    first, second, third = queue.items.order_by("pk")
    found = list(ReviewItem.objects.disputed(queue))
    assert found == [second, third, first]
    assert [item.severity for item in found] == [0.5, 0.5, 0.0]


def test_a_person_has_the_last_word(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(1, overlap=2, auto_resolve="majority")
    item = all_judge(queue, curators, GOOD, BAD)
    assert item.state == "awaiting_resolution"
    chosen = Response.objects.get(user=curators[1])
    resolving.decide(item=item, user=owner, chosen=chosen, note="as agreed")
    found = Resolution.objects.get()
    assert (found.how, found.by, found.answers) == ("person", owner, BAD)
    # Another word replaces it, and the history keeps both.
    resolving.decide(item=item, user=curators[2], answers=GOOD | {"note": "mine"})
    found = Resolution.objects.get()
    assert (found.by, found.chosen) == (curators[2], None)
    assert found.answers == GOOD | {"note": "mine"}
    assert item.events.filter(kind="resolved").count() == 2
    item.refresh_from_db()
    assert item.state == "completed"


def test_what_does_not_fit_is_refused(
    make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    queue = make_queue(2)
    first = judge(queue, curators[0], GOOD)
    second = judge(queue, curators[0], BAD)
    foreign = Response.objects.get(version=second.version)
    for given, param in (
        ({}, "chosen"),
        ({"chosen": foreign}, "chosen"),
        ({"answers": {"verdict": "fine"}}, "answers.verdict"),
        ({"answers": {}}, "answers.verdict"),
    ):
        with pytest.raises(Refused) as refused:
            resolving.decide(item=first, user=owner, **given)
        assert refused.value.param == param
    assert Resolution.objects.get(version=first.version).how == "single"


def test_gold_items_tell_how_accurate_a_reviewer_is(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(4, gold_rate=50)
    ReviewItem.objects.update(gold_text='{"verdict": "good"}')
    ann, bob = curators[:2]
    for item in queue.items.all():
        for user, said in ((ann, GOOD), (bob, GOOD if item.pk % 2 else BAD)):
            work = reviewing.open_item(item=item, user=user)
            reviewing.submit(version=work.version, user=user, answers=said)
    found = gold.accuracies(queue)
    assert (found[ann.pk].share, found[bob.pk].share) == (1.0, 0.5)
    assert found[ann.pk].weight == pytest.approx(5 / 6)
    assert gold.NOBODY.weight == 0.5
    assert set(queue.items.values_list("state", flat=True)) == {"in_progress"}


def test_judgements_of_gold_items_are_never_resolved(
    make_queue: MakeQueue, curators: list[User]
) -> None:
    queue = make_queue(1, overlap=1)
    ReviewItem.objects.update(gold_text='{"verdict": "good"}')
    item = queue.items.get()
    for user in curators[:3]:
        work = reviewing.open_item(item=item, user=user)
        reviewing.submit(version=work.version, user=user, answers=BAD)
    item.refresh_from_db()
    assert item.submitted == 3
    assert not Resolution.objects.exists()
    assert take(make_queue(1), curators[0]).item != item
