"""Every party's clock wrong, by a second and by a month, for a while and for ever: what passes, and whom the code names.

    uv run python tests/sweeps/clocks.py
    uv run python tests/sweeps/clocks.py --share 0.2

Prints a row for each case, as a table in Markdown. One party's wall clock is wrong: for two hours, in which everybody
looks for what may be forgotten, or from the start on. A town asks an office, pushes to it, and reads under a consent
that a resident has just given. What was sent is captured and sent again: while the clock is wrong, when it is right
again, and when it is set back to the time at which it was sent. Exit code 1 if

- a fresh question is not answered though the clock differs by 300 s at most, or is answered beyond;
- the refusal's fault is another party's than the one whose clock is wrong;
- anything happens twice, or what was answered or taken over is neither done, nor waiting, nor a dead letter of which its
  publisher heard;
- a consent is called in force, and nothing can be read under it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import UNSET, Struct, UnsetType

sys.path.insert(0, str(Path(__file__).parents[2]))

from mesh.builtin import CONSENTS
from mesh.clock import run as run_virtual
from mesh.dead_letter import DeadLetter
from mesh.errors import Fault, Refused
from mesh.message import CLOCK_TOLERANCE_US, Event, Request
from mesh.names import BROKER
from mesh.node import Node
from mesh.party import read_line
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, PersonalService, receives, serves
from mesh.simulation import Simulation
from mesh.testing import messages, simulation
from nodes.portal.consent_file import ConsentState
from nodes.portal.consent_publisher import CONSENTS_PROCEDURE
from nodes.portal.inbox import PORTAL, Portal

TOWN, OFFICE = "muni/01208/hall", "muni/28100/office"
PARTIES: Final = {"requester": TOWN, "provider": OFFICE, "broker": BROKER, "portal": PORTAL}
FAULTS: Final = {"requester": Fault.REQUESTER, "provider": Fault.PROVIDER, "broker": Fault.BROKER}
OFFSETS_S: Final = tuple(
    sign * seconds for seconds in (1, 61, 600, 3600, 86_400, 31 * 86_400) for sign in (1, -1)
)
WRONG_FOR_S: Final = 7200
"""How long a clock is wrong that is not wrong for ever; at 600 s after it began everybody asks once."""
SETTLED_S: Final = 14 * 3600
"""After so long the authority has signed a later time, and what was kept until then may go."""
PERSON: Final = "12345678901"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    number: int


class Counted(Struct, frozen=True):
    number: int | UnsetType = UNSET


COUNT = PersonalService("test.count.v1", Query, Counted, title="Count", title_ja="計数")
READ = PersonalService("test.read.v1", Query, Counted, title="Read", title_ja="閲覧")
MOVED = EventType("test.moved.v1", title="Moved", title_ja="転居")


class Town(Node):
    """Asks and pushes; keeps what it hears of dead letters."""

    dead: tuple[str, ...] = ()

    def undelivered(self, letter: DeadLetter) -> None:
        self.dead = (*self.dead, letter.message)


class Office(Node):
    """Each question and each push leaves a row, so that a second effect shows."""

    schema = "CREATE TABLE done(what TEXT NOT NULL)"

    def _do(self, what: str) -> None:
        with self.effect():
            self.db.execute("INSERT INTO done VALUES (?)", (what,))

    @serves(COUNT)
    async def count(self, query: Query, caller: Caller, person: str) -> Counted:
        self._do(caller.message)
        return Counted(query.number)

    @serves(READ)
    async def read(self, query: Query, caller: Caller, person: str) -> Counted:
        return Counted(query.number)

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        self._do(event.id)

    def done(self) -> Counter[str]:
        """How often each message had its effect."""
        return Counter(row["what"] for row in self.db.execute("SELECT what FROM done"))


class Case(NamedTuple):
    """Whose clock is wrong, by how many seconds, and whether for ever."""

    party: str
    offset_s: int
    for_ever: bool

    @property
    def within(self) -> bool:
        """Whether clocks may differ by so much."""
        return abs(self.offset_s) * 1_000_000 <= CLOCK_TOLERANCE_US


CASES: Final = [
    Case(party, offset_s, for_ever)
    for party in PARTIES
    for offset_s in OFFSETS_S
    for for_ever in (False, True)
]


class Outcome(NamedTuple):
    """What came of a case; `wrong` says what should not have been."""

    asked: str
    """What a fresh question came to while the clock was wrong."""
    fault: str
    read: str
    """What a fresh consent came to."""
    pushed: str
    after: str
    """What a fresh question came to when the clock was right again."""
    wrong: tuple[str, ...]


class World:
    """The parties, one of whose clocks can be set."""

    def __init__(self, sim: Simulation, case: Case) -> None:
        self.sim = sim
        self.case = case
        self.offset_us = 0
        sim.add(Town, TOWN)
        sim.add(Office, OFFICE)
        sim.add(Portal, PORTAL)
        sim.allow(LegalBasis(TOWN, "relief", OFFICE, COUNT.name, ("number",)))
        sim.allow(LegalBasis(TOWN, "reading", OFFICE, READ.name, ("number",), consent=True))
        sim.allow(LegalBasis(OFFICE, "relief", TOWN, MOVED.name, ()))
        sim.allow(LegalBasis(PORTAL, CONSENTS_PROCEDURE, BROKER, CONSENTS.name))
        self.town, self.office = sim.node(TOWN, Town), sim.node(OFFICE, Office)
        self.portal = sim.node(PORTAL, Portal)
        self.code = sim.code("muni/01208", sim.resident(PERSON))
        self.my_code = sim.code("gov/portal", sim.resident(PERSON))
        sim.node(PARTIES[case.party]).host.now_us = lambda: sim.now_us() + self.offset_us
        self.pushed: list[str] = []

    def set_clock(self, offset_s: float) -> None:
        """Set the clock of the case's party wrong by so much."""
        self.offset_us = round(offset_s * 1_000_000)

    async def ask(self) -> tuple[str, Fault | None]:
        """A fresh question: what it came to, and whose fault that is."""
        return await self._said(COUNT, "relief", None)

    async def read(self, consent: str) -> tuple[str, Fault | None]:
        """A fresh question under a consent."""
        return await self._said(READ, "reading", consent)

    async def _said(
        self, service: PersonalService[Query, Counted], procedure: str, consent: str | None
    ) -> tuple[str, Fault | None]:
        try:
            await self.town.ask(
                OFFICE, service, Query(1), subject=self.code, procedure=procedure, consent=consent
            )
        except Refused as refused:
            return refused.code, refused.fault
        return "answered", None

    def push(self) -> None:
        """A fresh push; that it is kept is acknowledged at once."""
        self.pushed.append(self.town.publish(MOVED, self.code))

    async def consent(self) -> str:
        """A resident consents, in the portal, to a reading."""
        return await self.portal.grant(
            self.my_code, provider=OFFICE, firm="muni/01208", firm_code=self.code, procedure="reading",
            services=(READ.name,), items=("number",), days=30, uses=9,
        )  # fmt: skip

    def is_in_force(self, consent: str) -> bool:
        """Whether the resident is told that a consent is in force."""
        known = {one.id: one.state for one in self.portal.consents(self.my_code)}
        return known[consent] is ConsentState.IN_FORCE

    def look_for_what_may_go(self) -> None:
        """As each party's own timer does it."""
        for address in PARTIES.values():
            self.sim.node(address)._purge()

    async def send_again(self) -> None:
        """Whoever captured them, brings all questions and pushes of so far again, to broker and office."""
        captured = [*messages(self.sim, Request), *messages(self.sim, Event)]
        for line, permit in dict.fromkeys((one.line, one.permit) for one in captured):
            if permit is None:
                self.sim.transmit(TOWN, BROKER, line)
            else:
                self.sim.transmit(TOWN, OFFICE, line + b"\n" + permit)
                self.sim.transmit(BROKER, OFFICE, line + b"\n" + permit)
        await asyncio.sleep(5)

    def fate(self, push: str) -> str:
        """Where a push stands that was acknowledged."""
        if self.office.done()[push]:
            return "done"
        broker: Any = self.sim.node(BROKER)
        live = [*self.town._publisher.outbox._live.values(), *broker.post.outbox._live.values()]
        if any(read_line(one.line).id == push for one in live):
            return "waiting"
        return "dead letter" if push in self.town.dead else "lost"


