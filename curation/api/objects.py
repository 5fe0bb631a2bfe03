# SPDX-License-Identifier: Apache-2.0
"""Rows of curation as objects of the API: every field present, times in unix seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curation import gold
from curation.judge_scores import Score
from curation.judge_scores import Standing as JudgeStanding
from curation.models import (
    Candidate,
    Dataset,
    DatasetBuild,
    DatasetVersion,
    Feed,
    FeedRule,
    JudgeRun,
    Resolution,
    Response,
    ReviewItem,
    ReviewQueue,
    Rubric,
    RubricVersion,
)
from curation.quality import Agreement, Preferences, Reviewer
from curation.standing import Standing
from jobs.answer_text import parsed
from jobs.api.serializers import unix

from .found import FEED, JUDGE_RUN, RULE

Object = dict[str, Any]
# Members of a body that say, or let guess, which model it is of.
OF_MODEL = ("model", "system_fingerprint", "id", "created")


def rubric_object(rubric: Rubric, version: RubricVersion) -> Object:
    """A rubric with the questions of one version, mostly its newest."""
    return {
        "id": rubric.public_id,
        "object": "curation.rubric",
        "name": rubric.name,
        "version": version.number,
        "used": version.used,
        "questions": [question.as_json() for question in version.questions],
        "archived": rubric.archived_at is not None,
        "created_at": unix(rubric.created_at),
    }


def queue_object(queue: ReviewQueue, standing: Standing) -> Object:
    """A queue, its rules, and how far it is."""
    return {
        "id": queue.public_id,
        "object": "curation.queue",
        "name": queue.name,
        "kind": queue.kind,
        "state": queue.state,
        "rubric_id": queue.rubric_version.rubric.public_id,
        "rubric_version": queue.rubric_version.number,
        "overlap": queue.overlap,
        "coverage": queue.coverage,
        "blind_model": queue.blind_model,
        "blind_others": queue.blind_others,
        "gold_rate": queue.gold_rate,
        "lock_minutes": queue.lock_minutes,
        "skips": queue.skips,
        "auto_advance": queue.auto_advance,
        "auto_resolve": queue.auto_resolve,
        "guidelines": queue.guidelines,
        "due_at": unix(queue.due_at),
        "assignees": sorted(user.email for user in queue.assignees.all()),
        "item_counts": {
            "total": standing.total,
            "waiting": standing.waiting,
            "to_decide": standing.disputed,
            "done": standing.done,
        },
        "created_at": unix(queue.created_at),
    }


def feed_object(feed: Feed) -> Object:
    """Answers on their way into a queue."""
    return {
        "id": f"{FEED}{feed.pk}",
        "object": "curation.feed",
        "queue_id": feed.queue.public_id,
        "batch_id": feed.batch.public_id,
        "how": feed.how,
        "most": feed.most,
        "state": feed.state,
        "added": feed.added,
        "known": feed.known,
        "without_answer": feed.without_answer,
        "problem": feed.problem or None,
        "created_at": unix(feed.created_at),
        "ended_at": unix(feed.ended_at),
    }


def item_object(
    item: ReviewItem, resolution: Resolution | None, *, with_gold: bool
) -> Object:
    """An item as whoever looks after the queue sees it.

    Right answers of gold items are for those who look after the queue: `with_gold`.
    """
    version = item.version
    assert version is not None
    return {
        "id": item.public_id,
        "object": "curation.item",
        "queue_id": item.queue.public_id,
        "state": item.state,
        "version": version.number,
        "custom_id": version.custom_id,
        "needed": item.needed,
        "submitted": item.submitted,
        "priority": item.priority,
        "severity": item.severity,
        "assigned_to": item.assigned_to.email if item.assigned_to else None,
        "flagged": item.flagged,
        "flag_reason": item.flag_reason or None,
        "gold": (gold.right_answers(item) or None) if with_gold else None,
        "resolution": resolution and resolution_object(resolution),
        "created_at": unix(item.created_at),
    }


def work_object(
    item: ReviewItem,
    candidates: Sequence[Candidate],
    response: Response,
    *,
    shows_model: bool,
    letters: Mapping[int, str],
) -> Object:
    """An item as its reviewer sees it: what is blind in the queue is null here."""
    version = item.version
    assert version is not None
    return {
        "id": item.public_id,
        "object": "curation.work",
        "queue_id": item.queue.public_id,
        "version": version.number,
        "custom_id": version.custom_id,
        "endpoint": version.endpoint,
        "request": _shown(version.request_body, shows_model),
        "answers": [
            {
                "letter": letters[candidate.place],
                "place": candidate.place,
                "model": candidate.model if shows_model else None,
                "body": _shown(candidate.body, shows_model),
                "finish_reason": candidate.finish_reason or None,
            }
            for candidate in candidates
        ],
        "response": response_object(response),
    }


def _shown(body: str, shows_model: bool) -> Any:
    """A body as it is; without its members that name the model where that is hidden."""
    found = parsed(body)
    if shows_model or not isinstance(found, dict):
        return found
    return {name: value for name, value in found.items() if name not in OF_MODEL}


def response_object(response: Response) -> Object:
    """What one person says of one version of an item."""
    return {
        "id": f"response_{response.pk}",
        "object": "curation.response",
        "user": response.user.email,
        "version": response.version.number,
        "state": response.state,
        "answers": response.answers,
        "layout": response.layout,
        "seconds": response.seconds,
        "created_at": unix(response.created_at),
        "submitted_at": unix(response.submitted_at),
    }


def resolution_object(resolution: Resolution) -> Object:
    """What holds of an item, and why."""
    return {
        "object": "curation.resolution",
        "how": resolution.how,
        "answers": resolution.answers,
        "response_id": f"response_{resolution.chosen_id}"
        if resolution.chosen_id
        else None,
        "by": resolution.by.email if resolution.by else None,
        "note": resolution.note or None,
        "created_at": unix(resolution.created_at),
    }


def agreement_object(
    queue: ReviewQueue,
    agreements: Sequence[Agreement],
    reviewers: Sequence[Reviewer],
    preferences: Preferences | None,
) -> Object:
    """How far people agree; null where too little was judged to tell."""
    return {
        "object": "curation.agreement",
        "queue_id": queue.public_id,
        "questions": [_question(one) for one in agreements],
        "reviewers": [_reviewer(one) for one in reviewers],
        "preferences": preferences and _preferences(preferences),
    }


def _question(one: Agreement) -> Object:
    interval = one.interval
    return {
        "key": one.question.key,
        "items": one.units,
        "percent": one.percent,
        "alpha": one.alpha,
        "alpha_low": interval.low if interval else None,
        "alpha_high": interval.high if interval else None,
        "fleiss_kappa": one.fleiss,
        "pairs": [
            {
                "first": pair.first,
                "second": pair.second,
                "items": pair.units,
                "percent": pair.percent,
                "cohen_kappa": pair.kappa,
            }
            for pair in one.pairs
        ],
    }


def _reviewer(one: Reviewer) -> Object:
    return {
        "user": one.email,
        "judged": one.judged,
        "drafts": one.drafts,
        "skipped": one.skipped,
        "median_seconds": one.seconds,
        "gold_asked": one.gold.asked,
        "gold_right": one.gold.right,
        "decided": one.compared,
        "as_decided": one.agreed,
    }


def _preferences(found: Preferences) -> Object:
    return {
        "win_rates": [
            {
                "first": rate.first,
                "second": rate.second,
                "wins": rate.wins,
                "losses": rate.losses,
                "ties": rate.ties,
                "rate": rate.rate,
                "low": rate.interval.low,
                "high": rate.interval.high,
            }
            for rate in found.rates
        ],
        "strengths": [
            {"model": one.name, "strength": one.strength}
            for one in found.strengths or ()
        ],
        "left_share": found.bias.share if found.bias else None,
        "left_p": found.bias.p if found.bias else None,
    }


def rule_object(rule: FeedRule) -> Object:
    """What each batch of a kind is fed by; empty members ask nothing."""
    return {
        "id": f"{RULE}{rule.pk}",
        "object": "curation.rule",
        "queue_id": rule.queue.public_id,
        "model": rule.model,
        "tag": rule.tag,
        "endpoint": rule.endpoint,
        "filter": rule.wanted,
        "how": rule.how,
        "most": rule.most,
        "created_at": unix(rule.created_at),
    }


def judge_run_object(run: JudgeRun, standing: JudgeStanding | None) -> Object:
    """A judge's run; how it came out, where that was asked for."""
    return {
        "id": f"{JUDGE_RUN}{run.pk}",
        "object": "curation.judge_run",
        "queue_id": run.queue.public_id,
        "batch_id": run.batch.public_id,
        "status": run.batch.status,
        "model": run.model,
        "items": run.items,
        "created_at": unix(run.created_at),
        "standing": standing
        and {
            "read": standing.read,
            "unreadable": standing.unreadable,
            "failed": standing.failed,
            "questions": [_score(one) for one in standing.scores],
        },
    }


