"""`list`: the scenarios and the fault plans that ship with the simulator."""

from __future__ import annotations

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.cli.choosing import plans_by_name, scenarios_by_name
from mesh.faults import Plan
from mesh.scenario import Scenario


@click.command(
    "list",
    epilog="\b\nExamples:\n  run_sim.py list\n  run_sim.py list --json",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(places: Places, as_json: bool) -> None:
    """List the scenarios, with the rules and sources they stand on and the settings they take; then what --faults takes."""
    scenarios = scenarios_by_name(places.scenarios).values()
    plans = plans_by_name(places.scenarios).values()
    if as_json:
        listed = {
            "scenarios": [one.as_json() for one in scenarios],
            "faults": [one.as_json() for one in plans],
        }
        output.say_json(listed)
        return
    if output.on_terminal():
        output.table(("name, settings", "title", "rules, sources"), map(_short_row, scenarios), apart=True)
    else:
        output.table(("name", "title", "rules", "sources", "settings"), map(_row, scenarios))
    if plans:
        output.say()
        output.table(
            ("faults", "title", "what goes wrong"),
            map(_plan_row, plans),
            title="run --faults NAME",
            apart=True,
        )


def _row(one: Scenario) -> tuple[str, ...]:
    settings = " ".join(f"{setting.name}={setting.default}" for setting in one.settings)
    rules = " ".join(str(rule) for rule in one.rules)
    return (
        one.name,
        f"{one.title} / {one.title_ja}",
        rules or "-",
        "; ".join(one.sources) or "-",
        settings or "-",
    )


def _short_row(one: Scenario) -> tuple[str, ...]:
    """The same in three columns, which a terminal has room for."""
    settings = [f"  {setting.name}={setting.default}" for setting in one.settings]
    rules = f"rules {' '.join(str(rule) for rule in one.rules)}" if one.rules else "no rule"
    return "\n".join([one.name, *settings]), f"{one.title}\n{one.title_ja}", "\n".join([rules, *one.sources])


def _plan_row(one: Plan) -> tuple[str, ...]:
    lines = "\n" if output.on_terminal() else "; "
    return one.name, f"{one.title} / {one.title_ja}", lines.join(fault.said[0] for fault in one.faults)
