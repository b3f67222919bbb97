"""Rates of the vehicle tax (自動車税) on a private car registered for the first time since October 2019. Pure."""

from __future__ import annotations

from datetime import date
from typing import Final

from mesh.errors import ManualReview

ANNUAL_YEN: Final = (
    (1_000, 25_000),
    (1_500, 30_500),
    (2_000, 36_000),
    (2_500, 43_500),
    (3_000, 50_000),
    (3_500, 57_000),
    (4_000, 65_500),
    (4_500, 75_500),
    (6_000, 87_000),
    (100_000, 110_000),
)
"""種別割 a year, up to each displacement in cc (地方税法145条以下, 種別割の標準税率: 自家用の乗用車)."""
EMISSION_UNTIL: Final = date(2026, 4, 1)
"""環境性能割 is modelled for acquisitions before this day: 令和8年度税制改正の大綱 ends it on 2026-03-31."""


def annual_yen(displacement_cc: int) -> int:
    """種別割 of a whole year."""
    return next(yen for limit_cc, yen in ANNUAL_YEN if displacement_cc <= limit_cc)


def first_year_yen(displacement_cc: int, registered_on: date) -> int:
    """種別割 of the months after the registration to March, in whole hundreds (月割)."""
    months = (3 - registered_on.month) % 12
    return annual_yen(displacement_cc) * months // 12 // 100 * 100


def emission_yen(price_yen: int, percent: int, acquired_on: date) -> int:
    """環境性能割: the percentage of the price in whole thousands, in whole hundreds; none up to 500,000 yen.

    Raises `ManualReview` for a day whose rules are not modelled.
    """
    if acquired_on >= EMISSION_UNTIL:
        raise ManualReview("the tax on this day is not modelled")
    if price_yen <= 500_000:
        return 0
    return price_yen // 1_000 * 1_000 * percent // 100 // 100 * 100
