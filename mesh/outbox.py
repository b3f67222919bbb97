"""Store-and-forward: what must arrive is kept and repeated until somebody signs for it.

Rules kept here:
1. A delivery is committed before its acceptance is acknowledged.
2. It goes out again after 1 s, doubling to 20 s, with jitter, until a signed receipt comes or the push
   expires: then it is a dead letter, which a person can list and send again.
3. At most 32 deliveries to one recipient are without a receipt at any time; the others wait their turn.

4. What is held in memory is what the database has: when a commit fails, `forget` and `restore` say so.

Life of a delivery: waiting → sent (again and again) → receipted, and so gone; or dead.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum

from mesh.exchange import Write

BACKOFF_FIRST_US = 1_000_000
BACKOFF_MAX_US = 20_000_000
UNRECEIPTED_MAX = 32


class Stage(StrEnum):
    """Where a delivery stands."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"
    GONE = "gone"
    """Receipted, or never committed: nothing is stored of it."""


class Delivery:
    """One message on its way to one recipient."""

    __slots__ = (
        "added_us", "attempts", "digest", "due_us", "expiry_us", "line", "number", "permits", "stage", "to",
    )  # fmt: skip

    def __init__(
        self, number: int, to: str, digest: str, line: bytes, expiry_us: int, added_us: int, due_us: int
    ) -> None:
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
        self.stage = Stage.WAITING

    def __lt__(self, other: Delivery) -> bool:
        """The order among timers of the same time; one delivery may have two of them."""
        return self.number < other.number


class Outbox:
    """All deliveries of one party. `jitter_us(limit)` draws from 0 to below the limit."""

    def __init__(self, jitter_us: Callable[[int], int]) -> None:
        self._jitter_us = jitter_us
        self._timers: list[tuple[int, Delivery]] = []
        self._live: dict[tuple[str, str], Delivery] = {}
        self._sent: dict[str, int] = {}
        self._held: dict[str, deque[Delivery]] = {}
        self.dead: dict[int, Delivery] = {}
        self._numbers = 0

    def load(self, rows: Iterable[tuple[int, str, str, bytes, int, int, str]], now_us: int) -> None:
        """Take up what a restart finds: (number, to, digest, line, expiry_us, added_us, stage), as stored."""
        for number, to, digest, line, expiry_us, added_us, stage in rows:
            self._numbers = max(self._numbers, number)
            delivery = Delivery(number, to, digest, line, expiry_us, added_us, now_us)
            if stage == Stage.DEAD:
                delivery.stage = Stage.DEAD
                self.dead[number] = delivery
            elif stage == Stage.WAITING:
                self._enter(delivery)

    def add(self, to: str, digest: str, line: bytes, expiry_us: int, now_us: int) -> Write:
        """Take a message in; it is due at once."""
        self._numbers += 1
        delivery = Delivery(self._numbers, to, digest, line, expiry_us, now_us, now_us)
        self._enter(delivery)
        return ("outbox", (delivery.number, to, digest, line, expiry_us, now_us, Stage.WAITING.value))

    def _enter(self, delivery: Delivery) -> None:
        self._live[delivery.to, delivery.digest] = delivery
        self._wake(delivery, delivery.due_us)

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
                writes.append(self.bury(delivery))
            elif delivery.stage is Stage.WAITING and self._sent.get(delivery.to, 0) >= UNRECEIPTED_MAX:
                self._held.setdefault(delivery.to, deque()).append(delivery)
                # Whoever waits for a place becomes a dead letter on time all the same.
                self._wake(delivery, delivery.expiry_us)
            else:
                ready.append(delivery)
                self._send(delivery, now_us)
        return ready, writes

    def _send(self, delivery: Delivery, now_us: int) -> None:
        if delivery.stage is Stage.WAITING:
            delivery.stage = Stage.SENT
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
        """The recipient signed for one that `find` found: it is not sent again and no longer stored."""
        self._remove(delivery, now_us)
        return ("outbox_gone", (delivery.number,))

    def restore(self, delivery: Delivery) -> None:
        """Its receipt could not be committed: it goes out again, when it would have gone anyway."""
        delivery.stage = Stage.WAITING
        self._enter(delivery)

    def forget(self, to: str, digest: str) -> None:
        """What was added could not be committed: it does not go out."""
        delivery = self.find(to, digest)
        if delivery is not None:
            self._remove(delivery, delivery.added_us)

    def _remove(self, delivery: Delivery, now_us: int) -> None:
        self._live.pop((delivery.to, delivery.digest), None)
        self._leave(delivery, now_us)
        delivery.stage = Stage.GONE

    def bury(self, delivery: Delivery) -> Write:
        """Make it a dead letter. If that is not committed, a restart finds it waiting and buries it again."""
        self._live.pop((delivery.to, delivery.digest), None)
        # Its own next time may be far ahead; whoever gets its place has waited since before that.
        self._leave(delivery, delivery.added_us)
        delivery.stage = Stage.DEAD
        self.dead[delivery.number] = delivery
        return ("outbox_dead", (Stage.DEAD.value, delivery.number))

    def _leave(self, delivery: Delivery, now_us: int) -> None:
        """Give the place of a delivery to the next that is held back and still waits."""
        if delivery.stage is Stage.SENT:
            self._sent[delivery.to] -= 1
        held = self._held.get(delivery.to)
        while held:
            following = held.popleft()
            if following.stage is Stage.WAITING and following is not delivery:
                self._wake(following, now_us)
                return

    def revive(self, number: int, expiry_us: int, now_us: int) -> Write | None:
        """Send a dead letter again until a later expiry, as a person decided; None if there is none."""
        delivery = self.dead.pop(number, None)
        if delivery is None:
            return None
        delivery.stage, delivery.attempts = Stage.WAITING, 0
        delivery.expiry_us, delivery.due_us = expiry_us, now_us
        self._enter(delivery)
        return ("outbox_revived", (Stage.WAITING.value, expiry_us, number))


def _is_stale(timer: tuple[int, Delivery]) -> bool:
    due_us, delivery = timer
    return delivery.due_us != due_us or delivery.stage in (Stage.DEAD, Stage.GONE)
