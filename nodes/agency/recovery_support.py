"""The grant for rebuilding lives (被災者生活再建支援金) of one prefecture: takes claims in and decides them.

Rules kept here:
1. A claim comes through a city: the one in which the house stood, or the one in which the household stays. The
   prefecture asks the former's ledger for the certificate and how many lived there (災害対策基本法90条の4第1項3号), so that
   neither the certificate nor the resident record is attached. Who the others are it is not told.
2. One household has one grant: a claim is known by its certificate, whichever way it came, also on paper.
3. What cannot be asked is left to an official, who takes the copies on paper.
4. An official decides; nothing follows from a certificate by itself.

Only the basic grant is modelled. The additional one (加算支援金) rests on a contract, whose copy stays paper. Prefectures
leave the payment to 都道府県センター; it is paid as any benefit is (see `benefits.py`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from msgspec import UNSET, Struct, UnsetType

from mesh import Caller, ManualReview, Node, NotFound, PersonalService, Refused, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.municipality.disaster_rules import Damage, basic_grant_yen
from nodes.municipality.disaster_victims import AID, CERTIFICATE, Aid
from nodes.municipality.resident import CityCode

RECOVERY: Final = "pref/{prefecture}/recovery-support"
"""The address of a prefecture's desk, by the two digits of its code."""
PROCEDURE: Final = "recovery-support"


class ClaimQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A claim for the basic grant; who claims is its subject. `city` is where the house stood."""

    city: CityCode


class ClaimReceipt(Struct, frozen=True):
    """That the prefecture has the household's claim; `again` if it had it before."""

    number: int | UnsetType = UNSET
    again: bool | UnsetType = UNSET


CLAIM = PersonalService(
    "recovery.claim.v1",
    ClaimQuery,
    ClaimReceipt,
    title="Claim the grant for rebuilding lives",
    title_ja="被災者生活再建支援金の支給申請",
)


class RecoverySupport(Node):
    """The desk of one prefecture."""

    title: ClassVar[str] = "Grant for rebuilding lives"
    title_ja: ClassVar[str] = "被災者生活再建支援金"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE claim(
      number INTEGER PRIMARY KEY, certificate TEXT NOT NULL, city TEXT NOT NULL, claimant TEXT NOT NULL,
      came_from TEXT NOT NULL, damage TEXT NOT NULL, size INTEGER NOT NULL, yen INTEGER, official TEXT,
      UNIQUE (city, certificate));
    """

    @serves(CLAIM)
    async def claim(self, query: ClaimQuery, caller: Caller, person: str) -> ClaimReceipt:
        """Take a claim in, with what the city of the house says about it.

        `not_found` without a certificate; `manual_review` if the city cannot be asked: then paper is needed.
        """
        try:
            held = await self.ask(
                f"muni/{query.city}/disaster-victims",
                CERTIFICATE,
                Empty(),
                subject=person,
                procedure=PROCEDURE,
                items=("certificate", "damage", "size"),
            )
        except Refused as refused:
            raise NotFound if refused.code == "not_found" else ManualReview from refused
        if held.certificate is UNSET or held.damage is UNSET or held.size is UNSET:
            raise ManualReview
        return self._keep(held.certificate, query.city, person, caller.address, held.damage, held.size)

    def take_paper(
        self, certificate: str, city: str, claimant: str, damage: Damage, size: int
    ) -> ClaimReceipt:
        """Enter a claim that came with copies of the certificate and the resident record."""
        return self._keep(certificate, city, claimant, "paper", damage, size)

    def _keep(
        self, certificate: str, city: str, claimant: str, came_from: str, damage: Damage, size: int
    ) -> ClaimReceipt:
        with self.effect():
            new = self.db.execute(
                "INSERT OR IGNORE INTO claim(certificate, city, claimant, came_from, damage, size)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (certificate, city, claimant, came_from, damage, size),
            ).rowcount
            row = self.db.execute(
                "SELECT number FROM claim WHERE certificate = ? AND city = ?", (certificate, city)
            ).fetchone()
        return ClaimReceipt(row["number"], again=not new)

    def decide(self, number: int, official: str) -> int:
        """Decide a claim and tell the ledger of the city; returns the grant in yen.

        `ManualReview` for a claim that was decided before, `NotFound` for one that is not there.
        """
        row = self.db.execute("SELECT * FROM claim WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise NotFound("there is no such claim")
        if row["official"] is not None:
            raise ManualReview("the claim was decided before")
        yen = basic_grant_yen(row["damage"], row["size"])
        with self.effect():
            self.db.execute(
                "UPDATE claim SET yen = ?, official = ? WHERE number = ?", (yen, official, number)
            )
            if yen:
                self.notify(
                    AID,
                    f"muni/{row['city']}/disaster-victims",
                    Aid("basic-grant"),
                    subject=row["claimant"],
                    procedure=PROCEDURE,
                )
        return yen

    def claims(self) -> list[tuple[str, str, int | None]]:
        """The claims, in order: (certificate, from where it came, yen granted or None)."""
        rows = self.db.execute("SELECT certificate, came_from, yen FROM claim ORDER BY number")
        return [(row["certificate"], row["came_from"], row["yen"]) for row in rows]
