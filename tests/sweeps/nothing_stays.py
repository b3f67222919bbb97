"""Whether anything of a run stays in its process: plays scenarios again and again, and looks at what is left.

    uv run python tests/sweeps/nothing_stays.py            `birth` 200 times, then every scenario three times
    uv run python tests/sweeps/nothing_stays.py --times 1 --births 60 --without nationwide_notice

After the last `birth` the process has at most 10 MiB more resident memory than after a quarter of them, when every cache
is full, and after each scenario no Simulation, Host or Node is alive. Exits 0 if that holds, else 1; `--json` prints
what was measured, progress goes to stderr.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mesh.host import Host
from mesh.loading import scenarios_of
from mesh.node import Node
from mesh.runner import run_scenario
from mesh.scenario import Scenario
from mesh.simulation import Simulation

GROWTH_MAX_MIB = 10.0
MEASURED = "birth"


def alive() -> list[Simulation | Host | Node]:
    """The objects of a run that are in this process once garbage is collected."""
    gc.collect()
    # By its true type: an object's own word, `__class__`, may be anything.
    return [one for one in gc.get_objects() if issubclass(type(one), (Simulation, Host, Node))]


def resident_mib() -> float:
    """The resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def play(scenario: Scenario, times: int) -> None:
    """Run a scenario so often, each time collecting what it left: what waits for the collector is not what stays."""
    for _ in range(times):
        run_scenario(scenario, nodes="nodes")
        gc.collect()


def growth_mib(scenario: Scenario, runs: int) -> float:
    """By how much the process grows between a quarter of so many runs and the last."""
    play(scenario, runs // 4)
    before_mib = resident_mib()
    play(scenario, runs - runs // 4)
    return resident_mib() - before_mib


def main(arguments: Sequence[str]) -> int:
    """Play, say what stayed, and return the exit code."""
    parser = argparse.ArgumentParser(description="Whether anything of a run stays in its process.")
    parser.add_argument("--times", type=int, default=3, help="Runs of each scenario.")
    parser.add_argument("--births", type=int, default=200, help=f"Runs of {MEASURED} for the memory.")
    parser.add_argument("--without", action="append", default=[], help="Leave a scenario out.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    asked = parser.parse_args(arguments)
    scenarios = scenarios_of("scenarios")
    stayed = {}
    # The memory comes first: what a larger scenario leaves free would hide what `birth` takes.
    print(f"{MEASURED} {asked.births} times", file=sys.stderr)
    grown_mib = growth_mib(scenarios[MEASURED], asked.births)
    for name, scenario in scenarios.items():
        if name not in asked.without:
            print(f"{name} {asked.times} times", file=sys.stderr)
            play(scenario, asked.times)
            if left := alive():
                stayed[name] = Counter(type(one).__name__ for one in left)
            del left
    held = not stayed and grown_mib <= GROWTH_MAX_MIB
    if asked.json:
        print(json.dumps({"held": held, "stayed": stayed, "growth_mib": round(grown_mib, 2)}))
    else:
        for name, left in stayed.items():
            print(f"after {name}: " + ", ".join(f"{count} {cls}" for cls, count in left.items()))
        print(
            f"memory from run {asked.births // 4} to run {asked.births} of {MEASURED}: {grown_mib:+.1f} MiB"
        )
        print("nothing stays" if held else "FAILED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
