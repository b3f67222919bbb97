"""Store-and-forward: what must arrive is kept and repeated until somebody signs for it.

Rules kept here:
1. A delivery is committed before its acceptance is acknowledged.
2. It goes out again after 1 s, doubling to 20 s, with jitter, until a signed receipt comes or the push
   expires: then it is a dead letter, which a person can list and send again.
3. At most 32 deliveries to one recipient are without a receipt at any time; the others wait their turn.

4. What is held in memory is what the database has: when a commit fails, `restore` puts back what was.

Where a delivery stands says its state, by `mesh.exchange.RELAY`, or `PUBLISHER` for a party's own pushes;
what is kept of it in memory and in the database follows from the state that it reached.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from mesh.exchange import PUBLISHER, RELAY, Happening, LifeCycle, State, Table, Write

BACKOFF_FIRST_US = 1_000_000
BACKOFF_MAX_US = 20_000_000
UNRECEIPTED_MAX = 32

_LIVE = (State.WAITING, State.SENT)


class Delivery(LifeCycle):
    """One message on its way to one recipient."""

    __slots__ = (
        "added_us", "attempts", "digest", "due_us", "expiry_us", "line", "number", "permits", "to",
    )  # fmt: skip

    table: ClassVar[Table] = RELAY
    whole: ClassVar[tuple[str, ...]] = ("state", "attempts", "due_us", "expiry_us")

    def __init__(
        self, number: int, to: str, digest: str, line: bytes, expiry_us: int, added_us: int, due_us: int
    ) -> None:
        super().__init__()
        self.number = number
        self.to = to
        self.digest = digest
        self.line = line
        self.expiry_us = expiry_us
        self.added_us = added_us
        """When it was taken over; a push is judged by this time."""
        self.due_us = due_us
        self.attempts = 0
        self.permits: tuple[str, ...] = ()
        """The digests of the last few permits that went with it."""

    def __lt__(self, other: Delivery) -> bool:
        """The order among timers of the same time; one delivery may have two of them."""
        return self.number < other.number


class Posting(Delivery):
    """A party's own push on its way to the broker."""

    __slots__ = ()

    table: ClassVar[Table] = PUBLISHER


