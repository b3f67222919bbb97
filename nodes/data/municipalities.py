"""The municipalities that the shipped scenarios use, by their code (全国地方公共団体コード).

Keyed by code, never by name: names repeat across prefectures. The table holds the six digits; members are
named by the first five (`muni/01208`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mesh.errors import UsageError
from nodes.data.table import HERE, Cells, read_table

COLUMNS = ("code", "name", "name_ja", "reading", "prefecture", "prefecture_ja")
_WEIGHTS = (6, 5, 4, 3, 2)


@dataclass(frozen=True, slots=True)
class Municipality:
    """One municipality; `code` has six digits, the last a check digit."""

    code: str
    name: str
    name_ja: str
    reading: str
    prefecture: str
    prefecture_ja: str

    @property
    def member(self) -> str:
        """The member of the mesh: `muni/01208`."""
        return f"muni/{self.code[:5]}"


def check_digit(code5: str) -> str:
    """The sixth digit of a municipality's code: the last digit of 11 − (Σ digit × 6,5,4,3,2) mod 11."""
    total = sum(int(digit) * weight for digit, weight in zip(code5, _WEIGHTS, strict=True))
    return str((11 - total % 11) % 10)


@lru_cache(maxsize=4)
def read_municipalities(folder: Path = HERE) -> dict[str, Municipality]:
    """All municipalities of the table by their first five digits; `UsageError` names what is wrong."""
    rows = read_table(folder / "municipalities.csv", COLUMNS)
    return {one.code[:5]: one for one in map(_municipality, rows)}


def municipality(code5: str) -> Municipality:
    """One municipality; `UsageError` if the table does not have it."""
    known = read_municipalities()
    if code5 not in known:
        raise UsageError(f"there is no municipality {code5} in municipalities.csv; add its row")
    return known[code5]


def _municipality(cells: Cells) -> Municipality:
    code = cells.text("code")
    if len(code) != 6 or not code.isascii() or not code.isdigit():
        cells.wrong("code", f"{code!r} is not six digits")
    if check_digit(code[:5]) != code[5]:
        cells.wrong("code", f"the check digit of {code[:5]} is {check_digit(code[:5])}, not {code[5]}")
    return Municipality(code, *(cells.text(column) for column in COLUMNS[1:]))
