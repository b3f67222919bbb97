"""The resident register (住民基本台帳): who lives in the city, with whom, and where they came from.

Rules kept here:
1. The personal number (個人番号) stands in a table of its own and in no answer; the register alone has it.
2. A household is shown inside the same body only, where ordinance allows it (番号法9条2項).
3. An event says that something happened, and nothing about it: who needs more asks for it.
4. Who notified a move-out stays on record here until the new city has entered them (`move_file`).
5. Households are listed for an office of the same body that a row of the law names, and for nobody else.

The ladder 業務宛名番号 → 団体内統合宛名番号 → 符号 is folded into one: a person's key in every system of the
city is the city's linkage code.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from datetime import date
from typing import Annotated, ClassVar

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import (
    Caller,
    EventType,
    NotFound,
    PersonalService,
    Service,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Code, Date, Name, check_entry
from nodes.agency.card import Serial
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import levy_day
from nodes.data.name_key import name_key
from nodes.data.people import Household, Move, Person
from nodes.municipality.move_file import MOVE_SCHEMA
from nodes.municipality.moves import IDENTITY_CHANGE as IDENTITY_CHANGE
from nodes.municipality.moves import MOVE_IN as MOVE_IN
from nodes.municipality.moves import MOVED_OUT as MOVED_OUT
from nodes.municipality.moves import CityCode as CityCode
from nodes.municipality.moving_register import MovingRegister


class HouseholdQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a person's household; `january` is the year whose 1 January city matters."""

    january: Annotated[int, Meta(ge=1900, le=2200)] | None = None


class Member(Struct, frozen=True):
    """One member of a household."""

    code: Code
    relation: Name
    """`head`, `spouse` or `child`."""
    born: Date
    january_city: CityCode | None
    """Where they lived on 1 January of the year asked about (1月1日住所地)."""
    protected: bool
    """不開示該当: a victim under protection (支援措置), whose history must not show where they live."""


class HouseholdReply(Struct, frozen=True):
    """The members, the head first."""

    members: tuple[Member, ...]


class Residency(Struct, frozen=True):
    """Since when a person has lived in the city, and where they lived before; None if always here."""

    since: Date | UnsetType = UNSET
    came_from: CityCode | UnsetType | None = UNSET


class HeadsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the heads of the households that were registered on a day; `after` is the last page's end."""

    on: Date
    after: int = 0


class Head(Struct, frozen=True):
    """The head of one household, and how the register reads the name.

    The reading became part of the certified record on 26 May 2025 (住民基本台帳法7条, 振り仮名); until then it was the
    office's aid for searching, which it stays for residents without a 戸籍, as foreign ones are.
    """

    code: Code
    kana: Name


class HeadsReply(Struct, frozen=True):
    """At most `HEADS_MAX` heads, and where the next page begins, None at the end."""

    heads: tuple[Head, ...]
    next: int | None


class CountsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks how many residents there are of each age; `from_ages` begin the groups, the last one is open."""

    on: Date
    from_ages: tuple[Annotated[int, Meta(ge=0, le=120)], ...]


class Counts(Struct, frozen=True):
    """How many residents are in each group, and nothing about any of them."""

    counts: tuple[int, ...]


HEADS_MAX = 500
HOUSEHOLD = PersonalService(
    "resident.household.v1",
    HouseholdQuery,
    HouseholdReply,
    title="Household of a resident",
    title_ja="世帯情報",
)
RESIDENCY = PersonalService(
    "resident.residency.v1",
    Empty,
    Residency,
    title="Since when a person has lived here",
    title_ja="住民となった日と前住所地",
)
HEADS = Service(
    "resident.heads.v1",
    HeadsQuery,
    HeadsReply,
    title="Heads of the households on a day",
    title_ja="基準日現在の世帯主一覧",
)


class CertificateQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whose signature certificate has a serial number (公的個人認証)."""

    serial: Serial


class Addressee(Struct, frozen=True):
    """The holder's 宛名 in this city."""

    code: Code


BY_CERTIFICATE = Service(
    "resident.by-certificate.v1",
    CertificateQuery,
    Addressee,
    title="Resident by the serial number of a certificate",
    title_ja="電子証明書の発行番号による宛名の特定",
)

COUNTS = Service("resident.counts.v1", CountsQuery, Counts, title="Residents by age", title_ja="年齢別住民数")


class IdentifyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks which residents have a name and a birth date, as a document shows them."""

    name: Name
    born: Date


class IdentifyReply(Struct, frozen=True):
    """Their codes."""

    codes: tuple[Code, ...]


class Record(Struct, frozen=True):
    """A resident's name, and since when they live here."""

    name: Name
    kana: Name
    born: Date
    since: Date
    left_on: Date
    """The planned move-out from the city before, or `since` if none is known."""


