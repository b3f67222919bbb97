"""The rules of child allowance (児童手当法), as in force before and since October 2024.

Amounts and ages are those of 児童手当法6条. The income limits, abolished from the allowance of October 2024, are
those of the former 5条1項 (施行令1条) and, for 特例給付 and since June 2022, of the former 附則2条1項, both with the
deduction of 80,000 yen of the former 施行令3条; other deductions (雑損, 医療費, 障害者…) are not modelled. All
functions are pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from nodes.data.calendar import TO_A_CITY, Term, deadline, school_year_end

CLAIM: Final = Term(15, "児童手当法8条3項", moves_by=f"民法142条, {TO_A_CITY}")
"""From the day after moving out or birth, within which a claim counts back."""
CLAIM_DAYS: Final = CLAIM.days


@dataclass(frozen=True, slots=True)
class Rules:
    """One state of the law."""

    key: str
    paid_to_age: int
    """Paid until the school year ends in which a child reaches this age."""
    counted_to_age: int
    """Children up to this age count when a third child is looked for."""
    third_child_yen: int
    capped: bool
    """Whether the claimant's income matters."""
    income_items: tuple[str, ...]


OLD: Final = Rules("2024-09", 15, 18, 15_000, True, ("dependants", "tax_year", "total_income_yen"))
NEW: Final = Rules("2024-10", 18, 22, 30_000, False, ("tax_year", "total_income_yen"))

_LIMIT_YEN: Final = 6_220_000
_UPPER_LIMIT_YEN: Final = 8_580_000
_DEPENDANT_YEN: Final = 380_000
_DEDUCTION_YEN: Final = 80_000
_OVER_LIMIT_YEN: Final = 5_000
"""特例給付, per child."""


def rules_for(month: date) -> Rules:
    """The rules by which the allowance of a month is paid."""
    return NEW if month >= date(2024, 10, 1) else OLD


def due_date(happened_on: date) -> date:
    """The last day to claim after a planned move-out or a birth."""
    return deadline(happened_on, CLAIM)


def first_month(happened_on: date, filed_on: date) -> date:
    """The first month paid: the one after the event, or after the claim if that came late (8条2項, 3項)."""
    start = happened_on if filed_on <= due_date(happened_on) else filed_on
    return (start.replace(day=1) + timedelta(days=32)).replace(day=1)


def tax_year(month: date) -> int:
    """The tax year whose income counts for a month: until May still that of the year before."""
    return month.year if month.month >= 6 else month.year - 1


def is_under_three(born: date, month: date) -> bool:
    """Whether a child counts as under 3 in a month: to the month of its third birthday.

    So does one born on the first, who by law is 3 on the day before: 出生の日から三年を経過しない児童 (6条1項).
    """
    return (month.year, month.month) <= (born.year + 3, born.month)


def monthly_yen(children: Iterable[date], month: date, *, income_yen: int = 0, dependants: int = 0) -> int:
    """What is paid for a month for children by their birth dates, and the claimant's income if it matters."""
    rules = rules_for(month)
    counted = sorted(born for born in children if month <= school_year_end(born, rules.counted_to_age))
    paid = [
        (born, place)
        for place, born in enumerate(counted, start=1)
        if month <= school_year_end(born, rules.paid_to_age)
    ]
    if rules.capped:
        income_yen -= _DEDUCTION_YEN + _DEPENDANT_YEN * dependants
        if income_yen >= _UPPER_LIMIT_YEN:
            return 0
        if income_yen >= _LIMIT_YEN:
            return _OVER_LIMIT_YEN * len(paid)
    return sum(_child_yen(rules, born, place, month) for born, place in paid)


def _child_yen(rules: Rules, born: date, place: int, month: date) -> int:
    third = place >= 3 and (not rules.capped or month <= school_year_end(born, 12))
    if third:
        return rules.third_child_yen
    return 15_000 if is_under_three(born, month) else 10_000
