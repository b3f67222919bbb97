"""COVID-19 vaccination (新型コロナワクチン接種), 2021 to 2024: a city's vouchers, its residents' doses, and VRS.

Rules kept here:
1. A voucher (接種券) for the next dose is made out when the doses before it are known (予防接種法6条の臨時接種,
   新型コロナウイルス感染症に係る予防接種の実施に関する手引き).
2. Where a resident was vaccinated elsewhere, the other city's record is looked up in VRS: after the resident
   ticked that they agree, or, since mid-December 2021, without.
3. A person is named to VRS by a token that stands for the personal number; the city's own code stays here.
4. What turns out to be about somebody who does not live here is deleted when it is found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import ClassVar, Final

from mesh import Node, NotFound
from mesh.names import Zone
from nodes.agency.vrs import (
    CONSENT_DIFFICULT,
    CONSENTED,
    ENTRUSTED,
    VRS,
    VRS_BATCH,
    VRS_BATCH_RESULT,
    VRS_RECORD,
    VRS_REGISTER,
    VRS_REPORT,
    Batch,
    Dose,
    JobQuery,
    LookUp,
    Resident,
    Taken,
)
from nodes.municipality.paired_record import VACCINATION
from nodes.municipality.vaccination_ledger import VACCINATION_HISTORY, HistoryQuery

PRIMARY_DOSES: Final = 2
"""How many doses make the first series (初回接種)."""


class CovidVaccination(Node):
    """The office that sends out vouchers in one municipality."""

    title: ClassVar[str] = "COVID-19 vaccination"
    title_ja: ClassVar[str] = "新型コロナワクチン接種"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE resident(
      code TEXT PRIMARY KEY, token TEXT NOT NULL UNIQUE, since TEXT NOT NULL, from_city TEXT,
      agreed INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE dose(
      token TEXT NOT NULL, number INTEGER NOT NULL, given_on TEXT NOT NULL, maker TEXT NOT NULL,
      source TEXT NOT NULL, PRIMARY KEY (token, number));
    CREATE TABLE voucher(code TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (code, number));
    """

    # Residents and their doses.

    def enter(self, code: str, token: str, *, since: str, from_city: str | None = None) -> None:
        """Take up a resident, as the register's list of the day says."""
        with self.effect():
            self.db.execute(
                "INSERT INTO resident(code, token, since, from_city) VALUES (?, ?, ?, ?)",
                (code, token, since, from_city),
            )

    def agree(self, code: str) -> None:
        """Enter that a resident ticked, on the application for a voucher, that the other city may be asked."""
        with self.effect():
            self.db.execute("UPDATE resident SET agreed = 1 WHERE code = ?", (code,))

    async def vaccinate(self, code: str, number: int, given_on: str, maker: str) -> None:
        """A venue of this city vaccinates a resident: VRS knows it at once."""
        dose = Dose(self._resident(code)["token"], number, given_on, maker)
        await self.ask(VRS, VRS_REPORT, dose, procedure=ENTRUSTED)
        self._keep([dose], "venue")

    async def register_residents(self) -> None:
        """Register in the city's compartment of VRS who lives here."""
        for row in self.db.execute("SELECT token, since FROM resident ORDER BY code").fetchall():
            await self.ask(VRS, VRS_REGISTER, Resident(row["token"], row["since"]), procedure=ENTRUSTED)

    def bring_certificate(self, code: str, doses: Iterable[tuple[int, str, str]]) -> None:
        """Enter what the vaccination certificate (接種済証) says that a resident brought."""
        token = self._resident(code)["token"]
        self._keep([Dose(token, *dose) for dose in doses], "paper")

    # Asking elsewhere.

    async def ask_ledger(self, code: str, number: int) -> None:
        """The way before VRS: ask the ledger of the city they came from, which answers from its copy.

        Raises `Refused`, with `replica_missing` where the slips have not got that far.
        """
        row = self._resident(code)
        await self.ask(
            f"muni/{row['from_city']}/vaccination-ledger",
            VACCINATION_HISTORY,
            HistoryQuery(f"covid-{number}"),
            subject=code,
            procedure=VACCINATION,
        )

    async def look_up(self, code: str) -> int:
        """Look a resident up in VRS, in the city they came from; returns how many doses it has.

        The question claims the person's consent if they gave it, and else that it is difficult to obtain;
        whether that reading is in force is the law's matter. Raises `Refused`.
        """
        row = self._resident(code)
        procedure = CONSENTED if row["agreed"] else CONSENT_DIFFICULT
        query = LookUp(row["token"], row["from_city"])
        doses = (await self.ask(VRS, VRS_RECORD, query, procedure=procedure)).doses
        self._keep(doses, VRS)
        return len(doses)

    async def send_batch(self, tokens: Iterable[str]) -> Taken:
        """Send VRS a file of people to look for in all compartments. Raises `Refused`."""
        return await self.ask(VRS, VRS_BATCH, Batch(tuple(tokens)), procedure=CONSENT_DIFFICULT)

    async def fetch_batch(self, taken: Taken) -> int:
        """Fetch the answer to a file; returns how many doses it has. Raises `Refused` before the next day."""
        query = JobQuery(taken.job)
        doses = (await self.ask(VRS, VRS_BATCH_RESULT, query, procedure=CONSENT_DIFFICULT)).doses
        self._keep(doses, VRS)
        return len(doses)

    def delete_strangers(self) -> int:
        """Delete what is kept about people who do not live here; returns how many people it was."""
        where = "token NOT IN (SELECT token FROM resident)"
        count = self.db.execute(f"SELECT count(DISTINCT token) FROM dose WHERE {where}").fetchone()[0]  # noqa: S608
        with self.effect():
            self.db.execute(f"DELETE FROM dose WHERE {where}")  # noqa: S608
        return int(count)

    # Vouchers.

    def make_vouchers(self) -> int:
        """Make out vouchers for the third dose where the first series is known; returns how many are new."""
        with self.effect():
            cursor = self.db.execute(
                "INSERT OR IGNORE INTO voucher SELECT code, ?1 + 1 FROM resident WHERE"
                " (SELECT count(*) FROM dose WHERE dose.token = resident.token AND number <= ?1) = ?1",
                (PRIMARY_DOSES,),
            )
        return cursor.rowcount

    def has_voucher(self, code: str) -> bool:
        """Whether a voucher was made out to a resident."""
        return self.db.execute("SELECT 1 FROM voucher WHERE code = ?", (code,)).fetchone() is not None

    def sources(self, code: str) -> list[str]:
        """Where each known dose of a resident was learned of, the first first."""
        rows = self.db.execute(
            "SELECT source FROM dose JOIN resident USING (token) WHERE code = ? ORDER BY number", (code,)
        )
        return [row["source"] for row in rows]

    def _resident(self, code: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM resident WHERE code = ?", (code,)).fetchone()
        if row is None:
            raise NotFound("the office has no such resident")
        return row

    def _keep(self, doses: Iterable[Dose], source: str) -> None:
        with self.effect():
            self.db.executemany(
                "INSERT OR REPLACE INTO dose VALUES (?, ?, ?, ?, ?)",
                [(one.token, one.number, one.given_on, one.maker, source) for one in doses],
            )
