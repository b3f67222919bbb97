"""The cash desk of one municipality (収納): fees for certificates, paid cashless at the counter.

Rules kept here:
1. A fee is entrusted to a designated payment agent (指定納付受託者, 地方自治法231条の2の2, 231条の2の3), and
   counts as paid on the day on which it was entrusted (231条の2の5).
2. One order is charged once, however often somebody taps; a refused order's fee is paid back once.
3. It knows an order's key and amount, and neither who pays nor for what. It stands in the LGWAN zone, between
   the register and the agent on the internet.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, NotFound, Service, serves
from mesh.names import Zone
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of
from nodes.firm.payment_agent import PAYMENT_CHARGE, PAYMENT_REFUND, ChargeQuery, OrderKey, RefundQuery

Yen = Annotated[int, Meta(ge=0)]
PROCEDURE = "fees"


class OrderQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An order of a counter of this municipality."""

    order: OrderKey


class Paid(Struct, frozen=True):
    """What stands paid for the order: 0 before, and after it was paid back."""

    amount_yen: Yen


FEE_PAID = Service(
    "fee.paid.v1", OrderQuery, Paid, title="Whether a fee is paid", title_ja="手数料の納付の確認"
)
FEE_REFUND = Service("fee.refund.v1", OrderQuery, Paid, title="Pay a fee back", title_ja="手数料の還付")


class CashDesk(Node):
    """Takes and pays back fees through one payment agent."""

    title: ClassVar[str] = "Cash desk"
    title_ja: ClassVar[str] = "収納"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE agent(address TEXT PRIMARY KEY, since TEXT NOT NULL);
    CREATE TABLE receipt(
      "order" TEXT PRIMARY KEY, agent TEXT NOT NULL, amount_yen INTEGER NOT NULL, paid_on TEXT NOT NULL,
      refunded INTEGER NOT NULL DEFAULT 0);
    """

    def designate(self, agent: str) -> None:
        """Designate a payment agent (指定納付受託者の指定)."""
        with self.effect():
            self.db.execute("INSERT INTO agent VALUES (?, ?)", (agent, self._today()))

    async def take_payment(self, order: str, amount_yen: int, wallet: str, agent: str) -> str:
        """Have the agent charge a wallet for an order; returns the day on which the fee counts as paid.

        What the terminal at the counter does when somebody taps. Raises `ManualReview` for an agent that is
        not designated, `Refused` if the agent declines.
        """
        if self.db.execute("SELECT 1 FROM agent WHERE address = ?", (agent,)).fetchone() is None:
            raise ManualReview("the municipality has not designated this agent")
        query = ChargeQuery(order, amount_yen, wallet)
        charged = await self.ask(agent, PAYMENT_CHARGE, query, procedure=PROCEDURE)
        with self.effect():
            self.db.execute(
                "INSERT OR IGNORE INTO receipt VALUES (?, ?, ?, ?, 0)",
                (order, agent, amount_yen, charged.entrusted_on),
            )
        return charged.entrusted_on

    @serves(FEE_PAID)
    async def paid(self, query: OrderQuery, caller: Caller) -> Paid:
        """What stands paid for an order."""
        check_named(caller)
        row = self.db.execute(
            'SELECT amount_yen FROM receipt WHERE "order" = ? AND NOT refunded', (query.order,)
        ).fetchone()
        return Paid(0 if row is None else row["amount_yen"])

    @serves(FEE_REFUND)
    async def refund(self, query: OrderQuery, caller: Caller) -> Paid:
        """Have the agent pay a fee back, for the counter that a row names."""
        check_named(caller)
        row = self.db.execute('SELECT agent FROM receipt WHERE "order" = ?', (query.order,)).fetchone()
        if row is None:
            raise NotFound("nothing was paid for this order")
        await self.ask(row["agent"], PAYMENT_REFUND, RefundQuery(query.order), procedure=PROCEDURE)
        with self.effect():
            self.db.execute('UPDATE receipt SET refunded = 1 WHERE "order" = ?', (query.order,))
        return Paid(0)

    def takings_yen(self) -> int:
        """What the receipts add up to, without what was paid back."""
        row = self.db.execute("SELECT coalesce(sum(amount_yen), 0) AS yen FROM receipt WHERE NOT refunded")
        return int(row.fetchone()["yen"])

    def _today(self) -> str:
        return day_of(self.host.now_us()).isoformat()
