"""Child-rearing allowance (児童扶養手当): paid to who brings up a child alone.

Rules kept here:
1. The allowance is paid in full or in part by the recipient's income, or suspended (児童扶養手当法9条, 施行令2条の4);
   the limits themselves are not modelled.
2. The record stands for the recipient and for the child on whose account it is paid.
3. Others are answered from the copy (番号法19条8号), and get the items that the law names for them.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from mesh import Caller, FromCopy, Node, PersonalService, instant, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Month
from nodes.municipality.copied_file import SCHEMA, CopiedFile

Payment = Literal["full", "partial", "suspended"]
"""全部支給, 一部支給, 全部支給停止."""


class RearingAllowance(FromCopy, frozen=True):
    """What 児童扶養手当証書 would say."""

    receiving: bool | UnsetType = UNSET
    payment: Payment | UnsetType = UNSET
    since: Month | UnsetType = UNSET


REARING_ALLOWANCE = PersonalService(
    "child-rearing-allowance.receipt.v1",
    Empty,
    RearingAllowance,
    title="Child-rearing allowance of a recipient or child",
    title_ja="児童扶養手当関係情報",
)


class ChildRearingAllowance(Node):
    """The system 児童扶養手当 of one municipality."""

    title: ClassVar[str] = "Child-rearing allowance for single parents"
    title_ja: ClassVar[str] = "児童扶養手当"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA

    @property
    def file(self) -> CopiedFile[RearingAllowance]:
        """The office's records."""
        return CopiedFile(self.db, RearingAllowance)

    def certify(self, recipient: str, child: str, payment: Payment, since: str) -> None:
        """Certify an entitlement (認定), or change its amount."""
        now = instant(self.host.now_us())
        record = RearingAllowance(as_of=now, receiving=payment != "suspended", payment=payment, since=since)
        with self.effect():
            for person in (recipient, child):
                self.file.keep(person, record)

    def register_replica(self, person: str) -> None:
        """Register the copy that answers."""
        with self.effect():
            self.file.register(person, self.host.now_us())

    def review_manually(self, person: str) -> None:
        """Set 自動応答不可."""
        with self.effect():
            self.file.mark(person, "manual")

    @serves(REARING_ALLOWANCE)
    async def allowance(self, query: Empty, caller: Caller, person: str) -> RearingAllowance:
        """A recipient's or child's record, from the copy."""
        return self.file.answer(person)
