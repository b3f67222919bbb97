"""The board of education (教育委員会): which pupils were absent how often.

Rules kept here:
1. It is an organ of its own beside the mayor: what it gives to the mayor's offices is a provision to another body
   (個人情報保護法69条2項3号), not use inside one. No personal number is involved, so 番号法19条11号 is not its basis.
2. The view for others is a band of days in the school year, neither days nor reasons. Thirty days are what the
   Ministry counts as long absence (文部科学省「児童生徒の問題行動・不登校等生徒指導上の諸課題に関する調査」).
3. A school year begins on 1 April (学校教育法施行規則59条).
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Caller, Node, NotFound, PersonalService, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.data.calendar import day_of

Band = Literal["few", "some", "long"]
"""Under 10, 10 to 29, 30 days and more in the school year."""


class Attendance(Struct, frozen=True):
    """A pupil's absence in this school year; the days themselves are for the schools."""

    absence: Band | UnsetType = UNSET
    absent_days: Annotated[int, Meta(ge=0)] | UnsetType = UNSET


ATTENDANCE = PersonalService(
    "education.attendance.v1", Empty, Attendance, title="Attendance of a pupil", title_ja="出欠の状況"
)


class EducationBoard(Node):
    """The pupils' register and attendance of one municipality's schools."""

    title: ClassVar[str] = "Board of education"
    title_ja: ClassVar[str] = "教育委員会"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE pupil(code TEXT PRIMARY KEY, school TEXT NOT NULL);
    CREATE TABLE absence(code TEXT NOT NULL REFERENCES pupil, month TEXT NOT NULL, days INTEGER NOT NULL,
      PRIMARY KEY (code, month));
    """

    def enrol(self, code: str, school: str) -> None:
        """Enter a pupil of a school."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO pupil VALUES (?, ?)", (code, school))

    def report_absence(self, code: str, month: str, days: int) -> None:
        """A school reports on how many days of a month (`2026-05`) a pupil was absent."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO absence VALUES (?, ?, ?)", (code, month, days))

    @serves(ATTENDANCE)
    async def attendance(self, query: Empty, caller: Caller, person: str) -> Attendance:
        """A pupil's absence since the school year began."""
        if self.db.execute("SELECT 1 FROM pupil WHERE code = ?", (person,)).fetchone() is None:
            raise NotFound
        start = school_year_start(day_of(self.host.now_us()))
        row = self.db.execute(
            "SELECT ifnull(sum(days), 0) AS days FROM absence WHERE code = ? AND month >= ?",
            (person, f"{start:%Y-%m}"),
        ).fetchone()
        return Attendance(band_of(row["days"]), row["days"])


def band_of(days: int) -> Band:
    """The band in which so many days of absence fall."""
    return "long" if days >= 30 else "some" if days >= 10 else "few"


def school_year_start(today: date) -> date:
    """The 1 April on which the present school year began."""
    start = date(today.year, 4, 1)
    return start if start <= today else start.replace(year=today.year - 1)
