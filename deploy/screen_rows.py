# SPDX-License-Identifier: Apache-2.0
"""The invented site of `make screenshots`: a team, its models, engines and batches.

Everything is a function of its number and of the time of the run, so that a second run
shows the same figures. Needs Django to be set up, and an empty database.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from batchsite.accounts.models import Team, User
from batchsite.accounts.people import ensure_member
from jobs import recording
from jobs.models import (
    Batch,
    BatchEvent,
    BatchFile,
    BatchRequest,
    Chunk,
    Engine,
    FailureCount,
    ServedModel,
    WorkerProcess,
)

from . import screen_reviews
from .screen_past import history, measured, samples, swaps
from .screen_texts import CHAT, LARGE, answer, batch_file, failure, request_of

MIDDLE, SMALL = "gemma-3-12b", "llama-3.2-3b"
GB = 10**9
# So many requests of a batch are rows; its counters say how many there are.
ROWS = 60


def seed() -> dict[str, str]:
    """Make all rows; what stands in the addresses of the pictures."""
    team, owner, other = _people()
    models = {name: _model(name) for name in (LARGE, MIDDLE, SMALL)}
    gpu0, gpu1 = _engines(models)
    WorkerProcess.objects.create(token="host/boot/1/1", heartbeat=timezone.now())
    made = _Maker(team)
    # The list shows them from the last to the first.
    ended = made.ended(owner, other)
    made.queue(owner, other)
    judge = made.batch(
        *("Summaries, judge pass", other, MIDDLE, 5_000, 690, 12), minutes=17
    )
    triage = made.batch(
        *("Support mail triage", other, LARGE, 10_000, 8_812), minutes=31
    )
    reviews = made.batch(
        *("Product reviews, November", owner, LARGE, 50_000, 31_153, 87), minutes=48
    )
    for batch, engine, speed in (
        (reviews, gpu0, 4912),
        (triage, gpu0, 1604),
        (judge, gpu1, 880),
    ):
        samples(batch, engine, speed)
    made.answers(reviews)
    made.answers(judge)
    FailureCount.objects.update(newest_at=made.now - timedelta(minutes=2))
    # The last of each of the two models.
    history([ended[-1], ended[-3]], [gpu0, gpu1])
    for number, model in enumerate((LARGE, MIDDLE)):
        measured(models[model], (gpu0, gpu1)[number], 4200 - 2900 * number)
    swaps(gpu1, [SMALL, MIDDLE, SMALL, MIDDLE])
    return screen_reviews.seed(team, owner, reviews) | {
        "batch": reviews.public_id,
        "file": made.file(batch_file(1200), "reviews-december.jsonl").public_id,
    }


def beat() -> None:
    """Signs of life, which hosts and workers give every few seconds."""
    now = timezone.now()
    Engine.objects.update(host_heartbeat=now, worker_heartbeat=now)
    WorkerProcess.objects.update(heartbeat=now)


def _people() -> tuple[Team, User, User]:
    owner = ensure_member(team_name="Research", email="owner@example.com")
    other = ensure_member(
        team_name="Research", email="teammate@example.com", role="member"
    )
    User.objects.filter(pk=owner.user_id).update(is_staff=True, is_superuser=True)
    return owner.team, owner.user, other.user


def _model(name: str) -> ServedModel:
    return ServedModel.objects.create(
        name=name,
        source=f"/srv/models/{name}",
        engine_args=["--max-model-len", "8192"],
    )


def _engines(models: dict[str, ServedModel]) -> tuple[Engine, Engine]:
    """Two of one GPU each, both at work."""
    return (
        _engine(0, models[LARGE], running=236, cache=0.81, used=70),
        _engine(1, models[MIDDLE], running=64, cache=0.47, used=61),
    )


def _engine(
    number: int, model: ServedModel, *, running: int, cache: float, used: int
) -> Engine:
    gpu = {
        "name": "NVIDIA H100 80GB HBM3",
        "utilization": 97 - 12 * number,
        "memory_used": used * GB,
        "memory_total": 80 * GB,
        "temperature": 61 + number,
        "power": 540 - 60 * number,
    }
    gauges = {
        "running": running,
        "waiting": 4 * (1 - number),
        "kv_cache": cache,
        "prefix_hits": 0.64 - 0.3 * number,
        "tokens_s": 6516 - 5636 * number,
        "gpus": [gpu],
    }
    return Engine.objects.create(
        name=f"gpu{number}",
        kind=Engine.Kind.MANAGED,
        state=Engine.State.READY,
        state_since=timezone.now() - timedelta(hours=9),
        gpu_ids=str(number),
        socket_path=f"/run/gpu{number}.sock",
        loaded_model=model,
        generation=3 + number,
        in_flight=running,
        version="0.32.0",
        gauges=gauges,
    )


class _Maker:
    """Makes files and batches of one team with ids that are the same in every run."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self.now = timezone.now()
        self.made = 0

    def _code(self, start: str) -> str:
        self.made += 1
        digest = hashlib.sha256(f"{start}{self.made}".encode()).hexdigest()
        return f"{start}{digest[:32]}"

    def file(self, content: bytes, name: str) -> BatchFile:
        stored = default_storage.save(f"uploads/{self._code('')}", ContentFile(content))
        return BatchFile.objects.create(
            public_id=self._code("file-"),
            team=self.team,
            filename=name,
            purpose="batch",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            storage_name=stored,
        )

    def batch(
        self,
        name: str,
        owner: User,
        model: str,
        total: int,
        completed: int,
        failed: int = 0,
        *,
        minutes: float,
        **over: Any,
    ) -> Batch:
        """In progress since so many minutes, unless `over` says otherwise."""
        start = self.now - timedelta(minutes=minutes, seconds=8)
        words = name.lower().replace(",", "").split()
        file = self.file(batch_file(20), f"{'-'.join(words)}.jsonl")
        done = completed + failed
        columns: dict[str, Any] = {
            "status": Batch.Status.IN_PROGRESS,
            "created_at": start - timedelta(seconds=41),
            "in_progress_at": start,
            "expires_at": start + timedelta(hours=24),
            "result_seq": done,
            "input_tokens": 212 * done,
            "cached_tokens": 120 * done,
            "output_tokens": 158 * done,
        }
        batch = Batch.objects.create(
            public_id=self._code("batch_"),
            team=self.team,
            owner=owner,
            name=name,
            model=model,
            endpoint=CHAT,
            input_file=file,
            input_file_ref=file.public_id,
            total=total,
            completed=completed,
            failed=failed,
            **columns | over,
        )
        _events(batch)
        return batch

    def answers(self, batch: Batch) -> None:
        """Its first results, every twelfth a failure, and then all that failed."""
        first = range(7, ROWS, 12)
        failed = {*first, *range(ROWS, ROWS + batch.failed - len(first))}
        requests = BatchRequest.objects.bulk_create(
            request_of(batch, place) for place in range(max(*failed, ROWS - 1) + 1)
        )
        Chunk.objects.create(
            batch=batch, model=batch.model, start=len(requests), end=batch.total
        )
        results = [
            failure(request) if request.index in failed else answer(request)
            for request in requests
        ]
        recording.insert(batch.pk, results)

    def queue(self, owner: User, other: User) -> None:
        """Those that wait."""
        self.batch("Contract clauses, pilot", other, LARGE, 1_200, 0, minutes=6)
        self.batch("Ad copy A/B", owner, SMALL, 400, 0, minutes=4)
        self.batch(
            "Glossary, second try", owner, MIDDLE, 2_500, 0, minutes=95, paused=True
        )
        for batch in Batch.objects.active().filter(completed=0):
            Chunk.objects.create(
                batch=batch, model=batch.model, start=0, end=batch.total
            )

    def ended(self, owner: User, other: User) -> list[Batch]:
        """Those of the last days, in all states that a batch ends in."""
        found = []
        past = [
            ("Nightly summaries", 2_000, 0),
            ("Ticket titles", 860, 0),
            ("Translations, glossary", 12_000, 0),
            ("Nightly summaries", 2_000, 2),
            ("Alt texts", 3_120, 4),
            ("Support mail triage", 9_400, 0),
            ("Product reviews, October", 48_200, 31),
        ]
        for number, (name, total, failed) in enumerate(past):
            begun = 60 * (10.5 + 5.3 * (len(past) - 1 - number))
            end = self.now - timedelta(minutes=begun - 9 - total / 900)
            who = owner if number % 2 else other
            model = (LARGE, MIDDLE, SMALL)[number % 3]
            over: dict[str, Any] = {
                "status": "completed",
                "tags": ["nightly"] if "Nightly" in name else [],
                "finalizing_at": end,
                "completed_at": end + timedelta(seconds=4),
                "closed_at": end,
                "closing_reason": "done",
            }
            found.append(
                self.batch(
                    *(name, who, model, total, total - failed, failed),
                    minutes=begun,
                    **over,
                )
            )
        self._unlucky(owner, other)
        return found

    def _unlucky(self, owner: User, other: User) -> None:
        ended = self.now - timedelta(hours=7)
        self.batch(
            *("Ad copy, first draft", owner, SMALL, 240, 171, 69),
            minutes=480,
            status="cancelled",
            cancelled_at=ended,
            closed_at=ended,
            closing_reason="cancelled",
        )
        told = {"line": 3, "code": "invalid_json", "message": "Not JSON."}
        self.batch(
            *("Contract clauses", other, "", 0, 0),
            minutes=500,
            status="failed",
            in_progress_at=None,
            failed_at=ended,
            errors={"object": "list", "data": [told]},
        )


def _events(batch: Batch) -> None:
    """The moves of its status, as its log shows them."""
    old = ""
    for status in ("validating", "in_progress", "finalizing", "completed"):
        at = batch.created_at if not old else getattr(batch, f"{status}_at")
        if at is None:
            continue
        BatchEvent.objects.create(
            batch=batch, kind="status", old_status=old, new_status=status, created_at=at
        )
        old = status
