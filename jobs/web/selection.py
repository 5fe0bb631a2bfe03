# SPDX-License-Identifier: Apache-2.0
"""Some results of a batch, named in an address: chosen rows, or all that a filter leaves."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.http import QueryDict

from jobs.models import Batch, BatchRequest
from jobs.result_search import FAILED, ResultFilter, search

from .addresses import whole
from .result_filters import ResultFilterForm

MOST_CHOSEN = 1000
READ_AT_ONCE = 500


class Unclear(ValueError):
    """The address does not say which results; why, in words."""


@dataclass(frozen=True)
class Selection:
    """Rows by their index, or a filter; `query` names the same in an address."""

    batch: Batch
    wanted: ResultFilter = FAILED
    rows: list[int] = field(default_factory=list)
    query: str = ""

    @property
    def words(self) -> str:
        """What it is, for people: `the 37 requests that failed with http_400`."""
        if self.rows:
            return (
                f"{len(self.rows):,} chosen request{'s' if len(self.rows) != 1 else ''}"
            )
        if self.wanted == FAILED:
            return f"the {self.batch.failed:,} failed requests"
        if self.wanted == ResultFilter(error_class=self.wanted.error_class):
            return f"the requests that failed with {self.wanted.error_class}"
        return "all requests that the filter leaves"

    def custom_ids(self) -> list[str] | None:
        """The rows' custom ids in input order; None for simply all failed ones.

        Reads the whole batch where a filter has no index: for what people start, not
        for pages.
        """
        if self.rows:
            found = BatchRequest.objects.filter(batch=self.batch, index__in=self.rows)
            return list(found.order_by("index").values_list("custom_id", flat=True))
        if self.wanted == FAILED:
            return None
        ids: list[str] = []
        after, ended = -1, False
        while not ended:
            found_rows = search(
                self.batch, self.wanted, after=after, limit=READ_AT_ONCE, seconds=10.0
            )
            ids += [one.request.custom_id for one in found_rows.rows]
            after, ended = found_rows.reached, found_rows.ended
        return ids


def selection(batch: Batch, query: QueryDict) -> Selection:
    """What the address names: `row` several times, else a filter, else what failed.

    Unclear when it cannot be understood.
    """
    named = query.getlist("row")
    if named:
        rows = sorted({whole(text, default=-1) for text in named[: MOST_CHOSEN + 1]})
        if rows[0] < 0 or len(rows) > MOST_CHOSEN:
            raise Unclear(f"Choose up to {MOST_CHOSEN:,} rows of this batch.")
        again = QueryDict(mutable=True)
        again.setlist("row", [str(row) for row in rows])
        return Selection(batch, rows=rows, query=again.urlencode())
    form = ResultFilterForm(query, batch=batch)
    wanted = form.wanted()
    if wanted is None:
        raise Unclear("This filter cannot be understood: open the results anew.")
    if wanted.is_empty:
        return Selection(batch)
    return Selection(batch, wanted, query=form.query().removeprefix("?"))
