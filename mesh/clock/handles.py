"""The handles of callbacks and timers: asyncio's own, without what a simulation pays for and never uses.

asyncio's handles ask their loop for its debug flag when they are made and when they are cancelled. An
exchange makes about fifteen of them, so these keep only the callback, its context and whether it still counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any


class Handle(asyncio.Handle):
    """A callback that is ready; cancelling it forgets the callback, and the loop skips it."""

    __slots__ = ()
    # These two hide the slots of asyncio's handle, which would have to be filled for each one.
    _source_traceback = None
    _repr = None
    _callback: Callable[..., object] | None
    _args: tuple[Any, ...]
    _context: Context
    _loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        """Let the callback never be called."""
        self._cancelled = True
        self._callback = None
        self._args = ()


class Timer(asyncio.TimerHandle):
    """A callback for a time in loop seconds; the loop sets `_scheduled` while it lies in the heap."""

    __slots__ = ()
    _source_traceback = None
    _repr = None
    _callback: Callable[..., object] | None
    _args: tuple[Any, ...]
    _context: Context
    _loop: asyncio.AbstractEventLoop
    _when: float
    _scheduled: bool

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._scheduled = False

    def cancel(self) -> None:
        """Let the callback never be called; the loop counts the timers that lie in its heap for nothing."""
        if not self._cancelled:
            self._cancelled = True
            self._callback = None
            self._args = ()
            if self._scheduled:
                self._loop._timer_handle_cancelled(self)  # type: ignore[attr-defined]  # asyncio's own, untyped
