"""A record that two applications of one city keep between them, as 予防接種台帳 and 健康管理 did before the standard.

Rules kept here:
1. Each field has one original (正本): the application named in `ORIGINAL`. The other holds a copy of it.
2. A change says on which version it is based. Where the original has moved on since, it is not made: an
   official decides (lost update). The very change that came before, whose answer may have been lost, is one change.
3. Nothing is overwritten. Each change is an entry of its own, with who made it and when, and a digest over
   itself and the entry before it; the database itself refuses to alter or remove one.
4. Events come in any order; a copy never goes back to an older version.

What the two applications ask each other is declared here, because each needs the other's declarations.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Event, EventType, ManualReview, Node, PersonalService
from mesh.builtin import Empty
from mesh.service import Name, check_entry
from mesh.store import Database

Item = Annotated[str, Meta(pattern=r"^[a-z]+-[1-9]$")]
"""A vaccine and its dose: `mr-1`, `covid-2`."""
Field = Literal["given_on", "lot", "hold_until"]
"""接種年月日, 製造番号（ロット番号）, 接種見合わせの期限."""
Version = Annotated[int, Meta(ge=0)]

VACCINATION: Final = "vaccination"
"""The task for which the two ask each other."""
ORIGINAL: Final[dict[str, str]] = {
    "given_on": "vaccination-ledger",
    "lot": "vaccination-ledger",
    "hold_until": "health",
}
"""Which application has the original of a field."""

SCHEMA: Final = """
CREATE TABLE entry(
  number INTEGER PRIMARY KEY, person TEXT NOT NULL, item TEXT NOT NULL, field TEXT NOT NULL,
  version INTEGER NOT NULL, value TEXT NOT NULL, source TEXT NOT NULL, clerk TEXT NOT NULL,
  at_us INTEGER NOT NULL, old_digest TEXT NOT NULL, new_digest TEXT NOT NULL,
  UNIQUE (person, item, field, version));
