"""People who do not exist: households made on demand, each from a random stream of its own.

Names come from two small tables (see `make_names.py`). The 住民票コード has eleven digits (住民基本台帳法施行規則
1条); how its last digit is computed stands in 平成14年総務省告示436号, which was not at hand, so the check digit
here is illustrative. A person's 個人番号 is not kept here: only the resident register has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from random import Random
from typing import Literal

from mesh.simulation import Simulation
from nodes.data.table import HERE, read_table

Sex = Literal["f", "m"]
Relation = Literal["head", "spouse", "child"]

SURNAME_COLUMNS = ("name", "kana", "romaji", "weight")
GIVEN_COLUMNS = ("name", "kana", "romaji", "sex")


@dataclass(frozen=True, slots=True)
class Name:
    """A family or given name: written, read, and in Latin letters."""

    written: str
    kana: str
    romaji: str


@dataclass(frozen=True, slots=True)
class Move:
    """One change of residence, between municipalities by their first five digits."""

    on: date
    from_city: str
    to_city: str


@dataclass(frozen=True, slots=True)
class Person:
    """One person; `handle` names them in this run and in its trace, never in a message."""

    handle: str
    resident_code: str
    family: Name
    given: Name
    born: date
    sex: Sex
    relation: Relation

    @property
    def name(self) -> str:
        """The name as the register writes it."""
        return f"{self.family.written} {self.given.written}"

    @property
    def kana(self) -> str:
        """The name's reading."""
        return f"{self.family.kana} {self.given.kana}"

    @property
    def romaji(self) -> str:
        """The name in Latin letters, family name last."""
        return f"{self.given.romaji} {self.family.romaji}"


@dataclass(frozen=True, slots=True)
class Household:
    """People who live together, and where they lived before."""

    number: int
    city: str
    """Where they live now, by the first five digits."""
    moves: tuple[Move, ...]
    members: tuple[Person, ...]

    @property
    def head(self) -> Person:
        """The head of the household (世帯主)."""
        return self.members[0]

    @property
    def spouse(self) -> Person | None:
        """The head's spouse, if there is one."""
        return next((one for one in self.members if one.relation == "spouse"), None)

    @property
    def parents(self) -> tuple[Person, ...]:
        """Head and spouse."""
        return tuple(one for one in self.members if one.relation != "child")

    @property
    def children(self) -> tuple[Person, ...]:
        """The children, eldest first."""
        return tuple(one for one in self.members if one.relation == "child")


class Population:
    """Makes households for one simulation; the n-th is the same whatever else the run does."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._count = 0

    def household(
        self,
        city: str,
        *,
        child_ages: tuple[int, ...] = (),
        parents: int = 2,
        moves: tuple[Move, ...] = (),
    ) -> Household:
        """A household that lives in a city today; ages are whole years on this day."""
        self._count += 1
        number = self._count
        stream = self._sim.stream(f"household {number}")
        family = _surname(stream)
        today = self._sim.now().date()
        born = _birthday(stream, today, stream.randrange(28, 45))
        members = [self._person(stream, family, "head", born, ("m",) if parents == 2 else ("f", "m"))]
        if parents == 2:
            members.append(
                self._person(
                    stream, family, "spouse", _birthday(stream, today, stream.randrange(28, 45)), ("f",)
                )
            )
        members += [
            self._person(stream, family, "child", _birthday(stream, today, age))
            for age in sorted(child_ages, reverse=True)
        ]
        return Household(number, city, moves, tuple(members))

    def newborn(self, household: Household, born: date) -> Person:
        """A child born into a household; from a stream of its own, so that it changes nothing else."""
        stream = self._sim.stream(f"newborn of household {household.number} on {born}")
        return self._person(stream, household.head.family, "child", born)

    def _person(
        self,
        stream: Random,
        family: Name,
        relation: Relation,
        born: date,
        sexes: tuple[Sex, ...] = ("f", "m"),
    ) -> Person:
        sex = stream.choice(sexes)
        resident_code = make_resident_code(stream)
        handle = self._sim.resident(resident_code)
        return Person(handle, resident_code, family, stream.choice(_given(sex)), born, sex, relation)


def make_resident_code(stream: Random) -> str:
    """A 住民票コード: ten random digits and a check digit (illustrative, see above)."""
    digits = f"{stream.randrange(10**10):010d}"
    return digits + resident_check_digit(digits)


def resident_check_digit(digits: str) -> str:
    """The illustrative last digit of a 住民票コード: weights 2 to 6 from the right, modulo 11."""
    total = sum(int(digit) * (place % 5 + 2) for place, digit in enumerate(reversed(digits)))
    return str((11 - total % 11) % 10)


def _birthday(stream: Random, today: date, age: int) -> date:
    """A birthday that makes somebody `age` today, never 29 February."""
    first = date(today.year - age - 1, today.month, min(today.day, 28)).toordinal() + 1
    born = date.fromordinal(first + stream.randrange(364))
    return born if (born.month, born.day) != (2, 29) else born.replace(day=28)


def _surname(stream: Random) -> Name:
    names, weights = _surnames()
    return stream.choices(names, weights)[0]


@lru_cache(maxsize=1)
def _surnames() -> tuple[tuple[Name, ...], tuple[int, ...]]:
    rows = list(read_table(HERE / "surnames.csv", SURNAME_COLUMNS))
    names = tuple(Name(row.text("name"), row.text("kana"), row.text("romaji")) for row in rows)
    return names, tuple(row.whole("weight") for row in rows)


@lru_cache(maxsize=2)
def _given(sex: Sex) -> tuple[Name, ...]:
    return tuple(
        Name(row.text("name"), row.text("kana"), row.text("romaji"))
        for row in read_table(HERE / "given_names.csv", GIVEN_COLUMNS)
        if row.text("sex") == sex
    )
