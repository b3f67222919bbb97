"""What the base registries (ベース・レジストリ) have in common: numbered changes, and who copies them.

Rules kept here:
1. One body is the source of an entry; everybody else has copies (公的基礎情報データベース, デジタル社会形成基本法31条).
2. Every change has a version, rising without gaps, and a day from which it holds, which may lie ahead.
3. Nothing is overwritten: what held on a day can always be told.
4. Who copies is told that there is something new, and asks for it. The mesh's events are about persons, and an
   entry is about none, so the signal is a question: "version 7 is out; which do you hold?" It says nothing else.
5. Who could not be told is told again, with growing pauses; nobody is told what they hold already.

The corporate registry publishes its changes by period, too (国税庁 法人番号システム Web-API); versions instead of
dates are ours, because two changes of one day have no order.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from mesh import Node, NotFound, Refused, Service
from mesh.message import encode
from mesh.service import Date

E = TypeVar("E", bound=Struct)

RegistryName = Literal["corporate", "address"]
Version = Annotated[int, Meta(ge=0)]

CHANGES_MAX: Final = 100
"""Changes in one answer; whoever is further behind asks again."""
PAUSES_S: Final = (600.0, 3_600.0, 21_600.0, 86_400.0)
"""Before the second, third, fourth and fifth attempt to tell a copier; illustrative."""


class ChangesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for what changed after a version; 0 is before everything."""

    since: Version


class Change(Struct, Generic[E], frozen=True):
    """An entry as it is from a day on."""

    version: Version
    effective_on: Date
    entry: E


class Changes(Struct, Generic[E], frozen=True):
    """Changes, the oldest first, and the newest version that there is."""

    version: Version
    changes: tuple[Change[E], ...]


class SignalQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Says that a registry has a version, and nothing about what is in it."""

    registry: RegistryName
    version: Version


class SignalReply(Struct, frozen=True):
    """The version that the copy holds now."""

    version: Version


SIGNAL = Service(
    "registry.signal.v1",
    SignalQuery,
    SignalReply,
    title="A base registry has changed",
    title_ja="ベース・レジストリの更新の知らせ",
)
PROCEDURE: Final = "base-registry"

SCHEMA: Final = """
CREATE TABLE change(version INTEGER PRIMARY KEY, effective_on TEXT NOT NULL, entry BLOB NOT NULL);
CREATE TABLE copier(address TEXT PRIMARY KEY, version INTEGER NOT NULL);
"""


class Feed:
    """One registry's changes in the database of the node that is their source."""

    def __init__(self, node: Node, registry: RegistryName) -> None:
        self._node = node
        self._db = node.db
        self._registry = registry

    def version(self) -> int:
        """The newest version."""
        return int(self._db.execute("SELECT coalesce(max(version), 0) FROM change").fetchone()[0])

    def copiers(self) -> dict[str, int]:
        """Who copies this registry, and which version each has asked for or said that it holds."""
        rows = self._db.execute("SELECT address, version FROM copier ORDER BY address")
        return {row["address"]: row["version"] for row in rows}

    def record(self, entry: Struct, effective_on: str) -> int:
        """Keep a change and tell the copiers; returns its version."""
        version = self.version() + 1
        with self._node.effect():
            self._db.execute("INSERT INTO change VALUES (?, ?, ?)", (version, effective_on, encode(entry)))
        self.tell()
        return version

    def tell(self) -> None:
        """Tell every copier that is behind; after a record, and when the node comes up again."""
        for address in self.copiers():
            self._node.host.spawn(self._tell(address), f"{self._node.address} tells {address}")

    def give(self, entry: type[E], since: int, to: str) -> Changes[E]:
        """Changes after a version, for a copier; `NotFound` for a version that was never reached."""
        newest = self.version()
        if since > newest:
            raise NotFound("the copy is ahead of its source")
        rows = self._db.execute(
            "SELECT * FROM change WHERE version > ? ORDER BY version LIMIT ?", (since, CHANGES_MAX)
        )
        changes = tuple(
            Change(row["version"], row["effective_on"], msgspec.json.decode(row["entry"], type=entry))
            for row in rows
        )
        self._note(to, since)
        return Changes(newest, changes)

    def _note(self, address: str, version: int) -> None:
        """Note which version a copier holds."""
        with self._node.effect():
            self._db.execute("INSERT OR REPLACE INTO copier VALUES (?, ?)", (address, version))

    async def _tell(self, address: str) -> None:
        """Tell a copier of the newest version, until it holds it or has been told often enough."""
        for pause_s in (*PAUSES_S, None):
            version = self.version()
            if self.copiers()[address] >= version:
                return
            try:
                answer = await self._node.ask(
                    address, SIGNAL, SignalQuery(self._registry, version), procedure=PROCEDURE
                )
            except Refused:
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
            else:
                self._note(address, answer.version)
