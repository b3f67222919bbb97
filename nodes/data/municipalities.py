"""The nation's 1,741 municipalities and 47 prefectures, by their code (全国地方公共団体コード).

The 23 special wards are municipalities; the wards of the 20 designated cities (地方自治法252条の20) are not.
Keyed by code, never by name: 25 names occur more than once. The tables hold the six digits; members are named by
the first five (`muni/01208`), prefectures by the first two (`pref/01`). Both are written by
`make_municipalities.py`, which names their sources.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from msgspec import Struct

from mesh.errors import UsageError
from nodes.data.table import HERE, Cells, read_table

Kind = Literal["designated-city", "core-city", "city", "special-ward", "town", "village"]

COLUMNS = ("code", "kind", "name", "name_ja", "reading")
PREFECTURE_COLUMNS = ("code", "name", "name_ja", "reading")
COUNTS: Final[dict[Kind, int]] = {
    "designated-city": 20,
    "core-city": 62,
    "city": 710,
    "special-ward": 23,
    "town": 743,
    "village": 183,
}
"""How many there are of each kind: 792 cities, 743 towns, 183 villages and the wards are 1,741."""

_WEIGHTS = (6, 5, 4, 3, 2)
_KINDS = frozenset(get_args(Kind))
_One = TypeVar("_One", "Prefecture", "Municipality")


class Prefecture(Struct, frozen=True):
    """One prefecture; `code` has six digits, the last a check digit."""

    code: str
    name: str
    name_ja: str
    reading: str

    @property
    def member(self) -> str:
        """The member of the mesh: `pref/01`."""
        return f"pref/{self.code[:2]}"


class Municipality(Struct, frozen=True):
    """One municipality; `code` has six digits, the last a check digit."""

    code: str
    kind: Kind
    name: str
    name_ja: str
    reading: str
    prefecture: str
    prefecture_ja: str

    @property
    def member(self) -> str:
        """The member of the mesh: `muni/01208`."""
        return f"muni/{self.code[:5]}"


def municipality(code5: str) -> Municipality:
    """One municipality; `UsageError` if the table does not have it."""
    return _one(read_municipalities(), code5, "municipality")


def municipalities() -> tuple[Municipality, ...]:
    """All municipalities, in the order of their codes."""
    return tuple(read_municipalities().values())


def prefecture(code2: str) -> Prefecture:
    """One prefecture; `UsageError` if the table does not have it."""
    return _one(read_prefectures(), code2, "prefecture")


def in_prefecture(code2: str) -> tuple[Municipality, ...]:
    """The municipalities of a prefecture, in the order of their codes; `UsageError` if there is none such."""
    prefecture(code2)
    return tuple(one for one in municipalities() if one.code.startswith(code2))


def check_digit(code5: str) -> str:
    """The sixth digit of a code: the last digit of 11 − (Σ digit × 6,5,4,3,2) mod 11."""
    total = sum(int(digit) * weight for digit, weight in zip(code5, _WEIGHTS, strict=True))
    return str((11 - total % 11) % 10)


@lru_cache(maxsize=4)
def read_municipalities(folder: Path = HERE) -> dict[str, Municipality]:
    """All municipalities by their first five digits; `UsageError` names what is wrong."""
    prefectures = read_prefectures(folder)
    rows = read_table(folder / "municipalities.csv", COLUMNS)
    known = {one.code[:5]: one for one in (_municipality(cells, prefectures) for cells in rows)}
    counts = Counter(one.kind for one in known.values())
    for kind, count in COUNTS.items():
        if counts[kind] != count:
            raise UsageError(f"municipalities.csv, column kind: {counts[kind]} rows of {kind}, not {count}")
    return dict(sorted(known.items()))


@lru_cache(maxsize=4)
def read_prefectures(folder: Path = HERE) -> dict[str, Prefecture]:
    """All prefectures by their first two digits; `UsageError` names what is wrong."""
    rows = read_table(folder / "prefectures.csv", PREFECTURE_COLUMNS)
    return {one.code[:2]: one for one in (Prefecture(_code(cells), *_names(cells)) for cells in rows)}


def _one(known: dict[str, _One], code: str, what: str) -> _One:
    if code not in known:
        raise UsageError(f"there is no {what} {code}; a code's digits before its check digit name one")
    return known[code]


def _municipality(cells: Cells, prefectures: dict[str, Prefecture]) -> Municipality:
    code = _code(cells)
    if code[:2] not in prefectures:
        cells.wrong("code", f"there is no prefecture {code[:2]}")
    kind = cells.text("kind")
    if kind not in _KINDS:
        cells.wrong("kind", f"{kind!r} is none of {', '.join(get_args(Kind))}")
    home = prefectures[code[:2]]
    return Municipality(code, kind, *_names(cells), home.name, home.name_ja)  # type: ignore[arg-type]


def _code(cells: Cells) -> str:
    code = cells.text("code")
    if len(code) != 6 or not code.isascii() or not code.isdigit():
        cells.wrong("code", f"{code!r} is not six digits")
    if check_digit(code[:5]) != code[5]:
        cells.wrong("code", f"the check digit of {code[:5]} is {check_digit(code[:5])}, not {code[5]}")
    return code


def _names(cells: Cells) -> tuple[str, str, str]:
    return cells.text("name"), cells.text("name_ja"), cells.text("reading")
