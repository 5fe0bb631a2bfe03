# SPDX-License-Identifier: Apache-2.0
"""What is curated, in all the states that pages show differently."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.core.files.storage import default_storage
from django.utils import timezone

from batchsite.accounts.models import Team, User
from curation import (
    building,
    datasets,
    feeding,
    judging,
    marking,
    queues,
    resolving,
    reviewing,
    rubrics,
)
from curation.models import JudgeRun, ReviewQueue
from curation.questions import read
from curation.ready import READY
from curation.specs import Spec
from jobs.models import Batch, Result

from . import rows

JSON_ANSWER = json.dumps(
    {"role": "Lead data engineer", "years": 4, "skills": ["Python", "dbt"]}
)
PROSE = (
    "**Dear team**, I have spent six years building data platforms.\n\n"
    "- first at a logistics start-up\n- then at an energy supplier\n\n"
    "<img src=x onerror=alert(1)> " + "wordwithoutanyspace" * 20
)


def ready_rubric(team: Team, slug: str, user: User) -> Any:
    """One of the ready rubrics, as the team's own."""
    one = next(one for one in READY if one.slug == slug)
    return rubrics.create_rubric(
        team=team,
        name=one.name,
        questions=read("questions", list(one.questions)),
        user=user,
    ).latest


def answered(make: Callable[..., Batch], *texts: str, **over: Any) -> Batch:
    """A batch in which these texts were answered."""
    batch = make(status="in_progress", total=len(texts), **over)
    rows.answer(batch, [rows.chat(text) for text in texts])
    return batch


def curated(
    make_batch: Callable[..., Batch], team: Team, owner: User, others: list[User]
) -> dict[str, str]:
    """A queue that two judge, one of pairs, one of marked parts, an empty one, a dataset."""
    made = {"queue": _single(make_batch, team, owner, others)}
    made |= {"pairs": _pairs(make_batch, team, owner)}
    asked = ready_rubric(team, "report-evaluation", owner)
    spans = queues.create_queue(
        team=team, name="Reports", kind="single", rubric_version=asked, user=owner
    )
    _fill(spans, answered(make_batch, PROSE, PROSE + " again"), owner)
    empty = queues.create_queue(
        team=team, name="W" * 100, kind="single", rubric_version=asked, user=owner
    )
    feeding.add_rule(queue=empty, user=owner, model="an-organisation/" + "m" * 60)
    old = queues.create_queue(
        team=team, name="Old", kind="single", rubric_version=asked, user=owner
    )
    queues.change_queue(queue=old, user=owner, state="archived")
    single, pairs = made["queue"], made["pairs"]
    dataset = datasets.create_dataset(team=team, name="Good mails", user=owner)
    building.ask(
        dataset=dataset, queues=[single], spec=Spec("sft", test_share=0.3), user=owner
    )
    building.run()
    marks: list[dict[str, Any]] = [
        {"starred": True, "quality": 9},
        {"tags": ["t" * 50], "note": "long " * 200},
    ]
    for index, changes in enumerate(marks):
        answer = Result.objects.filter(batch__team=team, outcome="completed")
        marking.mark(result=answer.order_by("pk")[index], user=owner, changes=changes)
    judge_says(
        judging.ask(queue=pairs, model="tiny", user=owner),
        '{"better": "a"}',
        '{"better": "b", "why": "shorter"}',
    )
    torn = single.items.filter(state="awaiting_resolution")[0]
    decided = single.items.filter(state="completed")[0]
    return {
        "queue": single.public_id,
        "pairs": pairs.public_id,
        "spans": spans.public_id,
        "empty_queue": empty.public_id,
        "torn": torn.public_id,
        "decided": decided.public_id,
        "pair": pairs.items.all()[0].public_id,
        "rubric": single.rubric_version.rubric.public_id,
        "dataset": dataset.public_id,
        "judged": torn.versions.get().candidates.get().batch_code,
    }


def judge_lines(run: JudgeRun) -> list[dict[str, Any]]:
    """The requests of the judge's input file."""
    assert run.batch.input_file is not None
    with default_storage.open(run.batch.input_file.storage_name) as content:
        return [json.loads(line) for line in content]


def judge_says(run: JudgeRun, *texts: str) -> None:
    """The judge's requests are there as its file has them, and answered; it has ended."""
    batch, names = run.batch, [line["custom_id"] for line in judge_lines(run)]
    now = timezone.now()
    changes: dict[str, Any] = {"status": "in_progress", "in_progress_at": now}
    Batch.objects.filter(pk=batch.pk).update(total=len(texts), **changes)
    batch.refresh_from_db()
    rows.answer(batch, [rows.chat(text) for text in texts])
    for index, name in enumerate(names):
        batch.requests.filter(index=index).update(custom_id=name)
    ended: dict[str, Any] = {"status": "completed", "closing_reason": "done"}
    ended |= {"closed_at": now, "completed_at": now}
    Batch.objects.filter(pk=batch.pk).update(**ended)
    batch.refresh_from_db()


def _fill(queue: ReviewQueue, batch: Batch, user: User) -> None:
    queues.add_items(queue=queue, subjects=queues.answers_of(batch), user=user)


def _single(
    make_batch: Callable[..., Batch], team: Team, owner: User, others: list[User]
) -> ReviewQueue:
    queue = queues.create_queue(
        team=team,
        name="CV parsing, 10 % sample",
        kind="single",
        rubric_version=ready_rubric(team, "cv-parsing", owner),
        user=owner,
        overlap=2,
        gold_rate=0,
        auto_resolve="unanimous",
        guidelines="# How to judge\n\nRead the *whole* request first.",
    )
    _fill(queue, answered(make_batch, *[JSON_ANSWER] * 5, PROSE), owner)
    fine = {"verdict": "yes", "invented": False}
    wrong = {
        "verdict": "edited",
        "invented": True,
        "wrong_fields": ["dates"],
        "corrected": JSON_ANSWER.replace("4", "6"),
        "note": "Counts only the last job; " + "long" * 60,
    }
    for person, said in zip(
        [owner, *others[:1]], ((fine, fine), (wrong, fine)), strict=True
    ):
        for answers in said:
            work = reviewing.next_work(queue=queue, user=person)
            assert work is not None
            reviewing.submit(
                version=work.version, user=person, answers=answers, seconds=12.0
            )
    torn = queue.items.filter(state="awaiting_resolution")[0]
    assert torn.version is not None
    reviewing.flag(version=torn.version, user=owner, reason="Two jobs at once?")
    agreed = queue.items.filter(state="completed")[0]
    resolving.decide(item=agreed, user=owner, answers=fine, note="Checked by hand.")
    return queue


def _pairs(make_batch: Callable[..., Batch], team: Team, owner: User) -> ReviewQueue:
    queue = queues.create_queue(
        team=team,
        name="Which model writes better",
        kind="pairwise",
        rubric_version=ready_rubric(team, "pairwise-preference", owner),
        user=owner,
    )
    one = answered(make_batch, "A short reply.", PROSE, "Yes.", "red", model="tiny")
    two = answered(
        make_batch, "A longer reply.", "No.", "Yes!", "blue", input_file=one.input_file
    )
    queues.add_items(queue=queue, subjects=queues.same_requests([one, two]), user=owner)
    for vote in ("a", "b"):
        work = reviewing.next_work(queue=queue, user=owner)
        assert work is not None
        reviewing.submit(
            version=work.version, user=owner, answers={"better": vote}, seconds=5.0
        )
    return queue
