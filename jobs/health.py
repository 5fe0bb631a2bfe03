# SPDX-License-Identifier: Apache-2.0
"""Whether an engine may take new requests, by readings of its GPUs and disks; pure.

A reading becomes a Sign, and signs open and close Gates. A gate closes at a limit and
opens beyond a milder one that has held for some seconds: a reading that swings around
the limit does not swing the engine. A closed gate keeps claims, not what is in flight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# What opens a gate is so much milder than what closes it.
COOLER = 8
LESS_MEMORY = 0.8
MORE_DISK = 1.2
# Of a GPU that does not tell its own; most slow down between 85 and 95 °C.
USUAL_SLOWDOWN = 90
# Ended closures are shown so long, and so many of them.
SHOWN_SECONDS = 24 * 3600
SHOWN = 5
# A database that hesitates for less is no news.
NOTABLE_SECONDS = 3
GB = 1e9


@dataclass(frozen=True, slots=True)
class Limits:
    """Where gates close; 0 and False leave a gate out.

    `celsius` below 0 takes each GPU's own slowdown temperature. `others_percent` is of
    a GPU's memory, `free_bytes` of each disk. A gate opens after `seconds` of good
    readings.
    """

    celsius: int = -1
    others_percent: int = 20
    ecc_errors: int = 1
    lost_gpu: bool = True
    free_bytes: int = 1_000_000_000
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Disk:
    """A place that must be written to; `free` bytes, None: it does not answer."""

    name: str
    free: int | None


@dataclass(frozen=True, slots=True)
class Sign:
    """A reading as one gate sees it: bad (`closes`), good (`opens`), or in between.

    `state` says it with its figures; `until` is what claims then wait for. What `waits`
    must stay good for a while.
    """

    gate: str
    closes: bool
    opens: bool
    state: str
    until: str
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Closure:
    """A gate that is closed, or was: `cause` is why it closed, `reason` how it is now.

    Times in unix seconds; `until` is 0 while it is closed.
    """

    gate: str
    cause: str
    reason: str
    since: int
    until: int = 0


def gpu_signs(gauges: Mapping[str, Any], limits: Limits) -> Iterator[Sign]:
    """Signs of an engine's GPUs, from the gauges that its host wrote."""
    if limits.lost_gpu:
        for fault in _texts(gauges.get("gpu_faults")):
            # "GPU 1 cannot be used: …"
            gate = f"fault of {' '.join(fault.split()[:2])}"
            yield Sign(gate, True, False, fault, "when it can be used again")
    gpus = gauges.get("gpus")
    for gpu in gpus if isinstance(gpus, list) else []:
        if isinstance(gpu, dict):
            name = f"GPU {gpu.get('index', '')}".strip()
            yield from _temperature(name, gpu, limits)
            yield from _memory_of_others(name, gpu, limits)
            yield from _ecc(name, gpu, limits)


def _temperature(name: str, gpu: Mapping[str, Any], limits: Limits) -> Iterator[Sign]:
    now, own = _number(gpu.get("temperature")), _number(gpu.get("slowdown"))
    limit = limits.celsius if limits.celsius >= 0 else own or USUAL_SLOWDOWN
    if now is None or not limit:
        return
    opening = limit - COOLER
    yield Sign(
        f"temperature of {name}",
        now >= limit,
        now < opening,
        f"{name} is at {now:.0f} °C",
        f"below {opening:.0f} °C",
    )


def _memory_of_others(
    name: str, gpu: Mapping[str, Any], limits: Limits
) -> Iterator[Sign]:
    held, total = _number(gpu.get("others")), _number(gpu.get("memory_total"))
    if held is None or not total or not limits.others_percent:
        return
    limit = total * limits.others_percent / 100
    opening = limit * LESS_MEMORY
    yield Sign(
        f"memory of {name}",
        held >= limit,
        held < opening,
        f"other programs hold {held / GB:.1f} of {total / GB:.1f} GB of {name}",
        f"below {opening / GB:.1f} GB",
    )


def _ecc(name: str, gpu: Mapping[str, Any], limits: Limits) -> Iterator[Sign]:
    count = _number(gpu.get("ecc_errors"))
    if count is None or not limits.ecc_errors:
        return
    errors = "memory error that was" if count == 1 else "memory errors that were"
    yield Sign(
        f"ECC of {name}",
        count >= limits.ecc_errors,
        count < limits.ecc_errors,
        f"{name} had {count:.0f} {errors} not corrected since its last reset",
        "after a reset of the GPU or a restart of its host",
    )


