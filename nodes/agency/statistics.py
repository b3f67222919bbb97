"""The statistics office (総務省統計局): gathers cities' counts and publishes them as open data (オープンデータ).

Rules kept here:
1. It asks every city for counts, never for persons, and keeps what it was told under lock.
2. A city that does not answer is not reported (…), which is not zero; totals say of how many cities they are.
3. What is published has its small cells and their complements withheld (x; see `disclosure_control`).
4. Of the same residents on the same day one table is published, once. Another table whose groups overlap, or a later
   edition with a city more, would be subtracted from it, so a person must decide (`manual_review`).
5. Published is a CSV for machines, with an entry in the catalogue (官民データ活用推進基本法11条; DCAT, CC BY 4.0).
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, NotFound, Refused, Service, serves
from mesh.builtin import Empty
from mesh.message import encode
from mesh.names import Zone
from mesh.service import Date
from nodes.agency.disclosure_control import Cell, with_totals, withheld_cells
from nodes.agency.statistics_tables import TABLES, TableDefinition
from nodes.data.calendar import day_of
from nodes.data.municipalities import Municipality
from nodes.municipality.statistics import PROCEDURE, TABLE_COUNTS, TableQuery

STATISTICS: Final = "gov/mic/statistics"
LICENCE: Final = "https://creativecommons.org/licenses/by/4.0/"
WITHHELD, NOT_REPORTED = "x", "…"
"""The signs of Japanese tables for 秘匿 and for 不詳."""


DatasetId = Annotated[str, Meta(pattern="^[a-z]+(-[a-z]+)*-[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
"""A table and its day: `residents-by-care-age-2026-04-01`."""


class Dataset(
    Struct,
    frozen=True,
    rename={
        "identifier": "dct:identifier", "title": "dct:title", "title_ja": "dct:title@ja",
        "publisher": "dct:publisher", "licence": "dct:license", "issued": "dct:issued",
        "reference": "dct:temporal", "columns": "csvw:columns", "note": "dct:description",
        "media_type": "dcat:mediaType", "sha256": "spdx:checksum",
    },
):  # fmt: skip
    """One entry of the catalogue, named as DCAT names it."""

    identifier: DatasetId
    title: str
    title_ja: str
    publisher: str
    licence: str
    issued: Date
    reference: Date
    columns: tuple[str, ...]
    note: str
    media_type: str
    sha256: str


class Catalogue(Struct, frozen=True, rename={"datasets": "dcat:dataset"}):
    """Everything that is published."""

    datasets: tuple[Dataset, ...]


class FileQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a dataset's file."""

    dataset: DatasetId


class File(Struct, frozen=True):
    """The file as it was published."""

    csv: str


CATALOGUE = Service(
    "opendata.catalogue.v1",
    Empty,
    Catalogue,
    title="Catalogue of open data",
    title_ja="オープンデータのカタログ",
)
OPEN_FILE = Service(
    "opendata.file.v1", FileQuery, File, title="File of open data", title_ja="オープンデータのファイル"
)


