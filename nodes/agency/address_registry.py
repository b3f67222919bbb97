"""The address registry (アドレス・ベース・レジストリ, デジタル庁): every town (町字) of every municipality, by 町字ID.

Rules kept here:
1. A town is named by the six digits of the municipality, or of the ward in a designated city, and a 町字ID of seven:
   four for 大字・町, three for 丁目・小字. A town that gets another name keeps its ID (illustrative).
2. The municipality decides names and borders, and from which day (地方自治法260条: 告示); the registry publishes it
   with that day, which lies ahead as a rule (効力発生日).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from msgspec import Meta, Struct

from mesh import Caller, Node, Service, serves
from mesh.names import Zone
from nodes.agency.base_registry import SCHEMA, Changes, ChangesQuery, Feed

ADDRESS_REGISTRY: Final = "gov/digital/address-registry"

TownKey = Annotated[str, Meta(pattern="^[0-9]{6}-[0-9]{7}$")]
"""The code of a municipality, or of a designated city's ward, and a 町字ID."""


class Town(Struct, frozen=True):
    """One town: its key, and how an address writes it."""

    town: TownKey
    written: str
    """From the prefecture on: `北海道北見市…`."""
    abolished: bool = False

    @property
    def key(self) -> str:
        """What names the entry."""
        return self.town


ADDRESS_CHANGES = Service(
    "address.changes.v1",
    ChangesQuery,
    Changes[Town],
    title="Changes of the address registry",
    title_ja="町字マスターの更新（差分）",
)


class AddressRegistry(Node):
    """Publishes towns as the municipalities decide them."""

    title: ClassVar[str] = "Address base registry"
    title_ja: ClassVar[str] = "アドレス・ベース・レジストリ"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = SCHEMA

    @property
    def feed(self) -> Feed:
        """Its changes, and who copies them."""
        return Feed(self, "address")

    def start(self) -> None:
        """Tell copiers what they missed while this node was down."""
        self.feed.tell()

    def record(self, town: Town, effective_on: str) -> int:
        """Publish what a municipality decided; returns the version."""
        return self.feed.record(town, effective_on)

    @serves(ADDRESS_CHANGES)
    async def changes(self, query: ChangesQuery, caller: Caller) -> Changes[Town]:
        """What changed after a version."""
        return self.feed.give(Town, query.since, caller.address)
