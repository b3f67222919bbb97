"""Public personal authentication (公的個人認証サービス) of J-LIS: issues signature certificates, says if one holds.

Rules kept here, all of 公的個人認証法 (電子署名等に係る地方公共団体情報システム機構の認証業務に関する法律):
1. A certificate is issued on an application that the city of residence passes on (3条), not to children under 15.
2. It ends with the fifth birthday after its issue (5条; 施行規則).
3. It lapses as soon as name, address, birth date or sex change, or the holder dies (12条, 15条): the registers say
   so over 住民基本台帳ネットワーク (住民基本台帳法30条の6, 30条の7; the prefecture in between is left out here).
4. Only relying parties (署名検証者, 17条) learn whether a serial number holds (18条), and nothing about its holder.

Outside 番号法: no 符号 is used. This member's code of a person stands in for the 住民票コード, by which
住民基本台帳ネットワーク knows people.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from mesh import Caller, Event, ManualReview, Node, NotFound, Service, Simulation, receives, serves
from mesh.base64url import encode_text
from mesh.keys import SigningKey, VerifyKey
from mesh.names import Zone, member_of
from nodes.agency.card import Card, Certificate, Serial, sign_certificate
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of
from nodes.data.people import Person
from nodes.data.table import JST
from nodes.municipality.resident import DEATH, IDENTITY_CHANGE

CERTIFICATES: Final = "org/j-lis/certificates"
CHECKING: Final = "certificate-check"
"""The task under which relying parties ask."""
AGE_MIN: Final = 15
BIRTHDAYS: Final = 5

Status = Literal["valid", "not-yet-valid", "expired", "revoked"]


class StatusQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks whether a certificate held at a moment, µs since 1970 UTC."""

    serial: Serial
    at_us: Annotated[int, Meta(ge=0)]


class StatusReply(Struct, frozen=True):
    """Whether it held then."""

    status: Status


STATUS = Service(
    "jpki.status.v1",
    StatusQuery,
    StatusReply,
    title="Whether a signature certificate held at a time",
    title_ja="署名用電子証明書の有効性の確認",
)


class CertificateAuthority(Node):
    """The signature certificates of everybody, and which of them have lapsed."""

    title: ClassVar[str] = "Public personal authentication"
    title_ja: ClassVar[str] = "公的個人認証サービス"
    # J-LIS offers its checks to local bodies on LGWAN.
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE certificate(
      serial TEXT PRIMARY KEY, person TEXT NOT NULL, from_us INTEGER NOT NULL, until_us INTEGER NOT NULL);
    CREATE INDEX certificate_by_person ON certificate(person);
    CREATE TABLE lapse(serial TEXT PRIMARY KEY REFERENCES certificate, at_us INTEGER NOT NULL, why TEXT NOT NULL);
    """

    # What its staff does.

    def issue(self, person: str, key: VerifyKey, born: date, issued_on: date | None = None) -> str:
        """Issue a certificate for the key of a new card, in place of one that still holds; returns the token.

        `person` is this member's code, `issued_on` by default today. Raises `ManualReview` for a child.
        """
        issued_on = issued_on or day_of(self.host.now_us())
        if issued_on < _birthday(born, AGE_MIN):
            raise ManualReview(f"certificates for signing are issued from the age of {AGE_MIN}")
        certificate = Certificate(
            serial=f"sc-{self.host.random.getrandbits(64):016x}",
            key=encode_text(key.raw),
            from_us=_start_us(issued_on),
            until_us=_start_us(_last_day(born, issued_on) + timedelta(days=1)),
        )
        with self.effect():
            self._lapse(person, "replaced")
            self.db.execute(
                "INSERT INTO certificate VALUES (?, ?, ?, ?)",
                (certificate.serial, person, certificate.from_us, certificate.until_us),
            )
        return sign_certificate(certificate, self.party.keys.signing)

    def revoke(self, person: str) -> None:
        """Revoke a person's certificate at their own wish, as when the card is lost (9条)."""
        with self.effect():
            self._lapse(person, "requested")

    def lapses(self, person: str) -> list[str]:
        """Why a person's certificates lapsed, the oldest first."""
        rows = self.db.execute(
            "SELECT why FROM lapse JOIN certificate USING (serial) WHERE person = ? ORDER BY lapse.rowid",
            (person,),
        )
        return [row["why"] for row in rows]

    # What it hears of the registers.

    @receives(IDENTITY_CHANGE)
    async def on_identity_change(self, event: Event, caller: Caller, person: str) -> None:
        """Let the certificate lapse: what it states is no longer so."""
        with self.effect():
            self._lapse(person, "identity-change")

    @receives(DEATH)
    async def on_death(self, event: Event, caller: Caller, person: str) -> None:
        """Let the certificate lapse."""
        with self.effect():
            self._lapse(person, "death")

    def _lapse(self, person: str, why: str) -> None:
        self.db.execute(
            "INSERT OR IGNORE INTO lapse SELECT serial, ?, ? FROM certificate WHERE person = ?",
            (self.host.now_us(), why, person),
        )

    # What it answers.

    @serves(STATUS)
    async def status(self, query: StatusQuery, caller: Caller) -> StatusReply:
        """Whether a certificate held at a moment; `not_found` for a serial number never issued."""
        check_named(caller)
        row = self.db.execute(
            "SELECT from_us, until_us, at_us FROM certificate LEFT JOIN lapse USING (serial) WHERE serial = ?",
            (query.serial,),
        ).fetchone()
        if row is None:
            raise NotFound
        if query.at_us < row["from_us"]:
            return StatusReply("not-yet-valid")
        if row["at_us"] is not None and row["at_us"] <= query.at_us:
            return StatusReply("revoked")
        return StatusReply("valid" if query.at_us < row["until_us"] else "expired")


def issue_card(sim: Simulation, person: Person, password: str, *, issued_on: date | None = None) -> Card:
    """Have a card made for a person: its key pair, and the certificate of J-LIS in it."""
    authority = sim.node(CERTIFICATES, CertificateAuthority)
    when = "" if issued_on is None else f" {issued_on}"
    key = SigningKey.from_seed(sim.stream(f"card of {person.handle}{when} at {sim.now_us()}").randbytes(32))
    code = sim.code(member_of(CERTIFICATES), person.handle)
    return Card(key, authority.issue(code, key.public, person.born, issued_on), password)


def _last_day(born: date, issued_on: date) -> date:
    """The fifth birthday after the day of issue."""
    first = issued_on.year - born.year + (issued_on >= _birthday(born, issued_on.year - born.year))
    return _birthday(born, first + BIRTHDAYS - 1)


def _birthday(born: date, age: int) -> date:
    year = born.year + age
    leap_day = (born.month, born.day) == (2, 29)
    return date(year, 2, 28) if leap_day else born.replace(year=year)


def _start_us(day: date) -> int:
    """The start of a day in Japan."""
    return round(datetime.combine(day, time(), tzinfo=JST).timestamp()) * 1_000_000
