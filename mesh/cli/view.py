"""`view`: traces in a browser, served on this machine alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.cli.choosing import scenarios_by_name
from mesh.cli.trace import FOLDER
from mesh.errors import UsageError


@click.command(
    "view",
    epilog="\b\nExamples:\n  run_sim.py view\n  run_sim.py view traces/child_allowance.trace --open\n"
    "  run_sim.py view ~/runs --port 8080",
)
@click.argument("path", metavar="[TRACE|DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port; by default a free one.")
@click.option("--open", "browser", is_flag=True, help="Open the page in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as JSON.")
@click.pass_obj
def view_command(places: Places, path: Path | None, port: int, browser: bool, as_json: bool) -> int:
    """Look at traces in a browser: one, or those of a folder; traces/ if none is named.

    The server is reached from this machine only. Ctrl-C ends it, and the runs that the page started.
    """
    from mesh.viewer.serving import serve

    path = Path(FOLDER) if path is None else path
    if path == Path(FOLDER):
        path.mkdir(exist_ok=True)
    if not path.exists():
        raise UsageError(f"there is no {path}; name a trace, or a folder of traces")

    def say(address: str) -> None:
        if as_json:
            output.say_json({"address": address})
        else:
            output.say(f"{address}  (Ctrl-C stops it)")
        sys.stdout.flush()  # Nothing else is printed, and somebody may wait for it behind a pipe.

    packages = (places.nodes, places.scenarios)
    serve(path, port, scenarios_by_name(places.scenarios), packages, say, browser=browser)
    return 0
