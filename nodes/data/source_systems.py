"""The real systems and policies that the simulator takes up; each shipped scenario names those it exercises.

A scenario's `sources` hold the Japanese names of this table beside the laws and documents it rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nodes.data.table import HERE, read_table

COLUMNS = ("name_ja", "name", "about", "document")


@dataclass(frozen=True, slots=True)
class SourceSystem:
    """One system or policy, what of it is simulated, and where it is described."""

    name_ja: str
    name: str
    about: str
    document: str


@lru_cache(maxsize=4)
def read_source_systems(folder: Path = HERE) -> tuple[SourceSystem, ...]:
    """All of them in the table's order; `UsageError` names file, row and column of what is wrong."""
    rows = read_table(folder / "source_systems.csv", COLUMNS)
    return tuple(SourceSystem(*(cells.text(column) for column in COLUMNS)) for cells in rows)
