"""The corporate registry: 法人番号, name and seat of every corporation (国税庁 法人番号公表サイト).

Rules kept here:
1. Number, name and seat are public (番号法39条4項); who wants to know is asked for no basis. The number is nobody's
   個人番号: thirteen digits, the first a check digit over the twelve of the company (番号法39条1項; its rule stands in 法人番号の指定等に関する省令).
2. What is registered comes from the register of the 法務局 (商業登記); this body publishes it and decides nothing.
3. A change of name or seat is entered when it is registered, so its day has passed or is today.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct
from stdnum.jp.cn import is_valid

from mesh import Caller, Node, Service, UsageError, serves
from mesh.names import Zone
from nodes.agency.address_registry import TownKey
from nodes.agency.base_registry import SCHEMA, Changes, ChangesQuery, Feed

CORPORATE_REGISTRY: Final = "gov/nta/corporate-registry"

CorporateNumber = Annotated[str, Meta(pattern="^[1-9][0-9]{12}$")]
"""A 法人番号."""


class Corporation(Struct, frozen=True):
    """What is public of a corporation (基本3情報), and whether it still exists."""

    number: CorporateNumber
    name: str
    town: TownKey
    """The town of its seat; the real registry writes it out, with the town's codes on the way (illustrative)."""
    block: str
    """番地: what stands behind the town."""
    closed: bool = False

    @property
    def key(self) -> str:
        """What names the entry."""
        return self.number


CORPORATE_CHANGES = Service(
    "corporate.changes.v1",
    ChangesQuery,
    Changes[Corporation],
    title="Changes of the corporate registry",
    title_ja="法人番号公表情報の更新（差分）",
)


class CorporateRegistry(Node):
    """Publishes what is registered of corporations."""

    title: ClassVar[str] = "Corporate registry"
    title_ja: ClassVar[str] = "法人番号公表サイト"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = SCHEMA

    @property
    def feed(self) -> Feed:
        """Its changes, and who copies them."""
        return Feed(self, "corporate")

    def start(self) -> None:
        """Tell copiers what they missed while this node was down."""
        self.feed.tell()

    def record(self, corporation: Corporation, effective_on: str) -> int:
        """Publish what the 法務局 registered; returns the version. `UsageError` for a number that cannot be."""
        if not is_valid(corporation.number):
            raise UsageError(f"{corporation.number} is no 法人番号: its check digit is another")
        return self.feed.record(corporation, effective_on)

    @serves(CORPORATE_CHANGES)
    async def changes(self, query: ChangesQuery, caller: Caller) -> Changes[Corporation]:
        """What changed after a version."""
        return self.feed.give(Corporation, query.since, caller.address)
