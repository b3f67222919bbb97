"""Which cells of a table of counts are withheld, so that none that is small can be had from the others (秘匿).

Rules kept here:
1. A count from 1 to 9 is small and is withheld, be it a cell or a total (秘匿). None at all is said: it is nobody's.
2. Totals are published, so a line with one withheld cell gives it away: others are withheld with it (二次秘匿).
3. What a line withholds together comes to 10 at least, unless its total is withheld too.
4. No withheld cell can be computed from all that is published. Rows and columns are the vertices of a graph, withheld
   cells its edges; a cell can be computed exactly if its edge is a bridge (D. Gusfield, A Graph Theoretic Approach to
   Statistical Data Security, SIAM J. Comput. 17(3), 1988). The totals are a row and a column more.

What this does not promise: that bounds on a cell are wide. It stands for one table; two tables of the same people are
the publisher's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

MINIMUM: Final = 10
"""Counts below are small; how small differs from body to body, 10 is frequent (illustrative)."""

Cell = tuple[int, int]
"""Row and column; the totals stand in the last of each."""
Table = Sequence[Sequence[int]]
Withheld = dict[Cell, None]
"""Cells in the order in which they were withheld."""


def with_totals(counts: Table) -> list[list[int]]:
    """The counts with the total of each row and column, and of all."""
    rows = [[*row, sum(row)] for row in counts]
    return [*rows, [sum(column) for column in zip(*rows, strict=True)]] if rows else []


def small_cells(table: Table) -> list[Cell]:
    """Cells and totals that are small."""
    return [(r, c) for r, row in enumerate(table) for c, count in enumerate(row) if 0 < count < MINIMUM]


def withheld_cells(table: Table) -> list[Cell]:
    """What is withheld of a table that has its totals: the small cells, and others until nothing is given away."""
    withheld = dict.fromkeys(small_cells(table))
    while (more := _one_more(table, withheld)) is not None:
        withheld[more] = None
    return sorted(withheld)


def _one_more(table: Table, withheld: Withheld) -> Cell | None:
    """One cell that must be withheld besides, or None when nothing is given away any more."""
    for line in _lines(table):
        if _gives_away(table, withheld, line) and (cell := _smallest(table, withheld, line)) is not None:
            return cell
    for row, column in sorted(withheld):
        if is_given_away(withheld, (row, column)):
            line = [*((row, c) for c in range(len(table[0]))), *((r, column) for r in range(len(table)))]
            if (cell := _smallest(table, withheld, line)) is not None:
                return cell
    return None


def _lines(table: Table) -> Iterator[list[Cell]]:
    """Every row and column, its total last."""
    rows, columns = range(len(table)), range(len(table[0]) if table else 0)
    yield from ([(r, c) for c in columns] for r in rows)
    yield from ([(r, c) for r in rows] for c in columns)


def _gives_away(table: Table, withheld: Withheld, line: list[Cell]) -> bool:
    """Whether a line gives away what it withholds: a cell exactly, or a sum that is small."""
    hidden = [cell for cell in line if cell in withheld]
    if not hidden:
        return False
    total_is_told = line[-1] not in withheld
    return len(hidden) == 1 or (total_is_told and sum(table[r][c] for r, c in hidden) < MINIMUM)


def _smallest(table: Table, withheld: Withheld, line: list[Cell]) -> Cell | None:
    """The smallest count of a line that is told; a total only if need be, and a zero last of all."""
    last = (len(table) - 1, len(table[0]) - 1)

    def cost(cell: Cell) -> tuple[bool, bool, int, Cell]:
        count = table[cell[0]][cell[1]]
        return count == 0, cell[0] == last[0] or cell[1] == last[1], count, cell

    return min((cell for cell in line if cell not in withheld), key=cost, default=None)


def is_given_away(withheld: Iterable[Cell], edge: Cell) -> bool:
    """Whether a withheld cell can be computed from all that is told: nothing else joins its row and column."""
    others = [cell for cell in withheld if cell != edge]
    rows, columns = {edge[0]}, set[int]()
    before = 0
    while before < (before := len(rows) + len(columns)):
        for row, column in others:
            if row in rows or column in columns:
                rows.add(row)
                columns.add(column)
    return edge[1] not in columns
