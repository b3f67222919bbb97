"""Whether a withdrawal ends what it withdraws, whoever crashes around it, at whichever commit, and whichever line is lost.

    uv run python tests/sweeps/withdrawals.py
    uv run python tests/sweeps/withdrawals.py --share 0.2 --json

A firm reads again and again what a resident consented to; the resident withdraws. Portal, broker, gateway and firm each
die at each of their commits around that, once before and once after it, and come up again three seconds later; or their
disk is full for that one commit; or one line is lost. Each time: nothing is read after the resident was told that it is
withdrawn, "pending" ends, the firm's next question is refused as withdrawn, and the records of all agree. Besides, ten
thousand consents are given at once in one run. Exit code 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from mesh import MeshError, Simulation
from mesh.builtin import CONSENTS
from mesh.faults.disturbance import Fates
from mesh.message import Request
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import messages
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from nodes.portal.api import API
from nodes.portal.consent_file import ConsentState
from nodes.portal.inbox import PORTAL, Portal
from scenarios._applicants import TAX_YEAR
from scenarios._private_users import APP, LOAN, Private, make_private
from scenarios.private_app import KOBE
from scenarios.private_app import run as private_app

PARTIES = (PORTAL, BROKER, API, APP)
HOW = ("dies before", "dies after", "has no room for")
LINES = "the network"
"""Stands for a party where it is a line that is lost."""
WATCHED_S = 4.0
"""How long after the withdrawal commits are counted: the last of them is long over."""
DOWN_S = 3.0
READ_EVERY_S = 0.5
DENSE_S, DENSE_EVERY_S = 0.2, 0.02
"""At first it reads so often that a question is at every stage when the broker takes the withdrawal."""
PATIENCE_S = 120.0
"""By then "pending" has ended, or it does not end."""
SAMPLE_EVERY_S = 0.001


@dataclass(frozen=True, slots=True)
class Point:
    """What goes wrong for whom at which of its commits from the withdrawal on, counted from 1; at none for 0."""

    party: str
    number: int
    """The commit; the line, if it is one that is lost."""
    how: str

    def __str__(self) -> str:
        return f"{self.party} {self.how} {'line' if self.party == LINES else 'commit'} {self.number}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one point; times are seconds after the resident first withdrew."""

    point: Point
    counted: int
    """How many commits the party made, or lines were sent, in the time that is watched, or until something went wrong."""
    withdrawn_s: float | None
    """When the resident was told that it is withdrawn."""
    last_read_s: float | None
    """When the firm last read something."""
    faults: tuple[str, ...]


