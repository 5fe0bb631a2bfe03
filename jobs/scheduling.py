# SPDX-License-Identifier: Apache-2.0
"""Which work comes next: pure functions over plain data, the same for every feeder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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


def rank(work: Iterable[Work], *, load: Mapping[int, float], now: float) -> list[Work]:
    """The work in the order in which it should get free places.

    Fair share first (`load`: requests in flight a team, over the team's weight), then
    priority, deadline at risk, age. Total and deterministic: ties end at the batch id
    and, in a batch of several models, at the model.
    """

    def key(w: Work) -> tuple[float, int, bool, float, int, str]:
        share = load.get(w.team, 0.0) / w.weight
        at_risk = w.expires - now < AT_RISK_SECONDS
        return (share, -w.priority, not at_risk, w.created, w.batch, w.model)

    return sorted(work, key=key)


def as_loaded(
    work: Iterable[Work], *, served: Collection[str], loaded: str
) -> set[Work]:
    """The work, where that of all models that an engine serves counts as one's.

    `loaded` stands for itself and the adapters `served` beside it, none of which needs
    a swap.
    """
    return {replace(w, model=loaded) if w.model in served else w for w in work}


def choose_model(
    ranked: Sequence[Work],
    *,
    loaded: str | None,
    loaded_since: float,
    now: float,
    patience: float,
) -> str | None:
    """The model that an engine which holds one at a time should hold.

    Stays with the loaded model while that has work, unless another model's work is
    older than `patience` seconds and the loaded one had the engine for as long. The
    batch whose work for the loaded model comes next waits for nothing: it is served.
    None: nothing to do, keep what is loaded.
    """
    if not ranked:
        return None
    if loaded is None or all(w.model != loaded for w in ranked):
        return ranked[0].model
    served = next(w.batch for w in ranked if w.model == loaded)
    waiting = [w for w in ranked if w.model != loaded and w.batch != served]
    overdue = [w for w in waiting if now - w.created > patience]
    if overdue and now - loaded_since > patience:
        return min(overdue, key=lambda w: (w.created, w.batch)).model
    return loaded


def wants_claim(
    work: Work,
    *,
    queued: Mapping[Work, int],
    queued_bytes: int,
    window: int,
    load: Mapping[int, float],
    now: float,
    most_rows: int = 2048,
    most_bytes: int = 64_000_000,
) -> bool:
    """Whether a feeder should claim a chunk of `work` now.

    `queued` are the rows that it holds and has not sent, by their work. A window's
    worth of the rows that come next is kept ready, so that the engine never waits for
    the database. Rows that come after `work` do not count: ten urgent rows start beside
    fifty thousand, however many of those are here, and however many urgent ones are in
    flight. A team that has rows here is measured by them alone, for how places are
    shared changes with each request that ends. What would be the very next may double
    the two bounds of what is held.
    """
    rivals = {w: n for w, n in queued.items() if w.team == work.team} or queued
    order = rank({*rivals, work}, load=load, now=now)
    ahead = sum(rivals.get(w, 0) for w in order[: order.index(work) + 1])
    room = 1 if ahead else 2
    return (
        ahead < window
        and sum(queued.values()) < room * most_rows
        and queued_bytes < room * most_bytes
    )
