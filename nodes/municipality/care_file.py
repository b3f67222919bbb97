"""The records of a care insurance office: insured, certifications and their copies, applications, papers, shares.

Kept in the office's own tables; every method that writes is called inside the office's `effect()`.
"""

from __future__ import annotations

import sqlite3
from typing import Literal, NamedTuple

from mesh.errors import NotFound, ReplicaMissing
from mesh.service import Name, check_entry
from mesh.store import Database
from nodes.data.household import CareLevel

Outcome = Literal["open", "waiting", "carried-over", "assessment", "assessed"]

SCHEMA = """
CREATE TABLE insured(code TEXT PRIMARY KEY, since TEXT NOT NULL, came_from TEXT NOT NULL);
CREATE TABLE certification(
  code TEXT PRIMARY KEY, level TEXT NOT NULL, valid_from TEXT NOT NULL, valid_until TEXT NOT NULL,
  service_kinds TEXT NOT NULL);
CREATE TABLE replica(
  code TEXT PRIMARY KEY, level TEXT NOT NULL, valid_from TEXT NOT NULL, valid_until TEXT NOT NULL,
  service_kinds TEXT NOT NULL, registered_us INTEGER NOT NULL);
CREATE TABLE application(
  number INTEGER PRIMARY KEY, person TEXT NOT NULL, filed_on TEXT NOT NULL, outcome TEXT NOT NULL,
  why TEXT NOT NULL);
CREATE TABLE paper(
  application INTEGER NOT NULL REFERENCES application, paper TEXT NOT NULL, why TEXT NOT NULL,
  PRIMARY KEY (application, paper));
CREATE TABLE brought(
  application INTEGER PRIMARY KEY REFERENCES application, level TEXT NOT NULL, valid_from TEXT NOT NULL,
  valid_until TEXT NOT NULL, service_kinds TEXT NOT NULL);
CREATE TABLE share(
  code TEXT NOT NULL, tax_year INTEGER NOT NULL, tenths INTEGER NOT NULL, PRIMARY KEY (code, tax_year));
"""


class Insured(NamedTuple):
    """Since when somebody is insured here, and from which city they came (five digits, or empty)."""

    since: str
    came_from: str


class Certification(NamedTuple):
    """A level of needed care and its term, both days included."""

    level: CareLevel
    valid_from: str
    valid_until: str
    service_kinds: tuple[str, ...] = ()
    """The only kinds of service that the person may use, if they were designated (37条)."""


class Application(NamedTuple):
    """One application as it stands."""

    number: int
    person: str
    filed_on: str
    outcome: Outcome
    why: str


class CareFile:
    """The office's records, over its database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def insure(self, code: str, since: str, came_from: str) -> None:
        """Keep since when somebody is insured here, as the register has it: who comes back is insured anew."""
        self._db.execute("INSERT OR REPLACE INTO insured VALUES (?, ?, ?)", (code, since, came_from))

    def insured(self, code: str) -> Insured:
        """Since when somebody is insured; `NotFound` for who is not."""
        row = self._db.execute("SELECT since, came_from FROM insured WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise NotFound("the person is not insured here")
        return Insured(*row)

    def certification(self, code: str) -> Certification | None:
        """What somebody is certified at now, None if nothing."""
        return _certification(
            self._db.execute(
                "SELECT level, valid_from, valid_until, service_kinds FROM certification WHERE code = ?",
                (code,),
            ).fetchone()
        )

    def certify(self, code: str, one: Certification) -> None:
        """Keep a certification, in place of the one before. `UsageError` for what could not be passed on."""
        check_entry("the kinds of service", one.service_kinds, tuple[Name, ...])
        self._db.execute("INSERT OR REPLACE INTO certification VALUES (?, ?, ?, ?, ?)", (code, *_cells(one)))

    def copy(self, code: str, now_us: int) -> None:
        """Register the copy of a certification."""
        self._db.execute(
            "INSERT OR REPLACE INTO replica SELECT *, ? FROM certification WHERE code = ?", (now_us, code)
        )

    def replica(self, code: str) -> tuple[Certification, int]:
        """The copy of a certification, and when it was registered (µs since 1970).

        `NotFound` without any, `ReplicaMissing` while it is not registered.
        """
        row = self._db.execute("SELECT registered_us FROM replica WHERE code = ?", (code,)).fetchone()
        held = _certification(
            self._db.execute(
                "SELECT level, valid_from, valid_until, service_kinds FROM replica WHERE code = ?", (code,)
            ).fetchone()
        )
        if held is None:
            raise NotFound if self.certification(code) is None else ReplicaMissing
        return held, int(row["registered_us"])

    def open(self, person: str, filed_on: str) -> int:
        """Keep a new application; returns its number."""
        row = self._db.execute(
            "INSERT INTO application(person, filed_on, outcome, why) VALUES (?, ?, 'open', '') RETURNING number",
            (person, filed_on),
        ).fetchone()
        return int(row["number"])

    def application(self, number: int) -> Application:
        """One application; `NotFound` if there is none."""
        row = self._db.execute("SELECT * FROM application WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise NotFound("there is no such application")
        return Application(*row)

    def conclude(self, number: int, outcome: Outcome, why: str) -> None:
        """Keep how an application stands; `why` is the old city of what is carried over."""
        self._db.execute(
            "UPDATE application SET outcome = ?, why = ? WHERE number = ?", (outcome, why, number)
        )

    def need_paper(self, number: int, paper: str, why: str) -> None:
        """Keep that the person must bring a paper, for which the application waits."""
        self._db.execute("INSERT OR REPLACE INTO paper VALUES (?, ?, ?)", (number, paper, why))
        self.conclude(number, "waiting", why)

    def papers(self, number: int) -> list[tuple[str, str]]:
        """The papers that a person was asked for, in order: (paper, why)."""
        rows = self._db.execute(
            "SELECT paper, why FROM paper WHERE application = ? ORDER BY rowid", (number,)
        )
        return [(row["paper"], row["why"]) for row in rows]

    def keep_paper(self, number: int, one: Certification) -> None:
        """Keep what a paper says."""
        self._db.execute("INSERT OR REPLACE INTO brought VALUES (?, ?, ?, ?, ?)", (number, *_cells(one)))

    def on_paper(self, number: int) -> Certification | None:
        """What the paper that was brought says, None without one."""
        return _certification(
            self._db.execute(
                "SELECT level, valid_from, valid_until, service_kinds FROM brought WHERE application = ?",
                (number,),
            ).fetchone()
        )


def _cells(one: Certification) -> tuple[str, str, str, str]:
    return one.level, one.valid_from, one.valid_until, "\n".join(one.service_kinds)


def _certification(row: sqlite3.Row | None) -> Certification | None:
    if row is None:
        return None
    return Certification(
        row["level"], row["valid_from"], row["valid_until"], tuple(row["service_kinds"].splitlines())
    )
