"""A system's own copy of the base registries: what it holds, how old that is, and where it was edited by hand.

Rules kept here:
1. An entry holds from its day on; until then the one before it holds. So a change that lies ahead is kept and
   waits, and nothing has to be done on the day.
2. The source wins: an edit by hand stands only until the source says something newer of the entry. If that is
   something else, both are shown to a person, who settles it; the copy has the source's meanwhile.
3. A copy says when it was last compared with its source. How old is too old, its user decides.

Every method that writes is called inside the system's `effect()`.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from mesh import Node, Refused, Service
from mesh.message import encode
from mesh.store import Database
from nodes.agency.address_registry import ADDRESS_CHANGES, ADDRESS_REGISTRY, Town
from nodes.agency.base_registry import Change, Changes, ChangesQuery, RegistryName
from nodes.agency.corporate_registry import CORPORATE_CHANGES, CORPORATE_REGISTRY, Corporation

SCHEMA: Final = """
CREATE TABLE held(registry TEXT PRIMARY KEY, version INTEGER NOT NULL, checked_us INTEGER NOT NULL);
CREATE TABLE copy(
  registry TEXT NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, effective_on TEXT NOT NULL,
  entry BLOB NOT NULL, PRIMARY KEY (registry, version));
CREATE TABLE edit(registry TEXT NOT NULL, key TEXT NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (registry, key));
CREATE TABLE conflict(
  number INTEGER PRIMARY KEY, registry TEXT NOT NULL, key TEXT NOT NULL, edited BLOB NOT NULL,
  source BLOB NOT NULL, version INTEGER NOT NULL, settled INTEGER NOT NULL DEFAULT 0);
"""

E = TypeVar("E", Corporation, Town)


class Fetched(Struct, Generic[E], frozen=True):
    """What a source gave, not entered yet."""

    changes: tuple[Change[E], ...]
    anew: bool
    """Whether it is everything, in place of a copy that was ahead of its source."""


class Conflict(Struct, frozen=True):
    """What was edited here, and what the source says of the same entry since."""

    number: int
    key: str
    edited: Corporation | Town
    source: Corporation | Town
    version: int


class RegistryCopy(Generic[E]):
    """One registry's copy in a system's database; make it with `corporations` or `towns`."""

    def __init__(
        self,
        node: Node,
        registry: RegistryName,
        source: str,
        service: Service[ChangesQuery, Changes[E]],
        entry: type[E],
    ) -> None:
        self._node = node
        self._db: Database = node.db
        self._registry = registry
        self._source = source
        self._service: Service[ChangesQuery, Changes[E]] = service
        self._entry: type[E] = entry

    @property
    def version(self) -> int:
        """The version that the copy has reached."""
        return int(self._held("version"))

    @property
    def checked_us(self) -> int:
        """When it was last compared with its source, by the system's clock; 0 for never."""
        return int(self._held("checked_us"))

    def _held(self, column: str) -> Any:
        row = self._db.execute("SELECT * FROM held WHERE registry = ?", (self._registry,)).fetchone()
        return 0 if row is None else row[column]

    def find(self, key: str, on: str) -> E | None:
        """The entry as it is on a day: the edit made here, or else the newest that holds by then."""
        row = self._db.execute(
            "SELECT entry FROM edit WHERE registry = ? AND key = ?", (self._registry, key)
        ).fetchone()
        if row is None:
            row = self._db.execute(
                "SELECT entry FROM copy WHERE registry = ? AND key = ? AND effective_on <= ?"
                " ORDER BY effective_on DESC, version DESC LIMIT 1",
                (self._registry, key, on),
            ).fetchone()
        return None if row is None else msgspec.json.decode(row["entry"], type=self._entry)

    async def fetch(self) -> Fetched[E]:
        """What the source has that the copy has not; nothing is written. Raises `Refused`.

        A copy that is ahead of its source cannot be mended by adding to it: then everything is fetched.
        """
        try:
            return Fetched(await self._fetch_since(self.version), anew=False)
        except Refused as refused:
            if refused.code != "not_found":
                raise
        return Fetched(await self._fetch_since(0), anew=True)

    async def _fetch_since(self, version: int) -> tuple[Change[E], ...]:
        found: list[Change[E]] = []
        while True:
            answer = await self._node.ask(self._source, self._service, ChangesQuery(version))
            found += answer.changes
            if not answer.changes or answer.changes[-1].version >= answer.version:
                return tuple(found)
            version = answer.changes[-1].version

    def take(self, fetched: Fetched[E]) -> None:
        """Enter what was fetched, and that the copy was compared with its source now.

        Two fetches may overlap, at the counter and after a signal: what is known already changes nothing.
        """
        version = 0 if fetched.anew else self.version
        if fetched.anew:
            self._db.execute("DELETE FROM copy WHERE registry = ?", (self._registry,))
        for one in fetched.changes:
            if one.version > version:
                self._enter(one)
                version = one.version
        now_us = self._node.host.now_us()
        self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?, ?)", (self._registry, version, now_us))

    def _enter(self, change: Change[E]) -> None:
        self._db.execute(
            "INSERT INTO copy VALUES (?, ?, ?, ?, ?)",
            (self._registry, change.version, change.entry.key, change.effective_on, encode(change.entry)),
        )
        self._yield_to_source(change)

    def edit(self, entry: E) -> None:
        """Correct an entry by hand, here alone; the source should be told as well."""
        self._db.execute(
            "INSERT OR REPLACE INTO edit VALUES (?, ?, ?)", (self._registry, entry.key, encode(entry))
        )

    def _yield_to_source(self, change: Change[E]) -> None:
        """End an edit that the source has overtaken; where they differ, show both to a person."""
        entry = encode(change.entry)
        row = self._db.execute(
            "DELETE FROM edit WHERE registry = ? AND key = ? RETURNING entry",
            (self._registry, change.entry.key),
        ).fetchone()
        if row is not None and row["entry"] != entry:
            self._db.execute(
                "INSERT INTO conflict(registry, key, edited, source, version) VALUES (?, ?, ?, ?, ?)",
                (self._registry, change.entry.key, row["entry"], entry, change.version),
            )

    def conflicts(self) -> list[Conflict]:
        """What waits for a person, the oldest first."""
        rows = self._db.execute(
            "SELECT * FROM conflict WHERE registry = ? AND NOT settled ORDER BY number", (self._registry,)
        )
        return [
            Conflict(
                row["number"],
                row["key"],
                msgspec.json.decode(row["edited"], type=self._entry),
                msgspec.json.decode(row["source"], type=self._entry),
                row["version"],
            )
            for row in rows
        ]

    def settle(self, number: int) -> None:
        """Note that a person has looked at a conflict: the source's entry stands."""
        self._db.execute("UPDATE conflict SET settled = 1 WHERE number = ?", (number,))


def corporations(node: Node) -> RegistryCopy[Corporation]:
    """A system's copy of the corporate registry."""
    return RegistryCopy(node, "corporate", CORPORATE_REGISTRY, CORPORATE_CHANGES, Corporation)


def towns(node: Node) -> RegistryCopy[Town]:
    """A system's copy of the address registry."""
    return RegistryCopy(node, "address", ADDRESS_REGISTRY, ADDRESS_CHANGES, Town)
