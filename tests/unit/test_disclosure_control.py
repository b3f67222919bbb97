"""What is withheld cannot be computed: the rule of bridges against exact elimination, which knows nothing of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.agency.disclosure_control import (
    MINIMUM,
    is_given_away,
    small_cells,
    with_totals,
    withheld_cells,
)
from scenarios._differencing import equations, hide, solve

COUNTS = st.one_of(st.integers(0, 15), st.integers(0, 500))
TABLES = st.integers(1, 6).flatmap(
    lambda width: st.lists(st.lists(COUNTS, min_size=width, max_size=width), min_size=1, max_size=6)
)


def test_totals() -> None:
    assert with_totals([[1, 2], [3, 4]]) == [[1, 2, 3], [3, 4, 7], [4, 6, 10]]
    assert with_totals([]) == []


@pytest.mark.parametrize(("count", "small"), [(0, False), (1, True), (MINIMUM - 1, True), (MINIMUM, False)])
def test_what_is_small(count: int, small: bool) -> None:
    assert (small_cells([[count]]) != []) is small


def test_a_table_without_small_counts_is_published_whole() -> None:
    assert withheld_cells(with_totals([[10, 0], [250, 11]])) == []


def test_one_small_count_takes_three_others_with_it() -> None:
    table = with_totals([[5, 20, 90], [30, 40, 90], [50, 60, 90]])
    assert withheld_cells(table) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_line_does_not_withhold_a_small_sum() -> None:
    table = with_totals([[1, 2, 90, 91], [1, 2, 90, 91], [50, 60, 90, 91]])
    withheld = withheld_cells(table)
    for row in (0, 1):
        assert sum(table[row][c] for r, c in withheld if r == row) >= MINIMUM


def test_two_cycles_joined_by_one_cell_give_that_cell_away() -> None:
    """Each line withholds two cells at least, and yet one of them follows: the rule that counts lines is blind."""
    cycles = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3)]
    bridge = (1, 2)
    table = with_totals([[20] * 4 for _ in range(4)])
    found = solve(equations(hide(table, [*cycles, bridge]), "t"))
    assert found == {("t", *bridge): 20}
    assert is_given_away([*cycles, bridge], bridge)
    assert not any(is_given_away([*cycles, bridge], cell) for cell in cycles)


@given(TABLES)
def test_nothing_that_is_withheld_follows_from_what_is_told(counts: list[list[int]]) -> None:
    table = with_totals(counts)
    withheld = withheld_cells(table)
    assert set(small_cells(table)) <= set(withheld)
    assert solve(equations(hide(table, withheld), "t")) == {}


@given(TABLES, st.randoms(use_true_random=False))
def test_a_cell_is_given_away_exactly_if_elimination_finds_it(
    counts: list[list[int]], chance: object
) -> None:
    table = with_totals(counts)
    cells = [(r, c) for r in range(len(table)) for c in range(len(table[0]))]
    hidden = [cell for cell in cells if chance.random() < 0.4]  # type: ignore[attr-defined]
    found = solve(equations(hide(table, hidden), "t"))
    assert {(r, c) for _, r, c in found} == {cell for cell in hidden if is_given_away(hidden, cell)}
    assert all(table[r][c] == value for (_, r, c), value in found.items())
