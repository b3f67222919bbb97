"""Time in law: ages on the eve, terms with closed days, school years, and that rules count nowhere else."""

from __future__ import annotations

import ast
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.testing import in_virtual_time, simulation
from nodes.agency import breach_rules
from nodes.data.calendar import (
    TO_A_CITY,
    Term,
    age_on,
    deadline,
    fiscal_year,
    is_closed,
    levy_day,
    reaches,
    school_year_end,
)
from nodes.municipality import allowance_rules, benefit_rules, care_rules, health_insurance, moves, reminders
from nodes.municipality.elderly_medical import ElderlyMedical
from nodes.municipality.electoral_roll import ElectoralRoll

ROOT = Path(__file__).parents[2]
DAYS = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize(
    ("born", "years", "day"),
    [
        (date(2000, 4, 1), 18, date(2018, 3, 31)),
        (date(2000, 4, 2), 18, date(2018, 4, 1)),
        (date(2000, 1, 1), 20, date(2019, 12, 31)),
        (date(2000, 3, 1), 20, date(2020, 2, 29)),
        (date(2000, 3, 1), 21, date(2021, 2, 28)),
        (date(2000, 2, 29), 20, date(2020, 2, 28)),
        (date(1948, 2, 29), 75, date(2023, 2, 28)),
    ],
)
def test_an_age_is_reached_on_the_eve(born: date, years: int, day: date) -> None:
    assert reaches(born, years) == day
    assert (age_on(born, day - timedelta(days=1)), age_on(born, day)) == (years - 1, years)


def test_months_end_on_the_eve_too_and_with_the_month_that_lacks_the_day() -> None:
    assert reaches(date(2025, 8, 15), months=6) == date(2026, 2, 14)
    assert reaches(date(2025, 8, 31), months=6) == date(2026, 2, 28)


@given(DAYS, DAYS)
def test_the_two_ways_to_count_an_age_agree(born: date, day: date) -> None:
    if day >= born:
        years = age_on(born, day)
        assert years == 0 or reaches(born, years) <= day
        assert day < reaches(born, years + 1)


@pytest.mark.parametrize(
    ("day", "closed"),
    [
        (date(2026, 5, 29), False),
        (date(2026, 5, 30), True),
        (date(2026, 5, 31), True),
        (date(2026, 5, 6), True),  # 振替休日
        (date(2026, 9, 22), True),  # 国民の休日, between two holidays
        (date(2019, 4, 30), True),  # of the year 2019 alone
        (date(2026, 12, 28), False),
        (date(2026, 12, 29), True),
        (date(2027, 1, 1), True),
        (date(2025, 1, 3), True),
        (date(2027, 1, 4), False),
    ],
)
def test_offices_are_closed(day: date, closed: bool) -> None:
    assert is_closed(day) is closed


def test_a_term_ends_as_its_law_says() -> None:
    sunday = date(2026, 5, 16)  # The fifteenth day after is Sunday, 31 May.
    assert deadline(sunday, Term(15, "t")) == date(2026, 5, 31)
    assert deadline(sunday, Term(15, "t", moves_by=TO_A_CITY)) == date(2026, 6, 1)
    assert deadline(sunday, Term(15, "t", first_counts=True)) == date(2026, 5, 30)
    assert deadline(date(2019, 4, 12), Term(15, "t", moves_by=TO_A_CITY)) == date(
        2019, 5, 7
    )  # ten days of holidays


