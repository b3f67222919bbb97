"""A key changes at every step of a question and of two pushes: what comes of it, as a table.

    uv run python tests/sweeps/key_changes.py
    uv run python tests/sweeps/key_changes.py --share 0.1
    uv run python tests/sweeps/key_changes.py --only question --json

At each line of an exchange a party gets a new signing, sealing or TLS key, the former one stays or is revoked, and the line
arrives, is lost, or the party restarts at once. A row holds if a question has its effect once at most and is answered, or ends
with a code that no repeat of the mesh could have avoided; if a push arrives once, or is a dead letter that arrives once when
its publisher sends it again; if an honest question and an honest notice go through afterwards; if nothing passes that a
revoked key signs; and if the trace verifies and the commission finds nothing. Exit code 1 if a row does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[2]))

from msgspec import structs

from mesh import MeshError, Refused
from mesh.errors import CODES
from mesh.exchange import State
from mesh.faults import Fates
from mesh.keys import KINDS, NodeKeys
from mesh.message import Receipt, Reply
from mesh.names import BROKER
from mesh.simulation import STARTS
from mesh.testing import Forger, messages, run, simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from tests.helpers_keys import AMOUNT, DESK, LETTER, MOVED, OFFICE, Letter, Town

FLOWS = {
    "question": ((DESK, BROKER), (BROKER, OFFICE), (OFFICE, BROKER), (BROKER, DESK)),
    "notice": ((DESK, BROKER), (BROKER, DESK), (BROKER, OFFICE), (OFFICE, BROKER)),
    "event": ((DESK, BROKER), (BROKER, DESK), (BROKER, OFFICE), (OFFICE, BROKER)),
}
"""The lines of each, in their order."""
FATES = ("arrives", "lost", "restart")
HOW = ("ordinary", "revoked")
NAMES = {DESK: "desk", BROKER: "broker", OFFICE: "office"}


@dataclass(frozen=True, slots=True)
class Case:
    """Which key changes while which line is on its way, and what becomes of that line."""

    flow: str
    leg: int
    whose: str
    kind: str
    how: str
    fate: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one case; `wrong` is empty if it holds."""

    case: Case
    said: str
    """`answered` or `arrived`, or the code and whose fault it is; of a push sent again, both."""
    questions: int
    """How many questions or pushes were sent, by their ids."""
    effects: int
    forged: tuple[str, ...]
    """How what the former key signs afterwards is refused."""
    wrong: tuple[str, ...]


def cases() -> list[Case]:
    """All of them, in a fixed order."""
    return [
        Case(flow, leg, whose, kind, how, fate)
        for flow, legs in FLOWS.items()
        for leg, whose, kind, how, fate in product(range(len(legs)), NAMES, KINDS, HOW, FATES)
    ]


def share_of(all_cases: Sequence[Case], share: float) -> list[Case]:
    """So large a part of them, spread evenly over all."""
    return [one for number, one in enumerate(all_cases) if int((number + 1) * share) > int(number * share)]


