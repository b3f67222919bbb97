"""A run with a row of every kind in every ledger, and its parties' lies: one column each.

`uv run python -m tests.helpers_columns` prints who finds a lie about which column of which row.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from mesh.builtin import LEDGER_MARK
from mesh.errors import MeshError, Refused
from mesh.keys import derive
from mesh.ledger import Ledger, Row, read_row, row_bytes
from mesh.linkage import CodeBook
from mesh.names import BROKER, Zone
from mesh.policy import LegalBasis, ZonePath
from mesh.simulation import Simulation
from mesh.testing import Forger, keep_record
from mesh.trace.finding import Finding as TraceFinding
from mesh.trace.finding import Report
from mesh.trace.ledgers import Ledgers
from mesh.trace.reader import Trace
from mesh.trace.recheck import Recheck
from mesh.trace.registry_copy import registry_view
from nodes.agency.reconciliation import Finding, compare, compare_marks, gather, pairs, runs_back
from tests.helpers_trace import (
    CITY,
    INCOME,
    MOVED,
    RESIDENTS,
    TAX,
    City,
    Query,
    Residents,
    Tax,
    keys_of,
    query,
    tell,
)  # fmt: skip

replace = msgspec.structs.replace
_DIGESTS: Final = ("requestdigest", "permitdigest", "replydigest")
COLUMNS: Final = Row.__struct_fields__
HOUR_US: Final = 3_600_000_000
FUTURE_US: Final = 2**52


async def _story(sim: Simulation) -> None:
    for cls, address in ((Tax, TAX), (City, CITY), (Residents, RESIDENTS)):
        sim.add(cls, address)
    basis = LegalBasis(
        "muni/*/child-allowance", "child-allowance", "muni/*/tax", "tax.income.v1", ("income",)
    )
    sim.allow(basis)
    sim.allow(replace(basis, procedure="secret", undisclosed=True))
    sim.allow(
        LegalBasis("muni/*/child-allowance", "child-allowance", "muni/*/resident", "resident.moved.v1",
                   same_member=True)
    )  # fmt: skip
    sim.allow_path(ZonePath(Zone.MYNUMBER, Zone.CLOUD))
    for other in (TAX, BROKER):
        sim.allow(LegalBasis("muni/*/child-allowance", "history-mark", other, LEDGER_MARK.name))
    anna, ben = sim.resident("12345678901"), sim.resident("12345678902")
    tax, city = sim.node(TAX, Tax), sim.node(CITY)
    with tax.effect():
        tax.db.execute("INSERT INTO income VALUES (?, 500)", (sim.code("muni/28100", anna),))
    for person in (anna, ben):  # The codes of both are in the trace, for who would take one for the other.
        for member in ("muni/01208", "muni/28100", "gov/digital"):
            sim.code(member, person)

    forger = Forger(sim, CITY)

    async def ask(person: str, procedure: str = "child-allowance") -> None:
        with suppress(Refused):
            await city.ask(
                TAX, INCOME, Query(2025), subject=sim.code("muni/01208", person), procedure=procedure,
                items=("income",),
            )  # fmt: skip

    for _ in range(2):
        await ask(anna)
        await ask(anna, "secret")
        await ask(ben)
        await ask(anna, "holidays")
        sim.node(RESIDENTS).publish(MOVED, sim.code("muni/01208", anna))
        # A question that its provider refuses at its gate.
        line = forger.line(
            forger.request(
                TAX, INCOME.name, b'{"colour": 1}', subject=sim.code("muni/01208", anna),
                procedure="child-allowance", items="income",
            )
        )  # fmt: skip
        keep_record(sim, line)
        await sim.sleep(0.001)
        sim.transmit(CITY, BROKER, line)
        await sim.sleep(HOUR_US / 1e6)
    first = next(row for row in map(read_row, sim._stores[CITY].ledger_rows()) if row.entry == "opened")
    await city.hide(first.id, (BROKER, TAX), procedure="history-mark")
    await sim.sleep(2)
    await ask(anna)
    await sim.sleep(2)
    sim.trace.epilogue(law={row.id: msgspec.to_builtins(row) for row in sim.policy.bases})


def honest(path: Path) -> Path:
    """The run, told as it was."""
    return tell(path, _story)


class Place(NamedTuple):
    """One row of a party's ledger, and what it is."""

    party: str
    position: int
    kind: str
    """`opened question`, `closed push`…: the kind of row and of exchange."""
    row: Row


