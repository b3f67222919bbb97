"""The life of an exchange as each role sees it: three tables, and what a transition hands back.

This file holds every state and every event of requester, provider and broker; nothing else decides what
may follow what. It does no I/O. A role's code looks up its next state here and fails with
`correlation_mismatch` where the table has none; ARCHITECTURE.md's pictures are drawn from these same tables
(`mesh.drawing`).

A transition returns a `Turn`: first what must be durable, then what may leave. The shell commits all
writes that are ready in one turn of the loop as one transaction, and only then sends. So nothing is ever
acknowledged that a crash could forget.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from mesh.errors import MeshError
from mesh.ledger import Row


class State:
    """Where an exchange stands for one role.

    Plain strings in a namespace: an enum's attribute costs several times as much on the hot path.
    """

    NEW: Final = "new"
    OPENED: Final = "opened"
    """Requester: recorded and sent, no answer yet."""
    PERMITTED: Final = "permitted"
    """Broker: decided and forwarded, no answer yet."""
    HANDLING: Final = "handling"
    """Provider: its handler runs."""
    ANSWERED: Final = "answered"
    """Provider: the outcome's bytes are kept with the effect."""
    REFUSED: Final = "refused"
    """Broker or provider: the gate said no, for good."""
    CLOSED: Final = "closed"
    """Requester or broker: the answer is recorded."""
    UNFINISHED: Final = "unfinished"
    """Requester: every attempt timed out; what happened at the provider is not known."""


class Happening:
    """What can happen to an exchange."""

    ASK: Final = "ask"
    REQUEST: Final = "request"
    REFUSE: Final = "refuse"
    ANSWER: Final = "answer"
    TIMEOUT: Final = "timeout"


Table = dict[tuple[str, str], str]
"""(state, happening) → next state."""

REQUESTER: Final[Table] = {
    (State.NEW, Happening.ASK): State.OPENED,
    (State.OPENED, Happening.TIMEOUT): State.UNFINISHED,
    (State.OPENED, Happening.ANSWER): State.CLOSED,
    # An answer that comes late is still the answer: the record is completed, the caller has gone.
    (State.UNFINISHED, Happening.ANSWER): State.CLOSED,
}

BROKER: Final[Table] = {
    (State.NEW, Happening.REQUEST): State.PERMITTED,
    (State.NEW, Happening.REFUSE): State.REFUSED,
    # A repeat goes on with a new permit; the provider's database decides that it is one.
    (State.PERMITTED, Happening.REQUEST): State.PERMITTED,
    (State.PERMITTED, Happening.ANSWER): State.CLOSED,
    (State.CLOSED, Happening.REQUEST): State.PERMITTED,
    (State.CLOSED, Happening.ANSWER): State.CLOSED,
}

PROVIDER: Final[Table] = {
    (State.NEW, Happening.REQUEST): State.HANDLING,
    (State.NEW, Happening.REFUSE): State.REFUSED,
    # A repeat while the handler runs waits for the same outcome.
    (State.HANDLING, Happening.REQUEST): State.HANDLING,
    (State.HANDLING, Happening.ANSWER): State.ANSWERED,
    (State.HANDLING, Happening.REFUSE): State.ANSWERED,
    (State.ANSWERED, Happening.REQUEST): State.ANSWERED,
}


def advance(table: Table, state: str, happening: str) -> str:
    """The next state; `correlation_mismatch` where the table has no such transition."""
    following = table.get((state, happening))
    if following is None:
        raise MeshError("correlation_mismatch", f"{happening} cannot follow {state}")
    return following


Write = tuple[str, tuple[Any, ...]]
"""A statement's name in `mesh.store` and its values."""
Send = tuple[str, bytes]
"""Address and line."""


class Turn(Struct, gc=False):
    """What one transition wants: `rows` to record and `writes` to commit, then `sends`, then `calls` to make.

    A row gets its place in the ledger when it is committed. `undo` is called instead when the commit fails:
    then nothing of the turn happened.
    """

    rows: list[Row] = []
    writes: list[Write] = []
    sends: list[Send] = []
    calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
    undo: list[Callable[[MeshError], object]] = []


def digest_of(line: bytes) -> str:
    """SHA-256 of the bytes of one message, in hex: how messages name each other."""
    return sha256(line).hexdigest()
