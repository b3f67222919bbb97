"""How bad the damage to a dwelling is, and what aid follows from it, as functions of what is known.

Sources: 災害に係る住家の被害認定基準運用指針（内閣府）for the classes; 被災者生活再建支援法3条 for the basic grant (基礎支援金).
Reductions are for each municipality's or union's ordinance; the shares here are illustrative, after 「災害被害者に対する地方税の
減免措置等について」（自治事務次官通知）.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

Damage = Literal["全壊", "大規模半壊", "中規模半壊", "半壊", "準半壊", "一部損壊"]
CertificateNumber = Annotated[str, Meta(pattern="^rc-[0-9]{6}$")]
HouseNumber = Annotated[str, Meta(pattern="^hs-[0-9]{6}$")]
AidKind = Literal["basic-grant", "property-tax", "elderly-premium", "lodging"]
"""基礎支援金, 固定資産税の減免, 後期高齢者医療保険料の減免, 避難先の宿泊."""
Tenths = Annotated[int, Meta(ge=0, le=10)]

_CLASSES: Final[tuple[tuple[int, Damage], ...]] = (
    (50, "全壊"),
    (40, "大規模半壊"),
    (30, "中規模半壊"),
    (20, "半壊"),
    (10, "準半壊"),
    (0, "一部損壊"),
)
"""From which percentage of damage on (住家の損害割合) a dwelling has each class."""

TAX_TENTHS: Final[Mapping[Damage, int]] = {"全壊": 10, "大規模半壊": 6, "中規模半壊": 4, "半壊": 4}
"""How much of the year's tax on a house falls away (地方税法367条): illustrative."""
PREMIUM_TENTHS: Final[Mapping[Damage, int]] = {"全壊": 10, "大規模半壊": 5, "中規模半壊": 5, "半壊": 5}
"""How much of the premium of 後期高齢者医療 falls away (高齢者の医療の確保に関する法律111条): illustrative."""


def damage_of(percent: int) -> Damage:
    """The class of a dwelling with so many percent of damage."""
    return next(damage for least, damage in _CLASSES if percent >= least)


def basic_grant_yen(damage: Damage, size: int) -> int:
    """The basic grant for a household; one person alone has three quarters."""
    yen = {"全壊": 1_000_000, "大規模半壊": 500_000}.get(damage, 0)
    return yen * 3 // 4 if size == 1 else yen
