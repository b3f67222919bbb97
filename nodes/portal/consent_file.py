"""What residents consented to, each change of it numbered, and how far each broker has confirmed the changes.

Rules kept here:
1. A withdrawal is pending until every broker concerned has confirmed a version that has it; and a consent is in force
   only from then on, likewise.
2. A broker is told what changed since the version that it goes by, in parts that fit into a line. What is over is left
   out: what has ended, was withdrawn, or was signed by a revoked key. By a clock that is far off nothing is left out,
   because no broker takes a list that was made by one.
3. No version is given twice, so a broker can tell an older list.

Kept in the portal's own tables; every method that writes is called inside the portal's `effect()`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple

from mesh.consent import Consent, Difference
from mesh.errors import Unsendable
from mesh.message import CLOCK_TOLERANCE_US
from mesh.store import Database

CONSENT_SCHEMA: Final = """
CREATE TABLE consent(
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, person TEXT NOT NULL, firm TEXT NOT NULL,
  provider TEXT NOT NULL, token TEXT NOT NULL, until_us INTEGER NOT NULL,
  given INTEGER NOT NULL UNIQUE, withdrawn INTEGER UNIQUE);
CREATE INDEX consent_person ON consent(person);
CREATE TABLE consent_version(version INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE TABLE consent_broker(
  address TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
"""
PART_BYTES_MAX: Final = 2**18
"""Bytes of tokens and ids in one difference: as JSON, sealed, padded and signed twice they fit into a line."""

_CHANGES: Final = (
    "SELECT given AS change, 0 AS ends, id, token, until_us, given, withdrawn FROM consent WHERE given > ?1"
    " UNION ALL"
    " SELECT withdrawn, 1, id, token, until_us, given, withdrawn FROM consent WHERE withdrawn > ?1 ORDER BY change"
)


class ConsentState(Enum):
    """Where a consent stands, as its resident sees it."""

    GIVEN = ("given, not in force yet", "登録手続中")
    IN_FORCE = ("in force", "同意中")
    PENDING = ("withdrawal pending", "撤回手続中")
    """Some broker has not confirmed it yet, and may still let the firm ask."""
    WITHDRAWN = ("withdrawn", "撤回済み")
    OVER = ("over", "終了")
    """Its term has ended, or the key that signed it was revoked."""

    def __init__(self, title: str, title_ja: str) -> None:
        self.title = title
        self.title_ja = title_ja


class ResidentConsent(NamedTuple):
    """One consent in the list that a resident sees."""

    id: str
    firm: str
    provider: str
    state: ConsentState


class _Known(NamedTuple):
    """What a broker confirmed last."""

    version: int
    change: int | None
    """The last change that it has; None for a version that nobody remembers."""


class ConsentFile:
    """A portal's consents, over its database; `standing(token, now_us)` is None for one whose key counts no more."""

    def __init__(
        self, db: Database, brokers: tuple[str, ...], standing: Callable[[str, int], Consent | None]
    ) -> None:
        self._db = db
        self._brokers = brokers
        self._standing = standing

    # What residents do.

    def give(self, person: str, consent: Consent, token: str) -> None:
        """Keep a consent that was signed; `Unsendable` message_too_large for one that no list could hold."""
        if len(token) > PART_BYTES_MAX:
            raise Unsendable("message_too_large", f"a consent has at most {PART_BYTES_MAX:,} bytes")
        self._db.execute(
            "INSERT INTO consent(id, person, firm, provider, token, until_us, given) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                consent.id,
                person,
                consent.firm,
                consent.provider,
                token,
                consent.until_us,
                self._newest() + 1,
            ),
        )

    def withdraw(self, person: str, consent_id: str) -> bool:
        """Keep that a resident withdraws a consent, once; whether the resident gave it."""
        changed = self._db.execute(
            "UPDATE consent SET withdrawn = coalesce(withdrawn, ?) WHERE id = ? AND person = ?",
            (self._newest() + 1, consent_id, person),
        )
        return bool(changed.rowcount)

    def of_person(self, person: str, now_us: int) -> list[ResidentConsent]:
        """A resident's consents, the oldest first."""
        confirmed = min((self._known(one).change or 0 for one in self._brokers), default=0)
        rows = self._db.execute("SELECT * FROM consent WHERE person = ? ORDER BY number", (person,))
        return [
            ResidentConsent(row["id"], row["firm"], row["provider"], self._state(row, confirmed, now_us))
            for row in rows.fetchall()
        ]

    def _state(self, row: sqlite3.Row, confirmed: int, now_us: int) -> ConsentState:
        if row["withdrawn"] is not None:
            return ConsentState.WITHDRAWN if row["withdrawn"] <= confirmed else ConsentState.PENDING
        if row["until_us"] <= now_us or self._standing(row["token"], now_us) is None:
            return ConsentState.OVER
        return ConsentState.IN_FORCE if row["given"] <= confirmed else ConsentState.GIVEN

    # What brokers know.

    def lacks(self, broker: str) -> bool:
        """Whether a broker has not confirmed all changes."""
        return (self._known(broker).change or 0) < self._newest()

    def next_difference(self, broker: str, now_us: int) -> Difference:
        """What a broker lacks, or the first part of it, under a version of its own."""
        known = self._known(broker)
        over_us = now_us - CLOCK_TOLERANCE_US  # Until then it may stand by the broker's clock.
        given: list[str] = []
        withdrawn: list[str] = []
        left, change = PART_BYTES_MAX, known.change or 0
        for row in self._db.execute(_CHANGES, (change,)):
            if row["until_us"] <= over_us:
                text, part = None, given
            elif row["ends"]:
                # One that was given since was never told to this broker.
                is_new = known.change is not None and row["given"] > known.change
                text, part = None if is_new else row["id"], withdrawn
            else:
                is_over = row["withdrawn"] is not None or self._standing(row["token"], now_us) is None
                text, part = None if is_over else row["token"], given
            if text is not None:
                left -= len(text)
                if left < 0:
                    break
                part.append(text)
            change = row["change"]
        version = self._next_version()
        self._db.execute("INSERT INTO consent_version VALUES (?, ?)", (version, change))
        return Difference(known.version, version, tuple(given), tuple(withdrawn))

    def confirm(self, broker: str, version: int) -> None:
        """Keep which version a broker says that it goes by."""
        self._db.execute("INSERT OR REPLACE INTO consent_broker VALUES (?, ?)", (broker, version))
        oldest = min(self._known(one).version for one in self._brokers)
        self._db.execute("DELETE FROM consent_version WHERE version < ?", (oldest,))

    def _known(self, broker: str) -> _Known:
        row = self._db.execute(
            "SELECT version, change FROM consent_broker LEFT JOIN consent_version USING (version)"
            " WHERE address = ?",
            (broker,),
        ).fetchone()
        if row is None:
            return _Known(0, 0)
        return _Known(row["version"], 0 if row["version"] == 0 else row["change"])

    def _newest(self) -> int:
        """The number of the last change."""
        row = self._db.execute(
            "SELECT max(coalesce((SELECT max(given) FROM consent), 0),"
            " coalesce((SELECT max(withdrawn) FROM consent), 0)) AS newest"
        ).fetchone()
        return int(row["newest"])

    def _next_version(self) -> int:
        row = self._db.execute(
            "SELECT 1 + max(coalesce((SELECT max(version) FROM consent_version), 0),"
            " coalesce((SELECT max(version) FROM consent_broker), 0)) AS next"
        ).fetchone()
        return int(row["next"])
