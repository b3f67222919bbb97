"""Mermaid: a sequenceDiagram, for a document or an issue.

Rules kept here:
1. Whatever a name holds, it is text: every character that Mermaid could read as its own is written by its number.
2. Mermaid refuses long diagrams (`maxTextSize`, 50,000 characters), so a long one ends early and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Any, Final

from mesh.errors import MeshError
from mesh.message import Kind
from mesh.names import member_of
from mesh.recorder import Fate
from mesh.trace.naming import Names, parts_of
from mesh.trace.text import clean, format_time

SIZE_MAX: Final = 48_000
NAME_MAX: Final = 60
"""Characters of a name: more would push the columns apart."""
_NO_NAMES: Final[Names] = MappingProxyType({})
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._/+→")
_ARROWS: Final = {
    Kind.REQUEST: "->>",
    Kind.REPLY: "-->>",
    Kind.REFUSAL: "-->>",
    Kind.EVENT: "-)",
    Kind.NOTICE: "-)",
    Kind.RECEIPT: "--)",
}


def write(rows: Iterable[dict[str, Any]], names: Names = _NO_NAMES) -> Iterator[bytes]:
    """The diagram, whole, because its columns are declared first. Names stand above addresses, in English."""
    parties: dict[str, str] = {}
    lines: list[str] = []
    size = 0
    left_out = 0
    for row in rows:
        known = len(parties)
        ends = [parties.setdefault(party, f"p{len(parties)}") for party in (row["from"], row["to"])]
        line = f"  {ends[0]}{_arrow(row)}{ends[1]}: {_label(row)}\n"
        size += len(line) + sum(_room(party, names) for party in list(parties)[known:])
        if left_out or size > SIZE_MAX:
            left_out += 1
            parties = dict(list(parties.items())[:known])
            continue
        lines.append(line)
    yield b"sequenceDiagram\n"
    for member, nodes in _members(parties).items():
        boxed = len(nodes) > 1
        if boxed:
            # A colour comes first, so that no member's name is taken for one.
            yield f"  box transparent {_titled(member, names)}\n".encode()
        for name in nodes:
            yield f"  participant {name[1]} as {_titled(name[0], names, boxed=boxed)}\n".encode()
        if boxed:
            yield b"  end\n"
    yield "".join(lines).encode()
    if left_out and parties:
        first = next(iter(parties.values()))
        yield f"  Note over {first}: {left_out} more messages are left out\n".encode()


def _titled(party: str, names: Names, *, boxed: bool = False) -> str:
    """Name and address; in its member's box the system alone."""
    found = parts_of(names, party)
    if found is None:
        return escape(party)
    name = found[0][-1] if boxed else " · ".join(found[0])
    return f"{escape(name[:NAME_MAX])}<br/>{escape(party)}"


def _room(party: str, names: Names) -> int:
    """Characters that a participant takes, and its member's box."""
    return 160 + 2 * len(_titled(party, names))


def _members(parties: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    members: dict[str, list[tuple[str, str]]] = {}
    for party, name in parties.items():
        try:
            member = member_of(party)
        except MeshError:
            member = party
        members.setdefault(member, []).append((party, name))
    return members


def _arrow(row: dict[str, Any]) -> str:
    arrow = _ARROWS.get(row["kind"], "->>")
    if row["fate"] in (Fate.DROPPED, Fate.UNREACHABLE, Fate.IN_FLIGHT) or row["refused"]:
        return "--x" if arrow.startswith("--") else "-x"
    return arrow


def _label(row: dict[str, Any]) -> str:
    """What a line of the list says, in short."""
    if not row["readable"]:
        return escape(f"{format_time(row['time_us'])} {row['bytes']} bytes")
    fate = row["fate"] if row["fate"] in (Fate.DROPPED, Fate.UNREACHABLE, Fate.IN_FLIGHT) else ""
    words = [
        format_time(row["time_us"]),
        row["kind"] or "line",
        row["service"],
        fate,
        row["code"],
        row["reason"],
    ]
    if row["permit"] is not None:
        words.insert(2, "with permit")
    return escape(" ".join(word for word in words if word))


def escape(text: str) -> str:
    """The text with everything by its number that is not plainly a letter, a digit or harmless."""
    plain = "".join(c if c in _PLAIN else f"#{ord(c)};" for c in clean(text))
    # Mermaid takes the word for the end of a block, wherever it stands.
    return plain.replace("end", "e#110;d").replace("End", "E#110;d").replace("END", "E#78;D")
