# SPDX-License-Identifier: Apache-2.0
"""What a team's home shows of its batches: counts, what runs, what waits, what failed.

Nothing here counts requests: all of it is kept in counters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core.cache import cache
from django.db.models import Count, Max, Min, Sum, prefetch_related_objects
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs import standing
from jobs.eta import Sample, moving_rate
from jobs.failures import hour_of
from jobs.models import Batch, BatchFile, FailureCount, ThroughputSample, WorkerProcess
from jobs.models.batches import BatchQuerySet
from jobs.models.engines import STALE_SECONDS, database_time
from jobs.templatetags.figures import NOTHING, printable, stalled_for

from .progress import LINE_WINDOW, pace, sparkline, spoken_range
from .throughput import teams_key

DAY = timedelta(days=1)
SOON = timedelta(days=7)
SHOWN = 8
# Of more active batches the rest is not looked at.
ACTIVE = 500
KINDS = 6
# Rows that never ran failed by nobody's fault.
NEVER_RAN = ("batch_cancelled", "batch_expired")
# Storage changes slowly, and adding it up reads an index of all files.
STORAGE_SECONDS = 60
Status = Batch.Status


@dataclass(frozen=True, slots=True)
class Tile:
    """One number of the strip: a link to what it counts."""

    word: str
    number: int
    query: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A batch that runs, with its speed and its end in words."""

    batch: Batch
    speed: str
    requests: str
    end: str
    line: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A batch that waits: its place, and what for."""

    batch: Batch
    position: int | None
    why: str
    start: datetime | None


@dataclass(frozen=True, slots=True)
class Board:
    """The parts of the home that move; `more_*` count what is not listed."""

    tiles: list[Tile]
    running: list[Running]
    waiting: list[Waiting]
    more_running: int
    more_waiting: int

    @property
    def shown(self) -> tuple[object, ...]:
        """What is displayed: a change here is a change there."""
        return (
            self.tiles,
            [
                (
                    *(r.batch.pk, r.batch.completed, r.batch.failed, r.batch.name),
                    *(r.speed, r.requests, r.end, r.line, r.warning),
                )
                for r in self.running
            ],
            [
                (
                    *(w.batch.pk, w.batch.name, w.position, w.why),
                    *(w.batch.total, w.batch.expected_requests, w.batch.model),
                    *(w.batch.priority, w.batch.paused),
                    # As it is written: to the minute.
                    f"{w.start:%x %H:%M}" if w.start else "",
                )
                for w in self.waiting
            ],
            (self.more_running, self.more_waiting),
        )


def teams_of(user: User) -> list[int]:
    """The keys of the teams whose work the user sees.

    The functions below take these and not the user: with the very keys a database sees
    how few of a team's batches are active, and reads only these.
    """
    return list(Team.objects.visible_to(user).order_by().values_list("pk", flat=True))


def board(teams: Sequence[int]) -> Board:
    """The counts, what runs and what waits, of these teams."""
    mine = Batch.objects.filter(team__in=teams).kept()
    active = list(mine.active().order_by("-priority", "id")[:ACTIVE])
    places = standing.of(active)
    taken = _samples(active)
    running = [b for b in active if _runs(b, taken)]
    waiting = [b for b in active if b.status in standing.WAITING and b not in running]
    waiting.sort(key=lambda b: _place(places.get(b.public_id)))
    # Joined to all active ones, a database would read every file that there is.
    listed = [*running[:SHOWN], *waiting[:SHOWN]]
    prefetch_related_objects(listed, "owner", "input_file")
    return Board(
        tiles=_tiles(mine, active, running, places),
        running=[_running(b, places, taken) for b in running[:SHOWN]],
        waiting=[_waiting(b, places) for b in waiting[:SHOWN]],
        more_running=max(len(running) - SHOWN, 0),
        more_waiting=max(len(waiting) - SHOWN, 0),
    )


def has_batches(teams: Sequence[int]) -> bool:
    """Whether these teams ever had one."""
    return Batch.objects.filter(team__in=teams).exists()


def _runs(batch: Batch, taken: Mapping[int, Sequence[Sample]]) -> bool:
    """Whether requests of it were answered lately; a paused batch waits."""
    return (
        batch.status == Status.IN_PROGRESS
        and not batch.paused
        and (batch.pk in taken or bool(batch.result_seq))
    )


def _place(place: standing.Standing | None) -> tuple[bool, int]:
    position = place.position if place else None
    return (position is None, position or 0)


def _samples(batches: Sequence[Batch]) -> dict[int, list[Sample]]:
    """What came in the last 15 minutes, by batch, oldest first."""
    running = [b.pk for b in batches if b.status == Status.IN_PROGRESS][:100]
    found: defaultdict[int, list[Sample]] = defaultdict(list)
    if not running:
        return found
    rows = ThroughputSample.objects.filter(
        batch__in=running, at__gt=timezone.now() - LINE_WINDOW
    ).order_by("at")
    for pk, at, *figures in rows.values_list(
        *("batch", "at", "seconds", "rows", "output_tokens", "request_seconds")
    ):
        found[pk].append(Sample(at.timestamp(), *figures))
    return found


def _tiles(
    mine: BatchQuerySet,
    active: Sequence[Batch],
    running: Sequence[Batch],
    places: Mapping[str, standing.Standing],
) -> list[Tile]:
    since = timezone.now() - DAY
    # Each by an index of its own.
    completed, failed, expired = (
        mine.filter(**{f"{name}_at__gt": since}).count()
        for name in ("completed", "failed", "expired")
    )
    late = sum(place.at_risk for place in places.values())
    ending = (Status.FINALIZING, Status.CANCELLING)
    finalizing = sum(b.status in ending for b in active)
    queued = len(active) - len(running) - finalizing
    return [
        Tile("running", len(running), "status=in_progress", "blue"),
        Tile("queued", queued, "status=active"),
        Tile("finalizing", finalizing, "status=finalizing"),
        Tile("completed in 24 h", completed, "status=completed"),
        Tile("failed in 24 h", failed + expired, "status=failed", "red"),
        Tile("deadline at risk", late, "status=active", "amber"),
    ]


def _running(
    batch: Batch,
    places: Mapping[str, standing.Standing],
    taken: Mapping[int, Sequence[Sample]],
) -> Running:
    now = timezone.now()
    some = taken.get(batch.pk, ())
    rate = moving_rate(list(some), now.timestamp())
    place = places.get(batch.public_id)
    end = place.eta if place else None
    words = NOTHING
    if end and end.low is not None and end.high is not None:
        words = spoken_range(end.low, end.high)
    elif stalled := stalled_for(batch):
        words = f"stalled for {stalled}"
    return Running(
        batch,
        pace(rate.tokens) if rate.rows else NOTHING,
        pace(rate.rows) if rate.rows else NOTHING,
        words,
        sparkline(some, now - LINE_WINDOW, now),
        "deadline at risk" if place and place.at_risk else "",
    )


def _waiting(batch: Batch, places: Mapping[str, standing.Standing]) -> Waiting:
    place = places.get(batch.public_id)
    if place is None:
        return Waiting(batch, None, "", None)
    start = place.expected_start
    moment = datetime.fromtimestamp(start, tz=UTC) if start else None
    why = place.blocked_reason or ""
    if not why and batch.status == Status.VALIDATING:
        why = "its file is being checked"
    return Waiting(batch, place.position, printable(why), moment)


@dataclass(frozen=True, slots=True)
class Failures:
    """Rows of batches of one model that failed in the same way within a day."""

    error_class: str
    model: str
    rows: int
    newest_at: datetime
    batch: str


def failures(teams: Sequence[int]) -> list[Failures]:
    """The commonest failures of the last 24 h (by whole hours), most first."""
    found = (
        FailureCount.objects.filter(
            hour__gte=hour_of(timezone.now() - DAY),
            batch__team__in=teams,
            batch__deleted_at__isnull=True,
        )
        .exclude(error_class__in=NEVER_RAN)
        .values("error_class", "batch__model")
        .annotate(
            number=Sum("rows"), newest=Max("newest_at"), code=Max("batch__public_id")
        )
        .order_by("-number", "error_class")[: KINDS + 1]
    )
    return [
        Failures(
            r["error_class"], r["batch__model"], r["number"], r["newest"], r["code"]
        )
        for r in found
    ]


@dataclass(frozen=True, slots=True)
class Storage:
    """Files that teams keep, their bytes, and those that go within a week."""

    files: int
    bytes: int
    going: int
    first: datetime | None


def storage(teams: Sequence[int]) -> Storage:
    """The figures, at most a minute old; files whose time is just over still count."""
    key = f"home-storage:{teams_key(teams)}"
    known: Storage | None = cache.get(key)
    if known is None:
        now = timezone.now()
        kept = BatchFile.objects.filter(team__in=teams, deleted_at__isnull=True)
        # Read from an index that has the sizes in it.
        sums = kept.aggregate(files=Count("*"), size=Sum("bytes"))
        soon = kept.filter(expires_at__gt=now, expires_at__lt=now + SOON)
        going = soon.aggregate(number=Count("pk"), first=Min("expires_at"))
        known = Storage(
            sums["files"], sums["size"] or 0, going["number"], going["first"]
        )
        cache.set(key, known, STORAGE_SECONDS)
    return known


@dataclass(frozen=True, slots=True)
class Worker:
    """A control worker that gave a sign of life in the last 15 s."""

    name: str
    since: datetime
    trouble: str


def workers() -> list[Worker]:
    """The control workers that are alive, by the database's clock."""
    alive = WorkerProcess.objects.filter(heartbeat__gt=database_time(-STALE_SECONDS))
    return [
        Worker(printable(one.token.split("/")[0]), one.started_at, one.trouble)
        for one in alive
    ]
