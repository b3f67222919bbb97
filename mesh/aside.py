"""Runs work in a thread of its own, for who is called where an event loop runs already: a cell of a notebook.

The one place in `mesh` that starts a thread. Whoever waits for it does nothing else meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T], interrupt: Callable[[], None]) -> T:
    """What `work` returns or raises; Ctrl-C calls `interrupt`, which ends it, and is raised once it has ended."""
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="run of a scenario", daemon=True)
    thread.start()
    while not ended.is_set():
        try:
            ended.wait()  # A join that is interrupted takes the thread for ended (CPython 3.11).
        except KeyboardInterrupt:
            interrupt()
    if errors:
        raise errors[0]
    return results[0]
