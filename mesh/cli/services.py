"""`services`: the catalogue, with who may ask for what and why."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from mesh.cli import output
from mesh.cli.app import Places
from mesh.policy import LegalBasis


@click.command(
    "services",
    epilog="\b\nExamples:\n  run_sim.py services\n  run_sim.py services nursery.py --json",
)
@click.argument("file", metavar="[FILE.py]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def services_command(places: Places, file: str | None, as_json: bool) -> None:
    """Show every service and push: who offers it, who may ask for which items, and by which law.

    The nodes of FILE.py are shown besides; what a scenario adds with sim.allow is not known here.
    """
    from mesh.loading import load_file, modules_of, node_classes
    from mesh.services import catalogue

    with output.only_json(as_json):
        modules = [] if places.nodes is None else list(modules_of(places.nodes))
        if file is not None:
            modules.append(load_file(Path(file)))
        made = catalogue(node_classes(modules), _law(places.nodes))
    if as_json:
        output.say_json(made)
    elif output.on_terminal():
        _show(made)
    else:
        for line in lines(made):
            output.say(line)


def _law(nodes: str | None) -> Iterable[LegalBasis]:
    """The rows of the law that the nodes' package holds in its data.law."""
    if nodes is None:
        return ()
    try:
        law = importlib.import_module(f"{nodes}.data.law")
    except ModuleNotFoundError:
        return ()
    bases: Iterable[LegalBasis] = law.read_law().bases
    return bases


def lines(made: dict[str, Any]) -> Iterator[str]:
    """The catalogue as plain text."""
    for one in (*made["services"], *made["pushes"]):
        yield f"{one['name']}: {one['title']} / {one['title_ja']}"
        yield from (f"  {line}" for line in _details(one))


def _details(one: dict[str, Any]) -> Iterator[str]:
    yield f"{_kind(one)}; zone: {one['zone']}"
    for label in ("offered_by", "received_by"):
        for offer in one.get(label, ()):
            yield f"{label.replace('_', ' ')}: {_offer(offer)}"
    if one["items"]:
        yield f"items: {' '.join(one['items'])}"
    yield from _who(one)


def _kind(one: dict[str, Any]) -> str:
    return f"{one['kind']}, about one person" if one.get("personal") else str(one["kind"])


def _offer(offer: dict[str, Any]) -> str:
    roles = ", ".join(offer["roles"])
    return f"{offer['node']} ({roles})" if roles else str(offer["node"])


def _who(one: dict[str, Any]) -> Iterator[str]:
    for basis in one["bases"]:
        items = f" [{' '.join(basis['items'])}]" if basis["items"] else ""
        yield f"{basis['requester']} → {basis['provider']} for {basis['procedure']}{items}: {basis['citation']}"
    if not one["bases"]:
        open_ = one["kind"] == "service" and not one["personal"] and not one["restricted"]
        yield "open to every node that a zone path reaches" if open_ else "nobody: the law has no row for it"


def _show(made: dict[str, Any]) -> None:
    rows = [
        (f"{one['name']}\n{one['title']}\n{one['title_ja']}", "\n".join(_details(one)))
        for one in (*made["services"], *made["pushes"])
    ]
    output.table(("service or push", "who offers it, who may ask for what, and why"), rows, apart=True)
