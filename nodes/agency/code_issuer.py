"""The code issuer (デジタル庁): it alone gives a body its linkage code of a person (番号法21条の2).

Rules kept here:
1. A code is given for an acquisition number (取得番号) that J-LIS reserved for that body; the body names
   nobody, and the issuer never hears a name or a 個人番号.
2. A number works once and lapses after a day: nobody may keep it longer than the acquisition needs
   (番号法21条の2 第3項; the day is illustrative).
3. Whether two bodies' codes mean one person is said to the commission only, and leaves no table behind.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from mesh import Caller, MeshError, Node, NotFound, Service, serves
from mesh.linkage import CodeBook
from mesh.names import CODE_ISSUER, Zone, member_of
from mesh.service import Code

ISSUER: Final = CODE_ISSUER
ACQUISITION: Final = "code-acquisition"
"""The task under which codes are acquired."""
RESERVATION_US: Final = 86_400_000_000

ResidentCode = Annotated[str, Meta(pattern="^[0-9]{11}$")]
"""A 住民票コード: ten digits and a check digit."""
AcquisitionNumber = Annotated[str, Meta(pattern="^an-[0-9a-f]{32}$")]
Member = Annotated[str, Meta(pattern="^(muni|pref|gov|org|firm)/[a-z0-9-]{1,40}$")]


class ReserveQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For whom a number is reserved, and which body will use it."""

    resident_code: ResidentCode
    member: Member


class Reserved(Struct, frozen=True):
    """The number to be passed on to the body."""

    number: AcquisitionNumber


class CodeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A number that was reserved for the caller's body."""

    number: AcquisitionNumber


class CodeReply(Struct, frozen=True):
    """The caller's body's own linkage code."""

    code: Code


class SamePersonQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Two codes, each as its body recorded it."""

    first: Code
    second: Code


class SamePersonReply(Struct, frozen=True):
    """Whether they mean one person."""

    same: bool


LINKAGE_RESERVE = Service(
    "linkage.reserve.v1",
    ReserveQuery,
    Reserved,
    title="Reserve an acquisition number",
    title_ja="取得番号の割当て",
)
LINKAGE_CODE = Service(
    "linkage.code.v1",
    CodeQuery,
    CodeReply,
    title="Issue a linkage code",
    title_ja="情報提供用個人識別符号の通知",
)
SAME_PERSON = Service(
    "linkage.same-person.v1",
    SamePersonQuery,
    SamePersonReply,
    title="Whether two codes mean one person",
    title_ja="2つの符号が同一人のものかの確認",
)


def check_named(caller: Caller) -> None:
    """`no_legal_basis` unless a row of the law names the caller: without rows the answer is no."""
    if caller.basis == "none":
        raise MeshError("no_legal_basis", "the service is for whom a row of the law names")


class CodeIssuer(Node):
    """Issues linkage codes for acquisition numbers. `codes` are the members' code keys."""

    title = "Issuer of linkage codes"
    title_ja = "符号の生成・通知"
    zone = Zone.CLOUD
    schema = """
    CREATE TABLE reservation(
      number TEXT PRIMARY KEY, member TEXT NOT NULL, person BLOB NOT NULL, until_us INTEGER NOT NULL)
    """
    codes: CodeBook | None = None

    @serves(LINKAGE_RESERVE)
    async def reserve(self, query: ReserveQuery, caller: Caller) -> Reserved:
        """Reserve a number for a body, as J-LIS asks."""
        check_named(caller)
        now_us = self.host.now_us()
        number = f"an-{self.host.random.getrandbits(128):032x}"
        person = self._book().person_of(query.resident_code)
        with self.effect():
            self.db.execute("DELETE FROM reservation WHERE until_us < ?", (now_us,))
            self.db.execute(
                "INSERT INTO reservation VALUES (?, ?, ?, ?)",
                (number, query.member, person, now_us + RESERVATION_US),
            )
        return Reserved(number)

    @serves(LINKAGE_CODE)
    async def issue(self, query: CodeQuery, caller: Caller) -> CodeReply:
        """Give the body its code, once; `not_found` equally for a used, lapsed, foreign or invented number."""
        check_named(caller)
        member = member_of(caller.address)
        row = self.db.execute(
            "SELECT person FROM reservation WHERE number = ? AND member = ? AND until_us >= ?",
            (query.number, member, self.host.now_us()),
        ).fetchone()
        if row is None:
            raise NotFound("no number is reserved for this body")
        with self.effect():
            self.db.execute("DELETE FROM reservation WHERE number = ?", (query.number,))
        return CodeReply(self._book().code(member, row["person"]))

    @serves(SAME_PERSON)
    async def same_person(self, query: SamePersonQuery, caller: Caller) -> SamePersonReply:
        """Compare two bodies' codes; `linkage_code_unknown` for one that was never issued."""
        check_named(caller)
        book = self._book()
        first, second = (book.person(code, code.partition(":")[0]) for code in (query.first, query.second))
        return SamePersonReply(first == second)

    def _book(self) -> CodeBook:
        if self.codes is None:
            raise RuntimeError("the code issuer has no code keys: enrol it with codes=sim.codes")
        return self.codes
