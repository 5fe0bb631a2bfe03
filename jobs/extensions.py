# SPDX-License-Identifier: Apache-2.0
"""What other apps add to the batch service, named in their AppConfig.ready.

Names and not objects: who needs none of it imports none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.db.models import Exists, QuerySet
    from django.db.models.expressions import NegatedExpression

    from batchsite.accounts.models import User
    from jobs.models import Batch, Result


@dataclass(frozen=True, slots=True)
class ResultAct:
    """Something to do with results, for who has the right in the batch's team.

    `view` is the name of an address with the batch's public id. It takes `row` several
    times, or the filter of the page of results, as that page's own address has it.
    """

    words: str
    view: str
    right: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One more number of the first page's strip: a link to what it counts."""

    word: str
    number: int
    address: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A card of the first page: its template, which gets `data`; compared to see changes."""

    template: str
    data: Any


@dataclass(frozen=True, slots=True)
class RowFilter:
    """One more filter of a batch's results; `name` is its member of the address.

    `choices` are what can be asked, as (value, words); it is offered where it `applies`
    to the batch. `places` are the indexes of the results to look at for a value, in
    their order, and None is all of them. `holds` is what is true of a wanted result.
    """

    name: str
    label: str
    choices: Sequence[tuple[str, str]]
    applies: Callable[[Batch], bool]
    places: Callable[[Batch, str], QuerySet[Any, int] | None]
    holds: Callable[[str], Exists | NegatedExpression[Any]]


# Modules with a tuple CHORES of jobs.chores.Chore.
chore_modules: list[str] = []
# Modules with OPERATIONS and SCHEMAS of the API's description, as jobs.api.schema has them.
api_schemas: list[str] = []
# Tabs of a batch after its own: the last word of the address, and the word on it.
batch_tabs: list[tuple[str, str]] = []
# Functions of a user that return a Panel of the first page, or None for nothing to show.
home_panels: list[str] = []
# Functions of a user that return a Tile of the first page, or None for nothing to count.
home_tiles: list[str] = []
# Functions of (user, result) that return a Panel to stand below the answer, or None.
result_panels: list[str] = []
result_acts: list[ResultAct] = []
# Names of RowFilters.
row_filters: list[str] = []


def acts_with_results(user: User, batch: Batch) -> list[ResultAct]:
    """What that person may do with results of the batch, beside what jobs itself offers."""
    from batchsite.accounts import permissions

    role = permissions.role_in(user, batch.team)
    return [
        act
        for act in result_acts
        if permissions.at_least(role, permissions.RIGHTS[act.right])
    ]


def filters_of_rows() -> list[RowFilter]:
    """What other apps filter results by."""
    found: list[Any] = [import_string(name) for name in row_filters]
    return found


def row_filter(name: str) -> RowFilter:
    """The filter of that name."""
    return next(one for one in filters_of_rows() if one.name == name)


def panels_beside(user: User, result: Result) -> list[Panel]:
    """What other apps show that person below an answer."""
    found = (_named(name)(user, result) for name in result_panels)
    return [panel for panel in found if panel is not None]


def panels(user: User) -> list[Panel]:
    """What other apps show that person on the first page."""
    found = (_named(name)(user) for name in home_panels)
    return [panel for panel in found if panel is not None]


def tiles(user: User) -> list[Tile]:
    """What other apps count for that person on the first page."""
    found = (_named(name)(user) for name in home_tiles)
    return [tile for tile in found if tile is not None]


def described() -> list[Any]:
    """The modules that describe more of the API."""
    return [import_module(name) for name in api_schemas]


@cache
def _named(name: str) -> Callable[..., Any]:
    named: Callable[..., Any] = import_string(name)
    return named
