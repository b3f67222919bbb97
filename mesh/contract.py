"""What the OpenAPI and the AsyncAPI document share: schemas under stable names, and the fields beside them.

Rules kept here:
1. A schema is named after the declaration that it belongs to (`tax.income.v1.IncomeQuery`), so that two
   services may each have an `IncomeQuery`, and a new service renames no other's.
2. Nothing is written down twice: every field comes from the declaration, the class or the row of the law.
3. Neither standard has a place for law, zones or Japanese; those stand in `x-` fields of both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from mesh.errors import CODES
from mesh.services import CODE_GROUPS, Offer, basis_row

MESH = "mesh"
"""Owner of the schemas that belong to no service."""
REASONS = "codes.reason"
"""The schema of the codes that stand under a refusal's seal."""


_GROUPS = {
    "every-exchange": "Codes with which any exchange can be refused.",
    "law": "Where rows of the law say which items may be asked for.",
    "assessment": "Where a row needs a published assessment (特定個人情報保護評価).",
    "consent": "Where a row needs the person's consent.",
    "subject": "Codes of a question about one person.",
    "batch": "Codes of a question about several persons.",
}
"""The groups of codes in words."""


def info(title: str, title_ja: str, version: str, description: str, description_ja: str) -> dict[str, Any]:
    """The document's `info`: what it is, in both languages."""
    return {
        "title": title,
        "version": version,
        "description": f"{description}\n\n{description_ja}",
        "license": {"name": "MIT"},
        "x-title-ja": title_ja,
    }


def reference(owner: str, name: str) -> dict[str, Any]:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{owner}.{name}"}


def schemas_of(owner: str, types: Iterable[type]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A reference to the schema of each type, and the component schemas that they need, by name."""
    template = reference(owner, "{name}")["$ref"]
    references, made = msgspec.json.schema_components(types, ref_template=template)
    return list(references), {f"{owner}.{name}": schema for name, schema in made.items()}


def code_schema(offer: Offer) -> dict[str, Any]:
    """The codes with which an offer can be refused."""
    groups = [reference(MESH, f"codes.{group}") for group in offer.groups]
    return groups[0] if len(groups) == 1 else {"anyOf": groups}


def code_schemas(offers: Iterable[Offer]) -> dict[str, Any]:
    """The groups of codes that the offers need, as component schemas; each code with who can mend it.

    What a refusal never says openly stands apart: it is what its reason may be.
    """
    used = {group for offer in offers for group in offer.groups}
    groups = {
        f"{MESH}.codes.{group}": _codes(_GROUPS[group], (name for name in codes if not CODES[name].sealed))
        for group, codes in CODE_GROUPS.items()
        if group in used
    }
    sealed = (name for name, code in CODES.items() if code.sealed)
    return groups | {
        f"{MESH}.{REASONS}": _codes("Why a provider gives no answer, told to its requester alone.", sealed)
    }


def _codes(description: str, names: Iterable[str]) -> dict[str, Any]:
    known = list(names)
    return {
        "description": description,
        "type": "string",
        "enum": known,
        "x-codes": {name: _code(name) for name in known},
    }


def _code(name: str) -> dict[str, Any]:
    code = CODES[name]
    return {
        "step": code.step.title,
        "step-ja": code.step.title_ja,
        "fault": str(code.fault),
        "definite": code.definite,
        "again": code.again.title,
        "text": code.text,
        "text-ja": code.text_ja,
        "fix": code.fix,
    }


def fields_beside(offer: Offer) -> dict[str, Any]:
    """What neither standard has a field for: Japanese title, zone, who offers it, items, and the law."""
    return {
        "x-title-ja": offer.declaration.title_ja,
        "x-zone": offer.zone,
        "x-offered-by" if offer.kind == "service" else "x-received-by": list(offer.nodes),
        "x-roles": list(offer.provider_roles),
        "x-items": list(offer.items),
        "x-versions": list(offer.versions),
        "x-legal-bases": [_short(basis_row(basis)) for basis in offer.bases],
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the law without what is as it mostly is, and without the name that stands above it."""
    usual = {
        "same_member": False,
        "consent": False,
        "assessment": False,
        "undisclosed": False,
        "subjects_max": 1,
    }
    return {
        key: value for key, value in row.items() if key != "service" and (key, value) not in usual.items()
    }


def law_of(offer: Offer) -> str:
    """The rows of the law as a Markdown list, for tools that show no `x-` fields."""
    rows = map(basis_row, offer.bases)
    return "\n".join(
        f"- `{row['requester']}` → `{row['provider']}`, {row['procedure']}: {row['citation']}{_dates(row)}"
        for row in rows
    )


def _dates(row: dict[str, Any]) -> str:
    bounds = [f"{bound} {row[bound][:10]}" for bound in ("from", "until") if bound in row]
    return f" ({', '.join(bounds)})" if bounds else ""


def address_pattern(roles: Iterable[str]) -> str:
    """A pattern for the addresses that have one of the roles."""
    parts = [re.escape(role).replace(r"\*", "[a-z0-9-]+").replace(r"\-", "-") for role in roles]
    return f"^({'|'.join(parts or ['[a-z]+/[a-z0-9-]+/[a-z0-9-]+'])})$"


def items_pattern(items: Iterable[str]) -> str:
    """A pattern for the `items` attribute: some of the names, with single spaces."""
    one = f"({'|'.join(map(re.escape, items))})"
    return f"^{one}( {one})*$"
