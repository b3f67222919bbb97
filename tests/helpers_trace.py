"""A little mesh whose run leaves a trace: answers, refusals, a push, hostile bytes, a crash, a retry."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from mesh.clock import VirtualLoop, run
from mesh.errors import NotFound, Refused
from mesh.faults import drop, repeat
from mesh.keys import NodeKeys, derive
from mesh.ledger import Ledger, Row, read_row, row_bytes
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, PersonalService, receives, serves
from mesh.simulation import STARTS, Simulation
from mesh.trace.columns import index_of
from mesh.trace.writer import TraceWriter


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Income(Struct, frozen=True):
    income: int | UnsetType = UNSET
    dependants: int | UnsetType = UNSET


INCOME = PersonalService("tax.income.v1", Query, Income, title="Income", title_ja="所得")
MOVED = EventType("resident.moved.v1", title="Moved", title_ja="転居")

BROKER = "gov/digital/broker"
TAX = "muni/28100/tax"
CITY = "muni/01208/child-allowance"
RESIDENTS = "muni/01208/resident"


class Tax(Node):
    schema = "CREATE TABLE income(code TEXT PRIMARY KEY, income INTEGER NOT NULL)"

    @serves(INCOME)
    async def income(self, query: Query, caller: Caller, person: str) -> Income:
        row = self.db.execute("SELECT income FROM income WHERE code = ?", (person,)).fetchone()
        if row is None:
            raise NotFound
        return Income(income=row["income"], dependants=3)


class City(Node):
    @receives(MOVED)
    async def moved(self, event: object, caller: Caller, person: str) -> None:
        """Nothing to do."""


class Residents(Node):
    pass


async def story(sim: Simulation, rounds: int) -> None:
    """What happens: `rounds` answers, and one of everything else."""
    for cls, address in ((Tax, TAX), (City, CITY), (Residents, RESIDENTS)):
        sim.add(cls, address)
    sim.allow(
        LegalBasis("muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",))
    )
    sim.allow(
        LegalBasis("muni/*/child-allowance", "child-allowance", "muni/*/resident", "resident.moved.v1",
                   same_member=True)
    )  # fmt: skip
    sim.allow(
        LegalBasis(
            "muni/*/child-allowance", "secret", "muni/*/tax", "tax.income.v1", ("income",), undisclosed=True
        )
    )
    anna, ben = sim.resident("12345678901"), sim.resident("12345678902")
    for handle in (anna, ben):
        sim.code("gov/digital", handle)
    tax, city = sim.node(TAX, Tax), sim.node(CITY)
    with tax.effect():
        tax.db.execute("INSERT INTO income VALUES (?, 500)", (sim.code("muni/28100", anna),))

    async def ask(
        person: str, procedure: str = "child-allowance", items: tuple[str, ...] = ("income",)
    ) -> str:
        try:
            await city.ask(
                TAX, INCOME, Query(2025), subject=sim.code("muni/01208", person), procedure=procedure,
                items=items, timeout_s=2, attempts=1,
            )  # fmt: skip
        except Refused as refusal:
            return refusal.code
        return "answered"

    for _ in range(rounds):
        assert await ask(anna) == "answered"
    assert await ask(ben) == "not_found"
    assert await ask(anna, "secret") == "answered"
    assert await ask(anna, "holidays") == "no_legal_basis"
    with sim.offline(TAX):
        assert await ask(anna) == "recipient_unreachable"
    twice = repeat(CITY, BROKER)
    sim.disturbance.rules.append(twice)
    assert await ask(anna) == "answered"
    await sim.sleep(2)
    sim.disturbance.rules.remove(twice)
    sim.disturbance.rules.append(drop(TAX, BROKER, times=1))
    assert await ask(ben) == "timeout"
    sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", anna))
    await sim.sleep(1)
    sim.crash(CITY)
    sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", ben))
    await sim.sleep(5)
    sim.restart(CITY)
    sim.transmit(TAX, BROKER, b"no message at all\nnor a permit")
    await sim.sleep(60)
    sim.expect("it went well", True, text_ja="うまくいった")


def make_trace(path: Path, *, rounds: int = 1, seed: int = 1, complete: bool = True) -> Path:
    """Run the story into a trace file."""
    return tell(path, lambda sim: story(sim, rounds), seed=seed, complete=complete)


def tell(
    path: Path, told: Callable[[Simulation], Awaitable[None]], *, seed: int = 1, complete: bool = True
) -> Path:
    """Run any story into a trace file."""
    writer = TraceWriter(path, scenario="story", seed=seed, starts=STARTS)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        sim = Simulation(loop=loop, seed=seed, trace=writer)
        await told(sim)
        sim.close()

    run(main())
    writer.close(complete=complete)
    return path


def keys_of(address: str) -> NodeKeys:
    """The keys of a node of the story, as its seed gives them: what an insider could sign with."""
    return NodeKeys.derived(derive((1).to_bytes(16, "big", signed=True), "simulation"), address)


def edit(path: Path, sql: str, *values: object) -> None:
    """Change a trace behind its back."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    with db:
        assert db.execute(sql, values).rowcount
    db.close()


def query(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask a trace directly."""
    db = sqlite3.connect(path)
    rows = db.execute(sql, values).fetchall()
    db.close()
    return rows


def forge_message(path: Path, number: int, line: bytes) -> None:
    """Put other bytes in a message's place, with the digest and the columns that belong to them."""
    edit(
        path,
        "UPDATE message SET line = ?, digest = ?, kind = ?, id = ?, service = ?, code = ? WHERE number = ?",
        line, sha256(line).digest(), *index_of(line), number,
    )  # fmt: skip


def forge_ledger(path: Path, party: str, change: Callable[[list[Row]], list[Row]]) -> None:
    """Let a party rewrite its ledger and sign its new end: a liar, who holds the key."""
    ((number,),) = query(path, "SELECT number FROM party WHERE address = ?", party)
    before = query(path, "SELECT number, row FROM ledger WHERE party = ? ORDER BY number", number)
    rows = change([read_row(row) for _, row in before])
    ledger = Ledger(party)
    edit(path, "DELETE FROM ledger WHERE party = ?", number)
    edit(path, "DELETE FROM head WHERE party = ?", number)
    entries = [row_bytes(row) for row in rows]
    ledger.extend(entries)
    for position, ((place, _), entry) in enumerate(zip(before[-len(rows) :], entries, strict=True)):
        edit(path, "INSERT INTO ledger VALUES (?, ?, ?, ?)", place, number, position, entry)
    token = ledger.sign_head(keys_of(party).signing, 0)
    edit(path, "INSERT INTO head(party, token) VALUES (?, ?)", number, token)
