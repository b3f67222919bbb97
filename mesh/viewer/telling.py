"""What the server says on its own terminal when something went wrong: little, and none of a client's words."""

from __future__ import annotations

import sys
from typing import Final

_told: Final[set[str]] = set()


def tell_error(what: object, failure: BaseException | None) -> None:
    """One line for whoever started the server, once for each place; the words may be a client's, and stay out."""
    where = ""
    trace = failure.__traceback__ if failure is not None else None
    while trace is not None:
        where = f" at {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
        trace = trace.tb_next
    line = f"viewer: {type(failure).__name__}{where}" if failure is not None else f"viewer: {what}"
    if line not in _told and len(_told) < 1000:
        _told.add(line)
        print(line[:200].encode("ascii", "backslashreplace").decode(), file=sys.stderr, flush=True)
