"""The pension records of 日本年金機構: which scheme somebody is enrolled in, from the registered copy.

Members of a mutual aid association (共済組合) are enrolled by their association; the simulated one is not
linked to the mesh, so this body holds no such record and the family brings paper.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Caller, Node, NotFound, PersonalService, ReplicaMissing, serves
from mesh.builtin import Empty
from mesh.names import Zone

PENSION = "org/nenkin/records"
"""The address of the one node of this class."""

Scheme = Literal["employees", "national"]
"""厚生年金, 国民年金."""
EmployerKind = Literal["private", "none"]


class Enrolment(Struct, frozen=True):
    """What 年金加入証明 would say."""

    scheme: Scheme | UnsetType = UNSET
    employer_kind: EmployerKind | UnsetType = UNSET
    months: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    """Months enrolled so far."""


ENROLMENT = PersonalService(
    "pension.enrolment.v1", Empty, Enrolment, title="Enrolment in a pension scheme", title_ja="年金加入情報"
)


class PensionBody(Node):
    """The records of one pension body."""

    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE enrolment(
      code TEXT PRIMARY KEY, scheme TEXT NOT NULL, employer_kind TEXT NOT NULL, months INTEGER NOT NULL);
    CREATE TABLE replica(
      code TEXT PRIMARY KEY, scheme TEXT NOT NULL, employer_kind TEXT NOT NULL, months INTEGER NOT NULL,
      registered_us INTEGER NOT NULL);
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
        return Enrolment(scheme=row["scheme"], employer_kind=row["employer_kind"], months=row["months"])
