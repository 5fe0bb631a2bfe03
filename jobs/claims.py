# SPDX-License-Identifier: Apache-2.0
"""Taking chunks, keeping them, giving them back: the database side of a feeder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from django.db import connection, transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Sum, When, Window
from django.db.models.functions import Greatest, Now, RowNumber

from .kept_sql import sql_of
from .models import Batch, BatchRequest, Chunk, Engine, Suspect
from .models.engines import STALE_SECONDS, database_time
from .recording import ChunkLease
from .scheduling import AT_RISK_SECONDS, Work
from .suspects import DEATHS_ALONE

# The scheduler looks at so many batches of each team and model.
CANDIDATES = 50
# Suspects written in one transaction.
SLICE = 500


@dataclass(frozen=True, slots=True)
class Row:
    """One request on its way to the engine."""

    pk: int
    index: int
    custom_id: str
    url: str
    body: str
    has_copies: bool
    suspect_group: int
    lonely_deaths: int

    @property
    def is_poison(self) -> bool:
        """Whether the engine is spared this request from now on."""
        return self.lonely_deaths >= DEATHS_ALONE


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased chunk with the rows that have no result yet; `attempts` includes this one."""

    lease: ChunkLease
    work: Work
    start: int
    end: int
    rows: list[Row]
    attempts: int = 1


def claimable_work(models: Collection[str] | None) -> list[Work]:
    """Batches with a chunk to claim, of these models or of any (None).

    A batch of several models comes once for each that has a chunk to claim.
    """
    running = Batch.objects.running()
    pending, overdue = Chunk.objects.pending(), Chunk.objects.overdue()
    if models is not None:
        running = running.filter(model__in=[*models, ""])
        pending = pending.filter(model__in=models)
        overdue = overdue.filter(model__in=models)
    # As scheduling.rank() does within a team; what comes later waits for these. Those of
    # another model have places of their own: they wait for the engine, not for these.
    place = Window(
        RowNumber(),
        partition_by=[F("team_id"), F("model")],
        order_by=[
            F("priority").desc(),
            Case(
                When(expires_at__lt=database_time(AT_RISK_SECONDS), then=0), default=1
            ),
            F("id").asc(),
        ],
    )
    batches = (
        # One look at the index for each batch, and all leases that ran out at once.
        running.filter(
            Exists(pending.filter(batch=OuterRef("pk")))
            | Q(pk__in=overdue.order_by().values("batch"))
        )
        .annotate(place=place)
        .filter(place__lte=CANDIDATES)
        .order_by("id")
        .values_list(
            "pk",
            "team_id",
            "team__weight",
            "priority",
            "model",
            "created_at",
            "expires_at",
        )
    )
    rows = list(batches)
    several = _models_of([row[0] for row in rows if not row[4]], models)
    return [
        Work(pk, team, weight, priority, model, created.timestamp(), ends.timestamp())
        for pk, team, weight, priority, only, created, ends in rows
        for model in ([only] if only else several.get(pk, []))
    ]


def anything_claimable() -> bool:
    """Whether any chunk of any model waits, of whatever batch: a cheap first look."""
    with connection.cursor() as cursor:
        for sql in _claimable_sql():
            # The empty list has a percent sign of SQLite's clock written once.
            cursor.execute(sql, [])
            if cursor.fetchone() is not None:
                return True
    return False


@cache
def _claimable_sql() -> list[str]:
    """Ask for one chunk that waits, and for one whose lease has run out."""
    some = (Chunk.objects.pending(), Chunk.objects.overdue())
    # In the order of the partial indexes, so that they are what is read.
    return [sql_of(chunks.order_by("batch_id").values("pk")[:1]) for chunks in some]


def _models_of(
    batches: Collection[int], models: Collection[str] | None
) -> dict[int, list[str]]:
    """The models of the chunks to claim, by batch; no query without a batch."""
    if not batches:
        return {}
    found: dict[int, set[str]] = {}
    for some in (Chunk.objects.pending(), Chunk.objects.overdue()):
        chunks = some.filter(batch__in=batches)
        if models is not None:
            chunks = chunks.filter(model__in=models)
        pairs = chunks.order_by().values_list("batch", "model").distinct()
        for batch, model in pairs:
            found.setdefault(batch, set()).add(model)
    return {batch: sorted(names) for batch, names in found.items()}


def team_load() -> dict[int, float]:
    """Requests of leased chunks by team, over all engines."""
    sums = (
        Chunk.objects.leased()
        .order_by()
        .values("batch__team_id")
        .annotate(rows=Sum(F("end") - F("start")))
    )
    return {row["batch__team_id"]: float(row["rows"]) for row in sums}


def claim(
    work: Work,
    *,
    engine: Engine,
    worker: str,
    after: int | None,
    held: Collection[ChunkLease] = (),
) -> Claim | None:
    """Lease one chunk of the batch; None when there is none any more.

    First what a dead feeder left, which waits for the longest; then the chunk that
    follows `after` (the end of this engine's last one), whose requests begin alike.
    Each claim raises the epoch, and with it fences off whoever had the chunk before: so
    never one that is `held`, whose lease a jump of the database's clock may have ended.
    """
    with transaction.atomic():
        chunk = _free_chunk(work, after, held)
        if chunk is None:
            return None
        Chunk.objects.filter(pk=chunk.pk).update(
            state=Chunk.State.LEASED,
            lease_epoch=F("lease_epoch") + 1,
            attempts=F("attempts") + 1,
            leased_by=worker,
            lease_expires_at=database_time(STALE_SECONDS),
            engine=engine,
            generation=engine.generation,
        )
    return Claim(
        lease=ChunkLease(chunk.pk, work.batch, chunk.lease_epoch + 1),
        work=work,
        start=chunk.start,
        end=chunk.end,
        rows=_rows(chunk),
        attempts=chunk.attempts + 1,
    )


