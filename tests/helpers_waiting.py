"""Waiting for what really happens, in processes and on sockets: the one place where tests look at a clock or sleep.

A test waits for a condition, however long a busy machine takes; the limit is only there so that a hang ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

HANG_S: Final = 300.0
_PAUSE_S: Final = 0.01


def wait_until(done: Callable[[], object]) -> None:
    """Return once the condition holds; AssertionError if that seems never to be."""
    end_s = time.monotonic() + HANG_S
    while not done():
        assert time.monotonic() < end_s, "what a test waits for does not come"
        time.sleep(_PAUSE_S)


async def until(done: Callable[[], object]) -> None:
    """The same on a real loop, which goes on meanwhile."""
    async with asyncio.timeout(HANG_S):
        while not done():
            await pause()


async def pause() -> None:
    """Between two questions about the same thing, asked until its answer is there."""
    await asyncio.sleep(_PAUSE_S)
