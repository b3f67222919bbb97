"""Medical care for the elderly (後期高齢者医療): who is insured, at which premium, and what of it falls away.

Rules kept here:
1. Insured is who is 75 or over and lives in the area of the union (広域連合; 高齢者の医療の確保に関する法律50条1号). Who is
   disabled and younger (同条2号) is not modelled.
2. The union levies the premium (104条); the city collects it, and takes applications in for the union.
3. The union decides a reduction (111条), once for a person and certificate; an official enters what it decided.
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Final

from msgspec import UNSET, Struct, UnsetType

from mesh import Caller, ManualReview, Node, NotFound, PersonalService, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.data.calendar import DAY, day_of, reaches
from nodes.municipality.disaster_rules import PREMIUM_TENTHS, CertificateNumber, Damage, Tenths

INSURED_YEARS: Final = 75


class Insured(Struct, frozen=True):
    """Whether a person is insured."""

    insured: bool | UnsetType = UNSET


class ReducePremiumQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application for a reduction after a disaster (減免申請), with what the certificate says."""

    certificate: CertificateNumber
    damage: Damage


class PremiumReduction(Struct, frozen=True):
    """That the application is with the union, and how much would fall away."""

    tenths: Tenths | UnsetType = UNSET
    again: bool | UnsetType = UNSET
    """Whether it had one for this person and certificate before."""


INSURED = PersonalService(
    "elderly-medical.insured.v1",
    Empty,
    Insured,
    title="Whether a person is insured",
    title_ja="後期高齢者医療の資格",
)
REDUCE_PREMIUM = PersonalService(
    "elderly-medical.reduce.v1",
    ReducePremiumQuery,
    PremiumReduction,
    title="Apply for a reduction of the premium",
    title_ja="後期高齢者医療保険料の減免申請",
)


class ElderlyMedical(Node):
    """The system 後期高齢者医療 of one municipality."""

    title: ClassVar[str] = "Medical care for the elderly"
    title_ja: ClassVar[str] = "後期高齢者医療"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE insured(code TEXT PRIMARY KEY, since TEXT NOT NULL, premium_yen INTEGER NOT NULL);
    CREATE TABLE reduction(
      code TEXT NOT NULL REFERENCES insured, certificate TEXT NOT NULL, tenths INTEGER NOT NULL, official TEXT,
      PRIMARY KEY (code, certificate));
    """

    def insure(self, code: str, born: date, premium_yen: int) -> None:
        """Enter who has reached 75, from the birthday on (52条); `ManualReview` for who is younger.

        The unions count from the birthday itself, so from the day after the eve on which the age is reached; for who is
        born on 29 February that is 1 March in a year without that day.
        """
        since = reaches(born, INSURED_YEARS) + DAY
        if since > day_of(self.host.now_us()):
            raise ManualReview("the person is not 75 yet")
        with self.effect():
            self.db.execute("INSERT INTO insured VALUES (?, ?, ?)", (code, since.isoformat(), premium_yen))

    def enter_decision(self, code: str, certificate: str, official: str) -> int:
        """Enter that the union granted a reduction; returns how many yen of the year's premium fall away."""
        row = self.db.execute(
            "SELECT tenths, premium_yen FROM reduction JOIN insured USING (code)"
            " WHERE code = ? AND certificate = ?",
            (code, certificate),
        ).fetchone()
        if row is None:
            raise NotFound("nobody applied with this certificate")
        with self.effect():
            self.db.execute(
                "UPDATE reduction SET official = ? WHERE code = ? AND certificate = ?",
                (official, code, certificate),
            )
        return int(row["premium_yen"]) * int(row["tenths"]) // 10

    @serves(INSURED)
    async def insured(self, query: Empty, caller: Caller, person: str) -> Insured:
        """Whether a person is insured here."""
        return Insured(self._is_insured(person))

    @serves(REDUCE_PREMIUM)
    async def reduce(self, query: ReducePremiumQuery, caller: Caller, person: str) -> PremiumReduction:
        """Take an application in for the union; `not_found` from who is not insured."""
        if not self._is_insured(person):
            raise NotFound("the person is not insured here")
        tenths = PREMIUM_TENTHS.get(query.damage, 0)
        with self.effect():
            new = self.db.execute(
                "INSERT OR IGNORE INTO reduction VALUES (?, ?, ?, NULL)", (person, query.certificate, tenths)
            ).rowcount
        return PremiumReduction(tenths, again=not new)

    def _is_insured(self, person: str) -> bool:
        return self.db.execute("SELECT 1 FROM insured WHERE code = ?", (person,)).fetchone() is not None
