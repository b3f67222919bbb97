"""Moving between municipalities: what registers tell each other, on which network, and within which days.

Rules kept here:
1. 転出証明書情報 goes from register to register over 住民基本台帳ネットワーク (住民基本台帳法24条の2), and so does the notice
   that somebody moved in (9条). That is not 番号法19条8号: the rows cite the other law. In the simulator the sealed
   message passes the same broker, which records the row and so the network.
2. Online a 転出届 is filed from 30 days before to 10 days after moving (デジタル庁, 引越し手続オンラインサービス).
3. A 転入届 is filed in person within 14 days of moving (22条). With the card, without a paper certificate, it must
   besides come within 30 days of the planned move-out; later the paper is needed and the card lapses (番号法施行令14条).
4. The real 転出証明書情報 holds the 個人番号 as well (住民基本台帳法施行令23条). Here it never leaves a register.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from mesh import EventType, NoticeType, PersonalService
from mesh.builtin import Empty
from mesh.service import Date, Name
from nodes.agency.code_issuer import ResidentCode
from nodes.data.calendar import Term, deadline
from nodes.portal.application import Receipt

ONLINE_BEFORE_DAYS: Final = 30
ONLINE_AFTER_DAYS: Final = 10
CARD_AFTER_MOVE: Final = Term(14, "住民基本台帳法24条の2第1項")
CARD_AFTER_PLAN: Final = Term(30, "番号法施行令14条")
"""Until when one card speaks for a household. Neither moves on: once the days have passed it no longer does, which is a
state and not a term for a notice. The 転入届 itself (22条1項) is taken at any later day too, with the paper."""
MOVE_IN_DAYS: Final = CARD_AFTER_MOVE.days
CARD_DAYS: Final = CARD_AFTER_PLAN.days
JUKI: Final = "juki-moving"
"""The task under which registers tell each other of a move."""
MOVING_OUT_ONLINE: Final = "moving-out"

CityCode = Annotated[str, Meta(pattern="^[0-9]{5}$")]
"""The first five digits of a municipality's code."""
Entitlement = Literal["health-insurance", "national-pension", "child-allowance"]
"""What a resident record notes besides (住民基本台帳法7条10号, 11号, 11号の2)."""


class MoveOutForm(Struct, frozen=True, forbid_unknown_fields=True):
    """A 転出届 of a household; who files it is its subject, and one card speaks for all."""

    receipt: Receipt
    to_city: CityCode
    planned_on: Date
    """転出予定日: when they move."""
    visit_on: Date
    """来庁予定日: when they mean to come to the new city's counter."""


class MoveOutReply(Struct, frozen=True):
    """How many persons leave."""

    members: int


class MovingOut(Struct, frozen=True, forbid_unknown_fields=True):
    """転出証明書情報 about one person."""

    from_city: CityCode
    to_city: CityCode
    planned_on: Date
    visit_on: Date
    name: Name
    kana: Name
    born: Date
    sex: Literal["f", "m"] | None
    relation: Name
    household: int
    """The number of the household in the old register; who moves together has the same."""
    resident_code: ResidentCode
    card: bool
    """Whether the person has a card."""
    entitlements: tuple[Entitlement, ...]
    version: int
    """When it was said, in µs since 1970 UTC: of what arrives in another order the latest counts."""
    cancelled: bool = False
    """The move was called off: what was sent before no longer counts."""


class MovedIn(Struct, frozen=True, forbid_unknown_fields=True):
    """That a person was entered in the new city's register (転入通知)."""

    to_city: CityCode
    moved_on: Date


class EntitlementsReply(Struct, frozen=True):
    """What a person had in the city before."""

    entitlements: tuple[Entitlement, ...]


MOVE_OUT = PersonalService(
    "resident.move-out.v1", MoveOutForm, MoveOutReply, title="Notify a move-out", title_ja="転出届"
)
MOVING_OUT = NoticeType(
    "juki.moving-out.v1", MovingOut, title="A person moves out", title_ja="転出証明書情報の通知"
)
MOVING_OUT_RECORD = PersonalService(
    "juki.moving-out-record.v1",
    Empty,
    MovingOut,
    title="Record of a move-out",
    title_ja="転出証明書情報の照会",
)
MOVED_IN = NoticeType("juki.moved-in.v1", MovedIn, title="A person has moved in", title_ja="転入通知")
ENTITLEMENTS = PersonalService(
    "resident.entitlements.v1",
    Empty,
    EntitlementsReply,
    title="What a newcomer had in the city before",
    title_ja="転入者の資格情報（国保・年金・児童手当）",
)

MOVE_IN = EventType("resident.move-in.v1", title="A person moved in", title_ja="転入による記載")
IDENTITY_CHANGE = EventType(
    "resident.identity-change.v1",
    title="Name, address, birth date or sex changed",
    title_ja="本人確認情報の変更",
)
MOVED_OUT = EventType(
    "resident.moved-out.v1", title="A person was struck off after moving out", title_ja="転出による消除"
)


def may_file_online(planned_on: date, today: date) -> bool:
    """Whether a 転出届 for a move may be filed online today."""
    return -ONLINE_BEFORE_DAYS <= (today - planned_on).days <= ONLINE_AFTER_DAYS


def card_until(planned_on: date, moved_on: date) -> date:
    """The last day of a 転入届 with the card; of the two limits the earlier counts."""
    return min(deadline(moved_on, CARD_AFTER_MOVE), deadline(planned_on, CARD_AFTER_PLAN))


def overdue_after(planned_on: date) -> date:
    """The day after which somebody who left and was entered nowhere is looked for."""
    return deadline(planned_on, CARD_AFTER_PLAN)
