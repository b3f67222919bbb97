"""The tour: the headline scenario, recorded and verified, and what to try next."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from mesh.cli import output, usage
from mesh.cli.app import Places
from mesh.cli.choosing import scenarios_by_name
from mesh.cli.progress import display
from mesh.cli.run import Interrupted, Plan, check_replaceable, run_one, say_interrupted, say_result
from mesh.errors import UsageError

FOLDER = Path("traces")


def tour(places: Places, *, as_json: bool) -> int:
    """Run the scenario that is marked as first, verify its trace, and say what to try next."""
    scenarios = scenarios_by_name(places.scenarios)
    first = next((one for one in scenarios.values() if one.first), None)
    if first is None:
        raise UsageError("no scenario is marked as the first to see; run one by its name; `list` has them")
    trace = _trace_path(first.name)
    plan = Plan(first, first.read_settings(()), 1, trace, None)
    try:
        with display() as shown, output.only_json(as_json):
            shown.what = first.name
            result = run_one(plan, places, shown.run)
    except Interrupted as interrupted:
        return say_interrupted(interrupted)
    verified = None if trace is None else _verify(trace)
    held = result.held and verified is not False
    if as_json:
        output.say_json({"runs": [result.as_json()], "held": held, "verified": verified})
    else:
        say_result(result)
        _say_verified(trace, verified)
        _say_next(trace)
    return 0 if held else 1


def _trace_path(name: str) -> Path | None:
    """Where the tour is recorded: in the current folder, if one can write there."""
    path = FOLDER / f"{name}.trace"
    try:
        FOLDER.mkdir(exist_ok=True)
        writable = os.access(FOLDER, os.W_OK)
        check_replaceable(path)
    except (OSError, UsageError):
        return None
    return path if writable else None


def _verify(path: Path) -> bool:
    from mesh.trace.reader import Trace
    from mesh.trace.verify import verify

    with Trace.open(path) as trace:
        return verify(trace).ok


def _say_verified(trace: Path | None, verified: bool | None) -> None:
    output.say()
    if trace is None:
        output.say(f"Not recorded: {FOLDER.absolute()} cannot be written to.")
    elif verified:
        output.say(f"Recorded in {trace}, and verified from the file alone: signatures, permits, ledgers.")
    else:
        output.say(f"Recorded in {trace}, which does NOT verify; see `trace verify {trace}`.")


def _say_next(trace: Path | None) -> None:
    run = usage.program()
    commands = [f"{run} list", f"{run} run --all"]
    if trace is not None:
        file = shlex.quote(str(trace))
        commands[1:1] = [f"{run} trace show {file}", *_history(run, trace, file)]
    commands += [f"{run} services", f"{run} new scenario flood"]
    output.say()
    output.say("What to try next / 次に試すこと:")
    for command in commands:
        output.say(f"  {command}")


def _history(run: str, path: Path, file: str) -> list[str]:
    from mesh.trace.reader import Trace

    with Trace.open(path) as trace:
        resident = next(trace.residents(), None)
    return [] if resident is None else [f"{run} trace history {file} --person {resident[0]}"]
