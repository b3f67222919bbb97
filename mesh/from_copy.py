"""As of when an answer from a copy (副本) is: a business system's original may have changed since.

A reply that derives from `FromCopy` says so under its seal, whatever items were asked for: without it nobody can tell
how old an answer is. The service, its catalogue and its contract read it from there.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated

from msgspec import Meta, Struct

JST = timezone(timedelta(hours=9), "JST")
Instant = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+09:00$")]
"""A time of day in Japan, `2026-04-01T09:00:00+09:00`."""


class FromCopy(Struct, frozen=True, kw_only=True):
    """The base of every reply that is answered from a copy."""

    as_of: Instant
    """When the copy was registered (副本登録)."""


def instant(time_us: int) -> str:
    """A time in µs since 1970 UTC as a reply says it: in Japan, to the second."""
    return datetime.fromtimestamp(time_us / 1_000_000, tz=JST).isoformat(timespec="seconds")
