"""The gateway of the portal for private firms (マイナポータルAPI): 電子申請等API and 自己情報取得API.

Rules kept here:
1. A firm uses an API only while デジタル庁 has approved it for that API (マイナポータルAPI利用規約).
2. An application is carried to the relay server as the firm sealed it: nothing of it can be read here.
3. Self-information goes to a firm only under the resident's consent, which names scope, purpose, term and uses.
   The uses are counted here, since this node gives the answers.
4. The municipality answers the resident's own look (自己情報), asked under the portal's code; which firm will read
   it is for the portal to know. What passes is not kept.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Caller, FromCopy, MeshError, Node, NotFound, PersonalService, Refused, Service, serves
from mesh.names import Zone
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of
from nodes.municipality.tax import INCOME, SELF_DISCLOSURE, IncomeQuery
from nodes.portal.application import ONLINE, Filing, Receipt, State
from nodes.portal.application_server import FILE, SERVER, STATES, FileQuery, FileReply, StatesQuery

API: Final = "gov/portal/api"

Api = Literal["application", "self-information"]
CityCode = Annotated[str, Meta(pattern="^[0-9]{5}$")]
Yen = Annotated[int, Meta(ge=0)]
Year = Annotated[int, Meta(ge=1950, le=2200)]


class CarryQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application that a resident signed in the caller's app, sealed there for the municipality."""

    filing: Filing


class StateQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An application that the caller filed."""

    receipt: Receipt


class StateReply(Struct, frozen=True):
    """Where it stands."""

    state: State


class SelfIncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The resident's income in a tax year; they name the city of their 1 January."""

    tax_year: Year
    city: CityCode


class SelfIncome(FromCopy, frozen=True):
    """What the resident would see of it in the portal, in the items consented to."""

    tax_year: Year | UnsetType = UNSET
    total_income_yen: Yen | UnsetType = UNSET
    tax_yen: Yen | UnsetType = UNSET


API_FILE = Service(
    "api.file.v1",
    CarryQuery,
    FileReply,
    title="File an application from a private app",
    title_ja="電子申請等API",
)
API_STATE = Service(
    "api.state.v1",
    StateQuery,
    StateReply,
    title="Where an application from a private app stands",
    title_ja="電子申請等API（処理状況の照会）",
)
SELF_INCOME = PersonalService(
    "self.income.v1",
    SelfIncomeQuery,
    SelfIncome,
    title="A resident's own income, with their consent",
    title_ja="自己情報取得API（所得・個人住民税情報）",
)


class ApiGateway(Node):
    """Lets approved firms file for residents and read what residents consent to."""

    title: ClassVar[str] = "Gateway for firms"
    title_ja: ClassVar[str] = "民間事業者向けAPI"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = """
    CREATE TABLE approval(
      firm TEXT NOT NULL, api TEXT NOT NULL, until TEXT NOT NULL, PRIMARY KEY (firm, api));
    CREATE TABLE carried(receipt TEXT PRIMARY KEY, firm TEXT NOT NULL);
    """

    def approve(self, app: str, api: Api, until: str) -> None:
        """デジタル庁 approves a firm's app for an API up to a day, or changes that day."""
        with self.effect():
            self.db.execute("INSERT OR REPLACE INTO approval VALUES (?, ?, ?)", (app, api, until))

    @serves(API_FILE)
    async def carry(self, query: CarryQuery, caller: Caller) -> FileReply:
        """Carry a sealed application to the relay server; refuses with the code of the relay server."""
        check_named(caller)
        self._check_approved(caller, "application")
        receipt = query.filing.receipt
        known = self.db.execute("SELECT firm FROM carried WHERE receipt = ?", (receipt,)).fetchone()
        if known is not None and known["firm"] != caller.address:
            raise MeshError("schema_invalid", "the receipt number is another application's")
        carried = FileQuery(query.filing, caller.address)
        try:
            reply = await self.ask(SERVER, FILE, carried, procedure=ONLINE)
        except Refused as refused:
            raise _passed_on(refused) from refused
        with self.effect():
            self.db.execute("INSERT OR IGNORE INTO carried VALUES (?, ?)", (receipt, caller.address))
        return reply

    @serves(API_STATE)
    async def state(self, query: StateQuery, caller: Caller) -> StateReply:
        """Where an application stands; `not_found` for one that another firm filed."""
        check_named(caller)
        self._check_approved(caller, "application")
        row = self.db.execute(
            "SELECT 1 FROM carried WHERE receipt = ? AND firm = ?", (query.receipt, caller.address)
        ).fetchone()
        if row is None:
            raise NotFound
        try:
            reply = await self.ask(SERVER, STATES, StatesQuery((query.receipt,)), procedure=ONLINE)
        except Refused as refused:
            raise _passed_on(refused) from refused
        return StateReply(reply.states[0])

    @serves(SELF_INCOME)
    async def income(self, query: SelfIncomeQuery, caller: Caller, person: str) -> SelfIncome:
        """The resident's income, as far as the consent goes; the broker and this node have checked it."""
        self._check_approved(caller, "self-information")
        try:
            reply = await self.ask(
                f"muni/{query.city}/tax",
                INCOME,
                IncomeQuery(query.tax_year),
                subject=person,
                procedure=SELF_DISCLOSURE,
                items=caller.items,
            )
        except Refused as refused:
            raise _passed_on(refused) from refused
        return SelfIncome(reply.tax_year, reply.total_income_yen, reply.tax_yen, as_of=reply.as_of)

    def _check_approved(self, caller: Caller, api: Api) -> None:
        """`no_legal_basis` unless the approval of the caller stands today."""
        row = self.db.execute(
            "SELECT 1 FROM approval WHERE firm = ? AND api = ? AND until >= ?",
            (caller.address, api, day_of(self.host.now_us()).isoformat()),
        ).fetchone()
        if row is None:
            raise MeshError("no_legal_basis", "デジタル庁 has not approved the caller for this API")


def _passed_on(refused: Refused) -> MeshError:
    """The code of who refused, for the firm; a lost answer is this node's failure, and may have had its effect."""
    return MeshError(refused.code if refused.definite else "handler_failed", refused.text)
