"""Traces whose pages are not as SQLite would make them: a small file that never ends, for whoever believes it."""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

TABLE_INTERIOR, INDEX_INTERIOR = 5, 2


def varint(number: int) -> bytes:
    """A number as SQLite writes it (sqlite.org/fileformat.html, section 1.6), up to 2^56."""
    parts = [number & 0x7F]
    while number := number >> 7:
        parts.append((number & 0x7F) | 0x80)
    return bytes(reversed(parts))


class Pages:
    """The bytes of a trace, by pages; `save` writes them back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())
        self.size = int.from_bytes(self.data[16:18], "big")
        db = sqlite3.connect(path)
        self.roots: dict[str, int] = dict(
            db.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'")
        )
        db.close()

    def interior(self, child: int, cells: int, kind: int = TABLE_INTERIOR) -> int:
        """A new page that points to one child again and again; returns its number."""
        page, end, places = bytearray(self.size), self.size, []
        page[0] = kind
        for key in range(1, cells + 1):
            # Of an index a cell holds an entry: here one of a single column, which is 1.
            entry = b"\x03\x02\x01\x01" if kind == INDEX_INTERIOR else varint(key)
            cell = struct.pack(">I", child) + entry
            end -= len(cell)
            page[end : end + len(cell)] = cell
            places.append(end)
        page[3:8] = struct.pack(">HHB", cells, end, 0)
        page[8:12] = struct.pack(">I", child)
        page[12 : 12 + 2 * cells] = struct.pack(f">{cells}H", *places)
        self.data += page
        return len(self.data) // self.size

    def put(self, page: int, place: int) -> None:
        """Let one page stand where another stood."""
        self.data[(place - 1) * self.size : place * self.size] = self.data[
            (page - 1) * self.size : page * self.size
        ]

    def copy(self, page: int) -> int:
        """The same page once more; returns its number."""
        self.data += self.data[(page - 1) * self.size : page * self.size]
        return len(self.data) // self.size

    def first_leaf(self, table: str) -> int:
        """The leaf at which reading a table begins."""
        page = self.roots[table]
        while self.data[(page - 1) * self.size] in (TABLE_INTERIOR, INDEX_INTERIOR):
            start = (page - 1) * self.size
            cell = int.from_bytes(self.data[start + 12 : start + 14], "big")
            page = int.from_bytes(self.data[start + cell : start + cell + 4], "big")
        return page

    def share(self, table: str, levels: int = 4, cells: int = 600) -> None:
        """Let pages over pages of a table lead to its first leaf again and again."""
        root = self.roots[table]
        page = self.first_leaf(table)
        if page == root:
            page = self.copy(root)
        kind = TABLE_INTERIOR if self.data[(page - 1) * self.size] == 13 else INDEX_INTERIOR
        for _ in range(levels):
            page = self.interior(page, cells, kind)
        self.put(page, root)

    def save(self) -> None:
        """Write the pages back."""
        self.data[28:32] = struct.pack(">I", len(self.data) // self.size)
        self.path.write_bytes(self.data)
