"""The write-free counter (書かない窓口): the clerk asks, the city's own data fills the forms in, the resident confirms.

Rules kept here:
1. Nothing is opened before the clerk has checked who stands there: one document with a photograph that is of that
   person, or two without (本人確認), and the register has exactly one such resident.
2. What is filled in comes from inside the same body, where ordinance allows it (番号法9条2項).
3. A clerk opens the procedures of their role. A helper (デジタル推進委員) greets and explains, has no role that opens
   data, and never handles a PIN: a resident who confirms with the card types it into the reader.
4. The resident confirms each form as it is shown, by hand or with their own card; what was changed since is confirmed
   again, nothing else is filed, and what was filed or printed is not filed a second time.
5. Where a system cannot be reached its form is printed, and the others go on.

After 北見市's 書かない窓口; the roles and what is kept of a visit are illustrative.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from mesh import ManualReview, Node, NotFound, Refused, Withheld
from mesh.builtin import Empty
from mesh.errors import Step
from mesh.message import decode, encode
from mesh.names import Zone
from mesh.service import Name
from nodes.agency.card import Signed
from nodes.agency.signature import check_signature
from nodes.data.name_key import name_key
from nodes.municipality.asking import ask_household
from nodes.municipality.counter_forms import KINDS, Answers, Facts
from nodes.municipality.resident import (
    BY_CERTIFICATE,
    IDENTIFY,
    RECORD,
    CertificateQuery,
    IdentifyQuery,
)

PROCEDURE: Final = "write-free-counter"
HELPER: Final = "helper"


class Document(NamedTuple):
    """A document as the clerk reads it."""

    kind: Literal["card", "licence", "pension-book", "eligibility-confirmation"]
    """個人番号カード, 運転免許証, 年金手帳, 資格確認書 (in place of 健康保険証, which ended on 2025-12-01)."""
    name: str
    born: str

    @property
    def has_photograph(self) -> bool:
        """Whether one look at it can tell whose it is."""
        return self.kind in ("card", "licence")


class Confirmation(Struct, frozen=True, forbid_unknown_fields=True):
    """What a resident signs with the card: which form, by the digest of what was shown."""

    form: Name
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


_confirmation_decoder = msgspec.json.Decoder(Confirmation)


class Counter(Node):
    """The one counter of a municipality at which all forms are filled in."""

    title: ClassVar[str] = "Write-free counter"
    title_ja: ClassVar[str] = "書かない窓口"
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = """
    CREATE TABLE role(staff TEXT NOT NULL, procedure TEXT NOT NULL, PRIMARY KEY (staff, procedure));
    CREATE TABLE visit(
      number INTEGER PRIMARY KEY, wishes TEXT NOT NULL, greeted_by TEXT NOT NULL, person TEXT);
    CREATE TABLE form(
      visit INTEGER NOT NULL REFERENCES visit, key TEXT NOT NULL, content BLOB NOT NULL,
      state TEXT NOT NULL DEFAULT 'shown', confirmed TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '',
      PRIMARY KEY (visit, key));
    CREATE TABLE denied(at_us INTEGER NOT NULL, staff TEXT NOT NULL, procedure TEXT NOT NULL);
    """

    # Who may do what.

    def give_role(self, staff: str, procedures: Iterable[str]) -> None:
        """Let a clerk open procedures; a helper is given `HELPER`, which opens none."""
        with self.effect():
            self.db.executemany(
                "INSERT OR IGNORE INTO role VALUES (?, ?)", [(staff, one) for one in procedures]
            )

    def _check_role(self, staff: str, procedures: Iterable[str]) -> None:
        """`Withheld`, and on record, unless the staff member has the role for every procedure."""
        rows = self.db.execute("SELECT procedure FROM role WHERE staff = ?", (staff,))
        held = [row["procedure"] for row in rows]
        for procedure in procedures:
            if procedure not in held:
                with self.effect():
                    self.db.execute(
                        "INSERT INTO denied VALUES (?, ?, ?)", (self.host.now_us(), staff, procedure)
                    )
                raise Withheld("the staff member has no role for the procedure")

    def denied(self) -> list[tuple[str, str]]:
        """Who was denied what, the oldest first: (staff, procedure)."""
        rows = self.db.execute("SELECT staff, procedure FROM denied ORDER BY rowid")
        return [(row["staff"], row["procedure"]) for row in rows]

    # A visit.

    def greet(self, staff: str, wishes: Sequence[str]) -> int:
        """Open a visit for what somebody came for; a helper may, since nobody is named. Returns its number."""
        with self.effect():
            row = self.db.execute(
                "INSERT INTO visit(wishes, greeted_by) VALUES (?, ?) RETURNING number",
                (" ".join(wishes), staff),
            ).fetchone()
        return int(row["number"])

    async def identify(
        self, staff: str, visit: int, documents: Sequence[Document], *, looks_alike: bool
    ) -> None:
        """The clerk checks who stands there; `looks_alike` is what the clerk sees in the photograph.

        Raises `Withheld` for a wrong person, too few documents or a visit that is somebody else's, `NotFound` or
        `ManualReview` if the register has none or several residents of that name and birth date.
        """
        self._check_role(staff, self._wishes(visit))
        photograph = any(one.has_photograph for one in documents)
        if (photograph and not looks_alike) or (not photograph and len({one.kind for one in documents}) < 2):
            raise Withheld("the documents do not show that it is this person")
        if len({(name_key(one.name), one.born) for one in documents}) != 1:
            raise Withheld("the documents are of different persons")
        query = IdentifyQuery(documents[0].name, documents[0].born)
        codes = (await self.ask(self._register, IDENTIFY, query, procedure=PROCEDURE)).codes
        if len(codes) != 1:
            raise (
                ManualReview("the register has several such residents")
                if codes
                else NotFound("no such resident")
            )
        if self._visit(visit)["person"] not in (None, codes[0]):
            raise Withheld("the visit is somebody else's")
        with self.effect():
            self.db.execute("UPDATE visit SET person = ? WHERE number = ?", (codes[0], visit))

    async def fill_in(self, staff: str, visit: int, answers: Answers) -> dict[str, Struct]:
        """Fill in the forms of a visit from the register and the answers; shows them to the resident."""
        self._check_role(staff, self._wishes(visit))
        person = self._person(visit)
        record = await self.ask(self._register, RECORD, Empty(), subject=person, procedure=PROCEDURE)
        facts = Facts(record, await ask_household(self, person, PROCEDURE), answers)
        forms = {key: KINDS[key].make(facts) for key in self._wishes(visit)}
        with self.effect():
            self.db.executemany(
                "INSERT INTO form(visit, key, content) VALUES (?, ?, ?) ON CONFLICT (visit, key) DO UPDATE"
                " SET content = excluded.content, state = 'shown', confirmed = ''"
                " WHERE content != excluded.content AND state NOT IN ('filed', 'paper')",
                [(visit, key, encode(form)) for key, form in forms.items()],
            )
        return forms

    # What the resident does.

    def confirm_by_hand(self, visit: int, key: str, shown: Struct) -> None:
        """The resident signs a form on the tablet as it was shown; `ManualReview` if it was changed since."""
        self._confirm(visit, key, digest_of(shown), "by hand")

    async def confirm_with_card(self, visit: int, key: str, signed: Signed) -> None:
        """The resident confirms a form with the card; the PIN went into the reader and nowhere else.

        Raises `Withheld` for somebody else's card.
        """
        certificate, document = await check_signature(self, signed, self.host.now_us())
        query = CertificateQuery(certificate.serial)
        holder = await self.ask(self._register, BY_CERTIFICATE, query, procedure=PROCEDURE)
        if holder.code != self._person(visit):
            raise Withheld("the card is somebody else's")
        confirmation = decode(document, _confirmation_decoder)
        if confirmation.form != key:
            raise ManualReview("the resident signed another form")
        self._confirm(visit, key, confirmation.digest, certificate.serial)

    def decline(self, visit: int, key: str) -> None:
        """The resident does not want a form filed."""
        self._open_form(visit, key)
        self._note(visit, key, "declined")

    def _confirm(self, visit: int, key: str, digest: str, how: str) -> None:
        row = self._open_form(visit, key)
        if sha256(row["content"]).hexdigest() != digest:
            raise ManualReview("the form was changed since it was shown")
        with self.effect():
            self.db.execute(
                "UPDATE form SET state = 'confirmed', confirmed = ? WHERE visit = ? AND key = ?",
                (how, visit, key),
            )

    # Filing.

    async def file(self, staff: str, visit: int) -> dict[str, str]:
        """File what the resident confirmed; the state of each form: filed, paper, or as it was left."""
        self._check_role(staff, self._wishes(visit))
        for row in self.forms(visit):
            if row["state"] == "confirmed":
                await self._file(visit, row["key"], row["content"])
        return {row["key"]: row["state"] for row in self.forms(visit)}

    async def _file(self, visit: int, key: str, content: bytes) -> None:
        service = KINDS[key].service
        try:
            await self.ask(
                f"{self.member}/{key}",
                service,
                decode(content, msgspec.json.Decoder(service.query)),
                subject=self._person(visit),
                procedure=key,
            )
        except Refused as refused:
            if refused.step not in (Step.DELIVERY, Step.PROVIDER):
                raise
            self._note(visit, key, "paper", refused.code)
        else:
            self._note(visit, key, "filed")

    def forms(self, visit: int) -> list[sqlite3.Row]:
        """The forms of a visit: key, content, state, confirmed (how), why."""
        return self.db.execute("SELECT * FROM form WHERE visit = ? ORDER BY rowid", (visit,)).fetchall()

    # Inside.

    @property
    def _register(self) -> str:
        return f"{self.member}/resident"

    def _note(self, visit: int, key: str, state: str, why: str = "") -> None:
        with self.effect():
            self.db.execute(
                "UPDATE form SET state = ?, why = ? WHERE visit = ? AND key = ?", (state, why, visit, key)
            )

    def _visit(self, visit: int) -> sqlite3.Row:
        row: sqlite3.Row | None = self.db.execute("SELECT * FROM visit WHERE number = ?", (visit,)).fetchone()
        if row is None:
            raise NotFound("there is no such visit")
        return row

    def _wishes(self, visit: int) -> list[str]:
        return str(self._visit(visit)["wishes"]).split()

    def _person(self, visit: int) -> str:
        person = self._visit(visit)["person"]
        if person is None:
            raise Withheld("nobody has been identified")
        return str(person)

    def _form(self, visit: int, key: str) -> sqlite3.Row:
        rows = [row for row in self.forms(visit) if row["key"] == key]
        if not rows:
            raise NotFound("the visit has no such form")
        return rows[0]

    def _open_form(self, visit: int, key: str) -> sqlite3.Row:
        """A form that the resident can still decide about; `ManualReview` once it is filed or printed."""
        row = self._form(visit, key)
        if row["state"] in ("filed", "paper"):
            raise ManualReview("the form was filed or printed already")
        return row


def digest_of(form: Struct) -> str:
    """What a resident who confirms a form confirms: the SHA-256 of what was shown."""
    return sha256(encode(form)).hexdigest()
