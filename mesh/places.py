"""Who of several senders may have a delivery out to one recipient: nobody can shut others out.

Rules kept here:
1. Of one sender at most `UNRECEIPTED_MAX` deliveries to a recipient are sent and not receipted; the others are held, in
   their order.
2. At most `FRESH_MAX` deliveries to a recipient are on their first attempt at a time, over all senders. What nobody signs
   for leaves that place when its first pause is over, so no sender can keep it.
3. Places that come free go round among the senders that wait, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

UNRECEIPTED_MAX: Final = 32
FRESH_MAX: Final = 32

D = TypeVar("D")


class Lane(Generic[D]):
    """What one sender has for one recipient."""

    __slots__ = ("held", "live", "sent")

    def __init__(self) -> None:
        self.live = 0
        """Deliveries that are neither receipted nor dead, held or not."""
        self.sent = 0
        """Those of them that went out."""
        self.held: dict[int, D] = {}
        """Those that wait for a place, by their number."""


class Doorway(Generic[D]):
    """What all senders have for one recipient."""

    __slots__ = ("fresh", "lanes", "turns")

    def __init__(self) -> None:
        self.lanes: dict[str, Lane[D]] = {}
        self.fresh: dict[int, None] = {}
        """The deliveries on their first attempt."""
        self.turns: dict[str, None] = {}
        """The senders that wait and may have one more out, in the order of their turns."""

    def line_up(self, sender: str, lane: Lane[D]) -> None:
        """Let a sender wait for its turn, if it has something to wait with."""
        if lane.held and lane.sent < UNRECEIPTED_MAX:
            self.turns.setdefault(sender)
        else:
            self.turns.pop(sender, None)


class Places(Generic[D]):
    """All places of one outbox."""

    def __init__(self) -> None:
        self._doorways: dict[str, Doorway[D]] = {}
        self._freed: dict[str, None] = {}
        """Recipients at which somebody who waits may have a place."""

    def enter(self, sender: str, to: str, *, sent: bool) -> None:
        """There is one delivery more."""
        doorway = self._doorways.setdefault(to, Doorway())
        lane = doorway.lanes.setdefault(sender, Lane())
        lane.live += 1
        lane.sent += sent
        doorway.line_up(sender, lane)

    def has_room(self, sender: str, to: str) -> bool:
        """Whether one more delivery of the sender may go out."""
        doorway = self._doorways[to]
        return doorway.lanes[sender].sent < UNRECEIPTED_MAX and len(doorway.fresh) < FRESH_MAX

    def hold(self, sender: str, to: str, number: int, delivery: D) -> None:
        """Let a delivery wait for a place."""
        doorway = self._doorways[to]
        lane = doorway.lanes[sender]
        lane.held[number] = delivery
        doorway.line_up(sender, lane)

    def send(self, sender: str, to: str, number: int) -> None:
        """A delivery goes out for the first time."""
        doorway = self._doorways[to]
        doorway.lanes[sender].sent += 1
        doorway.fresh[number] = None

    def repeat(self, to: str, number: int) -> None:
        """Nobody signed for it within its first pause: its place at the recipient is free."""
        doorway = self._doorways[to]
        if number in doorway.fresh:
            del doorway.fresh[number]
            self._free(to, doorway)

    def leave(self, sender: str, to: str, number: int, *, sent: bool) -> None:
        """A delivery is receipted, dead, or was never kept."""
        doorway = self._doorways[to]
        lane = doorway.lanes[sender]
        lane.live -= 1
        lane.sent -= sent
        lane.held.pop(number, None)
        doorway.fresh.pop(number, None)
        doorway.line_up(sender, lane)
        if not lane.live:
            del doorway.lanes[sender]
        if doorway.lanes:
            self._free(to, doorway)
        else:
            del self._doorways[to]

    def _free(self, to: str, doorway: Doorway[D]) -> None:
        if doorway.turns and len(doorway.fresh) < FRESH_MAX:
            self._freed[to] = None

    def is_free(self) -> bool:
        """Whether somebody who waits may have a place."""
        return bool(self._freed)

    def take_held(self) -> Iterator[D]:
        """Those who wait and have a place now, one at a time; each must be sent before the next is asked for."""
        while self._freed:
            to = next(iter(self._freed))
            doorway = self._doorways.get(to)
            if doorway is None or not doorway.turns or len(doorway.fresh) >= FRESH_MAX:
                del self._freed[to]
                continue
            sender = next(iter(doorway.turns))
            del doorway.turns[sender]
            lane = doorway.lanes[sender]
            delivery = lane.held.pop(next(iter(lane.held)))
            yield delivery
            if doorway.lanes.get(sender) is lane:
                doorway.line_up(sender, lane)