IDENTIFY = Service(
    "resident.identify.v1",
    IdentifyQuery,
    IdentifyReply,
    title="Residents of a name and birth date",
    title_ja="氏名・生年月日による住民の特定",
)
RECORD = PersonalService(
    "resident.record.v1",
    Empty,
    Record,
    title="What fills in a form",
    title_ja="申請書に転記する住民情報",
)
BIRTH = EventType("resident.birth.v1", title="A child was entered in the register", title_ja="出生による記載")
DEATH = EventType("resident.death.v1", title="A person was struck off after death", title_ja="死亡による消除")


class ResidentRegister(MovingRegister):
    """The system 住民基本台帳 of one municipality."""

    title: ClassVar[str] = "Resident register"
    title_ja: ClassVar[str] = "住民基本台帳"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = (
        """
    CREATE TABLE resident(
      code TEXT PRIMARY KEY, resident_code TEXT NOT NULL UNIQUE, name TEXT NOT NULL, kana TEXT NOT NULL,
      born TEXT NOT NULL, sex TEXT, household INTEGER NOT NULL, relation TEXT NOT NULL, since TEXT NOT NULL,
      protected INTEGER NOT NULL DEFAULT 0, struck TEXT NOT NULL DEFAULT '');
    CREATE TABLE personal_number(code TEXT PRIMARY KEY REFERENCES resident, number TEXT NOT NULL UNIQUE);
    CREATE TABLE certificate(serial TEXT PRIMARY KEY, code TEXT NOT NULL REFERENCES resident);
    CREATE TABLE move(
      code TEXT NOT NULL REFERENCES resident, on_date TEXT NOT NULL, from_city TEXT NOT NULL,
      to_city TEXT NOT NULL);
    """
        + MOVE_SCHEMA
    )

    # What its staff does.

    def enter(self, household: Household, codes: dict[str, str]) -> None:
        """Enter a household that lives here already; `codes` are this city's, by handle."""
        since = household.moves[-1].on if household.moves else household.members[-1].born
        with self.effect():
            for person in household.members:
                self._enter(person, codes[person.handle], household, since)

    def register_move_in(self, household: Household, codes: dict[str, str]) -> str:
        """Accept a 転入届 and say so to whom the law names; returns the event's message id."""
        with self.effect():
            for person in household.members:
                self._enter(person, codes[person.handle], household, household.moves[-1].on)
            return self.publish(MOVE_IN, codes[household.head.handle])

    def note_certificate(self, code: str, serial: str) -> None:
        """Note the serial number of a certificate that was issued through this city (公的個人認証法3条)."""
        with self.effect():
            self._household_of(code)
            self.db.execute("INSERT INTO certificate VALUES (?, ?)", (serial, code))

    def register_name(self, code: str, name: str, kana: str) -> str:
        """Enter a changed name, as after a marriage; returns the event's message id.

        `UsageError` for a name that the register could not pass on.
        """
        _check_names(name, kana)
        with self.effect():
            self._household_of(code)
            self.db.execute("UPDATE resident SET name = ?, kana = ? WHERE code = ?", (name, kana, code))
            return self.publish(IDENTITY_CHANGE, code)

    def register_death(self, code: str) -> str:
        """Strike a person off after death (戸籍法86条の届出による消除); returns the event's message id."""
        with self.effect():
            self._household_of(code)
            self.db.execute("UPDATE resident SET struck = 'death' WHERE code = ?", (code,))
            return self.publish(DEATH, code)

    async def register_birth(
        self, *, resident_code: str, code: str, name: str, kana: str, born: str, parent_code: str
    ) -> None:
        """Accept a 出生届: write the newborn into the parent's household and say so to whom the law names.

        `code` and `parent_code` are this member's linkage codes, `born` a date. Raises `NotFound` if the
        parent does not live here, `UsageError` for a name that the register could not pass on.
        """
        _check_names(name, kana)
        with self.effect():
            household = self._household_of(parent_code)
            self.db.execute(
                "INSERT INTO resident(code, resident_code, name, kana, born, household, relation, since)"
                " VALUES (?, ?, ?, ?, ?, ?, 'child', ?)",
                (code, resident_code, name, kana, born, household, born),
            )
            self._number(code)
            self.publish(BIRTH, code)

    def protect(self, code: str) -> None:
        """Take up support measures for a victim (支援措置): what is asked about them is not shown."""
        with self.effect():
            self.db.execute("UPDATE resident SET protected = 1 WHERE code = ?", (code,))

    def find(self, name: str, born: str) -> list[str]:
        """Look residents up by name, however it is typed, and birth date; their codes."""
        rows = self.db.execute(
            "SELECT code, name FROM resident WHERE born = ? AND struck = '' ORDER BY rowid", (born,)
        )
        wanted = name_key(name)
        return [row["code"] for row in rows if name_key(row["name"]) == wanted]

    def personal_numbers(self) -> Iterable[str]:
        """Every personal number held here; for tests that look for them elsewhere."""
        return [row["number"] for row in self.db.execute("SELECT number FROM personal_number ORDER BY code")]

    # What it answers.

    @serves(HOUSEHOLD)
    async def household(self, query: HouseholdQuery, caller: Caller, person: str) -> HouseholdReply:
        """The household of a person, for another office of this city."""
        number = self._household_of(person)
        rows = self.db.execute(
            "SELECT code, relation, born, protected FROM resident WHERE household = ? AND struck = ''"
            " ORDER BY rowid",
            (number,),
        )
        return HouseholdReply(
            tuple(
                Member(
                    row["code"],
                    row["relation"],
                    row["born"],
                    None if query.january is None else self._city_on(row["code"], levy_day(query.january)),
                    bool(row["protected"]),
                )
                for row in rows
            )
        )

    @serves(RESIDENCY)
    async def residency(self, query: Empty, caller: Caller, person: str) -> Residency:
        """Since when a person has lived here, for another office of this city."""
        self._household_of(person)
        row = self.db.execute("SELECT since FROM resident WHERE code = ?", (person,)).fetchone()
        move = self.db.execute(
            "SELECT from_city FROM move WHERE code = ? ORDER BY on_date DESC", (person,)
        ).fetchone()
        return Residency(row["since"], None if move is None else move["from_city"])

    @serves(HEADS)
    async def heads(self, query: HeadsQuery, caller: Caller) -> HeadsReply:
        """The heads of all households of a day, page by page, for an office that a row names."""
        check_named(caller)
        rows = self.db.execute(
            "SELECT rowid, code, kana FROM resident WHERE relation = 'head' AND struck = '' AND since <= ? AND rowid > ?"
            " ORDER BY rowid LIMIT ?",
            (query.on, query.after, HEADS_MAX),
        ).fetchall()
        last = rows[-1]["rowid"] if len(rows) == HEADS_MAX else None
        return HeadsReply(tuple(Head(row["code"], row["kana"]) for row in rows), last)

    @serves(IDENTIFY)
    async def identify(self, query: IdentifyQuery, caller: Caller) -> IdentifyReply:
        """Who has the name and birth date of a document, for this city's counter."""
        check_named(caller)
        return IdentifyReply(tuple(self.find(query.name, query.born)))

    @serves(RECORD)
    async def record(self, query: Empty, caller: Caller, person: str) -> Record:
        """What fills in a resident's forms, for this city's counter."""
        self._household_of(person)
        row = self.db.execute("SELECT * FROM resident WHERE code = ?", (person,)).fetchone()
        left_on = self.moves.left_on(person) or row["since"]
        return Record(row["name"], row["kana"], row["born"], row["since"], left_on)

    @serves(BY_CERTIFICATE)
    async def by_certificate(self, query: CertificateQuery, caller: Caller) -> Addressee:
        """The 宛名 of a certificate's holder, for this city's 申請管理."""
        check_named(caller)
        row = self.db.execute(
            "SELECT code FROM certificate JOIN resident USING (code) WHERE serial = ? AND struck = ''",
            (query.serial,),
        ).fetchone()
        if row is None:
            raise NotFound
        return Addressee(row["code"])

    @serves(COUNTS)
    async def counts(self, query: CountsQuery, caller: Caller) -> Counts:
        """How many of those who live here are of each age on a day; the younger than the first group not."""
        check_named(caller)
        ages = self.db.execute(
            # An age is reached on the eve of the birthday, as `nodes.data.calendar.age_on` has it.
            "SELECT strftime('%Y', ?1, '+1 day') - strftime('%Y', born)"
            " - (strftime('%m-%d', ?1, '+1 day') < strftime('%m-%d', born)) AS age, count(*) AS number"
            " FROM resident WHERE struck = '' AND born <= ?1 GROUP BY age",
            (query.on,),
        )
        counts = [0] * len(query.from_ages)
        for row in ages:
            group = bisect_right(query.from_ages, row["age"]) - 1
            if group >= 0:
                counts[group] += row["number"]
        return Counts(tuple(counts))

    # Inside.

    def _city_on(self, code: str, day: date) -> str:
        """Where a person lived on a day, by the moves that the register knows of."""
        moves = self.db.execute(
            "SELECT on_date, from_city, to_city FROM move WHERE code = ? ORDER BY on_date", (code,)
        ).fetchall()
        city = moves[0]["from_city"] if moves else self.address.split("/")[1]
        for move in moves:
            if move["on_date"] <= day.isoformat():
                city = move["to_city"]
        return str(city)

    def _enter(self, person: Person, code: str, household: Household, since: date) -> None:
        _check_names(person.name, person.kana)
        check_entry("the relation", person.relation, Name)
        self.db.execute(
            "INSERT INTO resident(code, resident_code, name, kana, born, sex, household, relation, since)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                code,
                person.resident_code,
                person.name,
                person.kana,
                person.born.isoformat(),
                person.sex,
                household.number,
                person.relation,
                since.isoformat(),
            ),
        )
        self._number(code)
        self.db.executemany(
            "INSERT INTO move VALUES (?, ?, ?, ?)", [_move_row(code, move) for move in household.moves]
        )


def _check_names(name: str, kana: str) -> None:
    check_entry("the name", name, Name)
    check_entry("the name in kana", kana, Name)


def _move_row(code: str, move: Move) -> tuple[str, str, str, str]:
    return code, move.on.isoformat(), move.from_city, move.to_city
