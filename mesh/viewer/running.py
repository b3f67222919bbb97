"""One run for the page, in a process of its own: it prints what happens as one JSON list a line.

`python -m mesh.viewer.running NODES SCENARIOS '[scenario, seed, settings, faults, trace]'` prints `["progress",
{messages, mesh_time_us}]` now and then, and at last `["done", {held, messages, broke_off}]` or `["failed", {text}]`. What the scenario itself
prints goes to stderr. SIGINT ends it with a trace of what happened so far.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mesh.clock.ending import ending
from mesh.errors import UsageError
from mesh.guard import real_monotonic
from mesh.loading import all_plans, all_scenarios
from mesh.runner import run_scenario
from mesh.viewer import child

TELL_EVERY_S = 0.1


class _Teller:
    """Says how far the run is, not more often than a page can show."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        self._told_s = 0.0

    def progress(self, messages: int, mesh_time_us: int) -> None:
        now_s = real_monotonic()
        if now_s - self._told_s >= TELL_EVERY_S:
            self._told_s = now_s
            self.say("progress", messages=messages, mesh_time_us=mesh_time_us)

    def say(self, kind: str, **said: Any) -> None:
        print(json.dumps([kind, said]), file=self._out, flush=True)


def main(nodes: str, scenarios: str, asked: str) -> int:
    """Run what was asked for, and say what came of it."""
    name, seed, settings, faults, trace = json.loads(asked)
    teller = _Teller()
    try:
        with redirect_stdout(sys.stderr):
            result = run_scenario(
                all_scenarios(scenarios)[0][name],
                seed=seed,
                settings=settings,
                trace=Path(trace),
                nodes=nodes or None,
                faults=None if faults is None else all_plans(scenarios)[0][faults],
                progress=teller.progress,
            )
    except UsageError as error:
        teller.say("failed", text=str(error))
        return 2
    except KeyboardInterrupt:
        teller.say("failed", text="the run was stopped; its trace holds what happened until then")
        return 130
    teller.say("done", held=result.held, messages=result.messages, broke_off=result.error)
    return 0 if result.held else 1


if __name__ == "__main__":
    child.end_with_parent(child.interrupt)
    with ending.as_interrupt():
        sys.exit(main(*sys.argv[1:]))