def test_each_rule_has_its_term() -> None:
    """The case of a deadline on a Sunday, and its kind: what is filed with a city moves on, what is a state does not."""
    born, monday = date(2026, 5, 16), date(2026, 6, 1)
    assert allowance_rules.due_date(born) == monday
    assert allowance_rules.first_month(born, monday) == date(2026, 6, 1)
    assert allowance_rules.first_month(born, monday + timedelta(days=1)) == date(2026, 7, 1)
    assert care_rules.last_day(date(2026, 5, 17)) == monday
    assert deadline(date(2026, 5, 17), health_insurance.ENROL_TERM) == monday
    assert moves.card_until(date(2026, 5, 17), date(2026, 5, 17)) == date(2026, 5, 31)
    assert moves.overdue_after(date(2026, 5, 1)) == date(2026, 5, 31)
    assert breach_rules.preliminary_due(date(2026, 4, 29)) == date(2026, 5, 3)
    assert breach_rules.final_due(date(2026, 4, 4), wilful=False) == date(2026, 5, 7)


def test_school_years_and_levy_days() -> None:
    assert school_year_end(date(2020, 4, 1), 6) == date(2026, 3, 31)
    assert school_year_end(date(2020, 4, 2), 6) == date(2027, 3, 31)
    assert school_year_end(date(2020, 2, 29), 6) == date(2026, 3, 31)
    assert (fiscal_year(date(2026, 3, 31)), fiscal_year(date(2026, 4, 1))) == (2025, 2026)
    assert levy_day(2026) == date(2026, 1, 1)
    assert benefit_rules.is_adult(date(2008, 1, 2), 2026)
    assert not benefit_rules.is_adult(date(2008, 1, 3), 2026)
    assert care_rules.is_insured(date(1961, 4, 2), date(2026, 4, 1))
    assert not care_rules.is_insured(date(1961, 4, 3), date(2026, 4, 1))
    assert reminders.is_of_age(date(2025, 4, 2), date(2026, 4, 1))
    assert not reminders.is_of_age(date(2025, 4, 3), date(2026, 4, 1))


@pytest.mark.parametrize(
    ("born", "since"),
    [("1948-02-29", "2023-03-01"), ("1948-03-01", "2023-03-01"), ("1948-05-05", "2023-05-05")],
)
@in_virtual_time
async def test_who_is_75_is_insured_from_the_birthday(born: str, since: str) -> None:
    """The case of an insured person born on a leap day: 2023 has no 29 February."""
    with simulation(starts="2028-03-01T09:00:00+09:00") as sim:
        sim.add(ElderlyMedical, "muni/01208/elderly-medical")
        office = sim.node("muni/01208/elderly-medical", ElderlyMedical)
        office.insure("muni/01208:" + "a" * 43, date.fromisoformat(born), 1000)
        assert [row["since"] for row in office.db.execute("SELECT since FROM insured")] == [since]


@in_virtual_time
async def test_who_is_18_on_the_eve_of_the_birthday_is_on_the_roll() -> None:
    with simulation(starts="2026-06-01T09:00:00+09:00") as sim:
        sim.add(ElectoralRoll, "muni/01208/electoral-roll")
        roll = sim.node("muni/01208/electoral-roll", ElectoralRoll)
        with roll.effect():
            for person, born in (("of age", "2008-06-02"), ("a day younger", "2008-06-03")):
                roll.db.execute(
                    "INSERT INTO voter(person, born, since) VALUES (?, ?, '2020-01-01')", (person, born)
                )
        assert roll.register() == ["of age"]


def test_no_rule_counts_a_birthday_by_itself() -> None:
    """The kind: `date(born.year + …)` has no 29 February, and a comparison of months and days is a day late."""
    found = []
    for path in sorted((ROOT / "nodes").rglob("*.py")):
        if path.name == "calendar.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node)
            moved = (
                isinstance(node, ast.Call)
                and text.startswith(("date(", "born.replace"))
                and "born.year" in text
            )
            compared = isinstance(node, ast.Compare) and "born.month" in text and "born.day" in text
            if moved or compared:
                found.append(f"{path.relative_to(ROOT)}: {text}")
    assert found == [
        # The age from which a certificate is issued, and its end, are birthdays by the rule itself.
        "nodes/agency/certificates.py: (born.month, born.day) == (2, 29)",
    ]
