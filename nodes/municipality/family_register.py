"""The family register (戸籍) of one municipality: the registers whose 本籍 is here, and the counter for copies.

Rules kept here:
1. The registers are the originals (正本). Copies of computerised ones go to the Minister of Justice
   (戸籍法119条の2); one that is kept on paper (118条1項ただし書,
   改製不適合戸籍) has no copy and is known here only.
2. Who is recorded, their spouse and lineal kin may have a copy (10条1項). Copies of other municipalities'
   registers are for those alone, in person and with a photograph (広域交付, 120条の2).
3. A copy is handed over when its fee is paid, that of a closed register being higher, and a fee is paid back when
   the copy is refused.
4. A register under protection is copied only when a named official here has decided so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from mesh import Caller, ManualReview, MeshError, Node, NotFound, Refused, Withheld, instant, serves
from mesh.builtin import Empty
from mesh.errors import Fault
from mesh.names import Zone
from mesh.service import Name, check_entry
from nodes.agency.family_register_link import FAMILY_COPY, FAMILY_LINK, FAMILY_WIDE_AREA
from nodes.agency.kinship import (
    Certificate,
    CopyQuery,
    Entry,
    EntryTie,
    Recorded,
    RecordKind,
    Tie,
    WideAreaQuery,
    closest,
)
from nodes.data.name_key import name_key
from nodes.municipality.cash_desk import FEE_PAID, FEE_REFUND, OrderQuery
from nodes.municipality.copy_orders import SCHEMA, Applicant, CopyOrder, CopyOrders
from nodes.municipality.family_events import FAMILY_CHANGE, FAMILY_ENTRY, RegisterEntry
from nodes.municipality.family_register_supplement import PROCEDURE, SUPPLEMENT_NUMBER


class Line(NamedTuple):
    """A person in a register, by this city's linkage code."""

    person: str
    name: str
    born: str
    removed: bool = False


