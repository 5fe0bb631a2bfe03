# SPDX-License-Identifier: Apache-2.0
"""How pages show runs, cells and shares."""

from __future__ import annotations

from django import template

from benchmarks.models import Cell, Run
from jobs.templatetags.figures import NOTHING

register = template.Library()
# colour, icon and word of a state
CHIPS = {
    "running": ("blue", "load", "running"),
    "waiting": ("", "clock", "waiting"),
    "done": ("green", "check", "done"),
    "failed": ("red", "cross", "failed"),
    "cancelled": ("", "stop", "cancelled"),
}


@register.inclusion_tag("benchmarks/_chip.html")
def state_chip(row: Run | Cell) -> dict[str, str]:
    """The state of a run or a cell, with icon and word."""
    colour, icon, word = CHIPS[row.state]
    return {"colour": colour, "sign": icon, "word": word}


@register.filter
def share(value: float | None) -> str:
    """0.8125 as 81.3 %; a dash for none."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


@register.filter
def points(value: float | None) -> str:
    """A difference of shares, in percentage points with its sign: +4.2."""
    return NOTHING if value is None else f"{100 * value:+.1f}"
