"""By when a leak or misuse of 特定個人情報 is reported (番号法29条の4第1項, 平成27年特定個人情報保護委員会規則第5号).

The first report is due within about three to five days, the final one within 30 days, or 60 where it was done with
wrongful intent. The day on which it became known counts as the first. A last day of the final report on which offices are
closed moves on; the first report is due "promptly", and its days are a measure of that, which does not.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from nodes.data.calendar import Term, deadline

_RULE: Final = "平成27年特定個人情報保護委員会規則第5号"
_CLOSED: Final = "行政機関の休日に関する法律2条"
PRELIMINARY: Final = Term(5, _RULE, first_counts=True)
FINAL: Final = Term(30, _RULE, moves_by=_CLOSED, first_counts=True)
FINAL_WILFUL: Final = Term(60, _RULE, moves_by=_CLOSED, first_counts=True)
PRELIMINARY_DAYS: Final = PRELIMINARY.days
FINAL_WILFUL_DAYS: Final = FINAL_WILFUL.days


def preliminary_due(known_on: date) -> date:
    """The last day for the first report (速報)."""
    return deadline(known_on, PRELIMINARY)


def final_due(known_on: date, *, wilful: bool) -> date:
    """The last day for the final report (確報)."""
    return deadline(known_on, FINAL_WILFUL if wilful else FINAL)
