"""Time in law: on which day somebody reaches an age, when a term ends, which year a day belongs to.

Every rule of `nodes/` that counts days, ages or years does it here, and says by which law:
- An age is reached at the end of the eve of the birthday (年齢計算ニ関スル法律, 民法143条2項).
- The first day of a term does not count unless a law says so (民法140条), and a last day on which offices are closed moves
  on where a law says so (`Term.moves_by`); where none does, it does not.
- A school year and a fiscal year begin on 1 April; residence and age for the year's levy are those of 1 January.

Holidays are those of the library jpholiday; beyond the years that 内閣府 has announced it computes the equinoxes.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from nodes.data.table import JST

DAY: Final = timedelta(days=1)
TO_A_CITY: Final = "地方自治法4条の2第4項"
"""Notices and applications to a municipality, in terms set by a law or under one: its closed days move the last day on."""


class Term(NamedTuple):
    """A term in days, and how its last day is found."""

    days: int
    citation: str
    moves_by: str = ""
    """By which law a last day on which offices are closed moves on; empty where none does."""
    first_counts: bool = False
    """Whether the day of the event is the first day, as in 戸籍法43条1項; else the day after is (民法140条)."""


def day_of(now_us: int) -> date:
    """The day in Japan of an instant, given in µs since 1970 UTC as a host's clock gives it."""
    return datetime.fromtimestamp(now_us / 1_000_000, tz=JST).date()


def reaches(born: date, years: int = 0, *, months: int = 0) -> date:
    """The day at whose end somebody is so old: the eve of the birthday (年齢計算ニ関スル法律, 民法143条2項).

    Who is born on 29 February reaches every age on 28 February: where the month lacks the day, the term ends with it.
    """
    day = months_after(born, years * 12 + months)
    return day if day.day < born.day else day - DAY


def age_on(born: date, day: date) -> int:
    """The whole years that somebody has reached on a day; it is one year more on the eve of a birthday."""
    following = day + DAY
    return following.year - born.year - ((following.month, following.day) < (born.month, born.day))


def deadline(happened_on: date, term: Term) -> date:
    """The last day of a term that an event begins."""
    last = happened_on + timedelta(days=term.days - term.first_counts)
    return open_day(last) if term.moves_by else last


def open_day(day: date) -> date:
    """The day itself, or the first after it on which offices are open."""
    while is_closed(day):
        day += DAY
    return day


def is_closed(day: date) -> bool:
    """Whether offices are closed: weekends, national holidays, 29 December to 3 January.

    地方自治法4条の2第2項; for the nation's 行政機関の休日に関する法律1条1項, in the same words.
    """
    return (
        day.weekday() >= 5
        or (day.month, day.day) >= (12, 29)
        or (day.month, day.day) <= (1, 3)
        or _is_holiday(day)
    )


@lru_cache(maxsize=4096)
def _is_holiday(day: date) -> bool:
    from jpholiday import JPHoliday  # Only who counts days needs it.

    return bool(JPHoliday().is_holiday(day))


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last that the month has."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day.day, (following - date.resolution).day))


def fiscal_year(day: date) -> int:
    """The fiscal year (年度) of a day: it begins on 1 April (地方自治法208条1項)."""
    return day.year if day.month >= 4 else day.year - 1


def school_year_end(born: date, age: int) -> date:
    """The 31 March on or after which somebody reaches an age: who is born on 1 April is still of the year before.

    学校教育法17条, 同施行規則59条, with `reaches`.
    """
    reached = reaches(born, age)
    return date(reached.year + (reached.month > 3), 3, 31)


def levy_day(year: int) -> date:
    """The day whose residence and age count for a year's 個人住民税: 1 January (地方税法39条, 318条)."""
    return date(year, 1, 1)
