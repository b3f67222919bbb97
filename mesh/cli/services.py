"""`services`: the catalogue, with who may ask for what and why; or the same as OpenAPI or AsyncAPI."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from mesh.cli import output
from mesh.cli.app import Places, version
from mesh.errors import UsageError
from mesh.node import Node
from mesh.policy import LegalBasis, Procedure

FLAGS = {
    "same_member": "inside one body only",
    "consent": "with the person's consent",
    "assessment": "with a published assessment",
    "undisclosed": "not shown to the person",
}
"""What a row of the law asks besides, as the catalogue says it."""


@click.command(
    "services",
    epilog="\b\nExamples:\n  run_sim.py services\n  run_sim.py services nursery.py --json\n"
    "  run_sim.py services --openapi > openapi.json\n  run_sim.py services --asyncapi > asyncapi.json",
)
@click.argument("file", metavar="[FILE.py]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--openapi", "as_openapi", is_flag=True, help="Print an OpenAPI 3.1 document of the services.")
@click.option("--asyncapi", "as_asyncapi", is_flag=True, help="Print an AsyncAPI 3.0 document of all of it.")
@click.pass_obj
def services_command(
    places: Places, file: str | None, as_json: bool, as_openapi: bool, as_asyncapi: bool
) -> None:
    """Show every service and push: who offers it, who may ask for which items, and by which law.

    The nodes of FILE.py are shown besides; what a scenario adds with sim.allow is not known here.
    """
    if as_json + as_openapi + as_asyncapi > 1:
        raise UsageError("--json, --openapi and --asyncapi each print one document; choose one of them")
    with output.only_json(as_json or as_openapi or as_asyncapi):
        classes = _classes(places.nodes, file)
        bases, procedures = _law(places.nodes)
        made = _document(classes, bases, procedures, as_openapi=as_openapi, as_asyncapi=as_asyncapi)
    if as_json or as_openapi or as_asyncapi:
        output.say_json(made)
    elif output.on_terminal():
        _show(made)
    else:
        for line in lines(made):
            output.say(line)


def _document(
    classes: list[type[Node]],
    bases: Iterable[LegalBasis],
    procedures: Iterable[Procedure],
    *,
    as_openapi: bool,
    as_asyncapi: bool,
) -> dict[str, Any]:
    if as_openapi:
        from mesh.openapi import openapi

        return openapi(classes, bases, procedures, version=version())
    if as_asyncapi:
        from mesh.asyncapi.document import asyncapi

        return asyncapi(classes, bases, version=version())
    from mesh.services import catalogue

    return catalogue(classes, bases)


def _classes(nodes: str | None, file: str | None) -> list[type[Node]]:
    """The node classes of the nodes' package and of installed ones, and of a file."""
    from mesh.loading import load_file, modules_of, node_classes
    from mesh.plugins import NODES, packages

    modules = [] if nodes is None else list(modules_of(nodes))
    modules += [module for package in packages(NODES) for module in modules_of(package)]
    if file is not None:
        modules.append(load_file(Path(file)))
    return node_classes(modules)


def _law(nodes: str | None) -> tuple[Iterable[LegalBasis], Iterable[Procedure]]:
    """The rows of the law and the procedures that the nodes' package holds in its data.law, and installed ones in data."""
    if nodes is None:
        return (), ()
    try:
        law = importlib.import_module(f"{nodes}.data.law")
    except ModuleNotFoundError:
        return (), ()
    from mesh.loading import folders_of
    from mesh.plugins import NODES, packages

    added = [folder / "data" for package in packages(NODES) for folder in folders_of(package)]
    laws = [law.read_law(), *(law.read_law(folder) for folder in added if folder.is_dir())]
    return [row for one in laws for row in one.bases], [row for one in laws for row in one.procedures]


def lines(made: dict[str, Any]) -> Iterator[str]:
    """The catalogue as plain text."""
    for one in (*made["services"], *made["pushes"]):
        yield f"{one['name']}: {one['title']} / {one['title_ja']}"
        yield from (f"  {line}" for line in _details(one))


def _details(one: dict[str, Any]) -> Iterator[str]:
    yield f"{_kind(one)}; zone: {one['zone']}; version {_version(one)}"
    for label in ("offered_by", "received_by"):
        if label in one:
            at = f" at {', '.join(one['roles'])}" if one["roles"] else ""
            yield f"{label.replace('_', ' ')}: {', '.join(one[label])}{at}"
    if one["items"]:
        yield f"items: {' '.join(one['items'])}"
    if one.get("from_copy"):
        yield "from a copy: each answer says as of when (副本による回答。いつ時点かを明示)"
    yield from _who(one)


def _kind(one: dict[str, Any]) -> str:
    return f"{one['kind']}, about one person" if one.get("personal") else str(one["kind"])


def _version(one: dict[str, Any]) -> str:
    others = ", ".join(f"v{version}" for version in one["versions"] if version != one["version"])
    return f"{one['version']}, side by side with {others}" if others else str(one["version"])


def _who(one: dict[str, Any]) -> Iterator[str]:
    for basis in one["bases"]:
        items = f" [{' '.join(basis['items'])}]" if basis["items"] else ""
        yield (
            f"{basis['id']}: {basis['requester']} → {basis['provider']} for {basis['procedure']}{items}: "
            f"{'; '.join((basis['citation'], *_conditions(basis)))}"
        )
    if not one["bases"]:
        open_ = one["kind"] == "service" and not one["personal"] and not one["restricted"]
        yield "open to every node that a zone path reaches" if open_ else "nobody: the law has no row for it"


def _conditions(basis: dict[str, Any]) -> Iterator[str]:
    """When and how a row holds, where it does not hold always and for one person at a time."""
    for bound in ("from", "until"):
        if bound in basis:
            yield f"{bound} {basis[bound][:10]}"
    for flag, said in FLAGS.items():
        if basis[flag]:
            yield said
    if basis["subjects_max"] > 1:
        yield f"up to {basis['subjects_max']} persons a question"


def _show(made: dict[str, Any]) -> None:
    rows = [
        (f"{one['name']}\n{one['title']}\n{one['title_ja']}", "\n".join(_details(one)))
        for one in (*made["services"], *made["pushes"])
    ]
    output.table(("service or push", "who offers it, who may ask for what, and why"), rows, apart=True)
