"""Makes whole households with a history, each from a stream of its own: who lives there, since when, and from where.

Every figure here is synthetic. The shares of the kinds of households and their mean size follow roughly
令和2年国勢調査 (2.21 persons a household); that one household in 26 moves to another municipality within a year,
about what 住民基本台帳人口移動報告 counts of people; mothers are 22 to 43 at a birth.

A household takes few draws, all of them by `random()`, and nothing is made that was not asked for: a nation's
worth of residents can be had at the price of little more than their chances.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Final

from mesh.simulation import Simulation
from nodes.data.household import Household, Move, Person, Relation, care_level
from nodes.data.municipalities import Kind, municipalities
from nodes.data.names import JAPAN, Sex, foreign_surname, given_names, surname

Draw = Callable[[], float]
Seat = tuple[Relation, Sex, float]
"""One member: relation, sex, and age in years."""

_YEAR_DAYS: Final = 365.2425
_HALF_STAY_YEARS: Final = 25
"""Half of all households stay longer than this."""

_FOREIGN_ONE_IN: Final = 34
"""Of so many households one is foreign, by its number alone, so that no draw of others depends on it: about 3% of
residents, as 住民基本台帳に基づく人口 counts them."""

_WEIGHTS: Final[dict[Kind, int]] = {
    "designated-city": 1400,
    "special-ward": 420,
    "core-city": 350,
    "city": 75,
    "town": 14,
    "village": 4,
}
"""How many people come from a municipality of each kind, as of so many thousand; synthetic."""


def settle(
    sim: Simulation, stream: Random, today: int, city: str, number: int, numbers: Callable[[int], int]
) -> Household:
    """A household that lives in a city on a day (an ordinal); `numbers` gives each member's, by their place."""
    draw = stream.random
    seats = _KINDS[bisect_right(_SHARES, draw())](draw)
    japanese = number % _FOREIGN_ONE_IN != 0
    country, family = (JAPAN, surname(draw())) if japanese else foreign_surname(draw())
    adult = min(age for relation, _, age in seats if relation in ("head", "spouse"))
    eldest = max((age for relation, _, age in seats if relation == "child"), default=0.0)
    founded_years = eldest + draw() * (adult - 18 - eldest)
    moves = _moves(draw, today, founded_years, city)
    first = moves[0].from_city if moves else city
    members = []
    for place, (relation, sex, age) in enumerate(seats):
        born = date.fromordinal(today - int(age * _YEAR_DAYS))
        given = given_names(sex) if japanese else given_names(sex, country)
        own = moves
        if relation == "child":
            own = tuple(move for move in moves if move.on >= born) if moves else moves
        elif relation != "parent":
            own = _arrival(draw(), today, founded_years, first) + moves
        members.append(
            Person(
                numbers(place),
                family,
                given[int(draw() * len(given))],
                born,
                sex,
                relation,
                own,
                draw() * (0.8 if relation == "spouse" else 1.0),
                care_level(age, draw()) if age >= 65 else None,
                country,
                sim,
            )
        )
    return Household(number, city, moves, tuple(members))


# Where they came from.


def _moves(draw: Draw, today: int, years: float, city: str) -> tuple[Move, ...]:
    """The moves of a household within so many years, oldest first, the last one to `city`."""
    moves: list[Move] = []
    ago = 0.0
    while (ago := ago + _stay_years(draw())) < years:
        origin = _city(draw())
        if origin != city:
            moves.append(Move(date.fromordinal(today - int(ago * _YEAR_DAYS)), origin, city))
            city = origin
    return tuple(reversed(moves)) if moves else ()


def _stay_years(drawn: float) -> float:
    """How long a household stays: without a limit, but half of them no longer than the years above."""
    return _HALF_STAY_YEARS * drawn / (1 - drawn)


def _arrival(drawn: float, today: int, years: float, city: str) -> tuple[Move, ...]:
    """How head or spouse came to where the household was founded: half of them lived there already."""
    origin = city if drawn < 0.5 else _city(2 * drawn - 1)
    if origin == city:
        return ()
    return (Move(date.fromordinal(today - int(years * _YEAR_DAYS)), origin, city),)


