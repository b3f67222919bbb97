"""What travels from the reading of a trace to the index over it: columns of numbers, and names for them."""

from __future__ import annotations

from array import array
from collections.abc import Generator, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field

from mesh.trace.opening import Damage, damaged
from mesh.trace.reader import Trace

COLUMNS: Final = {
    "number": "I", "sent_us": "q", "sender": "I", "recipient": "I", "message": "I", "exchange": "I",
    "service": "H", "procedure": "H", "source": "H", "meant": "H", "kind": "B", "code": "B", "refused": "B", "fate": "B",
}  # fmt: skip
"""What is kept of each transmission, and how wide it is in `array`'s codes."""
NAMED: Final = ("kind", "service", "procedure", "source", "meant", "code", "refused", "fate")
"""Columns whose numbers stand for names."""
LEDGER_COLUMNS: Final = {"number": "I", "party": "I", "exchange": "I", "person": "I"}
NONE: Final = 2**32 - 1
"""Where a ledger row's exchange is unknown, and where it names no code of a person; a person of 0 is not known."""
BLOCK: Final = 256
"""Leaves under one hash that is kept of a ledger's tree; a power of two, so that it is a node of the tree."""

PIECE: Final = 4096
"""Rows that are read at a time: a run that still goes on cannot commit while somebody reads."""

Columns = dict[str, "array[int]"]


class Chunk(Struct, array_like=True):
    """What was found next."""

    share: float = 0.0
    """How much of the trace was read so far, 0 to 1."""
    columns: dict[str, bytes] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    """The ids of the next messages, one a line, in lower case; messages are numbered from 1."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """Names that the columns number and no chunk before had: column → names."""
    about: dict[str, list[int]] = field(default_factory=dict)
    """Resident → exchanges about them."""
    ledger: dict[str, bytes] = field(default_factory=dict)
    permitted: list[int] = field(default_factory=list)
    """Exchanges that the broker permitted."""
    hidden: list[int] = field(default_factory=list)
    """Exchanges that are not shown to the person (番号法23条2項)."""
    marks: dict[int, int] = field(default_factory=dict)
    """Ledger rows whose exchange was found later: place in the columns → exchange."""
    blocks: dict[int, bytes] = field(default_factory=dict)
    """Party → the hashes over the next full blocks of its ledger."""
    listed: bool = False
    """Whether every transmission has come, with what it is found by."""
    summary: dict[str, Any] | None = None
    note: str | None = None
    """Why the reading ended before the end."""

    @property
    def ends(self) -> bool:
        """Whether it is the last."""
        return self.summary is not None or self.note is not None


class Names(dict[bytes, int]):
    """Numbers for the names of a column, 0 for the empty one. A name that is looked up gets a number.

    When the column has no more numbers, further names get 0: they are still shown, but not found.
    """

    def __init__(self, code: str) -> None:
        super().__init__({b"": 0})
        self._max = 2 ** (8 * array(code).itemsize)
        self.all = [""]
        self._given = 0

    def __missing__(self, name: bytes) -> int:
        """The number of a new name."""
        if len(self.all) >= self._max:
            return 0
        self[name] = number = len(self.all)
        self.all.append(text_of(name))
        return number

    def take(self) -> list[str]:
        """The names since the last call."""
        start, self._given = self._given, len(self.all)
        return self.all[start:]


def text_of(data: bytes) -> str:
    """Bytes as the trace's reader gives a text."""
    return data.decode("utf-8", "backslashreplace")


def new_columns(codes: Mapping[str, str]) -> Columns:
    """Empty columns."""
    return {name: array(code) for name, code in codes.items()}


def to_bytes(columns: Columns) -> dict[str, bytes]:
    """The columns as they travel: one machine, so its own byte order."""
    return {name: column.tobytes() for name, column in columns.items()}


def pieces(trace: Trace, sql: str) -> Generator[list[tuple[Any, ...]], None, None]:
    """The rows of a statement whose first column is their number, from which on and how many it takes.

    What comes before damage is given first.
    """
    start, count, room = 0, PIECE, trace.room()
    while count == PIECE:
        rows, damage = list[tuple[Any, ...]](), None
        try:
            rows.extend(trace.rows(sql, start, PIECE, room=room))
        except Damage as error:
            damage = error
        if rows:
            numbers = [row[0] for row in rows]
            if numbers[0] < start or numbers != sorted(set(numbers)):
                # Pages that lead to each other, so that rows come again for ever.
                raise damaged(f"{trace.name} is damaged")
            yield rows
            start = numbers[-1] + 1
        if damage is not None:
            raise damage
        count = len(rows)


def column(code: str, values: Iterable[int]) -> array[int]:
    """A column of numbers; `ValueError` for what is none, or too large."""
    try:
        return array(code, values)
    except (TypeError, OverflowError):
        raise ValueError("not a column of numbers") from None
