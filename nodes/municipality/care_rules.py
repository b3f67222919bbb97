"""What decides about care certifications that move and about the share of the costs, as functions of what is known.

Sources: 介護保険法36条, 49条の2; 介護保険法施行規則38条1項; 介護保険法施行令22条の2 (thresholds since August 2018);
所得税法35条4項 and 租税特別措置法41条の15の3 (income from pensions at 65 and over, with other income up to 10 million yen).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

from nodes.data.calendar import DAY, TO_A_CITY, Term, deadline, reaches

TRANSFER: Final = Term(14, "介護保険法36条", moves_by=f"民法142条, {TO_A_CITY}")
"""From moving in, within which the level of the city before carries over."""
DAYS: Final = TRANSFER.days
INSURED_YEARS: Final = 65
"""From this age on one is insured as 第1号被保険者."""
MONTHS: Final = 6

_PENSION_STEPS: Final = (
    (3_300_000, 100, 1_100_000),
    (4_100_000, 75, 275_000),
    (7_700_000, 85, 685_000),
    (10_000_000, 95, 1_455_000),
    (10**12, 100, 1_955_000),
)
"""Below which amount of pension, how many percent of it less how much is income (公的年金等に係る雑所得)."""


class Means(NamedTuple):
    """What a tax office says about one person."""

    total_income_yen: int
    """合計所得金額; the simulated levy does not tell it from 総所得金額等."""
    pension_yen: int
    taxed: bool


def last_day(insured_since: date) -> date:
    """The last day to apply with a certification from elsewhere."""
    return deadline(insured_since, TRANSFER)


def valid_until(begins: date) -> date:
    """The last day of a new certification: the rest of the month and six months, six if it begins on the first."""
    months = begins.year * 12 + begins.month - 1 + MONTHS + (begins.day > 1)
    return date(months // 12, months % 12 + 1, 1) - DAY


def is_insured(born: date, day: date) -> bool:
    """Whether somebody has reached 65 (介護保険法10条)."""
    return reaches(born, INSURED_YEARS) <= day


def share_year(day: date) -> int:
    """The tax year on which the share of a day rests: it changes on 1 August (負担割合証の適用期間)."""
    return day.year if day.month >= 8 else day.year - 1


def pension_income_yen(pension_yen: int) -> int:
    """The income that a pension counts as, at 65 and over."""
    percent, less_yen = next(
        (percent, less) for limit, percent, less in _PENSION_STEPS if pension_yen < limit
    )
    return max(pension_yen * percent // 100 - less_yen, 0)


def share_tenths(own: Means, insured: Sequence[Means]) -> int:
    """How many tenths of the costs a person pays; `insured` are all in the household who are 65 or over."""
    if not own.taxed:
        return 1
    household_yen = sum(
        one.pension_yen + max(one.total_income_yen - pension_income_yen(one.pension_yen), 0)
        for one in insured
    )
    alone = len(insured) == 1
    if own.total_income_yen >= 2_200_000 and household_yen >= (3_400_000 if alone else 4_630_000):
        return 3
    if own.total_income_yen >= 1_600_000 and household_yen >= (2_800_000 if alone else 3_460_000):
        return 2
    return 1
