"""Names of people who do not exist, from two small tables (see `make_names.py`): common ones stay common."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from msgspec import Struct

from nodes.data.table import HERE, Cells, read_table

Sex = Literal["f", "m"]

SURNAME_COLUMNS = ("name", "kana", "romaji", "weight")
GIVEN_COLUMNS = ("name", "kana", "romaji", "sex")


class Name(Struct, frozen=True):
    """A family or given name: written, read, and in Latin letters."""

    written: str
    kana: str
    romaji: str


def surname(drawn: float) -> Name:
    """The surname at a place from 0 to 1 among all people, as many as bear it."""
    names, borne = _surnames()
    return names[bisect_right(borne, drawn * borne[-1])]


@lru_cache(maxsize=2)
def given_names(sex: Sex) -> tuple[Name, ...]:
    """The given names of women or of men."""
    rows = read_table(HERE / "given_names.csv", GIVEN_COLUMNS)
    return tuple(_name(row) for row in rows if row.text("sex") == sex)


@lru_cache(maxsize=1)
def _surnames() -> tuple[tuple[Name, ...], tuple[int, ...]]:
    rows = list(read_table(HERE / "surnames.csv", SURNAME_COLUMNS))
    return tuple(map(_name, rows)), tuple(accumulate(row.whole("weight") for row in rows))


def _name(row: Cells) -> Name:
    return Name(row.text("name"), row.text("kana"), row.text("romaji"))
