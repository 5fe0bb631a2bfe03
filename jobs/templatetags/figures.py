# SPDX-License-Identifier: Apache-2.0
"""How figures, times and states are written on every page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs.durations import duration as in_words
from jobs.models import Batch, BatchEvent, Engine

register = template.Library()

Status = Batch.Status
# status: (icon, colour, word)
BATCH_CHIPS = {
    Status.VALIDATING: ("eye", "blue", "validating"),
    Status.IN_PROGRESS: ("play", "blue", "running"),
    Status.FINALIZING: ("pen", "blue", "finalizing"),
    Status.COMPLETED: ("check", "green", "completed"),
    Status.FAILED: ("cross", "red", "failed"),
    Status.EXPIRED: ("clock", "amber", "expired"),
    Status.CANCELLING: ("load", "amber", "cancelling"),
    Status.CANCELLED: ("stop", "plain", "cancelled"),
}
State = Engine.State
ENGINE_CHIPS = {
    State.READY: ("check", "green", "ready"),
    State.LOADING: ("load", "amber", "loading"),
    State.DRAINING: ("load", "amber", "draining"),
    State.STOPPING: ("load", "amber", "stopping"),
    State.STOPPED: ("off", "plain", "stopped"),
    State.FAILED: ("cross", "red", "failed"),
}
# What the history of a batch has beside changes of its status.
EVENT_WORDS = {
    "paused": "paused",
    "resumed": "resumed",
    "priority": "priority changed",
    "deadline": "deadline changed",
    "changed": "changed",
    "progress": "progress",
    "checks_added": "checks added",
    "deleted": "deleted",
    "restored": "restored",
    "deadline_at_risk": "deadline at risk",
    "stalled": "stalled",
    "stall_ended": "no longer stalled",
    "refused": "refused by an engine",
    "stage_failed": "failure of the site, tried again",
    "stage_waits": "waits for disk space",
}
NOTHING = "\N{EN DASH}"
# A failed row among fifty thousand must still be seen.
THINNEST = 0.5


@register.simple_tag
def icon(name: str) -> SafeString:
    """A symbol of the sprite, hidden from screen readers: words say the same."""
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"></use></svg>',
        static("icons.svg"),
        name,
    )


@register.inclusion_tag("jobs/_status_chip.html")
def batch_chip(batch: Batch) -> dict[str, str]:
    """The batch's status as icon and word."""
    picture, colour, word = BATCH_CHIPS[Status(batch.status)]
    if batch.paused and batch.status == Status.IN_PROGRESS:
        picture, colour, word = "pause", "amber", "paused"
    return {"picture": picture, "colour": colour, "word": word}


@register.inclusion_tag("jobs/_status_chip.html")
def engine_chip(engine: Engine, alive: bool) -> dict[str, str]:
    """The engine's state as icon and word; the last one written by a dead host is void."""
    picture, colour, word = ENGINE_CHIPS[State(engine.state)]
    if not alive:
        picture, colour, word = "off", "red", "not running"
        if engine.kind == Engine.Kind.EXTERNAL:
            word = "no worker"
    return {"picture": picture, "colour": colour, "word": word}


@register.inclusion_tag("jobs/_progress.html")
def progress_bar(batch: Batch) -> dict[str, Any]:
    """Done, failed and what is left as one bar, in hundredths of its width."""
    total = batch.total or 1
    # Rows that never ran count as failed when a batch is cut short; the bar then
    # shows what was answered and no red.
    cut_short = batch.status in (Status.CANCELLED, Status.EXPIRED)
    failed = 0.0 if cut_short else batch.failed * 100 / total
    if failed:
        failed = max(failed, THINNEST)
    done = min(batch.completed * 100 / total, 100 - failed)
    return {"batch": batch, "done": f"{done:.2f}", "failed": f"{failed:.2f}"}


@register.filter
def thousands(number: float | None) -> str:
    """1234567 as 1,234,567; a dash for None."""
    return NOTHING if number is None else f"{number:,.0f}"


@register.filter
def percent(part: float | None) -> str:
    """0.813 as 81 %; never 100 % before the end."""
    return NOTHING if part is None else f"{int(part * 100 + 1e-9)} %"


@register.filter
def milliseconds(count: int) -> str:
    """A latency as `320 ms` or `4.1 s`."""
    return f"{count} ms" if count < 1000 else f"{count / 1000:,.1f} s"


@register.filter
def size(count: int | None) -> str:
    """Bytes in decimal units: 70 GB."""
    if count is None:
        return NOTHING
    amount = float(count)
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        del units[0]
    unit = units[0]
    digits = 1 if unit != "bytes" and amount < 10 else 0
    return f"{amount:.{digits}f} {unit}"


