"""Store-and-forward as a state machine: nothing lost, nothing receipted twice, at most 32 without a receipt."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mesh import outbox
from mesh.exchange import Happening, State
from mesh.outbox import BACKOFF_FIRST_US, BACKOFF_MAX_US, UNRECEIPTED_MAX, Delivery, Outbox

SECOND_US = 1_000_000
FAR_US = 10**15


def no_jitter(limit: int) -> int:
    return 0


class Stored:
    """What a database would hold, kept up by the writes."""

    def __init__(self) -> None:
        self.rows: dict[int, list[Any]] = {}

    def apply(self, *writes: Any) -> None:
        for name, values in writes:
            if name == "outbox":
                assert values[0] not in self.rows
                self.rows[values[0]] = list(values)
            elif name == "outbox_gone":
                assert self.rows.pop(*values)[6] == "waiting", "only what is under way is receipted"
            elif name == "outbox_dead":
                stage, number = values
                assert self.rows[number][6] == "waiting", "a delivery dies once"
                self.rows[number][6] = stage
            else:
                stage, expiry_us, number = values
                assert name == "outbox_revived"
                assert self.rows[number][6] == "dead"
                self.rows[number][4], self.rows[number][6] = expiry_us, stage

    def numbers(self, stage: str) -> set[int]:
        return {number for number, row in self.rows.items() if row[6] == stage}


class OutboxMachine(RuleBasedStateMachine):
    """Random publishing, receipts, time, crashes and a person's revivals; a small limit makes it bite."""

    limit = 3
    digests = Bundle("digests")

    def __init__(self) -> None:
        super().__init__()
        self._limit, outbox.UNRECEIPTED_MAX = outbox.UNRECEIPTED_MAX, self.limit
        self.now_us = 0
        self.count = 0
        self.stored = Stored()
        self.sent: dict[int, list[int]] = {}
        self.restored: dict[int, int] = {}
        """When each goes again whose receipt was not committed."""
        self.box = Outbox(lambda limit: limit // 2)

    def teardown(self) -> None:
        outbox.UNRECEIPTED_MAX = self._limit

    @rule(
        target=digests,
        to=st.sampled_from("ab"),
        life_s=st.sampled_from([1, 5, 30, 1000]),
        many=st.integers(1, 5),
    )
    def add(self, to: str, life_s: int, many: int) -> Any:
        added = []
        for _ in range(many):
            self.count += 1
            digest = f"digest {self.count}"
            expiry_us = self.now_us + life_s * SECOND_US
            self.stored.apply(self.box.add(to, digest, b"line", expiry_us, self.now_us))
            added.append((to, digest))
        return multiple(*added)

    @rule(pause_us=st.sampled_from([0, 1, SECOND_US // 2, SECOND_US, 7 * SECOND_US, 60 * SECOND_US]))
    def time_passes(self, pause_us: int) -> None:
        """The shell wakes whenever the outbox says so, and at the end of the pause."""
        until_us = self.now_us + pause_us
        while (due_us := self.box.next_due_us()) is not None and due_us <= until_us:
            self.now_us = max(self.now_us, due_us)
            self.pump()
        self.now_us = until_us

    def pump(self) -> None:
        ready, writes = self.box.take_due(self.now_us)
        self.stored.apply(*writes)
        for delivery in ready:
            assert delivery.state == State.SENT
            assert delivery.expiry_us > self.now_us
            assert delivery.number in self.stored.numbers("waiting")
            self.sent.setdefault(delivery.number, []).append(self.now_us)

    @rule(one=digests)
    def receipt_comes(self, one: tuple[str, str]) -> None:
        """Also for what was not sent by this incarnation, and twice."""
        delivery = self.box.find(*one)
        if delivery is not None:
            self.stored.apply(self.box.receipted(delivery, self.now_us))
        assert self.box.find(*one) is None

    @rule(one=digests)
    def receipt_is_not_committed(self, one: tuple[str, str]) -> None:
        delivery = self.box.find(*one)
        if delivery is not None:
            former = delivery.former()
            self.box.receipted(delivery, self.now_us)
            self.box.restore(delivery, former)
            assert delivery.former() == former
            self.restored[delivery.number] = delivery.due_us
            assert self.box.find(*one) is delivery

    @rule(to=st.sampled_from("ab"), pumped=st.booleans())
    def addition_is_not_committed(self, to: str, pumped: bool) -> None:
        """Not even if it was put into a turn together with what brings it."""
        self.box.add(to, "unkept", b"line", self.now_us + FAR_US, self.now_us)
        if pumped:
            self.stored.apply(*self.box.take_due(self.now_us)[1])
        self.box.forget(to, "unkept")
        self.box.forget(to, "unkept")
        assert self.box.find(to, "unkept") is None

    @rule(one=digests)
    def buried_by_the_law(self, one: tuple[str, str]) -> None:
        """What goes out is decided anew, so it is buried when it was to be sent."""
        delivery = self.box.find(*one)
        if delivery is not None and delivery.state == State.SENT:
            self.stored.apply(self.box.bury(delivery, Happening.FORBID))

    @rule(life_s=st.sampled_from([2, 100]))
    def a_person_revives(self, life_s: int) -> None:
        for number in list(self.box.dead)[:2]:
            write = self.box.revive(number, self.now_us + life_s * SECOND_US, self.now_us)
            assert write is not None
            self.stored.apply(write)
            assert self.box.revive(number, FAR_US, self.now_us) is None

    @rule()
    def crash(self) -> None:
        self.box = Outbox(lambda limit: limit // 2)
        self.box.load([tuple(row) for row in self.stored.rows.values()], self.now_us)  # type: ignore[misc]

    @invariant()
    def nothing_is_lost(self) -> None:
        live = {delivery.number for delivery in self.box._live.values()}
        assert live == self.stored.numbers("waiting")
        assert set(self.box.dead) == self.stored.numbers("dead")
        # Whatever waits, something will wake: a held delivery has a timer for its expiry.
        assert bool(live) <= (self.box.next_due_us() is not None)

    @invariant()
    def no_more_than_the_limit_is_without_a_receipt(self) -> None:
        for to in "ab":
            sent = [d for d in self.box._live.values() if d.to == to and d.state == State.SENT]
            assert len(sent) <= self.limit
            assert len(sent) == self.box._sent.get(to, 0)

    @invariant()
    def free_places_are_used(self) -> None:
        """Once everything due was taken, nobody is held back while there is room."""
        self.pump()
        for to in "ab":
            waiting = [
                d
                for d in self.box._live.values()
                if d.to == to and d.state == State.WAITING and self.restored.get(d.number) != d.due_us
            ]
            assert not waiting or self.box._sent[to] == self.limit

    @invariant()
    def nothing_outlives_its_expiry(self) -> None:
        assert all(delivery.expiry_us > self.now_us for delivery in self.box._live.values())


OutboxMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOutbox = OutboxMachine.TestCase


def receipted(box: Outbox, digest: str, now_us: int) -> Any:
    delivery = box.find("to", digest)
    assert delivery is not None
    return box.receipted(delivery, now_us)


def fill(count: int, expiry: Callable[[int], int] = lambda number: FAR_US) -> Outbox:
    box = Outbox(no_jitter)
    for number in range(count):
        box.add("to", str(number), b"line", expiry(number), 0)
    return box


def test_thirty_two_are_without_a_receipt() -> None:
    assert UNRECEIPTED_MAX == 32
    box = fill(40)
    first = box.take_due(0)[0]
    assert [delivery.digest for delivery in first] == [str(number) for number in range(32)]
    receipted(box, "5", 1)
    assert [delivery.digest for delivery in box.take_due(1)[0]] == ["32"]


def test_held_deliveries_that_expire_do_not_keep_the_next_from_going_out() -> None:
    """As many expire while held as places come free; the one behind them must still go."""
    box = fill(65, lambda number: 10 if 32 <= number < 64 else FAR_US)
    box.take_due(0)
    assert len(box.take_due(10)[1]) == 32
    for number in range(32):
        receipted(box, str(number), 11)
    assert [delivery.digest for delivery in box.take_due(11)[0]] == ["64"]


def test_a_held_delivery_is_a_dead_letter_when_it_expires() -> None:
    box = fill(33, lambda number: 10 if number == 32 else FAR_US)
    box.take_due(0)
    assert box.next_due_us() == 10
    assert box.take_due(10) == ([], [("outbox_dead", ("dead", 33))])
    assert list(box.dead) == [33]


def test_a_receipt_after_a_restart_frees_the_next() -> None:
    """It answers what the last incarnation sent; here it is held back."""
    rows = [(number, "to", str(number), b"line", FAR_US, 0, "waiting") for number in range(1, 35)]
    box = Outbox(no_jitter)
    box.load(rows, 0)
    box.take_due(0)
    assert receipted(box, "33", 1) == ("outbox_gone", (33,))
    receipted(box, "1", 1)
    assert [delivery.digest for delivery in box.take_due(1)[0]] == ["34"]


def test_pauses_double_from_one_to_twenty_seconds() -> None:
    box, times = fill(1), []
    while len(times) < 8:
        due_us = box.next_due_us()
        assert due_us is not None
        times.append(due_us)
        assert len(box.take_due(due_us)[0]) == 1
    pauses = [(b - a) // SECOND_US for a, b in pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 20, 20]
    assert (BACKOFF_FIRST_US, BACKOFF_MAX_US) == (SECOND_US, 20 * SECOND_US)


def test_jitter_lengthens_a_pause_by_less_than_a_quarter() -> None:
    asked: list[int] = []
    box = Outbox(lambda limit: asked.append(limit) or limit - 1)  # type: ignore[func-returns-value]
    box.add("to", "1", b"line", FAR_US, 0)
    box.take_due(0)
    assert asked == [SECOND_US // 4]
    assert box.next_due_us() == SECOND_US + SECOND_US // 4 - 1


def test_the_last_pause_ends_at_the_expiry() -> None:
    box = fill(1, lambda number: 500_000)
    box.take_due(0)
    assert box.next_due_us() == 500_000
    assert box.take_due(500_000)[1] == [("outbox_dead", ("dead", 1))]
    assert box.next_due_us() is None


def test_a_revived_letter_starts_from_the_first_pause() -> None:
    box = fill(1, lambda number: 60 * SECOND_US)
    while box.next_due_us() is not None:
        box.take_due(box.next_due_us() or 0)
    assert box.revive(1, FAR_US, 100 * SECOND_US) == ("outbox_revived", ("waiting", FAR_US, 1))
    [delivery] = box.take_due(100 * SECOND_US)[0]
    assert isinstance(delivery, Delivery)
    assert delivery.attempts == 1
    assert box.next_due_us() == 101 * SECOND_US
    assert box.revive(7, FAR_US, 0) is None


def test_a_receipt_that_was_not_committed_lets_it_go_again_at_its_time() -> None:
    box = fill(1)
    [delivery] = box.take_due(0)[0]
    former = delivery.former()
    box.receipted(delivery, 1)
    assert box.next_due_us() is None
    box.restore(delivery, former)
    assert box.next_due_us() == SECOND_US
    assert box.take_due(SECOND_US)[0] == [delivery]


def test_two_timers_of_one_delivery_at_one_time_are_no_error() -> None:
    """Held, woken and held again, or restored before its timer left the heap."""
    box = fill(2)
    [first, second] = box.take_due(0)[0]
    for delivery in (first, second, second, first):
        former = delivery.former()
        box.receipted(delivery, 1)
        box.restore(delivery, former)
    assert box.take_due(SECOND_US)[0] == [first, second]


def test_recipients_do_not_wait_for_each_other() -> None:
    box = fill(40)
    box.add("other", "1", b"line", FAR_US, 0)
    assert "other" in [delivery.to for delivery in box.take_due(0)[0]]
