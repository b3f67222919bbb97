"""The register of accounts for public benefits (公金受取口座, 公的給付支給等口座登録簿) of デジタル庁.

Rules kept here:
1. A person registers one account of their own, freely (口座登録法3条). The registry cannot know that the
   account is theirs: it takes what comes through the portal under their name.
2. A body that pays a benefit may ask for the account (口座登録法9条). The register is made for answering, so it
   has no copy besides (副本).
3. An account that a body found to be somebody else's is not given any more until the person registers anew:
   an official writes to them (as デジタル庁 did with the misregistrations found in June 2023).

It is a member of its own, so that its codes are not those of the broker, which デジタル庁 runs too. Whether an
account exists is checked with the bank at registration; that check, and the ways to register through a tax
return or a bank, are not modelled.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import Caller, ManualReview, Node, NotFound, NoticeType, PersonalService, receives, serves
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.service import Date, Name
from nodes.data.table import JST
from nodes.firm.bank import Account, AccountNumber, BankCode, BranchCode

ACCOUNTS: Final = "gov/accounts/registry"
"""The address of the one node of this class."""

Suspicion = Literal["family", "stranger"]
"""Whose account it seems to be: of a family member (家族名義), or of somebody else (誤登録)."""


class RegisterQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person fills in on the portal."""

    account: Account


class Registered(Struct, frozen=True):
    """That the account is registered."""

    registered_on: Date


class RegisteredAccount(Struct, frozen=True):
    """What the copy of a bankbook (通帳の写し) would show."""

    bank: BankCode | UnsetType = UNSET
    branch: BranchCode | UnsetType = UNSET
    number: AccountNumber | UnsetType = UNSET
    holder_kana: Name | UnsetType = UNSET


class Doubt(Struct, frozen=True, forbid_unknown_fields=True):
    """That a body found a registered account to be somebody else's; `last_three` tells which one it saw."""

    suspicion: Suspicion
    last_three: Annotated[str, Meta(pattern="^[0-9]{3}$")]


REGISTER = PersonalService(
    "accounts.register.v1",
    RegisterQuery,
    Registered,
    title="Register an account for public benefits",
    title_ja="公金受取口座の登録",
)
REGISTERED_ACCOUNT = PersonalService(
    "accounts.account.v1",
    Empty,
    RegisteredAccount,
    title="Registered account for public benefits",
    title_ja="公的給付支給等口座情報",
)
ACCOUNT_DOUBT = NoticeType(
    "accounts.doubt.v1",
    Doubt,
    title="A registered account seems not to be the person's",
    title_ja="誤登録の連絡",
)


class AccountRegistry(Node):
    """The one register; `code` is always its own linkage code of a person."""

    title: ClassVar[str] = "Accounts for public benefits"
    title_ja: ClassVar[str] = "公金受取口座"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE account(
      code TEXT PRIMARY KEY, bank TEXT NOT NULL, branch TEXT NOT NULL, number TEXT NOT NULL,
      holder_kana TEXT NOT NULL, registered_us INTEGER NOT NULL, stopped TEXT);
    """

    @serves(REGISTER)
    async def register(self, query: RegisterQuery, caller: Caller, person: str) -> Registered:
        """Register the one account of a person, in place of the one before."""
        now_us = self.host.now_us()
        account = query.account
        with self.effect():
            self.db.execute(
                "INSERT OR REPLACE INTO account VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (person, account.bank, account.branch, account.number, account.holder_kana, now_us),
            )
        return Registered(datetime.fromtimestamp(now_us / 1_000_000, tz=JST).date().isoformat())

    @serves(REGISTERED_ACCOUNT)
    async def account(self, query: Empty, caller: Caller, person: str) -> RegisteredAccount:
        """The account of a person; an official decides about one that was stopped."""
        row = self._row_of(person)
        if row is None:
            raise NotFound("no account is registered")
        if row["stopped"] is not None:
            raise ManualReview("the account was found to be somebody else's")
        return RegisteredAccount(row["bank"], row["branch"], row["number"], row["holder_kana"])

    @receives(ACCOUNT_DOUBT)
    async def stop(self, doubt: Doubt, caller: Caller, person: str) -> None:
        """Give an account to nobody any more, unless the person has registered another one since."""
        row = self._row_of(person)
        if row is None or not row["number"].endswith(doubt.last_three):
            return
        with self.effect():
            self.db.execute("UPDATE account SET stopped = ? WHERE code = ?", (doubt.suspicion, person))

    def stopped(self) -> list[tuple[str, str]]:
        """The accounts that are not given any more, for officials: (code, suspicion), in order."""
        rows = self.db.execute("SELECT code, stopped FROM account WHERE stopped IS NOT NULL ORDER BY rowid")
        return [(row["code"], row["stopped"]) for row in rows]

    def _row_of(self, code: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM account WHERE code = ?", (code,)).fetchone()
        return row
