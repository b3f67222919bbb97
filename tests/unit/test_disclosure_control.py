"""What is withheld cannot be computed: the rule of bridges against exact elimination, which knows nothing of it."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

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
    """Each line withholds two cells at least, and yet one of them follows: a rule that counts is blind to it."""
    cycles = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3)]
    bridge = (1, 2)
    table = with_totals([[20] * 4 for _ in range(4)])
    found = solve(equations(hide(table, [*cycles, bridge]), "t"))
    assert found == {("t", *bridge): 20}
    assert is_given_away(table, [*cycles, bridge], bridge)
    assert not any(is_given_away(table, [*cycles, bridge], cell) for cell in cycles)


def test_a_cycle_of_ones_and_ones_is_no_hiding_place() -> None:
    """Elimination finds nothing; but where none may fall below one, nothing can move either."""
    table = with_totals([[1, 1], [1, 1]])
    square = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert solve(equations(hide(table, square), "t")) == {}
    assert all(is_given_away(table, square, cell) for cell in square)
    assert not any(is_given_away(table, withheld_cells(table), cell) for cell in square)


@given(TABLES)
def test_nothing_that_is_withheld_follows_from_what_is_told(counts: list[list[int]]) -> None:
    table = with_totals(counts)
    withheld = withheld_cells(table)
    assert set(small_cells(table)) <= set(withheld)
    assert solve(equations(hide(table, withheld), "t")) == {}


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=2), min_size=1, max_size=2),
    st.randoms(use_true_random=False),
)
def test_a_cell_is_given_away_exactly_if_no_other_table_looks_the_same(
    counts: list[list[int]], chance: Random
) -> None:
    """Against all tables there are: every assignment of the withheld counts, at least 1, that fits what is told."""
    table = with_totals(counts)
    cells = [(r, c) for r, row in enumerate(table) for c, count in enumerate(row) if count > 0]
    hidden = [cell for cell in cells if chance.random() < 0.6]
    fits = list(_fits(equations(hide(table, hidden), "t"), [("t", *cell) for cell in hidden], {}))
    assert fits
    for cell in hidden:
        possible = {one["t", *cell] for one in fits}
        assert (len(possible) == 1) is is_given_away(table, hidden, cell), (table, hidden, cell)


def _fits(
    system: list[tuple[dict[tuple[str, int, int], int], int]],
    unknowns: list[tuple[str, int, int]],
    chosen: dict[tuple[str, int, int], int],
) -> Iterator[dict[tuple[str, int, int], int]]:
    """Every choice of the unknowns from 1 to 20 that fulfils the equations."""
    for left, right in system:
        if (
            all(key in chosen for key in left)
            and sum(sign * chosen[key] for key, sign in left.items()) != right
        ):
            return
    if not unknowns:
        yield dict(chosen)
        return
    for value in range(1, 21):
        yield from _fits(system, unknowns[1:], chosen | {unknowns[0]: value})


@given(TABLES)
def test_of_nothing_that_is_withheld_one_value_only_is_possible(counts: list[list[int]]) -> None:
    table = with_totals(counts)
    withheld = withheld_cells(table)
    assert [cell for cell in withheld if is_given_away(table, withheld, cell)] == []
