"""Whose clock or registry is wrong, when one party refuses what another signed, as far as the refused one can tell.

Of two clocks that differ neither is right by itself. The newest time that a third party signed is one that has passed, so
a clock that is behind it is wrong; if neither is, the clock that is ahead is the likelier one.
"""

from __future__ import annotations

from typing import Final

from mesh.errors import Fault
from mesh.message import CLOCK_TOLERANCE_US

_BY_CLOCK: Final = frozenset(
    {"certificate_expired", "certificate_not_yet_valid", "message_expired", "message_from_future"}
)
"""Codes that a wrong clock brings about, on either side."""
_OF_WHO_REFUSES: Final = "registry_stale"


def fault_of(code: str, speaker: Fault, *, said_us: int, own_us: int, signed_us: int) -> Fault | None:
    """Who can mend a refusal that `speaker` signed at `said_us`; None to go by the code's own fault.

    `own_us` is the requester's clock as the refusal comes, `signed_us` the newest time that others signed.
    """
    if code == _OF_WHO_REFUSES:
        return speaker
    if code not in _BY_CLOCK or abs(said_us - own_us) <= CLOCK_TOLERANCE_US:
        return None
    behind_us = min(said_us, own_us)
    wrong_us = behind_us if behind_us + CLOCK_TOLERANCE_US < signed_us else max(said_us, own_us)
    return speaker if wrong_us == said_us else Fault.REQUESTER
