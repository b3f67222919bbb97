"""The resident's portal (マイナポータル): letters, history, applications, consents.

Rules kept here:
1. It is a member of its own and knows residents by its own linkage code only.
2. A letter invites; nothing is granted until the resident applies (DOMAIN.md rule 12).
3. History is read from the broker when the resident looks, and not kept.
4. Consents are signed here and published to the brokers. A consent holds the firm's own code, so the portal alone can
   join the two, for those who consented.
5. A resident who withdraws is told that it is pending until every broker concerned has confirmed it; it is sent until
   then.
"""

from __future__ import annotations

import sqlite3
from typing import ClassVar, Final

from msgspec import Struct

from mesh import Caller, Node, NoticeType, Refused, UsageError, receives
from mesh.builtin import HISTORY, Empty, HistoryLine
from mesh.consent import Consent, Signers, sign_consent
from mesh.names import BROKER, Zone
from mesh.service import Date, Name, PersonalService, Q, R
from nodes.portal.consent_file import CONSENT_SCHEMA, ConsentFile, ConsentState, ResidentConsent
from nodes.portal.consent_publisher import ConsentPublisher

PORTAL: Final = "gov/portal/inbox"
HISTORY_PROCEDURE: Final = "portal-history"
DAY_US: Final = 86_400_000_000


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    """A letter to a resident: a phrase in two languages, and the last day to act, in Japan."""

    title: Name
    title_ja: Name
    due: Date


PORTAL_LETTER = NoticeType("portal.letter.v1", Letter, title="Letter to a resident", title_ja="お知らせ")


class Portal(Node):
    """Acts for residents; `person` is always the portal's own linkage code of one."""

    title = "Letters, history and consents"
    title_ja = "お知らせ・やりとり履歴"
    zone = Zone.CLOUD
    brokers: ClassVar[tuple[str, ...]] = (BROKER,)
    """The brokers concerned by its consents."""
    schema = (
        """
    CREATE TABLE letter(
      source TEXT NOT NULL, message TEXT NOT NULL, person TEXT NOT NULL, procedure TEXT NOT NULL,
      title TEXT NOT NULL, title_ja TEXT NOT NULL, due TEXT NOT NULL, received_us INTEGER NOT NULL,
      PRIMARY KEY (source, message)) WITHOUT ROWID;
    CREATE TABLE application(
      number INTEGER PRIMARY KEY, person TEXT NOT NULL, recipient TEXT NOT NULL, service TEXT NOT NULL,
      filed_us INTEGER NOT NULL, outcome TEXT NOT NULL);
    """
        + CONSENT_SCHEMA
    )

    def start(self) -> None:
        """Go on with what some broker has not confirmed yet."""
        signers = Signers(self.party.view.key, self.address.__eq__)
        self._consent_file = ConsentFile(self.db, self.brokers, signers.standing)
        self._consent_publisher = ConsentPublisher(self, self._consent_file, self.brokers)
        self._consent_publisher.start()

    # Letters.

    @receives(PORTAL_LETTER)
    async def take_letter(self, letter: Letter, caller: Caller, person: str) -> None:
        """Put a letter into the resident's inbox, once."""
        with self.effect():
            self.db.execute(
                "INSERT INTO letter VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    caller.address,
                    caller.message,
                    person,
                    caller.procedure or "",
                    letter.title,
                    letter.title_ja,
                    letter.due,
                    self.host.now_us(),
                ),
            )

    def letters(self, person: str) -> list[sqlite3.Row]:
        """The resident's letters, the oldest first: source, procedure, title, title_ja, due, received_us."""
        return self.db.execute(
            "SELECT * FROM letter WHERE person = ? ORDER BY received_us, message", (person,)
        ).fetchall()

    # History.

    async def read_history(self, person: str) -> tuple[HistoryLine, ...]:
        """Who asked what about the resident (やりとり履歴), as the broker may show it."""
        answer = await self.ask(BROKER, HISTORY, Empty(), subject=person, procedure=HISTORY_PROCEDURE)
        return answer.exchanges

    # Applications.

    async def apply(
        self, person: str, to: str, service: PersonalService[Q, R], query: Q, *, procedure: str
    ) -> R:
        """File what the resident filled in and confirmed; keeps what came of it. Raises `Refused`."""
        filed_us = self.host.now_us()
        try:
            answer = await self.ask(to, service, query, subject=person, procedure=procedure)
        except Refused as refused:
            self._keep_application(person, to, service.name, filed_us, refused.code)
            raise
        self._keep_application(person, to, service.name, filed_us, "received")
        return answer

    def _keep_application(self, person: str, to: str, service: str, filed_us: int, outcome: str) -> None:
        with self.effect():
            self.db.execute(
                "INSERT INTO application(person, recipient, service, filed_us, outcome) VALUES (?, ?, ?, ?, ?)",
                (person, to, service, filed_us, outcome),
            )

    def applications(self, person: str) -> list[sqlite3.Row]:
        """What the resident filed, the oldest first: recipient, service, filed_us, outcome."""
        return self.db.execute(
            "SELECT * FROM application WHERE person = ? ORDER BY number", (person,)
        ).fetchall()

    # Consents.

    async def grant(
        self,
        person: str,
        *,
        provider: str,
        firm: str,
        firm_code: str,
        procedure: str,
        services: tuple[str, ...],
        items: tuple[str, ...],
        days: int,
        uses: int,
    ) -> str:
        """Sign what the resident consents to and publish it; returns the consent's id.

        `provider` is the node that may answer and counts the uses. `firm_code` is the firm's own linkage code of the
        resident, which the firm brings along when it sends the resident here. The term begins now; whether it is in
        force already, `consents` says.
        """
        now_us = self.host.now_us()
        consent = Consent(
            id=self.host.new_id(now_us),
            provider=provider,
            firm=firm,
            subject=firm_code,
            procedure=procedure,
            services=services,
            items=items,
            from_us=now_us,
            until_us=now_us + days * DAY_US,
            uses=uses,
        )
        token = sign_consent(consent, self.party.keys.signing)
        with self.effect():
            self._consent_file.give(person, consent, token)
        await self.publish_consents()
        return consent.id

    async def withdraw(self, person: str, consent_id: str) -> ConsentState:
        """Withdraw a consent of this resident; returns whether that is done, or pending and sent again until it is.

        Once it is done no broker lets the firm ask. `UsageError` for a consent that the resident did not give.
        """
        with self.effect():
            known = self._consent_file.withdraw(person, consent_id)
        if not known:
            raise UsageError("the resident gave no such consent; look at consents(person)")
        await self.publish_consents()
        return next(one.state for one in self.consents(person) if one.id == consent_id)

    def consents(self, person: str) -> list[ResidentConsent]:
        """The resident's consents and where each stands, the oldest first."""
        return self._consent_file.of_person(person, self.host.now_us())

    async def publish_consents(self) -> None:
        """Tell every broker concerned what it has not confirmed; returns after it has, or after one attempt."""
        await self._consent_publisher.publish()
