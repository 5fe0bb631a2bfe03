# SPDX-License-Identifier: Apache-2.0
"""Many rows of a busy site, made by the database itself within seconds.

Neither files nor intake stand behind them: they are for looking at queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.models import Model
from django.utils import timezone

from batchsite.accounts.models import Team
from jobs.models import Batch, BatchFile, Engine, EngineModel, ServedModel

# Both databases know no other way to count in common.
NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {end}) "
BODY = (
    '{"model": "tiny", "max_tokens": 16, "messages": [{"role": "user", "content": "say '
)
ANSWER = (
    '{"choices": [{"index": 0, "message": {"role": "assistant", "content": "said"}}]}'
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is; `answered` is the part of each batch that has results.

    Every tenth of these failed. `copies` of its first row come on top. Bodies and
    answers have about `length` characters.
    """

    teams: int = 4
    batches: int = 200
    rows: int = 1000
    chunk: int = 256
    answered: float = 0.1
    copies: int = 0
    length: int = 100
    engines: int = 1

    @property
    def done(self) -> int:
        """Answered rows of a batch, in whole chunks."""
        return int(self.rows * self.answered) // self.chunk * self.chunk


def fill(sizes: Sizes) -> list[Batch]:
    """Batches that run, with their requests, chunks and results, and their engines."""
    teams = [
        Team.objects.get_or_create(name=f"Team {n}")[0] for n in range(sizes.teams)
    ]
    model, _ = ServedModel.objects.get_or_create(name="tiny")
    for n in range(sizes.engines):
        engine, _ = Engine.objects.get_or_create(
            name=f"host{n}", kind="external", base_url=f"http://127.0.0.1:9/{n}"
        )
        EngineModel.objects.get_or_create(
            engine=engine, served_model=model, defaults={"remote_name": "tiny"}
        )
    batches = [batch_of(teams[n % len(teams)], sizes) for n in range(sizes.batches)]
    Batch.objects.bulk_create(batches, batch_size=500)
    for batch in batches:
        fill_batch(batch.pk, sizes)
    return batches


def batch_of(team: Team, sizes: Sizes, **over: object) -> Batch:
    """A running batch of that size; not saved."""
    now = timezone.now()
    columns: dict[str, object] = {
        "endpoint": "/v1/chat/completions",
        "input_file_ref": "file-none",
        "model": "tiny",
        "status": Batch.Status.IN_PROGRESS,
        "in_progress_at": now,
        "created_at": now,
        "expires_at": now + timedelta(days=1),
        "total": sizes.rows + sizes.copies,
        "completed": sizes.done - sizes.done // 10,
        "failed": sizes.done // 10,
        "result_seq": sizes.done,
    }
    return Batch(team=team, **columns | over)


def ended_batches(team: Team, count: int, *, days: int = 40) -> None:
    """Batches and files of the past, without requests."""
    then = timezone.now() - timedelta(days=days)
    file = BatchFile.objects.create(
        team=team,
        filename="past.jsonl",
        purpose="batch",
        bytes=1,
        sha256="0" * 64,
        storage_name="none/past",
        created_at=then,
    )
    batch = batch_of(
        team,
        Sizes(rows=0),
        status=Batch.Status.COMPLETED,
        closing_reason=Batch.ClosingReason.DONE,
        closed_at=then,
        created_at=then,
        completed_at=then,
    )
    batch.save(force_insert=True)
    number = "SUBSTR('{zeros}' || n, LENGTH('' || n) + 1)".format(zeros="0" * 32)
    _copy(file, count, public_id=f"'file-' || {number}", storage_name="'none/' || n")
    _copy(batch, count, public_id=f"'batch_' || {number}")


def _copy(row: Model, count: int, **over: str) -> None:
    """Copies of a row; `over` gives columns other values, as SQL that may use n."""
    table = row._meta.db_table
    fields = row._meta.concrete_fields
    columns = [f.column or f.name for f in fields if not f.primary_key]
    values = [over.get(column, f'"{table}"."{column}"') for column in columns]
    names = ", ".join(f'"{column}"' for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({names}) '
            + NUMBERS.format(first=0, end=count)
            + f'SELECT {", ".join(values)} FROM "{table}", numbers WHERE "{table}".id = %s',
            [row.pk],
        )


