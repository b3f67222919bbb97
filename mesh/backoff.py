"""How long to wait before something is tried again: the one rule for questions, pushes and handlers.

A pause doubles from the first to the longest, and a part of it is left to chance, so that many who failed together do
not come back together. Pauses are lengths, so whoever keeps them counts by a monotonic clock: a wall clock that is set
back an hour would make an hour of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple


class Backoff(NamedTuple):
    """Pauses of `first_us`, doubling up to `longest_us`; `jitter` is the largest part of a pause that chance adds."""

    first_us: int
    longest_us: int
    jitter: float = 0.0

    def least_us(self, attempt: int) -> int:
        """The pause after so many attempts (from 1 on), without what chance adds."""
        doublings = min(attempt - 1, self.longest_us.bit_length())
        return min(self.first_us << doublings, self.longest_us)

    def added_us(self, attempt: int, randrange: Callable[[int], int]) -> int:
        """What chance adds to it; `randrange(limit)` draws from 0 to below the limit."""
        limit_us = int(self.least_us(attempt) * self.jitter)
        return randrange(limit_us) if limit_us else 0

    def pause_us(self, attempt: int, randrange: Callable[[int], int]) -> int:
        """The pause after so many attempts."""
        return self.least_us(attempt) + self.added_us(attempt, randrange)


OF_QUESTIONS: Final = Backoff(1_000_000, 4_000_000, 1 / 8)
"""About nine attempts in the 30 s that a question has."""
OF_PUSHES: Final = Backoff(1_000_000, 20_000_000, 1 / 4)
OF_HANDLERS: Final = Backoff(1_000_000, 600_000_000)
"""A push that was taken in and whose handler failed; nobody else waits at the same time, so nothing is left to chance."""
