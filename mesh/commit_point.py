"""Where a turn of the loop ends: whoever has something to commit does it there, one after another.

In a mesh of many nodes nearly every commit is of a node by itself, so one callback serves all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class CommitPoint:
    """The end of the loop's turn, shared by all hosts of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], object]] = deque()

    def call(self, flush: Callable[[], object]) -> None:
        """Call the function when the turn ends, after those that asked before."""
        if not self._waiting:
            self._loop.call_soon(self._reach)
        self._waiting.append(flush)

    def _reach(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        try:
            while waiting:
                waiting.popleft()()
        finally:
            for flush in waiting:  # One failed, which the loop reports; the others are called all the same.
                self.call(flush)
