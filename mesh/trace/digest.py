"""One digest over all that a trace says, whatever the layout of its pages or the SQLite that wrote it."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from mesh.trace.reader import Trace

_encode = msgspec.msgpack.Encoder().encode


def digest(trace: Trace) -> str:
    """SHA-256 in hex over all rows of all tables: tables by name, rows by primary key.

    Each row goes in as one MessagePack array of the table's name and its columns, so that no two different
    traces read alike. Raises `UsageError` if the file cannot be read.
    """
    hasher = sha256()
    for table, sql in tables_of(trace):
        for row in trace.rows(sql):
            hasher.update(_encode((table, *row)))
    return hasher.hexdigest()


def tables_of(trace: Trace) -> list[tuple[str, str]]:
    """Every table, by name, and the statement that gives its rows by primary key."""
    tables = list(trace.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"))
    return [(table, f"SELECT * FROM {_quoted(table)} ORDER BY {_key(trace, table)}") for (table,) in tables]  # noqa: S608


def _key(trace: Trace, table: str) -> str:
    columns = trace.rows("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", table)
    return ", ".join(_quoted(column) for (column,) in columns) or "1"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
