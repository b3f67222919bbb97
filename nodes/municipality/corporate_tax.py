"""Corporate inhabitant tax (法人住民税): who is taxed, and the notices of change that corporations file.

Rules kept here:
1. A corporation that changes its name or moves files it (条例による法人の設立・異動等の届出). The copy of the corporate
   registry stands for 登記事項証明書, so nobody attaches one.
2. The registry decides: what is filed and not registered, or of a corporation that is closed, is taken by nobody
   (会社法915条: first the register).
3. A copy older than a day is compared with its source before it is used, and any copy before it says no. If the
   source cannot be reached, the corporation is asked for the paper.
4. An address is written from the registries, not kept: when a town gets another name, every address in it has it
   from that day on, and nobody files anything (商業登記法26条: the register counts as changed).
5. A number with a wrong check digit is nobody's.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any, ClassVar, Final, Literal

from msgspec import Struct
from stdnum.jp.cn import is_valid

from mesh import Caller, Node, NotFound, Refused, serves
from mesh.names import Zone
from nodes.agency.base_registry import SIGNAL, SignalQuery, SignalReply
from nodes.agency.corporate_registry import Corporation
from nodes.data.calendar import day_of
from nodes.data.name_key import name_key
from nodes.municipality.registry_copy import SCHEMA, RegistryCopy, corporations, towns

Outcome = Literal["accepted", "not-registered", "paper"]
FRESH_US: Final = 86_400_000_000
"""How long after a comparison with its source a copy may be used; illustrative."""


class Filing(Struct, frozen=True):
    """A notice of change (異動届出書) and what came of it."""

    number: int
    corporation: str
    name: str
    filed_on: str
    outcome: Outcome
    version: int
    """Of the copy by which it was decided."""


class CorporateTaxOffice(Node):
    """The system 法人住民税 of one municipality."""

    title: ClassVar[str] = "Corporate inhabitant tax"
    title_ja: ClassVar[str] = "法人住民税"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = (
        SCHEMA
        + """
    CREATE TABLE taxpayer(corporation TEXT PRIMARY KEY, since TEXT NOT NULL);
    CREATE TABLE filing(
      number INTEGER PRIMARY KEY, corporation TEXT NOT NULL, name TEXT NOT NULL, filed_on TEXT NOT NULL,
      outcome TEXT NOT NULL, version INTEGER NOT NULL);
    """
    )

    @property
    def corporations(self) -> RegistryCopy[Corporation]:
        """The office's own copy of the corporate registry."""
        return corporations(self)

    @property
    def towns(self) -> RegistryCopy[Any]:
        """The office's own copy of the address registry."""
        return towns(self)

    @property
    def today(self) -> str:
        """The day in Japan by the office's own clock."""
        return day_of(self.host.now_us()).isoformat()

    # What its staff does.

    async def refresh(self) -> None:
        """Compare both copies with their sources; raises `Refused` if one cannot be reached."""
        for copy in (self.corporations, self.towns):
            await self._refresh(copy)

    def register(self, corporation: str) -> None:
        """Enter a corporation with an office here; `NotFound` unless the copy has it."""
        self._known(corporation)
        with self.effect():
            self.db.execute("INSERT INTO taxpayer VALUES (?, ?)", (corporation, self.today))

    async def take_notice(self, corporation: str, name: str, *, paper: bool = False) -> Filing:
        """Take in a notice that a corporation now has a name; with `paper`, 登記事項証明書 is attached.

        Raises `NotFound` for a number that cannot be anybody's.
        """
        if not is_valid(corporation):
            raise NotFound("the check digit of this 法人番号 is another: it was written down wrongly")
        outcome: Outcome = "accepted"
        if not paper:
            outcome = await self._compare(corporation, name)
        filing = Filing(0, corporation, name, self.today, outcome, self.corporations.version)
        with self.effect():
            number = self.db.execute(
                "INSERT INTO filing(corporation, name, filed_on, outcome, version) VALUES (?, ?, ?, ?, ?)"
                " RETURNING number",
                (corporation, name, filing.filed_on, outcome, filing.version),
            ).fetchone()["number"]
            if outcome == "accepted":
                self.db.execute(
                    "INSERT OR IGNORE INTO taxpayer VALUES (?, ?)", (corporation, filing.filed_on)
                )
        return Filing(number, corporation, name, filing.filed_on, outcome, filing.version)

    async def _compare(self, corporation: str, name: str) -> Outcome:
        """What the registry says of a notice."""
        fresh = self.host.now_us() - self.corporations.checked_us <= FRESH_US
        if fresh and self._is_named(corporation, name):
            return "accepted"
        try:
            await self._refresh(self.corporations)
        except Refused:
            return "paper"
        return "accepted" if self._is_named(corporation, name) else "not-registered"

    def _is_named(self, corporation: str, name: str) -> bool:
        entry = self.corporations.find(corporation, self.today)
        return entry is not None and not entry.closed and name_key(entry.name) == name_key(name)

    def edit(self, entry: Corporation) -> None:
        """Correct the copy by hand."""
        with self.effect():
            self.corporations.edit(entry)

    def settle(self, conflict: int) -> None:
        """Look at a conflict: the source's entry stands."""
        with self.effect():
            self.corporations.settle(conflict)

    def filings(self) -> list[sqlite3.Row]:
        """Every notice, the oldest first: number, corporation, name, filed_on, outcome, version."""
        return self.db.execute("SELECT * FROM filing ORDER BY number").fetchall()

    def taxpayers(self) -> list[str]:
        """The numbers of the corporations taxed here, in the order in which they came."""
        return [
            row["corporation"] for row in self.db.execute("SELECT corporation FROM taxpayer ORDER BY rowid")
        ]

    def name_of(self, corporation: str) -> str:
        """The name as of today."""
        return self._known(corporation).name

    def address_of(self, corporation: str) -> str:
        """The seat as an envelope has it today."""
        entry = self._known(corporation)
        town = self.towns.find(entry.town, self.today)
        if town is None or town.abolished:
            raise NotFound("the copy of the address registry has no such town")
        return f"{town.written}{entry.block}"

    def _known(self, corporation: str) -> Corporation:
        entry = self.corporations.find(corporation, self.today)
        if entry is None:
            raise NotFound("the copy of the corporate registry has no such number")
        return entry

    # What it is told.

    @serves(SIGNAL)
    async def on_signal(self, query: SignalQuery, caller: Caller) -> SignalReply:
        """A registry has something new: fetch it, and say what the copy has then."""
        copy: RegistryCopy[Any] = self.corporations if query.registry == "corporate" else self.towns
        if copy.version < query.version:
            with suppress(Refused):  # the registry hears from the reply that it must tell again
                await self._refresh(copy)
        return SignalReply(copy.version)

    async def _refresh(self, copy: RegistryCopy[Any]) -> None:
        fetched = await copy.fetch()
        with self.effect():
            copy.take(fetched)
