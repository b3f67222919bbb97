"""How a party is named to a person: its member and its system, as the trace calls them, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from mesh.errors import MeshError
from mesh.names import member_of

Names: TypeAlias = Mapping[str, tuple[str, str]]
"""What members and systems are called, English and Japanese, by member and by address."""


def parts_of(names: Names, party: str) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Member and, for an address, system: in English and in Japanese; None where the trace names neither."""
    try:
        member = member_of(party)
    except MeshError:
        member = party
    known = [one for one in dict.fromkeys((member, party)) if one in names]
    if not known:
        return None
    system = party.removeprefix(f"{member}/")
    whole = [names.get(member, (member, member))]
    if party != member:
        whole.append(names.get(party, (system, system)))
    return tuple(english for english, _ in whole), tuple(japanese for _, japanese in whole)


def name_of(names: Names, party: str) -> tuple[str, str] | None:
    """The same, each in one line."""
    found = parts_of(names, party)
    return None if found is None else (" · ".join(found[0]), "\u3000".join(found[1]))
