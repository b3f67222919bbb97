"""What a ledger row claims of the messages that it names, compared with those messages.

Rules kept here:
1. A row has the columns of its kind and no others.
2. Who says that it made a message signed it; the message says what the row says, and was signed when the row says, to the
   microsecond: both are one reading of the party's clock.
3. What a party says it received was transmitted and verifies.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from mesh import jws
from mesh.consent import Consent
from mesh.errors import CODES, NOT_PROVIDED, MeshError
from mesh.ledger import Row, misfilled
from mesh.message import Kind, Permit
from mesh.names import BROKER
from mesh.parsing import decode
from mesh.party import read_line
from mesh.trace.keyring import Keys
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS, Seen

OTHER_TIME: Final = "it was signed at another time than it was recorded"
_consent_decoder: Final = msgspec.json.Decoder(Consent)


class Claims:
    """The messages of a trace, as its ledgers name them. Everything raises `MeshError` for what does not hold."""

    def __init__(self, trace: Trace, seen: dict[str, Seen]) -> None:
        self._trace = trace
        self._seen = seen
        self._keys = Keys(trace)
        # A line that was under way when the run was interrupted has at most a message and a permit.
        self._unsent_left = 0 if trace.complete else 2 * len(trace.under_way())
        self._unsent: dict[str, None] = {}

    def opened(self, row: Row) -> Seen | None:
        """The question or push that was opened; None if it never left."""
        asked = self._own(row.requestdigest, ASKS)
        if asked is not None:
            body = self._document(asked)
            stated = (body.id, body.source, body.recipient, body.type)
            check(stated == (row.id, row.requester, row.provider, row.service), "its message says otherwise")
            tasks = (getattr(body, "procedure", None), getattr(body, "items", None))
            check(tasks == (row.procedure, row.items), "its message has another procedure or other items")
            check(
                (body.subject is None) == (row.subject is None),
                "one of its records names a person and another does not",
            )
            _check_signed(asked, row.requester, row.time_us)
        return asked

    def names(self, row: Row) -> bool:
        """Whether the question names the person that was opened, as far as the seal for the broker can be opened."""
        asked = self._seen.get(row.requestdigest or "")
        if row.subject is None or asked is None or asked.code is not None:
            return True
        body = self._document(asked)
        try:
            return bool(self._keys.open(body.subject or "", BROKER, body.source) == row.subject)
        except MeshError:
            return True

    def permitted(self, row: Row) -> tuple[Seen | None, Permit | None]:
        """The permit and what it says; None twice if it never left."""
        self._received(row.requestdigest, ASKS)
        permit = self._own(row.permitdigest, (Kind.PERMIT,))
        if permit is None:
            return None, None
        check(permit.about == row.requestdigest, "the permit is of another request")
        said: Permit = self._document(permit)
        stated = (said.recipient, said.service, said.procedure, said.items, said.undisclosed)
        recorded = (row.provider, row.service, row.procedure, row.items, row.undisclosed)
        check(stated == recorded, "its permit says otherwise")
        _check_signed(permit, BROKER, row.time_us)
        return permit, said

    def consent(self, permit: Permit, opened: Row) -> None:
        """The consent of a permit is of the person who was asked about."""
        consent = decode(jws.parse(permit.consent or "").payload, _consent_decoder)
        check(consent.subject == opened.subject, "its consent is of another person")

    def answered(self, party: str, row: Row) -> Seen | None:
        """The outcome that a provider recorded; None if it never left."""
        self._received(row.requestdigest, ASKS)
        permit = self._received(row.permitdigest, (Kind.PERMIT,))
        check(permit.to_broker is not None or permit.to_others is not None, "its permit never came to it")
        said: Permit = self._document(permit)
        check(row.subject == said.subject, "its permit is about another person")
        answer = self._outcome(row, self._own(row.replydigest, ANSWERS), opened=True)
        if answer is not None:
            _check_signed(answer, party, row.time_us)
        return answer

    def same_but_time(self, one: str | None, other: str | None) -> bool:
        """Whether two answers say the same, each at its own time; as far as both were transmitted."""
        first, second = self._seen.get(one or ""), self._seen.get(other or "")
        if first is None or second is None:
            return True
        said = self._document(first)
        return bool(said == msgspec.structs.replace(self._document(second), time=said.time))

    def closed(self, party: str, row: Row) -> Seen | None:
        """The answer that ended an exchange; None for one of the broker's own that never left."""
        answer = self._own(row.replydigest, ANSWERS)
        if answer is None:
            check(party == BROKER and row.code is not None, "it names a message that was never transmitted")
        return self._outcome(row, answer, opened=party == row.requester)

    def refused(self, party: str, row: Row) -> tuple[Seen, Seen | None]:
        """What was refused, and the refusal; None if that never left."""
        asked = self._received(row.requestdigest, ASKS)
        body = self._document(asked)
        stated = (body.id, body.source, body.recipient, body.type)
        check(stated == (row.id, row.requester, row.provider, row.service), "its message says otherwise")
        answer = self._own(row.replydigest, (Kind.REFUSAL,))
        if answer is not None:
            check(answer.about == row.requestdigest, "its answer is to another request")
            check(answer.said == row.code, "its answer says that something else came of it")
            _check_signed(answer, party, row.time_us)
        return asked, answer

    # Digests.

    def _document(self, seen: Seen) -> Any:
        return read_line(self._trace.message(seen.number).line)

    def _own(self, digest: str | None, kinds: tuple[str, ...]) -> Seen | None:
        check(digest is not None, "a digest is missing")
        seen = self._seen.get(digest or "")
        if seen is None:
            self._unsent[digest or ""] = None
            check(len(self._unsent) <= self._unsent_left, "it names a message that was never transmitted")
            return None
        check(seen.kind in kinds, "a digest is of another kind of message")
        if seen.code is not None:
            raise MeshError(seen.code, "it names a message that does not verify")
        return seen

    def _received(self, digest: str | None, kinds: tuple[str, ...]) -> Seen:
        """The message that a party says it received: it must have been transmitted."""
        seen = self._own(digest, kinds)
        if seen is None:
            raise MeshError("ledger_broken", "it names a message that was never transmitted")
        return seen

    def _outcome(self, row: Row, answer: Seen | None, *, opened: bool) -> Seen | None:
        """The answer of an outcome; `opened` says whether who recorded it has what stands under a refusal's seal."""
        if answer is not None:
            check(answer.about == row.requestdigest, "its answer is to another request")
            said = (
                self._says(answer, row) if opened and answer.said == NOT_PROVIDED else answer.said == row.code
            )
            check(said, "its answer says that something else came of it")
            check(answer.permit == row.permitdigest, "its answer was given under another permit")
        return answer

    def _says(self, refusal: Seen, row: Row) -> bool:
        """Whether a sealed refusal says what was recorded; where nobody's key opens it, whether it could."""
        reason = self._keys.reason(self._document(refusal))
        if reason is None:
            return row.code in CODES and CODES[row.code].sealed
        return reason.name == row.code


def _check_signed(seen: Seen, party: str, time_us: int) -> None:
    check(seen.source == party, "it names a message of somebody else as its own")
    check(seen.time_us == time_us, OTHER_TIME)


def check_shape(row: Row) -> None:
    """A row has the columns of its kind and no others."""
    check(row.entry != "mark" or row.undisclosed, "a mark hides an exchange")
    check(misfilled(row) is None, "a column is filled that is empty in a row of its kind")


def task(row: Row) -> tuple[str | None, str | None, str | None]:
    """For what an exchange is, and with whom."""
    return row.provider, row.procedure, row.items


def check(held: bool, text: str) -> None:
    """`ledger_broken` with that text unless it holds."""
    if not held:
        raise MeshError("ledger_broken", text)
