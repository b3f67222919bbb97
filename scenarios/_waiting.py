"""How a scenario waits for what a slow network brings late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mesh import Simulation

ATTEMPTS: Final = 9
PATIENCE_S: Final = 10


async def wait_until(sim: Simulation, happened: Callable[[], object], *, most_s: int = 60) -> None:
    """Wait for a second, which is enough where nothing is slow, and on for as long as it has not happened."""
    for _ in range(most_s):
        await sim.sleep(1)
        if happened():
            return


async def until_heard(sim: Simulation, act: Callable[[], object], happened: Callable[[], object]) -> None:
    """Do something again and again until it had its effect, as whoever is not answered does; once where nothing is lost."""
    for _ in range(ATTEMPTS):
        act()
        await wait_until(sim, happened, most_s=PATIENCE_S)
        if happened():
            return
