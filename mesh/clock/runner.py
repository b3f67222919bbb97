"""Running one coroutine in virtual time from start to end, Ctrl-C included."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from mesh.clock.ending import ending
from mesh.clock.loop import VirtualLoop

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T], *, loop: VirtualLoop | None = None) -> _T:
    """Run the coroutine in virtual time, cancel what it left in creation order, close the loop.

    Returns or raises what `main` does; `Deadlock` when it waits for what cannot come. The first Ctrl-C
    cancels `main` and leaves as KeyboardInterrupt once every task is done; the second leaves at once.
    """
    loop = VirtualLoop() if loop is None else loop
    task = loop.create_task(main)
    with _interrupt_cancels(task, loop):
        try:
            result: _T = loop.run_until_complete(task)
            return result
        finally:
            try:
                loop.cancel_all()
            finally:
                loop.close()


@contextmanager
def _interrupt_cancels(task: asyncio.Task[Any], loop: VirtualLoop) -> Iterator[None]:
    """While inside, SIGINT cancels the task; a second one raises KeyboardInterrupt wherever it finds Python.

    A handler that somebody else installed stays, as asyncio.Runner lets it.
    """
    interrupted = False

    def interrupt(_signal: int = 0, _frame: object = None) -> None:
        nonlocal interrupted
        if interrupted or task.done():
            raise KeyboardInterrupt
        interrupted = True
        task.cancel()

    loop.on_interrupt = ending.cancel = interrupt
    installed = _install(interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if interrupted and task.uncancel() == 0:
            raise KeyboardInterrupt from None
        raise
    finally:
        ending.cancel = None
        if installed and signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _install(handler: Any) -> bool:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread: no signal is delivered here
        return False
    return True
