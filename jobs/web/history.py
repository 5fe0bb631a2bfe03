# SPDX-License-Identifier: Apache-2.0
"""An engine's last events as its card tells them."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.engines.timeline import Swap, swaps
from jobs.models import Engine, EngineEvent
from jobs.templatetags.figures import duration, printable

State = Engine.State
Kind = EngineEvent.Kind
SHOWN = 20
# A swap that ends in the first line shown began at most so many events before.
LED_UP = 10
MOST_REASON = 400

NAMES = {
    Kind.DIED: "died",
    Kind.HUNG: "hung and was ended",
    Kind.LOAD_FAILED: "did not load",
    Kind.PAUSED: "given up; paused until a person lets it go on",
    Kind.RESUMED: "a person let it go on",
    Kind.MEMORY: "started with memory in use",
    Kind.HOST: "its host started",
    Kind.ASK_PAUSE: "paused",
    Kind.ASK_DRAIN: "drained",
    Kind.ASK_RESUME: "resumed",
    Kind.ASK_RESTART: "told to restart",
}
WELCOME = (Kind.RESUMED, Kind.HOST)
ASKED = (Kind.ASK_PAUSE, Kind.ASK_DRAIN, Kind.ASK_RESUME, Kind.ASK_RESTART)
STEPS = {State.DRAINING: "drained", State.STOPPING: "stopped", State.STOPPED: "waited"}


@dataclass(frozen=True)
class Line:
    """One event in words; `bad` ones want an eye."""

    event: EngineEvent
    words: str
    detail: str = ""
    bad: bool = False


def history(engine: Engine) -> list[Line]:
    """The engine's last 20 events, newest first; one query."""
    newest = engine.events.order_by("-id")[: SHOWN + LED_UP]
    events = list(reversed(newest))
    ended = {swap.end: swap for swap in swaps(events)}
    lines = [_line(event, ended.get(event.pk)) for event in events[-SHOWN:]]
    return lines[::-1]


def _line(event: EngineEvent, swap: Swap | None) -> Line:
    kind = Kind(event.kind)
    if kind in ASKED:
        by = printable(event.by) or "a command"
        return Line(event, f"{NAMES[kind]} by {by}", printable(event.reason))
    if kind is not Kind.MOVED:
        bad = kind not in WELCOME
        reason = printable(event.reason)[:MOST_REASON] if bad else ""
        return Line(event, NAMES[kind], reason, bad)
    if event.new_state == State.READY and event.old_state == State.LOADING:
        words = f"loaded {printable(event.model)} in {seconds(event.seconds)}"
        return Line(event, words, _told(swap) if swap else "")
    if event.new_state == State.LOADING:
        model = printable(event.model)
        return Line(event, f"starts {model}", f"start no. {event.generation}")
    words = event.new_state
    if event.new_state == State.STOPPED and event.old_state == State.STOPPING:
        words = f"stopped in {seconds(event.seconds)}"
        return Line(event, words)
    if event.old_state == State.READY:
        words = f"{words} after it was ready for {seconds(event.seconds)}"
    elif event.old_state == State.DRAINING:
        words = f"{words}; drained in {seconds(event.seconds)}"
    bad = event.new_state == State.FAILED
    return Line(event, words, printable(event.reason)[:MOST_REASON], bad)


def _told(swap: Swap) -> str:
    """How long a swap took, and what of it was not loading."""
    steps = ", ".join(
        f"{word} {seconds(swap.seconds[state])}"
        for state, word in STEPS.items()
        if state in swap.seconds
    )
    return (
        f"the swap from {printable(swap.old)} took {seconds(swap.total)},"
        f" {seconds(swap.overhead)} of it not loading: {steps}"
    )


def seconds(span: float | None) -> str:
    """A duration with a tenth where a second is much."""
    return f"{span:.1f} s" if span is not None and span < 10 else duration(span)
