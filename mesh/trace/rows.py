"""What a trace holds, row by row, as reader and writer give it to others."""

from __future__ import annotations

from typing import Any, Final, NamedTuple


class Message(NamedTuple):
    """One line, kept once, and the columns that list it."""

    number: int
    digest: bytes
    kind: str
    id: str | None
    service: str | None
    code: str | None
    line: bytes


class Transmission(NamedTuple):
    """One way of one message; `number` is its index, times are µs since the run began."""

    number: int
    sent_us: int
    arrived_us: int
    sender: str
    recipient: str
    fate: str
    code: str | None
    """Why the recipient's gate refused it; None when every check passed or it came to none."""
    message: Message
    permit: Message | None
    gate: int | None = None
    """How far it came at the recipient's gate, as `mesh.gates` records it; None if it came to none, or in a trace of the
    first format."""


class LedgerRow(NamedTuple):
    """One row of a party's ledger, in the order of all commits."""

    number: int
    party: str
    position: int
    row: bytes


NOT_TRIED: Final = ("not tried under this plan", "この障害条件では試していない")


class Expectation(NamedTuple):
    """What a scenario expected, and whether it held."""

    text: str
    text_ja: str
    held: bool
    """False of what was not tried."""
    message: str | None
    tried: bool = True
    """False where the scenario says that the run's fault plan makes it impossible: it neither held nor failed."""
    after: int = 0
    """How many transmissions had begun when it was stated."""

    @property
    def failed(self) -> bool:
        """Whether it was tried and did not hold."""
        return self.tried and not self.held

    def as_json(self) -> dict[str, Any]:
        """The expectation as every command and page gives it."""
        said = {"text": self.text, "text_ja": self.text_ja, "held": self.held, "tried": self.tried}
        return said | ({"message": self.message} if self.message else {})
