"""People who do not exist, made on demand: a household asked for is the same whatever else the run does.

`household` makes one to a scenario's order: so many parents, children of such ages, moved on such a day. `at` and
`settled` give those who live in a city anyway, with the history they have: the n-th household of a city is the
same in every run of a seed, in whatever order and however many others were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random
from typing import Final

from mesh.errors import UsageError
from mesh.simulation import Simulation
from nodes.data.calendar import day_of
from nodes.data.household import Household, Move, Person, Relation, resident_check_digit
from nodes.data.municipalities import municipalities
from nodes.data.names import JAPAN, Name, Sex, foreign_surname, given_names, surname
from nodes.data.settled import settle

__all__ = ["Household", "Move", "Person", "Population", "resident_check_digit"]

HOUSEHOLDS_MAX: Final = 500_000
"""Households that a city can have; the largest has three times as many, which no run needs."""

# 住民票コード are different by construction: settled people count from the first number on, the others draw below.
_PEOPLE_OF_A_HOUSEHOLD: Final = 8
_FIRST_SETTLED: Final = 3_000_000_000
SCATTER: Final = 3_141_592_653
"""Odd and no multiple of 5, so that ten digits times this, modulo 10¹⁰, are other ten digits for each."""


class Population:
    """The people of one simulation."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._count = 0
        self._today = day_of(sim.start_us).toordinal()
        self._places: dict[str, int] = {}
        self._births: dict[str, int] = {}
        """How many were born into a household on a day, by the name of the first one's stream."""

    # Who lives there anyway.

    def settled(self, city: str, count: int, first: int = 1) -> Iterator[Household]:
        """So many households of a city, by the first five digits of its code, from the `first` on."""
        return (self.at(city, number) for number in range(first, first + count))

    def at(self, city: str, number: int) -> Household:
        """The n-th household of a city, as on the day on which the run begins; the first is 1.

        Raises `UsageError` for a city that is not there or a number beyond the limit.
        """
        place = self._place_of(city)
        if not 1 <= number <= HOUSEHOLDS_MAX:
            raise UsageError(f"a city's households have the numbers 1 to {HOUSEHOLDS_MAX}, not {number}")
        unique = (place + 1) * HOUSEHOLDS_MAX + number - 1
        first = _FIRST_SETTLED + (unique - HOUSEHOLDS_MAX) * _PEOPLE_OF_A_HOUSEHOLD
        stream = self._sim.stream(self.stream_of(city, number))
        return settle(self._sim, stream, self._today, city, unique, lambda member: _scattered(first + member))

    @staticmethod
    def stream_of(city: str, number: int) -> str:
        """The name of the stream from which the n-th household of a city comes."""
        return f"household {number} of {city}"

    def _place_of(self, city: str) -> int:
        """Where the city stands among all."""
        if not self._places:
            self._places = {one.code[:5]: place for place, one in enumerate(municipalities())}
        if city not in self._places:
            raise UsageError(
                f"there is no municipality {city}; a code's digits before its check digit name one"
            )
        return self._places[city]

    # Whom a scenario needs.

    def household(
        self,
        city: str,
        *,
        child_ages: tuple[int, ...] = (),
        parents: int = 2,
        moves: tuple[Move, ...] = (),
        foreign: bool = False,
    ) -> Household:
        """A household that lives in a city today; ages are whole years on this day.

        If `foreign`, its members are nationals of another country, with Latin names and no 戸籍. What its members earn is for the scenario to say.
        """
        self._count += 1
        number = self._count
        stream = self._sim.stream(f"household {number}")
        drawn = stream.random()
        of = foreign_surname(drawn) if foreign else (JAPAN, surname(drawn))
        today = self._sim.now().date()
        born = _birthday(stream, today, stream.randrange(28, 45))
        members = [self._person(stream, of, "head", born, moves, ("m",) if parents == 2 else ("f", "m"))]
        if parents == 2:
            born = _birthday(stream, today, stream.randrange(28, 45))
            members.append(self._person(stream, of, "spouse", born, moves, ("f",)))
        members += [
            self._person(stream, of, "child", _birthday(stream, today, age), moves)
            for age in sorted(child_ages, reverse=True)
        ]
        return Household(number, city, moves, tuple(members))

    def newborn(self, household: Household, born: date) -> Person:
        """A child born into a household, another at each call: twins are two persons.

        Each is from a stream of its own, so that it changes nothing else.
        """
        name = f"newborn of household {household.number} on {born}"
        births = self._births[name] = self._births.get(name, 0) + 1
        stream = self._sim.stream(name if births == 1 else f"{name}, child {births}")
        head = household.head
        return self._person(stream, (head.nationality, head.family), "child", born)

    def _person(
        self,
        stream: Random,
        of: tuple[str, Name],
        relation: Relation,
        born: date,
        moves: tuple[Move, ...] = (),
        sexes: tuple[Sex, ...] = ("f", "m"),
    ) -> Person:
        """Somebody of a country and a family."""
        country, family = of
        sex = stream.choice(sexes)
        number = _scattered(stream.randrange(_FIRST_SETTLED))
        given = stream.choice(given_names(sex, country))
        own = tuple(move for move in moves if move.on >= born)
        person = Person(number, family, given, born, sex, relation, own, 0.5, None, country, self._sim)
        self._sim.resident(person.resident_code)  # handles in the order in which a scenario makes its people
        return person


def _scattered(number: int) -> int:
    """Another ten digits, so that a 住民票コード does not tell who was made before whom."""
    return number * SCATTER % 10**10


def _birthday(stream: Random, today: date, age: int) -> date:
    """A birthday that makes somebody `age` today."""
    first = date(today.year - age - 1, today.month, min(today.day, 28)).toordinal() + 1
    return date.fromordinal(first + stream.randrange(364))