@register.filter
def duration(span: timedelta | float | None) -> str:
    """Seconds or a timedelta in at most two units: 1 h 40 min."""
    if span is None:
        return NOTHING
    return in_words(span.total_seconds() if isinstance(span, timedelta) else span)


def minutes(span: timedelta) -> str:
    """In whole minutes, one at least: `4 min`; what is polled changes rarely then."""
    return duration(max(span // timedelta(minutes=1), 1) * 60)


@register.filter
def stalled_for(batch: Batch) -> str:
    """How long its requests have been in flight without an answer; "" if they are not."""
    if batch.stalled_since is None:
        return ""
    return minutes(timezone.now() - batch.stalled_since)


def ago(moment: datetime, now: datetime) -> str:
    """How long ago in one unit; live.js keeps these words current."""
    seconds = int((now - moment).total_seconds())
    if seconds < 0:
        return f"in {duration(-seconds)}"
    if seconds < 60:
        return f"{seconds} s ago" if seconds >= 5 else "just now"
    if seconds < 3600:
        return f"{seconds // 60} min ago"
    if seconds < 86_400:
        return f"{seconds // 3600} h ago"
    return f"{seconds // 86_400} d ago"


@register.filter
def when(moment: datetime | None) -> SafeString | str:
    """A moment as `4 min ago`, with the full date and time (UTC) on hover."""
    if moment is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}" data-ago>{}</time>',
        moment.isoformat(),
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        ago(moment, timezone.now()),
    )


@register.filter
def clock(moment: datetime | None) -> SafeString | str:
    """A moment as `26 Nov 14:02:31`, below a heading that names the time zone."""
    return _clock(moment, "%b %H:%M:%S")


@register.filter
def zoned_clock(moment: datetime | None) -> SafeString | str:
    """A moment as `26 Nov 14:02:31 CET`, where no heading names the time zone."""
    return _clock(moment, "%b %H:%M:%S %Z")


@register.filter
def short_clock(moment: datetime) -> str:
    """A moment under a picture: `14:02`, or `26 Nov` of more than two days ago."""
    local = timezone.localtime(moment)
    if timezone.now() - moment > timedelta(days=2):
        return f"{local.day} {local:%b}"
    return f"{local:%H:%M}"


def _clock(moment: datetime | None, form: str) -> SafeString | str:
    """The day and the rest in `form`, with the full date and time (UTC) on hover."""
    if moment is None:
        return NOTHING
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"{local.day} {local:{form}}",
    )


@register.filter
def printable(text: object) -> str:
    """Text of strangers made safe to send: lone surrogates and controls replaced.

    Escaping for HTML stays the template's work.
    """
    sound = str(text).encode("utf-8", "replace").decode()
    return "".join(
        char
        if char in "\n\t" or (char >= " " and char != "\x7f")
        else "\N{REPLACEMENT CHARACTER}"
        for char in sound
    )


@register.filter
def short(code: str) -> str:
    """The first characters of a public id, enough to tell ids apart by eye."""
    return code if len(code) <= 16 else f"{code[:14]}…"


@register.filter
def title_of(batch: Batch) -> str:
    """What people call the batch: its name, else its input file's, else its id."""
    named = batch.name or (batch.input_file.filename if batch.input_file else "")
    return printable(named or batch.public_id)


@register.filter
def answered(batch: Batch) -> int:
    """Requests that have a result, good or bad."""
    return batch.completed + batch.failed


@register.filter
def lasted(batch: Batch) -> timedelta:
    """From creation to the final status, or until now."""
    return (batch.ended_at or timezone.now()) - batch.created_at


@register.filter
def status_word(status: str) -> str:
    """The word that the chip of this status shows."""
    return BATCH_CHIPS[Status(status)][2] if status in BATCH_CHIPS else status


@register.filter
def has_bad_lines(batch: Batch) -> bool:
    """Whether a failed batch has errors of lines, and not one of the whole."""
    errors = (batch.errors or {}).get("data") or []
    return any(error.get("line") is not None for error in errors)


@register.filter
def models_word(batch: Batch) -> str:
    """The batch's model, or that it has several; a dash before that is known."""
    if not batch.model and batch.allow_mixed_models and batch.total:
        return "several models"
    return printable(batch.model) or NOTHING


@register.filter
def window(batch: Batch) -> timedelta:
    """From creation to the deadline."""
    return batch.expires_at - batch.created_at


@register.filter
def event_word(event: BatchEvent) -> str:
    """What happened, as the history says it."""
    if event.new_status:
        return status_word(event.new_status)
    return EVENT_WORDS.get(event.kind, event.kind.replace("_", " "))
