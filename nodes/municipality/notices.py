"""Notices to residents (お知らせの送付): one letter to each of a list, once, whatever happens meanwhile.

Rules kept here:
1. The municipality is the sender, and to its own residents (予防接種法5条: 市町村長が行う); nobody sends for all.
2. A letter in the outbox and the mark that it is there are one commit: a sender that stops half way goes on
   where it stopped, and nobody gets two letters or none.
3. It fills the outbox no faster than the broker signs: what cannot leave yet stays on the list.
4. A letter informs; it enrols nobody and obliges nobody (DOMAIN.md rule 12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar, Final

from mesh import Node
from mesh.names import Zone
from mesh.places import UNRECEIPTED_MAX
from mesh.service import check_entry
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter

PROCEDURE: Final = "vaccination"
PAUSE_S: Final = 0.1
"""Between two looks at whether there is room in the outbox again."""


class NoticeOffice(Node):
    """Sends one letter to each resident of a list."""

    title: ClassVar[str] = "Notices to residents"
    title_ja: ClassVar[str] = "お知らせの送付"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE letter(number INTEGER PRIMARY KEY, title TEXT NOT NULL, title_ja TEXT NOT NULL, due TEXT NOT NULL);
    CREATE TABLE addressee(
      letter INTEGER NOT NULL REFERENCES letter, person TEXT NOT NULL, message TEXT,
      PRIMARY KEY (letter, person)) WITHOUT ROWID;
    """

    def start(self) -> None:
        """Coming up again, go on with whoever has no letter yet."""
        if self.unsent():
            self._go_on()

    def send(self, letter: Letter, people: Iterable[str]) -> None:
        """Take up a letter to residents, by the city's own codes, and begin to send it.

        `UsageError` for a letter that the portal could not read.
        """
        check_entry("the letter", letter, Letter)
        with self.effect():
            number = self.db.execute(
                "INSERT INTO letter(title, title_ja, due) VALUES (?, ?, ?)",
                (letter.title, letter.title_ja, letter.due),
            ).lastrowid
            self.db.executemany(
                "INSERT INTO addressee(letter, person) VALUES (?, ?)", [(number, person) for person in people]
            )
        self._go_on()

    def unsent(self) -> int:
        """How many residents of the list have no letter under way yet."""
        return self._count("addressee WHERE message IS NULL")

    def unsigned(self) -> int:
        """How many letters are in the outbox because the broker has not signed for them."""
        return self._count("mesh_outbox")

    def _count(self, rows: str) -> int:
        return int(self.db.execute(f"SELECT count(*) FROM {rows}").fetchone()[0])  # noqa: S608

    def _go_on(self) -> None:
        self.host.spawn(self._send(), f"{self.address} sends letters")

    async def _send(self) -> None:
        """Put letters into the outbox as long as there is room in it."""
        while self.unsent():
            room = UNRECEIPTED_MAX - self.unsigned()
            if room > 0:
                self._send_some(room)
            await asyncio.sleep(PAUSE_S)

    def _send_some(self, limit: int) -> None:
        rows = self.db.execute(
            "SELECT letter, person, title, title_ja, due FROM addressee JOIN letter ON number = letter"
            " WHERE message IS NULL ORDER BY letter, person LIMIT ?",
            (limit,),
        ).fetchall()
        with self.effect():
            for row in rows:
                letter = Letter(row["title"], row["title_ja"], row["due"])
                message = self.notify(
                    PORTAL_LETTER, PORTAL, letter, subject=row["person"], procedure=PROCEDURE
                )
                self.db.execute(
                    "UPDATE addressee SET message = ? WHERE letter = ? AND person = ?",
                    (message, row["letter"], row["person"]),
                )
