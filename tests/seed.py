# SPDX-License-Identifier: Apache-2.0
"""Rows of a site under test, made inside its own Django: `python -m tests.seed CALL`."""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

    from batchsite.accounts.models import Team, User
    from curation.models import ReviewQueue


def external_engine(url: str, name: str = "ext", window: int = 64) -> None:
    """An external engine that serves `tiny`."""
    from jobs.models import Engine, EngineModel, ServedModel

    model, _ = ServedModel.objects.get_or_create(name="tiny")
    engine, _ = Engine.objects.update_or_create(
        name=name,
        defaults={"kind": "external", "base_url": url, "state": "ready"},
    )
    EngineModel.objects.update_or_create(
        engine=engine,
        served_model=model,
        defaults={"remote_name": "tiny", "window": window},
    )


def served_model(name: str, engine_args: list[str]) -> None:
    """A model that a managed engine can load."""
    from jobs.models import ServedModel

    ServedModel.objects.create(name=name, source=f"org/{name}", engine_args=engine_args)


def cancel(batch: str) -> None:
    """Cancel a batch, as the API does."""
    from jobs import lifecycle
    from jobs.models import Batch

    lifecycle.cancel(Batch.objects.get(public_id=batch))


def batch(
    rows: int,
    model: str = "tiny",
    priority: int = 0,
    max_tokens: int | None = None,
    special: dict[str, dict[str, Any]] | None = None,
    slow_every: int = 0,
    slow: float = 0.0,
    **test: Any,
) -> str:
    """A validating batch of `rows` requests with these wishes to the test engine.

    `special` are further wishes of single rows, by their number. Each row whose number
    divides by `slow_every` takes `slow` seconds.
    """
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage
    from django.utils import timezone

    from batchsite.accounts.people import ensure_member
    from jobs.models import Batch, BatchFile
    from jobs.tasks import poke_stage

    membership = ensure_member(team_name="Blue", email="owner@example.com")
    lines: list[dict[str, Any]] = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": model,
                "messages": [{"role": "user", "content": f"say {n}"}],
                "test": {"key": f"r{n}", **test, **(special or {}).get(str(n), {})}
                | ({"delay": slow} if slow_every and n % slow_every == 0 else {}),
                **({} if max_tokens is None else {"max_tokens": max_tokens}),
            },
        }
        for n in range(rows)
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = BatchFile.objects.create(
        team=membership.team,
        filename="requests.jsonl",
        purpose="batch",
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        storage_name=default_storage.save("uploads/input", ContentFile(content)),
    )
    made = Batch.objects.create(
        team=membership.team,
        owner=membership.user,
        endpoint="/v1/chat/completions",
        input_file=file,
        input_file_ref=file.public_id,
        priority=priority,
        expires_at=timezone.now() + timedelta(days=1),
    )
    poke_stage(made.pk)
    return made.public_id


def used_batches(count: int) -> None:
    """Batches that have ended, of which no usage is counted yet."""
    from django.utils import timezone

    from batchsite.accounts.models import Team
    from jobs.models import Batch

    team, _ = Team.objects.get_or_create(name="Blue")
    now = timezone.now()
    begun = now - timedelta(hours=5)
    Batch.objects.bulk_create(
        Batch(
            team=team,
            endpoint="/v1/chat/completions",
            input_file_ref="file-none",
            model="tiny",
            status="completed",
            closing_reason="done",
            created_at=begun,
            in_progress_at=begun,
            closed_at=now,
            completed_at=now,
            expires_at=now + timedelta(days=1),
            total=7,
            completed=5,
            failed=2,
            result_seq=7,
            input_tokens=11,
            output_tokens=13,
        )
        for _ in range(count)
    )


