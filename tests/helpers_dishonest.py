"""Runs that go wrong in every way that a page must show: on the wire, and in the parties' own records."""

from __future__ import annotations

from pathlib import Path

from mesh.errors import Refused
from mesh.faults import drop
from mesh.ledger import Ledger, read_row
from mesh.names import BROKER, member_of
from mesh.policy import LegalBasis
from mesh.simulation import Simulation
from nodes.data.members import name_of
from tests.helpers_trace import (
    CITY,
    INCOME,
    MOVED,
    RESIDENTS,
    TAX,
    City,
    Income,
    Query,
    Residents,
    Tax,
    edit,
    keys_of,
    query,
    tell,
)  # fmt: skip

BASIS = LegalBasis("muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",))
MOVES = LegalBasis(
    "muni/*/child-allowance", "child-allowance", "muni/*/resident", "resident.moved.v1", same_member=True
)


class TitledTax(Tax):
    """A tax office that a person can read the name of."""

    title, title_ja = "Individual inhabitant tax", "個人住民税"


class TitledCity(City):
    """An allowance office likewise."""

    title, title_ja = "Child allowance", "児童手当"


class TitledResidents(Residents):
    """A resident register likewise."""

    title, title_ja = "Resident register", "住民基本台帳"


class _World:
    """Kitami asks Kobe about Anna and Ben."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for cls, address in ((TitledTax, TAX), (TitledCity, CITY), (TitledResidents, RESIDENTS)):
            sim.add(cls, address)
        sim.allow(BASIS)
        sim.allow(MOVES)
        sim.name_members(name_of)
        self.anna, self.ben = sim.resident("12345678901"), sim.resident("12345678902")
        tax = sim.node(TAX)
        with tax.effect():
            for handle, income in ((self.anna, 500), (self.ben, 900)):
                code = sim.code("muni/28100", handle)
                tax.db.execute("INSERT INTO income VALUES (?, ?)", (code, income))

    async def ask(self, person: str, *, items: tuple[str, ...] = ("income",), attempts: int = 1) -> str:
        """What comes of one question."""
        subject = self.sim.code(member_of(CITY), person)
        try:
            answer: Income = await self.sim.node(CITY).ask(
                TAX, INCOME, Query(2025), subject=subject, procedure="child-allowance", items=items,
                timeout_s=2, attempts=attempts,
            )  # fmt: skip
        except Refused as refusal:
            return refusal.code
        return str(answer.income)

    def end(self) -> None:
        """Keep the names, as a run does at its end."""
        names = self.sim.names().items()
        self.sim.trace.epilogue(
            names={name: {"title": title, "title_ja": title_ja} for name, (title, title_ja) in names},
            services={"tax.income.v1": {"title": INCOME.title, "title_ja": INCOME.title_ja}},
        )


async def _rough(sim: Simulation) -> None:
    world = _World(sim)
    assert await world.ask(world.anna) == "500"
    assert await world.ask(world.anna, items=("dependants",)) == "item_not_permitted"
    with sim.offline(TAX):
        assert await world.ask(world.anna) == "recipient_unreachable"
    sim.disturbance.rules.append(drop(TAX, BROKER, times=1))
    assert await world.ask(world.ben, attempts=2) == "900"
    sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", world.anna))
    await sim.sleep(1)
    sim.transmit(CITY, BROKER, b"no message at all")
    await sim.sleep(1)
    sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", world.ben))
    await sim.sleep(0.007)
    world.end()


def rough(path: Path) -> Path:
    """A run in which lines are dropped, refused, repeated, undeliverable, and under way when it ends."""
    return tell(path, _rough)


async def _dishonest(sim: Simulation) -> None:
    world = _World(sim)
    for _ in range(4):
        assert await world.ask(world.anna) == "500"
    authoriser = sim.node(BROKER).authoriser  # type: ignore[attr-defined]
    honest, ben = authoriser.person_of, sim.codes.person(sim.code("gov/digital", world.ben), "gov/digital")
    authoriser.person_of = lambda message, now_us: ben
    assert await world.ask(world.anna) == "900"
    authoriser.person_of = honest
    sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", world.anna))
    await sim.sleep(1)
    world.end()


def dishonest(path: Path) -> Path:
    """A run whose broker takes one person for another once, and whose parties then change what they wrote.

    The requester strikes the beginning of its second question out, the provider its third answer; both sign what
    they made of it. One row of the resident register is damaged.
    """
    tell(path, _dishonest)
    ids = [id_ for (id_,) in query(path, "SELECT id FROM message WHERE kind = 'request' ORDER BY number")]
    _strike(path, CITY, ids[1], "opened")
    _strike(path, TAX, ids[2], "answered")
    ((number,),) = query(path, "SELECT number FROM party WHERE address = ?", RESIDENTS)
    edit(path, "UPDATE ledger SET row = ? WHERE party = ? AND position = 0", b'{"entry": "op\\ud800', number)
    return path


def _strike(path: Path, party: str, id_: str, entry: str) -> None:
    """Let a party strike one of its rows out and sign what is left."""
    ((number,),) = query(path, "SELECT number FROM party WHERE address = ?", party)
    stored = query(path, "SELECT number, position, row FROM ledger WHERE party = ? ORDER BY position", number)
    ((place, position),) = [
        (place, position)
        for place, position, row in stored
        if (read_row(row).id, read_row(row).entry) == (id_, entry)
    ]
    edit(path, "DELETE FROM ledger WHERE number = ?", place)
    edit(path, "UPDATE ledger SET position = position - 1 WHERE party = ? AND position > ?", number, position)
    edit(path, "DELETE FROM head WHERE party = ?", number)
    ledger = Ledger(party, [row for _, at, row in stored if at != position])
    edit(
        path,
        "INSERT INTO head(party, token) VALUES (?, ?)",
        number,
        ledger.sign_head(keys_of(party).signing, 0),
    )
