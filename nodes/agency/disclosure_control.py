"""Which cells of a table of counts are withheld, so that none that is small can be had from the others (秘匿).

Rules kept here:
1. A count from 1 to 9 is small and is withheld, be it a cell or a total (秘匿). None at all is said: it is nobody's.
2. Totals are published, so that a line with one withheld cell gives it away: others are withheld with it (二次秘匿).
3. What a line withholds together comes to 10 at least, unless its total is withheld too.
4. Of no withheld cell is one value only possible, given all that is told and that a withheld count is at least 1.

Rule 4 is read from a graph (after D. Gusfield, A Graph Theoretic Approach to Statistical Data Security, SIAM J. Comput.
17(3), 1988): rows and columns are the vertices, withheld cells the edges, totals a row and a column more. Counts can
change without any told one changing along a cycle, up and down by turns; a cell on no such cycle is given away.

What this does not promise: that what remains possible is a wide range. It stands for one table; two tables of the same
people are the publisher's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Final

MINIMUM: Final = 10
"""Counts below are small; how small differs from body to body, 10 is frequent (illustrative)."""

TOTAL_COST: Final = 10**9
ZERO_COST: Final = 10**12

Cell = tuple[int, int]
"""Row and column; the totals stand in the last of each."""
Vertex = tuple[str, int]
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
    while more := _more(table, withheld):
        withheld.update(dict.fromkeys(more))
    return sorted(withheld)


def _more(table: Table, withheld: Withheld) -> list[Cell]:
    """What must be withheld besides; empty when nothing is given away any more."""
    for line in _lines(table):
        cell = _smallest(table, withheld, line) if _withholds_a_small_sum(table, withheld, line) else None
        if cell is not None:
            return [cell]
    for cell in sorted(withheld):
        if is_given_away(table, withheld, cell) and (cycle := _cheapest_cycle(table, withheld, cell)):
            return cycle
    return []


def _lines(table: Table) -> list[list[Cell]]:
    """Every row and then every column, its total last."""
    rows, columns = range(len(table)), range(len(table[0]) if table else 0)
    return [[(r, c) for c in columns] for r in rows] + [[(r, c) for r in rows] for c in columns]


def _withholds_a_small_sum(table: Table, withheld: Withheld, line: list[Cell]) -> bool:
    """Whether a line that tells its total withholds cells that come to a small count together."""
    hidden = [table[r][c] for r, c in line if (r, c) in withheld]
    return line[-1] not in withheld and 0 < sum(hidden) < MINIMUM


def _smallest(table: Table, withheld: Withheld, line: list[Cell]) -> Cell | None:
    """The cell of a line that costs least to withhold, of those that are told."""
    return min(
        (cell for cell in line if cell not in withheld),
        key=lambda one: (_cost(table, one), one),
        default=None,
    )


def _cost(table: Table, cell: Cell) -> int:
    """What it costs to withhold a cell: its count; a total only if need be, and a zero last of all."""
    count = table[cell[0]][cell[1]]
    is_total = cell[0] == len(table) - 1 or cell[1] == len(table[0]) - 1
    return count + TOTAL_COST * is_total + ZERO_COST * (count == 0)


def _cheapest_cycle(table: Table, withheld: Withheld, cell: Cell) -> list[Cell]:
    """The told cells of the cheapest cycle through a cell: with them withheld, its count can move. Empty if none."""
    steps: dict[Vertex, list[tuple[int, Vertex, Cell]]] = {}
    for other in (one for line in _lines(table)[: len(table)] for one in line if one != cell):
        cost = 0 if other in withheld else _cost(table, other)
        for at, to in _steps(table, other):
            steps.setdefault(at, []).append((cost, to, other))
    ways = [
        way for start, end in _steps(table, cell) if (way := _cheapest_way(steps, end, start)) is not None
    ]
    return [one for one in min(ways, default=(0, ()))[1] if one not in withheld]


def _cheapest_way(
    steps: dict[Vertex, list[tuple[int, Vertex, Cell]]], start: Vertex, end: Vertex
) -> tuple[int, tuple[Cell, ...]] | None:
    """What the cheapest way between two vertices costs, and its cells."""
    open_ways: list[tuple[int, Vertex, tuple[Cell, ...]]] = [(0, start, ())]
    seen: set[Vertex] = set()
    while open_ways:
        cost, at, cells = heappop(open_ways)
        if at == end:
            return cost, cells
        if at not in seen:
            seen.add(at)
            for more, to, cell in steps.get(at, ()):
                heappush(open_ways, (cost + more, to, (*cells, cell)))
    return None


def is_given_away(table: Table, withheld: Iterable[Cell], cell: Cell) -> bool:
    """Whether a withheld cell can have its own value only, given all that is told."""
    steps = [step for other in withheld if other != cell for step in _steps(table, other)]
    return not any(_reaches(steps, end, start) for start, end in _steps(table, cell))


def _steps(table: Table, cell: Cell) -> list[tuple[Vertex, Vertex]]:
    """From where to where a cell's change by one carries: both ways if its count can rise and fall."""
    row, column = ("row", cell[0]), ("column", cell[1])
    # A total is the other side of its line's equation, so that its rise is like a cell's fall; the total of totals
    # is so twice.
    if (cell[0] == len(table) - 1) != (cell[1] == len(table[0]) - 1):
        row, column = column, row
    can_fall = table[cell[0]][cell[1]] > 1
    return [(row, column), (column, row)] if can_fall else [(row, column)]


def _reaches(steps: Sequence[tuple[Vertex, Vertex]], start: Vertex, end: Vertex) -> bool:
    """Whether steps lead from one vertex to another."""
    reached = {start}
    before = 0
    while before < (before := len(reached)):
        reached.update(to for at, to in steps if at in reached)
    return end in reached
