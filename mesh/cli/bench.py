"""`bench`: what an exchange costs beside its cryptography."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.cli.progress import display

Progress = Callable[[str, int, int], None]
Measures = Callable[[], dict[str, tuple[list[float], str]]]


@click.command(
    "bench",
    epilog="\b\nExamples:\n  run_sim.py bench\n  run_sim.py bench --json\n"
    "  run_sim.py bench --view traces/million.trace --messages 1000000",
)
@click.option(
    "--view",
    "trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Measure the viewer on a trace instead; it is made if it is not there.",
)
@click.option(
    "--messages",
    metavar="N",
    type=click.IntRange(min=4),
    default=1_000_000,
    show_default=True,
    help="How many that trace has, if it is made.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def bench_command(places: Places, trace: Path | None, messages: int, as_json: bool) -> None:
    """Measure the mesh on this machine: ratios against limits taken in the same run; or the viewer."""
    with display() as shown, output.only_json(as_json):
        figures = _measure(places, trace, messages, shown.tell)
    if as_json:
        output.say_json(figures)
        return
    output.table(
        ("figure", "value", "unit", "lowest", "highest", "pairs"), map(_row, figures["figures"].items())
    )
    counts = ", ".join(f"{name} {count}" for name, count in figures["counts"].items())
    output.say(f"in each exchange: {counts}" if trace is None else counts)


def _measure(places: Places, trace: Path | None, messages: int, tell: Progress) -> dict[str, Any]:
    if trace is None:
        from mesh.bench import run_bench

        return run_bench(tell, _own_figures(places.nodes))
    from mesh.cli.bench_view import make_trace, measure

    if not trace.exists():
        make_trace(trace, messages, tell)
    return measure(trace, places, tell)


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
