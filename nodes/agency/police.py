"""The police of a prefecture: certifies that a car has a place off the road (保管場所証明, 自動車の保管場所の確保等に関する法律).

Rules kept here:
1. A place counts within two kilometres of where the car is used (施行令1条), and holds so many cars.
2. The certificate is told to the transport office, which asks by the case: nobody carries a paper (4条).
3. A withdrawn case gives its place back, once.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, NotFound, Service, Withheld, serves
from mesh.names import Zone
from nodes.agency.car_application import Place
from nodes.agency.case_steps import STEP_SCHEMA, Case, CaseQuery, Chassis, Steps, Undone
from nodes.agency.code_issuer import check_named

DISTANCE_MAX_M: Final = 2_000

CertificateNumber = Annotated[str, Meta(pattern="^gc-[0-9]{6}$")]


class GarageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which car is to be kept where."""

    case: Case
    chassis: Chassis
    place: Place


class GarageCertificate(Struct, frozen=True):
    """The certificate's number."""

    number: CertificateNumber


class StandingQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whether a car has its certificate in a case."""

    case: Case
    chassis: Chassis


GARAGE_CERTIFY = Service(
    "garage.certify.v1",
    GarageQuery,
    GarageCertificate,
    title="Certify a place to keep a car",
    title_ja="自動車保管場所証明",
)
GARAGE_STANDING = Service(
    "garage.standing.v1",
    StandingQuery,
    GarageCertificate,
    title="Certificate of a place in a case",
    title_ja="保管場所証明の通知",
)
GARAGE_WITHDRAW = Service(
    "garage.withdraw.v1",
    CaseQuery,
    Undone,
    title="Withdraw a place's certificate",
    title_ja="保管場所証明の取下げ",
)


class GaragePolice(Node):
    """Keeps the places that were surveyed and the certificates given for them."""

    title: ClassVar[str] = "Police: garage certificates"
    title_ja: ClassVar[str] = "警察（車庫証明）"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = (
        STEP_SCHEMA
        + """
    CREATE TABLE place(key TEXT PRIMARY KEY, distance_m INTEGER NOT NULL, spaces INTEGER NOT NULL);
    CREATE TABLE certificate(
      number INTEGER PRIMARY KEY, case_key TEXT NOT NULL, chassis TEXT NOT NULL, place TEXT NOT NULL REFERENCES place,
      withdrawn INTEGER NOT NULL DEFAULT 0);
    """
    )

    def survey(self, place: str, *, distance_m: int, spaces: int) -> None:
        """Enter what was found at a place: how far from the base of use, and for how many cars."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", (place, distance_m, spaces))

    def free_spaces(self, place: str) -> int:
        """How many cars a place could still hold; `NotFound` for one never surveyed."""
        row = self.db.execute(
            "SELECT spaces - (SELECT count(*) FROM certificate WHERE place = key AND NOT withdrawn) AS free"
            " FROM place WHERE key = ?",
            (place,),
        ).fetchone()
        if row is None:
            raise NotFound("the place was never surveyed")
        return int(row["free"])

    @serves(GARAGE_CERTIFY)
    async def certify(self, query: GarageQuery, caller: Caller) -> GarageCertificate:
        """Certify, once for each case; `manual_review` for a place that nobody surveyed, `withheld` if it fails."""
        check_named(caller)
        steps = Steps(self.db)
        known = steps.result(query.case)
        if known is not None:
            return GarageCertificate(known)
        row = self.db.execute("SELECT distance_m FROM place WHERE key = ?", (query.place,)).fetchone()
        if row is None:
            raise ManualReview("an officer looks at the place first")
        if row["distance_m"] > DISTANCE_MAX_M or self.free_spaces(query.place) < 1:
            raise Withheld("the place is too far away, or full")
        with self.effect():
            cursor = self.db.execute(
                "INSERT INTO certificate(case_key, chassis, place) VALUES (?, ?, ?)",
                (query.case, query.chassis, query.place),
            )
            number = f"gc-{cursor.lastrowid:06d}"
            steps.keep(query.case, number)
        return GarageCertificate(number)

    @serves(GARAGE_STANDING)
    async def standing(self, query: StandingQuery, caller: Caller) -> GarageCertificate:
        """The certificate that a car has in a case, for the transport office."""
        check_named(caller)
        row = self.db.execute(
            "SELECT number FROM certificate WHERE case_key = ? AND chassis = ? AND NOT withdrawn",
            (query.case, query.chassis),
        ).fetchone()
        if row is None:
            raise NotFound("no certificate stands in this case")
        return GarageCertificate(f"gc-{row['number']:06d}")

    @serves(GARAGE_WITHDRAW)
    async def withdraw(self, query: CaseQuery, caller: Caller) -> Undone:
        """Undo a case's certificate."""
        check_named(caller)
        with self.effect():
            undone = Steps(self.db).undo(query.case)
            self.db.execute("UPDATE certificate SET withdrawn = 1 WHERE case_key = ?", (query.case,))
        return Undone(undone is not None)
