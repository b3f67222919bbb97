"""The life of an exchange and of a push as each role sees it: the tables, and the one writer of every state.

Rules kept here:
1. This file holds every state and everything that can happen; nothing else decides what may follow what.
2. A state changes in `LifeCycle.fire` alone, as its role's table says; where the table has no row it is
   `correlation_mismatch`. `LifeCycle.restore` puts back a whole former state, when what followed it could not
   be committed, or as the database has it. `tests/test_life_cycles.py` reads the source for any other writer.
3. A role does what the state says that it reached, not what it expected to reach.

It does no I/O. ARCHITECTURE.md's pictures are drawn from these same tables (`mesh.drawing`), and
`tests/sweeps/life_cycle_mutants.py` breaks each row to see a test fail.

A transition returns a `Turn`: first what must be durable, then what may leave. The shell commits all
writes that are ready in one turn of the loop as one transaction, and only then sends. So nothing is ever
acknowledged that a crash could forget.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from operator import attrgetter
from typing import Any, ClassVar, Final

from msgspec import Struct

from mesh.errors import MeshError
from mesh.ledger import Row


class State:
    """Where an exchange or a push stands for one role.

    Plain strings in a namespace: an enum's attribute costs several times as much on the hot path.
    """

    NEW: Final = "new"
    """Nothing happened yet, or nothing of it was kept."""
    OPENED: Final = "opened"
    """Requester: recorded and sent, no answer yet."""
    UNFINISHED: Final = "unfinished"
    """Requester: every attempt timed out; what happened at the provider is not known."""
    PERMITTED: Final = "permitted"
    """Broker: decided and forwarded, no answer yet."""
    REFUSED: Final = "refused"
    """Broker: it said no, for good."""
    CLOSED: Final = "closed"
    """Requester or broker: the answer is recorded."""
    HANDLING: Final = "handling"
    """Provider: its handler runs."""
    ANSWERED: Final = "answered"
    """Provider: the outcome's bytes are kept with the effect."""
    WAITING: Final = "waiting"
    """Publisher or relay: kept, and not sent by this incarnation."""
    SENT: Final = "sent"
    """Publisher or relay: sent, and not signed for."""
    DEAD: Final = "dead"
    """Publisher or relay: a dead letter, which nobody signed for in time."""
    GONE: Final = "gone"
    """Publisher or relay: signed for, or refused for good; nothing is stored of it."""
    ENTERING: Final = "entering"
    """Subscriber: it is being committed to the inbox."""
    RECEIVED: Final = "received"
    """Subscriber: in the inbox and signed for, its handler still to succeed."""
    HANDLED: Final = "handled"
    """Subscriber: the handler's effect is committed, and may not happen again."""


class Happening:
    """What can happen to an exchange or a push."""

    ASK: Final = "ask"
    REQUEST: Final = "request"
    REFUSE: Final = "refuse"
    ANSWER: Final = "answer"
    REPEAT: Final = "repeat"
    """The very answer that was recorded comes once more."""
    SUPERSEDE: Final = "supersede"
    """An answer comes after all to what was closed by a refusal of one attempt."""
    UNREACHABLE: Final = "unreachable"
    TIMEOUT: Final = "timeout"
    TAKE: Final = "take"
    """A push is taken over for one recipient."""
    SEND: Final = "send"
    RECEIPT: Final = "receipt"
    EXPIRE: Final = "expire"
    FORBID: Final = "forbid"
    """The row of the law ended under which it was taken over."""
    REVIVE: Final = "revive"
    """A person sends a dead letter again."""
    PUSH: Final = "push"
    COMMIT: Final = "commit"
    HANDLE: Final = "handle"


Table = dict[tuple[str, str], str]
"""(state, happening) → next state."""

REQUESTER: Final[Table] = {
    (State.NEW, Happening.ASK): State.OPENED,
    (State.OPENED, Happening.TIMEOUT): State.UNFINISHED,
    (State.OPENED, Happening.ANSWER): State.CLOSED,
    # An answer that comes late is still the answer: the record is completed, the caller has gone.
    (State.UNFINISHED, Happening.ANSWER): State.CLOSED,
    (State.CLOSED, Happening.REPEAT): State.CLOSED,
    (State.CLOSED, Happening.SUPERSEDE): State.CLOSED,
}

BROKER: Final[Table] = {
    (State.NEW, Happening.REQUEST): State.PERMITTED,
    (State.NEW, Happening.REFUSE): State.REFUSED,
    # A repeat goes on with a new permit; the provider's database decides that it is one.
    (State.PERMITTED, Happening.REQUEST): State.PERMITTED,
    (State.PERMITTED, Happening.ANSWER): State.CLOSED,
    # Only of what is unanswered may the broker say that nobody was there.
    (State.PERMITTED, Happening.UNREACHABLE): State.CLOSED,
    (State.CLOSED, Happening.REQUEST): State.PERMITTED,
    (State.CLOSED, Happening.ANSWER): State.CLOSED,
    # The recorded answer goes on once more, without a row.
    (State.PERMITTED, Happening.REPEAT): State.CLOSED,
    (State.CLOSED, Happening.REPEAT): State.CLOSED,
    (State.REFUSED, Happening.REQUEST): State.REFUSED,
}

