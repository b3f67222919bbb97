"""A payment agent (指定納付受託者): charges wallets for fees that people owe to municipalities.

Rules kept here:
1. An order of a municipality is charged once; the same order again gets the same answer (exactly once).
2. What was charged is owed to the municipality, less what was paid back (地方自治法231条の2の5).
3. It learns that an order was paid, and never what was ordered.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, NotFound, Service, Withheld, serves
from mesh.names import Zone, member_of
from mesh.service import Date
from nodes.agency.code_issuer import check_named
from nodes.data.calendar import day_of

OrderKey = Annotated[str, Meta(pattern="^od-[0-9]{6}$")]
Wallet = Annotated[str, Meta(pattern="^w-[a-z]{1,20}$")]
Yen = Annotated[int, Meta(ge=0)]


class ChargeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An order of the caller's municipality, its amount, and the wallet that was tapped."""

    order: OrderKey
    amount_yen: Annotated[int, Meta(ge=1)]
    wallet: Wallet


class Charged(Struct, frozen=True):
    """The day on which the payment was entrusted (納付の委託を受けた日)."""

    entrusted_on: Date


class RefundQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An order of the caller's municipality that was charged."""

    order: OrderKey


class Refunded(Struct, frozen=True):
    """What went back to the wallet."""

    amount_yen: Yen


PAYMENT_CHARGE = Service(
    "payment.charge.v1", ChargeQuery, Charged, title="Charge a wallet for a fee", title_ja="納付の委託"
)
PAYMENT_REFUND = Service(
    "payment.refund.v1", RefundQuery, Refunded, title="Pay a charge back", title_ja="納付委託の取消し・返金"
)


class PaymentAgent(Node):
    """Keeps wallets and what was charged to them."""

    title: ClassVar[str] = "Payment agent"
    title_ja: ClassVar[str] = "指定納付受託者"
    zone: ClassVar[str] = Zone.INTERNET
    schema: ClassVar[str] = """
    CREATE TABLE wallet(key TEXT PRIMARY KEY, balance_yen INTEGER NOT NULL CHECK (balance_yen >= 0));
    CREATE TABLE charge(
      member TEXT NOT NULL, "order" TEXT NOT NULL, wallet TEXT NOT NULL, amount_yen INTEGER NOT NULL,
      entrusted_on TEXT NOT NULL, refunded INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (member, "order"));
    """

    def open_wallet(self, key: str, balance_yen: int) -> None:
        """Open a customer's wallet."""
        with self.effect():
            self.db.execute("INSERT INTO wallet VALUES (?, ?)", (key, balance_yen))

    def balance_yen(self, key: str) -> int:
        """What a wallet holds; `NotFound` for one that was never opened."""
        row = self.db.execute("SELECT balance_yen FROM wallet WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise NotFound("there is no such wallet")
        return int(row["balance_yen"])

    def owed_yen(self, member: str) -> int:
        """What is owed to a municipality."""
        row = self.db.execute(
            "SELECT coalesce(sum(amount_yen), 0) AS yen FROM charge WHERE member = ? AND NOT refunded",
            (member,),
        ).fetchone()
        return int(row["yen"])

    def refunds(self, wallet: str) -> list[int]:
        """What was paid back to a wallet, in order of the charges."""
        rows = self.db.execute(
            "SELECT amount_yen FROM charge WHERE wallet = ? AND refunded ORDER BY rowid", (wallet,)
        )
        return [row["amount_yen"] for row in rows]

    @serves(PAYMENT_CHARGE)
    async def charge(self, query: ChargeQuery, caller: Caller) -> Charged:
        """Charge a wallet, once for each order; `withheld` if it holds too little."""
        check_named(caller)
        member = member_of(caller.address)
        known = self.db.execute(
            'SELECT * FROM charge WHERE member = ? AND "order" = ?', (member, query.order)
        ).fetchone()
        if known is not None:
            if known["refunded"] or known["amount_yen"] != query.amount_yen:
                raise ManualReview("the order was charged otherwise, or paid back")
            return Charged(known["entrusted_on"])
        if self.balance_yen(query.wallet) < query.amount_yen:
            raise Withheld("the wallet holds too little")
        today = day_of(self.host.now_us()).isoformat()
        with self.effect():
            self._move(query.wallet, -query.amount_yen)
            self.db.execute(
                "INSERT INTO charge VALUES (?, ?, ?, ?, ?, 0)",
                (member, query.order, query.wallet, query.amount_yen, today),
            )
        return Charged(today)

    @serves(PAYMENT_REFUND)
    async def refund(self, query: RefundQuery, caller: Caller) -> Refunded:
        """Pay a charge back to the wallet that it came from, once."""
        check_named(caller)
        key = (member_of(caller.address), query.order)
        row = self.db.execute('SELECT * FROM charge WHERE member = ? AND "order" = ?', key).fetchone()
        if row is None:
            raise NotFound("the order was never charged")
        if not row["refunded"]:
            with self.effect():
                self._move(row["wallet"], row["amount_yen"])
                self.db.execute('UPDATE charge SET refunded = 1 WHERE member = ? AND "order" = ?', key)
        return Refunded(row["amount_yen"])

    def _move(self, wallet: str, yen: int) -> None:
        self.db.execute("UPDATE wallet SET balance_yen = balance_yen + ? WHERE key = ?", (yen, wallet))
