"""The consents that a broker goes by, as its own database has them.

Rules kept here:
1. A difference is taken whole, in one effect, or not at all.
2. Nothing of it is in memory: what a question is judged by is what was committed.
3. A consent is forgotten a month after its term, when a list of its portal is taken. A broker whose clock is far off takes
   none, so it forgets nothing that stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mesh.consent import Difference, Given, Kept
from mesh.errors import MeshError
from mesh.store import Database

KEEP_US: Final = 30 * 86_400_000_000
"""How much longer than its term a consent is known, so that the refusal says why: it has ended, or was withdrawn."""


class ConsentList:
    """All consents that a broker knows, by their ids; writing needs an effect of the node."""

    schema: Final = """
    CREATE TABLE consent(
      id TEXT PRIMARY KEY, portal TEXT NOT NULL, token TEXT NOT NULL, until_us INTEGER NOT NULL,
      withdrawn INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
    CREATE INDEX consent_until ON consent(until_us);
    CREATE TABLE consent_version(portal TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, consent_id: str) -> Kept | None:
        """A consent, and whether it was withdrawn."""
        row = self._db.execute("SELECT token, withdrawn FROM consent WHERE id = ?", (consent_id,)).fetchone()
        return None if row is None else Kept(row["token"], bool(row["withdrawn"]))

    def version(self, portal: str) -> int:
        """The version of a portal's consents that this broker goes by; 0 before the first."""
        row = self._db.execute("SELECT version FROM consent_version WHERE portal = ?", (portal,)).fetchone()
        return 0 if row is None else int(row["version"])

    def take(self, portal: str, difference: Difference, given: Iterable[Given], now_us: int) -> None:
        """Go by the difference's version from here on; `MeshError` schema_invalid for another portal's consent."""
        rows = [(one.consent.id, portal, one.token, one.consent.until_us) for one in given]
        ids = [row[0] for row in rows] + list(difference.withdrawn)
        if any(self._is_of_another(one, portal) for one in ids):
            raise MeshError("schema_invalid", "a consent of this id is another portal's")
        db = self._db
        db.executemany(
            "INSERT INTO consent(id, portal, token, until_us) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET token = excluded.token, until_us = excluded.until_us",
            rows,
        )
        db.executemany(
            "UPDATE consent SET withdrawn = 1 WHERE id = ?", [(one,) for one in difference.withdrawn]
        )
        db.execute(
            "DELETE FROM consent WHERE until_us < ? AND portal = ?",
            (now_us - KEEP_US, portal),
        )
        db.execute("INSERT OR REPLACE INTO consent_version VALUES (?, ?)", (portal, difference.version))

    def _is_of_another(self, consent_id: str, portal: str) -> bool:
        row = self._db.execute("SELECT portal FROM consent WHERE id = ?", (consent_id,)).fetchone()
        return row is not None and row["portal"] != portal
