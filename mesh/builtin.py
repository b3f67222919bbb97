"""What every node and every broker offers by itself: ledgers to the commission, history to the portal.

Without a row of the law that names the caller the answer is no. `ledger.mark.v1` besides is for the
requester of the very exchange, and `mesh.subscription.v1` needs no row of its own: it answers about the
caller only, from the rows of the event.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from mesh.service import MessageId, PersonalService, Service

# None of these can read as a personal number: each text has a letter or, where there is none, is empty.
_ADDRESS = r"^([a-z]+/[a-z0-9-]{1,40}/[a-z0-9-]{1,40})?$"
_NAME = r"^(?=[0-9.-]*[a-z])[a-z0-9.-]*$"
_ITEMS = r"^((?=[0-9_ -]*[A-Za-z])[A-Za-z0-9_ -]*)?$"

ROWS_MAX = 500
"""Rows in one answer of `ledger.rows.v1`."""
ROWS_BYTES_MAX = 2**18
"""Bytes of rows in one answer: as JSON, sealed and signed they take at most 3.6 times as many, which a line holds."""

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class HeadQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a signed head, and proof that it continues a head of `known_size` rows."""

    known_size: Annotated[int, Meta(ge=0)] = 0


class HeadReply(Struct, frozen=True):
    """A tree head as its party signed it, and the RFC 9162 consistency path."""

    head: str
    path: tuple[Hash, ...]


class RowsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for rows from `start` to before `stop`."""

    start: Annotated[int, Meta(ge=0)]
    stop: Annotated[int, Meta(ge=0)]


class RowsReply(Struct, frozen=True):
    """The stored bytes of rows, at most `ROWS_MAX` and `ROWS_BYTES_MAX`, the first that were asked for."""

    rows: tuple[str, ...]


class MarkQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks another party of an exchange of the caller to hide it from the person (番号法23条2項)."""

    message: MessageId


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to say."""


class SubscribeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks under which row the caller hears of an event."""

    event: str


class SubscribeReply(Struct, frozen=True):
    """The row, and its citation."""

    basis: str
    citation: str


class ConsentsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What changed of the portal's consents: a `mesh.consent.Difference`, as a JWS."""

    listing: str


class ConsentsReply(Struct, frozen=True):
    """The broker confirms the version that it goes by from here on."""

    version: int


class HistoryLine(Struct, frozen=True, omit_defaults=True):
    """One exchange as its person may see it (やりとり履歴): parties, procedure, time, items; never values."""

    time_us: int
    requester: Annotated[str, Meta(pattern=_ADDRESS)]
    provider: Annotated[str, Meta(pattern=_ADDRESS)]
    service: Annotated[str, Meta(pattern=_NAME)]
    procedure: Annotated[str, Meta(pattern=_NAME)] | None = None
    items: Annotated[str, Meta(pattern=_ITEMS)] | None = None
    outcome: Annotated[str, Meta(pattern=r"^[a-z_]+$")] = "answered"


class HistoryReply(Struct, frozen=True):
    """What was asked about one person, the oldest first."""

    exchanges: tuple[HistoryLine, ...]


LEDGER_HEAD = Service(
    "ledger.head.v1", HeadQuery, HeadReply, title="Signed head of a ledger", title_ja="記録の署名付き要約"
)
LEDGER_ROWS = Service("ledger.rows.v1", RowsQuery, RowsReply, title="Rows of a ledger", title_ja="記録の行")
LEDGER_MARK = Service(
    "ledger.mark.v1", MarkQuery, Empty, title="Hide an exchange from its person", title_ja="不開示の記録"
)
SUBSCRIPTION = Service(
    "mesh.subscription.v1",
    SubscribeQuery,
    SubscribeReply,
    title="Basis of a subscription",
    title_ja="プッシュ受信の根拠",
)
CONSENTS = Service(
    "mesh.consents.v1", ConsentsQuery, ConsentsReply, title="Take over consents", title_ja="同意一覧の受入れ"
)
HISTORY = PersonalService(
    "mesh.history.v1", Empty, HistoryReply, title="Who asked what about a person", title_ja="やりとり履歴"
)
