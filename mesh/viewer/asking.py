"""A question about a trace, and what an address says to it, together with how much of the trace was read for that.

Rules kept here:
1. Every answer says in `index` how much was read of what it rests on: `done`, and the `share` so far. What it rests on
   is declared once, with its address.
2. What would be wrong before everything was read is not said before: until then the answer is `index` alone. Only lists,
   and what stands in the file itself, cover what was read so far. Of a resident's own view nothing does, for it follows
   from the ledgers.
3. For whom a page is, the reading has no part in: that is said at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mesh.errors import UsageError
from mesh.scenario import Scenario
from mesh.viewer.opened import Opened
from mesh.viewer.rows import NUMBER_MAX, Filters


class Asked(NamedTuple):
    """A question about a trace: its query, and what stands at the end of its path."""

    query: Mapping[str, str]
    rest: str = ""
    scenarios: Mapping[str, Scenario] = {}

    @property
    def as_(self) -> str:
        """Through whose eyes."""
        return Filters.of(self.query).as_

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number of the query; `UsageError` if it is none."""
        text = self.query.get(name, "")
        if not text and default is not None:
            return default
        if not (text.isascii() and text.isdigit() and int(text[:17]) <= NUMBER_MAX):
            raise UsageError(f"{name} is a whole number")
        return int(text[:17])


Progress = dict[str, Any]
Answer = Callable[[Opened, Asked], dict[str, Any]]


def whole(opened: Opened, _asked: Asked) -> Progress:
    """Rests on everything, ledgers too."""
    return opened.progress


def listed(opened: Opened, asked: Asked) -> Progress:
    """Rests on the transmissions that somebody has."""
    return opened.covered(asked.as_)


class Page(NamedTuple):
    """What stands under an address."""

    make: Answer
    rests: Callable[[Opened, Asked], Progress] | None
    """How much was read of what it rests on; None for an answer that says so itself."""
    waits: bool = True
    """Whether it says nothing before all of that was read."""
    check: Callable[[Opened, Asked], None] = lambda _opened, _asked: None
    """`Absent` for whom it is not there."""

    def said(self, opened: Opened, asked: Asked) -> dict[str, Any]:
        """The answer, or how much was read until there is one."""
        self.check(opened, asked)
        if self.rests is None:
            return self.make(opened, asked)
        index = self.rests(opened, asked)
        if not index["done"] and (self.waits or opened.is_resident(asked.as_)):
            return {"index": index}
        return self.make(opened, asked) | {"index": index}
