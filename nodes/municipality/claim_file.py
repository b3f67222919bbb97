"""The files of a child allowance office: claims, what was found out about each, and what was decided.

Kept in the office's own tables; every method that writes is called inside the office's `effect()`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import date
from typing import Literal

from mesh.errors import NotFound
from mesh.store import Database

Occasion = Literal["birth", "move-in"]
Outcome = Literal["waiting", "granted", "over-limit", "other-parent", "employer-pays"]

SCHEMA = """
CREATE TABLE claim(
  number INTEGER PRIMARY KEY, claimant TEXT NOT NULL, occasion TEXT NOT NULL, happened_on TEXT NOT NULL,
  filed_on TEXT NOT NULL, public_servant INTEGER NOT NULL);
CREATE TABLE income(
  claim INTEGER NOT NULL REFERENCES claim, person TEXT NOT NULL, total_income_yen INTEGER NOT NULL,
  dependants INTEGER NOT NULL, source TEXT NOT NULL, as_of TEXT NOT NULL, PRIMARY KEY (claim, person));
CREATE TABLE pension(
  claim INTEGER NOT NULL REFERENCES claim, person TEXT NOT NULL, scheme TEXT NOT NULL, source TEXT NOT NULL,
  PRIMARY KEY (claim, person));
CREATE TABLE paper(
  claim INTEGER NOT NULL REFERENCES claim, person TEXT NOT NULL, paper TEXT NOT NULL, why TEXT NOT NULL,
  PRIMARY KEY (claim, person, paper));
CREATE TABLE decision(
  claim INTEGER PRIMARY KEY REFERENCES claim, outcome TEXT NOT NULL, claimant TEXT NOT NULL,
  monthly_yen INTEGER NOT NULL, first_month TEXT NOT NULL, rules TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim (認定請求) as it was filed; `claimant` is a code of this city."""

    claimant: str
    occasion: Occasion
    happened_on: date
    filed_on: date
    public_servant: bool


@dataclass(frozen=True, slots=True)
class Income:
    """What is known of a parent's income; `source` is the tax office's address, or `paper`."""

    total_income_yen: int
    dependants: int
    source: str
    as_of: str = ""
    """As of when the copy is that the tax office answered from; empty for a paper."""


@dataclass(frozen=True, slots=True)
class NeededPaper:
    """A paper that the family had to be asked for; `why` is the code of the refusal."""

    person: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided; `waiting` while papers are missing.

    `claimant` is who may claim: with `other-parent` not the one who filed. `first_month` is like `2024-10`.
    """

    outcome: Outcome
    claimant: str
    monthly_yen: int = 0
    first_month: str = ""
    rules: str = ""


class ClaimFile:
    """The office's claims, over its database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def open(self, claim: Claim) -> int:
        """Keep a new claim; returns its number."""
        row = self._db.execute(
            "INSERT INTO claim(claimant, occasion, happened_on, filed_on, public_servant)"
            " VALUES (?, ?, ?, ?, ?) RETURNING number",
            (
                claim.claimant,
                claim.occasion,
                claim.happened_on.isoformat(),
                claim.filed_on.isoformat(),
                claim.public_servant,
            ),
        ).fetchone()
        return int(row["number"])

    def claim(self, number: int) -> Claim:
        """One claim; `NotFound` if there is none."""
        row = self._db.execute("SELECT * FROM claim WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise NotFound("there is no such claim")
        return Claim(
            row["claimant"],
            row["occasion"],
            date.fromisoformat(row["happened_on"]),
            date.fromisoformat(row["filed_on"]),
            bool(row["public_servant"]),
        )

    def incomes(self, number: int) -> dict[str, Income]:
        """The incomes known so far, by person."""
        rows = self._db.execute("SELECT * FROM income WHERE claim = ? ORDER BY rowid", (number,))
        return {
            row["person"]: Income(row["total_income_yen"], row["dependants"], row["source"], row["as_of"])
            for row in rows
        }

    def keep_income(self, number: int, person: str, income: Income) -> None:
        """Keep a parent's income."""
        self._db.execute(
            "INSERT OR REPLACE INTO income VALUES (?, ?, ?, ?, ?, ?)", (number, person, *astuple(income))
        )

    def pension_scheme(self, number: int, person: str) -> str | None:
        """The pension scheme of a person, None while it is not known."""
        row = self._db.execute(
            "SELECT scheme FROM pension WHERE claim = ? AND person = ?", (number, person)
        ).fetchone()
        return None if row is None else str(row["scheme"])

    def keep_pension(self, number: int, person: str, scheme: str, source: str) -> None:
        """Keep a person's pension scheme."""
        self._db.execute(
            "INSERT OR REPLACE INTO pension VALUES (?, ?, ?, ?)", (number, person, scheme, source)
        )

    def papers(self, number: int) -> list[NeededPaper]:
        """The papers that the family was asked for, in order."""
        rows = self._db.execute("SELECT * FROM paper WHERE claim = ? ORDER BY rowid", (number,))
        return [NeededPaper(row["person"], row["paper"], row["why"]) for row in rows]

    def need_paper(self, number: int, paper: NeededPaper) -> None:
        """Keep that the family must bring a paper."""
        self._db.execute("INSERT OR REPLACE INTO paper VALUES (?, ?, ?, ?)", (number, *astuple(paper)))

    def decision(self, number: int) -> Decision | None:
        """What was decided, None if nothing yet."""
        row = self._db.execute(
            "SELECT outcome, claimant, monthly_yen, first_month, rules FROM decision WHERE claim = ?",
            (number,),
        ).fetchone()
        return None if row is None else Decision(*row)

    def decide(self, number: int, decision: Decision) -> None:
        """Keep what was decided."""
        self._db.execute(
            "INSERT OR REPLACE INTO decision VALUES (?, ?, ?, ?, ?, ?)", (number, *astuple(decision))
        )

    def has_case_of(self, person: str) -> bool:
        """Whether a person is in any claim: as who claims, or as whom something was found out about."""
        row = self._db.execute(
            "SELECT 1 FROM claim WHERE claimant = ?1 UNION SELECT 1 FROM income WHERE person = ?1"
            " UNION SELECT 1 FROM pension WHERE person = ?1 UNION SELECT 1 FROM paper WHERE person = ?1",
            (person,),
        ).fetchone()
        return row is not None
