"""Draws rows of a trace as a sequence in plain text: parties as columns, time downwards.

Rules kept here:
1. Every kind has a form of its own, so that nothing is told by colour alone.
2. Rows are drawn as they come. A page has the parties of its own rows. Where they do not fit, nodes of a member share
   a column, then nodes of a role, and the label names the node; where that does not help, the page ends early.
3. What came over the wire cannot break a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from mesh.errors import MeshError
from mesh.message import Kind
from mesh.names import BROKER, is_address, member_of
from mesh.recorder import Fate
from mesh.trace.naming import Names, parts_of
from mesh.trace.recheck import ASKS
from mesh.trace.text import clean, format_time

PAGE_ROWS: Final = 30
"""Rows between two heads."""
WIDTH_MIN: Final = 80
_LEFT: Final = 24
_LABEL: Final = 40
_COLUMN_MIN: Final = 11
_COLUMN_MAX: Final = 24
_HEAD_LINES: Final = 10
"""Lines of a head: the longest address that may be registered takes no more."""
_RECENT_MAX: Final = 2**16
_NO_NAMES: Final[Names] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Pen:
    """The characters of a drawing. A form is tail, line, head to the right, head to the left."""

    life: str
    tick: str
    ask: str
    permitted: str
    answer: str
    refusal: str
    push: str
    permitted_push: str
    receipt: str
    unread: str
    again: str
    lost: str
    refused: str
    within: str
    cut: str

    def legend(self) -> str:
        """What the forms mean, in one line."""
        meanings = (
            ("request", self.ask), ("with permit", self.permitted), ("reply", self.answer),
            ("refusal", self.refusal), ("push", self.push), ("receipt", self.receipt),
        )  # fmt: skip
        forms = [f"{form[0]}{form[1] * 2}{form[2]} {name}" for name, form in meanings]
        marks = [f"{self.again} again", f"{self.lost} lost", f"{self.refused} refused on arrival"]
        return "  ".join(forms + marks)


UNICODE: Final = Pen(
    "│", "┬", "├─▶◀", "╞═▶◀", "├╌▶◀", "╳╌▶◀", "├─▷◁", "╞═▷◁", "├┈▷◁", "├·▷◁", "↻", "╳", "⊘", "◆", "…"
)
ASCII: Final = Pen(
    "|", "+", "+-><", "+=><", "+~><", "x~><", "+-}{", "+=}{", "+.}{", "+:}{", "@", "X", "#", "*", "~"
)


def draw(
    rows: Iterable[dict[str, Any]],
    *,
    width: int,
    members: bool = False,
    pen: Pen = UNICODE,
    names: Names = _NO_NAMES,
) -> Iterator[str]:
    """The lines of a drawing of rows, as `show.rows` and `seen.see` have them; `members` folds all nodes to members.

    `names` are what parties are called: above the address, in English, where all of them have room.
    """
    width = max(width, WIDTH_MIN)
    between = width - _LEFT - min(_LABEL, width // 3)
    room = between // _COLUMN_MIN
    waiting, source = list[dict[str, Any]](), iter(rows)
    sent: dict[tuple[str, str, str], None] = {}
    first = True
    while True:
        waiting += islice(source, PAGE_ROWS - len(waiting))
        if not waiting:
            return
        if first:
            yield pen.legend()
        first = False
        columns, count = _columns(waiting, room, members)
        page, waiting = waiting[:count], waiting[count:]
        place = _Page(columns, min(_COLUMN_MAX, between // len(set(columns.values()))), width, pen, names)
        yield ""
        yield from place.head()
        for row in page:
            yield place.line(row, again=_is_again(row, sent))


def _is_again(row: dict[str, Any], sent: dict[tuple[str, str, str], None]) -> bool:
    """Whether the same sender sent the same question or push to the same recipient before."""
    if row["id"] is None or row["kind"] not in ASKS:
        return False
    key = (row["id"], row["from"], row["to"])
    if key in sent:
        return True
    if len(sent) >= _RECENT_MAX:
        del sent[next(iter(sent))]
    sent[key] = None
    return False


def _columns(rows: list[dict[str, Any]], room: int, members: bool) -> tuple[dict[str, str], int]:
    """The column of each party, in order, and for how many of the rows they are."""
    columns = fold(dict.fromkeys(party for row in rows for party in (row["from"], row["to"])), room, members)
    names, count = dict[str, None](), 0
    for row in rows:
        more = names | dict.fromkeys(columns[party] for party in (row["from"], row["to"]))
        if len(more) > room:
            break
        names, count = more, count + 1
    return {party: column for party, column in columns.items() if column in names}, count


def fold(parties: Iterable[str], room: int, members: bool = False) -> dict[str, str]:
    """The column of each party: its own while there is room, else its member's, else its role's."""
    columns = {party: _member(party) if members else party for party in parties}
    for shared in (_member, _role):
        # The broker stands between all others: it keeps its own column unless all are folded.
        alone = [party for party, column in columns.items() if column == party != BROKER]
        for name, nodes in Counter(map(shared, alone)).most_common():
            if nodes > 1 and len(set(columns.values())) > room:
                columns |= {one: name for one in alone if shared(one) == name}
    return _together(columns)


def _together(columns: dict[str, str]) -> dict[str, str]:
    """The same, with the nodes of a member side by side."""
    order = list(dict.fromkeys(map(_member, columns)))
    return dict(sorted(columns.items(), key=lambda one: order.index(_member(one[0]))))


def _member(party: str) -> str:
    try:
        return member_of(party)
    except MeshError:
        return party


def _role(party: str) -> str:
    if not is_address(party):
        return party
    kind, *_, system = party.split("/")
    return f"{kind}/*/{system}"


class _Page:
    """Some columns, and rows below them."""

    def __init__(self, columns: dict[str, str], step: int, width: int, pen: Pen, names: Names) -> None:
        self._columns = columns
        self._names = list(dict.fromkeys(columns.values()))
        self._nodes = {name: [one for one in columns if columns[one] == name] for name in self._names}
        self._at = {name: place * step + step // 2 for place, name in enumerate(self._names)}
        self._step, self._width, self._pen = step, width, pen
        self._called = names

    def head(self) -> Iterator[str]:
        """The names of the columns, broken where a name may be broken."""
        wrapped = [_wrap(self._title(name), self._step - 1)[:_HEAD_LINES] for name in self._names]
        named = [self._name(name) + lines for name, lines in zip(self._names, wrapped, strict=True)]
        if max(map(len, named)) <= _HEAD_LINES:
            wrapped = named
        height = max(map(len, wrapped))
        for level in range(height):
            cells = [
                lines[level - height + len(lines)] if level >= height - len(lines) else ""
                for lines in wrapped
            ]
            yield (" " * _LEFT + "".join(f"{cell:^{self._step}}" for cell in cells)).rstrip()
        canvas = self._lives(self._pen.tick)
        yield (" " * _LEFT + "".join(canvas)).rstrip()

    def _name(self, name: str) -> list[str]:
        """What a column is called, in lines; none where the terminal may not count its characters as we do."""
        found = parts_of(self._called, name)
        lines = [line for part in (found[0] if found else ()) for line in _wrap(clean(part), self._step - 1)]
        return lines if all(line.isascii() for line in lines) else []

    def _title(self, name: str) -> str:
        nodes = self._nodes[name]
        return clean(name) if len(nodes) == 1 else f"{clean(name)} ({len(nodes)})"

    def _lives(self, mark: str) -> list[str]:
        canvas = [" "] * (self._step * len(self._names))
        for place in self._at.values():
            canvas[place] = mark
        return canvas

    def line(self, row: dict[str, Any], *, again: bool) -> str:
        """One row."""
        start, end = (self._at[self._columns[row[party]]] for party in ("from", "to"))
        canvas = self._lives(self._pen.life)
        if start == end:
            canvas[start] = self._pen.within
        else:
            self._arrow(canvas, start, end, row, again)
        left = f"{row['index']:>6} {_time(row['time_us']):>{_LEFT - 8}}"
        # Of a column that several nodes share, the label says who of them it was.
        shared = [party for party in (row["from"], row["to"]) if len(self._nodes[self._columns[party]]) > 1]
        who = f" ({' → '.join(_within(one, self._columns[one]) for one in shared)})" if shared else ""
        line = f"{left} {''.join(canvas)}{_label(row)}{who}"
        return line if len(line) <= self._width else line[: self._width - 1] + self._pen.cut

    def _arrow(self, canvas: list[str], start: int, end: int, row: dict[str, Any], again: bool) -> None:
        pen, right = self._pen, start < end
        tail, body, ahead, back = tuple(_form(row, pen))
        step = 1 if right else -1
        if tail == "├" and not right:
            tail = "┤"
        elif tail == "╞" and not right:
            tail = "╡"
        canvas[start] = pen.again if again else tail
        way = range(start + step, end, step)
        if row["fate"] in (Fate.DROPPED, Fate.IN_FLIGHT):
            way = way[: (len(way) + 1) // 2]
        for place in way:
            canvas[place] = body
        reached = row["fate"] not in (Fate.DROPPED, Fate.IN_FLIGHT, Fate.UNREACHABLE)
        canvas[way[-1]] = (ahead if right else back) if reached else pen.lost
        if reached and row["refused"]:
            canvas[end] = pen.refused


def _within(party: str, column: str) -> str:
    """The part of an address that its column does not say."""
    parts = clean(party).split("/")
    return parts[1] if "/*/" in column and len(parts) == 3 else parts[-1]


def _time(time_us: int) -> str:
    """The time of the run; to the millisecond once it has hours."""
    text = format_time(time_us)
    return text if time_us < 3_600_000_000 else text[:-3].replace("d ", "d")


def _form(row: dict[str, Any], pen: Pen) -> str:
    kind, permitted = row["kind"], row["permit"] is not None
    if kind == Kind.REQUEST:
        return pen.permitted if permitted else pen.ask
    if kind in (Kind.EVENT, Kind.NOTICE):
        return pen.permitted_push if permitted else pen.push
    return {Kind.REPLY: pen.answer, Kind.REFUSAL: pen.refusal, Kind.RECEIPT: pen.receipt}.get(
        kind, pen.unread
    )


def _label(row: dict[str, Any]) -> str:
    """Service and what became of it; the length alone where nothing can be read."""
    if not row.get("readable", True):
        return f"{row['bytes']:,} bytes"
    parts = [clean(row["service"]) or "-"]
    if row["fate"] in (Fate.DROPPED, Fate.UNREACHABLE, Fate.IN_FLIGHT):
        parts.append(row["fate"])
    elif row["code"] is not None:
        parts.append(clean(row["code"]))
        if row.get("reason"):
            parts.append(f"({row['reason']})")
    if row.get("sealed"):
        parts.append(f"[sealed: {' '.join(row['sealed'])}]")
    return " ".join(parts)


def _wrap(name: str, width: int) -> list[str]:
    """The name in lines of a width, broken behind its separators if it can be."""
    lines = [""]
    for piece in _pieces(name):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines]


def _pieces(name: str) -> Iterator[str]:
    piece = ""
    for char in name:
        piece += char
        if char in "/-. ":
            yield piece
            piece = ""
    if piece:
        yield piece
