"""How node, broker and transport report what happens; recording is apart from rendering.

`mesh.trace.writer` keeps a run in a file. Nothing that a recorder does changes what happens.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Fate(StrEnum):
    """What became of a transmission."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    UNREACHABLE = "unreachable"
    IN_FLIGHT = "in-flight"
    """The run ended before it arrived."""


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
        fate: Fate,
        code: str | None,
    ) -> None:
        """A transmission ended; `code` is the recipient's gate's, None when every check passed."""

    def ledger_row(self, party: str, position: int, row: bytes) -> None:
        """A party committed a row of its ledger."""

    def tree_head(self, party: str, token: bytes) -> None:
        """A party signed the head of its ledger."""


class NullRecorder:
    """Keeps nothing."""

    def __init__(self) -> None:
        self._sent = -1

    def sent(self) -> int:
        """Count a transmission."""
        self._sent += 1
        return self._sent

    def transmission(self, *_: object) -> None:
        """Forget a transmission."""

    def ledger_row(self, *_: object) -> None:
        """Forget a row."""

    def tree_head(self, *_: object) -> None:
        """Forget a head."""
