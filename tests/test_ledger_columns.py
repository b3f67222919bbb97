"""Every column of every kind of row of every party, told otherwise: alone, and by two parties alike.

The liars sign their ledgers anew, as whoever holds the key can. `verify` or the commission's comparison must find each
lie, or it stands in `LIMITS`, and in ARCHITECTURE's known limits. `python -m tests.helpers_columns` prints the table.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers_columns import Bench, Place, deals, lies, other_codes, places
from tests.helpers_trace import BROKER, CITY, RESIDENTS, TAX

SMALL = "a time that differs by less than a second, of a `closed` or a mark"
STRUCK = "a `closed` that is struck out: the exchange counts as unfinished"
LATE = "a later time of a receipt's `closed`, of who signs nothing but pushes"
LIMITS: dict[tuple[str, str, str], str] = {
    ("closed", "time_us", "+1"): SMALL,
    ("mark", "time_us", "+1"): SMALL,
    ("closed", "struck out", ""): STRUCK,
    ("closed", "time_us", "+3600000000"): LATE,
}
"""Kind of row, column and lie → what of it nobody can find. Each must be met, or it goes."""
ARCHITECTURE = Path(__file__).parent.parent / "ARCHITECTURE.md"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("columns"))


def test_an_honest_run_has_every_kind_of_row_and_nothing_is_found_in_it(bench: Bench) -> None:
    assert bench.found() == ""
    kinds = {(place.party, place.kind.split()[0]) for place in places(bench.path)}
    assert kinds == {
        *((CITY, one) for one in ("opened", "closed", "answered", "mark")),
        *((TAX, one) for one in ("answered", "refused", "mark")),
        *((BROKER, one) for one in ("permitted", "closed", "refused", "answered", "mark")),
        *((RESIDENTS, one) for one in ("opened", "closed")),
    }


def missed(bench: Bench, party: str) -> tuple[int, dict[tuple[str, str, str], str]]:
    """How many lies of a party were told, and those that nobody found."""
    told, found = 0, {}
    for place in places(bench.path):
        if place.party != party:
            continue
        for column, instead in lies(bench.path, place):
            for said in instead:
                told += 1
                if not bench.found(place, said):
                    key = (
                        place.row.entry,
                        column,
                        by_how_much(place, column, said[0].time_us if said else 0),
                    )
                    found[key] = f"{place.kind}: {said}"
    return told, found


def by_how_much(place: Place, column: str, time_us: int) -> str:
    return f"{time_us - place.row.time_us:+}" if column == "time_us" else ""


@pytest.mark.parametrize("party", [CITY, TAX, BROKER, RESIDENTS])
def test_a_lie_about_any_column_of_any_row_is_found_or_named(bench: Bench, party: str) -> None:
    told, found = missed(bench, party)
    assert told > 80
    assert {key: said for key, said in found.items() if key not in LIMITS} == {}
    if party in (CITY, RESIDENTS):
        expected = {
            CITY: {("closed", "time_us", "+1"), ("mark", "time_us", "+1"), ("closed", "struck out", "")},
            RESIDENTS: set(LIMITS) - {("mark", "time_us", "+1")},
        }[party]
        assert set(found) == expected


def test_a_lie_that_two_parties_tell_alike_is_found(bench: Bench) -> None:
    codes = other_codes(bench.path)
    told, found = 0, []
    for deal in deals(bench.path):
        told += 1
        if not bench.found_of(deal, codes):
            found.append(deal)
    assert told > 200
    assert found == []


def test_what_is_not_found_is_a_known_limit() -> None:
    limits = ARCHITECTURE.read_text().partition("## Known limits")[2]
    for one in set(LIMITS.values()):
        assert one in " ".join(limits.split()), one
