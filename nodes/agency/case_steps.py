"""One body's step in a case that runs through several bodies: done once, undone once, in whatever order.

A step is asked for by the key of its case. Asked again it gives the same result; undone, it can never be
done again, so that a request that lingered on its way comes to nothing. Kept in the body's own tables; every
method that writes is called inside its `effect()`.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from mesh.errors import Withheld
from mesh.store import Database

CAR_REGISTRATION: Final = "car-registration"
"""The task of 自動車保有関係手続のワンストップサービス."""

Case = Annotated[str, Meta(pattern="^cs-[0-9]{6}$")]
"""A case of the one-stop service."""
Chassis = Annotated[str, Meta(pattern="^[A-Z0-9]{2,5}[A-Z]-[0-9]{7}$")]
"""A vehicle by its type and chassis number (車台番号)."""

STEP_SCHEMA: Final = """
CREATE TABLE step(case_key TEXT PRIMARY KEY, state TEXT NOT NULL, result TEXT NOT NULL);
"""


class CaseQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The case whose step is to be undone."""

    case: Case


class Undone(Struct, frozen=True):
    """Whether there was anything to undo; either way the step cannot be done any more."""

    was_done: bool


class Steps:
    """The steps of one body, by case."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def result(self, case: str) -> str | None:
        """What the step gave when it was done; None if it was not. `withheld` once it is undone."""
        row = self._db.execute("SELECT state, result FROM step WHERE case_key = ?", (case,)).fetchone()
        if row is None:
            return None
        if row["state"] == "undone":
            raise Withheld("the case was withdrawn")
        return str(row["result"])

    def keep(self, case: str, result: str) -> None:
        """Keep that the step is done."""
        self._db.execute("INSERT INTO step VALUES (?, 'done', ?)", (case, result))

    def undo(self, case: str) -> str | None:
        """Keep that the step is undone; what it had given if it was done and stood until now, else None."""
        row = self._db.execute("SELECT state, result FROM step WHERE case_key = ?", (case,)).fetchone()
        self._db.execute("INSERT OR REPLACE INTO step VALUES (?, 'undone', '')", (case,))
        return str(row["result"]) if row is not None and row["state"] == "done" else None

    def count(self, state: str) -> int:
        """How many steps are `done`, or `undone`."""
        row = self._db.execute("SELECT count(*) AS steps FROM step WHERE state = ?", (state,)).fetchone()
        return int(row["steps"])
