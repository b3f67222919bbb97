"""When a party recorded that an answer came: compared with when it came, by how much the party's clock is wrong.

Rows of what a party said itself have the time of what it signed, to the microsecond: both are one reading of a clock. A
`closed` of somebody else's answer has no such document. But what else the party signed and sent at once says how far its
clock is from the recorder's; by that, the row's time must be when the answer came.
"""

from __future__ import annotations

from mesh.ledger import TIMES_WITHIN_US

Exchange = tuple[str, str]
"""Its requester and id."""


class Clocks:
    """The clocks of all parties, as far as their own rows tell. `start_us` is when the run began, µs since 1970."""

    def __init__(self, start_us: int | None) -> None:
        self._start_us = start_us
        self._ahead_us: dict[str, int] = {}
        """How far a party's clock is ahead: its messages were signed at that time, or sent later than that."""
        self._late: dict[str, tuple[int, Exchange]] = {}
        """Of each party, by how much at least its clock would be ahead if its latest-looking `closed` is right."""
        self._last_us: dict[str, int] = {}

    def runs_back(self, party: str, time_us: int) -> bool:
        """Whether a party's next row is older than one before it."""
        last_us = self._last_us.get(party, time_us)
        self._last_us[party] = max(last_us, time_us)
        return time_us < last_us - TIMES_WITHIN_US

    def said(self, party: str, time_us: int, sent_us: int) -> None:
        """A party's row of what it signed and sent at once."""
        if self._start_us is not None and sent_us >= 0:
            ahead_us = time_us - self._start_us - sent_us
            self._ahead_us[party] = max(ahead_us, self._ahead_us.get(party, ahead_us))

    def is_early(self, party: str, exchange: Exchange, time_us: int, came: tuple[int, int]) -> bool:
        """Whether a `closed` is older than its answer; one that is too late is found at the end."""
        if self._start_us is None:
            return False
        first_us, last_us = came
        least_us = time_us - self._start_us - last_us - TIMES_WITHIN_US
        if party not in self._late or self._late[party][0] < least_us:
            self._late[party] = least_us, exchange
        ahead_us = self._ahead_us.get(party)
        return ahead_us is not None and time_us - self._start_us - first_us < ahead_us - TIMES_WITHIN_US

    def too_late(self) -> list[tuple[str, Exchange]]:
        """Party and exchange of every `closed` that is later than when its answer came; of a party the worst."""
        return [
            (party, exchange)
            for party, (least_us, exchange) in self._late.items()
            # Of who only published nothing says what its clock was: a push may wait before it is sent.
            if party in self._ahead_us and least_us > self._ahead_us[party]
        ]
