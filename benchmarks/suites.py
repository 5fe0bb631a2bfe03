# SPDX-License-Identifier: Apache-2.0
"""Making suites and new versions of them; a version never changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery
from django.utils import timezone

from batchsite.accounts.models import Team, User
from jobs.auditing import note
from jobs.refusals import Refused
from jobs.row_checks.parameters import bad, title

from .item_lines import Item
from .models import Suite, SuiteItem, SuiteVersion
from .scoring import Metric
from .sources import Source

WRITTEN_AT_ONCE = 500
MOST_VERSIONS = 1000


def create_suite(
    *,
    team: Team,
    name: str,
    source: Source,
    metrics: Sequence[Metric] | None = None,
    user: User | None,
    address: str | None = None,
) -> Suite:
    """A suite with its first version; Refused for a name that the team has already.

    `metrics` are asked of items that have none of their own, instead of the source's.
    All of it is there, or nothing.
    """
    name = title("name", name)
    prepared = _Prepared(source, metrics)
    try:
        with transaction.atomic():
            suite = Suite.objects.create(team=team, name=name, created_by=user)
            version = prepared.write(suite, 1, user)
            note("suite.create", suite, user, address, items=version.count)
    except IntegrityError:
        if not Suite.objects.filter(team=team, name=name).exists():
            raise
        raise bad("name", "the team has a suite of this name.") from None
    return suite


def add_version(
    *,
    suite: Suite,
    source: Source,
    metrics: Sequence[Metric] | None = None,
    user: User | None,
    address: str | None = None,
) -> SuiteVersion:
    """The next version; the newest one itself where nothing is different in it."""
    prepared = _Prepared(source, metrics)
    with transaction.atomic():
        # Two of them are one after the other.
        Suite.objects.select_for_update().get(pk=suite.pk)
        latest = suite.latest
        if latest.number >= MOST_VERSIONS:
            raise bad("suite", f"a suite has {MOST_VERSIONS:,} versions at most.")
        version = prepared.write(suite, latest.number + 1, user)
        if version.sha256 == latest.sha256:
            version.delete()
            return latest
        facts = {"version": version.number, "items": version.count}
        note("suite.change", suite, user, address, **facts)
    return version


def archive_suite(
    *, suite: Suite, user: User | None, archived: bool, address: str | None = None
) -> None:
    """Offer it for no more runs, or again; what was measured with it stays."""
    with transaction.atomic():
        rows = Suite.objects.filter(pk=suite.pk, archived_at__isnull=archived)
        if rows.update(archived_at=timezone.now() if archived else None):
            note("suite.archive" if archived else "suite.restore", suite, user, address)
    suite.refresh_from_db()


class _Prepared:
    """A version's rows, read and checked before a database waits for them."""

    def __init__(self, source: Source, metrics: Sequence[Metric] | None) -> None:
        self.source = source.about
        wanted = source.metrics if metrics is None else metrics
        self.metrics_text = json.dumps([metric.as_json() for metric in wanted])
        self.url = ""
        self.rows: list[SuiteItem] = []
        for index, item in enumerate(source.items):
            self.url = item.url
            self.rows.append(_row(index, item))
        if not self.rows:
            raise Refused("There is no item to make a suite of.", param="items")

    def write(self, suite: Suite, number: int, user: User | None) -> SuiteVersion:
        """Make the version, in the transaction that is open."""
        version = SuiteVersion.objects.create(
            suite=suite,
            number=number,
            url=self.url,
            count=len(self.rows),
            sha256="",
            metrics_text=self.metrics_text,
            source_text=json.dumps(self.source),
            created_by=user,
        )
        digest = hashlib.sha256(self.metrics_text.encode())
        for row in self.rows:
            row.version = version
            digest.update(json.dumps(row.as_line(), sort_keys=True).encode() + b"\n")
        SuiteItem.objects.bulk_create(self.rows, batch_size=WRITTEN_AT_ONCE)
        version.sha256 = digest.hexdigest()
        version.save(update_fields=["sha256"])
        return version


def _row(index: int, item: Item) -> SuiteItem:
    own = item.metrics
    return SuiteItem(
        index=index,
        custom_id=item.custom_id,
        body=json.dumps(item.body),
        reference_text="" if item.reference is None else json.dumps(item.reference),
        metrics_text="" if own is None else json.dumps([m.as_json() for m in own]),
        tags=item.tags,
    )


def newest_of(suites: Sequence[Suite]) -> dict[int, SuiteVersion]:
    """The newest version of each, by the suite's key; one query."""
    newest = SuiteVersion.objects.filter(suite=OuterRef("suite")).order_by("-number")
    rows = SuiteVersion.objects.filter(
        suite__in=suites, number=Subquery(newest.values("number")[:1])
    )
    return {version.suite_id: version for version in rows}


def as_lines(version: SuiteVersion) -> Iterator[bytes]:
    """The version as a file that makes the same suite anywhere."""
    rows = version.items.order_by("index")
    after = -1
    while found := list(rows.filter(index__gt=after)[:WRITTEN_AT_ONCE]):
        for item in found:
            # What holds for all is written at each: a line stands for itself.
            item.version = version
            line = item.as_line()
            line.setdefault("metrics", [m.as_json() for m in version.metrics])
            yield _as_text(line) + b"\n"
        after = found[-1].index


def _as_text(line: dict[str, Any]) -> bytes:
    """As people read it, but for half a surrogate pair, which UTF-8 does not have."""
    try:
        return json.dumps(line, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(line).encode()
