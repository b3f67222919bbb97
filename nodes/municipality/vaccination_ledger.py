"""The vaccination ledger (予防接種台帳): who was vaccinated with what and when, from the slips that come in.

Before the standard it was an application beside 健康管理; today both are one standard system.

Rules kept here:
1. Each vaccination is recorded and kept (予防接種法9条の3, formerly 予防接種法施行令6条の2). The ledger has the
   original of date and lot; reasons to wait are health management's. See `paired_record`.
2. Another office may ask for a correction; it is made if nothing changed since that office looked. Else the
   ledger stays as it is, and an official there decides.
3. Other cities are answered from the copy (副本) that the office registers when the slips are in, which took
   months (番号法19条8号).
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET, Struct, UnsetType

from mesh import (
    Caller,
    Event,
    FromCopy,
    Node,
    NotFound,
    PersonalService,
    ReplicaMissing,
    instant,
    receives,
    serves,
)
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date, Name
from nodes.municipality.paired_record import (
    HEALTH_CHANGED,
    HEALTH_NOTES,
    SCHEMA,
    VACCINATION_CHANGED,
    VACCINATION_CORRECT,
    VACCINATION_RECORD,
    Card,
    Change,
    Entered,
    Item,
    PairedRecord,
    follow,
)


class HistoryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for one dose of a vaccine."""

    item: Item


class History(FromCopy, frozen=True):
    """What the vaccination certificate (接種済証) would say."""

    given_on: Date | UnsetType = UNSET
    lot: Name | UnsetType = UNSET


VACCINATION_HISTORY = PersonalService(
    "vaccination.history.v1",
    HistoryQuery,
    History,
    title="Vaccination of a person, for another city",
    title_ja="予防接種の実施に関する情報",
)


class VaccinationLedger(Node):
    """The application 予防接種台帳 of one municipality."""

    title: ClassVar[str] = "Vaccination ledger"
    title_ja: ClassVar[str] = "予防接種台帳"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = SCHEMA + (
        "CREATE TABLE replica("
        "person TEXT NOT NULL, item TEXT NOT NULL, given_on TEXT NOT NULL, lot TEXT, registered_us INTEGER NOT NULL,"
        " PRIMARY KEY (person, item));"
    )

    @property
    def record(self) -> PairedRecord:
        """The ledger's side of the record."""
        return PairedRecord(self.db, "vaccination-ledger")

    # What its staff does.

    def enter(self, person: str, change: Change) -> int:
        """Enter a slip, or correct an entry, and say so to health management; returns the new version.

        Raises `ManualReview` if the field is not this ledger's, or was changed since the clerk looked.
        """
        return self._enter(person, change, self.address)

    def register_replica(self, person: str, item: str) -> None:
        """Register the copy of a dose (副本登録)."""
        given_on, lot = (self.record.value(person, item, field) for field in ("given_on", "lot"))
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO replica VALUES (?, ?, ?, ?, ?)",
                (person, item, given_on, lot, self.host.now_us()),
            )

    # What it answers.

    @serves(VACCINATION_HISTORY)
    async def history(self, query: HistoryQuery, caller: Caller, person: str) -> History:
        """A dose, from the copy."""
        row = self.db.execute(
            "SELECT * FROM replica WHERE person = ? AND item = ?", (person, query.item)
        ).fetchone()
        if row is None:
            known = self.record.state(person, query.item, "given_on")
            raise NotFound if known is None else ReplicaMissing
        lot = UNSET if row["lot"] is None else row["lot"]
        return History(row["given_on"], lot, as_of=instant(row["registered_us"]))

    @serves(VACCINATION_RECORD)
    async def card(self, query: Empty, caller: Caller, person: str) -> Card:
        """Everything of which this ledger has the original, for health management of the same city."""
        return self.record.card(person)

    @serves(VACCINATION_CORRECT)
    async def correct(self, query: Change, caller: Caller, person: str) -> Entered:
        """Make another office's correction, if it is based on what the ledger says now."""
        return Entered(self._enter(person, query, caller.address))

    @receives(HEALTH_CHANGED)
    async def follow(self, event: Event, caller: Caller, person: str) -> None:
        """Take over what health management changed."""
        await follow(self, self.record, HEALTH_NOTES, event, person)

    def _enter(self, person: str, change: Change, source: str) -> int:
        with self.effect():
            version = self.record.enter(person, change, source=source, at_us=self.host.now_us())
            self.publish(VACCINATION_CHANGED, person, data_version=self.record.data_version())
        return version
