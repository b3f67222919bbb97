"""The moves that a resident register has under way: who leaves, who is expected, who was entered elsewhere.

Nobody who files a 転出届 vanishes: until the new city says that it entered them, they stay in `leaving`, and from
30 days after the planned move-out an official looks for them (住民基本台帳法34条: 調査).

Kept in the register's own tables; every method that writes is called inside the register's `effect()`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from mesh.errors import NotFound
from mesh.message import encode
from mesh.store import Database
from nodes.municipality.moves import Entitlement, MovingOut, overdue_after

MOVE_SCHEMA = """
CREATE TABLE leaving(
  code TEXT PRIMARY KEY REFERENCES resident, info BLOB NOT NULL, planned_on TEXT NOT NULL,
  confirmed_on TEXT NOT NULL DEFAULT '');
CREATE TABLE expected(
  code TEXT PRIMARY KEY, info BLOB NOT NULL, planned_on TEXT NOT NULL, entered_on TEXT NOT NULL DEFAULT '');
CREATE TABLE card(code TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE entitlement(code TEXT NOT NULL, kind TEXT NOT NULL, PRIMARY KEY (code, kind));
"""

_decoder = msgspec.json.Decoder(MovingOut)
_PLACES = ("head", "spouse", "child")


class MoveFile:
    """A register's moves, over its database; persons are its own codes."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # Who leaves.

    def leave(self, code: str, info: MovingOut) -> None:
        """Keep that a person will leave."""
        self._db.execute(
            "INSERT OR REPLACE INTO leaving(code, info, planned_on) VALUES (?, ?, ?)",
            (code, encode(info), info.planned_on),
        )

    def leaving(self, code: str) -> MovingOut:
        """What is sent about a person who leaves; `NotFound` if no 転出届 was filed."""
        row = self._db.execute("SELECT info FROM leaving WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise NotFound("no move-out was notified")
        return _decoder.decode(row["info"])

    def stay(self, code: str) -> None:
        """Nobody waits for the person elsewhere: the move was called off, or they have come back."""
        self._db.execute("DELETE FROM leaving WHERE code = ?", (code,))

    def confirm(self, code: str, day: str) -> bool:
        """The new city has entered the person; whether they had notified a move-out."""
        changed = self._db.execute("UPDATE leaving SET confirmed_on = ? WHERE code = ?", (day, code))
        return bool(changed.rowcount)

    def unconfirmed(self, codes: Sequence[str]) -> list[str]:
        """Those of some persons who left and whom the new city has not entered yet."""
        rows = self._db.execute("SELECT code FROM leaving WHERE confirmed_on = '' ORDER BY rowid")
        return [row["code"] for row in rows if row["code"] in codes]

    def due(self, today: date) -> list[str]:
        """Who is still entered here and has left by today."""
        rows = self._db.execute(
            "SELECT code FROM leaving JOIN resident USING (code) WHERE planned_on <= ? AND struck = ''"
            " ORDER BY leaving.rowid",
            (today.isoformat(),),
        )
        return [row["code"] for row in rows]

    def overdue(self, today: date) -> list[str]:
        """Who left and was entered nowhere in time: an official looks for them."""
        rows = self._db.execute("SELECT code, planned_on FROM leaving WHERE confirmed_on = '' ORDER BY rowid")
        return [row["code"] for row in rows if today > overdue_after(date.fromisoformat(row["planned_on"]))]

    # Who is expected.

    def expect(self, code: str, info: MovingOut) -> None:
        """Keep that a person is expected, or no longer; what was said later counts."""
        row = self._db.execute("SELECT info FROM expected WHERE code = ?", (code,)).fetchone()
        if row is None or _decoder.decode(row["info"]).version < info.version:
            self._db.execute(
                "INSERT OR REPLACE INTO expected(code, info, planned_on) VALUES (?, ?, ?)",
                (code, encode(info), info.planned_on),
            )

    def expected(self) -> dict[str, MovingOut]:
        """Who is expected and has not come, the first announced first."""
        rows = self._db.execute("SELECT code, info FROM expected WHERE entered_on = '' ORDER BY rowid")
        announced = {row["code"]: _decoder.decode(row["info"]) for row in rows}
        return {code: info for code, info in announced.items() if not info.cancelled}

    def party_of(self, code: str) -> list[tuple[str, MovingOut]]:
        """Who moves together with a person, the person included, the head first; none if nobody was announced.

        Announcements overtake each other, so the order in which they came says nothing.
        """
        expected = self.expected()
        if code not in expected:
            return []
        together = (expected[code].from_city, expected[code].household)
        party = [
            (one, info) for one, info in expected.items() if (info.from_city, info.household) == together
        ]
        return sorted(party, key=lambda one: _place(one[1]))

    def enter(self, code: str, info: MovingOut, day: date, *, card_in_time: bool) -> None:
        """Keep that a person was entered, whether the card goes on, and what they had before."""
        self.stay(code)
        self._db.execute(
            "INSERT OR REPLACE INTO expected VALUES (?, ?, ?, ?)",
            (code, encode(info), info.planned_on, day.isoformat()),
        )
        if info.card:
            self.keep_card(code, "continued" if card_in_time else "lapsed")
        self.keep_entitlements(code, info.entitlements)

    def left_on(self, code: str) -> str | None:
        """When a person who came here was to leave the city before; None if nobody announced it."""
        row = self._db.execute("SELECT planned_on FROM expected WHERE code = ?", (code,)).fetchone()
        return None if row is None else str(row["planned_on"])

    # What a record notes besides.

    def keep_card(self, code: str, state: str) -> None:
        """Keep the state of a person's card."""
        self._db.execute("INSERT OR REPLACE INTO card VALUES (?, ?)", (code, state))

    def card(self, code: str) -> str | None:
        """The state of a person's card: issued, continued or lapsed; None without one."""
        row = self._db.execute("SELECT state FROM card WHERE code = ?", (code,)).fetchone()
        return None if row is None else str(row["state"])

    def keep_entitlements(self, code: str, kinds: Sequence[Entitlement]) -> None:
        """Keep what a person has, or had in the city before."""
        self._db.executemany(
            "INSERT OR IGNORE INTO entitlement VALUES (?, ?)", [(code, kind) for kind in kinds]
        )

    def entitlements(self, code: str) -> tuple[Entitlement, ...]:
        """What was noted, in the order of noting."""
        rows = self._db.execute("SELECT kind FROM entitlement WHERE code = ? ORDER BY rowid", (code,))
        return tuple(row["kind"] for row in rows)


def _place(info: MovingOut) -> tuple[int, str]:
    """Where a person stands in the record of a household: the head, the spouse, the children by age, then others."""
    relation = info.relation
    return (_PLACES.index(relation) if relation in _PLACES else len(_PLACES), info.born)
