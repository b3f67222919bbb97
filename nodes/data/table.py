"""Reads the project's own tables: CSV files whose first row names the columns.

A table is checked when it is read; what is wrong is named by file, row (as an editor counts) and column.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path
from typing import NoReturn

from mesh.errors import UsageError
from mesh.textfile import decode_text

HERE = Path(__file__).parent
JST = timezone(timedelta(hours=9), "JST")


class Cells:
    """One row of a table: its texts by column, and how to say what is wrong with one of them."""

    def __init__(self, file: Path, row: int, texts: dict[str, str]) -> None:
        self.file = file
        self.row = row
        self._texts = texts

    def wrong(self, column: str, why: str) -> NoReturn:
        """Raise the `UsageError` that names file, row and column."""
        raise UsageError(f"{self.file.name}, row {self.row}, column {column}: {why}")

    def text(self, column: str) -> str:
        """The text of a column that must not be empty."""
        text = self._texts[column]
        return text or self.wrong(column, "is empty; every row needs it")

    def words(self, column: str) -> tuple[str, ...]:
        """The words of a column, parted by spaces; none if it is empty."""
        return tuple(self._texts[column].split())

    def whole(self, column: str) -> int:
        """The number of a column: whole and not negative."""
        text = self._texts[column]
        if not text.isascii() or not text.isdigit():
            self.wrong(column, f"{text!r} is no whole number")
        return int(text)

    def instant_us(self, column: str, default_us: int) -> int:
        """The start of a date in Japan, in µs since 1970 UTC; the default if the column is empty."""
        text = self._texts[column]
        if not text:
            return default_us
        try:
            start = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=JST)
        except ValueError:
            self.wrong(column, f"{text!r} is no date like 2024-10-01")
        return round(start.timestamp()) * 1_000_000


def read_table(file: Path, columns: tuple[str, ...]) -> Iterator[Cells]:
    """The rows of a table that has exactly these columns; the first column must not repeat itself.

    Raises `UsageError` that names file, row and column.
    """
    seen: dict[str, int] = {}
    with StringIO(decode_text(file.read_bytes(), file.name), newline="") as opened:
        reader = csv.reader(opened)
        header = next(reader, [])
        if tuple(header) != columns:
            raise UsageError(f"{file.name}, row 1: the columns are {', '.join(columns)}, in this order")
        for texts in reader:
            row = reader.line_num
            if len(texts) != len(columns):
                at = columns[min(len(texts), len(columns) - 1)]
                raise UsageError(
                    f"{file.name}, row {row}, column {at}: {len(texts)} cells for {len(columns)} columns; "
                    "put a text that holds a comma into quotes"
                )
            cells = Cells(file, row, dict(zip(columns, (text.strip() for text in texts), strict=True)))
            key = cells.text(columns[0])
            if key in seen:
                cells.wrong(columns[0], f"{key!r} stands in row {seen[key]} already")
            seen[key] = row
            yield cells
