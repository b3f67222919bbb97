"""What is not there for who looks: which pages belong to whom.

Rules kept here:
1. Who looks at the whole run may have every page.
2. A resident's page is theirs alone; the comparison of all records is the commission's; what two bodies could join is
   seen by who has the records of both.
3. Whether a page is empty or not for them to see, the answer says which.
"""

from __future__ import annotations

from typing import Any

from mesh.names import COMMISSION
from mesh.trace.perspective import OfParties, Perspective, Text
from mesh.viewer.folder import Missing


class Absent(Missing):
    """Something that is not there for who looks. `why` is a word for it; `more` goes into the answer besides."""

    def __init__(self, text: str, why: str, **more: Any) -> None:
        super().__init__(text)
        self.more = {"why": why} | more


def check_resident(view: Perspective, handle: str) -> None:
    """`Absent` unless the page of a resident is for who looks."""
    if not view.shows(Text.PERSON, handle):
        raise Absent(f"the page of {handle} is theirs alone, and not for {view.name}", "resident")


def check_commission(view: Perspective) -> None:
    """`Absent` unless the comparison of all records is for who looks."""
    if not view.shows(Text.COMPARISON):
        raise Absent(f"only {COMMISSION} compares everybody's records, and not {view.name}", "commission")


def check_joins(view: Perspective, *bodies: Perspective) -> None:
    """`Absent` unless who looks has the records of all these bodies."""
    wanted = (party for one in bodies if isinstance(one, OfParties) for party in one.parties)
    if not all(view.shows(Text.RECORD, one) for one in wanted):
        raise Absent(f"{view.name} has its own records, and not those of both", "joins")


def check_outcome(view: Perspective) -> None:
    """`Absent` for who cannot read a line."""
    if not view.shows(Text.OUTCOME):
        raise Absent("from lines that cannot be read nothing follows about what came of them", "outcome")
