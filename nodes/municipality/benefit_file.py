"""The files of a benefits office: households, what was found out about each, who decided, and what was paid.

Kept in the office's own tables; every method that writes is called inside the office's `effect()`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mesh.errors import NotFound
from mesh.service import Name
from mesh.store import Database
from nodes.firm.bank import Account, Outcome

Stage = Literal[
    "listed", "unclear", "taxed", "eligible", "approved", "noticed", "refused", "ordered", "settled"
]
"""`unclear`: a paper is missing. `ordered`: the bank has been asked. `settled`: the bank has answered."""
Way = Literal["", "push", "form"]
"""プッシュ型 to a registered account, or 確認書 with the copy of a bankbook."""

SCHEMA = """
CREATE TABLE programme(
  reference_on TEXT NOT NULL, tax_year INTEGER NOT NULL, yen INTEGER NOT NULL, bank TEXT NOT NULL);
CREATE TABLE household(
  number INTEGER PRIMARY KEY, head TEXT NOT NULL UNIQUE, kana TEXT NOT NULL, stage TEXT NOT NULL DEFAULT 'listed',
  way TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', refuse_by TEXT NOT NULL DEFAULT '');
CREATE TABLE taxation(
  household INTEGER NOT NULL REFERENCES household, person TEXT NOT NULL, taxed INTEGER NOT NULL,
  source TEXT NOT NULL, PRIMARY KEY (household, person));
CREATE TABLE paper(
  household INTEGER NOT NULL REFERENCES household, person TEXT NOT NULL, paper TEXT NOT NULL, why TEXT NOT NULL,
  PRIMARY KEY (household, person, paper));
CREATE TABLE account(
  household INTEGER PRIMARY KEY REFERENCES household, bank TEXT NOT NULL, branch TEXT NOT NULL,
  number TEXT NOT NULL, holder_kana TEXT NOT NULL, source TEXT NOT NULL);
CREATE TABLE payment(
  household INTEGER PRIMARY KEY REFERENCES household, order_number TEXT NOT NULL UNIQUE, yen INTEGER NOT NULL,
  outcome TEXT);
CREATE TABLE review(
  event TEXT PRIMARY KEY, household INTEGER NOT NULL REFERENCES household, taxed_now INTEGER NOT NULL,
  settled TEXT);
CREATE TABLE decision(
  number INTEGER PRIMARY KEY, household INTEGER NOT NULL REFERENCES household, what TEXT NOT NULL,
  official TEXT NOT NULL, at_us INTEGER NOT NULL);
"""


class Programme(NamedTuple):
    """One benefit: for whom it is, and how much."""

    reference_on: str
    """基準日: the household belongs to the city where it was registered on this day."""
    tax_year: int
    yen: int
    bank: str
    """The address of the designated bank (指定金融機関, 地方自治法235条)."""


@dataclass(frozen=True, slots=True)
class Household:
    """One household; `head` is a code of this city, and the head is the payee (世帯主が受給権者)."""

    number: int
    head: str
    kana: Name
    stage: Stage
    way: Way
    why: str
    refuse_by: str


class BenefitFile:
    """The office's households, over its database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def programme(self) -> Programme:
        """The benefit that is being paid; `NotFound` before it was opened."""
        row = self._db.execute("SELECT * FROM programme").fetchone()
        if row is None:
            raise NotFound("no programme is open")
        return Programme(*row)

    def open(self, programme: Programme) -> None:
        """Keep which benefit is paid."""
        self._db.execute("INSERT INTO programme VALUES (?, ?, ?, ?)", programme)

    def enter(self, heads: Sequence[tuple[str, str]]) -> None:
        """Keep households by (head, kana), each once."""
        self._db.executemany("INSERT OR IGNORE INTO household(head, kana) VALUES (?, ?)", heads)

    def household(self, number: int) -> Household:
        """One household; `NotFound` if there is none of this number."""
        return _one(self._db.execute("SELECT * FROM household WHERE number = ?", (number,)).fetchone())

    def household_of(self, head: str) -> Household:
        """The household of a head; `NotFound` for anybody else."""
        return _one(self._db.execute("SELECT * FROM household WHERE head = ?", (head,)).fetchone())

    def households(self, *stages: Stage) -> list[Household]:
        """The households at these stages, or all, in order."""
        rows = self._db.execute("SELECT * FROM household ORDER BY number").fetchall()
        return [_one(row) for row in rows if not stages or row["stage"] in stages]

    def move(self, number: int, stage: Stage) -> None:
        """Put a household at a stage."""
        self._db.execute("UPDATE household SET stage = ? WHERE number = ?", (stage, number))

    def notice(self, number: int, refuse_by: str) -> None:
        """Keep that a household was written to, and its last day to refuse."""
        self._db.execute(
            "UPDATE household SET stage = 'noticed', refuse_by = ? WHERE number = ?", (refuse_by, number)
        )

    def choose_way(self, number: int, way: Way, why: str) -> None:
        """Keep how a household is to be paid, and why it is not by push."""
        self._db.execute("UPDATE household SET way = ?, why = ? WHERE number = ?", (way, why, number))

    def taxed(self, number: int) -> dict[str, bool]:
        """Who of a household is known to be taxed or not, by person."""
        rows = self._db.execute(
            "SELECT person, taxed FROM taxation WHERE household = ? ORDER BY rowid", (number,)
        )
        return {row["person"]: bool(row["taxed"]) for row in rows}

    def keep_taxed(self, number: int, person: str, taxed: bool, source: str) -> None:
        """Keep whether a person is taxed; `source` is the tax office's address, or `paper`."""
        self._db.execute(
            "INSERT OR REPLACE INTO taxation VALUES (?, ?, ?, ?)", (number, person, taxed, source)
        )

    def household_with(self, person: str) -> int | None:
        """The household of whom it is known whether they are taxed, None if they are in none."""
        row = self._db.execute("SELECT household FROM taxation WHERE person = ?", (person,)).fetchone()
        return None if row is None else int(row["household"])

    def need_paper(self, number: int, person: str, paper: str, why: str) -> None:
        """Keep that the household must bring a paper; `why` is the code of the refusal."""
        self._db.execute("INSERT OR REPLACE INTO paper VALUES (?, ?, ?, ?)", (number, person, paper, why))

    def papers(self, number: int) -> list[tuple[str, str]]:
        """The papers that a household was asked for, in order: (paper, why)."""
        rows = self._db.execute("SELECT paper, why FROM paper WHERE household = ? ORDER BY rowid", (number,))
        return [(row["paper"], row["why"]) for row in rows]

    def account(self, number: int, *, doubtful: bool = False) -> Account | None:
        """Where a household's money is to go, or else the account in another name; None if there is none."""
        row = self._db.execute(
            "SELECT bank, branch, number, holder_kana FROM account"
            " WHERE household = ? AND (source = 'doubtful') = ?",
            (number, doubtful),
        ).fetchone()
        return None if row is None else Account(*row)

    def keep_account(self, number: int, account: Account, source: str) -> None:
        """Keep an account; `source` is `registry`, `bankbook` or `doubtful`."""
        self._db.execute(
            "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?, ?)",
            (number, account.bank, account.branch, account.number, account.holder_kana, source),
        )

    def order(self, number: int, yen: int) -> None:
        """Open the one payment of a household; a second one cannot be entered."""
        self._db.execute("INSERT INTO payment VALUES (?, ?, ?, NULL)", (number, f"bp-{number:06d}", yen))
        self.move(number, "ordered")

    def payment(self, number: int) -> tuple[str, int, Outcome | None] | None:
        """The one payment of a household: (order number, yen, outcome), None before it was ordered."""
        row = self._db.execute(
            "SELECT order_number, yen, outcome FROM payment WHERE household = ?", (number,)
        ).fetchone()
        return None if row is None else (row["order_number"], row["yen"], row["outcome"])

    def settle(self, number: int, outcome: Outcome) -> None:
        """Keep what the bank did."""
        self._db.execute("UPDATE payment SET outcome = ? WHERE household = ?", (outcome, number))
        self.move(number, "settled")

    def open_review(self, event: str, number: int, taxed_now: bool) -> None:
        """Keep that somebody's tax changed, for an official to look at."""
        self._db.execute("INSERT INTO review VALUES (?, ?, ?, NULL)", (event, number, taxed_now))

    def reviews(self) -> Sequence[tuple[int, bool]]:
        """Households whose tax changed and about which nobody has decided: (household, whether taxed now)."""
        rows = self._db.execute(
            "SELECT household, taxed_now FROM review WHERE settled IS NULL ORDER BY rowid"
        )
        return [(row["household"], bool(row["taxed_now"])) for row in rows]

    def settle_review(self, number: int, what: str) -> None:
        """Keep what was decided about the open reviews of a household."""
        self._db.execute(
            "UPDATE review SET settled = ? WHERE household = ? AND settled IS NULL", (what, number)
        )

    def decide(self, number: int, what: str, official: str, at_us: int) -> None:
        """Keep who decided what."""
        self._db.execute(
            "INSERT INTO decision(household, what, official, at_us) VALUES (?, ?, ?, ?)",
            (number, what, official, at_us),
        )

    def decisions(self, number: int) -> list[tuple[str, str]]:
        """What was decided about a household, in order: (what, official)."""
        rows = self._db.execute(
            "SELECT what, official FROM decision WHERE household = ? ORDER BY number", (number,)
        )
        return [(row["what"], row["official"]) for row in rows]


def _one(row: sqlite3.Row | None) -> Household:
    if row is None:
        raise NotFound("the office has no such household")
    return Household(*row)
