"""What stories look for on the wire: what a party was sent, as its own key opens it, and whose codes stand in it."""

from __future__ import annotations

import re

from mesh import Simulation
from mesh.sealing import open_sealed
from mesh.testing import messages

_CODE = re.compile(r"\b[a-z]+/[a-z0-9-]+:[A-Za-z0-9_-]{43}")


def opened_by(sim: Simulation, party: str) -> list[bytes]:
    """All that a party was sent sealed, in order, as its own key opens it."""
    key = sim.keys_of(party).sealing
    return [
        open_sealed(one.message.data, key)
        for one in messages(sim)
        if one.recipient == party and isinstance(getattr(one.message, "data", None), str)
    ]


def codes_in(text: str) -> set[str]:
    """The linkage codes that stand in a text."""
    return set(_CODE.findall(text))


def without_member(code: str) -> str:
    """A code less the member that its first part names: that alone makes no two codes differ."""
    return code.partition(":")[2]
