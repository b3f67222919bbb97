"""Store-and-forward: what must arrive is kept and repeated until somebody signs for it.

Rules kept here:
1. A delivery is committed before its acceptance is acknowledged.
2. It goes out again after 1 s, doubling to 20 s, with jitter, until a signed receipt comes, its recipient signs a
   refusal that says `never`, or the push expires: after the last two it is a dead letter, which a person can list and
   send again.
3. How many of a sender's are out at a recipient is limited, and nobody can shut others out (`mesh.places`).
4. Pauses are counted by the monotonic clock. A push is past its expiry when the wall clock says so and, since it was
   taken over or the party came up, that much time has gone by: a clock that steps ahead ends nothing.
5. What is held in memory is what the database has: when a commit fails, `restore` puts back what was, and `put_back` what
   was given up, after a pause.

Where a delivery stands says its state, by `mesh.exchange.RELAY`, or `PUBLISHER` for a party's own pushes;
what is kept of it in memory and in the database follows from the state that it reached.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from mesh.backoff import OF_PUSHES
from mesh.exchange import PUBLISHER, RELAY, Happening, LifeCycle, State, Table, Turn, Write
from mesh.places import Places

_LIVE = (State.WAITING, State.SENT)
Stored = tuple[int, str, str, str, bytes, int, int, str | None, str]
"""Number, sender, recipient, digest, line, expiry_us, added_us, subject and state of a delivery."""


class Delivery(LifeCycle):
    """One message on its way to one recipient."""

    __slots__ = (
        "added_us", "attempts", "digest", "due_us", "ends_us", "expiry_us", "line", "number", "permits", "sender",
        "subject", "to",
    )  # fmt: skip

    table: ClassVar[Table] = RELAY
    whole: ClassVar[tuple[str, ...]] = ("state", "attempts", "due_us", "expiry_us", "ends_us")

    def __init__(
        self,
        number: int,
        sender: str,
        to: str,
        digest: str,
        line: bytes,
        expiry_us: int,
        added_us: int,
        subject: str | None,
        due_us: int,
    ) -> None:
        super().__init__()
        self.number = number
        self.sender = sender
        """Whose push it is."""
        self.to = to
        self.digest = digest
        self.line = line
        self.expiry_us = expiry_us
        self.added_us = added_us
        """When it was taken over; a push is judged by this time."""
        self.subject = subject
        """Whom it is about, by this party's own code: the seal around the sender's may be closed by then."""
        self.due_us = due_us
        """By the monotonic clock."""
        self.ends_us = due_us
        """When its life is over, by the monotonic clock."""
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
    """All deliveries of one party, each of the class `kind`.

    `randrange(limit)` draws from 0 to below the limit; by `monotonic_us()` pauses are counted.
    """

    def __init__(
        self,
        randrange: Callable[[int], int],
        monotonic_us: Callable[[], int],
        kind: type[Delivery] = Delivery,
    ) -> None:
        self._randrange = randrange
        self._monotonic_us = monotonic_us
        self._kind = kind
        self._timers: list[tuple[int, Delivery]] = []
        self._live: dict[tuple[str, str], Delivery] = {}
        self._places: Places[Delivery] = Places()
        self.dead: dict[int, Delivery] = {}
        self._numbers = 0

    def load(self, rows: Iterable[Stored], now_us: int) -> None:
        """Take up what a restart finds, as stored."""
        mono_us = self._monotonic_us()
        for number, sender, to, digest, line, expiry_us, added_us, subject, state in rows:
            self._numbers = max(self._numbers, number)
            delivery = self._kind(number, sender, to, digest, line, expiry_us, added_us, subject, mono_us)
            self.restore(delivery, (state, 0, mono_us, expiry_us, mono_us + expiry_us - now_us))

    def add(
        self,
        sender: str,
        to: str,
        digest: str,
        line: bytes,
        expiry_us: int,
        now_us: int,
        subject: str | None = None,
    ) -> Write:
        """Take a message in; it is due at once. `subject` is whom it is about, by this party's own code."""
        self._numbers += 1
        mono_us = self._monotonic_us()
        delivery = self._kind(self._numbers, sender, to, digest, line, expiry_us, now_us, subject, mono_us)
        delivery.ends_us = mono_us + expiry_us - now_us
        delivery.fire(Happening.TAKE)
        self._place(delivery)
        return (
            "outbox",
            (delivery.number, sender, to, digest, line, expiry_us, now_us, subject, delivery.state),
        )

    def purge(self, expired_before_us: int, turn: Turn) -> None:
        """Forget the dead letters that expired before; nobody can send them again any more."""
        gone = {number: one for number, one in self.dead.items() if one.expiry_us < expired_before_us}
        for number in gone:
            del self.dead[number]
            turn.writes.append(("outbox_gone", (number,)))
        turn.undo.append(lambda _: self.dead.update(gone))

    def next_expiry_us(self) -> int | None:
        """When the first of all that is stored expires, or did; None when nothing is."""
        stored = (*self.dead.values(), *self._live.values())
        return min((one.expiry_us for one in stored), default=None)

    def next_due_us(self) -> int | None:
        """When to look again, by the monotonic clock; 0 for at once, None when nothing waits."""
        if self._places.is_free():
            return 0
        while self._timers and _is_stale(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def take_due(self, now_us: int, turn: Turn) -> tuple[list[Delivery], list[Delivery]]:
        """What goes out now, and what is past its expiry, and so a dead letter with the turn's commit."""
        mono_us = self._monotonic_us()
        expired: list[Delivery] = []
        ready: list[Delivery] = []
        while self._timers and self._timers[0][0] <= mono_us:
            timer = heapq.heappop(self._timers)
            if _is_stale(timer):
                continue
            delivery = timer[1]
            if self._is_over(delivery, now_us, mono_us, expired, turn):
                continue
            if delivery.state == State.WAITING and not self._places.has_room(delivery.sender, delivery.to):
                self._places.hold(delivery.sender, delivery.to, delivery.number, delivery)
                # Whoever waits for a place becomes a dead letter on time all the same.
                self._wake(delivery, _over_us(delivery, now_us, mono_us))
            else:
                self._send(delivery, now_us, mono_us, ready)
        for delivery in self._places.take_held():
            if not self._is_over(delivery, now_us, mono_us, expired, turn):
                self._send(delivery, now_us, mono_us, ready)
        return ready, expired

    def _is_over(
        self, delivery: Delivery, now_us: int, mono_us: int, expired: list[Delivery], turn: Turn
    ) -> bool:
        """Whether it is past its expiry by both clocks, and so a dead letter."""
        if _over_us(delivery, now_us, mono_us) > mono_us:
            return False
        expired.append(delivery)
        turn.writes.append(self.end(delivery, Happening.EXPIRE))
        turn.undo.append(lambda _: self.put_back(delivery))
        return True

    def put_back(self, delivery: Delivery) -> None:
        """That a delivery is a dead letter could not be committed: it waits again, and is looked at after a pause.

        The place that it had among those that are out may be another's by now.
        """
        self.restore(delivery, (State.WAITING, *delivery.former()[1:]))
        self._wake(delivery, self._monotonic_us() + OF_PUSHES.pause_us(1, self._randrange))

    def _send(self, delivery: Delivery, now_us: int, mono_us: int, ready: list[Delivery]) -> None:
        first = delivery.state == State.WAITING
        delivery.fire(Happening.SEND)
        if first:
            self._places.send(delivery.sender, delivery.to, delivery.number)
        else:
            self._places.repeat(delivery.to, delivery.number)
        delivery.attempts += 1
        pause_us = OF_PUSHES.pause_us(delivery.attempts, self._randrange)
        self._wake(delivery, min(mono_us + pause_us, _over_us(delivery, now_us, mono_us)))
        ready.append(delivery)

    def _wake(self, delivery: Delivery, due_us: int) -> None:
        """Set its one timer that counts; earlier ones are stale from here on."""
        delivery.due_us = due_us
        heapq.heappush(self._timers, (due_us, delivery))

    def find(self, to: str, digest: str) -> Delivery | None:
        """The delivery of a message to a recipient, while it is neither receipted nor dead."""
        return self._live.get((to, digest))

    def end(self, delivery: Delivery, happening: str) -> Write:
        """Its recipient signed for it, and it is no longer stored; or it is a dead letter.

        If that is not committed, a restart finds it waiting.
        """
        before = delivery.state
        delivery.fire(happening)
        self._displace(delivery, before)
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
        mono_us = self._monotonic_us()
        delivery.attempts, delivery.due_us = 0, mono_us
        delivery.expiry_us, delivery.ends_us = expiry_us, mono_us + expiry_us - now_us
        delivery.permits = ()  # What was said under these, was said of the attempts before.
        del self.dead[number]
        self._place(delivery)
        return ("outbox_revived", (delivery.state, expiry_us, number))

    def restore(self, delivery: Delivery, former: tuple[Any, ...]) -> None:
        """Put a delivery back as it was (`former`): what was done to it since could not be committed."""
        self._displace(delivery, delivery.state)
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
            self._places.enter(delivery.sender, delivery.to, sent=delivery.state == State.SENT)
            self._wake(delivery, delivery.due_us)

    def _displace(self, delivery: Delivery, before: str) -> None:
        """Take a delivery from where its state of before belongs; who is held back may have its place."""
        if before == State.DEAD:
            del self.dead[delivery.number]
        elif before in _LIVE:
            del self._live[delivery.to, delivery.digest]
            self._places.leave(delivery.sender, delivery.to, delivery.number, sent=before == State.SENT)


def _over_us(delivery: Delivery, now_us: int, mono_us: int) -> int:
    """When it is past its expiry by both clocks, if the wall clock is not set again: a time of the monotonic one."""
    return max(mono_us + delivery.expiry_us - now_us, delivery.ends_us)


def _is_stale(timer: tuple[int, Delivery]) -> bool:
    due_us, delivery = timer
    return delivery.due_us != due_us or delivery.state not in _LIVE