class Outbox:
    """All deliveries of one party, each of the class `kind`. `jitter_us(limit)` draws from 0 to below the limit."""

    def __init__(self, jitter_us: Callable[[int], int], kind: type[Delivery] = Delivery) -> None:
        self._jitter_us = jitter_us
        self._kind = kind
        self._timers: list[tuple[int, Delivery]] = []
        self._live: dict[tuple[str, str], Delivery] = {}
        self._sent: dict[str, int] = {}
        self._held: dict[str, deque[Delivery]] = {}
        self.dead: dict[int, Delivery] = {}
        self._numbers = 0

    def load(self, rows: Iterable[tuple[int, str, str, bytes, int, int, str]], now_us: int) -> None:
        """Take up what a restart finds: (number, to, digest, line, expiry_us, added_us, state), as stored."""
        for number, to, digest, line, expiry_us, added_us, state in rows:
            self._numbers = max(self._numbers, number)
            delivery = self._kind(number, to, digest, line, expiry_us, added_us, now_us)
            self.restore(delivery, (state, 0, now_us, expiry_us))

    def add(self, to: str, digest: str, line: bytes, expiry_us: int, now_us: int) -> Write:
        """Take a message in; it is due at once."""
        self._numbers += 1
        delivery = self._kind(self._numbers, to, digest, line, expiry_us, now_us, now_us)
        delivery.fire(Happening.TAKE)
        self._place(delivery)
        return ("outbox", (delivery.number, to, digest, line, expiry_us, now_us, delivery.state))

    def next_due_us(self) -> int | None:
        """When to look again, or None when nothing waits."""
        while self._timers and _is_stale(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def take_due(self, now_us: int) -> tuple[list[Delivery], list[Write]]:
        """What goes out now, and the writes of what just became a dead letter."""
        ready: list[Delivery] = []
        writes: list[Write] = []
        while self._timers and self._timers[0][0] <= now_us:
            timer = heapq.heappop(self._timers)
            if _is_stale(timer):
                continue
            delivery = timer[1]
            if delivery.expiry_us <= now_us:
                writes.append(self.bury(delivery, Happening.EXPIRE))
            elif delivery.state == State.WAITING and self._sent.get(delivery.to, 0) >= UNRECEIPTED_MAX:
                self._held.setdefault(delivery.to, deque()).append(delivery)
                # Whoever waits for a place becomes a dead letter on time all the same.
                self._wake(delivery, delivery.expiry_us)
            else:
                ready.append(delivery)
                self._send(delivery, now_us)
        return ready, writes

    def _send(self, delivery: Delivery, now_us: int) -> None:
        first = delivery.state == State.WAITING
        delivery.fire(Happening.SEND)
        if first:
            self._sent[delivery.to] = self._sent.get(delivery.to, 0) + 1
        pause_us = min(BACKOFF_FIRST_US << min(delivery.attempts, 5), BACKOFF_MAX_US)
        delivery.attempts += 1
        self._wake(delivery, min(now_us + pause_us + self._jitter_us(pause_us // 4), delivery.expiry_us))

    def _wake(self, delivery: Delivery, due_us: int) -> None:
        """Set its one timer that counts; earlier ones are stale from here on."""
        delivery.due_us = due_us
        heapq.heappush(self._timers, (due_us, delivery))

    def find(self, to: str, digest: str) -> Delivery | None:
        """The delivery of a message to a recipient, while it is neither receipted nor dead."""
        return self._live.get((to, digest))

    def receipted(self, delivery: Delivery, now_us: int) -> Write:
        """The recipient signed for it: it is not sent again and no longer stored."""
        return self._end(delivery, Happening.RECEIPT, now_us)

    def refused(self, delivery: Delivery, now_us: int) -> Write:
        """The recipient refused it for good: it is not sent again and no longer stored."""
        return self._end(delivery, Happening.REFUSE, now_us)

    def bury(self, delivery: Delivery, why: str) -> Write:
        """Make it a dead letter. If that is not committed, a restart finds it waiting and buries it again."""
        # Its own next time may be far ahead; whoever gets its place has waited since before that.
        return self._end(delivery, why, delivery.added_us)

    def _end(self, delivery: Delivery, happening: str, now_us: int) -> Write:
        before = delivery.state
        delivery.fire(happening)
        self._displace(delivery, before, now_us)
        self._place(delivery)
        return {
            State.GONE: ("outbox_gone", (delivery.number,)),
            State.DEAD: ("outbox_dead", (State.DEAD, delivery.number)),
        }[delivery.state]

    def revive(self, number: int, expiry_us: int, now_us: int) -> Write | None:
        """Send a dead letter again until a later expiry, as a person decided; None if there is none."""
        delivery = self.dead.get(number)
        if delivery is None:
            return None
        delivery.fire(Happening.REVIVE)
        delivery.attempts, delivery.expiry_us, delivery.due_us = 0, expiry_us, now_us
        del self.dead[number]
        self._place(delivery)
        return ("outbox_revived", (delivery.state, expiry_us, number))

    def restore(self, delivery: Delivery, former: tuple[Any, ...]) -> None:
        """Put a delivery back as it was (`former`): what was done to it since could not be committed."""
        self._displace(delivery, delivery.state, delivery.added_us)
        delivery.restore(former)
        self._place(delivery)

    def forget(self, to: str, digest: str) -> None:
        """What was added could not be committed: it does not go out."""
        delivery = self.find(to, digest)
        if delivery is not None:
            self.restore(delivery, (State.NEW, *delivery.former()[1:]))

    def _place(self, delivery: Delivery) -> None:
        """Hold a delivery where its state belongs."""
        if delivery.state == State.DEAD:
            self.dead[delivery.number] = delivery
        elif delivery.state in _LIVE:
            self._live[delivery.to, delivery.digest] = delivery
            if delivery.state == State.SENT:
                self._sent[delivery.to] = self._sent.get(delivery.to, 0) + 1
            self._wake(delivery, delivery.due_us)

    def _displace(self, delivery: Delivery, before: str, now_us: int) -> None:
        """Take a delivery from where its state of before belongs; the next that is held back gets its place."""
        if before == State.DEAD:
            del self.dead[delivery.number]
        elif before in _LIVE:
            del self._live[delivery.to, delivery.digest]
            if before == State.SENT:
                self._sent[delivery.to] -= 1
            held = self._held.get(delivery.to)
            while held:
                following = held.popleft()
                if following.state == State.WAITING and following is not delivery:
                    self._wake(following, now_us)
                    return


def _is_stale(timer: tuple[int, Delivery]) -> bool:
    due_us, delivery = timer
    return delivery.due_us != due_us or delivery.state not in _LIVE
