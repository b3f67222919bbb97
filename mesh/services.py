"""The catalogue: every service and push, who offers it, and who may ask for what under which row of the law.

It reads the declarations of node classes and the rows of the law; it makes no node and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import asdict

from mesh import builtin
from mesh.broker import Broker
from mesh.names import BROKER
from mesh.node import Node
from mesh.policy import FOREVER_US, LegalBasis
from mesh.service import Declaration, EventType, PersonalService, Service

RESTRICTED = (
    builtin.LEDGER_HEAD,
    builtin.LEDGER_ROWS,
    builtin.LEDGER_MARK,
    builtin.SUBSCRIPTION,
    builtin.CONSENTS,
)
"""Services about no person that are for the callers whom the law names all the same."""
EVERY_NODE = "every node"


def catalogue(classes: Iterable[type[Node]], bases: Iterable[LegalBasis]) -> dict[str, Any]:
    """All that the classes and the mesh itself declare: `{"services": [...], "pushes": [...]}`, by name.

    A service has name, version, title, title_ja, kind, personal, restricted, zone, items, offered_by
    (`{"node": class, "roles": [address patterns]}`) and bases (rows of the law); a push is received_by.
    """
    rows: dict[str, list[LegalBasis]] = {}
    for basis in bases:
        rows.setdefault(basis.service, []).append(basis)
    found: dict[str, tuple[Declaration, list[type[Node]]]] = {}
    every: list[type[Node]] = [Node, Broker, *classes]
    for cls in every:
        inherited = {} if cls is Node else Node.declarations
        for name, (declaration, _) in cls.declarations.items():
            if name not in inherited:
                found.setdefault(name, (declaration, []))[1].append(cls)
    entries = [
        _entry(declaration, offering, rows.get(name, []))
        for name, (declaration, offering) in sorted(found.items())
    ]
    return {
        "services": [entry for entry in entries if entry["kind"] == "service"],
        "pushes": [entry for entry in entries if entry["kind"] != "service"],
    }


def _entry(declaration: Declaration, offering: list[type[Node]], bases: list[LegalBasis]) -> dict[str, Any]:
    asked = isinstance(declaration, Service | PersonalService)
    hears = isinstance(declaration, EventType)  # the subscriber of an event stands where a requester does
    roles = sorted({basis.requester if hears else basis.provider for basis in bases})
    entry: dict[str, Any] = {
        "name": declaration.name,
        "version": int(declaration.name.rpartition(".v")[2]),
        "title": declaration.title,
        "title_ja": declaration.title_ja,
        "kind": "service" if asked else "event" if hears else "notice",
        "zone": _zone(offering),
        "items": list(getattr(declaration, "items", ())),
        "offered_by" if asked else "received_by": [_offer(cls, roles) for cls in offering],
        "bases": [_basis(basis) for basis in bases],
    }
    if asked:
        entry["personal"] = isinstance(declaration, PersonalService)
        entry["restricted"] = bool(bases) or entry["personal"] or declaration in RESTRICTED
    return entry


def _zone(offering: list[type[Node]]) -> str:
    """The zone of those who offer it; of all zones if every node does."""
    return "every zone" if Node in offering else " ".join(sorted({str(cls.zone) for cls in offering}))


def _offer(cls: type[Node], roles: list[str]) -> dict[str, Any]:
    """Who offers it: the class, and the address patterns that the rows give its side of the exchange."""
    if cls is Node:
        return {"node": EVERY_NODE, "roles": ["*/*/*"]}
    if cls is Broker:
        return {"node": cls.__name__, "roles": [BROKER]}
    return {"node": cls.__name__, "roles": roles}


def _basis(basis: LegalBasis) -> dict[str, Any]:
    row = asdict(basis)
    for bound, value in (("from_us", 0), ("until_us", FOREVER_US)):
        if row[bound] == value:
            del row[bound]
    return row
