"""`list`: the scenarios that ship with the simulator."""

from __future__ import annotations

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.cli.choosing import scenarios_by_name
from mesh.scenario import Scenario


@click.command(
    "list",
    epilog="\b\nExamples:\n  run_sim.py list\n  run_sim.py list --json",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def list_command(places: Places, as_json: bool) -> None:
    """List the scenarios, with the rules and sources they stand on and the settings they take."""
    scenarios = scenarios_by_name(places.scenarios).values()
    if as_json:
        output.say_json({"scenarios": [one.as_json() for one in scenarios]})
        return
    if output.on_terminal():
        output.table(("name, settings", "title", "rules, sources"), map(_short_row, scenarios), apart=True)
    else:
        output.table(("name", "title", "rules", "sources", "settings"), map(_row, scenarios))


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