PROVIDER: Final[Table] = {
    (State.NEW, Happening.REQUEST): State.HANDLING,
    # A repeat while the handler runs waits for the same outcome.
    (State.HANDLING, Happening.REQUEST): State.HANDLING,
    (State.HANDLING, Happening.ANSWER): State.ANSWERED,
    (State.HANDLING, Happening.REFUSE): State.ANSWERED,
    (State.ANSWERED, Happening.REQUEST): State.ANSWERED,
}

PUBLISHER: Final[Table] = {
    (State.NEW, Happening.TAKE): State.WAITING,
    (State.WAITING, Happening.SEND): State.SENT,
    (State.SENT, Happening.SEND): State.SENT,
    # After a restart an answer may come to what this incarnation has not sent.
    (State.WAITING, Happening.RECEIPT): State.GONE,
    (State.SENT, Happening.RECEIPT): State.GONE,
    (State.WAITING, Happening.REFUSE): State.DEAD,
    (State.SENT, Happening.REFUSE): State.DEAD,
    (State.WAITING, Happening.EXPIRE): State.DEAD,
    (State.SENT, Happening.EXPIRE): State.DEAD,
}

RELAY: Final[Table] = {
    (State.NEW, Happening.TAKE): State.WAITING,
    (State.WAITING, Happening.SEND): State.SENT,
    (State.SENT, Happening.SEND): State.SENT,
    (State.WAITING, Happening.RECEIPT): State.GONE,
    (State.SENT, Happening.RECEIPT): State.GONE,
    (State.WAITING, Happening.REFUSE): State.DEAD,
    (State.SENT, Happening.REFUSE): State.DEAD,
    (State.WAITING, Happening.EXPIRE): State.DEAD,
    (State.SENT, Happening.EXPIRE): State.DEAD,
    (State.SENT, Happening.FORBID): State.DEAD,
    (State.DEAD, Happening.REVIVE): State.WAITING,
}

SUBSCRIBER: Final[Table] = {
    (State.NEW, Happening.PUSH): State.ENTERING,
    # A repeat gets the receipt that leaves with the commit, or the one that is kept.
    (State.ENTERING, Happening.PUSH): State.ENTERING,
    (State.ENTERING, Happening.COMMIT): State.RECEIVED,
    (State.RECEIVED, Happening.PUSH): State.RECEIVED,
    (State.RECEIVED, Happening.HANDLE): State.HANDLED,
    # A handler may have a second effect; none happens again when it fails after the first.
    (State.HANDLED, Happening.HANDLE): State.HANDLED,
}


class LifeCycle:
    """What stands somewhere in a table. `state` is read by all, and written by `fire` and `restore` alone."""

    __slots__ = ("state",)

    table: ClassVar[Table]
    whole: ClassVar[tuple[str, ...]] = ("state",)
    """The state and the attributes that change with it, and go back with it."""

    _whole_of: ClassVar[attrgetter[Any]] = attrgetter("state")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._whole_of = attrgetter(*cls.whole)

    def __init__(self) -> None:
        self.state = State.NEW

    def fire(self, happening: str) -> None:
        """Go where the table says; `correlation_mismatch`, and no change, where it has no such row."""
        following = self.table.get((self.state, happening))
        if following is None:
            raise MeshError("correlation_mismatch", f"{happening} cannot follow {self.state}")
        self.state = following

    def may(self, happening: str) -> bool:
        """Whether the table has a row for it in this state."""
        return (self.state, happening) in self.table

    def former(self) -> tuple[Any, ...]:
        """What `restore` puts back."""
        values: Any = self._whole_of(self)
        return values if len(self.whole) > 1 else (values,)

    def restore(self, former: tuple[Any, ...]) -> None:
        """Be again as it was, or as the database has it."""
        for name, value in zip(self.whole, former, strict=True):
            setattr(self, name, value)


Write = tuple[str, tuple[Any, ...]]
"""A statement's name in `mesh.store` and its values."""
Send = tuple[str, bytes]
"""Address and line."""


class Turn(Struct):
    """What one transition wants: `rows` to record and `writes` to commit, then `sends`, then `calls` to make.

    A row gets its place in the ledger when it is committed. `undo` is called instead when the commit fails:
    then nothing of the turn happened.
    """

    # Not `gc=False`, as what travels is: its calls lead to the node, and a traceback that holds a turn would keep
    # the whole simulation for ever.

    rows: list[Row] = []
    writes: list[Write] = []
    sends: list[Send] = []
    calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
    undo: list[Callable[[MeshError], object]] = []


def digest_of(line: bytes) -> str:
    """SHA-256 of the bytes of one message, in hex: how messages name each other."""
    return sha256(line).hexdigest()
