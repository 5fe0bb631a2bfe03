# SPDX-License-Identifier: Apache-2.0
"""What pairwise votes say: win rates, the pull of a side, and a ranking of all.

Plain functions of votes, without a database.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.statistics import Interval, fair_coin, wilson

MOST_ROUNDS = 10_000
CLOSE_ENOUGH = 1e-10
# Of each one against each other, ties as halves.
Wins = dict[str, defaultdict[str, float]]


@dataclass(frozen=True, slots=True)
class Vote:
    """One comparison: who stood left and right, and who won; None is a tie."""

    left: str
    right: str
    winner: str | None


@dataclass(frozen=True, slots=True)
class WinRate:
    """Of `first` against `second`; a tie is half a win. `rate` and bounds are 0 to 1."""

    first: str
    second: str
    wins: int
    losses: int
    ties: int
    rate: float
    interval: Interval

    @property
    def votes(self) -> int:
        """How many comparisons there were."""
        return self.wins + self.losses + self.ties


@dataclass(frozen=True, slots=True)
class PositionBias:
    """How often the left one won, ties apart; `p` is that of a fair coin."""

    left: int
    right: int
    share: float
    p: float

    @property
    def decided(self) -> int:
        """How many comparisons somebody won."""
        return self.left + self.right


@dataclass(frozen=True, slots=True)
class Strength:
    """Bradley-Terry strength: log odds against the average one."""

    name: str
    strength: float
    votes: int


def win_rates(votes: Iterable[Vote]) -> list[WinRate]:
    """Each two that were compared, by name."""
    found: dict[tuple[str, str], Counter[str | None]] = {}
    for vote in votes:
        first, second = sorted((vote.left, vote.right))
        found.setdefault((first, second), Counter())[vote.winner] += 1
    made = []
    for (first, second), counts in sorted(found.items()):
        wins, losses, ties = counts[first], counts[second], counts[None]
        total = wins + losses + ties
        score = wins + ties / 2
        made.append(
            WinRate(
                first,
                second,
                wins,
                losses,
                ties,
                score / total,
                wilson(score, total),
            )
        )
    return made


def position_bias(votes: Iterable[Vote]) -> PositionBias | None:
    """Whether a side wins by being that side; None without a vote that decided.

    The two-sided exact binomial test against one half: Conover, W. J. (1999).
    Practical Nonparametric Statistics (3rd ed.), section 3.1.
    """
    decided = [vote for vote in votes if vote.winner is not None]
    if not decided:
        return None
    left = sum(vote.winner == vote.left for vote in decided)
    count = len(decided)
    return PositionBias(left, count - left, left / count, fair_coin(left, count))


def bradley_terry(votes: Sequence[Vote]) -> list[Strength] | None:
    """The strengths that make the votes most likely, strongest first; their mean is 0.

    A tie is half a win of each. None where no strengths are the most likely ones: some
    of those compared never lost, or never won, against all others together.

    Bradley, R. A. & Terry, M. E. (1952). Rank analysis of incomplete block designs.
    Biometrika 39, 324-345. The iteration: Hunter, D. R. (2004). MM algorithms for
    generalized Bradley-Terry models. The Annals of Statistics 32(1), 384-406.
    """
    names = sorted({name for vote in votes for name in (vote.left, vote.right)})
    beaten: Wins = {name: defaultdict(float) for name in names}
    for vote in votes:
        for one, other in ((vote.left, vote.right), (vote.right, vote.left)):
            won = 0.5 if vote.winner is None else float(vote.winner == one)
            if won:
                beaten[one][other] += won
    if len(names) < 2 or not _connected(names, beaten):
        return None
    met = {
        name: {o: beaten[name][o] + beaten[o][name] for o in names if o != name}
        for name in names
    }
    odds = dict.fromkeys(names, 1.0)
    for _ in range(MOST_ROUNDS):
        new = {
            name: sum(beaten[name].values())
            / sum(n / (odds[name] + odds[o]) for o, n in met[name].items() if n)
            for name in names
        }
        mean = math.exp(sum(math.log(value) for value in new.values()) / len(names))
        new = {name: value / mean for name, value in new.items()}
        change = max(abs(new[name] / odds[name] - 1) for name in names)
        odds = new
        if change < CLOSE_ENOUGH:
            break
    made = [
        Strength(name, math.log(odds[name]), round(sum(met[name].values())))
        for name in names
    ]
    return sorted(made, key=lambda one: (-one.strength, one.name))


def _connected(names: Sequence[str], beaten: Wins) -> bool:
    """Whether a chain of wins leads from each to every other one (Ford, 1957)."""
    won = {n: [o for o in names if beaten[n][o]] for n in names}
    lost = {n: [o for o in names if beaten[o][n]] for n in names}
    for way in (won, lost):
        seen, todo = {names[0]}, [names[0]]
        while todo:
            fresh = [o for o in way[todo.pop()] if o not in seen]
            seen.update(fresh)
            todo += fresh
        if len(seen) != len(names):
            return False
    return True
