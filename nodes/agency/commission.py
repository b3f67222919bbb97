"""The commission (個人情報保護委員会): it looks afterwards, and guides.

Rules kept here:
1. It keeps every party's signed heads, and takes a new one only with proof that it continues the old: who
   rewrites a past that was once signed for is found.
2. It lays requester's, broker's and provider's records side by side, and asks the code issuer whether both
   ends mean one person: that alone finds a broker that swapped subjects.
3. Where an office asked about many persons in an hour, it asks for the case of each exchange. Many is a reason to
   look; an exchange without a case is a finding.
4. What it finds leads to guidance (指導・助言, 番号法33条; of public bodies also 個人情報保護法157条), which is all
   that is played: it stops nothing and orders nothing. The law gives it more for 特定個人情報: 勧告 (番号法34条1項), 命令 to
   whoever does not follow (2項), 緊急命令 (3項). Under 個人情報保護法 it guides and recommends to public bodies only.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import Struct

from mesh import MeshError, Node, NotFound, Refused, Service
from mesh.builtin import LEDGER_HEAD, LEDGER_ROWS, ROWS_MAX, Empty, HeadQuery, RowsQuery
from mesh.ledger import Head, Row, check_tail, read_head, read_row, verify_consistency
from mesh.merkle import EMPTY_ROOT
from mesh.names import BROKER, Zone, member_of
from mesh.service import MessageId
from nodes.agency.case_check import CASES, CASES_MAX, CasesQuery
from nodes.agency.code_issuer import ISSUER, SAME_PERSON, SamePersonQuery
from nodes.agency.harvesting import Burst, bursts
from nodes.agency.reconciliation import Finding, Pair, compare, compare_marks, gather, pairs, runs_back

COMMISSION: Final = "gov/ppc/oversight"
OVERSIGHT: Final = "oversight"
"""The task under which it asks."""
NO_CASE: Final = "case_missing"


class GuidanceQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Guidance (指導・助言) for an office, and the exchanges that it is about."""

    number: int
    party: str
    text: str
    text_ja: str
    messages: tuple[MessageId, ...]


GUIDANCE = Service(
    "oversight.guidance.v1",
    GuidanceQuery,
    Empty,
    title="Guidance by the commission",
    title_ja="個人情報保護委員会の指導・助言",
)


