"""School enrolment (就学): the roll of children of school age, and the school that the board of education designates.

Rules kept here:
1. The roll follows the resident register (学校教育法施行令1条2項, 4条): whom it hears of it enters; parents need not apply
   to be on it.
2. A school is designated by an official of the board (5条, 6条), after which the parents hear of it.
3. School age lasts from the 1 April after the sixth birthday to the 31 March after the fifteenth (学校教育法17条).
"""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from typing import ClassVar, Final

from msgspec import Struct

from mesh import Caller, Event, ManualReview, Node, PersonalService, receives, serves
from mesh.names import Zone
from mesh.service import Date, Name
from nodes.data.calendar import day_of, school_year_end
from nodes.municipality.asking import ask_household, child_meant
from nodes.municipality.guidance import GUIDE_SCHEMA, Guidance
from nodes.municipality.resident import MOVE_IN, Member

PROCEDURE: Final = "school-enrolment"


class TransferForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A notice of a child that changes school (転入学届); who files it is its subject."""

    child_born: Date
    from_school: Name
    since: Date
    child_name: Name | None = None
    """Needed where several children of the household have one birth date."""


class TransferReply(Struct, frozen=True):
    """The school designated, or none yet."""

    school: Name | None


TRANSFER = PersonalService(
    "school.transfer.v1", TransferForm, TransferReply, title="Change of school", title_ja="転入学の届出"
)


class SchoolEnrolment(Node):
    """The system 就学 of one municipality's board of education."""

    title: ClassVar[str] = "School enrolment"
    title_ja: ClassVar[str] = "就学"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = GUIDE_SCHEMA + (
        "CREATE TABLE pupil("
        "child TEXT PRIMARY KEY, parent TEXT NOT NULL, born TEXT NOT NULL, school TEXT, from_school TEXT);"
    )

    @property
    def guidance(self) -> Guidance:
        """Parents to be told which school was designated."""
        return Guidance(self)

    @receives(MOVE_IN)
    async def on_move_in(self, event: Event, caller: Caller, person: str) -> None:
        """Enter the children of school age into the roll."""
        head, *others = await self._pupils_of(person)
        with self.effect():
            for one in others:
                self._enter(one.code, head.code, one.born)
                self.guidance.note(head.code, event.id)

    def designate(self, child: str, school: str) -> None:
        """An official designates a school for a child of the roll."""
        with self.effect():
            changed = self.db.execute("UPDATE pupil SET school = ? WHERE child = ?", (school, child)).rowcount
        if not changed:
            raise ManualReview("the child is not on the roll")

    @serves(TRANSFER)
    async def transfer(self, query: TransferForm, caller: Caller, person: str) -> TransferReply:
        """Note from which school a child comes; a child that the register does not show goes to an official."""
        members = await self._pupils_of(person)
        meant = (await child_meant(self, members, query.child_born, query.child_name, PROCEDURE)).code
        with self.effect():
            self._enter(meant, members[0].code, query.child_born)
            self.db.execute("UPDATE pupil SET from_school = ? WHERE child = ?", (query.from_school, meant))
            row = self.db.execute("SELECT school FROM pupil WHERE child = ?", (meant,)).fetchone()
        return TransferReply(row["school"])

    def pupils(self) -> list[sqlite3.Row]:
        """The roll: child, parent, born, school, from_school."""
        return self.db.execute("SELECT * FROM pupil ORDER BY rowid").fetchall()

    def _enter(self, child: str, parent: str, born: str) -> None:
        self.db.execute(
            "INSERT OR IGNORE INTO pupil(child, parent, born) VALUES (?, ?, ?)", (child, parent, born)
        )

    async def _pupils_of(self, person: str) -> list[Member]:
        """The head of a household, and its children of school age."""
        today = day_of(self.host.now_us())
        head, *others = await ask_household(self, person, PROCEDURE)
        pupils = [
            one
            for one in others
            if one.relation == "child" and is_of_school_age(date.fromisoformat(one.born), today)
        ]
        return [head, *pupils]


def is_of_school_age(born: date, day: date) -> bool:
    """Whether a child is of the age of compulsory education on a day."""
    return school_year_end(born, 6) + timedelta(days=1) <= day <= school_year_end(born, 15)