def rows_of(path: Path) -> dict[str, list[Row]]:
    """Every ledger of a trace."""
    found: dict[str, list[Row]] = {}
    for party, row in query(
        path, "SELECT address, row FROM ledger JOIN party p ON p.number = party ORDER BY ledger.number"
    ):
        found.setdefault(party, []).append(read_row(row))
    return found


def places(path: Path) -> list[Place]:
    """One row of each kind of each party: the first, which other rows follow."""
    found: dict[tuple[str, str], Place] = {}
    pushes = {id_ for (id_,) in query(path, "SELECT id FROM message WHERE kind = 'event'")}
    ledgers = rows_of(path)
    marked = {row.id for rows in ledgers.values() for row in rows if row.entry == "mark"}
    for party, rows in ledgers.items():
        for position, row in enumerate(rows):
            kind = f"{row.entry} {_kind(row, rows, pushes, marked)}"
            found.setdefault((party, kind), Place(party, position, kind, row))
    return list(found.values())


def _kind(row: Row, rows: list[Row], pushes: set[str], marked: set[str]) -> str:
    """What sort of exchange a row is of."""
    if row.id in pushes:
        return "push"
    about = [one for one in rows if one.id == row.id]
    if any(one.undisclosed and one.entry != "mark" for one in about):
        return "undisclosed question"
    if any(one.code is not None for one in about):
        return "refused question"
    return "hidden question" if row.id in marked else "question"


def lies(path: Path, place: Place) -> Iterator[tuple[str, list[tuple[Row, ...]]]]:
    """(column, what could stand in the place of the row instead); and what concerns the row as a whole."""
    row, ledgers = place.row, rows_of(path)
    own = ledgers[place.party]
    others = {
        name: list(dict.fromkeys(getattr(one, name) for rows in ledgers.values() for one in rows))
        for name in COLUMNS
    }
    mine = {name: list(dict.fromkeys(getattr(one, name) for one in own)) for name in COLUMNS}
    for name in COLUMNS:
        was = getattr(row, name)
        if name == "time_us":
            values: list[Any] = [was + 1, was + HOUR_US, was - HOUR_US, FUTURE_US, 0]
        elif name == "undisclosed":
            values = [not was]
        elif name == "entry":
            values = [
                one for one in ("opened", "permitted", "answered", "closed", "refused", "mark") if one != was
            ]
        elif name == "subject":
            values = [None, *others[name], "muni/01208:another"]
        elif name == "code":
            values = [None, "not_found", "withheld", "not_provided", "handler_failed"]
        elif name.endswith("digest"):
            values = [None, "0" * 64, *mine[name][:6]]
        else:
            values = [None if name not in ("id", "requester") else "other", "other/01/x", *mine[name][:4]]
        yield name, [(replace(row, **{name: value}),) for value in dict.fromkeys(values) if value != was]
    invented = replace(row, id=f"{row.id[:-4]}ffff")
    yield "struck out", [()]
    yield "repeated", [(row, row)]
    yield (
        "invented",
        [
            (row, invented),
            (row, replace(invented, **{name: "f" * 64 for name in _DIGESTS if getattr(row, name)})),
        ],
    )


class Law:
    """What the commission asks the issuer, answered from the run's own code keys."""

    def __init__(self) -> None:
        root = derive((1).to_bytes(16, "big", signed=True), "simulation")
        self._book = CodeBook(derive(root, "codes"))

    def same(self, first: str, second: str) -> bool:
        try:
            one, other = (self._book.person(code, code.partition(":")[0]) for code in (first, second))
        except MeshError:
            return False
        return one == other