class FamilyRegister(Node):
    """The system 戸籍 of one municipality."""

    title: ClassVar[str] = "Family register"
    title_ja: ClassVar[str] = "戸籍"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = (
        SCHEMA
        + """
    CREATE TABLE record(
      key TEXT PRIMARY KEY, kind TEXT NOT NULL, computerised INTEGER NOT NULL,
      protected INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE entry(
      record TEXT NOT NULL REFERENCES record, place INTEGER NOT NULL, person TEXT NOT NULL, name TEXT NOT NULL,
      born TEXT NOT NULL, removed INTEGER NOT NULL, PRIMARY KEY (record, place));
    CREATE TABLE tie(
      record TEXT NOT NULL REFERENCES record, kind TEXT NOT NULL, first TEXT NOT NULL, second TEXT NOT NULL,
      until TEXT);
    """
    )

    @property
    def orders(self) -> CopyOrders:
        """The orders for copies."""
        return CopyOrders(self.db)

    # Registers and their copies.

    def enter(
        self,
        number: int,
        lines: Iterable[Line],
        ties: Iterable[Tie],
        *,
        kind: RecordKind = "current",
        computerised: bool = True,
    ) -> str:
        """Enter a register under a number of this municipality; returns its key.

        `UsageError` for a name that the register could not pass on.
        """
        with self.effect():
            return self._enter(number, lines, ties, kind, computerised)

    def _enter(
        self, number: int, lines: Iterable[Line], ties: Iterable[Tie], kind: RecordKind, computerised: bool
    ) -> str:
        lines = tuple(lines)
        for line in lines:
            check_entry("the name", line.name, Name)
        key = f"kr-{self.address.split('/')[1]}-{number:06d}"
        self.db.execute(
            "INSERT INTO record(key, kind, computerised) VALUES (?, ?, ?)", (key, kind, computerised)
        )
        rows = [(key, place, *line) for place, line in enumerate(lines)]
        self.db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)
        self.db.executemany("INSERT INTO tie VALUES (?, ?, ?, ?, ?)", [(key, *tie) for tie in ties])
        return key

    def enter_marriage(self, number: int, *, left: str, staying: Line, changing: Line) -> str:
        """Accept a 婚姻届: a new register for the couple under the name of `staying` (民法750条, 戸籍法16条).

        `left` is the register that `changing` leaves; the event tells that an entry changed, no more.
        """
        with self.effect():
            self.db.execute(
                "UPDATE entry SET removed = 1 WHERE record = ? AND person = ?", (left, changing.person)
            )
            tie = Tie("spouse", staying.person, changing.person)
            key = self._enter(number, (staying, changing), (tie,), "current", True)
            self.publish(FAMILY_CHANGE, changing.person)
        return key

    def protect(self, record: str) -> None:
        """Note that a person of the register is under protection (支援措置)."""
        with self.effect():
            self.db.execute("UPDATE record SET protected = 1 WHERE key = ?", (record,))

    async def send_copy(self, record: str) -> int:
        """Send a register's copy to the Minister of Justice, with a number for each person; returns how many.

        Raises `ManualReview` for one kept on paper.
        """
        row = self._record(record)
        if not row["computerised"]:
            raise ManualReview("a register kept on paper has no copy")
        lines = self._lines(record)
        numbers = [await self._number(line.person) for line in lines]
        places = {line.person: place for place, line in enumerate(lines)}
        entries = [
            Entry(number, line.name, line.born, line.removed)
            for number, line in zip(numbers, lines, strict=True)
        ]
        ties = [
            EntryTie(tie.kind, places[tie.first], places[tie.second], tie.until) for tie in self._ties(record)
        ]
        copy = CopyQuery(record, row["kind"], bool(row["protected"]), tuple(entries), tuple(ties))
        return (await self.ask(FAMILY_LINK, FAMILY_COPY, copy, procedure=PROCEDURE)).persons

    async def _number(self, person: str) -> str:
        supplement = f"{self.member}/family-register-supplement"
        return (
            await self.ask(supplement, SUPPLEMENT_NUMBER, Empty(), subject=person, procedure=PROCEDURE)
        ).number

    @serves(FAMILY_ENTRY)
    async def entry(self, query: Empty, caller: Caller, person: str) -> RegisterEntry:
        """How the register names a person now, for another system of this municipality."""
        row = self.db.execute(
            "SELECT name, born FROM entry WHERE person = ? ORDER BY removed, rowid DESC", (person,)
        ).fetchone()
        if row is None:
            raise NotFound("no register here records the person")
        return RegisterEntry(row["name"], row["born"])

    # Copies over the counter.

    def order_copy(self, record: str, applicant: Applicant, kind: RecordKind = "current") -> CopyOrder:
        """Take an order for a copy; the fee goes to the municipality of this counter."""
        with self.effect():
            return self.orders.open(record, kind, applicant)

    async def examine(self, number: int, *, official: str | None = None) -> CopyOrder:
        """Hand the copy over or refuse it; `ordered` while the fee is not paid or nobody has answered.

        `official` names who decided about a register under protection. A refused copy's fee is paid back: where
        that was not confirmed, examining the order again asks for it once more. Raises `Refused` for a cash desk
        that gave no answer.
        """
        order = self.orders.order(number)
        desk = f"{self.member}/cash-desk"
        paid = await self.ask(desk, FEE_PAID, OrderQuery(order.key), procedure="fees")
        if order.state == "ordered" and paid.amount_yen == order.fee_yen:
            order = await self._decide(order, official)
        if order.state == "refused" and paid.amount_yen:
            await self.ask(desk, FEE_REFUND, OrderQuery(order.key), procedure="fees")
        return order

    async def _decide(self, order: CopyOrder, official: str | None) -> CopyOrder:
        try:
            copy = await self._copy_for(order, official)
            if copy.kind != order.kind:
                raise ManualReview("the fee of the other kind of register was paid")
        except MeshError as error:
            if isinstance(error, Refused) and (error.fault is Fault.NETWORK or not error.definite):
                return order  # Nobody has said no: the order stands, and is examined again.
            with self.effect():
                return self.orders.refuse(order.number, error.code)
        with self.effect():
            return self.orders.issue(order.number, len(copy.persons))

    async def _copy_for(self, order: CopyOrder, official: str | None) -> Certificate:
        """The copy, from this municipality's register or from the Minister of Justice."""
        applicant = order.applicant
        if order.record.split("-")[1] == self.address.split("/")[1]:
            return self._own_copy(order, official)
        if not (applicant.in_person and applicant.photo_id):
            raise ManualReview("copies of other municipalities' registers: in person and with a photograph")
        wanted = WideAreaQuery(order.record, applicant.name, applicant.born)
        return await self.ask(FAMILY_LINK, FAMILY_WIDE_AREA, wanted, procedure=PROCEDURE)

    def _own_copy(self, order: CopyOrder, official: str | None) -> Certificate:
        row, lines = self._record(order.record), self._lines(order.record)
        ties = [Tie(*tie) for tie in self.db.execute("SELECT kind, first, second, until FROM tie")]
        entries = self.db.execute(
            "SELECT DISTINCT person, name FROM entry WHERE born = ?", (order.applicant.born,)
        )
        wanted = name_key(order.applicant.name)
        applicants = [one["person"] for one in entries if name_key(one["name"]) == wanted]
        if not any(closest(ties, one, [line.person for line in lines]) for one in applicants):
            raise Withheld("neither recorded, nor spouse, nor lineal kin of a person recorded")
        if row["protected"] and official is None:
            raise ManualReview("an official decides about copies of this register")
        persons = tuple(Recorded(line.name, line.born, line.removed) for line in lines)
        return Certificate(order.record, row["kind"], persons, as_of=instant(self.host.now_us()))

    # Inside.

    def _record(self, key: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM record WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound("no register here has this key")
        return row

    def _lines(self, record: str) -> list[Line]:
        rows = self.db.execute(
            "SELECT person, name, born, removed FROM entry WHERE record = ? ORDER BY place", (record,)
        )
        return [Line(row["person"], row["name"], row["born"], bool(row["removed"])) for row in rows]

    def _ties(self, record: str) -> list[Tie]:
        rows = self.db.execute("SELECT kind, first, second, until FROM tie WHERE record = ?", (record,))
        return [Tie(*row) for row in rows]
