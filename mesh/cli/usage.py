"""Errors of usage, each one line on stderr: what is wrong, and how to fix it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import click

from mesh.cli import output

USAGE = 2


def report(text: str) -> int:
    """Print the line and return the exit code for it."""
    output.note(f"error: {' '.join(text.splitlines())}")
    return USAGE


def one_line(error: click.ClickException) -> str:
    """What click found wrong, with the help that says how it is right."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "run_sim.py"
    if isinstance(error, click.NoSuchOption):
        near = f"did you mean {error.possibilities[0]}?" if error.possibilities else f"see {path} --help"
        return f"there is no option {error.option_name}; {near}"
    said = error.format_message().strip().rstrip(".")
    return f"{said[:1].lower()}{said[1:]}; see {path} --help"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The text for a name that does not exist, with the nearest that does."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"there is no {what} {name!r}; did you mean {near[0]}?"
    return f"there is no {what} {name!r}; there are: {', '.join(names) or 'none'}"


def program() -> str:
    """What to type in front of a command, here and now, so that it works when it is copied."""
    script = sys.argv[0] or "run_sim.py"
    if not script.endswith(".py"):
        name, project = os.path.basename(script), Path(sys.prefix).parent
        if "UV" in os.environ and (project / "pyproject.toml").is_file():
            # Only uv's children have the name on their path.
            return f"uv run --project {shlex.quote(str(project))} {name}"
        return name if shutil.which(name) else shlex.quote(script)
    # uv tells its children where it is; it finds the project from the current folder upwards.
    home = Path(script).resolve().parent
    if "UV" in os.environ and home in (Path.cwd(), *Path.cwd().parents):
        return f"uv run {shlex.quote(script)}"
    python = "python" if shutil.which("python") == sys.executable else sys.executable
    return f"{shlex.quote(python)} {shlex.quote(script)}"
