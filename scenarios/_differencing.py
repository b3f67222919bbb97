"""An attacker who has the published tables and a computer: which withheld counts follow from all that is told.

Every row and column that has its total is an equation; the withheld counts are the unknowns. Exact fractions, by
elimination: nothing of how the tables were protected is used here.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from fractions import Fraction
from typing import TypeVar

Unknown = TypeVar("Unknown", bound=Hashable)
Shown = list[list[int | None]]
"""A table with its totals, as it is published: None is withheld."""


def equations(shown: Shown, name: str) -> list[tuple[dict[tuple[str, int, int], int], int]]:
    """Each line of a table as unknowns with their signs, and what the told ones leave for them."""
    height, width = len(shown), len(shown[0])
    lines = [[(r, c) for c in range(width)] for r in range(height)]
    lines += [[(r, c) for r in range(height)] for c in range(width)]
    found = []
    for line in lines:
        unknowns: dict[tuple[str, int, int], int] = {}
        rest = 0
        for r, c in line:
            sign = -1 if (r, c) == line[-1] else 1
            count = shown[r][c]
            if count is None:
                unknowns[name, r, c] = sign
            else:
                rest -= sign * count
        found.append((unknowns, rest))
    return found


def solve(system: Iterable[tuple[dict[Unknown, int], int]]) -> dict[Unknown, int]:
    """The unknowns that have one value only, and the value."""
    rows = [({key: Fraction(sign) for key, sign in left.items()}, Fraction(right)) for left, right in system]
    pivots: list[tuple[Unknown, dict[Unknown, Fraction], Fraction]] = []
    while rows:
        left, right = rows.pop()
        if not left:
            continue
        pivot = next(iter(left))
        scale = left[pivot]
        row = ({key: value / scale for key, value in left.items()}, right / scale)
        rows = [_less(other, row, pivot) for other in rows]
        pivots = [(name, *_less((one, value), row, pivot)) for name, one, value in pivots]
        pivots.append((pivot, *row))
    return {name: int(right) for name, left, right in pivots if len(left) == 1}


def _less(
    row: tuple[dict[Unknown, Fraction], Fraction],
    pivot_row: tuple[dict[Unknown, Fraction], Fraction],
    pivot: Unknown,
) -> tuple[dict[Unknown, Fraction], Fraction]:
    """A row without the pivot."""
    factor = row[0].get(pivot, Fraction(0))
    if not factor:
        return row
    left = dict(row[0])
    for key, value in pivot_row[0].items():
        left[key] = left.get(key, Fraction(0)) - factor * value
    return {key: value for key, value in left.items() if value}, row[1] - factor * pivot_row[1]


def hide(table: list[list[int]], withheld: Iterable[tuple[int, int]]) -> Shown:
    """A table as it would look with these cells withheld."""
    hidden = list(withheld)
    return [
        [None if (r, c) in hidden else count for c, count in enumerate(row)] for r, row in enumerate(table)
    ]
