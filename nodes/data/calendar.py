"""Days in Japan: which one an instant falls on, and the same day some months later."""

from __future__ import annotations

from datetime import date, datetime

from nodes.data.table import JST


def day_of(now_us: int) -> date:
    """The day in Japan of an instant, given in µs since 1970 UTC as a host's clock gives it."""
    return datetime.fromtimestamp(now_us / 1_000_000, tz=JST).date()


def months_after(day: date, months: int) -> date:
    """The same day so many months later, or the last that the month has."""
    month = day.month - 1 + months
    year, month = day.year + month // 12, month % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(day.day, (following - date.resolution).day))


def fiscal_year(day: date) -> int:
    """The fiscal year (年度) of a day: it begins on 1 April."""
    return day.year if day.month >= 4 else day.year - 1
