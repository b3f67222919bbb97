"""The catalogue: every service and push, who offers it, and who may ask for what under which row of the law.

It reads the declarations of node classes and the rows of the law; it makes no node and runs nothing. What
`services`, the OpenAPI and the AsyncAPI document say, they all say from `offers`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from msgspec.structs import asdict

from mesh import builtin
from mesh.broker import Broker
from mesh.errors import CODES, Step
from mesh.names import BROKER, Zone
from mesh.node import Node
from mesh.policy import FOREVER_US, LegalBasis
from mesh.service import Declaration, EventType, NoticeType, PersonalService

RESTRICTED = (
    builtin.LEDGER_HEAD,
    builtin.LEDGER_ROWS,
    builtin.LEDGER_MARK,
    builtin.CONSENTS,
)
"""Services about no person that answer nobody without a row of the law."""
EVERY_NODE = "every node"

OF_LAW = ("item_not_permitted",)
OF_ASSESSMENT = ("assessment_missing",)
OF_CONSENT = ("consent_required", "consent_expired", "consent_withdrawn")
OF_SUBJECT = ("linkage_code_unknown", "linkage_code_foreign")
OF_BATCH = ("over_broad",)
_SOME = frozenset((*OF_LAW, *OF_ASSESSMENT, *OF_CONSENT, *OF_SUBJECT, *OF_BATCH))
OF_EVERY_EXCHANGE = tuple(
    name for name, code in CODES.items() if code.step is not Step.LEDGER and name not in _SOME
)
"""Codes with which anything can be refused. `ledger_broken` is found afterwards and refuses nothing."""

_JAPAN = timezone(timedelta(hours=9))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Offer:
    """One declaration, with the classes that offer or receive it and the rows of the law about it."""

    declaration: Declaration
    classes: tuple[type[Node], ...]
    bases: tuple[LegalBasis, ...]
    versions: tuple[int, ...]
    """Every version of it that somebody offers, side by side."""

    @property
    def name(self) -> str:
        """Its versioned name."""
        return self.declaration.name

    @property
    def version(self) -> int:
        """The number behind `.v`."""
        return split_version(self.name)[1]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(EVERY_NODE if cls is Node else cls.__name__ for cls in self.classes)

    @property
    def kind(self) -> str:
        """`service`, `event` or `notice`."""
        if isinstance(self.declaration, EventType | NoticeType):
            return "event" if isinstance(self.declaration, EventType) else "notice"
        return "service"

    @property
    def personal(self) -> bool:
        """Whether a question is about one person."""
        return isinstance(self.declaration, PersonalService)

    @property
    def restricted(self) -> bool:
        """Whether only callers may ask whom the law names."""
        return bool(self.bases) or self.personal or self.declaration in RESTRICTED

    @property
    def items(self) -> tuple[str, ...]:
        """The items that can be asked for."""
        return tuple(getattr(self.declaration, "items", ()))

    @property
    def zone(self) -> str:
        """The zone of those who offer it; `every zone` if every node does."""
        if Node in self.classes:
            return "every zone"
        return " ".join(zone for zone in Zone if any(cls.zone == zone for cls in self.classes))

    @property
    def procedures(self) -> tuple[str, ...]:
        """The procedures of its rows."""
        return tuple(sorted({basis.procedure for basis in self.bases}))

    @property
    def requester_roles(self) -> tuple[str, ...]:
        """Who asks, publishes or sends, as the rows name them."""
        hears = self.kind == "event"  # The subscriber of an event stands where a requester does.
        return tuple(sorted({basis.provider if hears else basis.requester for basis in self.bases}))

    @property
    def provider_roles(self) -> tuple[str, ...]:
        """Who answers or receives, as the rows name them, or as everybody knows."""
        if Node in self.classes:
            return ("*/*/*",)
        if Broker in self.classes:
            return (BROKER,)
        hears = self.kind == "event"
        return tuple(sorted({basis.requester if hears else basis.provider for basis in self.bases}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups of codes with which it can be refused, in the order of `CODE_GROUPS`."""
        holds = {
            "every-exchange": True,
            "law": self.restricted,
            "assessment": any(basis.assessment for basis in self.bases),
            "consent": any(basis.consent for basis in self.bases),
            "subject": self.personal or self.kind != "service",
            "batch": bool(getattr(self.declaration, "batched", False)),
        }
        return tuple(name for name in CODE_GROUPS if holds[name])

    @property
    def refusals(self) -> tuple[str, ...]:
        """The codes with which it can be refused."""
        return tuple(code for group in self.groups for code in CODE_GROUPS[group])


CODE_GROUPS = {
    "every-exchange": OF_EVERY_EXCHANGE,
    "law": OF_LAW,
    "assessment": OF_ASSESSMENT,
    "consent": OF_CONSENT,
    "subject": OF_SUBJECT,
    "batch": OF_BATCH,
}
"""Every code but `ledger_broken`, by what a service must have for it to occur."""


def split_version(name: str) -> tuple[str, int]:
    """`tax.income.v2` → (`tax.income`, 2)."""
    stem, _, version = name.rpartition(".v")
    return stem, int(version)


def offers(classes: Iterable[type[Node]], bases: Iterable[LegalBasis]) -> list[Offer]:
    """All that the classes and the mesh itself declare, by name and version."""
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
    versions: dict[str, list[int]] = {}
    for stem, version in sorted(map(split_version, found)):
        versions.setdefault(stem, []).append(version)
    return [
        Offer(
            declaration, tuple(offering), tuple(rows.get(name, ())), tuple(versions[split_version(name)[0]])
        )
        for name, (declaration, offering) in sorted(found.items(), key=lambda one: split_version(one[0]))
    ]


def catalogue(classes: Iterable[type[Node]], bases: Iterable[LegalBasis]) -> dict[str, Any]:
    """The offers as JSON: `{"services": [...], "pushes": [...]}`, by name and version.

    A service has name, version, versions, title, title_ja, kind, personal, restricted, zone, items,
    from_copy (each answer says as of when), offered_by (node classes), roles (where the law expects them: address patterns), refusals (codes) and
    bases (rows of the law); a push is received_by.
    """
    made = [_entry(offer) for offer in offers(classes, bases)]
    return {
        "services": [entry for entry in made if entry["kind"] == "service"],
        "pushes": [entry for entry in made if entry["kind"] != "service"],
    }


def _entry(offer: Offer) -> dict[str, Any]:
    asked = offer.kind == "service"
    entry: dict[str, Any] = {
        "name": offer.name,
        "version": offer.version,
        "versions": list(offer.versions),
        "title": offer.declaration.title,
        "title_ja": offer.declaration.title_ja,
        "kind": offer.kind,
        "zone": offer.zone,
        "items": list(offer.items),
        "offered_by" if asked else "received_by": list(offer.nodes),
        "roles": list(offer.provider_roles),
        "bases": [basis_row(basis) for basis in offer.bases],
        "refusals": list(offer.refusals),
    }
    if asked:
        entry["personal"] = offer.personal
        entry["restricted"] = offer.restricted
        entry["from_copy"] = getattr(offer.declaration, "from_copy", False)
    return entry


def basis_row(basis: LegalBasis) -> dict[str, Any]:
    """One row of the law as JSON; `from` and `until` only where it is bounded, in Japan's time."""
    row = asdict(basis)
    for bound, unbounded in (("from", 0), ("until", FOREVER_US)):
        moment_us = row.pop(f"{bound}_us")
        if moment_us != unbounded:
            moment = (_EPOCH + timedelta(microseconds=moment_us)).astimezone(_JAPAN)
            row[bound] = moment.isoformat(timespec="seconds")
    return row