class Watched:
    """One withdrawal in a world of its own."""

    def __init__(self, sim: Simulation, world: Private, point: Point) -> None:
        self.sim = sim
        self.world = world
        self.point = point
        self.person = world.cities.portal_code(world.customer)
        self.number = 0
        self.consent = ""
        self.start_s = 0.0
        self.counted = 0
        self.withdrawn_s: float | None = None
        self.last_read_s: float | None = None

    def now_s(self) -> float:
        return self.sim.loop.time() - self.start_s

    async def play(self) -> list[str]:
        """The withdrawal, with the party dying at its point; returns what does not hold."""
        self.number = self.world.app.link(self.world.firm_code)
        self.consent = await self.world.consent(self.number, days=1, uses=10_000)
        await self.read()
        self.start_s = self.sim.loop.time()
        self.last_read_s = None
        self.count()
        reading = asyncio.create_task(self.keep_reading(), name="reads")
        await asyncio.sleep(0.1)
        await self.withdraw()
        faults = await self.wait_for_the_end()
        await reading
        await asyncio.sleep(DOWN_S + 1)
        try:
            await self.read()
            faults.append("the firm reads on")
        except MeshError as error:
            if error.code != "consent_withdrawn":
                faults.append(f"the firm's next question ends in {error.code}")
        if self.withdrawn_s is not None and (self.last_read_s or 0) > self.withdrawn_s:
            faults.append("something was read after the resident was told that it is withdrawn")
        return faults

    def count(self) -> None:
        """Let go wrong what the point names; of a party only the commits of its first life count."""
        point = self.point
        if point.party == LINES:
            self.sim.disturbance.rules.append(self.lose)
            return
        host = self.sim.node(point.party).host
        commit = host.commit

        def counted(writes: Sequence[Any], rows: Sequence[Any] = ()) -> None:
            at = self.is_next() and host.alive
            if at and point.how == "has no room for":
                raise OSError("the disk is full")
            if at and point.how == "dies before":
                self.die()
            commit(writes, rows)
            if at and point.how == "dies after":
                self.die()

        host.commit = counted  # type: ignore[method-assign]

    def is_next(self) -> bool:
        """Whether it is the turn of the commit or line of the point."""
        if self.now_s() <= WATCHED_S:
            self.counted += 1
            return self.counted == self.point.number
        return False

    def lose(self, sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        return ((None, line),) if self.is_next() else None

    def die(self) -> None:
        self.sim.crash(self.point.party)
        self.sim.loop.call_later(DOWN_S, self.sim.restart, self.point.party)

    async def withdraw(self) -> None:
        """The resident withdraws, and once more if the portal died before it had taken that down."""
        while not (self.portal and self.state() in (ConsentState.PENDING, ConsentState.WITHDRAWN)):
            try:
                if self.portal:
                    await self.portal.withdraw(self.person, self.consent)
            except (MeshError, RuntimeError):
                pass  # The portal went down.
            await asyncio.sleep(0.5)

    @property
    def portal(self) -> Portal | None:
        """The portal, while it is up."""
        return None if PORTAL in self.sim._down else self.sim.node(PORTAL, Portal)

    def state(self) -> ConsentState:
        assert self.portal is not None
        return next(one.state for one in self.portal.consents(self.person) if one.id == self.consent)

    async def wait_for_the_end(self) -> list[str]:
        while self.withdrawn_s is None:
            if self.now_s() > PATIENCE_S:
                return ["it stays pending"]
            await asyncio.sleep(READ_EVERY_S)
        return []

    async def keep_reading(self) -> None:
        """Ask twice a second, until well after the end; and look all the time at what the resident is told."""
        tasks: list[asyncio.Task[None]] = []
        looking = asyncio.create_task(self.keep_looking(), name="looks")
        while self.withdrawn_s is None and self.now_s() < PATIENCE_S:
            tasks.append(asyncio.create_task(self.read_quietly(), name=f"reads {len(tasks)}"))
            await asyncio.sleep(DENSE_EVERY_S if self.now_s() < DENSE_S else READ_EVERY_S)
        await asyncio.gather(looking, *tasks)

    async def keep_looking(self) -> None:
        while self.withdrawn_s is None and self.now_s() < PATIENCE_S:
            if self.portal and self.state() is ConsentState.WITHDRAWN:
                self.withdrawn_s = self.now_s()
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def read_quietly(self) -> None:
        with contextlib.suppress(MeshError, RuntimeError):
            await self.read()

    async def read(self) -> None:
        if APP in self.sim._down:
            return
        await self.world.app.read_income(self.number, KOBE, TAX_YEAR)
        self.last_read_s = self.now_s()


def play(point: Point) -> Outcome:
    """One point in a run of its own, recorded and verified."""
    played: list[tuple[Watched, list[str]]] = []

    async def told(sim: Simulation, **_: Any) -> None:
        watched = Watched(sim, make_private(sim), point)
        played.append((watched, await watched.play()))

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        path = Path(folder) / "run.trace"
        result = run_scenario(replace(private_app, run=told), trace=path, nodes="nodes")
        with Trace.open(path) as trace:
            finding = verify(trace).finding
    if not played:
        return Outcome(point, 0, None, None, (f"it broke off: {result.error}",))
    watched, faults = played[0]
    # Who dies between a commit and what it sends has recorded what never left, and nobody else can tell that from a lie.
    said = "" if finding is None else finding.text
    torn = point.how == "dies after" and said.startswith(point.party) and said.endswith("never transmitted")
    if finding is not None and not torn:
        faults.append(f"the records do not agree: {finding}")
    return Outcome(point, watched.counted, watched.withdrawn_s, watched.last_read_s, tuple(faults))


def points(share: float = 1.0) -> list[Point]:
    """Every commit of every party in each way, and every line; spread evenly if it is to be a part of them."""
    made = {party: play(Point(party, 0, "")).counted for party in (*PARTIES, LINES)}
    every = [
        Point(party, number, how)
        for party, count in made.items()
        for number, how in product(range(1, count + 1), ("loses",) if party == LINES else HOW)
    ]
    return [one for number, one in enumerate(every) if int((number + 1) * share) > int(number * share)]


@dataclass(frozen=True, slots=True)
class Many:
    """What came of many consents at once."""

    given: int
    parts: int
    """In how many lines they reached the broker."""
    longest_bytes: int
    """The longest of these lines."""
    faults: tuple[str, ...]


def play_many(count: int) -> Many:
    """So many consents given at once in one run: all stand, and the last of them can be withdrawn."""
    made: list[Many] = []

    async def told(sim: Simulation, **_: Any) -> None:
        world = make_private(sim)
        made.append(await _give_many(sim, world, count))

    result = run_scenario(replace(private_app, run=told), nodes="nodes")
    return made[0] if made else Many(count, 0, 0, (f"it broke off: {result.error}",))


async def _give_many(sim: Simulation, world: Private, count: int) -> Many:
    number, person = world.app.link(world.firm_code), world.cities.portal_code(world.customer)
    giving = (world.consent(number, days=1, uses=9) for _ in range(count))
    given = await asyncio.gather(*giving)
    lines = [one.line for one in messages(sim, Request) if one.message.type == CONSENTS.name]
    portal, faults = sim.node(PORTAL, Portal), []
    if {one.state for one in portal.consents(person)} != {ConsentState.IN_FORCE}:
        faults.append("not every consent is in force")
    if await portal.withdraw(person, given[-1]) is not ConsentState.WITHDRAWN:
        faults.append("it stays pending")
    for consent, code in ((given[0], None), (given[-1], "consent_withdrawn")):
        world.app.keep_consent(number, consent, LOAN)
        if (came := await _code_of(world, number)) != code:
            faults.append(f"a question ends in {came}, not in {code}")
    # Each line comes to the broker twice: it passes on to itself what is for itself.
    return Many(count, len(lines) // 2, max(map(len, lines)), tuple(faults))


async def _code_of(world: Private, number: int) -> str | None:
    try:
        await world.app.read_income(number, KOBE, TAX_YEAR)
    except MeshError as error:
        return error.code
    return None


def main(words: list[str] | None = None) -> int:
    """Play what was asked for, print the table, and say what did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--share", type=float, default=1.0, help="the part of the points to play, from 0 to 1"
    )
    parser.add_argument("--consents", type=int, default=10_000, help="how many to give at once in one run")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    outcomes, many = [play(point) for point in points(args.share)], play_many(args.consents)
    held = sum(not one.faults for one in outcomes)
    failed = int(held != len(outcomes) or bool(many.faults))
    if args.json:
        made = [asdict(one) for one in outcomes]
        print(
            json.dumps(
                {"points": len(outcomes), "held": held, "outcomes": made, "many": asdict(many)}, indent=1
            )
        )
        return failed
    for party in (*PARTIES, LINES):
        about = [one for one in outcomes if one.point.party == party]
        waited = [one.withdrawn_s for one in about if one.withdrawn_s is not None]
        longest = f", told that it is withdrawn after {max(waited):.1f} s at most" if waited else ""
        print(f"{party}: {sum(not one.faults for one in about)} of {len(about)} points held{longest}")
    for one in outcomes:
        for fault in one.faults:
            print(f"  {one.point}: {fault}")
    print(
        f"{many.given:,} consents in one run: {many.parts} lines, the longest of {many.longest_bytes:,} bytes"
    )
    print("".join(f"  {fault}\n" for fault in many.faults), end="")
    print(f"{held} of {len(outcomes)} points held")
    return failed


if __name__ == "__main__":
    sys.exit(main())