class Commission(Node):
    """Inspects ledgers after the fact (番号法35条) and keeps what it found."""

    title = "Oversight"
    title_ja = "監視・監督"
    zone = Zone.CLOUD
    schema = """
    CREATE TABLE head(party TEXT PRIMARY KEY, size INTEGER NOT NULL, root TEXT NOT NULL, token TEXT NOT NULL);
    CREATE TABLE finding(
      number INTEGER PRIMARY KEY, found_us INTEGER NOT NULL, code TEXT NOT NULL, party TEXT NOT NULL,
      message TEXT NOT NULL, text TEXT NOT NULL, text_ja TEXT NOT NULL, guidance INTEGER)
    """

    def start(self) -> None:
        """Nothing has been asked of the issuer yet."""
        self._same: dict[tuple[str, str], bool] = {}

    async def reconcile(self, parties: list[str]) -> list[Finding]:
        """Inspect these parties and the broker; returns what does not agree, and keeps it.

        Exchanges still under way when the inspection begins wait for the next one. A ledger that cannot be
        had, or whose head does not hold, is a finding; the other ledgers are compared without it.
        """
        before_us = self.host.now_us()
        ledgers: dict[str, list[Row]] = {}
        findings: list[Finding] = []
        for party in dict.fromkeys((*parties, BROKER)):
            try:
                ledgers[party] = await self._inspect(party)
            except MeshError as error:
                findings.append(_of_ledger(party, error))
        settled = gather(ledgers, before_us)
        findings += runs_back(ledgers)
        for records in settled:
            findings += compare(records, ledgers, self._lapsed)
        findings += compare_marks(ledgers, settled)
        self._same.clear()
        for records in settled:
            for pair in pairs(records):
                findings += await self._check_person(pair)
        self._keep(findings)
        return findings

    def _lapsed(self, party: str, at_us: int) -> int:
        """How many generations of a party's keys counted no more at a time."""
        return self.party.view.lookup(party).lapsed(at_us)

    async def check_use(self) -> list[Finding]:
        """Ask every office that asked about many persons in an hour for its cases; returns what has none."""
        findings: list[Finding] = []
        try:
            for burst in bursts(await self._inspect(BROKER)):
                findings += await self._ask_cases(burst)
        except MeshError as error:
            findings.append(_of_ledger(BROKER, error))
        self._keep(findings)
        return findings

    async def _ask_cases(self, burst: Burst) -> list[Finding]:
        cases: list[str] = []
        for start in range(0, len(burst.messages), CASES_MAX):
            query = CasesQuery(burst.messages[start : start + CASES_MAX])
            try:
                cases += (await self.ask(burst.office, CASES, query, procedure=OVERSIGHT)).cases
            except Refused as refused:
                return [_of_ledger(burst.office, refused)]
        none = [message for message, case in zip(burst.messages, cases, strict=True) if case == "none"]
        return [_of_use(burst, message) for message in none]

    def findings(self) -> list[sqlite3.Row]:
        """All that was ever found, the oldest first: found_us, code, party, message, text, text_ja, guidance."""
        return self.db.execute("SELECT * FROM finding ORDER BY number").fetchall()

    async def guide(self, party: str) -> int:
        """Give guidance on what was found of a municipality's office and not guided yet; returns its number.

        It goes to whoever is in charge of privacy there. Raises `NotFound` if there is nothing, and `Refused`.
        """
        rows = self.db.execute(
            "SELECT * FROM finding WHERE party = ? AND guidance IS NULL ORDER BY number", (party,)
        ).fetchall()
        if not rows:
            raise NotFound("nothing was found that waits for guidance")
        number = rows[0]["number"]
        messages = tuple(row["message"] for row in rows if row["message"])
        query = GuidanceQuery(number, party, rows[0]["text"], rows[0]["text_ja"], messages)
        await self.ask(f"{member_of(party)}/privacy", GUIDANCE, query, procedure=OVERSIGHT)
        with self.effect():
            self.db.executemany(
                "UPDATE finding SET guidance = ? WHERE number = ?", [(number, row["number"]) for row in rows]
            )
        return int(number)

    async def _inspect(self, party: str) -> list[Row]:
        """A party's records up to a head that it signed now; `ledger_broken`, or `Refused` by the party."""
        known = self._known_head(party)
        answer = await self.ask(party, LEDGER_HEAD, HeadQuery(known.size), procedure=OVERSIGHT)
        key = self.party.view.signer(answer.head, party)
        head = read_head(answer.head, key.verify_key)
        key.check_since(head.time_us, self.host.now_us())
        if head.party != party:
            raise MeshError("ledger_broken", f"the head that {party} gave is another party's")
        path = [bytes.fromhex(one) for one in answer.path]
        verify_consistency(known.size, head.size, path, bytes.fromhex(known.root), bytes.fromhex(head.root))
        rows = await self._fetch_rows(party, head.size)
        check_tail(rows, head)
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?)", (party, head.size, head.root, answer.head)
            )
        return [read_row(row) for row in rows]

    def _known_head(self, party: str) -> Head:
        row = self.db.execute("SELECT size, root FROM head WHERE party = ?", (party,)).fetchone()
        return (
            Head(party, 0, EMPTY_ROOT.hex(), 0) if row is None else Head(party, row["size"], row["root"], 0)
        )

    async def _fetch_rows(self, party: str, size: int) -> list[bytes]:
        rows: list[bytes] = []
        while len(rows) < size:
            query = RowsQuery(len(rows), min(size, len(rows) + ROWS_MAX))
            answer = await self.ask(party, LEDGER_ROWS, query, procedure=OVERSIGHT)
            if not answer.rows:
                break
            rows += (row.encode() for row in answer.rows)
        return rows

    async def _check_person(self, pair: Pair) -> list[Finding]:
        """Whether both ends meant one person; only the code issuer can say."""
        codes = (pair.asked, pair.second)
        if codes not in self._same:
            self._same[codes] = await self._ask_same(SamePersonQuery(*codes))
        return [] if self._same[codes] else [_of_persons(pair)]

    async def _ask_same(self, query: SamePersonQuery) -> bool:
        try:
            return (await self.ask(ISSUER, SAME_PERSON, query, procedure=OVERSIGHT)).same
        except Refused as refused:
            if refused.code not in ("linkage_code_unknown", "schema_invalid"):
                raise
            return False

    def _keep(self, findings: list[Finding]) -> None:
        found_us = self.host.now_us()
        with self.effect():
            for one in findings:
                self.db.execute(
                    "INSERT INTO finding(found_us, code, party, message, text, text_ja) VALUES (?, ?, ?, ?, ?, ?)",
                    (found_us, one.code, one.party, one.message, one.text, one.text_ja),
                )


def _of_ledger(party: str, error: MeshError) -> Finding:
    """A ledger as a whole does not hold, or could not be had."""
    if isinstance(error, Refused) and error.code != "not_found":
        return Finding(
            error.code,
            party,
            "",
            f"{party} could not be inspected ({error.code}); it is asked for a report",
            f"{party} を検査できませんでした（{error.code}）。報告を求めます",
        )
    return Finding(
        "ledger_broken",
        party,
        "",
        f"the ledger of {party} does not hold: {error.text}; it is asked to explain",
        f"{party} の記録は署名付き要約と一致しません。説明を求めます",
    )


def _of_use(burst: Burst, message: str) -> Finding:
    """An exchange for which an office has no case."""
    return Finding(
        NO_CASE,
        burst.office,
        message,
        f"{burst.office} asked about {burst.persons} persons within an hour for {burst.procedure} and has no case for this "
        "exchange; it is asked to explain, and to report a breach if there was none",
        f"{burst.office} は1時間に{burst.persons}人について照会し、この照会に対応する事案がありません。説明と、必要な場合は"
        "漏えい等報告を求めます",
    )


def _of_persons(pair: Pair) -> Finding:
    return Finding(
        "ledger_broken",
        BROKER,
        pair.key[1],
        f"{pair.key[0]} asked about one person and {pair.other} {'permitted' if pair.other == BROKER else 'answered'} "
        "about another; the broker, which translates the codes, is asked to explain",
        f"{pair.key[0]} の照会と {pair.other} の{'許可' if pair.other == BROKER else '提供'}は別人のものです。"
        "符号を変換した情報提供ネットワークシステムに説明を求めます",
    )
