"""The pension records of 日本年金機構: which scheme somebody is enrolled in, from the registered copy.

Members of a mutual aid association (共済組合) are enrolled by their association; the simulated one is not
linked to the mesh, so this body holds no such record and the family brings paper.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import (
    Caller,
    FromCopy,
    Node,
    NotFound,
    NoticeType,
    PersonalService,
    ReplicaMissing,
    instant,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date

PENSION = "org/nenkin/records"
"""The address of the one node of this class."""

Scheme = Literal["employees", "national"]
"""厚生年金, 国民年金."""
EmployerKind = Literal["private", "none"]


class Enrolment(FromCopy, frozen=True):
    """What 年金加入証明 would say."""

    scheme: Scheme | UnsetType = UNSET
    employer_kind: EmployerKind | UnsetType = UNSET
    months: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    """Months enrolled so far."""


ENROLMENT = PersonalService(
    "pension.enrolment.v1", Empty, Enrolment, title="Enrolment in a pension scheme", title_ja="年金加入情報"
)

ReportKind = Literal["address", "category"]
"""A new address, or a change of category (種別変更)."""


class PensionReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What an insured person notified to the city (国民年金法12条4項)."""

    kind: ReportKind
    since: Date


PENSION_REPORT = NoticeType(
    "pension.report.v1", PensionReport, title="Notice of an insured person", title_ja="国民年金の届出の報告"
)


class PensionBody(Node):
    """The records of one pension body."""

    title: ClassVar[str] = "Pension records"
    title_ja: ClassVar[str] = "年金記録"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE enrolment(
      code TEXT PRIMARY KEY, scheme TEXT NOT NULL, employer_kind TEXT NOT NULL, months INTEGER NOT NULL);
    CREATE TABLE replica(
      code TEXT PRIMARY KEY, scheme TEXT NOT NULL, employer_kind TEXT NOT NULL, months INTEGER NOT NULL,
      registered_us INTEGER NOT NULL);
    CREATE TABLE report(
      message TEXT PRIMARY KEY, city TEXT NOT NULL, code TEXT NOT NULL, kind TEXT NOT NULL, since TEXT NOT NULL);
    """

    def enrol(self, code: str, scheme: Scheme, employer_kind: EmployerKind, months: int) -> None:
        """Record an enrolment: the original (正本)."""
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO enrolment VALUES (?, ?, ?, ?)", (code, scheme, employer_kind, months)
            )

    def register_replica(self, code: str) -> None:
        """Register the copy (副本) of a person's record."""
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO replica SELECT *, ? FROM enrolment WHERE code = ?",
                (self.host.now_us(), code),
            )

    @serves(ENROLMENT)
    async def enrolment(self, query: Empty, caller: Caller, person: str) -> Enrolment:
        """Enrolment of a person, from the copy."""
        row = self.db.execute("SELECT * FROM replica WHERE code = ?", (person,)).fetchone()
        if row is None:
            known = self.db.execute("SELECT 1 FROM enrolment WHERE code = ?", (person,)).fetchone()
            raise NotFound if known is None else ReplicaMissing
        return Enrolment(
            as_of=instant(row["registered_us"]),
            scheme=row["scheme"],
            employer_kind=row["employer_kind"],
            months=row["months"],
        )

    @receives(PENSION_REPORT)
    async def on_report(self, report: PensionReport, caller: Caller, person: str) -> None:
        """Keep what a city reports; an official of this body goes on with it."""
        with self.effect():
            self.db.execute(
                "INSERT INTO report VALUES (?, ?, ?, ?, ?)",
                (caller.message, caller.address, person, report.kind, report.since),
            )

    def reports(self, code: str) -> list[tuple[str, str]]:
        """What cities reported about a person: (kind, since), the oldest first."""
        rows = self.db.execute("SELECT kind, since FROM report WHERE code = ? ORDER BY rowid", (code,))
        return [(row["kind"], row["since"]) for row in rows]
