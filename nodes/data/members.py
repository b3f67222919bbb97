"""What members are called, English and Japanese: the name that a person reads beside `muni/01208` or `gov/moj`.

Municipalities and prefectures have theirs in their own tables. The English names of agencies are those that they use
themselves; the firms are invented.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from nodes.data.municipalities import Kind, read_municipalities, read_prefectures
from nodes.data.table import HERE, read_table

COLUMNS = ("member", "name", "name_ja")
NO_PREFECTURE: Final = ("Hokkaido", "Tokyo")
"""Prefectures (道, 都) that English calls by their name alone."""
_WORDS: Final[dict[Kind, str]] = {
    "designated-city": "City",
    "core-city": "City",
    "city": "City",
    "special-ward": "Ward",
    "town": "Town",
    "village": "Village",
}

Name = tuple[str, str]
"""English and Japanese."""


def name_of(member: str) -> Name | None:
    """What a member is called; None for one that no table has."""
    kind, _, code = member.partition("/")
    if kind == "muni":
        city = read_municipalities().get(code)
        return None if city is None else (f"{city.name} {_WORDS[city.kind]}", city.name_ja)
    if kind == "pref":
        home = read_prefectures().get(code)
        return None if home is None else (_prefecture(home.name), home.name_ja)
    return read_members().get(member)


@lru_cache(maxsize=4)
def read_members(folder: Path = HERE) -> dict[str, Name]:
    """All members but municipalities and prefectures; `UsageError` names file, row and column of what is wrong."""
    rows = read_table(folder / "members.csv", COLUMNS)
    return {cells.text("member"): (cells.text("name"), cells.text("name_ja")) for cells in rows}


def _prefecture(name: str) -> str:
    return name if name in NO_PREFECTURE else f"{name} Prefecture"
