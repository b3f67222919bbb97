"""What a simulation says when it can never go on: which task waits where, and for what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

_ASYNCIO_DIR = asyncio.__file__.removesuffix("__init__.py")


class Deadlock(RuntimeError):
    """The loop was to run on, but nothing is ready and no timer is set; the text says who waits for what."""

    def __init__(self, now_us: int, tasks: Iterable[asyncio.Future[Any]]) -> None:
        self.now_us = now_us
        waits = [_wait_of(task) for task in tasks if isinstance(task, asyncio.Task)]
        super().__init__(
            "\n  ".join([f"deadlock at {now_us} µs: nothing is ready and no timer is set", *waits])
        )


def _wait_of(task: asyncio.Task[Any]) -> str:
    """One line: the task, its innermost line outside asyncio, and the asyncio call or task waited for."""
    frames = list(_frames(task.get_coro()))
    own = [frame for frame in frames if not frame[1].startswith(_ASYNCIO_DIR)] or frames
    text = f"{task.get_name()} waits"
    if own:
        function, file, line = own[-1]
        text += f" at {file}:{line} in {function}"
    awaited = getattr(task, "_fut_waiter", None)
    if isinstance(awaited, asyncio.Task):
        return f"{text} for {awaited.get_name()}"
    return text if frames == own else f"{text} for {frames[-1][0]}"


def _frames(awaited: Any) -> Iterator[tuple[str, str, int]]:
    """Function, file and line of each suspended frame, from the task's own coroutine inwards."""
    while awaited is not None:
        if hasattr(awaited, "cr_frame"):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif hasattr(awaited, "gi_frame"):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            return  # a future, or the step of an asynchronous generator: neither shows a frame
        if frame is not None:
            yield frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno
