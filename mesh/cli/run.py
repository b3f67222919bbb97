"""`run`: plays scenarios, records them if asked, and says what held."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from mesh.cli import completing, output
from mesh.cli.app import Places
from mesh.cli.choosing import choose, choose_faults, plans_by_name, scenarios_by_name, settle
from mesh.cli.progress import display
from mesh.clock.ending import ending
from mesh.errors import UsageError
from mesh.faults import Plan as FaultPlan
from mesh.reach import Reach
from mesh.report import Result, Totals
from mesh.scenario import SEED_MAX, Scenario


class Seed(click.IntRange):
    """A whole number that SQLite can hold."""

    name = "integer"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to come."""

    scenario: Scenario
    settings: dict[str, Any]
    seed: int
    trace: Path | None
    data: Path | None
    faults: FaultPlan | None = None


class Interrupted(Exception):
    """A person ended the run; its trace, if any, is closed and readable."""

    def __init__(self, trace: Path | None) -> None:
        self.trace = trace
        super().__init__()


@click.command(
    "run",
    epilog="\b\nExamples:\n  run_sim.py run child_allowance --set children=3 --trace allowance.trace\n"
    "  run_sim.py run my_scenario.py --seed 7 --json\n  run_sim.py run birth --faults packet_loss\n  run_sim.py run --all --trace traces/\n"
    "  run_sim.py run --all --report report.html\n\nThe fault plans are listed by `run_sim.py list`.",
)
@click.argument("names", metavar="[NAME|FILE.py]...", nargs=-1, shell_complete=completing.scenarios)
@click.option("--all", "every", is_flag=True, help="Run every scenario that ships with the simulator.")
@click.option(
    "--seed",
    type=Seed(-SEED_MAX, SEED_MAX),
    default=1,
    show_default=True,
    help="Where chance begins.",
)
@click.option("--set", "pairs", metavar="KEY=VALUE", multiple=True, help="Change a setting of the scenario.")
@click.option(
    "--faults",
    "faulty",
    metavar="NAME|FILE.toml",
    shell_complete=completing.plans,
    help="Let things go wrong, by a fault plan of `list` or your own.",
)
@click.option(
    "--trace",
    metavar="FILE|DIR/",
    help="Record the run; into a folder as NAME-SEED.trace, with the faults' name behind the seed if there are any.",
)
@click.option("--data", metavar="DIR", help="Keep the nodes' databases as files in a new or empty folder.")
@click.option("--report", metavar="FILE.html", help="Write one page about all of it, in both languages.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def run_command(
    places: Places,
    names: tuple[str, ...],
    every: bool,
    seed: int,
    pairs: tuple[str, ...],
    faulty: str | None,
    trace: str | None,
    data: str | None,
    report: str | None,
    as_json: bool,
) -> int:
    """Run scenarios, by name or from files anywhere, and report what held.

    The same scenario, seed, settings and faults give the same run, byte for byte.
    """
    with output.only_json(as_json):
        scenarios = choose(names, places.scenarios)
        if every:
            scenarios = [*scenarios_by_name(places.scenarios).values(), *scenarios]
        if not scenarios:
            raise UsageError("run needs a scenario; give a name of `list`, a .py file, or --all")
        faults = None if faulty is None else choose_faults(faulty, places.scenarios)
        plans = _plan(scenarios, seed, pairs, trace, data, faults)
        page = None if report is None else _page_path(report, plans)
    try:
        results = _run(plans, places, as_json=as_json)
    except Interrupted as interrupted:
        return say_interrupted(interrupted)
    if page is not None:
        _write_page(page, plans, results, places)
    held = all(result.held for result in results)
    if as_json:
        totals = asdict(Totals.of(results))
        output.say_json({"runs": [result.as_json() for result in results], "held": held, "totals": totals})
    elif len(results) > 1:
        _say_summary(results)
    return 0 if held else 1


def say_interrupted(interrupted: Interrupted) -> int:
    """Tell where the trace is, and return the exit code."""
    if interrupted.trace is None:
        output.note(f"{ending.words}; nothing was recorded: --trace FILE keeps what happened so far")
    else:
        output.note(f"{ending.words}; the trace up to here is {interrupted.trace}")
    return ending.code


def _plan(
    scenarios: list[Scenario],
    seed: int,
    pairs: tuple[str, ...],
    trace: str | None,
    data: str | None,
    faults: FaultPlan | None,
) -> list[Plan]:
    """Everything that can be wrong with what was typed is found here, before anything is written."""
    several = len(scenarios) > 1
    if data == "":
        raise UsageError("--data names no folder; leave it out, or name a new or an empty folder")
    if several and (trace is not None or data is not None):
        names = [one.name for one in scenarios]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise UsageError(f"two of these scenarios are named {double}; record one at a time")
    return [
        Plan(
            one,
            settings,
            seed,
            _trace_path(trace, one, seed, faults, several=several),
            None if data is None else Path(data) / f"{one.name}-{seed}" if several else Path(data),
            faults,
        )
        for one, settings in zip(scenarios, settle(scenarios, pairs), strict=True)
    ]