CREATE TRIGGER entry_unaltered BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'an entry stays as it is'); END;
CREATE TRIGGER entry_kept BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'an entry stays'); END;
CREATE TABLE heard(person TEXT PRIMARY KEY, version INTEGER NOT NULL);
"""


class Change(Struct, frozen=True, forbid_unknown_fields=True):
    """A new value for one field; `based_on` is the version that the clerk saw, 0 for none."""

    item: Item
    field: Field
    value: Name
    based_on: Version
    clerk: Name
    """Who asks for it, by office and name."""


class State(Struct, frozen=True):
    """One field as its original has it now."""

    item: Item
    field: Field
    value: Name
    version: Version


class Card(Struct, frozen=True):
    """All fields of a person of which the answering application has the original."""

    fields: tuple[State, ...] | UnsetType = UNSET


class Entered(Struct, frozen=True):
    """The version that a change became."""

    version: Version | UnsetType = UNSET


VACCINATION_RECORD = PersonalService(
    "vaccination.record.v1",
    Empty,
    Card,
    title="The ledger's side of the record",
    title_ja="予防接種台帳の記録",
)
VACCINATION_CORRECT = PersonalService(
    "vaccination.correct.v1",
    Change,
    Entered,
    title="Correct the vaccination ledger",
    title_ja="予防接種台帳の訂正",
)
VACCINATION_CHANGED = EventType(
    "vaccination.changed.v1", title="The vaccination ledger was changed", title_ja="予防接種台帳の異動"
)
HEALTH_NOTES = PersonalService(
    "health.notes.v1", Empty, Card, title="Health management's side of the record", title_ja="健康管理の記録"
)
HEALTH_CHANGED = EventType(
    "health.changed.v1", title="Health management's side was changed", title_ja="健康管理の異動"
)


class PairedRecord:
    """One application's side of the record, over its database; `system` is its key (`health`)."""

    def __init__(self, db: Database, system: str) -> None:
        self._db = db
        self._system = system

    def state(self, person: str, item: str, field: str) -> State | None:
        """A field as this application knows it; None while it is empty."""
        row = self._db.execute(
            "SELECT item, field, value, version FROM entry WHERE person = ? AND item = ? AND field = ?"
            " ORDER BY version DESC LIMIT 1",
            (person, item, field),
        ).fetchone()
        return None if row is None else State(*row)

    def value(self, person: str, item: str, field: str) -> str | None:
        """The value alone."""
        state = self.state(person, item, field)
        return None if state is None else state.value

    def version(self, person: str, item: str, field: str) -> int:
        """The version that a change now would be based on."""
        state = self.state(person, item, field)
        return 0 if state is None else state.version

    def card(self, person: str) -> Card:
        """What this application answers: the fields whose original it has."""
        rows = self._db.execute(
            "SELECT item, field, value, max(version) FROM entry WHERE person = ? GROUP BY item, field"
            " ORDER BY item, field",
            (person,),
        ).fetchall()
        return Card(tuple(State(*row) for row in rows if ORIGINAL[row["field"]] == self._system))

    def enter(self, person: str, change: Change, *, source: str, at_us: int) -> int:
        """Make a change to a field whose original is here, once; returns its version. Inside the node's effect.

        Raises `ManualReview` where the original is elsewhere, or is no longer at the version seen, and `UsageError` for
        what could not be passed on.
        """
        check_entry("the change", change, Change)
        if ORIGINAL[change.field] != self._system:
            raise ManualReview(
                f"the original of {change.field} is in {ORIGINAL[change.field]}: propose it there"
            )
        version = self.version(person, change.item, change.field)
        if change.based_on == version - 1 and self._is_last(person, change, source):
            return version
        if change.based_on != version:
            raise ManualReview(
                f"the field is at version {version}, the change was based on {change.based_on}"
            )
        state = State(change.item, change.field, change.value, version + 1)
        self._append(person, state, source, change.clerk, at_us)
        return state.version

    def copy(self, person: str, fields: Iterable[State], *, source: str, at_us: int) -> None:
        """Take over what the original says, where it is newer than the copy. Inside the node's effect."""
        for state in fields:
            if state.version > self.version(person, state.item, state.field):
                self._append(person, state, source, "", at_us)

    def _is_last(self, person: str, change: Change, source: str) -> bool:
        """Whether a field stands as this change, by this clerk, made it."""
        last = self.audit(person, change.item, change.field)[-1]
        return (last["value"], last["clerk"], last["source"]) == (change.value, change.clerk, source)

    def _append(self, person: str, state: State, source: str, clerk: str, at_us: int) -> None:
        entries = self.audit(person, state.item, state.field)
        old_digest = entries[-1]["new_digest"] if entries else ""
        values = (
            person,
            state.item,
            state.field,
            state.version,
            state.value,
            source,
            clerk,
            at_us,
            old_digest,
        )
        self._db.execute(
            "INSERT INTO entry(person, item, field, version, value, source, clerk, at_us, old_digest, new_digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, digest(values)),
        )

    def audit(self, person: str, item: str, field: str) -> list[sqlite3.Row]:
        """The entries of a field, the first first: version, value, source, clerk, at_us and both digests."""
        return self._db.execute(
            "SELECT person, item, field, version, value, source, clerk, at_us, old_digest, new_digest FROM entry"
            " WHERE person = ? AND item = ? AND field = ? ORDER BY version",
            (person, item, field),
        ).fetchall()

    def is_whole(self, person: str, item: str, field: str) -> bool:
        """Whether each entry of a field continues the one before, and says what it said when it was made."""
        before = ""
        for row in self.audit(person, item, field):
            if row["old_digest"] != before or row["new_digest"] != digest(tuple(row)[:-1]):
                return False
            before = row["new_digest"]
        return True

    def data_version(self) -> int:
        """A number that rises with every entry of this application: the `dataversion` of its events."""
        return int(self._db.execute("SELECT ifnull(max(number), 0) FROM entry").fetchone()[0])

    def is_news(self, person: str, version: int) -> bool:
        """Whether the other application's event tells something that was not heard yet."""
        row = self._db.execute("SELECT version FROM heard WHERE person = ?", (person,)).fetchone()
        return row is None or version > row["version"]

    def hear(self, person: str, version: int) -> None:
        """Keep up to which version of the other application its news was heard. Inside the node's effect."""
        self._db.execute(
            "INSERT INTO heard VALUES (?1, ?2) ON CONFLICT DO UPDATE SET version = max(version, ?2)",
            (person, version),
        )


def digest(values: tuple[object, ...]) -> str:
    """SHA-256 over an entry, which holds the digest of the entry before it."""
    return sha256(repr(values).encode()).hexdigest()


def fields_of(card: Card) -> tuple[State, ...]:
    """The fields of an answer; none where they were not asked for."""
    return () if card.fields is UNSET else card.fields


async def follow(
    node: Node, record: PairedRecord, service: PersonalService[Empty, Card], event: Event, person: str
) -> None:
    """Handle the other application's event: ask for its side, unless something newer was heard already."""
    version = event.dataversion or 0
    if not record.is_news(person, version):
        return
    card = await node.ask(event.source, service, Empty(), subject=person, procedure=VACCINATION)
    with node.effect():
        record.copy(person, fields_of(card), source=event.source, at_us=node.host.now_us())
        record.hear(person, version)
