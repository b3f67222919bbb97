"""What parents pay for childcare (利用者負担額), by the state's upper limits; a city sets its own below them.

Limits of 子ども・子育て支援法施行令 for children until the 31 March after their third birthday, in standard hours (3号認定,
保育標準時間). From then on nothing is paid since October 2019 (幼児教育・保育の無償化), nor by households without tax. What counts
is the municipal part of the income levy (市町村民税所得割): 6 of the 10 percent (地方税法35条, 314条の3). All functions are
pure.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from nodes.data.calendar import school_year_end

LIMITS_YEN: Final = (
    (48_600, 19_500),
    (97_000, 30_000),
    (169_000, 44_500),
    (301_000, 61_000),
    (397_000, 80_000),
)
"""(municipal levy below which, fee a month)."""
HIGHEST_YEN: Final = 104_000


def fee_tax_year(month: date) -> int:
    """The tax year that counts for a month: from April to August that of the year before."""
    return month.year if month.month >= 9 else month.year - 1


def fee_yen(born: date, month: date, tax_yen: int) -> int:
    """The fee of a month for one child; `tax_yen` is both parents' inhabitant tax, of city and prefecture."""
    if month > school_year_end(born, 3) or tax_yen == 0:
        return 0
    levy_yen = tax_yen * 6 // 10
    return next((fee for limit, fee in LIMITS_YEN if levy_yen < limit), HIGHEST_YEN)