def _free_chunk(
    work: Work, after: int | None, held: Collection[ChunkLease]
) -> Chunk | None:
    """A chunk that nobody else can claim until the transaction ends; None: there is none.

    A hundred claimers at once take a chunk each: PostgreSQL skips those that others
    have locked, and looks again at what changed before it locked it. That look sees the
    chunk's own columns alone, so no other table may decide here. SQLite has one writer
    at a time.
    """
    own = Chunk.objects.filter(batch_id=work.batch, model=work.model)
    pending = own & Chunk.objects.pending()
    overdue = own & Chunk.objects.overdue()
    tries = [overdue.exclude(pk__in=[lease.chunk for lease in held]), pending]
    if after is not None:
        tries.insert(1, pending.filter(start=after))
    for chunks in tries:
        free = chunks.select_for_update(skip_locked=True).order_by("start")
        if (chunk := free.first()) is not None:
            return chunk
    return None


def _rows(chunk: Chunk) -> list[Row]:
    copies = BatchRequest.objects.filter(duplicate_of=OuterRef("pk"))
    rows = (
        BatchRequest.objects.unanswered(chunk.batch_id)
        .filter(run_order__gte=chunk.start, run_order__lt=chunk.end)
        .annotate(has_copies=Exists(copies))
        .order_by("run_order")
        .values_list(
            "pk",
            "index",
            "custom_id",
            "url",
            "body",
            "has_copies",
            "suspect__group",
            "suspect__lonely_deaths",
        )
    )
    return [
        Row(
            pk,
            index,
            custom_id,
            url,
            body,
            copied,
            group or 0,
            lonely or 0,
        )
        for pk, index, custom_id, url, body, copied, group, lonely in rows
    ]


def extend(worker: str, held: Collection[ChunkLease]) -> list[ChunkLease]:
    """Put the end of these leases 15 s ahead; returns those that are lost."""
    if not held:
        return []
    mine = Chunk.objects.filter(
        leased_by=worker,
        state=Chunk.State.LEASED,
        pk__in=[lease.chunk for lease in held],
    )
    mine.update(lease_expires_at=database_time(STALE_SECONDS))
    epochs = dict(mine.values_list("pk", "lease_epoch"))
    return [lease for lease in held if epochs.get(lease.chunk) != lease.epoch]


def give_back(lease: ChunkLease, *, count_attempt: bool) -> bool:
    """Make a chunk claimable again; False when it was not ours any more."""
    columns: dict[str, object] = {
        "state": Chunk.State.PENDING,
        "leased_by": "",
        "lease_expires_at": None,
    }
    if not count_attempt:
        columns["attempts"] = Greatest(F("attempts"), 1) - 1
    mine = Chunk.objects.filter(
        pk=lease.chunk, lease_epoch=lease.epoch, state=Chunk.State.LEASED
    )
    return bool(mine.update(**columns))


def free_chunks_of(engine: Engine) -> int:
    """Free the chunks of the engine's earlier workers; how many.

    To be called by the holder of the worker token alone: whoever held these leases
    is dead or fenced off.
    """
    return Chunk.objects.filter(engine=engine, state=Chunk.State.LEASED).update(
        state=Chunk.State.PENDING, leased_by="", lease_expires_at=None
    )


def suspect(engine: Engine, requests: Collection[int]) -> None:
    """Note that the engine died unasked with these requests in flight."""
    alone = int(len(requests) == 1)
    last = {"group": len(requests), "last_engine": engine, "updated_at": Now()}
    ordered = sorted(requests)
    for start in range(0, len(ordered), SLICE):
        some = ordered[start : start + SLICE]
        with transaction.atomic():
            rows = Suspect.objects.filter(request__in=some)
            known = set(rows.values_list("request", flat=True))
            rows.update(
                deaths=F("deaths") + 1,
                lonely_deaths=F("lonely_deaths") + alone,
                **last,
            )
            Suspect.objects.bulk_create(
                Suspect(
                    request_id=request,
                    deaths=1,
                    lonely_deaths=alone,
                    group=len(requests),
                    last_engine=engine,
                )
                for request in some
                if request not in known
            )


def still_running(batches: Collection[int]) -> set[int]:
    """Which of these batches may go on submitting requests."""
    with connection.cursor() as cursor:
        running = Batch.Status.IN_PROGRESS.value
        cursor.execute(_running_sql(len(batches)), [running, *batches])
        return {key for (key,) in cursor.fetchall()}


@cache
def _running_sql(count: int) -> str:
    """Asks which of so many batches are running, by that status and their keys."""
    keys = [-n for n in range(count)]
    running = Batch.objects.running().filter(pk__in=keys).order_by()
    return sql_of(running.values("pk"), Batch.Status.IN_PROGRESS, *keys)