def disk_signs(disks: Iterable[Disk], limits: Limits) -> Iterator[Sign]:
    """Signs of the disks that are written to."""
    limit = limits.free_bytes
    if not limit:
        return
    opening = limit * MORE_DISK
    for disk in disks:
        gate = f"disk of {disk.name}"
        if disk.free is None:
            state = f"the disk of {disk.name} does not answer"
            yield Sign(gate, True, False, state, "when it does")
            continue
        yield Sign(
            gate,
            disk.free < limit,
            disk.free >= opening,
            f"the disk of {disk.name} has {disk.free / GB:.2f} GB free",
            f"from {opening / GB:.2f} GB on",
        )


def database_sign(error: str) -> Sign:
    """Whether results can be stored; good again, it opens at once."""
    state = f"the database takes nothing: {error}"
    return Sign("database", bool(error), not error, state, "when it does", waits=False)


class Gates:
    """The gates of one engine: what is closed, since when, and what was."""

    def __init__(self, *, seconds: int, known: object = None) -> None:
        """`known` is what `as_json` gave: closed gates stay so until readings are good."""
        self._seconds = seconds
        self._closed = {closure.gate: closure for closure in closed_gates(known)}
        self._ended = ended_gates(known)
        self._good_since: dict[str, float] = {}

    @property
    def closed(self) -> list[Closure]:
        """What is closed, the oldest first."""
        return list(self._closed.values())

    def judge(self, signs: Iterable[Sign], *, now: float) -> None:
        """Open and close by the newest readings; `now` in unix seconds.

        A closed gate without a sign has nothing against it any more.
        """
        seen = {sign.gate: sign for sign in signs}
        for sign in seen.values():
            if sign.closes:
                self._close(sign, now)
        for gate in list(self._closed):
            found = seen.get(gate)
            if found is None or not found.closes:
                self._consider_opening(self._closed[gate], found, now)

    def _close(self, sign: Sign, now: float) -> None:
        self._good_since.pop(sign.gate, None)
        reason = f"{sign.state}; claims go on {sign.until}"
        known = self._closed.get(sign.gate)
        self._closed[sign.gate] = (
            replace(known, reason=reason)
            if known
            else Closure(sign.gate, sign.state, reason, int(now))
        )

    def _consider_opening(
        self, closure: Closure, sign: Sign | None, now: float
    ) -> None:
        gate = closure.gate
        if sign is not None and not sign.opens:
            self._good_since.pop(gate, None)
            reason = f"{sign.state}; claims go on {sign.until}"
            self._closed[gate] = replace(closure, reason=reason)
            return
        # A clock that was put back must not keep a gate closed.
        since = min(self._good_since.get(gate, now), now)
        self._good_since[gate] = since
        if now - since >= self._seconds or (sign is not None and not sign.waits):
            del self._closed[gate], self._good_since[gate]
            if now - closure.since >= NOTABLE_SECONDS:
                ended = replace(closure, reason="", until=int(now))
                self._ended = [ended, *self._ended][:SHOWN]
            return
        state = sign.state if sign else f"{closure.cause} (no longer)"
        reason = f"{state}; claims go on after {self._seconds} s like this"
        self._closed[gate] = replace(closure, reason=reason)

    def as_json(self, *, now: float) -> dict[str, Any]:
        """For the engine's row; closures that ended a day ago are left out."""
        return {
            "closed": [
                {"gate": c.gate, "cause": c.cause, "reason": c.reason, "since": c.since}
                for c in self._closed.values()
            ],
            "ended": [
                {"gate": c.gate, "cause": c.cause, "since": c.since, "until": c.until}
                for c in self._ended
                if now - c.until < SHOWN_SECONDS
            ],
        }


def closed_gates(stored: object) -> list[Closure]:
    """The closed gates of a row, whatever it holds."""
    return _closures(stored, "closed")


def ended_gates(stored: object) -> list[Closure]:
    """What was closed in the last day, the newest first, of a row whatever it holds."""
    return _closures(stored, "ended")


def _closures(stored: object, key: str) -> list[Closure]:
    entries = stored.get(key) if isinstance(stored, dict) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("gate"), str):
            continue
        found.append(
            Closure(
                gate=entry["gate"],
                cause=str(entry.get("cause") or ""),
                reason=str(entry.get("reason") or ""),
                since=int(_number(entry.get("since")) or 0),
                until=int(_number(entry.get("until")) or 0),
            )
        )
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _texts(value: object) -> Sequence[str]:
    found = value if isinstance(value, list) else []
    return [text for text in found if isinstance(text, str) and text]
