"""Names of people who do not exist, from small tables.

Those of Japanese nationals come from two (see `make_names.py`): common ones stay common. Those of others come from
`foreign_names.csv`, which is synthetic: how many rows a country has says nothing. They stand in the register in Latin
capitals as in the passport, family name first, however long they are (住民基本台帳事務処理要領, as published); their
reading is an aid by which the office searches.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Final, Literal

from msgspec import Struct

from nodes.data.table import HERE, Cells, read_table

Sex = Literal["f", "m"]

SURNAME_COLUMNS = ("name", "kana", "romaji", "weight")
GIVEN_COLUMNS = ("name", "kana", "romaji", "sex")
FOREIGN_COLUMNS = ("name", "kana", "part", "country", "source")

JAPAN: Final = "日本"
"""The nationality of whoever has a family register (戸籍)."""


class Name(Struct, frozen=True):
    """A family or given name: written, read, and in Latin letters."""

    written: str
    kana: str
    romaji: str


def surname(drawn: float) -> Name:
    """The surname at a place from 0 to 1 among all people, as many as bear it."""
    names, borne = _surnames()
    return names[bisect_right(borne, drawn * borne[-1])]


def foreign_surname(drawn: float) -> tuple[str, Name]:
    """A country (国籍・地域) and a surname from there, at a place from 0 to 1 in the table."""
    families = _foreign("family")
    return families[int(drawn * len(families))]


@lru_cache(maxsize=64)
def given_names(sex: Sex, country: str = JAPAN) -> tuple[Name, ...]:
    """The given names of women or of men of a country."""
    if country != JAPAN:
        return tuple(name for where, name in _foreign(sex) if where == country)
    rows = read_table(HERE / "given_names.csv", GIVEN_COLUMNS)
    return tuple(_name(row) for row in rows if row.text("sex") == sex)


@lru_cache(maxsize=1)
def _surnames() -> tuple[tuple[Name, ...], tuple[int, ...]]:
    rows = list(read_table(HERE / "surnames.csv", SURNAME_COLUMNS))
    return tuple(map(_name, rows)), tuple(accumulate(row.whole("weight") for row in rows))


@lru_cache(maxsize=3)
def _foreign(part: str) -> tuple[tuple[str, Name], ...]:
    """The names of other countries that are a `family` name, or a given name of one sex, with their country."""
    rows = read_table(HERE / "foreign_names.csv", FOREIGN_COLUMNS)
    return tuple(
        (row.text("country"), Name(row.text("name"), row.text("kana"), row.text("name").title()))
        for row in rows
        if row.text("part") == part
    )


def _name(row: Cells) -> Name:
    return Name(row.text("name"), row.text("kana"), row.text("romaji"))
