"""`new`: starts a node or a scenario of one's own from a template, as one file that runs."""

from __future__ import annotations

import keyword
import re
import shlex
from pathlib import Path

import click

from mesh.cli import output, usage
from mesh.cli.app import LazyGroup
from mesh.errors import UsageError
from mesh.whole import whole_file

TEMPLATES = Path(__file__).parent.parent / "templates"
RESERVED = ("mesh", "nodes", "scenarios", "msgspec")
"""A file of that name would hide what it imports."""
_NAME = re.compile(r"[a-z](?:[a-z0-9]|[-_](?=[a-z0-9])){0,29}")

new_command = LazyGroup(
    "new",
    modules={"node": "new", "scenario": "new"},
    help="Start a node or a scenario of your own, as one file that runs.",
    epilog="\b\nExamples:\n  run_sim.py new node nursery\n  run_sim.py new scenario flood --into ~/mine",
)


@click.command("node", epilog="\b\nExamples:\n  run_sim.py new node nursery --into ~/mine")
@click.argument("name")
@click.option("--into", metavar="DIR", default=".", help="The folder; the current one by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def node_command(name: str, into: str, as_json: bool) -> None:
    """Write NAME.py: a node with its own database, a service, and a scenario that tries it."""
    path = _write("node", name, Path(into))
    _say_next(path, ["services", "run"], as_json=as_json)


@click.command("scenario", epilog="\b\nExamples:\n  run_sim.py new scenario flood --into ~/mine")
@click.argument("name")
@click.option("--into", metavar="DIR", default=".", help="The folder; the current one by default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def scenario_command(name: str, into: str, as_json: bool) -> None:
    """Write NAME.py: a scenario with a node, a lawful request and an expected refusal."""
    path = _write("scenario", name, Path(into))
    _say_next(path, ["run"], as_json=as_json)


def _write(kind: str, name: str, folder: Path) -> Path:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot name a {kind}; use small letters, digits and single - or _, at most 30: day-nursery"
        )
    stem = name.replace("-", "_")
    if keyword.iskeyword(stem) or stem in RESERVED:
        raise UsageError(f"{name!r} cannot name a {kind}; Python or the mesh uses the word, choose another")
    words = stem.split("_")
    text = (
        (TEMPLATES / f"{kind}.txt")
        .read_text(encoding="utf-8")
        .format(
            name="-".join(words),
            title=" ".join(words).capitalize(),
            Class="".join(word.capitalize() for word in words),
        )
    )
    path = folder / f"{stem}.py"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path, new=True) as file:
            file.write(text.encode())
    except FileExistsError:
        raise UsageError(
            f"{path} exists and stays as it is; choose another name or --into another folder"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}; --into a folder that you can write to"
        ) from None
    return path


def _say_next(path: Path, commands: list[str], *, as_json: bool) -> None:
    next_ = [f"{usage.program()} {command} {shlex.quote(str(path))}" for command in commands]
    if as_json:
        output.say_json({"path": str(path), "next": next_})
        return
    output.say(f"wrote {path}")
    output.say("Read it, change it, and try:")
    for line in next_:
        output.say(f"  {line}")