def _trace_path(
    trace: str | None, scenario: Scenario, seed: int, faults: FaultPlan | None, *, several: bool
) -> Path | None:
    if trace is None:
        return None
    if not trace:
        raise UsageError("--trace names no place; leave it out, or name a file or a folder")
    path = Path(trace)
    if trace.endswith("/") or path.is_dir():
        path /= scenario.trace_name(seed, faults)
    elif several:
        raise UsageError(f"{trace} is one file for several scenarios; name a folder: --trace {trace}/")
    check_replaceable(path)
    return path


def check_replaceable(path: Path) -> None:
    """`UsageError` if another run writes there, or what stands there is no trace: it may be somebody's work, or a device."""
    from mesh.trace.claim import claimed, is_claimed
    from mesh.trace.schema import APPLICATION_ID

    if is_claimed(path):
        raise claimed(path)
    if not path.exists():
        return
    if not path.is_file():
        raise UsageError(f"{path} is no file that a trace could replace; name another file")
    with path.open("rb") as file:
        header = file.read(72)
    if header and header[68:] != APPLICATION_ID.to_bytes(4, "big"):
        raise UsageError(f"{path} exists and is no trace; name another file")


def _page_path(report: str, plans: list[Plan]) -> Path:
    from mesh.page.write import check_writable

    path = Path(report)
    check_writable(path)
    if any(plan.trace is not None and plan.trace.resolve() == path.resolve() for plan in plans):
        raise UsageError(f"{path} is named for the trace too; name another file for the report")
    return path


def _write_page(path: Path, plans: list[Plan], results: list[Result], places: Places) -> None:
    from mesh.page.write import Section, write

    sections = [
        Section(plan.scenario, result, _command(plan, places), _digest(plan.trace))
        for plan, result in zip(plans, results, strict=True)
    ]
    write(path, sections)
    output.note(f"report: {path}")


def _command(plan: Plan, places: Places) -> str:
    """What to type for the same run, from the repository."""
    scenario = plan.scenario
    shipped = scenario.run.__module__.startswith(f"{places.scenarios}.")
    words = ["uv", "run", "run_sim.py", "run", scenario.name if shipped else f"{scenario.name}.py"]
    words += ["--seed", str(plan.seed)]
    for name, value in plan.settings.items():
        words += ["--set", f"{name}={value}"]
    if plan.faults is not None:
        known = plan.faults in plans_by_name(places.scenarios).values()
        words += ["--faults", plan.faults.name if known else f"{plan.faults.name}.toml"]
    if plan.trace is not None:
        words += ["--trace", plan.trace.name]
    return shlex.join(words)


def _digest(trace: Path | None) -> str | None:
    """SHA-256 over what the trace says, as `trace digest` prints it."""
    if trace is None:
        return None
    from mesh.trace.digest import digest
    from mesh.trace.reader import Trace

    with Trace.open(trace) as opened:
        return digest(opened)


def _run(plans: list[Plan], places: Places, *, as_json: bool) -> list[Result]:
    results = []
    with display(len(plans)) as shown:
        for number, plan in enumerate(plans):
            shown.done = number
            shown.what = plan.scenario.name
            with output.only_json(as_json):
                results.append(run_one(plan, places, shown.run))
            if not as_json:
                shown.stop()
                if number:
                    output.say()
                say_result(results[-1])
    return results


def run_one(plan: Plan, places: Places, progress: Any = None) -> Result:
    """Run one plan; `Interrupted` after Ctrl-C."""
    from mesh.runner import run_scenario

    try:
        return run_scenario(
            plan.scenario,
            seed=plan.seed,
            settings=plan.settings,
            trace=plan.trace,
            data=plan.data,
            nodes=places.nodes,
            faults=plan.faults,
            progress=progress,
        )
    except KeyboardInterrupt:
        raise Interrupted(plan.trace) from None


def say_result(result: Result) -> None:
    """The report of one run: tables on a terminal, the plain report in a pipe."""
    if output.on_terminal():
        from mesh.cli.rendering import render

        render(result, output.console())
    else:
        for line in result.as_lines():
            output.say(line)
    if result.trace:
        output.note(f"trace: {result.trace}")


def _say_summary(results: list[Result]) -> None:
    output.say()
    output.table(
        (
            "scenario", "held", "expectations", "messages", "refusals", "papers saved", "fees saved",
            "visits saved", "push reach", "fell back",
        ),
        [*(_summary(result.scenario, Totals.of([result])) for result in results), _summary("total", Totals.of(results))],
        title="All scenarios / 全シナリオ",
    )  # fmt: skip


def _summary(name: str, sums: Totals) -> tuple[str, ...]:
    """One line of the table: a run, or all of them."""
    one = "held" if sums.runs_held else "FAILED"
    push = sums.push
    mistaken = f", {push.mistaken} mistaken" if push.mistaken else ""
    return (
        name,
        one if sums.runs == 1 else f"{sums.runs_held}/{sums.runs}",
        f"{sums.expectations_held}/{sums.expectations}",
        f"{sums.messages:,}",
        str(sums.refusals),
        str(sums.papers),
        f"{sums.fees_saved_yen:,} yen",
        str(sums.visits_saved),
        f"{push.notified:,}/{push.eligible:,}{mistaken}" if push != Reach() else "",
        str(sums.fallbacks),
    )