def commission(path: Path) -> list[Finding]:
    """What the commission's comparison finds in the ledgers of a trace, all of them at hand and settled."""
    ledgers = rows_of(path)
    settled = gather(ledgers, 2**60)
    issuer = Law()
    found = [*runs_back(ledgers), *compare_marks(ledgers, settled)]
    for records in settled:
        found += compare(records, ledgers)
        found += [
            Finding("ledger_broken", BROKER, one.key[1], "another person", "別人")
            for one in pairs(records)
            if not issuer.same(one.asked, one.second)
        ]
    return found


def tell_lies(path: Path, place: Place, said: tuple[Row, ...]) -> None:
    """Let the party say that instead, and sign its ledger anew."""
    _rewrite(path, place.party, lambda position, row: said if position == place.position else (row,))


def _rewrite(path: Path, party: str, change: Callable[[int, Row], tuple[Row, ...]]) -> None:
    """Let a party put other rows in the place of each of its own, where they stood among all, and sign the end anew."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    ((number,),) = db.execute("SELECT number FROM party WHERE address = ?", (party,))
    before = db.execute(
        "SELECT number, row FROM ledger WHERE party = ? ORDER BY position", (number,)
    ).fetchall()
    db.execute("DELETE FROM ledger WHERE party = ?", (number,))
    db.execute("DELETE FROM head WHERE party = ?", (number,))
    # Room for a row more behind each.
    db.execute("UPDATE ledger SET number = -2 * number")
    db.execute("UPDATE ledger SET number = -number")
    ledger, position = Ledger(party), 0
    for at, (place, stored) in enumerate(before):
        for offset, row in enumerate(change(at, read_row(stored))):
            entry = row_bytes(row)
            db.execute(
                "INSERT INTO ledger VALUES (?, ?, ?, ?)", (2 * place + offset, number, position, entry)
            )
            ledger.extend([entry])
            position += 1
    token = ledger.sign_head(keys_of(party).signing, 0)
    db.execute("INSERT INTO head(party, token) VALUES (?, ?)", (number, token))
    db.commit()
    db.close()


class Bench:
    """The honest run, its messages checked once, and copies of it in which somebody lies."""

    def __init__(self, folder: Path) -> None:
        self.path = honest(folder / "honest.trace")
        self._copy = folder / "told.trace"
        with Trace.open(self.path) as trace:
            self._view = registry_view(trace)
            self._recheck = Recheck(trace, self._view, Report())
            for sent in trace.transmissions():
                self._recheck.transmission(sent)

    def found(self, place: Place | None = None, said: tuple[Row, ...] = ()) -> str:
        """Who finds it if that stands in a row's place: `v` for verify, `c` for the commission."""
        shutil.copy(self.path, self._copy)
        if place is not None:
            tell_lies(self._copy, place, said)
        return self._look()

    def found_of(self, deal: Deal, codes: dict[tuple[str, str], str]) -> str:
        """Who finds what two parties say alike."""
        shutil.copy(self.path, self._copy)
        strike(self._copy, deal, codes)
        return self._look()

    def _look(self) -> str:
        return ("c" if commission(self._copy) else "") + ("" if self._verifies() else "v")

    def _verifies(self) -> bool:
        with Trace.open(self._copy) as trace:
            ledgers = Ledgers(trace, self._view, self._recheck, Report(complete=True))
            try:
                ledgers.read_heads()
                for row in trace.ledger():
                    ledgers.row(row)
                ledgers.finish()
            except TraceFinding:
                return False
        return True


class Deal(NamedTuple):
    """Two parties that say the same untrue thing of one exchange, in all their rows of it."""

    parties: tuple[str, str]
    key: tuple[str, str]
    kind: str
    column: str
    value: Any
    """None for `row` strikes the rows out."""


