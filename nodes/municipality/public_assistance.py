"""Public assistance (生活保護): whom the welfare office (福祉事務所) helps, since when, and with which kinds.

Rules kept here:
1. Assistance is decided for a household (生活保護法10条); the record stands for each of its members.
2. Others learn of it from the copy, and only the items that the law names for them: it is among what people least
   want known.
3. The kinds are those of 生活保護法11条.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from msgspec import UNSET, UnsetType

from mesh import Caller, FromCopy, Node, PersonalService, instant, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Month
from nodes.municipality.copied_file import SCHEMA, CopiedFile

Kind = Literal["living", "education", "housing", "medical", "care", "maternity", "occupational", "funeral"]
"""生活・教育・住宅・医療・介護・出産・生業・葬祭扶助."""


class Assistance(FromCopy, frozen=True):
    """What 生活保護受給証明書 would say."""

    receiving: bool | UnsetType = UNSET
    since: Month | UnsetType = UNSET
    kinds: tuple[Kind, ...] | UnsetType = UNSET


ASSISTANCE = PersonalService(
    "public-assistance.receipt.v1",
    Empty,
    Assistance,
    title="Public assistance of a person",
    title_ja="生活保護関係情報",
)


class PublicAssistance(Node):
    """The system 生活保護 of one municipality that has a welfare office."""

    title: ClassVar[str] = "Public assistance"
    title_ja: ClassVar[str] = "生活保護"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA

    @property
    def file(self) -> CopiedFile[Assistance]:
        """The office's records."""
        return CopiedFile(self.db, Assistance)

    def grant(self, household: Iterable[str], since: str, kinds: tuple[Kind, ...]) -> None:
        """Decide for a household (保護の決定); a decision for its members."""
        record = Assistance(as_of=instant(self.host.now_us()), receiving=True, since=since, kinds=kinds)
        with self.effect():
            for person in household:
                self.file.keep(person, record)

    def end(self, person: str) -> None:
        """End the assistance (保護の廃止): the record says that there is none."""
        with self.effect():
            self.file.keep(person, Assistance(as_of=instant(self.host.now_us()), receiving=False))

    def register_replica(self, person: str) -> None:
        """Register the copy that answers."""
        with self.effect():
            self.file.register(person, self.host.now_us())

    def withhold(self, person: str) -> None:
        """Set 提供不可."""
        with self.effect():
            self.file.mark(person, "withheld")

    @serves(ASSISTANCE)
    async def assistance(self, query: Empty, caller: Caller, person: str) -> Assistance:
        """A person's assistance, from the copy."""
        return self.file.answer(person)
