"""What a verification found: the first thing that does not hold, and a report of what was checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Finding(Exception):
    """Something in a trace that does not hold. `index` is the transmission, if it belongs to one."""

    def __init__(self, code: str, text: str, *, index: int | None = None, message: str | None = None) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.index = index
        self.message = message
        """The id of the message or exchange that it is about."""


@dataclass(slots=True)
class Report:
    """The outcome of a verification; counts cover what was checked before the first fault."""

    root: str | None = None
    """SHA-256 of the root certificate that the trace names, in hex: what a person compares."""
    complete: bool = False
    """Whether the run came to its end and all of its file is there."""
    live: bool = False
    """Whether the run still goes on."""
    nothing: bool = False
    """Whether the run was killed before it recorded anything."""
    messages: int = 0
    """Transmissions."""
    permits: int = 0
    ledger_rows: int = 0
    trees: int = 0
    """The registry's, and every ledger's."""
    refused: int = 0
    """Transmissions that the recipient's gate refused, at whatever step."""
    unfinished: int = 0
    """Exchanges in which a `closed` is missing."""
    retried: int = 0
    """Permits that a later one superseded."""
    unsigned: int = 0
    """Ledger rows after the last head of an interrupted run."""
    finding: Finding | None = field(default=None)

    @property
    def ok(self) -> bool:
        """Whether everything holds, and there is something."""
        return self.finding is None and not self.nothing

    def to_dict(self) -> dict[str, Any]:
        """The report as `trace verify --json` prints it."""
        first = None
        if (found := self.finding) is not None:
            first = {"index": found.index, "message": found.message, "code": found.code, "text": found.text}
        return {
            "ok": self.ok,
            "checked": {
                "messages": self.messages,
                "permits": self.permits,
                "ledger_rows": self.ledger_rows,
                "trees": self.trees,
            },
            "first_fault": first,
            "complete": self.complete,
            "live": self.live,
            "nothing": self.nothing,
            "root": self.root,
            "refused": self.refused,
            "unfinished": self.unfinished,
            "retried": self.retried,
            "unsigned": self.unsigned,
        }
