"""What a family register says to the other systems of its city: that an entry changed, and what it says now."""

from __future__ import annotations

from msgspec import Struct

from mesh import EventType, PersonalService
from mesh.builtin import Empty
from mesh.service import Date, Name


class RegisterEntry(Struct, frozen=True):
    """A person as the family register names them now."""

    name: Name
    born: Date


FAMILY_ENTRY = PersonalService(
    "family.entry.v1", Empty, RegisterEntry, title="Entry in the family register", title_ja="戸籍の記載"
)
FAMILY_CHANGE = EventType(
    "family.change.v1", title="An entry in the family register changed", title_ja="戸籍の記載の変更"
)
