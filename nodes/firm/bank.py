"""A bank (金融機関) as public bodies meet it: it takes transfer orders, and credits accounts.

Rules kept here:
1. One order is one transfer: the same order again brings the same outcome and moves no money.
2. An order that comes again with another content is not carried out; a clerk looks at it.
3. Money goes to an account only if the name on the order is the name of its holder, as the bank reads it.
4. The bank hears of an account and an amount. It hears no 個人番号 and no linkage code, and not why.

Codes of banks, branches and accounts have the lengths of 全国銀行協会's formats (4, 3 and 7 digits).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from mesh import Caller, ManualReview, Node, Service, serves
from mesh.names import Zone, member_of
from mesh.service import Name
from nodes.agency.code_issuer import check_named
from nodes.data.name_key import name_key

BankCode = Annotated[str, Meta(pattern="^[0-9]{4}$")]
BranchCode = Annotated[str, Meta(pattern="^[0-9]{3}$")]
AccountNumber = Annotated[str, Meta(pattern="^[0-9]{7}$")]
OrderNumber = Annotated[str, Meta(pattern="^[a-z]{2}-[0-9]{6}$")]
Outcome = Literal["paid", "no-account", "name-differs"]
"""What became of an order; the last two are 振込不能, and the money stays with the payer."""


class Account(Struct, frozen=True):
    """Where money is to go."""

    bank: BankCode
    branch: BranchCode
    number: AccountNumber
    holder_kana: Name


class TransferQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """An order to transfer money (振込依頼); `order` is the payer's own number of it."""

    order: OrderNumber
    account: Account
    yen: Annotated[int, Meta(gt=0)]


class Transferred(Struct, frozen=True):
    """What became of the order."""

    outcome: Outcome


TRANSFER = Service(
    "bank.transfer.v1", TransferQuery, Transferred, title="Transfer money to an account", title_ja="口座振込"
)


class Bank(Node):
    """The transfer desk of one bank; public bodies reach it over LGWAN."""

    title: ClassVar[str] = "Bank transfers"
    title_ja: ClassVar[str] = "口座振込"
    zone: ClassVar[str] = Zone.LGWAN
    schema: ClassVar[str] = """
    CREATE TABLE account(
      bank TEXT NOT NULL, branch TEXT NOT NULL, number TEXT NOT NULL, holder_kana TEXT NOT NULL,
      balance_yen INTEGER NOT NULL, PRIMARY KEY (bank, branch, number));
    CREATE TABLE transfer(
      payer TEXT NOT NULL, number TEXT NOT NULL, account_bank TEXT NOT NULL, account_branch TEXT NOT NULL,
      account_number TEXT NOT NULL, holder_kana TEXT NOT NULL, yen INTEGER NOT NULL, outcome TEXT NOT NULL,
      PRIMARY KEY (payer, number));
    """

    def open_account(self, account: Account) -> None:
        """Open an account for whom the bank has identified (犯罪収益移転防止法4条)."""
        with self.effect():
            self.db.execute(
                "INSERT INTO account VALUES (?, ?, ?, ?, 0)",
                (account.bank, account.branch, account.number, account.holder_kana),
            )

    def balance_yen(self, account: Account) -> int:
        """What is on an account; 0 for one that does not exist."""
        row = self.db.execute(
            "SELECT balance_yen FROM account WHERE bank = ? AND branch = ? AND number = ?", _key(account)
        ).fetchone()
        return 0 if row is None else int(row["balance_yen"])

    def transfers_from(self, payer: str) -> list[tuple[str, str, int]]:
        """The orders of one payer, in order: (number, outcome, yen)."""
        rows = self.db.execute(
            "SELECT number, outcome, yen FROM transfer WHERE payer = ? ORDER BY rowid", (payer,)
        )
        return [(row["number"], row["outcome"], row["yen"]) for row in rows]

    @serves(TRANSFER)
    async def transfer(self, query: TransferQuery, caller: Caller) -> Transferred:
        """Carry an order out, once."""
        check_named(caller)
        payer = member_of(caller.address)
        account = query.account
        content = (*_key(account), account.holder_kana, query.yen)
        known = self.db.execute(
            "SELECT account_bank, account_branch, account_number, holder_kana, yen, outcome FROM transfer"
            " WHERE payer = ? AND number = ?",
            (payer, query.order),
        ).fetchone()
        if known is not None:
            if tuple(known)[:-1] != content:
                raise ManualReview("the order came before with another content")
            return Transferred(known["outcome"])
        outcome = self._outcome_of(account)
        with self.effect():
            self.db.execute(
                "INSERT INTO transfer VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (payer, query.order, *content, outcome),
            )
            if outcome == "paid":
                self.db.execute(
                    "UPDATE account SET balance_yen = balance_yen + ?"
                    " WHERE bank = ? AND branch = ? AND number = ?",
                    (query.yen, *_key(account)),
                )
        return Transferred(outcome)

    def _outcome_of(self, account: Account) -> Outcome:
        row = self.db.execute(
            "SELECT holder_kana FROM account WHERE bank = ? AND branch = ? AND number = ?", _key(account)
        ).fetchone()
        if row is None:
            return "no-account"
        return "paid" if name_key(row["holder_kana"]) == name_key(account.holder_kana) else "name-differs"


def _key(account: Account) -> tuple[str, str, str]:
    return account.bank, account.branch, account.number