class StatisticsOffice(Node):
    """Gathers counts, withholds what is small, and publishes the rest."""

    title: ClassVar[str] = "Statistics Bureau"
    title_ja: ClassVar[str] = "統計局"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = """
    CREATE TABLE report(
      key TEXT NOT NULL, on_date TEXT NOT NULL, city TEXT NOT NULL, counts BLOB, refused TEXT,
      PRIMARY KEY (key, on_date, city));
    CREATE TABLE dataset(id TEXT PRIMARY KEY, on_date TEXT NOT NULL UNIQUE, entry BLOB NOT NULL, csv TEXT NOT NULL);
    """

    # What its staff does.

    async def gather(self, key: str, on: str, cities: Sequence[Municipality]) -> list[str]:
        """Ask every city that has not reported; returns the codes of those that did not answer."""
        known = self.reported(key, on)
        asked = [city for city in cities if city.code not in known]
        answers = await asyncio.gather(*(self._ask_city(city, TableQuery(key, on)) for city in asked))
        with self.effect():
            self.db.executemany(
                "INSERT OR REPLACE INTO report VALUES (?, ?, ?, ?, ?)",
                [(key, on, city.code, *answer) for city, answer in zip(asked, answers, strict=True)],
            )
        return [city.code for city, (counts, _) in zip(asked, answers, strict=True) if counts is None]

    async def _ask_city(self, city: Municipality, query: TableQuery) -> tuple[bytes | None, str | None]:
        try:
            answer = await self.ask(f"{city.member}/statistics", TABLE_COUNTS, query, procedure=PROCEDURE)
        except Refused as refused:
            return None, refused.code
        return encode(answer.counts), None

    def reported(self, key: str, on: str) -> dict[str, tuple[int, ...]]:
        """The counts of each city that reported, by its code; they do not leave this office."""
        rows = self.db.execute(
            "SELECT city, counts FROM report WHERE key = ? AND on_date = ? AND counts IS NOT NULL ORDER BY city",
            (key, on),
        )
        return {row["city"]: msgspec.json.decode(row["counts"], type=tuple[int, ...]) for row in rows}

    def release(self, key: str, on: str, cities: Sequence[Municipality]) -> Dataset:
        """Publish a table of these cities.

        Raises `ManualReview` if there is one of the same day, which could be subtracted, and `NotFound` for a
        table that is not defined or that nobody reported.
        """
        if key not in TABLES or not self.reported(key, on):
            raise NotFound("there is nothing to publish")
        if self.db.execute("SELECT 1 FROM dataset WHERE on_date = ?", (on,)).fetchone():
            raise ManualReview("a table of the same residents on the same day is published already")
        text, note = self._write(TABLES[key], on, cities)
        entry = self._describe(TABLES[key], on, note, text)
        with self.effect():
            self.db.execute(
                "INSERT INTO dataset VALUES (?, ?, ?, ?)", (entry.identifier, on, encode(entry), text)
            )
        return entry

    def _write(self, definition: TableDefinition, on: str, cities: Sequence[Municipality]) -> tuple[str, str]:
        """The CSV, and what its description says of it."""
        reported = self.reported(definition.key, on)
        present = [city for city in cities if city.code in reported]
        table = with_totals([reported[city.code] for city in present])
        withheld = withheld_cells(table)
        rows = {city.code: _shown(table, withheld, place) for place, city in enumerate(present)}
        unknown = [NOT_REPORTED] * (len(definition.from_ages) + 1)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(("code", "municipality", *definition.columns, "total"))
        for city in cities:
            writer.writerow((city.code, city.name_ja, *rows.get(city.code, unknown)))
        note = f"{len(present)} of {len(cities)} municipalities reported; totals are of these. x: withheld. …: not reported."
        writer.writerow(
            ("", f"合計（報告のあった{len(present)}団体）", *_shown(table, withheld, len(present)))
        )
        return file.getvalue(), note

    def _describe(self, definition: TableDefinition, on: str, note: str, text: str) -> Dataset:
        return Dataset(
            identifier=f"{definition.key}-{on}",
            title=definition.title,
            title_ja=definition.title_ja,
            publisher=self.member,
            licence=LICENCE,
            issued=day_of(self.host.now_us()).isoformat(),
            reference=on,
            columns=("code", "municipality", *definition.columns, "total"),
            note=note,
            media_type="text/csv",
            sha256=hashlib.sha256(text.encode()).hexdigest(),
        )

    # What everybody may ask.

    @serves(CATALOGUE)
    async def catalogue(self, query: Empty, caller: Caller) -> Catalogue:
        """Everything that is published, by name and day."""
        rows = self.db.execute("SELECT entry FROM dataset ORDER BY id")
        return Catalogue(tuple(msgspec.json.decode(row["entry"], type=Dataset) for row in rows))

    @serves(OPEN_FILE)
    async def open_file(self, query: FileQuery, caller: Caller) -> File:
        """A dataset's file, for anybody."""
        row = self.db.execute("SELECT csv FROM dataset WHERE id = ?", (query.dataset,)).fetchone()
        if row is None:
            raise NotFound("no such dataset is published")
        return File(row["csv"])


def _shown(table: Sequence[Sequence[int]], withheld: Sequence[Cell], row: int) -> list[str]:
    """One row as it is published."""
    return [WITHHELD if (row, place) in withheld else str(count) for place, count in enumerate(table[row])]