def checked_batch(rows: int) -> str:
    """An ended batch of answered rows, every tenth failed, with checks still to run."""
    from django.utils import timezone

    from jobs import row_checks
    from jobs.models import Batch
    from tests.many_rows import Sizes, fill

    (made,) = fill(Sizes(teams=1, batches=1, rows=rows, chunk=1, answered=1))
    now = timezone.now()
    Batch.objects.filter(pk=made.pk).update(
        status="completed", closing_reason="done", closed_at=now, completed_at=now
    )
    checks = [
        {"name": "said", "kind": "equals", "params": {"value": "said"}},
        {"name": "valid", "kind": "json"},
    ]
    given = row_checks.read("checks", checks)
    row_checks.add(batch=made, checks=given, user=None)
    return made.public_id


def deleted_batch(rows: int) -> str:
    """An ended batch of answered rows, deleted and to be removed now."""
    from django.utils import timezone

    from jobs.models import Batch
    from tests.many_rows import Sizes, fill

    sizes = Sizes(teams=1, batches=1, rows=rows, chunk=10, answered=1)
    (made,) = fill(sizes)
    now = timezone.now()
    Batch.objects.filter(pk=made.pk).update(
        status="completed",
        closing_reason="done",
        closed_at=now,
        completed_at=now,
        usage_open=False,
        deleted_at=now,
        remove_at=now,
    )
    return made.public_id


def review_queue(items: int, overlap: int, reviewers: int) -> str:
    """A queue of so many answers, and curators who may judge them."""
    from batchsite.accounts.people import ensure_member
    from curation import queues, rubrics
    from curation.questions import read
    from tests.many_rows import Sizes, fill

    (made,) = fill(Sizes(teams=1, batches=1, rows=items * 2, chunk=1, answered=1))
    team = made.team
    for n in range(reviewers):
        email = f"curator{n}@example.com"
        ensure_member(team_name=team.name, email=email, role="curator")
    asked = [{"key": "v", "type": "label", "title": "V", "options": ["a", "b"]}]
    rubric = rubrics.create_rubric(
        team=team, name="one", questions=read("q", asked), user=None
    )
    queue = queues.create_queue(
        team=team,
        name="many",
        kind="single",
        rubric_version=rubric.latest,
        user=None,
        overlap=overlap,
        auto_resolve="majority",
    )
    # Every tenth request of the batch failed: there are more than enough.
    good = made.results.filter(outcome="completed").order_by("index")[:items]
    indexes = list(good.values_list("index", flat=True))
    queues.add_items(queue=queue, subjects=queues.answers_of(made, indexes), user=None)
    return queue.public_id


def review(queue: str, reviewers: int) -> str:
    """Let as many curators judge at once, each a child process, until nothing is left.

    One that is killed is started again for the same person. Returns how often that was.
    """
    import os
    import signal

    from django.db import connections

    from curation import reviewing

    def start(number: int) -> int:
        if pid := os.fork():
            return pid
        _judge(reviewing, queue, number)
        os._exit(0)

    connections.close_all()
    at_work = {start(number): number for number in range(reviewers)}
    killed = 0
    while at_work:
        pid, status = os.wait()
        number = at_work.pop(pid)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            killed += 1
            at_work[start(number)] = number
        elif status:
            raise SystemExit(f"Curator {number} ended with {status}.")
    return str(killed)


def _judge(reviewing: ModuleType, queue: str, number: int) -> None:
    """Judge what the queue has for one curator until nothing is left.

    Every twentieth is skipped, every tenth taken back and judged again.
    """
    import time

    from batchsite.accounts.models import User
    from curation.models import ReviewQueue

    user = User.objects.get(email=f"curator{number}@example.com")
    found = ReviewQueue.objects.get(public_id=queue)
    done, empty = 0, 0
    # Nothing may be left for a moment only: others hold the last places.
    while empty < 10:
        work = reviewing.next_work(queue=found, user=user)
        if work is None:
            empty += 1
            time.sleep(0.3)
            continue
        empty, done = 0, done + 1
        if done % 20 == 0:
            reviewing.skip(version=work.version, user=user)
            continue
        answers = {"v": "ab"[(work.item.pk + number) % 2]}
        reviewing.submit(version=work.version, user=user, answers=answers)
        if done % 10 == 0:
            version = reviewing.undo(queue=found, user=user)
            reviewing.submit(version=version, user=user, answers=answers)


