"""What decides about a benefit for households without tax, as functions of what is known."""

from __future__ import annotations

from datetime import date
from typing import Final

from nodes.agency.account_registry import Suspicion
from nodes.data.calendar import levy_day, reaches
from nodes.data.name_key import name_parts

PROCEDURE: Final = "household-benefit"
TAX_PAPER: Final = "income-certificate"
BANK_PAPER: Final = "bankbook-copy"
ADULT_YEARS: Final = 18

LETTERS: Final = {
    "push": (
        "A benefit will be paid unless you refuse it",
        "給付金の支給のお知らせ（辞退する場合は期限までに届出）",
    ),
    "form": ("Please return the confirmation for your benefit", "給付金支給要件確認書の提出のお願い"),
}
"""What the head is told, by the way in which the household is to be paid."""


def suspicion_of(holder_kana: str, payee_kana: str) -> Suspicion | None:
    """Whose account it seems to be if it is not the payee's, by the readings of both names; banks write half-width kana.

    A namesake's account is not found like this.
    """
    holder, payee = name_parts(holder_kana), name_parts(payee_kana)
    if "".join(holder) == "".join(payee):
        return None
    return "family" if holder[:1] == payee[:1] else "stranger"


def is_adult(born: date, tax_year: int) -> bool:
    """Whether somebody was of age on the levy's 1 January; minors are taxed on a high income only.

    地方税法295条1項2号.
    """
    return reaches(born, ADULT_YEARS) <= levy_day(tax_year)
