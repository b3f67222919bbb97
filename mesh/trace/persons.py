"""Whom the codes of a trace mean: every party has a code of its own for a person, and the trace knows which belong together.

Who translates, the broker, could take one person for another without a word: the codes alone tell nobody. In the real
system the commission asks the issuer of the codes; a trace of a simulation says what the issuer would.
"""

from __future__ import annotations

from collections.abc import Iterable

from mesh.names import member_of


class Persons:
    """Residents by their codes: (handle, member, code).

    In the trace of a run that did not come to its end a code may be missing; else one that is not there is nobody's.
    """

    def __init__(self, residents: Iterable[tuple[str, str, str]], *, complete: bool) -> None:
        self._of = {(member, code): handle for handle, member, code in residents}
        self._complete = complete and bool(self._of)

    def differ(self, *codes: tuple[str, str | None]) -> str | None:
        """Why codes, each with the address of its party, do not mean one person; None if they do, or nobody can say."""
        named = [code is not None for _, code in codes]
        if not all(named):
            return "one of its records names a person and another does not" if any(named) else None
        handles = [self._of.get((member_of(party), code or "")) for party, code in codes]
        if self._complete and None in handles:
            return "a code of its records is nobody's"
        known = dict.fromkeys(handle for handle in handles if handle is not None)
        return "its records name different persons" if len(known) > 1 else None
