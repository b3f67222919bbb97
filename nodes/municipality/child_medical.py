"""Medical subsidy for children (子ども医療費助成): notes newborns to whom the certificate (受給者証) is offered.

It rests on each municipality's ordinance, so it stands apart from the standard systems. A note offers: the
parent applies.
"""

from __future__ import annotations

from typing import ClassVar

from mesh import Caller, Event, Node, receives
from mesh.names import Zone
from nodes.municipality.resident import BIRTH


class ChildMedicalSubsidy(Node):
    """The system 子ども医療費助成 of one municipality."""

    title: ClassVar[str] = "Medical subsidy for children"
    title_ja: ClassVar[str] = "子ども医療費助成"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = "CREATE TABLE offer(child TEXT PRIMARY KEY, event TEXT NOT NULL)"

    @receives(BIRTH)
    async def note_newborn(self, event: Event, caller: Caller, person: str) -> None:
        """Note that the family is to be offered the certificate."""
        with self.effect():
            self.db.execute("INSERT INTO offer VALUES (?, ?)", (person, event.id))

    def offers_made(self) -> list[str]:
        """The newborns noted, in order."""
        return [row["child"] for row in self.db.execute("SELECT child FROM offer ORDER BY rowid")]
