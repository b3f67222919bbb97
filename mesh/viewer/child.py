"""Processes that work for the server: a module of this package, with its words on a pipe.

Nothing outlives the server, however it ends: each process has a pipe on which nothing ever comes but its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LINE_MAX: Final = 2**24
"""Bytes of one line that a process may print."""
ENDING_S: Final = 10.0
"""How long a process may take to end after its last word."""
ORPHANED_S: Final = 60.0
"""How long a process may take to end by itself once the server is gone."""


async def start(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start `python -m module` with the import path of this process.

    It has a session of its own: Ctrl-C reaches the server alone, which ends what it started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
        limit=LINE_MAX,
    )  # fmt: skip


def end_with_parent(end: Callable[[], object] | None = None) -> None:
    """In the process itself: end when the server does. With `end`, do that first, and leave it some time."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        if end is not None:
            end()
            time.sleep(ORPHANED_S)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def interrupt() -> None:
    """Ctrl-C to this process."""
    os.kill(os.getpid(), signal.SIGINT)


def output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    """Where the process's words come."""
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    return process.stdout


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the process unless it has ended, and wait for it."""
    if process.returncode is None:
        # Whose words have ended ends by itself. To signal it just then would take its exit code from who waits for that.
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), ENDING_S if output(process).at_eof() else 0)
        if process.returncode is None:
            process.kill()
    try:
        await process.wait()
    finally:
        # What it wrote and nobody read keeps the pipe open, and asyncio closes it only when that was read.
        process._transport.close()  # type: ignore[attr-defined]


async def stop(task: asyncio.Task[None], *, ending: bool) -> None:
    """Wait for a task that watches a process; unless it is ending by itself, cancel it."""
    if not ending:
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
