"""Processes that work for the server: a module of this package, with its words on a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

LINE_MAX: Final = 2**24
"""Bytes of one line that a process may print."""


async def start(module: str, *arguments: str) -> asyncio.subprocess.Process:
    """Start `python -m module` with the import path of this process.

    It has a session of its own: Ctrl-C reaches the server alone, which ends what it started.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
        limit=LINE_MAX,
    )  # fmt: skip


def output(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    """Where the process's words come."""
    if process.stdout is None:
        raise AssertionError("a pipe was asked for")
    return process.stdout


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the process unless it has ended, and wait for it."""
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
