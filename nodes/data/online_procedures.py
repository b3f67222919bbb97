"""The 31 procedures that residents should be able to file online with their card (特に国民の利便性向上に資する手続).

Source: 自治体DX推進計画 (総務省) and its 自治体の行政手続のオンライン化に係る手順書 (version 1.1, September 2022): 26 of
child-rearing and nursing care and the 罹災証明書 through マイナポータル to the municipality, four of car ownership
to the prefecture. The list is that of 2022, named as municipalities name its procedures on マイナポータル; which
standard system receives each is ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mesh.errors import UsageError
from nodes.data.standard_systems import read_standard_systems
from nodes.data.table import HERE, Cells, read_table

COLUMNS = ("number", "group", "title", "title_ja", "system", "law")
COUNTS: Final = {"child-rearing": 15, "nursing-care": 11, "disaster": 1, "car-ownership": 4}


@dataclass(frozen=True, slots=True)
class OnlineProcedure:
    """One of the 31."""

    number: int
    group: str
    title: str
    title_ja: str
    system: str | None
    """The key of the standard system that receives it; None if it is none of the twenty."""
    law: str

    @property
    def kind(self) -> str:
        """The kind of member that receives it: `muni` or `pref`."""
        return "pref" if self.group == "car-ownership" else "muni"


@lru_cache(maxsize=4)
def read_online_procedures(folder: Path = HERE) -> tuple[OnlineProcedure, ...]:
    """All of them, in the order of the table; `UsageError` names what is wrong."""
    systems = read_standard_systems(folder)
    rows = read_table(folder / "online_procedures.csv", COLUMNS)
    procedures = tuple(_procedure(cells, systems) for cells in rows)
    counts = Counter(one.group for one in procedures)
    for group, count in COUNTS.items():
        if counts[group] != count:
            raise UsageError(
                f"online_procedures.csv, column group: {counts[group]} rows of {group}, not {count}"
            )
    return procedures


def _procedure(cells: Cells, systems: Container[str]) -> OnlineProcedure:
    group = cells.text("group")
    if group not in COUNTS:
        cells.wrong("group", f"{group!r} is none of {', '.join(COUNTS)}")
    return OnlineProcedure(
        cells.whole("number"),
        group,
        cells.text("title"),
        cells.text("title_ja"),
        _system(cells, systems),
        cells.text("law"),
    )


def _system(cells: Cells, systems: Container[str]) -> str | None:
    keys = cells.words("system")
    if not keys:
        return None
    if len(keys) > 1 or keys[0] not in systems:
        cells.wrong("system", f"{' '.join(keys)!r} is no key of standard_systems.csv")
    return keys[0]
