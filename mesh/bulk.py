"""Bulk inserts into SQLite: many rows in one statement.

sqlite3 hands the interpreter's lock over at every step of a statement, so rows one by one cost about
half as much again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

ROWS: Final = 32
"""Rows in one statement; nine columns of them stay under every SQLite's limit of parameters, 999."""


def insert_rows(db: sqlite3.Connection, table: str, values: str, cells: Sequence[Any]) -> None:
    """Insert rows into a table, whose cells stand one after another as SQLite binds them.

    `values` is the text of one row, as `(?, NULLIF(?, ''))`.
    """
    width = values.count("?")
    many = width * ROWS
    whole = len(cells) - len(cells) % many
    for start in range(0, whole, many):
        db.execute(_statement(table, values, ROWS), cells[start : start + many])
    if whole < len(cells):
        rest = [cells[start : start + width] for start in range(whole, len(cells), width)]
        db.executemany(_statement(table, values, 1), rest)


@lru_cache(maxsize=64)
def _statement(table: str, values: str, count: int) -> str:
    return f"INSERT INTO {table} VALUES {', '.join([values] * count)}"  # noqa: S608
