"""Runs the viewer until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
import sys
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from mesh.errors import UsageError
from mesh.scenario import Scenario
from mesh.trace.opening import check_file
from mesh.viewer.connection import Runner, tell_of_loop
from mesh.viewer.folder import Folder
from mesh.viewer.server import Viewer

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 1.0
"""How long answers under way may take once the server is told to stop."""


def serve(
    path: Path,
    port: int,
    scenarios: Mapping[str, Scenario],
    packages: tuple[str | None, str | None],
    say: Callable[[str], object],
    *,
    browser: bool,
) -> None:
    """Serve a trace or a folder of them until SIGINT, SIGTERM or SIGHUP; `UsageError` if the port is taken.

    `say` gets the address, once it can be visited. `packages` hold the nodes and the scenarios that a page may run.
    """
    if not path.is_dir():
        check_file(path)
    folder = Folder(path if path.is_dir() else path.parent, None if path.is_dir() else path.name, scenarios)
    asyncio.run(_serve(Viewer(folder, scenarios, packages), port, say, browser=browser))


async def _serve(viewer: Viewer, port: int, say: Callable[[str], object], *, browser: bool) -> None:
    asyncio.get_running_loop().set_exception_handler(tell_of_loop)
    runner = Runner(viewer.app(), PATIENCE_S)
    await runner.setup()
    try:
        address = f"http://{HOST}:{await listen(viewer, runner, port)}/"
        stopped = asyncio.Event()
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(one, stopped.set)
        say(address)
        if browser:
            webbrowser.open(address)
        await stopped.wait()
        if viewer.runs.under_way:
            print("waiting until the runs have closed their traces", file=sys.stderr, flush=True)
    finally:
        await runner.cleanup()


async def listen(viewer: Viewer, runner: web.AppRunner, port: int) -> int:
    """Open the port, or a free one for 0, and return it; `UsageError` if it is taken."""
    site = web.TCPSite(runner, HOST, port)
    try:
        await site.start()
    except OSError as failure:
        raise UsageError(f"cannot listen on port {port}: {failure.strerror}; leave --port out") from None
    viewer.guard.port = runner.addresses[0][1]
    return viewer.guard.port
