"""By when a leak or misuse of 特定個人情報 is reported (番号法29条の4第1項, 平成27年特定個人情報保護委員会規則第5号).

The first report is due within about three to five days, the final one within 30 days, or 60 where it was done with
wrongful intent. The day on which it became known counts as the first; a final day on a Saturday or Sunday moves to
the next Monday (public holidays are not modelled).
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

PRELIMINARY_DAYS: Final = 5
FINAL_DAYS: Final = 30
FINAL_WILFUL_DAYS: Final = 60


def preliminary_due(known_on: date) -> date:
    """The last day for the first report (速報)."""
    return known_on + timedelta(days=PRELIMINARY_DAYS - 1)


def final_due(known_on: date, *, wilful: bool) -> date:
    """The last day for the final report (確報)."""
    days = FINAL_WILFUL_DAYS if wilful else FINAL_DAYS
    due = known_on + timedelta(days=days - 1)
    return due + timedelta(days=max(7 - due.weekday(), 0) if due.weekday() >= 5 else 0)
