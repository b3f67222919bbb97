"""Who asked what about a person (やりとり履歴), read from the broker's ledger rows.

One line for each exchange that was permitted; a push has one for each who received it. A row or a later
`mark` that says undisclosed hides the whole exchange (番号法23条2項); the person's own view then has neither
the line nor a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mesh.builtin import HistoryLine
from mesh.ledger import Row


def history_of(
    rows: Iterable[Row], rows_about: Callable[[str], list[Row]], person: str
) -> Iterator[HistoryLine]:
    """What the person may see, the oldest first.

    `person` is the broker's own code; `rows_about(id)` gives all rows with a message id.
    """
    return (line for line, hidden in lines_of(rows, rows_about, person) if not hidden)


def lines_of(
    rows: Iterable[Row], rows_about: Callable[[str], list[Row]], person: str
) -> Iterator[tuple[HistoryLine, bool]]:
    """Every line about the person, and whether it is hidden from them."""
    seen: dict[tuple[str, str, str | None, str | None], None] = {}
    for row in rows:
        # An id that nobody may repeat any more can be used again: the digest tells the two exchanges apart.
        key = (row.requester, row.id, row.provider, row.requestdigest)
        if row.entry != "permitted" or row.subject != person or key in seen:
            continue
        seen[key] = None
        related = [
            other
            for other in rows_about(row.id)
            if other.requester == row.requester and other.requestdigest in (None, row.requestdigest)
        ]
        closed = [one for one in related if one.entry == "closed" and one.provider in (None, row.provider)]
        line = HistoryLine(
            time_us=row.time_us,
            requester=row.requester,
            provider=row.provider or "",
            service=row.service or "",
            procedure=row.procedure,
            items=row.items,
            outcome=_outcome([one.code for one in closed]),
        )
        yield line, any(other.undisclosed for other in related)


def _outcome(codes: list[str | None]) -> str:
    """What came of an exchange that was closed with these codes, None for an answer."""
    if not codes:
        return "unfinished"
    # What was answered once was disclosed, whatever was said afterwards.
    return "answered" if None in codes else str(codes[-1])
