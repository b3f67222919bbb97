"""Whether the life-cycle tables decide: breaks each row of each in turn, and looks whether a test falls.

    uv run python tests/sweeps/life_cycle_mutants.py               every mutant
    uv run python tests/sweeps/life_cycle_mutants.py --share 0.1   every tenth, by a fixed rule
    uv run python tests/sweeps/life_cycle_mutants.py --table RELAY --json

A mutant is a row taken out, or a row that leads to another state of its table. For each the tests of its table in
`tests/test_life_cycle_rows.py` run in a process of their own, for at most 15 s: the mutant falls if one of them fails or
they do not come to an end. Exits 0 if every mutant fell but those in `UNSEEN`, which says why nobody can observe them, and
each of those survived; else 1. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from mesh import exchange
from mesh.exchange import Table

TIMEOUT_S: Final = 15.0
TESTS: Final = {
    name: f"tests/test_life_cycle_rows.py::Test{name.capitalize()}"
    for name, table in vars(exchange).items()
    if name.isupper() and isinstance(table, dict)
}
"""Of each table, the tests that hold it."""

UNSEEN: Final[dict[tuple[str, str, str, str | None], str]] = {}
"""(table, state, happening, target; None for a row taken out) → why nobody can observe it."""


class Mutant(NamedTuple):
    """One broken row."""

    table: str
    state: str
    happening: str
    target: str | None
    """The wrong next state; None if the row is taken out."""

    def __str__(self) -> str:
        what = "taken out" if self.target is None else f"leads to {self.target}"
        return f"{self.table}: {self.happening} in {self.state} {what}"


def mutants(name: str) -> Iterator[Mutant]:
    """Every mutant of a table, in the order of its rows."""
    table: Table = getattr(exchange, name)
    states = dict.fromkeys([state for state, _ in table] + list(table.values()))
    for (state, happening), right in table.items():
        yield Mutant(name, state, happening, None)
        for target in states:
            if target != right:
                yield Mutant(name, state, happening, target)


def chosen(every: Sequence[Mutant], share: float) -> list[Mutant]:
    """The mutants at places that are evenly apart, so that the same share is always the same mutants."""
    count = max(1, round(len(every) * share))
    return [every[number * len(every) // count] for number in range(count)]


def falls(mutant: Mutant) -> bool:
    """Whether a test sees the mutant, in a child process that has everything imported already."""
    child = os.fork()
    if child == 0:
        os._exit(_run(mutant))
    end_s = time.monotonic() + TIMEOUT_S
    try:
        while time.monotonic() < end_s:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status) != pytest.ExitCode.OK
            time.sleep(0.02)
    except BaseException:
        _kill(child)
        raise
    _kill(child)
    return True


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _run(mutant: Mutant | None, tests: str = "") -> int:
    """In a child: break the row, and run its tests in silence; the exit code of pytest."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    if mutant is not None:
        table: Table = getattr(exchange, mutant.table)
        del table[mutant.state, mutant.happening]
        if mutant.target is not None:
            table[mutant.state, mutant.happening] = mutant.target
        tests = TESTS[mutant.table]
    return int(pytest.main([tests, "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]))


def _sound(name: str) -> bool:
    """Whether the tests of a table hold without any mutant: else every mutant would seem to fall."""
    child = os.fork()
    if child == 0:
        os._exit(_run(None, TESTS[name]))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == pytest.ExitCode.OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def sweep(every: Sequence[Mutant]) -> list[Mutant]:
    """The mutants that survived."""
    survived = []
    for number, mutant in enumerate(every, 1):
        fell = falls(mutant)
        _say(f"{number}/{len(every)} {'fell' if fell else 'SURVIVED'}  {mutant}")
        if not fell:
            survived.append(mutant)
    return survived


def main(arguments: Sequence[str]) -> int:
    """Break, run, say what survived, and return the exit code."""
    parser = argparse.ArgumentParser(description="Whether the life-cycle tables decide.")
    parser.add_argument("--share", type=float, default=1.0, help="The share of the mutants, by a fixed rule.")
    parser.add_argument("--table", choices=sorted(TESTS), help="Only this table.")
    parser.add_argument("--json", action="store_true", help="Print JSON.")
    asked = parser.parse_args(arguments)
    if not 0 < asked.share <= 1:
        parser.error("--share is above 0 and at most 1")
    os.chdir(Path(__file__).parents[2])
    names = [asked.table] if asked.table else list(TESTS)
    every = chosen([mutant for name in names for mutant in mutants(name)], asked.share)
    unsound = [name for name in names if not _sound(name)]
    if unsound:
        _say(f"the tests of {', '.join(unsound)} fail without any mutant")
        return 1
    survived = sweep(every)
    unexpected = [one for one in survived if tuple(one) not in UNSEEN]
    seen = [one for one in every if tuple(one) in UNSEEN and one not in survived]
    held = not unexpected and not seen
    if asked.json:
        listed = [{"mutant": one._asdict(), "why": UNSEEN.get(tuple(one))} for one in survived]
        print(json.dumps({"held": held, "mutants": len(every), "survived": listed}))
    else:
        for one in unexpected:
            print(f"no test sees it: {one}")
        for one in seen:
            print(f"it is seen, and stands in UNSEEN: {one}")
        print(f"{len(every) - len(survived)} of {len(every)} mutants fell, {len(survived)} survived")
        print("the tables decide" if held else "FAILED")
    return 0 if held else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
