"""A sequence as numbers: which columns there are, and where each arrow begins and ends. The template draws it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mesh.message import Kind
from mesh.recorder import Fate
from mesh.trace.sequence import fold
from mesh.trace.text import format_time

COLUMNS_MAX = 8
"""More parties than that share columns."""
COLUMN = 116
ROW = 28
LEFT = 430
"""Where the columns begin: index, time and label stand before them."""
_HALF = COLUMN // 2
_LOST = (Fate.DROPPED, Fate.UNREACHABLE, Fate.IN_FLIGHT)
_FORMS = {
    Kind.REQUEST: "request",
    Kind.REPLY: "reply",
    Kind.REFUSAL: "refusal",
    Kind.EVENT: "push",
    Kind.NOTICE: "push",
    Kind.RECEIPT: "receipt",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A party, or several of one member."""

    x: int
    name: str
    """The party's address, its member, or its role."""
    lines: tuple[str, ...]
    nodes: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """One transmission."""

    index: int
    y: int
    time: str
    start: int
    end: int
    form: str
    permitted: bool
    again: bool
    lost: bool
    refused: bool
    service: str
    outcome: str
    sealed: bool

    @property
    def step(self) -> int:
        """1 to the right, -1 to the left."""
        return 1 if self.end > self.start else -1


@dataclass(frozen=True, slots=True)
class Drawing:
    """A whole sequence; lengths are in units of the drawing."""

    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    width: int
    height: int

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Drawing:
        """The drawing of rows as `mesh.trace.seen` has them."""
        place = fold(dict.fromkeys(party for row in rows for party in (row["from"], row["to"])), COLUMNS_MAX)
        names = list(dict.fromkeys(place.values()))
        x = {name: LEFT + number * COLUMN + _HALF for number, name in enumerate(names)}
        shared = Counter(place.values())
        columns = tuple(Column(x[name], name, tuple(name.split("/")), shared[name]) for name in names)
        sent: set[tuple[Any, ...]] = set()
        arrows = []
        for number, row in enumerate(rows):
            key = (row["id"], row["from"], row["to"])
            asks = row["kind"] in (Kind.REQUEST, Kind.EVENT, Kind.NOTICE)
            again = asks and key in sent
            sent.add(key)
            arrows.append(_arrow(row, number, x[place[row["from"]]], x[place[row["to"]]], again=again))
        return cls(columns, tuple(arrows), LEFT + len(names) * COLUMN, len(rows) * ROW + 8)


def _arrow(row: Mapping[str, Any], number: int, start: int, end: int, *, again: bool) -> Arrow:
    lost = row["fate"] in _LOST
    return Arrow(
        index=row["index"],
        y=number * ROW + ROW // 2 + 4,
        time=format_time(row["time_us"]),
        start=start,
        end=end,
        form=_FORMS.get(row["kind"], "unread"),
        permitted=row["permit"] is not None,
        again=again,
        lost=lost,
        refused=row["refused"],
        service=row["service"] or (f"{row['bytes']:,} bytes" if not row["readable"] else "-"),
        outcome=row["fate"] if lost else row["code"] or "",
        sealed=bool(row["sealed"]),
    )
