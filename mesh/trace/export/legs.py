"""Gathers transmissions into legs: what one node had to do with one counterpart about one question or push.

An exchange has four: the requester's with the broker, the broker's with the requester, the broker's with the provider
and the provider's with the broker. A leg lasts from the first transmission to the answer; where others speak of spans
or slices, it is one.

Rules kept here:
1. Legs come when they have ended, in that order; only those under way are held. One that is idle for `IDLE_US` has
   ended unanswered.
2. What the recipient's gate refused answers nothing.
3. A line that is no message, or that nobody can read, is a leg of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from typing import Any, Final

from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.recheck import ANSWERS

IDLE_US: Final = 3_600_000_000
"""Longer than any question lives, and than any pause between two tries of a push."""
BEFORE_MAX: Final = 2**16
"""Legs that are remembered after their end, so that a repeat has a name of its own."""


@dataclass(slots=True)
class Moment:
    """A transmission left a node, or came to it."""

    time_us: int
    row: dict[str, Any]
    sends: bool


@dataclass(slots=True)
class Leg:
    """One node's part with one counterpart. `row` is the first transmission of it; times are µs since the start."""

    node: str
    counterpart: str
    asks: bool
    """Whether the node asked or pushed; else it was asked, or a push came to it."""
    row: dict[str, Any]
    asked: str | None
    """The digest of the question or push, in hex; None for a line that nobody can read."""
    start_us: int
    end_us: int
    again: int = 0
    """How many legs of the same exchange it had with this counterpart before."""
    moments: list[Moment] = field(default_factory=list)
    code: str | None = None
    """The code with which it was refused, by an answer or by a gate."""
    answered: bool = False

    @property
    def push(self) -> bool:
        """Whether it is about a push, and not a question."""
        return any(one.row["kind"] in (Kind.EVENT, Kind.NOTICE, Kind.RECEIPT) for one in self.moments)

    @property
    def key(self) -> str:
        """16 hex digits that name the leg, the same in every export."""
        return leg_key(
            self.asked or str(self.row["index"]), self.node, self.counterpart, self.asks, self.again
        )


def leg_key(asked: str, node: str, counterpart: str, asks: bool, again: int = 0) -> str:
    """The name of a leg. Never all zeros, which OpenTelemetry reads as none."""
    text = f"{asked} {node} {counterpart} {'asks' if asks else 'answers'} {again}"
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


_Key = tuple[str, str | None, str, bool]


class _Legs:
    def __init__(self, only: frozenset[str] | None) -> None:
        self._only = only
        self._open: dict[_Key, Leg] = {}
        self._before: dict[_Key, int] = {}

    def moment(self, row: dict[str, Any], *, sends: bool) -> Iterator[Leg]:
        """Enter one end of a transmission, and give the legs that are over by it."""
        time_us = row["time_us"] if sends else row["arrived_us"]
        yield from self.idle(time_us - IDLE_US)
        node, counterpart = (row["from"], row["to"]) if sends else (row["to"], row["from"])
        if self._only is not None and node not in self._only:
            return
        answers = row["kind"] in ANSWERS
        asked = row["asked"]
        key = (node, asked, counterpart, sends != answers)
        leg = None if asked is None else self._open.pop(key, None)
        if leg is None:
            again = 0
            if asked is not None:
                again = self._before[key] = self._before.pop(key, -1) + 1
                if len(self._before) > BEFORE_MAX:
                    del self._before[next(iter(self._before))]
            leg = Leg(node, counterpart, key[3], row, asked, time_us, time_us, again)
        leg.end_us = max(leg.end_us, time_us)
        leg.moments.append(Moment(time_us, row, sends))
        if row["refused"] and not sends:
            leg.code = row["code"]
        elif answers and (sends or not row["refused"]):
            leg.code, leg.answered = row["code"], True
        if leg.answered or asked is None:
            yield leg
        else:
            self._open[key] = leg  # At the end: the first is the one that has been idle for longest.

    def idle(self, since_us: float) -> Iterator[Leg]:
        """End the legs that nothing was heard of since then."""
        while self._open:
            key, leg = next(iter(self._open.items()))
            if leg.end_us > since_us:
                return
            del self._open[key]
            yield leg


def legs(rows: Iterable[dict[str, Any]], only: frozenset[str] | None = None) -> Iterator[Leg]:
    """The legs of rows as `mesh.trace.seen` has them, of all nodes or of some."""
    made = _Legs(only)
    under_way: list[tuple[int, int, dict[str, Any]]] = []
    for row in rows:
        while under_way and under_way[0][0] <= row["time_us"]:
            yield from made.moment(heappop(under_way)[2], sends=False)
        yield from made.moment(row, sends=True)
        if row["fate"] == Fate.DELIVERED and row["arrived_us"] is not None:
            heappush(under_way, (row["arrived_us"], row["index"], row))
    while under_way:
        yield from made.moment(heappop(under_way)[2], sends=False)
    yield from made.idle(float("inf"))
