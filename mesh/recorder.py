"""How node, broker and transport report what happens; recording is apart from rendering.

`mesh.trace.writer` keeps a run in a file. Nothing that a recorder does changes what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from mesh.party import Admitted


class Fate:
    """What became of a transmission."""

    DELIVERED: Final = "delivered"
    DROPPED: Final = "dropped"
    UNREACHABLE: Final = "unreachable"
    IN_FLIGHT: Final = "in-flight"
    """The run ended before it arrived."""


class Passage(Struct, frozen=True, gc=False):
    """What a gate made of a line: why it refused it, and what it read before that."""

    code: str | None = None
    """None when every check passed."""
    admitted: Admitted | None = None
    permit_digest: str | None = None
    gate: int = 0
    """How far it came, as `mesh.gates.Walk.record` says it; 0 where there was no gate."""


NO_PASSAGE: Final = Passage()
"""Of a line that came to no gate."""


class Recorder(Protocol):
    """What is worth keeping of a run."""

    def sent(self) -> int:
        """A transmission begins; returns its index, counted from 0."""

    def transmission(
        self,
        index: int,
        sent_us: int,
        arrived_us: int,
        sender: str,
        recipient: str,
        line: bytes,
        fate: str,
        passage: Passage,
    ) -> None:
        """A transmission ended; `passage` is what the recipient's gate made of it."""

    def ledger_rows(self, party: str, position: int, rows: Sequence[bytearray]) -> None:
        """A party committed rows of its ledger, from this position on."""

    def tree_head(self, party: str, token: bytes) -> None:
        """A party signed the head of its ledger."""