def deals(path: Path) -> Iterator[Deal]:
    """Every pair of parties, for each kind of exchange and each column that both have filled."""
    ledgers = rows_of(path)
    kinds: dict[str, tuple[str, str]] = {}
    pushes = {id_ for (id_,) in query(path, "SELECT id FROM message WHERE kind = 'event'")}
    marked = {row.id for rows in ledgers.values() for row in rows if row.entry == "mark"}
    for row in ledgers[BROKER]:
        if row.service == LEDGER_MARK.name or row.entry not in ("permitted", "refused"):
            continue
        kind = "push" if row.id in pushes else "hidden question" if row.id in marked else "question"
        kinds.setdefault(f"{row.entry} {kind} {row.code or ''} {row.undisclosed}", (row.requester, row.id))
    for kind, key in dict.fromkeys((kind.split(" ", 1)[1], key) for kind, key in kinds.items()):
        of = {
            party: [row for row in rows if (row.requester, row.id) == key] for party, rows in ledgers.items()
        }
        parties = [party for party, rows in of.items() if rows]
        for first, second in combinations(parties, 2):
            yield Deal((first, second), key, kind, "row", None)
            for column in COLUMNS:
                values = [{getattr(row, column) for row in of[party]} - {None} for party in (first, second)]
                if column == "entry" or not all(values):
                    continue
                was = next(iter(values[0]))
                for value in _others(ledgers, column, was):
                    yield Deal((first, second), key, kind, column, value)


def _others(ledgers: dict[str, list[Row]], column: str, was: Any) -> list[Any]:
    if column == "time_us":
        return [was + HOUR_US, was - HOUR_US]
    if column == "undisclosed":
        return [True]
    if column == "code":
        return [None, "withheld", "not_provided"]
    if column == "subject":
        return ["another"]
    known = dict.fromkeys(getattr(row, column) for rows in ledgers.values() for row in rows)
    return [one for one in known if one is not None and one != was][:2]


def strike(path: Path, deal: Deal, code_of: dict[tuple[str, str], str]) -> None:
    """Let both parties of a deal say it. `code_of` gives a party's code of the other person, for its own one."""

    def said(party: str, _: int, row: Row) -> tuple[Row, ...]:
        if (row.requester, row.id) != deal.key:
            return (row,)
        if deal.column == "row":
            return ()
        was = getattr(row, deal.column)
        if was is None or (deal.column == "undisclosed" and row.entry in ("closed", "refused", "mark")):
            return (row,)
        value = code_of[party, was] if deal.column == "subject" else deal.value
        if deal.column == "undisclosed":
            value = not was
        if deal.column == "time_us":
            value = row.time_us + (HOUR_US if deal.value > 0 else -HOUR_US)
        return (replace(row, **{deal.column: value}),)

    for party in deal.parties:
        _rewrite(path, party, partial(said, party))


def other_codes(path: Path) -> dict[tuple[str, str], str]:
    """By party and code of one person, that party's code of the other one."""
    found: dict[str, dict[str, str]] = {}
    for handle, member, code in query(path, "SELECT handle, member, code FROM resident ORDER BY handle"):
        found.setdefault(member, {})[handle] = code
    swapped = {}
    for party in (CITY, TAX, BROKER, RESIDENTS):
        one, other = found[party.rsplit("/", 1)[0]].values()
        swapped |= {(party, one): other, (party, other): one}
    return swapped


_WHO = {"": "limit", "v": "verify", "c": "commission", "cv": "both"}


def table() -> Iterator[str]:
    """The table, as Markdown: kind of row, party and column, and who finds how many of the lies."""
    yield "| row | party | column | lies | found by |"
    yield "|---|---|---|---|---|"
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for place in places(bench.path):
            for column, instead in lies(bench.path, place):
                by = Counter(_WHO[bench.found(place, said)] for said in instead)
                found = ", ".join(f"{who} {times}" for who, times in sorted(by.items()))
                if instead:
                    yield f"| {place.kind} | {place.party} | {column} | {len(instead)} | {found} |"


if __name__ == "__main__":
    for line in table():
        print(line)
