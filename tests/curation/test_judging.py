# SPDX-License-Identifier: Apache-2.0
"""A judge model gets what reviewers see, and is compared with what people decided."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from batchsite.accounts.models import AuditEvent, Team, User
from curation import judge_scores, judging, queues, resolving, rubrics
from curation.models import (
    JudgeRun,
    Resolution,
    Response,
    ReviewItem,
    ReviewQueue,
    Rubric,
)
from curation.questions import read, read_answers
from jobs.models import Batch, BatchFile, ServedModel
from jobs.refusals import Refused
from tests.web.curation_rows import judge_lines, judge_says

from .conftest import BAD, GOOD, ORDER, WHICH, MakeQueue
from .test_reviewing import judge

pytestmark = pytest.mark.django_db
ALL_KINDS = [
    {
        "key": "topics",
        "type": "multi_label",
        "title": "About",
        "options": ["law", "tax", "work"],
        "required": False,
    },
    {"key": "stars", "type": "rating", "title": "Stars", "min": 1, "max": 5},
    {"key": "true", "type": "boolean", "title": "Is it true?"},
    {"key": "years", "type": "number", "title": "Years"},
    {"key": "note", "type": "text", "title": "Why?", "required": False},
]


def said(*verdicts: str) -> list[str]:
    return [json.dumps({"verdict": verdict}) for verdict in verdicts]


@pytest.fixture
def decided(make_queue: MakeQueue, curators: list[User]) -> ReviewQueue:
    """Four of five answers are decided: good, bad, good, good."""
    queue = make_queue(5)
    for answers in (GOOD, BAD, GOOD, GOOD):
        judge(queue, curators[0], answers)
    return queue


def test_the_judge_gets_request_answer_and_rubric(
    decided: ReviewQueue, owner: User
) -> None:
    run = judging.ask(
        queue=decided, model="tiny", user=owner, words="German mails are fine."
    )
    first, *_, last = asked = judge_lines(run)
    assert run.items == len(asked) == 4
    assert run.batch.expected_requests == 4
    assert (run.batch.team, run.batch.owner) == (decided.team, owner)
    body = first["body"]
    system, user = (message["content"] for message in body["messages"])
    assert "German mails are fine." in system
    assert '- verdict: It is\n  "good": good\n  "bad": bad' in system
    # What nobody compares is not asked.
    assert "note" not in system
    assert "ask 0" in user and "<answer>\nanswer 0\n</answer>" in user
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["verdict"]["enum"] == ["good", "bad"]
    assert "answer 3" in last["body"]["messages"][1]["content"]
    assert AuditEvent.objects.filter(action="queue.judge").count() == 1


def test_its_answers_are_compared_with_what_holds(
    decided: ReviewQueue, owner: User
) -> None:
    run = judging.ask(queue=decided, model="tiny", user=owner)
    judged = Response.objects.count()
    judge_says(run, *said("good", "bad"), 'Well: {"verdict": "bad"}', "good, I think")
    found = judge_scores.compute(run)
    assert (found.read, found.unreadable, found.failed) == (3, 1, 0)
    (verdict,) = found.scores
    assert verdict.pairs == 3
    assert verdict.percent == pytest.approx(2 / 3)
    # By hand: seen 2/3, by chance (2 x 1 + 1 x 2) / 9.
    assert verdict.kappa == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    good = next(one for one in verdict.labels if one.label == "good")
    assert (good.people, good.judge, good.precision, good.recall) == (2, 1, 1.0, 0.5)
    assert verdict.f1 == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert Response.objects.count() == judged

    # What people decide later counts.
    third = decided.items.order_by("pk")[2]
    resolving.decide(item=third, user=owner, answers=BAD, note="")
    (verdict,) = judge_scores.compute(run).scores
    assert verdict.percent == 1


def test_every_kind_of_question(
    team: Team, make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    asked = rubrics.create_rubric(
        team=team, name="All", questions=read("q", ALL_KINDS), user=None
    )
    queue = make_queue(3, rubric_version=asked.latest)
    held: list[dict[str, Any]] = [
        {"topics": ["law", "tax"], "stars": 5, "true": True, "years": 2.5},
        {"topics": ["work"], "stars": 1, "true": False, "years": 10},
        {"stars": 3, "true": True, "years": 0},
    ]
    for answers in held:
        judge(queue, curators[0], answers)
    run = judging.ask(queue=queue, model="tiny", user=owner)
    schema = judge_lines(run)[0]["body"]["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["topics", "stars", "true", "years"]
    judge_says(
        run,
        '{"topics": ["tax", "law"], "stars": 5, "true": true, "years": 2.5}',
        '{"topics": ["work", "law"], "stars": 2, "true": false, "years": 9, "why": "x"}',
        '{"topics": [], "stars": 9, "true": true, "years": 0}',
    )
    found = judge_scores.compute(run)
    # No rubric has nine stars: the whole judgement is left out.
    assert (found.read, found.unreadable) == (2, 1)
    topics, stars, true, years = found.scores
    assert (topics.percent, stars.percent, true.percent) == (0.5, 0.5, 1)
    law = next(one for one in topics.labels if one.label == "law")
    assert (law.people, law.judge) == (1, 2)
    assert true.kappa == 1
    # By hand: squared distances seen, (0 + 1) / 2, over those by chance.
    assert stars.kappa == pytest.approx(1 - (1 / 2) / ((0 + 9 + 16 + 1) / 4))
    assert (years.kappa, years.labels) == (None, [])
    assert years.alpha is not None and years.alpha > 0.9


def test_every_other_pair_is_shown_the_other_way_round(
    team: Team, answered: Callable[..., Batch], curators: list[User], owner: User
) -> None:
    asked = rubrics.create_rubric(
        team=team, name="Which", questions=read("q", WHICH), user=None
    )
    queue = queues.create_queue(
        team=team, name="Which", kind="pairwise", rubric_version=asked.latest, user=None
    )
    one = answered("left 0", "left 1", model="tiny")
    two = answered("right 0", "right 1", input_file=one.input_file)
    queues.add_items(queue=queue, subjects=queues.same_requests([one, two]), user=None)
    for _ in range(2):
        judge(queue, curators[0], {"better": "a"})
    run = judging.ask(queue=queue, model="tiny", user=owner)
    shown = [line["body"]["messages"][1]["content"] for line in judge_lines(run)]
    lefts = [
        text.index("left") < text.index("right")
        for text in (part[part.index("<answer_a>") :] for part in shown)
    ]
    assert sorted(lefts) == [False, True]
    # Who always says the first is wrong where the first one is the second.
    judge_says(run, '{"better": "a"}', '{"better": "a"}')
    (better,) = judge_scores.compute(run).scores
    assert better.percent == 0.5
    assert "tiny" not in shown[0] + shown[1]


def test_what_cannot_be_asked(
    make_queue: MakeQueue, team: Team, decided: ReviewQueue, owner: User
) -> None:
    def refused(match: str, **over: Any) -> None:
        with pytest.raises(Refused, match=match):
            judging.ask(**{"queue": decided, "model": "tiny", "user": owner, **over})

    refused("no item of it is decided", queue=make_queue(2))
    refused("expected 1 to 5,000", most=0)
    order = rubrics.create_rubric(
        team=team, name="Order", questions=read("q", ORDER), user=None
    )
    ranking = make_queue(0, kind="ranking", rubric_version=order.latest)
    refused("asks nothing", queue=ranking)
    team.max_queued_requests = 3
    team.save()
    files = BatchFile.objects.count()
    refused("3")
    assert not JudgeRun.objects.exists()
    assert BatchFile.objects.count() == files


def test_asking_in_the_browser(
    client: Client, decided: ReviewQueue, owner: User, rubric: Rubric
) -> None:
    ServedModel.objects.get_or_create(name="tiny")
    client.force_login(owner)
    address = f"/reviews/{decided.public_id}/judge/"
    assert "Choose" not in client.get(address).text
    wrong = client.post(address, {"model": "none", "most": "9"})
    assert "Nothing was started yet" in wrong.text
    sent = client.post(
        address, {"model": "tiny", "most": "2", "words": ""}, follow=True
    )
    assert "tiny judges 2 items in a batch of its own" in sent.text
    assert "The judge has not answered yet." in sent.text
    run = JudgeRun.objects.get()
    judge_says(run, *said("good", "good"))
    page = client.get(f"/reviews/{decided.public_id}/agreement/").text
    assert "Label by label" in page
    assert "100.0 %" in page or "100 %" in page
    older = client.get(f"/reviews/{decided.public_id}/agreement/?judge=nonsense")
    assert older.status_code == 200


def test_no_number_is_too_large_for_the_page(
    team: Team, make_queue: MakeQueue, curators: list[User], owner: User
) -> None:
    years = [{"key": "years", "type": "number", "title": "Years"}]
    asked = rubrics.create_rubric(
        team=team, name="Years", questions=read("q", years), user=None
    )
    queue = make_queue(2, rubric_version=asked.latest)
    for _ in range(2):
        judge(queue, curators[0], {"years": 2})
    with pytest.raises(Refused, match="expected a number"):
        read_answers(asked.latest.questions, {"years": 10**400}, final=True)
    run = judging.ask(queue=queue, model="tiny", user=owner)
    judge_says(run, '{"years": 1%s}' % ("0" * 400), '{"years": 2}')
    found = judge_scores.compute(run)
    assert (found.read, found.unreadable) == (1, 1)


def test_neither_gold_items_nor_equal_answers_are_put_to_a_judge(
    decided: ReviewQueue, owner: User
) -> None:
    first, second, *_ = decided.items.order_by("pk")
    ReviewItem.objects.filter(pk=first.pk).update(gold_text='{"verdict": "good"}')
    Resolution.objects.filter(version__item=second).update(how="identical")
    assert judging.ask(queue=decided, model="tiny", user=owner).items == 2