def _city(drawn: float) -> str:
    """The municipality at a place from 0 to 1 among all people."""
    codes, people = _cities()
    return codes[bisect_right(people, drawn * people[-1])]


@lru_cache(maxsize=1)
def _cities() -> tuple[tuple[str, ...], tuple[int, ...]]:
    nation = municipalities()
    return tuple(one.code[:5] for one in nation), tuple(accumulate(_WEIGHTS[one.kind] for one in nation))


# Who they are.


def _single(draw: Draw) -> list[Seat]:
    return [("head", _sex(draw(), 0.45), 18 + 47 * draw())]


def _elderly_single(draw: Draw) -> list[Seat]:
    return [("head", _sex(draw(), 0.66), _elderly_age(draw()))]


def _couple(draw: Draw) -> list[Seat]:
    return _pair(draw, 25 + 40 * draw())


def _elderly_couple(draw: Draw) -> list[Seat]:
    return _pair(draw, 2 + _elderly_age(draw()))


def _parents(draw: Draw) -> list[Seat]:
    pair = _pair(draw, _parental_age(draw()))
    return pair + _children(draw, min(pair[0][2], pair[1][2]), 3)


def _single_parent(draw: Draw) -> list[Seat]:
    age = _parental_age(draw())
    return [("head", _sex(draw(), 0.86), age), *_children(draw, age, 3)]


def _grown_child(draw: Draw) -> list[Seat]:
    age = 52 + 33 * draw()
    parents: list[Seat] = _pair(draw, age) if draw() < 0.6 else [("head", _sex(draw(), 0.8), age)]
    mother = min(parent for _, _, parent in parents)
    low = max(20.0, mother - 43)
    return [*parents, ("child", _sex(draw(), 0.5), low + (mother - 22 - low) * draw())]


def _three_generations(draw: Draw) -> list[Seat]:
    pair = _pair(draw, _parental_age(draw()))
    mother = pair[0][2] + 20 + 12 * draw()
    parents: list[Seat] = [("parent", "f", mother)]
    if draw() < 0.5:
        parents.insert(0, ("parent", "m", mother + 5 * draw()))
    return pair + _children(draw, min(pair[0][2], pair[1][2]), 2) + parents


def _pair(draw: Draw, age: float) -> list[Seat]:
    """Head and spouse, the spouse a little younger or older."""
    sex = _sex(draw(), 0.1)
    return [("head", sex, age), ("spouse", "m" if sex == "f" else "f", age - 5 + 8 * draw())]


def _children(draw: Draw, parent: float, most: int) -> list[Seat]:
    """One or more children of whoever is `parent` years old, eldest first."""
    count = 1 + bisect_right(_ONE_OR_MORE, draw())
    count = min(count, most, 1 + int((parent - 22) / 4.5)) if parent > 22 else 1
    low = max(0.0, parent - 43)
    age = low + (max(low, min(22.0, parent - 22 - 4.5 * (count - 1))) - low) * draw()
    children: list[Seat] = [("child", _sex(draw(), 0.5), age)]
    for _ in range(count - 1):
        age += 1.5 + 3 * draw()
        children.append(("child", _sex(draw(), 0.5), age))
    children.reverse()
    return children


def _sex(drawn: float, women: float) -> Sex:
    return "f" if drawn < women else "m"


def _parental_age(drawn: float) -> float:
    return 53 - 25 * drawn * drawn


def _elderly_age(drawn: float) -> float:
    return 65 + 32 * drawn * drawn


_ONE_OR_MORE: Final = (0.46, 0.87)
_KINDS: Final = (
    _single,
    _elderly_single,
    _couple,
    _elderly_couple,
    _parents,
    _single_parent,
    _grown_child,
    _three_generations,
)
_SHARES: Final = (0.26, 0.38, 0.465, 0.59, 0.75, 0.785, 0.93)
"""Where the share of each kind ends."""
