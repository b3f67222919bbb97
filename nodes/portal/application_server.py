"""The relay server (連携サーバ) of ぴったりサービス: takes applications from the internet, holds them for the municipalities.

Rules kept here:
1. A filing is taken only with a signature certificate that holds at that moment (デジタル手続法6条, 公的個人認証法17条).
2. One receipt number is one application, however often it is sent.
3. Each municipality fetches its own, from its side: the connection is never opened from here (三層の対策, 特定通信).
4. The server cannot read what it holds: applications are sealed for the municipality.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from msgspec import Struct

from mesh import Caller, MeshError, Node, NotFound, Service, serves
from mesh.builtin import Empty
from mesh.message import encode
from mesh.names import Zone
from nodes.agency.card import read_certificate
from nodes.agency.code_issuer import check_named
from nodes.agency.signature import authority_of, check_certificate
from nodes.portal.application import ApiUser, Filing, Receipt, State

SERVER: Final = "gov/portal/application-server"
FETCH_MAX: Final = 20


class FileQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application to be held for its municipality."""

    filing: Filing
    sealed_by: ApiUser | None = None
    """Whose seal it is, where the caller carries what another node sealed (電子申請等API)."""


class FileReply(Struct, frozen=True):
    """When it was filed, µs since 1970 UTC: the same for every repeat."""

    filed_us: int


class Waiting(Struct, frozen=True):
    """An application that its municipality has not taken yet."""

    filing: Filing
    sender: str
    """Who sealed it."""
    filed_us: int


class FetchReply(Struct, frozen=True):
    """The caller's applications, the oldest first, at most `FETCH_MAX`."""

    waiting: tuple[Waiting, ...]


class ReportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where an application of the caller's municipality stands."""

    receipt: Receipt
    state: State


class StatesQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks where applications that the caller filed stand."""

    receipts: tuple[Receipt, ...]


class StatesReply(Struct, frozen=True):
    """Their states, in the order asked for."""

    states: tuple[State, ...]


FILE = Service("application.file.v1", FileQuery, FileReply, title="File an application", title_ja="電子申請")
FETCH = Service(
    "application.fetch.v1", Empty, FetchReply, title="Fetch waiting applications", title_ja="申請データの取得"
)
REPORT = Service(
    "application.report.v1",
    ReportQuery,
    Empty,
    title="Report where an application stands",
    title_ja="処理状況の登録",
)
STATES = Service(
    "application.states.v1",
    StatesQuery,
    StatesReply,
    title="Where applications stand",
    title_ja="処理状況の照会",
)

_filing_decoder = msgspec.json.Decoder(Filing)


class ApplicationServer(Node):
    """Holds sealed applications until their municipality has taken them, and the state of each."""

    title: ClassVar[str] = "Relay server of applications"
    title_ja: ClassVar[str] = "連携サーバ"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE application(
      receipt TEXT PRIMARY KEY, sender TEXT NOT NULL, sealed_by TEXT NOT NULL, recipient TEXT NOT NULL,
      filing BLOB NOT NULL, filed_us INTEGER NOT NULL, state TEXT NOT NULL);
    CREATE INDEX application_by_recipient ON application(recipient, state);
    """

    @serves(FILE)
    async def file(self, query: FileQuery, caller: Caller) -> FileReply:
        """Take an application; a repeat gets the same answer. Refuses with the code of the certificate."""
        check_named(caller)
        filing, filed_us = query.filing, self.host.now_us()
        known = self._filed_us(filing, caller.address)
        if known is not None:
            return FileReply(known)
        serial = read_certificate(filing.certificate, authority_of(self, filing.certificate)).serial
        await check_certificate(self, serial, filed_us)
        with self.effect():
            self.db.execute(
                "INSERT OR IGNORE INTO application VALUES (?, ?, ?, ?, ?, ?, 'filed')",
                (
                    filing.receipt,
                    caller.address,
                    query.sealed_by or caller.address,
                    filing.recipient,
                    encode(filing),
                    filed_us,
                ),
            )
            known = self._filed_us(filing, caller.address)
        return FileReply(filed_us if known is None else known)

    def _filed_us(self, filing: Filing, sender: str) -> int | None:
        """When this very filing was taken; `schema_invalid` if the receipt number is another's."""
        row = self.db.execute(
            "SELECT filed_us, sender, filing FROM application WHERE receipt = ?", (filing.receipt,)
        ).fetchone()
        if row is None:
            return None
        if (row["sender"], row["filing"]) != (sender, encode(filing)):
            raise MeshError("schema_invalid", "the receipt number is another application's")
        return int(row["filed_us"])

    @serves(FETCH)
    async def fetch(self, query: Empty, caller: Caller) -> FetchReply:
        """What waits for the caller's municipality. It stays until the municipality reports it received."""
        check_named(caller)
        rows = self.db.execute(
            "SELECT filing, sealed_by, filed_us FROM application WHERE recipient = ? AND state = 'filed'"
            " ORDER BY filed_us, receipt LIMIT ?",
            (caller.address, FETCH_MAX),
        )
        return FetchReply(
            tuple(
                Waiting(_filing_decoder.decode(row["filing"]), row["sealed_by"], row["filed_us"])
                for row in rows
            )
        )

    @serves(REPORT)
    async def report(self, query: ReportQuery, caller: Caller) -> Empty:
        """Note where an application stands; `not_found` for another municipality's."""
        check_named(caller)
        with self.effect():
            changed = self.db.execute(
                "UPDATE application SET state = ? WHERE receipt = ? AND recipient = ?",
                (query.state, query.receipt, caller.address),
            ).rowcount
            if not changed:
                raise NotFound
        return Empty()

    @serves(STATES)
    async def states(self, query: StatesQuery, caller: Caller) -> StatesReply:
        """Where applications stand; `not_found` for one that the caller did not file."""
        check_named(caller)
        found = [
            self.db.execute(
                "SELECT state FROM application WHERE receipt = ? AND sender = ?", (receipt, caller.address)
            ).fetchone()
            for receipt in query.receipts
        ]
        if None in found:
            raise NotFound
        return StatesReply(tuple(row["state"] for row in found))