def fed_queue(rows: int) -> str:
    """An ended batch of answered rows, a queue that is to be fed with all of them, and a
    dataset of it; the keys of queue and dataset."""
    from batchsite.accounts.people import ensure_member
    from curation import datasets, feeding
    from tests.many_rows import Sizes, fill

    (made,) = fill(Sizes(teams=1, batches=1, rows=rows, chunk=10, answered=1))
    user = ensure_member(team_name=made.team.name, email="owner@example.com").user
    queue = _good_queue(made.team, user)
    feeding.ask(queue=queue, batch=made, user=user)
    dataset = datasets.create_dataset(team=made.team, name="Good", user=user)
    return f"{queue.pk} {dataset.pk}"


def _good_queue(team: Team, user: User) -> ReviewQueue:
    """An empty queue that asks whether an answer is good."""
    from curation import queues, rubrics
    from curation.questions import read

    asked = [{"key": "good", "type": "boolean", "title": "Is it good?"}]
    rubric = rubrics.create_rubric(
        team=team, name="Good", questions=read("q", asked), user=user
    )
    return queues.create_queue(
        team=team, name="Good", kind="single", rubric_version=rubric.latest, user=user
    )


def fill_queue(queue: str, rows: int) -> str:
    """Put so many answers of a made-up batch into the queue; the first item's id."""
    from curation import queues
    from curation.models import ReviewQueue
    from tests.many_rows import Sizes, fill

    (made,) = fill(Sizes(teams=1, batches=1, rows=rows, chunk=10, answered=1))
    filled = ReviewQueue.objects.get(public_id=queue)
    queues.add_items(queue=filled, subjects=queues.answers_of(made), user=None)
    return filled.items.earliest("pk").public_id


def ask_dataset(queue: int, dataset: int) -> str:
    """Resolve all items of the queue as good, and ask for a version of the dataset."""
    from curation import building
    from curation.models import Dataset, ReviewQueue
    from curation.specs import Spec

    _all_are_good(queue)
    building.ask(
        dataset=Dataset.objects.get(pk=dataset),
        queues=[ReviewQueue.objects.get(pk=queue)],
        spec=Spec("sft"),
        user=None,
    )
    return "asked"


def _all_are_good(queue: int) -> None:
    from curation.models import Resolution, ReviewItem

    items = ReviewItem.objects.filter(queue_id=queue)
    Resolution.objects.bulk_create(
        Resolution(version_id=version, how="single", answers_text='{"good": true}')
        for version in items.values_list("version_id", flat=True)
    )
    items.update(state="completed", submitted=1)


def ask_judge(model: str, rows: int) -> str:
    """Have the model judge that many items, which people found good; the run's key."""
    from batchsite.accounts.people import ensure_member
    from curation import judging
    from curation.models import Candidate, ItemVersion, ReviewItem

    member = ensure_member(team_name="Blue", email="owner@example.com")
    queue = _good_queue(member.team, member.user)
    for n in range(rows):
        item = ReviewItem.objects.create(queue=queue, key=str(n))
        asked = {"messages": [{"role": "user", "content": f"What is {n} + 1?"}]}
        item.version = ItemVersion.objects.create(
            item=item,
            custom_id=f"r{n}",
            endpoint="/v1/chat/completions",
            request_body=json.dumps(asked),
        )
        item.save()
        said = {"choices": [{"message": {"content": f"It is {n + 1}."}}]}
        Candidate.objects.create(
            version=item.version, batch_code="old", model="old", body=json.dumps(said)
        )
    _all_are_good(queue.pk)
    return str(judging.ask(queue=queue, model=model, user=member.user).pk)


def judge_standing(run: int) -> str:
    """The run's batch's status, and how many judgements fit the rubric and do not."""
    from curation import judge_scores
    from curation.models import JudgeRun

    judged = JudgeRun.objects.get(pk=run)
    found = judge_scores.compute(judged)
    return f"{judged.batch.status} {found.read} {found.unreadable}"


def main() -> None:
    """Call one of the functions above: NAME JSON-ARGUMENTS."""
    import django

    django.setup()
    made = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main()
