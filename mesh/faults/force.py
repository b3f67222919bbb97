"""A fault plan in force on one run: what becomes of a line, who is away, and what each fault met.

Times are µs since the run began. What is counted goes into the report: of a fault that met nothing, it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Generic, TypeVar, cast

from msgspec import Struct, ValidationError, convert, to_builtins

from mesh.faults.disturbance import Fates
from mesh.faults.fault import Clock, Crash, Delay, Duplicate, Fault, Loss, OnTheWay, Outage, Partition
from mesh.faults.plan import Plan
from mesh.faults.span import Span
from mesh.names import matches

AnyFault = TypeVar("AnyFault", bound=Fault)
NOBODY: Final = ("no node of this run is {}", "この実行に{}のノードはない")
NOTHING: Final = ("it met nothing", "該当なし")


class Effect(Struct, frozen=True):
    """One fault of a plan, and what it met in a run."""

    text: str
    text_ja: str
    met: int
    """How many lines, nodes or crashes, as `unit` says."""
    unit: str
    unit_ja: str
    note: str = ""
    """Why it met nothing, if so."""
    note_ja: str = ""

    @property
    def said(self) -> tuple[str, str]:
        """The fault with its count or its note."""
        if self.note:
            return f"{self.text} ({self.note})", f"{self.text_ja}（{self.note_ja}）"
        return f"{self.text} ({self.unit}: {self.met})", f"{self.text_ja}（{self.unit_ja}：{self.met}）"

    def as_json(self) -> dict[str, Any]:
        """The effect as `run --json` gives it."""
        return cast(dict[str, Any], to_builtins(self))


def recorded_effects(said: Any) -> tuple[Effect, ...]:
    """The effects that a trace says its faults had; none if it says nothing of the kind."""
    try:
        return convert(said, tuple[Effect, ...])
    except (ValidationError, RecursionError):
        return ()


@dataclass(slots=True)
class InForce(Generic[AnyFault]):
    """One fault, when it is there, and how often it met something."""

    fault: AnyFault
    span: Span
    met: int = 0


class Faults:
    """The faults of one run. Chance is drawn from `random`, from which nothing else draws."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self.plan = plan
        self._random = random
        self._all: list[InForce[Any]] = [InForce(one, one.span) for one in plan.faults]
        self._losses = self._of(Loss)
        self._delays = self._of(Delay)
        self._duplicates = self._of(Duplicate)
        self._partitions = self._of(Partition)
        self._outages = self._of(Outage)
        self.crashes = self._of(Crash)
        self._clocks = self._of(Clock)
        self._wrong: dict[tuple[int, str], None] = {}

    def _of(self, kind: type[AnyFault]) -> list[InForce[AnyFault]]:
        return [one for one in self._all if isinstance(one.fault, kind)]

    # Lines.

    def fates(self, sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        """What becomes of a line that is sent; None if it goes its way."""
        if self._is_lost(sender, recipient, now_us):
            return ((None, line),)
        late = [one.fault for one in self._delays if self._meets(one, sender, recipient, now_us)]
        again = [one.fault for one in self._duplicates if self._meets(one, sender, recipient, now_us)]
        if not late and not again:
            return None
        late_us = sum(map(self._late_us, late))
        return ((late_us, line), *((late_us + round(one.after_s * 1_000_000), line) for one in again))

    def is_away(self, address: str, now_us: int) -> bool:
        """Whether a line that arrives finds nobody, because the node is off the network."""
        return self._cut_off(address, now_us)

    def _is_lost(self, sender: str, recipient: str, now_us: int) -> bool:
        for one in self._partitions:
            side, other = one.fault.between
            if one.span.covers(now_us) and (
                (matches(side, sender) and matches(other, recipient))
                or (matches(other, sender) and matches(side, recipient))
            ):
                one.met += 1
                return True
        return self._cut_off(sender, now_us) or any(
            self._meets(one, sender, recipient, now_us) for one in self._losses
        )

    def _cut_off(self, address: str, now_us: int) -> bool:
        for one in self._outages:
            if one.span.covers(now_us) and matches(one.fault.node, address):
                one.met += 1
                return True
        return False

    def _meets(self, one: InForce[Any], sender: str, recipient: str, now_us: int) -> bool:
        """Whether a fault meets this line; draws for each that it could meet."""
        fault: OnTheWay = one.fault
        if one.met == fault.times or not one.span.covers(now_us):
            return False
        if not (matches(fault.sender, sender) and matches(fault.recipient, recipient)):
            return False
        if fault.chance < 1 and self._random.random() >= fault.chance:
            return False
        one.met += 1
        return True

    def _late_us(self, delay: Delay) -> int:
        jitter_us = round(delay.jitter_s * 1_000_000)
        return round(delay.delay_s * 1_000_000) + (self._random.randrange(jitter_us + 1) if jitter_us else 0)

    # Nodes.

    def is_down(self, address: str, now_us: int) -> bool:
        """Whether a crash keeps the node down."""
        return any(one.span.covers(now_us) and matches(one.fault.node, address) for one in self.crashes)

    def offset_us(self, address: str) -> int:
        """How far ahead the node's wall clock is."""
        offset_us = 0
        for number, one in enumerate(self._clocks):
            if matches(one.fault.node, address):
                offset_us += round(one.fault.offset_s * 1_000_000)
                if (number, address) not in self._wrong:
                    self._wrong[number, address] = None
                    one.met += 1
        return offset_us

    # What came of it.

    def effects(self, enrolled: Callable[[str], Iterable[str]]) -> tuple[Effect, ...]:
        """Each fault and what it met; `enrolled` gives the addresses that have a role."""
        return tuple(self._effect(one, enrolled) for one in self._all)

    def _effect(self, one: InForce[Any], enrolled: Callable[[str], Iterable[str]]) -> Effect:
        note = note_ja = ""
        if not one.met:
            note, note_ja = NOTHING
            absent = next((role for role in one.fault.roles if not any(True for _ in enrolled(role))), None)
            if absent is not None:
                note, note_ja = (text.format(absent) for text in NOBODY)
        (text, text_ja), (unit, unit_ja) = one.fault.said, one.fault.effect
        return Effect(text, text_ja, one.met, unit, unit_ja, note, note_ja)