def fill_batch(batch: int, sizes: Sizes) -> None:
    """The requests of one batch, its chunks, and results of its first chunks."""
    with connection.cursor() as cursor:
        cursor.execute(
            'INSERT INTO jobs_batchrequest (batch_id, "index", line, custom_id, url,'
            " model, body, run_order) "
            + NUMBERS.format(first=0, end=sizes.rows)
            + "SELECT %s, n, n + 1, 'request-' || n, '/v1/chat/completions', 'tiny',"
            " %s || n || '\"}]}', n FROM numbers",
            [batch, BODY + "." * (sizes.length - len(BODY))],
        )
        if sizes.copies:
            cursor.execute(
                'INSERT INTO jobs_batchrequest (batch_id, "index", line, custom_id, url,'
                " model, body, duplicate_of_id) "
                + NUMBERS.format(first=sizes.rows, end=sizes.rows + sizes.copies)
                + "SELECT %s, n, n + 1, 'copy-' || n, '/v1/chat/completions', 'tiny',"
                " '{}', (SELECT id FROM jobs_batchrequest WHERE batch_id = %s"
                " AND run_order = 0) FROM numbers",
                [batch, batch],
            )
        cursor.execute(
            'INSERT INTO jobs_chunk (batch_id, model, start, "end", state, lease_epoch,'
            " leased_by, attempts) "
            + NUMBERS.format(first=0, end=-(-sizes.rows // sizes.chunk))
            + "SELECT %s, 'tiny', n * %s,"
            " CASE WHEN (n + 1) * %s < %s THEN (n + 1) * %s ELSE %s END,"
            " CASE WHEN n * %s < %s THEN 'done' ELSE 'pending' END, 0, '', 0"
            " FROM numbers",
            [
                *(batch, sizes.chunk, sizes.chunk, sizes.rows),
                *(sizes.chunk, sizes.rows, sizes.chunk, sizes.done),
            ],
        )
        cursor.execute(
            'INSERT INTO jobs_result (request_id, batch_id, "index", seq, outcome,'
            " status_code, engine_request_id, body, error_code, error_message,"
            " error_class, finish_reason, input_tokens, cached_tokens, output_tokens,"
            " reasoning_tokens, attempts, provenance, created_at) "
            'SELECT id, batch_id, "index", run_order + 1,'
            " CASE WHEN run_order %% 10 = 9 THEN 'failed' ELSE 'completed' END,"
            " CASE WHEN run_order %% 10 = 9 THEN 400 ELSE 200 END,"
            " '', %s, '', '',"
            " CASE WHEN run_order %% 10 = 9 THEN 'http_400' ELSE '' END,"
            " CASE WHEN run_order %% 10 = 9 THEN '' ELSE 'stop' END, 8, 0, 16, 0, 1, '{}', CURRENT_TIMESTAMP"
            " FROM jobs_batchrequest WHERE batch_id = %s AND run_order < %s",
            [ANSWER.ljust(sizes.length), batch, sizes.done],
        )


def checked(batch: int) -> None:
    """A check of that batch, and what it said of all results: every tenth failed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO jobs_rowcheck (batch_id, position, name, kind, params,"
            " checked_seq, passed, failed, not_applicable, errors)"
            " SELECT id, 0, 'valid', 'json', '{}', result_seq, result_seq, 0, 0, 0"
            " FROM jobs_batch WHERE id = %s",
            [batch],
        )
        cursor.execute(
            "INSERT INTO jobs_checkrun (batch_id, epoch, free_at, done)"
            " VALUES (%s, 0, CURRENT_TIMESTAMP, %s)",
            [batch, False],
        )
        cursor.execute(
            'INSERT INTO jobs_rowoutcome (result_id, batch_id, "index", letters, reasons,'
            " failed, flagged)"
            ' SELECT id, batch_id, "index",'
            " CASE WHEN seq %% 10 = 0 THEN 'f' ELSE 'p' END, '',"
            " CASE WHEN seq %% 10 = 0 THEN 1 ELSE 0 END, seq %% 10 = 0"
            " FROM jobs_result WHERE batch_id = %s",
            [batch],
        )
    Batch.objects.filter(pk=batch).update(check_count=1)


def history() -> None:
    """What past batches leave behind: events, deliveries, uploads, keys and samples."""
    with connection.cursor() as cursor:
        for kind in ("created", "in_progress", "completed"):
            cursor.execute(
                "INSERT INTO jobs_batchevent (batch_id, kind, old_status, new_status,"
                " message, created_at)"
                " SELECT id, %s, '', '', '', created_at FROM jobs_batch",
                [kind],
            )
        cursor.execute(
            "INSERT INTO jobs_webhookdelivery (public_id, team_id, event_id, batch_id,"
            " type, url, payload, state, attempts_made, next_attempt_at, created_at)"
            " SELECT 'msg-' || e.id, b.team_id, e.id, b.id, 'batch.completed',"
            " 'https://hooks.example.net/', '{}', 'delivered', 1, b.created_at,"
            " b.created_at FROM jobs_batchevent e JOIN jobs_batch b ON b.id = e.batch_id"
            " WHERE e.kind = 'completed'"
        )
        cursor.execute(
            "INSERT INTO jobs_webhookattempt (delivery_id, status_code, response, error,"
            " duration_ms, created_at)"
            " SELECT id, 200, '', '', 5, created_at FROM jobs_webhookdelivery"
        )
        cursor.execute(
            "INSERT INTO jobs_idempotencykey (team_id, key, fingerprint, batch_id,"
            " created_at) SELECT team_id, 'key-' || id, '', id, CURRENT_TIMESTAMP"
            " FROM jobs_batch"
        )
        cursor.execute(
            "INSERT INTO jobs_upload (public_id, team_id, filename, purpose, mime_type,"
            " bytes, status, created_at, expires_at)"
            " SELECT 'upload-' || id, team_id, '', 'batch', '', 1, 'cancelled',"
            " created_at, created_at FROM jobs_batch"
        )
        cursor.execute(
            "INSERT INTO jobs_failurecount (batch_id, error_class, hour, rows, newest_at)"
            " SELECT id, 'http_400', created_at, 1, created_at FROM jobs_batch"
        )
        now = timezone.now()
        for minute in range(60):
            cursor.execute(
                "INSERT INTO jobs_throughputsample (batch_id, engine_id, at, seconds,"
                " rows, input_tokens, output_tokens, engine_seconds, request_seconds,"
                " resolution) SELECT b.id, e.id, %s, 10, 1, 1, 1, 5, 5, 10"
                " FROM jobs_batch b JOIN jobs_engine e ON e.id %% 20 = b.id %% 20"
                " WHERE b.id %% 60 = %s",
                [now - timedelta(minutes=minute), minute],
            )


def vacuum() -> None:
    """What PostgreSQL's autovacuum does within a minute of such a load."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
