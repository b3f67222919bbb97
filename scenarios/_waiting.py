"""How a scenario waits for what a slow network brings late."""

from __future__ import annotations

from collections.abc import Callable

from mesh import Simulation


async def wait_until(sim: Simulation, happened: Callable[[], object], *, most_s: int = 60) -> None:
    """Wait for a second, which is enough where nothing is slow, and on for as long as it has not happened."""
    for _ in range(most_s):
        await sim.sleep(1)
        if happened():
            return