async def play(case: Case) -> Outcome:
    """One case on the running virtual loop."""
    with simulation() as sim:
        world = World(sim, case)
        return await _play(world)


async def _play(world: World) -> Outcome:
    case, sim = world.case, world.sim
    answered = 0
    if case.for_ever:
        world.set_clock(case.offset_s)
    else:
        answered += (await world.ask())[0] == "answered"
        world.push()
        await asyncio.sleep(60)
    captured_us = sim.now_us()
    world.set_clock(case.offset_s)
    asked, fault = await world.ask()
    answered += asked == "answered"
    world.push()
    consent = await world.consent()
    read, _ = await world.read(consent)
    in_force = world.is_in_force(consent)
    await asyncio.sleep(WRONG_FOR_S)
    world.look_for_what_may_go()
    await world.send_again()
    if not case.for_ever:
        world.set_clock(0)
    after, _ = await world.ask()
    answered += after == "answered"
    world.look_for_what_may_go()
    await world.send_again()
    await asyncio.sleep(SETTLED_S)
    world.look_for_what_may_go()
    world.set_clock((captured_us - sim.now_us()) / 1_000_000)
    await world.send_again()
    fates = [world.fate(one) for one in world.pushed]
    wrong = tuple(_wrong(case, world, asked, fault, read, in_force, after, fates, answered))
    said_fault = "" if fault is None else str(fault)
    return Outcome(asked, said_fault, read, ", ".join(fates), after, wrong)


