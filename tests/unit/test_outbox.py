"""Store-and-forward as a state machine: nothing lost, nothing receipted twice, and nobody's deliveries shut others out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from mesh import places
from mesh.errors import MeshError
from mesh.exchange import Happening, State, Turn
from mesh.outbox import Delivery, Outbox
from mesh.places import FRESH_MAX, UNRECEIPTED_MAX, Lane

SECOND_US = 1_000_000
FAR_US = 10**15


def no_jitter(limit: int) -> int:
    return 0


class Clock:
    """Wall clock and monotonic clock; somebody may set the first."""

    def __init__(self) -> None:
        self.mono_us = 0
        self.set_by_us = 0

    @property
    def now_us(self) -> int:
        return self.mono_us + self.set_by_us

    def monotonic_us(self) -> int:
        return self.mono_us


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
                assert self.rows.pop(*values)[8] == "waiting", "only what is under way is receipted"
            elif name == "outbox_dead":
                stage, number = values
                assert self.rows[number][8] == "waiting", "a delivery dies once"
                self.rows[number][8] = stage
            else:
                stage, expiry_us, number = values
                assert name == "outbox_revived"
                assert self.rows[number][8] == "dead"
                self.rows[number][5], self.rows[number][8] = expiry_us, stage

    def numbers(self, stage: str) -> set[int]:
        return {number for number, row in self.rows.items() if row[8] == stage}


class OutboxMachine(RuleBasedStateMachine):
    """Random publishing, answers, time, clocks that are set, crashes and a person's revivals; small limits make it bite."""

    limit, room = 3, 4
    digests = Bundle("digests")

    def __init__(self) -> None:
        super().__init__()
        self._limits = places.UNRECEIPTED_MAX, places.FRESH_MAX
        places.UNRECEIPTED_MAX, places.FRESH_MAX = self.limit, self.room  # type: ignore[misc]
        self.clock, self.was_set = Clock(), False
        self.count = 0
        self.stored = Stored()
        self.restored: dict[int, int] = {}
        """When each goes again whose receipt was not committed."""
        self.box = self.fresh()

    def fresh(self) -> Outbox:
        return Outbox(lambda limit: limit // 2, self.clock.monotonic_us)

    def teardown(self) -> None:
        places.UNRECEIPTED_MAX, places.FRESH_MAX = self._limits  # type: ignore[misc]

    @rule(
        target=digests,
        sender=st.sampled_from("pqrs"),
        to=st.sampled_from("ab"),
        life_s=st.sampled_from([1, 5, 30, 1000]),
        many=st.integers(1, 5),
    )
    def add(self, sender: str, to: str, life_s: int, many: int) -> Any:
        added = []
        for _ in range(many):
            self.count += 1
            digest = f"digest {self.count}"
            expiry_us = self.clock.now_us + life_s * SECOND_US
            self.stored.apply(self.box.add(sender, to, digest, b"line", expiry_us, self.clock.now_us))
            added.append((to, digest))
        return multiple(*added)

    @rule(pause_us=st.sampled_from([0, 1, SECOND_US // 2, SECOND_US, 7 * SECOND_US, 60 * SECOND_US]))
    def time_passes(self, pause_us: int) -> None:
        """The shell wakes whenever the outbox says so, and at the end of the pause."""
        until_us = self.clock.mono_us + pause_us
        while (due_us := self.box.next_due_us()) is not None and due_us <= until_us:
            self.clock.mono_us = max(self.clock.mono_us, due_us)
            self.pump()
        self.clock.mono_us = until_us

    @rule(by_s=st.sampled_from([-3600, -1, 1, 3600]))
    def clock_is_set(self, by_s: int) -> None:
        self.clock.set_by_us += by_s * SECOND_US
        self.was_set = True

    def pump(self) -> None:
        turn = Turn()
        ready, expired = self.box.take_due(self.clock.now_us, turn)
        self.stored.apply(*turn.writes)
        mono_us = self.clock.mono_us
        assert all(
            delivery.expiry_us <= self.clock.now_us and delivery.ends_us <= mono_us for delivery in expired
        )
        for delivery in ready:
            assert delivery.state == State.SENT
            assert delivery.expiry_us > self.clock.now_us or delivery.ends_us > mono_us
            assert delivery.number in self.stored.numbers("waiting")

    @rule(one=digests, happening=st.sampled_from([Happening.RECEIPT, Happening.REFUSE]))
    def answer_comes(self, one: tuple[str, str], happening: str) -> None:
        """Also for what was not sent by this incarnation, and twice."""
        delivery = self.box.find(*one)
        if delivery is not None:
            self.stored.apply(self.box.end(delivery, happening))
            assert delivery.state == (State.GONE if happening == Happening.RECEIPT else State.DEAD)
        assert self.box.find(*one) is None

    @rule(one=digests)
    def receipt_is_not_committed(self, one: tuple[str, str]) -> None:
        delivery = self.box.find(*one)
        if delivery is not None:
            former = delivery.former()
            self.box.end(delivery, Happening.RECEIPT)
            self.box.restore(delivery, former)
            assert delivery.former() == former
            self.restored[delivery.number] = delivery.due_us
            assert self.box.find(*one) is delivery

    @rule(to=st.sampled_from("ab"), pumped=st.booleans())
    def addition_is_not_committed(self, to: str, pumped: bool) -> None:
        """Not even if it was put into a turn together with what brings it."""
        self.box.add("p", to, "unkept", b"line", self.clock.now_us + FAR_US, self.clock.now_us)
        if pumped:
            turn = Turn()
            self.box.take_due(self.clock.now_us, turn)
            self.stored.apply(*turn.writes)
        self.box.forget(to, "unkept")
        self.box.forget(to, "unkept")
        assert self.box.find(to, "unkept") is None

    @rule()
    def what_is_due_is_not_committed(self) -> None:
        due_us = self.box.next_due_us()
        if due_us is None:
            return
        self.clock.mono_us = max(self.clock.mono_us, due_us)
        turn = Turn()
        _, expired = self.box.take_due(self.clock.now_us, turn)
        for undo in reversed(turn.undo):
            undo(MeshError("storage_unavailable"))
        for delivery in expired:
            assert delivery.state == State.WAITING
            assert delivery.due_us > self.clock.mono_us, "a disk that stays full is not asked without a pause"
            self.restored[delivery.number] = delivery.due_us
            self.was_set = True

    @rule(one=digests)
    def buried_by_the_law(self, one: tuple[str, str]) -> None:
        """What goes out is decided anew, so it is buried when it was to be sent."""
        delivery = self.box.find(*one)
        if delivery is not None and delivery.state == State.SENT:
            self.stored.apply(self.box.end(delivery, Happening.FORBID))

    @rule(life_s=st.sampled_from([2, 100]))
    def a_person_revives(self, life_s: int) -> None:
        for number in list(self.box.dead)[:2]:
            write = self.box.revive(number, self.clock.now_us + life_s * SECOND_US, self.clock.now_us)
            assert write is not None
            self.stored.apply(write)
            assert self.box.revive(number, FAR_US, 0) is None

    @rule()
    def crash(self) -> None:
        self.box = self.fresh()
        self.box.load([tuple(row) for row in self.stored.rows.values()], self.clock.now_us)  # type: ignore[misc]

    def lanes(self) -> dict[tuple[str, str], list[Delivery]]:
        found: dict[tuple[str, str], list[Delivery]] = {}
        for one in self.box._live.values():
            found.setdefault((one.sender, one.to), []).append(one)
        return found

    @invariant()
    def nothing_is_lost(self) -> None:
        live = {delivery.number for delivery in self.box._live.values()}
        assert live == self.stored.numbers("waiting")
        assert set(self.box.dead) == self.stored.numbers("dead")
        # Whatever waits, something will wake: a held delivery has a timer for its expiry.
        assert bool(live) <= (self.box.next_due_us() is not None)

    def lane(self, sender: str, to: str) -> Lane[Delivery]:
        return self.box._places._doorways[to].lanes[sender]

    @invariant()
    def no_sender_has_more_than_the_limit_and_counts_are_right(self) -> None:
        lanes = self.lanes()
        for (sender, to), some in lanes.items():
            sent = [one for one in some if one.state == State.SENT]
            assert len(sent) <= self.limit
            lane = self.lane(sender, to)
            assert (lane.live, lane.sent) == (len(some), len(sent))
        doorways = self.box._places._doorways
        assert {(sender, to) for to, doorway in doorways.items() for sender in doorway.lanes} == set(lanes)
        for doorway in doorways.values():
            assert len(doorway.fresh) <= self.room

    @invariant()
    def free_places_are_used(self) -> None:
        """Once everything due was taken, nobody is held back while there is room."""
        self.pump()
        for (sender, to), some in self.lanes().items():
            waiting = [
                one
                for one in some
                if one.state == State.WAITING and self.restored.get(one.number) != one.due_us
            ]
            full = len(self.box._places._doorways[to].fresh) == self.room
            assert not waiting or full or self.lane(sender, to).sent == self.limit

    @invariant()
    def nothing_that_is_looked_at_outlives_its_expiry(self) -> None:
        if not self.was_set:  # Else it is found at its next timer.
            assert all(delivery.expiry_us > self.clock.now_us for delivery in self.box._live.values())


OutboxMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOutbox = OutboxMachine.TestCase


def receipted(box: Outbox, digest: str) -> Any:
    delivery = box.find("to", digest)
    assert delivery is not None
    return box.end(delivery, Happening.RECEIPT)


def digests(deliveries: list[Delivery]) -> list[str]:
    return [delivery.digest for delivery in deliveries]


class Box:
    """An outbox with deliveries 0, 1, 2… of one sender, and its clocks."""

    def __init__(self, count: int, expiry: Callable[[int], int] = lambda number: FAR_US) -> None:
        self.clock = Clock()
        self.box = Outbox(no_jitter, self.clock.monotonic_us)
        for number in range(count):
            self.box.add("sender", "to", str(number), b"line", expiry(number), 0)

    def take(self, at_us: int | None = None) -> tuple[list[Delivery], list[Delivery], list[Any]]:
        if at_us is not None:
            self.clock.mono_us = at_us
        turn = Turn()
        return *self.box.take_due(self.clock.now_us, turn), turn.writes


def test_thirty_two_of_a_sender_are_without_a_receipt() -> None:
    assert UNRECEIPTED_MAX == 32
    made = Box(40)
    assert digests(made.take()[0]) == [str(number) for number in range(32)]
    receipted(made.box, "5")
    assert made.box.next_due_us() == 0, "at once"
    assert digests(made.take(1)[0]) == ["32"]
    while (due_us := made.box.next_due_us() or 0) < 60 * SECOND_US:
        assert "33" not in digests(made.take(due_us)[0]), "not even when none is on its first attempt"


def crowd(senders: int, letters: int) -> Box:
    """Each has so many letters for one recipient; those of one sender were taken over together."""
    made = Box(0)
    for sender in range(senders):
        for number in range(letters):
            made.box.add(str(sender), "to", f"{sender} {number}", b"line", FAR_US, 0)
    return made


def test_no_more_than_the_recipients_bound_are_on_their_first_attempt() -> None:
    made = crowd(100, 3)
    first = made.take()[0]
    assert len(first) == FRESH_MAX == 32
    for one in first[:10]:
        receipted(made.box, one.digest)
    assert len(made.take()[0]) == 10


def test_places_go_round_among_the_senders_that_wait() -> None:
    made = crowd(4, 100)
    for one in made.take()[0]:
        receipted(made.box, one.digest)
    following = made.take()[0]
    assert {sum(one.sender == str(sender) for one in following) for sender in range(4)} == {8}


def test_whoever_is_never_signed_for_keeps_nobody_out() -> None:
    """Ten senders have a hundred letters each that are never receipted; an eleventh waits for no longer than a round."""
    made = crowd(10, 100)
    made.take()
    made.box.add("late", "to", "late", b"line", FAR_US, 0)
    assert digests(made.take(1)[0]) == [], "all places are taken by first attempts"
    assert "late" in digests(made.take(SECOND_US)[0])
    out = made.box._places._doorways["to"].lanes
    made.take(60 * SECOND_US)
    for second in range(61, 100):
        made.take(second * SECOND_US)
    assert all(lane.sent <= UNRECEIPTED_MAX for lane in out.values())


def test_held_deliveries_that_expire_do_not_keep_the_next_from_going_out() -> None:
    """As many expire while held as places come free; the one behind them must still go."""
    made = Box(65, lambda number: 10 if 32 <= number < 64 else FAR_US)
    made.take()
    assert len(made.take(10)[1]) == 32
    for number in range(32):
        receipted(made.box, str(number))
    assert digests(made.take(11)[0]) == ["64"]


def test_a_held_delivery_is_a_dead_letter_when_it_expires() -> None:
    made = Box(33, lambda number: 10 if number == 32 else FAR_US)
    made.take()
    assert made.box.next_due_us() == 10
    ready, expired, writes = made.take(10)
    assert (ready, digests(expired), writes) == ([], ["32"], [("outbox_dead", ("dead", 33))])
    assert list(made.box.dead) == [33]


def test_a_refusal_for_good_makes_a_dead_letter_and_frees_the_next() -> None:
    made = Box(33)
    made.take()
    delivery = made.box.find("to", "3")
    assert delivery is not None
    assert made.box.end(delivery, Happening.REFUSE) == ("outbox_dead", ("dead", 4))
    assert digests(made.take()[0]) == ["32"]
    assert list(made.box.dead) == [4]


def test_a_receipt_after_a_restart_frees_the_next() -> None:
    """It answers what the last incarnation sent; here it is held back."""
    rows = [
        (number, "sender", "to", str(number), b"line", FAR_US, 0, None, "waiting") for number in range(1, 35)
    ]
    made = Box(0)
    made.box.load(rows, 0)
    made.take()
    assert receipted(made.box, "33") == ("outbox_gone", (33,))
    receipted(made.box, "1")
    assert digests(made.take(1)[0]) == ["34"]


def test_pauses_double_from_one_to_twenty_seconds() -> None:
    made, times = Box(1), list[int]()
    while len(times) < 8:
        due_us = made.box.next_due_us()
        assert due_us is not None
        times.append(due_us)
        assert len(made.take(due_us)[0]) == 1
    assert [(b - a) // SECOND_US for a, b in pairwise(times)] == [1, 2, 4, 8, 16, 20, 20]


def test_a_wall_clock_that_is_set_back_an_hour_does_not_lengthen_a_pause() -> None:
    made = Box(1)
    made.take()
    made.clock.set_by_us = -3600 * SECOND_US
    assert made.box.next_due_us() == SECOND_US
    assert len(made.take(SECOND_US)[0]) == 1
    assert made.box.next_due_us() == 3 * SECOND_US


def test_a_wall_clock_that_is_set_ahead_ends_no_delivery() -> None:
    made = Box(34, lambda number: 60 * SECOND_US)
    made.take()
    made.clock.set_by_us = 31 * 86_400 * SECOND_US
    ready, expired, _ = made.take(SECOND_US)
    assert (len(ready), expired) == (32, []), "nor one that is held back"
    expired = made.take(59 * SECOND_US)[1]
    assert expired == []
    assert len(made.take(60 * SECOND_US)[1]) == 34


def test_after_a_restart_a_delivery_has_the_life_that_is_left_of_it() -> None:
    made = Box(0)
    made.clock.mono_us = 5 * SECOND_US
    made.box.load([(1, "sender", "to", "1", b"line", 60 * SECOND_US, 0, None, "waiting")], made.clock.now_us)
    made.clock.set_by_us = 3600 * SECOND_US
    assert made.take(59 * SECOND_US)[1] == []
    assert digests(made.take(60 * SECOND_US)[1]) == ["1"]


def test_a_delivery_does_not_end_before_the_wall_clock_says_so() -> None:
    made = Box(33, lambda number: 60 * SECOND_US)
    made.take()
    made.clock.set_by_us = -3600 * SECOND_US
    _, expired, _ = made.take(60 * SECOND_US)
    assert expired == [], "an hour more"
    for number in range(32):
        receipted(made.box, str(number))
    assert digests(made.take()[0]) == ["32"]


def test_jitter_lengthens_a_pause_by_less_than_a_quarter() -> None:
    asked, clock = list[int](), Clock()
    box = Outbox(lambda limit: asked.append(limit) or limit - 1, clock.monotonic_us)  # type: ignore[func-returns-value]
    box.add("sender", "to", "1", b"line", FAR_US, 0)
    box.take_due(0, Turn())
    assert asked == [SECOND_US // 4]
    assert box.next_due_us() == SECOND_US + SECOND_US // 4 - 1


def test_the_last_pause_ends_at_the_expiry() -> None:
    made = Box(1, lambda number: 500_000)
    made.take()
    assert made.box.next_due_us() == 500_000
    assert made.take(500_000)[2] == [("outbox_dead", ("dead", 1))]
    assert made.box.next_due_us() is None


def test_a_revived_letter_starts_from_the_first_pause_and_knows_no_permit() -> None:
    made = Box(1, lambda number: 60 * SECOND_US)
    while (due_us := made.box.next_due_us()) is not None:
        made.take(due_us)
    made.clock.mono_us = 100 * SECOND_US
    made.box.dead[1].permits = ("old",)
    assert made.box.revive(1, FAR_US, 0) == ("outbox_revived", ("waiting", FAR_US, 1))
    [delivery] = made.take()[0]
    assert (delivery.attempts, delivery.permits) == (1, ())
    assert made.box.next_due_us() == 101 * SECOND_US
    assert made.box.revive(7, FAR_US, 0) is None


def test_a_receipt_that_was_not_committed_lets_it_go_again_at_its_time() -> None:
    made = Box(1)
    [delivery] = made.take()[0]
    former = delivery.former()
    made.box.end(delivery, Happening.RECEIPT)
    assert made.box.next_due_us() is None
    made.box.restore(delivery, former)
    assert made.box.next_due_us() == SECOND_US
    assert made.take(SECOND_US)[0] == [delivery]


def test_two_timers_of_one_delivery_at_one_time_are_no_error() -> None:
    """Restored before its timer left the heap."""
    made = Box(2)
    [first, second] = made.take()[0]
    for delivery in (first, second, second, first):
        former = delivery.former()
        made.box.end(delivery, Happening.RECEIPT)
        made.box.restore(delivery, former)
    assert made.take(SECOND_US)[0] == [first, second]


def test_recipients_do_not_wait_for_each_other() -> None:
    made = Box(40)
    made.box.add("sender", "other", "1", b"line", FAR_US, 0)
    assert "other" in [delivery.to for delivery in made.take()[0]]