def play(case: Case) -> Outcome:
    """One case, on a virtual loop and in a trace of its own."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "keys.trace"
        outcome = run(_play(case, path))
        with Trace.open(path) as trace:
            finding = verify(trace).finding
    if finding is None:
        return outcome
    return _with(outcome, f"the trace does not verify: {finding}")


def _with(outcome: Outcome, wrong: str) -> Outcome:
    return Outcome(
        outcome.case,
        outcome.said,
        outcome.questions,
        outcome.effects,
        outcome.forged,
        (*outcome.wrong, wrong),
    )


async def _play(case: Case, path: Path) -> Outcome:
    with simulation(trace=TraceWriter(path, scenario="keys", seed=1, settings={}, starts=STARTS)) as sim:
        town = Town(sim)
        town.begin()
        former = sim.keys_of(case.whose)
        _plan(town, case)
        if case.flow == "question":
            said, wrong = await _question(town, case)
        else:
            said, wrong = await _push(town, case)
        effects = len(town.office.done())
        kinds = Counter(
            one.message.id for one in messages(sim) if one.sender == DESK and one.message is not None
        )
        forged = await _forged(town, case, former)
        if set(forged) - {"certificate_revoked"}:
            wrong.append("what a revoked key signed was not refused for that")
        wrong += await _afterwards(town, effects)
        return Outcome(case, said, len(kinds), effects, tuple(sorted(set(forged))), tuple(wrong))


def _plan(town: Town, case: Case) -> None:
    """Change the key when the line leaves."""
    sim, leg = town.sim, FLOWS[case.flow][case.leg]
    left = [1]

    def restart() -> None:
        sim.crash(case.whose)
        sim.restart(case.whose)

    def rule(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        if (sender, recipient) != leg or not left:
            return None
        left.clear()
        sim.change_keys(case.whose, case.kind, revoked=case.how == "revoked")
        if case.fate == "restart":
            sim.loop.call_soon(restart)
        return ((None, line),) if case.fate == "lost" else None

    sim.disturbance.rules.append(rule)


async def _question(town: Town, case: Case) -> tuple[str, list[str]]:
    try:
        await town.ask()
    except Refused as refused:
        said = refused
    else:
        effects = town.office.done()
        return "answered", [] if effects == ["asked"] else ["an answer without its one effect"]
    wrong = []
    await asyncio.sleep(1)  # What was under way when its caller went down arrives all the same.
    effects = len(town.office.done())
    if effects > 1 or (effects and said.definite):
        wrong.append(f"{effects} effects, and the refusal is{'' if said.definite else ' not'} definite")
    gone = case.whose == DESK and case.fate == "restart" and said.code == "timeout"
    closed = case.how == "revoked" and said.code in ("seal_key_revoked", "certificate_revoked")
    if not gone and not (closed and not said.definite):
        wrong.append("it could have been answered")
    return f"{said.code} ({CODES[said.code].fault})", wrong


async def _push(town: Town, case: Case) -> tuple[str, list[str]]:
    if case.flow == "event":
        town.desk.publish(MOVED, town.code)
    else:
        town.desk.notify(LETTER, OFFICE, Letter("first"), subject=town.code, procedure="relief")
    await asyncio.sleep(100)
    wrong: list[str] = []
    said = "arrived"
    letters = town.desk.dead_letters()
    if letters:
        code = letters[0].code
        said = f"{code} ({CODES[code].fault}), sent again"
        if case.how == "ordinary":
            wrong.append("an ordinary change made a dead letter")
        town.desk.send_again(letters[0].message)
        await asyncio.sleep(100)
        if town.desk.dead_letters():
            wrong.append("what was sent again is a dead letter again")
    if len(town.office.done()) != 1:
        wrong.append(f"{len(town.office.done())} effects")
    return said, wrong


async def _forged(town: Town, case: Case, former: NodeKeys) -> list[str]:
    """What the former signing key signs afterwards, if it was revoked, and how each line is refused."""
    if case.how == "ordinary" or case.kind != "signing":
        return []
    sim = town.sim
    forger = Forger(sim, case.whose, former)
    if case.whose == DESK:
        asked = forger.request(OFFICE, AMOUNT.name, subject=town.code, procedure="relief", items="amount")
        forger.send(asked)
    elif case.whose == BROKER:
        asking = Forger(sim, DESK)
        line = asking.line(
            asking.request(OFFICE, AMOUNT.name, subject=town.code, procedure="relief", items="amount")
        )
        sim.transmit(BROKER, OFFICE, line + b"\n" + forger.permit(line))
    else:
        answers = [
            one for one in messages(sim) if one.sender == OFFICE and isinstance(one.message, Reply | Receipt)
        ]
        for one in answers[:1]:
            forger.send(structs.replace(one.message, id=forger.new_id()))
    before = len(messages(sim))
    await asyncio.sleep(1)
    return [str(one.code) for one in messages(sim)[before:] if one.sender == case.whose][:1]


async def _afterwards(town: Town, effects: int) -> list[str]:
    """An honest question and an honest notice go through, and nothing waits or was found."""
    wrong = []
    try:
        await town.ask()
    except MeshError as error:
        wrong.append(f"an honest question afterwards is refused: {error}")
    town.desk.notify(LETTER, OFFICE, Letter("afterwards"), subject=town.code, procedure="relief")
    await asyncio.sleep(30)
    if town.office.done()[effects:] != ["asked", "afterwards"]:
        wrong.append("what is honest afterwards does not have its effect once")
    wrong += [
        f"something waits in the outbox of the {NAMES[address]}"
        for address in (DESK, BROKER)
        for row in town.sim.node(address).host.store.outbox()
        if row[-1] != State.DEAD
    ]
    wrong += [f"the commission finds: {one.text}" for one in town.found()]
    return wrong


def line_of(outcome: Outcome) -> str:
    """One row of the table."""
    case = outcome.case
    sender, recipient = FLOWS[case.flow][case.leg]
    leg = f"{NAMES[sender]} → {NAMES[recipient]}"
    cells = (case.flow, leg, NAMES[case.whose], case.kind, case.how, case.fate, outcome.said)
    widths = (8, 15, 6, 7, 8, 7, 45)
    row = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    forged = f"forged: {', '.join(outcome.forged)}" if outcome.forged else ""
    wrong = f"  WRONG: {'; '.join(outcome.wrong)}" if outcome.wrong else ""
    return f"{row}  sent {outcome.questions}, effects {outcome.effects}  {forged}{wrong}".rstrip()


def main(words: list[str] | None = None) -> int:
    """Play what was asked for, print the table, and say what did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default=",".join(FLOWS), help="question, notice, event, with commas between"
    )
    parser.add_argument("--share", type=float, default=1.0, help="the part of the cases to play, from 0 to 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    chosen = share_of([one for one in cases() if one.flow in args.only.split(",")], args.share)
    outcomes = []
    for case in chosen:
        outcomes.append(play(case))
        if not args.json:
            print(line_of(outcomes[-1]), flush=True)
    wrong = [one for one in outcomes if one.wrong]
    if args.json:
        print(json.dumps({"cases": [asdict(one) for one in outcomes], "held": len(outcomes) - len(wrong)}))
    else:
        print(f"{len(outcomes) - len(wrong)} of {len(outcomes)} hold")
        for said, count in Counter(one.said for one in outcomes).most_common():
            print(f"  {count:4} {said}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
