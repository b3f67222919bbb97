"""Fixed property tax (固定資産税): the ledger of houses, who owns them, and what tax is levied on each.

Rules kept here:
1. The list of houses says where a house is and how it is built, and not whose it is. It is given inside the city for the
   survey after a disaster only (災害対策基本法90条の2第2項).
2. The tax of a house is reduced after a disaster on application (地方税法367条 and ordinance), once for a certificate.
3. An official decides a reduction; the office keeps what was asked of it until then.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType

from mesh import Caller, Node, NotFound, PersonalService, Service, serves
from mesh.builtin import Empty
from mesh.names import Zone
from nodes.agency.code_issuer import check_named
from nodes.municipality.disaster_rules import TAX_TENTHS, CertificateNumber, Damage, HouseNumber, Tenths

Structure = Literal["wooden", "other"]
"""木造, 非木造: the survey has a sheet for each."""


class HousesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for the houses after a number, page by page."""

    after: HouseNumber = "hs-000000"


class House(Struct, frozen=True):
    """One house as a surveyor needs it."""

    house: HouseNumber
    structure: Structure


class HousesReply(Struct, frozen=True):
    """At most `HOUSES_MAX` houses, by number."""

    houses: tuple[House, ...]


class Owned(Struct, frozen=True):
    """What a person owns here."""

    houses: tuple[HouseNumber, ...] | UnsetType = UNSET


class ReduceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application for a reduction after a disaster (減免申請), with what the certificate says."""

    certificate: CertificateNumber
    damage: Damage


class Reduction(Struct, frozen=True):
    """That the office has the application, and how much would fall away."""

    tenths: Tenths | UnsetType = UNSET
    again: bool | UnsetType = UNSET
    """Whether it had one for this certificate before."""


HOUSES_MAX = 500
HOUSES = Service(
    "property.houses.v1", HousesQuery, HousesReply, title="Houses of a city", title_ja="家屋一覧"
)
OWNED = PersonalService(
    "property.owned.v1", Empty, Owned, title="Houses that a person owns", title_ja="所有家屋"
)
REDUCE_TAX = PersonalService(
    "property.reduce.v1",
    ReduceQuery,
    Reduction,
    title="Apply for a reduction of property tax",
    title_ja="固定資産税の減免申請",
)


class PropertyTax(Node):
    """The system 固定資産税 of one municipality."""

    title: ClassVar[str] = "Fixed property tax"
    title_ja: ClassVar[str] = "固定資産税"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE house(
      house TEXT PRIMARY KEY, structure TEXT NOT NULL, owner TEXT NOT NULL, tax_yen INTEGER NOT NULL);
    CREATE TABLE reduction(
      certificate TEXT PRIMARY KEY, owner TEXT NOT NULL, tenths INTEGER NOT NULL, official TEXT);
    """

    def enter_house(self, house: HouseNumber, structure: Structure, owner: str, tax_yen: int) -> None:
        """Enter a house into the ledger (家屋課税台帳)."""
        with self.effect():
            self.db.execute("INSERT INTO house VALUES (?, ?, ?, ?)", (house, structure, owner, tax_yen))

    def grant(self, certificate: str, official: str) -> int:
        """Decide a reduction; returns how many yen fall away. `NotFound` for one that nobody applied for."""
        row = self.db.execute("SELECT * FROM reduction WHERE certificate = ?", (certificate,)).fetchone()
        if row is None:
            raise NotFound("nobody applied with this certificate")
        with self.effect():
            self.db.execute(
                "UPDATE reduction SET official = ? WHERE certificate = ?", (official, certificate)
            )
        tax = self.db.execute("SELECT sum(tax_yen) FROM house WHERE owner = ?", (row["owner"],)).fetchone()[0]
        return int(tax) * int(row["tenths"]) // 10

    def applications(self) -> list[tuple[str, int]]:
        """The applications, in order: (certificate, tenths)."""
        rows = self.db.execute("SELECT certificate, tenths FROM reduction ORDER BY rowid")
        return [(row["certificate"], row["tenths"]) for row in rows]

    @serves(HOUSES)
    async def houses(self, query: HousesQuery, caller: Caller) -> HousesReply:
        """The houses of the city, for the office that a row names."""
        check_named(caller)
        rows = self.db.execute(
            "SELECT house, structure FROM house WHERE house > ? ORDER BY house LIMIT ?",
            (query.after, HOUSES_MAX),
        )
        return HousesReply(tuple(House(row["house"], row["structure"]) for row in rows))

    @serves(OWNED)
    async def owned(self, query: Empty, caller: Caller, person: str) -> Owned:
        """The houses of a person, none if there are none."""
        return Owned(tuple(self._owned(person)))

    @serves(REDUCE_TAX)
    async def reduce(self, query: ReduceQuery, caller: Caller, person: str) -> Reduction:
        """Take an application in, once for a certificate; `not_found` from who owns nothing."""
        tenths = TAX_TENTHS.get(query.damage, 0)
        if not self._owned(person):
            raise NotFound("the person owns no house here")
        with self.effect():
            new = self.db.execute(
                "INSERT OR IGNORE INTO reduction VALUES (?, ?, ?, NULL)", (query.certificate, person, tenths)
            ).rowcount
        return Reduction(tenths, again=not new)

    def _owned(self, person: str) -> list[str]:
        rows = self.db.execute("SELECT house FROM house WHERE owner = ? ORDER BY house", (person,))
        return [row["house"] for row in rows]
