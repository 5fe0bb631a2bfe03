# SPDX-License-Identifier: Apache-2.0
"""Which work comes next: pure functions over plain data, the same for every feeder.

Which model an engine holds meanwhile is turns.py's business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

# A batch whose window ends within this time goes before others of its priority.
AT_RISK_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Work:
    """A batch that could run now, with one model. Times are seconds since the epoch."""

    batch: int
    team: int
    weight: int
    priority: int
    model: str
    created: float
    expires: float


class Shares:
    """The places that teams have at one engine, and what they were given so far.

    `load` are requests in flight; `spent` counts the places given, each over the team's
    weight. It decides where loads are equal: with fewer places than teams that is
    nearly always so, and the oldest or most urgent work would have them all.
    """

    def __init__(self) -> None:
        self.load: Counter[int] = Counter()
        self.spent: dict[int, float] = {}

    def join(self, team: int, beside: Iterable[int]) -> None:
        """A team has work here again, beside the work of these other teams.

        It starts even with who was given least: places that nobody else wanted are no
        debt, and time without work is no credit.
        """
        least = min((self.spent.get(other, 0.0) for other in beside), default=0.0)
        self.spent[team] = max(self.spent.get(team, 0.0), least)

    def give(self, work: Work) -> None:
        """One more place is the team's."""
        self.load[work.team] += 1
        self.spent[work.team] = self.spent.get(work.team, 0.0) + 1 / work.weight

    def take_back(self, work: Work) -> None:
        """A place of the team is free again."""
        self.load[work.team] -= 1


def rank(
    work: Iterable[Work],
    *,
    load: Mapping[int, float],
    now: float,
    spent: Mapping[int, float] | None = None,
) -> list[Work]:
    """The work in the order in which it should get free places.

    Fair share first (`load`: requests in flight a team, over the team's weight; where
    that is equal `spent`, see Shares), then priority, deadline at risk, age. Total and
    deterministic: ties end at the batch id and, in a batch of several models, at the
    model.
    """
    spent = spent or {}

    def key(w: Work) -> tuple[float, float, int, bool, float, int, str]:
        share = load.get(w.team, 0.0) / w.weight
        at_risk = w.expires - now < AT_RISK_SECONDS
        before = spent.get(w.team, 0.0)
        return (share, before, -w.priority, not at_risk, w.created, w.batch, w.model)

    return sorted(work, key=key)


def as_loaded(
    work: Iterable[Work], *, served: Collection[str], loaded: str
) -> set[Work]:
    """The work, where that of all models that an engine serves counts as one's.

    `loaded` stands for itself and the adapters `served` beside it, none of which needs
    a swap.
    """
    return {replace(w, model=loaded) if w.model in served else w for w in work}


def next_claim(
    claimable: Iterable[Work],
    *,
    queued: Mapping[Work, int],
    queued_bytes: int,
    window: int,
    load: Mapping[int, float],
    now: float,
    spent: Mapping[int, float] | None = None,
) -> Work | None:
    """What a feeder should claim a chunk of now; None: enough is here.

    Of each team only its first work counts: what comes later waits for that. For the
    rest see wants_claim().
    """
    seen: set[int] = set()
    for work in rank(claimable, load=load, now=now, spent=spent):
        if work.team in seen:
            continue
        seen.add(work.team)
        if wants_claim(
            work,
            queued=queued,
            queued_bytes=queued_bytes,
            window=window,
            now=now,
        ):
            return work
    return None


def wants_claim(
    work: Work,
    *,
    queued: Mapping[Work, int],
    queued_bytes: int,
    window: int,
    now: float,
    most_rows: int = 2048,
    most_bytes: int = 64_000_000,
) -> bool:
    """Whether a feeder should claim a chunk of `work` now.

    `queued` are the rows that it holds and has not sent, by their work. A window's
    worth of the rows that come next is kept ready for each team, so that neither the
    engine nor a team's share of it ever waits for the database; how places are shared
    changes with each request that ends. Rows of the team that come after `work` do not
    count: ten urgent rows start beside fifty thousand, however many of those are here,
    and however many urgent ones are in flight. What would be the very next may double
    the two bounds of what is held.
    """
    rivals = {w: n for w, n in queued.items() if w.team == work.team}
    order = rank({*rivals, work}, load={}, now=now)
    ahead = sum(rivals.get(w, 0) for w in order[: order.index(work) + 1])
    room = 1 if ahead else 2
    return (
        ahead < window
        and sum(queued.values()) < room * most_rows
        and queued_bytes < room * most_bytes
    )
