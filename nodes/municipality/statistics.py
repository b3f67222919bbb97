"""The city's statistics desk (統計担当): counts its own residents for tables that are defined, and says numbers only.

Rules kept here:
1. The register counts, and nothing about a person leaves it: the desk holds counts alone.
2. Only a defined table is counted, in its own groups: whoever could ask for any group would subtract two of them.
3. A table of a day is counted once. Asked again, the desk gives the same counts, so that two answers have no
   difference that would tell of one resident.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from mesh import Caller, Node, NotFound, Service, serves
from mesh.message import encode
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.code_issuer import check_named
from nodes.agency.statistics_tables import TABLES, TableKey
from nodes.municipality.resident import COUNTS, Counts, CountsQuery

PROCEDURE: Final = "policy-evidence"


class TableQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a city's counts of a defined table on a day."""

    table: TableKey
    on: Date


TABLE_COUNTS = Service(
    "statistics.counts.v1",
    TableQuery,
    Counts,
    title="A city's counts of a table",
    title_ja="統計表の市区町村別集計",
)


class StatisticsDesk(Node):
    """The statistics desk of one municipality."""

    title: ClassVar[str] = "Statistics desk"
    title_ja: ClassVar[str] = "統計担当"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE counted(key TEXT NOT NULL, on_date TEXT NOT NULL, counts BLOB NOT NULL, PRIMARY KEY (key, on_date));
    """

    @serves(TABLE_COUNTS)
    async def counts(self, query: TableQuery, caller: Caller) -> Counts:
        """The city's counts, for the publisher whom a row names; `NotFound` for a table that is not defined."""
        check_named(caller)
        if query.table not in TABLES:
            raise NotFound("no such table is defined")
        key = (query.table, query.on)
        known = self._known(key)
        if known is not None:
            return known
        groups = CountsQuery(query.on, TABLES[query.table].from_ages)
        answer = await self.ask(f"{self.member}/resident", COUNTS, groups, procedure=PROCEDURE)
        with self.effect():
            # Somebody else may have asked meanwhile: the first counts stay.
            self.db.execute("INSERT OR IGNORE INTO counted VALUES (?, ?, ?)", (*key, encode(answer)))
        return self._known(key) or answer

    def _known(self, key: tuple[str, str]) -> Counts | None:
        """What was counted of a table and a day before."""
        row = self.db.execute("SELECT counts FROM counted WHERE key = ? AND on_date = ?", key).fetchone()
        return None if row is None else msgspec.json.decode(row["counts"], type=Counts)
