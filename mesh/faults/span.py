"""When a fault is there, and how times are said: seconds in a plan, µs in a run, words in a report."""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from msgspec import Meta

SECONDS_MAX: Final = 10 * 365 * 86_400

Seconds = Annotated[float, Meta(ge=0, le=SECONDS_MAX)]
Length = Annotated[float, Meta(ge=0.000001, le=SECONDS_MAX)]
Both = tuple[str, str]
"""The same in English and Japanese."""


class Span(NamedTuple):
    """From when until when something is wrong, and after how long again; µs since the run began."""

    from_us: int
    until_us: int | None
    every_us: int | None

    @classmethod
    def of(cls, from_s: float, until_s: float | None, every_s: float | None) -> Span:
        """The span of a plan's seconds."""
        until_us, every_us = (None if one is None else _us(one) for one in (until_s, every_s))
        return cls(_us(from_s), until_us, every_us)

    def covers(self, now_us: int) -> bool:
        """Whether it is wrong at that time; the first µs counts, the last does not."""
        since_us = now_us - self.from_us
        if since_us < 0 or self.until_us is None:
            return since_us >= 0
        if self.every_us is not None:
            since_us %= self.every_us
        return since_us < self.until_us - self.from_us

    @property
    def said(self) -> Both:
        """The span in words; nothing for all of the run."""
        start, start_ja = _length(self.from_us)
        if self.until_us is None:
            return (f", from {start} on", f"、{start_ja}以降") if self.from_us else ("", "")
        stop, stop_ja = _length(self.until_us)
        en, ja = f", from {start} to {stop}", f"、{start_ja}から{stop_ja}まで"
        if self.every_us is None:
            return en, ja
        again, again_ja = _length(self.every_us)
        return f"{en} and again every {again}", f"{ja}（{again_ja}ごとに繰り返す）"


def plain(number: float) -> str:
    """A number as a person writes it, without an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _length(us: int) -> Both:
    """A time since the beginning, in hours if it is whole ones."""
    hours, rest_us = divmod(us, 3_600_000_000)
    if hours and not rest_us:
        return f"{hours} h", f"{hours}時間"
    seconds = plain(us / 1_000_000)
    return f"{seconds} s", f"{seconds}秒"