def _wrong(
    case: Case,
    world: World,
    asked: str,
    fault: Fault | None,
    read: str,
    in_force: bool,
    after: str,
    fates: list[str],
    answered: int,
) -> Iterator[str]:
    passes = case.within or case.party == "portal"
    if (asked == "answered") != passes:
        yield f"a fresh question: {asked}"
    if fault is not None and not passes and fault is not FAULTS[case.party]:
        yield f"{asked} names {fault}"
    if (read == "answered") != case.within:
        yield f"a fresh consent: {read}"
    if in_force and read != "answered" and passes:
        yield "a consent in force lets nobody read"
    if not case.for_ever and after != "answered":
        yield f"the clock is right again: {after}"
    done = world.office.done()
    twice = [one for one, times in done.items() if times > 1]
    if twice:
        yield f"{len(twice)} messages had their effect twice"
    if len([one for one in done if one not in world.pushed]) != answered:
        yield f"{answered} questions were answered, and {len(done)} things were done"
    if "lost" in fates or (case.within and fates != ["done"] * len(fates)):
        yield f"pushes: {', '.join(fates)}"


def said(offset_s: int) -> str:
    """An offset in words."""
    for name, seconds in (("days", 86_400), ("h", 3600), ("min", 60)):
        if abs(offset_s) >= seconds and offset_s % seconds == 0:
            return f"{offset_s // seconds:+d} {name}"
    return f"{offset_s:+d} s"


def row_of(case: Case, outcome: Outcome) -> str:
    """One row of the table."""
    how = "for ever" if case.for_ever else "2 h"
    asked = f"{outcome.asked} ({outcome.fault})" if outcome.fault else outcome.asked
    columns = (case.party, said(case.offset_s), how, asked, outcome.read, outcome.pushed, outcome.after)
    return "| " + " | ".join((*columns, "; ".join(outcome.wrong) or "as it should be")) + " |"


def sample(share: float) -> list[Case]:
    """A share of the cases, of all parties, offsets and lengths alike."""
    stride = 37  # Has no divisor in common with their number.
    places = sorted(number * stride % len(CASES) for number in range(round(share * len(CASES))))
    return [CASES[place] for place in places]


def main(print_row: Callable[[str], object] = print) -> int:
    """Play the cases and print the table; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description="What wrong clocks do.")
    parser.add_argument("--share", type=float, default=1.0, help="the share of the cases, evenly taken")
    share = parser.parse_args().share
    print_row("| whose clock | wrong by | for | a question | a new consent | pushes | after | |")
    print_row("|---|---|---|---|---|---|---|---|")
    failed = 0
    for case in sample(share):
        outcome = run_virtual(play(case))
        print_row(row_of(case, outcome))
        failed += bool(outcome.wrong)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
