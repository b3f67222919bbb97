"""The twenty standard business systems of a municipality (標準化対象事務).

Source: 地方公共団体情報システムの標準化に関する法律（令和3年法律第40号）2条1項, and the cabinet order that names the
tasks (令和4年政令第1号). The English names and the keys, which are the last part of an address, are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nodes.data.table import HERE, Cells, read_table

COLUMNS = ("number", "key", "name", "name_ja", "law")


@dataclass(frozen=True, slots=True)
class StandardSystem:
    """One of the twenty; `key` names it in addresses: `muni/01208/care-insurance`."""

    number: int
    key: str
    name: str
    name_ja: str
    law: str


@lru_cache(maxsize=4)
def read_standard_systems(folder: Path = HERE) -> dict[str, StandardSystem]:
    """The systems by key, in the order of the table; `UsageError` names file, row and column."""
    systems = map(_system, read_table(folder / "standard_systems.csv", COLUMNS))
    return {one.key: one for one in systems}


def _system(cells: Cells) -> StandardSystem:
    return StandardSystem(
        cells.whole("number"), cells.text("key"), cells.text("name"), cells.text("name_ja"), cells.text("law")
    )
