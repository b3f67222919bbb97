"""People on demand: the same for the same seed, no real numbers, and names from tables only."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import date

import pytest

from mesh.personal_number import is_personal_number
from mesh.simulation import Simulation
from mesh.testing import personal_numbers, simulation
from nodes import establish
from nodes.data.people import Household, Population, resident_check_digit
from nodes.municipality.assembly import assemble


def households(sim: Simulation, count: int) -> list[Household]:
    people = Population(sim)
    return [people.household("01208", child_ages=(1, 9)) for _ in range(count)]


async def test_the_same_seed_makes_the_same_people():
    with simulation(seed=5) as one, simulation(seed=5) as two, simulation(seed=6) as three:
        first, again, other = (households(sim, 4) for sim in (one, two, three))
    assert first == again
    assert first != other


async def test_a_household_is_the_same_whatever_else_the_run_does():
    with simulation() as one, simulation() as two:
        Population(one).household("28100", child_ages=(3, 4, 5))
        second = Population(one)
        second.household("28100", parents=1)
        a = second.household("01208")
        b = households(two, 2)[1]
    assert [person.name for person in a.parents] == [person.name for person in b.parents]


@pytest.mark.parametrize(
    "starts", ["2024-02-29T09:00:00+09:00", "2024-10-15T09:00:00+09:00", "2025-01-01T00:00:00+09:00"]
)
async def test_ages_are_whole_years_today(starts: str):
    with simulation(starts=starts) as sim:
        today = sim.now().date()
        for household in households(sim, 60):
            ages = [
                today.year - child.born.year - ((today.month, today.day) < (child.born.month, child.born.day))
                for child in household.children
            ]
            assert ages == [9, 1]
            assert all(28 <= today.year - parent.born.year <= 45 for parent in household.parents)


async def test_resident_codes_have_eleven_digits_and_are_all_different():
    with simulation() as sim:
        people = [person for household in households(sim, 200) for person in household.members]
    codes = [person.resident_code for person in people]
    assert len(set(codes)) == len(codes) == 800
    assert all(len(code) == 11 and resident_check_digit(code[:10]) == code[10] for code in codes)
    assert Counter(person.handle for person in people).most_common(1)[0][1] == 1


async def test_a_family_has_one_surname_and_readings():
    with simulation() as sim:
        for household in households(sim, 30):
            assert len({person.family for person in household.members}) == 1
            assert all(person.kana and person.romaji.isascii() for person in household.members)
            assert household.spouse is household.members[1]


async def test_a_newborn_joins_the_family():
    with simulation() as sim:
        people = Population(sim)
        household = people.household("01208")
        child = people.newborn(household, date(2026, 3, 31))
        assert (child.family, child.relation, child.born) == (
            household.head.family,
            "child",
            date(2026, 3, 31),
        )


async def test_personal_numbers_are_in_the_register_and_valid():
    with simulation() as sim:
        establish(sim)
        city = assemble(sim, "01208")
        for household in households(sim, 5):
            city.settle(household)
        numbers = list(city.resident.personal_numbers())
        assert sorted(personal_numbers(sim)) == sorted(numbers)
    assert len(set(numbers)) == 20
    assert all(map(is_personal_number, numbers))


def test_faker_is_not_imported():
    said = "import sys, nodes, scenarios.child_allowance; print('faker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
