"""Lines between parties of one process, over the virtual clock.

A line sent arrives after the latency, in the order of sending for equal times. A `Disturbance` may delay,
repeat, change or drop it. A party that is down is `unreachable`, and its sender is told so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Protocol

from mesh.clock import VirtualLoop
from mesh.faults import Disturbance
from mesh.recorder import NO_PASSAGE, Fate, Passage, Recorder

LATENCY_US = 5_000


class Endpoint(Protocol):
    """What a transport delivers to."""

    def receive(self, line: bytes, peer: str) -> Passage:
        """Take a line in; returns what the gate made of it."""

    def unreachable(self, line: bytes, recipient: str) -> None:
        """Hear that nobody was at the recipient's address."""


class MemoryTransport:
    """Carries lines; `find(address)` gives the party at an address, None if it is down or unknown."""

    def __init__(
        self,
        loop: VirtualLoop,
        recorder: Recorder,
        find: Callable[[str], Endpoint | None],
        disturbance: Disturbance,
        latency_us: int = LATENCY_US,
    ) -> None:
        self._loop = loop
        self._recorder = recorder
        self._find = find
        self._disturbance = disturbance
        self.latency_us = latency_us
        self._arriving: dict[int, deque[tuple[int, int, str, str, bytes]]] = {}
        """By µs of arrival, in the order of sending: index, when it was sent, sender, recipient and line."""

    def send(self, sender: str, recipient: str, line: bytes) -> None:
        """Put a line on its way."""
        disturbance, now_us = self._disturbance, self._loop.now_us
        copies: Iterable[tuple[int | None, bytes]] = ((0, line),)
        if disturbance.rules or disturbance.standing is not None:
            copies = disturbance.apply(sender, recipient, line, now_us)
        for delay_us, sent in copies:
            index = self._recorder.sent()
            if delay_us is None:
                self._recorder.transmission(
                    index, now_us, now_us, sender, recipient, sent, Fate.DROPPED, NO_PASSAGE
                )
                continue
            when_us = now_us + self.latency_us + delay_us
            arriving = self._arriving.get(when_us)
            if arriving is None:
                arriving = self._arriving[when_us] = deque()
                self._loop.call_at_us(when_us, self._arrive, when_us)
            arriving.append((index, now_us, sender, recipient, sent))

    def _arrive(self, when_us: int) -> None:
        """Deliver what arrives at one microsecond: one timer serves all of it."""
        arriving = self._arriving[when_us]
        try:
            while arriving:
                self._deliver(*arriving.popleft())
        finally:
            if arriving:  # One delivery failed, which the loop reports; the others still arrive.
                self._loop.call_soon(self._arrive, when_us)
            else:
                del self._arriving[when_us]

    def _deliver(self, index: int, sent_us: int, sender: str, recipient: str, line: bytes) -> None:
        standing = self._disturbance.standing
        away = standing is not None and standing.is_away(recipient, self._loop.now_us)
        endpoint = None if away else self._find(recipient)
        fate, passage = Fate.UNREACHABLE, NO_PASSAGE
        if endpoint is not None:
            fate, passage = Fate.DELIVERED, endpoint.receive(line, sender)
        self._recorder.transmission(index, sent_us, self._loop.now_us, sender, recipient, line, fate, passage)
        if endpoint is None:
            back = self._find(sender)
            if back is not None:
                back.unreachable(line, recipient)

    def under_way(self) -> list[int]:
        """The indexes of what has been sent and not arrived, in order."""
        return sorted(one[0] for one in chain.from_iterable(self._arriving.values()))

    def close(self) -> None:
        """Record what is still on its way; it will not arrive."""
        for index, sent_us, sender, recipient, line in sorted(chain.from_iterable(self._arriving.values())):
            self._recorder.transmission(
                index, sent_us, self._loop.now_us, sender, recipient, line, Fate.IN_FLIGHT, NO_PASSAGE
            )
        self._arriving.clear()
