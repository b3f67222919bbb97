"""J-LIS (地方公共団体情報システム機構) as the relay of acquisition numbers (番号法21条の2 第2項).

Rules kept here:
1. It passes 取得番号 only: it hears a 住民票コード, which it holds for 住民基本台帳ネットワーク anyway, and
   never a linkage code.
2. It keeps nothing of what it relays but the record of the exchange (番号法21条の2 第3項).
3. The Minister of Justice holds no 住民票コード: his numbers are asked for by the municipality of the 本籍,
   which passes them on to him (番号法21条の2).
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from mesh import Caller, MeshError, Node, Refused, Service, serves
from mesh.names import Zone, member_of
from nodes.agency.code_issuer import (
    ACQUISITION,
    ISSUER,
    LINKAGE_CODE,
    LINKAGE_RESERVE,
    CodeQuery,
    Reserved,
    ReserveQuery,
    ResidentCode,
    check_named,
)

RELAY: Final = "org/j-lis/relay"
JUSTICE: Final = "gov/moj"
"""The member for which home municipalities (本籍地) have numbers reserved."""


class AcquireQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For whom the caller's body needs a linkage code."""

    resident_code: ResidentCode


LINKAGE_ACQUIRE = Service(
    "linkage.acquire.v1",
    AcquireQuery,
    Reserved,
    title="Relay an acquisition number",
    title_ja="取得番号の中継",
)

LINKAGE_ACQUIRE_FOR_JUSTICE = Service(
    "linkage.acquire-for-justice.v1",
    AcquireQuery,
    Reserved,
    title="Relay an acquisition number for the Minister of Justice",
    title_ja="法務大臣のための取得番号の中継",
)


class CodeRelay(Node):
    """Passes acquisition numbers from the code issuer to the bodies that asked."""

    title = "Relay of acquisition numbers"
    title_ja = "取得番号の中継"
    # 住民基本台帳ネットワーク is reached from マイナンバー利用事務系 (総務省「地方公共団体における情報セキュリティ
    # ポリシーに関するガイドライン」, 三層の対策), so the relay stands in that zone.
    zone = Zone.MYNUMBER

    @serves(LINKAGE_ACQUIRE)
    async def acquire(self, query: AcquireQuery, caller: Caller) -> Reserved:
        """Have a number reserved for the caller's body and pass it on."""
        check_named(caller)
        return await self._reserve(query.resident_code, member_of(caller.address))

    @serves(LINKAGE_ACQUIRE_FOR_JUSTICE)
    async def acquire_for_justice(self, query: AcquireQuery, caller: Caller) -> Reserved:
        """Have a number reserved for the Minister of Justice; it is of no use to the municipality that asks."""
        check_named(caller)
        return await self._reserve(query.resident_code, JUSTICE)

    async def _reserve(self, resident_code: str, member: str) -> Reserved:
        reserve = ReserveQuery(resident_code, member)
        try:
            return await self.ask(ISSUER, LINKAGE_RESERVE, reserve, procedure=ACQUISITION)
        except Refused as refused:
            raise MeshError("handler_failed", f"the code issuer gave no number: {refused.code}") from refused


async def acquire_code(node: Node, resident_code: str) -> str:
    """A body's own linkage code of the person with this 住民票コード: both steps, as the body takes them.

    Raises `Refused` with the code of whoever refused.
    """
    reserved = await node.ask(RELAY, LINKAGE_ACQUIRE, AcquireQuery(resident_code), procedure=ACQUISITION)
    answer = await node.ask(ISSUER, LINKAGE_CODE, CodeQuery(reserved.number), procedure=ACQUISITION)
    return answer.code
