"""What every gate checks and in which order: one table, by gate and kind of message, which the gates walk.

Rules kept here:
1. A gate goes from step to step with `Walk.to`, in the order of its row and no other; a step that the row does not have
   next is an error of the program, so that code and table cannot part.
2. Each line is checked in the order of `Step`; a permit, which is a line of its own, before the message that it is for.
3. What is recorded of a walk is one number: the table's version and how many steps were passed. Every display of what
   was checked reads that number, and reconstructs nothing.

A row that changes gets a new table: `VERSION` rises, and the former table stays in `TABLES`, for traces recorded by it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mesh.errors import MeshError, Step
from mesh.message import Kind
from mesh.names import BROKER


class Check(NamedTuple):
    """One step of a gate, of the message or of the permit that came with it."""

    step: Step
    of_permit: bool = False


# Plain names: an enum's attribute costs several times as much on the hot path.
FORM: Final = Check(Step.FORM)
KEY: Final = Check(Step.KEY)
SIGNATURE: Final = Check(Step.SIGNATURE)
PAYLOAD: Final = Check(Step.PAYLOAD)
ADDRESS: Final = Check(Step.ADDRESS)
TIME: Final = Check(Step.TIME)
DUPLICATE: Final = Check(Step.DUPLICATE)
ZONE: Final = Check(Step.ZONE)
AUTHORISATION: Final = Check(Step.AUTHORISATION)
CONTENT: Final = Check(Step.CONTENT)
ROOM: Final = Check(Step.DELIVERY)
"""Whether there is room for more work."""
REPLY: Final = Check(Step.REPLY)
PERMIT_FORM: Final = Check(Step.FORM, of_permit=True)
PERMIT_KEY: Final = Check(Step.KEY, of_permit=True)
PERMIT_SIGNATURE: Final = Check(Step.SIGNATURE, of_permit=True)
PERMIT_PAYLOAD: Final = Check(Step.PAYLOAD, of_permit=True)
PERMIT_ADDRESS: Final = Check(Step.ADDRESS, of_permit=True)
PERMIT_LAW: Final = Check(Step.AUTHORISATION, of_permit=True)
"""Whether the row that the permit names covers the exchange, in the reader's own copy of the law."""

FIRST: Final = (FORM, KEY, SIGNATURE, PAYLOAD, ADDRESS)
"""How every line begins, whatever it is."""


class Gate:
    """Where a line comes in."""

    BROKER: Final = "broker"
    """The broker's, for what others mean for each other."""
    NODE: Final = "node"
    """A node's, for a line that comes alone."""
    PERMITTED: Final = "permitted"
    """A node's, for a line with a permit."""


Row = tuple[Check, ...]
Table = dict[tuple[str, str], Row]
"""(gate, kind) → steps. A kind that a gate does not take has no row."""

_PERMIT: Final = (PERMIT_FORM, PERMIT_KEY, PERMIT_SIGNATURE, PERMIT_PAYLOAD, PERMIT_ADDRESS)
_ANSWERS: Final = (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT)
BEGINNINGS: Final = {Gate.BROKER: FIRST, Gate.NODE: FIRST, Gate.PERMITTED: _PERMIT + FIRST}
"""What each gate checks before it knows the kind; all rows of the gate begin so."""

STEPS: Final[Table] = {
    (Gate.BROKER, Kind.REQUEST): (*FIRST, TIME, DUPLICATE, ZONE, AUTHORISATION),
    (Gate.BROKER, Kind.NOTICE): (*FIRST, TIME, DUPLICATE, ZONE, AUTHORISATION),
    # Zones decide who hears of an event, and never refuse one.
    (Gate.BROKER, Kind.EVENT): (*FIRST, TIME, DUPLICATE, AUTHORISATION),
    (Gate.BROKER, Kind.REPLY): (*FIRST, REPLY),
    (Gate.BROKER, Kind.REFUSAL): (*FIRST, REPLY),
    (Gate.BROKER, Kind.RECEIPT): (*FIRST, REPLY),
    (Gate.PERMITTED, Kind.REQUEST): (
        *_PERMIT, *FIRST, TIME, PERMIT_LAW, DUPLICATE, AUTHORISATION, CONTENT, ROOM,
    ),
    (Gate.PERMITTED, Kind.EVENT): (*_PERMIT, *FIRST, TIME, PERMIT_LAW, DUPLICATE),
    (Gate.PERMITTED, Kind.NOTICE): (*_PERMIT, *FIRST, TIME, PERMIT_LAW, DUPLICATE, CONTENT),
    (Gate.NODE, Kind.REPLY): (*FIRST, CONTENT, REPLY),
    (Gate.NODE, Kind.REFUSAL): (*FIRST, CONTENT, REPLY),
    (Gate.NODE, Kind.RECEIPT): (*FIRST, REPLY),
    # What asks for something needs a permit, and these lack one.
    (Gate.NODE, Kind.REQUEST): (*FIRST, AUTHORISATION),
    (Gate.NODE, Kind.EVENT): (*FIRST, AUTHORISATION),
    (Gate.NODE, Kind.NOTICE): (*FIRST, AUTHORISATION),
}  # fmt: skip

VERSION: Final = 2
_BEFORE_SEALED_REFUSALS: Final = STEPS | {(Gate.NODE, Kind.REFUSAL): (*FIRST, REPLY)}
TABLES: Final[dict[int, Table]] = {1: _BEFORE_SEALED_REFUSALS, VERSION: STEPS}
_UNIT: Final = 100
"""Steps that a row has at most: a record is version · 100 + steps passed."""


class Walk:
    """A line on its way through one gate."""

    __slots__ = ("entered", "gate", "steps")

    def __init__(self, gate: str) -> None:
        self.gate = gate
        self.steps = BEGINNINGS[gate]
        self.entered = 0

    def to(self, check: Check) -> None:
        """The steps so far are passed; this one begins. RuntimeError if the table has another next."""
        entered = self.entered
        try:
            is_next = self.steps[entered] is check
        except IndexError:
            is_next = False
        if not is_next:
            raise RuntimeError(f"the table of gates has another step here than {check}")
        self.entered = entered + 1

    def of(self, kind: str) -> None:
        """The kind is known, and so the row; `message_malformed` for a kind that this gate does not take."""
        steps = STEPS.get((self.gate, kind))
        if steps is None:
            raise MeshError("message_malformed", "no message of this kind is expected here")
        self.steps = steps

    def record(self, *, refused: bool) -> int:
        """What is kept of it: the step at which it was refused is not passed."""
        return VERSION * _UNIT + self.entered - refused


def gate_of(recipient: str, kind: str, *, permitted: bool) -> str:
    """The gate at which a line of a kind came in; a broker takes a kept answer with the permit that it names."""
    if permitted and not (recipient == BROKER and kind in _ANSWERS):
        return Gate.PERMITTED
    return Gate.BROKER if recipient == BROKER else Gate.NODE


def row_of(gate: str, kind: str, version: int = VERSION) -> Row:
    """The steps of a gate for a kind; what every line is checked for, if the gate does not take that kind."""
    return TABLES[version].get((gate, kind), BEGINNINGS[gate])


def passed(record: int) -> tuple[int, int]:
    """Version and number of steps passed, of a record; `KeyError` for a table that is not known here."""
    version, steps = divmod(record, _UNIT)
    if version not in TABLES:
        raise KeyError(version)
    return version, steps
