"""`bench`: what an exchange costs beside its cryptography."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.cli.progress import display

Measures = Callable[[], dict[str, tuple[list[float], str]]]


@click.command("bench", epilog="\b\nExamples:\n  run_sim.py bench\n  run_sim.py bench --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def bench_command(places: Places, as_json: bool) -> None:
    """Measure the mesh on this machine: ratios against limits taken in the same run."""
    from mesh.bench import run_bench

    with display() as shown, output.only_json(as_json):
        figures = run_bench(shown.tell, _own_figures(places.nodes))
    if as_json:
        output.say_json(figures)
        return
    output.table(
        ("figure", "value", "unit", "lowest", "highest", "pairs"), map(_row, figures["figures"].items())
    )
    counts = ", ".join(f"{name} {count}" for name, count in figures["counts"].items())
    output.say(f"in each exchange: {counts}")


def _own_figures(nodes: str | None) -> Measures:
    """What the nodes' package measures besides, in its data.bench."""
    if nodes is None:
        return dict
    try:
        measures: Measures = importlib.import_module(f"{nodes}.data.bench").figures
    except ModuleNotFoundError:
        return dict
    return measures


def _row(item: tuple[str, dict[str, Any]]) -> tuple[str, ...]:
    name, figure = item
    lowest, highest = figure["spread"]
    return (
        name,
        _number(figure["value"]),
        figure["unit"],
        _number(lowest),
        _number(highest),
        str(figure["pairs"]),
    )


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
