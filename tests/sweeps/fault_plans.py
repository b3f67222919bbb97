"""Whether every scenario holds while lines are lost, doubled and slow: twenty scenarios, three fault plans, five seeds.

    uv run python tests/sweeps/fault_plans.py
    uv run python tests/sweeps/fault_plans.py --seeds 1-2 --share 0.2 --json
    uv run python tests/sweeps/fault_plans.py --only disaster,moving --plans slow_lines

A run holds if each expectation does that its scenario does not name as impossible under the plan; it may name one for each
plan. Exit code 1 if a run does not.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mesh.loading import plans_of, scenarios_of
from mesh.runner import run_scenario

PLANS = ("packet_loss", "duplicates", "slow_lines")
SEEDS = "1-5"
UNTRIED_MAX = 1
"""Expectations that a scenario may name as impossible under one plan."""
SMALLER = {"nationwide_notice": {"municipalities": 60}}
"""Settings of a scenario that would take most of the time; all 1,741 municipalities do the same as sixty."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run."""

    scenario: str
    plan: str
    seed: int
    held: bool
    messages: int
    failed: tuple[str, ...]
    untried: tuple[str, ...]
    error: str | None


def play(scenario: str, plan: str, seed: int) -> Outcome:
    """One run; what its nodes log is not shown."""
    with contextlib.redirect_stderr(io.StringIO()):
        result = run_scenario(
            scenarios_of("scenarios")[scenario],
            seed=seed,
            settings=SMALLER.get(scenario),
            nodes="nodes",
            faults=plans_of("scenarios")[plan],
        )
    untried = tuple(one.text for one in result.expectations if not one.tried)
    failed = tuple(one.text for one in result.expectations if one.failed)
    held = result.held and len(untried) <= UNTRIED_MAX
    return Outcome(scenario, plan, seed, held, result.messages, failed, untried, result.error)


def share_of(runs: list[tuple[str, str, int]], share: float) -> list[tuple[str, str, int]]:
    """So large a part of the runs, spread evenly over all."""
    return [one for number, one in enumerate(runs) if int((number + 1) * share) > int(number * share)]


def main(words: list[str] | None = None) -> int:
    """Run what was asked for and say what did not hold."""
    names = tuple(scenarios_of("scenarios"))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(names), help="scenarios, with commas between")
    parser.add_argument("--plans", default=",".join(PLANS), help="fault plans, with commas between")
    parser.add_argument("--seeds", default=SEEDS, help="one seed, or first-last")
    parser.add_argument("--share", type=float, default=1.0, help="the part of the runs to make, from 0 to 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    first, _, last = args.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    runs = share_of(list(product(args.plans.split(","), seeds, args.only.split(","))), args.share)
    outcomes: list[Outcome] = []
    for number, (plan, seed, scenario) in enumerate(runs, 1):
        outcomes.append(play(scenario, plan, seed))
        one = outcomes[-1]
        print(
            f"{number}/{len(runs)} {plan} {seed} {scenario}: {'held' if one.held else 'FAILED'}",
            file=sys.stderr,
        )
        if not args.json and not one.held:
            print(f"{plan} {seed} {scenario}")
            print("".join(f"  failed: {text}\n" for text in one.failed), end="")
            print("".join(f"  not tried: {text}\n" for text in one.untried), end="")
            if one.error:
                print(f"  broke off: {one.error}")
    held = sum(one.held for one in outcomes)
    if args.json:
        print(
            json.dumps(
                {"runs": len(outcomes), "held": held, "outcomes": [asdict(one) for one in outcomes]}, indent=1
            )
        )
    else:
        untried = sorted({(one.scenario, one.plan, text) for one in outcomes for text in one.untried})
        print("".join(f"not tried under {plan}: {name}: {text}\n" for name, plan, text in untried), end="")
        print(f"{held} of {len(outcomes)} runs held")
    return 0 if held == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
