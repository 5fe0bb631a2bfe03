# SPDX-License-Identifier: Apache-2.0
"""How the database would run the queries of a block: what reads a large table whole."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection

# Tables that grow with use and are never small again.
BIG = {
    "accounts_auditevent",
    "jobs_batch",
    "jobs_batchevent",
    "jobs_batchfile",
    "jobs_batchrequest",
    "jobs_chunk",
    "jobs_failurecount",
    "jobs_idempotencykey",
    "jobs_result",
    "jobs_rowoutcome",
    "jobs_throughputsample",
    "jobs_upload",
    "jobs_webhookattempt",
    "jobs_webhookdelivery",
}
# A partial index read from end to end: as small as what runs or waits just now.
SMALL_INDEXES = {
    "batch_active",
    "check_run_open",
    "chunk_leased",
    "delivery_due",
    "file_expiring",
    "upload_pending",
}
# Rows of a large table that one query may read and throw away.
MOST_THROWN_AWAY = 1000
Query = tuple[str, Any]


@contextlib.contextmanager
def queries() -> Iterator[list[Query]]:
    """Collects the block's statements with their parameters, as they go to the driver.

    The text in `connection.queries` has the values in it, and would show SQLite taking
    partial indexes that it does not take for parameters.
    """
    found: list[Query] = []

    def note(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not many and sql.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            found.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield found


def faults(query: Query) -> list[str]:
    """What is wrong with the way in which this database would run it."""
    sql, params = query
    reads = _postgres if connection.vendor == "postgresql" else _sqlite
    return [f"{fault}\n  {sql[:2000]}\n  {params}" for fault in reads(sql, params)]


def _postgres(sql: str, params: Any) -> Iterator[str]:
    # Only what changes nothing is run, for the rows that were read.
    options = "FORMAT JSON, ANALYZE" if sql.startswith("SELECT") else "FORMAT JSON"
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({options}) {sql}", params)
        (found,) = cursor.fetchone()
    plan = json.loads(found) if isinstance(found, str) else found
    for node in _nodes(plan[0]["Plan"]):
        table = node.get("Relation Name")
        if table not in BIG:
            continue
        if node["Node Type"].endswith("Seq Scan"):
            yield f"reads all of {table}"
        thrown = node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1)
        if thrown > MOST_THROWN_AWAY:
            yield f"reads {thrown} rows of {table} in vain"


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


def _sqlite(sql: str, params: Any) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        steps = [row[3] for row in cursor.fetchall()]
    names = {alias: table for table, alias in re.findall(r'"(\w+)" ([UVWT]\d+)\b', sql)}
    for step in steps:
        found = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?", step)
        if found is None:
            continue
        table = names.get(found[1], found[1])
        # In the order of the primary key until enough is found; or the first entry of a
        # partial index, which nothing but its own condition holds back.
        first = rf'FROM "{table}" ORDER BY "{table}"."id" (ASC|DESC) LIMIT'
        if found[2]:
            first += rf"""|FROM "{table}" WHERE "{table}"\."\w+" = '\w+' ORDER BY "\w+"\."\w+" ASC LIMIT 1$"""
        if (
            table in BIG
            and found[2] not in SMALL_INDEXES
            and not re.search(first, sql)
            and "INSERT" not in sql[:6]
        ):
            yield step