def _score(one: Score) -> Object:
    return {
        "key": one.question.key,
        "items": one.pairs,
        "percent": one.percent,
        "cohen_kappa": one.kappa,
        "alpha": one.alpha,
        "f1": one.f1,
        "labels": [
            {
                "label": label.label,
                "people": label.people,
                "judge": label.judge,
                "precision": label.precision,
                "recall": label.recall,
                "f1": label.f1,
            }
            for label in one.labels
        ],
    }


def dataset_object(
    dataset: Dataset, versions: Sequence[DatasetVersion], builds: Sequence[DatasetBuild]
) -> Object:
    """A dataset with its versions, and what is being made or failed, the newest first."""
    return {
        "id": dataset.public_id,
        "object": "curation.dataset",
        "name": dataset.name,
        "versions": [version_object(version) for version in versions],
        "builds": [build_object(build) for build in builds],
        "created_at": unix(dataset.created_at),
    }


def build_object(build: DatasetBuild) -> Object:
    """A version that is being made; `version` once it is."""
    return {
        "id": f"build_{build.pk}",
        "object": "curation.build",
        "dataset_id": build.dataset.public_id,
        "state": build.state,
        "version": build.version.number if build.version else None,
        "problem": build.problem or None,
        "created_at": unix(build.created_at),
        "ended_at": unix(build.ended_at),
    }


def version_object(version: DatasetVersion) -> Object:
    """A version: its files are fetched as files are, and its manifest says all."""
    return {
        "version": version.number,
        "format": version.format,
        "rows": version.rows,
        "test_rows": version.test_rows,
        "train_file_id": version.train_file.public_id if version.train_file else None,
        "test_file_id": version.test_file.public_id if version.test_file else None,
        "manifest": version.manifest,
        "created_at": unix(version.created_at),
    }
