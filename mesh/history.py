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
    about: dict[str, _About] = {}
    for row in rows:
        # An id that nobody may repeat any more can be used again: the digest tells the two exchanges apart.
        key = (row.requester, row.id, row.provider, row.requestdigest)
        if row.entry != "permitted" or row.subject != person or key in seen:
            continue
        seen[key] = None
        if row.id not in about:
            about[row.id] = _About(rows_about(row.id))
        closed, hidden = about[row.id].of(row)
        line = HistoryLine(
            time_us=row.time_us,
            requester=row.requester,
            provider=row.provider or "",
            service=row.service or "",
            procedure=row.procedure,
            items=row.items,
            outcome=_outcome([one.code for one in closed]),
        )
        yield line, hidden


class _About:
    """The rows with one message id, by whom they are of and what they are about: many exchanges may have one id."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._closed: dict[tuple[str, str | None, str | None], list[Row]] = {}
        self._hidden: dict[tuple[str, str | None], None] = {}
        for row in rows:
            if row.entry == "closed":
                self._closed.setdefault((row.requester, row.requestdigest, row.provider), []).append(row)
            if row.undisclosed:  # A mark names no digest: it hides whatever the id was used for.
                self._hidden[row.requester, row.requestdigest] = None

    def of(self, row: Row) -> tuple[list[Row], bool]:
        """How the exchange of a permit was closed, and whether it is hidden."""
        asked = (row.requester, row.requestdigest)
        # The provider's refusal of unread bytes, and every answer to a question, names no provider.
        closed = [*self._closed.get((*asked, None), ()), *self._closed.get((*asked, row.provider), ())]
        return closed, asked in self._hidden or (row.requester, None) in self._hidden


def _outcome(codes: list[str | None]) -> str:
    """What came of an exchange that was closed with these codes, None for an answer."""
    if not codes:
        return "unfinished"
    # What was answered once was disclosed, whatever was said afterwards.
    return "answered" if None in codes else str(codes[-1])
