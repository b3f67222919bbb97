"""Re-checks every transmission of a trace as the recipient's gate did, from the bytes and the registry.

Rules kept here:
1. The bytes are what counts: the digest and the columns beside them must say what they say.
2. What a gate let pass must pass again, up to its sender, with a key that counted at the message's own
   time or when it arrived. What a gate refused must fail again, with the very code that the trace gives.
3. Two things are not in a trace: the clock of the gate, and the registry as it was known there at the time. So
   a refusal for a certificate's time, a stale registry or an unknown key is believed, if it was reached.
4. What came to no gate may be anything; but whatever a ledger names must have passed (see `ledgers`).
"""

from __future__ import annotations

import sys
from collections import Counter
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from mesh import gates, jws
from mesh.builtin import CONSENTS
from mesh.consent import Signers, Use, check_scope
from mesh.errors import CODES, MeshError
from mesh.message import Event, Kind, Notice, Permit, Receipt, Refusal, Reply, Request, items_of, parse_time
from mesh.names import BROKER, matches
from mesh.parsing import decode
from mesh.party import PERMIT_LIFE_US
from mesh.reason import open_code
from mesh.recorder import Fate
from mesh.trace.columns import index_of
from mesh.trace.finding import Finding, Report
from mesh.trace.reader import Trace
from mesh.trace.rows import Message, Transmission
from mesh.view import KnownKey, View

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    Kind.REQUEST: msgspec.json.Decoder(Request),
    Kind.REPLY: msgspec.json.Decoder(Reply),
    Kind.REFUSAL: msgspec.json.Decoder(Refusal),
    Kind.EVENT: msgspec.json.Decoder(Event),
    Kind.NOTICE: msgspec.json.Decoder(Notice),
    Kind.RECEIPT: msgspec.json.Decoder(Receipt),
}
_permit_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Permit)

_OF_THE_MOMENT: Final = (
    "key_unknown", "certificate_expired", "certificate_not_yet_valid", "certificate_revoked",
    "registry_stale",
)  # fmt: skip
_FOUND_HERE_ONLY: Final = (
    "message_too_large", "algorithm_unsupported", "signature_invalid", "sender_mismatch",
)  # fmt: skip
"""Codes of the first steps that no later step gives: after these, a line may not pass a second time."""
ASKS: Final = (Kind.REQUEST, Kind.EVENT, Kind.NOTICE)
ANSWERS: Final = (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT)
_RECENT_MAX: Final = 4096
_FATES: Final = (Fate.DELIVERED, Fate.DROPPED, Fate.UNREACHABLE, Fate.IN_FLIGHT)


class Checked(NamedTuple):
    """What the first steps of a gate make of a line."""

    code: str | None
    """Why it fails; None when it passes up to its sender."""
    kind: str
    body: Any
    """One of the structs of `mesh.message`; None when it fails."""
    digest: str
    key: KnownKey | None
    """The signing key, once that step was reached."""


class Seen(msgspec.Struct, gc=False):
    """What is kept of each message of a trace, by digest. Times are µs since the run began, by the recorder's clock."""

    number: int
    kind: str
    code: str | None
    """Why it does not verify; None if it does."""
    source: str = ""
    """Who signed it."""
    to: str = ""
    """Whom a permit lets be asked."""
    time_us: int = 0
    """When, by its signer's clock, µs since 1970."""
    about: str | None = None
    """The digest of the request or push that a permit or an answer names."""
    said: str | None = None
    """The code that a refusal gives."""
    permit: str | None = None
    """The digest of the permit that an answer names."""
    sent_us: int = -1
    """When it was first sent by whoever signed it; -1 if never."""
    to_broker: tuple[int, int] | None = None
    """When it first and last came to the broker and passed its gate."""
    to_others: tuple[int, int] | None = None
    """When it first and last came to somebody else and passed the gate."""


def _span(span: tuple[int, int] | None, at_us: int) -> tuple[int, int]:
    """First and last arrival with one more: on a slow line what was sent first may come last."""
    return (at_us, at_us) if span is None else (min(span[0], at_us), max(span[1], at_us))


Passed = tuple[int, str]
"""The first transmission of a permit or reply that passed a gate, and which of them it is."""


class Recheck:
    """The transmissions of one trace, in order. `seen` holds every message by its digest, in hex."""

    def __init__(self, trace: Trace, view: View, report: Report) -> None:
        self._trace = trace
        self._view = view
        self._report = report
        self._start_us = trace.start_us
        self._recent: dict[tuple[int, bool], Checked] = {}
        self._next = 0
        self._under_way = frozenset() if trace.complete else trace.under_way()
        self._sent_us = 0
        self.seen: dict[str, Seen] = {}
        self.passed: dict[str, Passed] = {}
        """Permits and replies that passed a gate, by digest."""
        self.refused_at: Counter[tuple[int, str, str]] = Counter()
        """How often a message came to a party whose gate refused it: its number, the party and the code."""
        self._away: dict[str, None] = {}
        """Digests of requests and pushes whose recipient was away at least once."""
        self._unread: dict[tuple[str, str], None] = {}
        """Digest and code of what a recipient refused to the broker, whose permit it did not take."""
        self._pushes: dict[str, Event | Notice] = {}
        """By digest, without what is sealed in them."""
        self._sent_on: dict[str, None] = {}
        """Digests of pushes that went out to somebody under a permit."""
        self._consented: dict[str, None] = {}
        """Digests of the questions that were permitted under a consent."""
        self._law = trace.law()
        self._signers = Signers(view.key, self._is_portal)

    def transmission(self, sent: Transmission) -> None:
        """Check one transmission; raises `Finding`, which names its index."""
        try:
            self._order(sent)
            head = self._checked(sent.message, False)
            permit = None if sent.permit is None else self._checked(sent.permit, True)
            if head.kind in (Kind.EVENT, Kind.NOTICE) and head.code is None:
                self._pushes.setdefault(head.digest, msgspec.structs.replace(head.body, subject=""))
                if permit is not None:
                    self._sent_on[head.digest] = None
            if sent.sender == self.seen[head.digest].source:
                self._note_sent(sent, head)
            if sent.fate == Fate.DELIVERED:
                self._compare(sent, head, permit)
                self._note_arrival(sent, head, permit)
                if sent.code is None:
                    self._passed(sent, head, permit)
                    if permit is not None:
                        self.passed.setdefault(permit.digest, (sent.number, Kind.PERMIT))
                    elif head.kind == Kind.REPLY or (self._is_of_push(head) and sent.recipient == BROKER):
                        self.passed.setdefault(head.digest, (sent.number, head.kind))
                _check_gate(sent)
            elif sent.fate == Fate.UNREACHABLE and permit is not None:
                self._away[head.digest] = None
        except (MeshError, Finding) as error:
            raise Finding(error.code, error.text, index=sent.number, message=sent.message.id) from None
        self._report.messages += 1
        if permit is not None:
            self._report.permits += 1

    def _order(self, sent: Transmission) -> None:
        if sent.number != self._next:
            self._check_gap(sent.number)
        self._next = sent.number + 1
        if not self._sent_us <= sent.sent_us <= sent.arrived_us:
            raise Finding("correlation_mismatch", "the times of the transmission run backwards")
        self._sent_us = sent.sent_us
        if sent.fate not in _FATES or (sent.code is not None and sent.code not in CODES):
            raise Finding("correlation_mismatch", "the transmission has no known fate or code")
        if sent.code is not None and sent.fate != Fate.DELIVERED:
            raise Finding("correlation_mismatch", "what was not delivered cannot have been refused")

    def _note_sent(self, sent: Transmission, head: Checked) -> None:
        seen = self.seen[head.digest]
        if seen.sent_us < 0:
            seen.sent_us = sent.sent_us

    def _note_arrival(self, sent: Transmission, head: Checked, permit: Checked | None) -> None:
        if sent.code is not None:
            self.refused_at[sent.message.number, sent.recipient, sent.code] += 1
            return
        at_us = sent.arrived_us
        for one in (head,) if permit is None else (head, permit):
            seen = self.seen[one.digest]
            if sent.recipient == BROKER:
                seen.to_broker = _span(seen.to_broker, at_us)
            else:
                seen.to_others = _span(seen.to_others, at_us)

    def _check_gap(self, number: int) -> None:
        """A transmission may be missing only if it was under way when the run last committed."""
        if self._trace.live:
            self._under_way |= self._trace.under_way()
        start = self._next
        # The range may be as long as numbers are; what was under way is a short list.
        missing = number < start or number - start > len(self._under_way)
        if missing or not self._under_way.issuperset(range(start, number)):
            first = next((one for one in range(start, number) if one not in self._under_way), start)
            raise Finding("correlation_mismatch", f"transmission {first} is missing")

    # One line.

    def _checked(self, message: Message, as_permit: bool) -> Checked:
        key = (message.number, as_permit)
        checked = self._recent.get(key)
        if checked is None:
            checked = self._check(message, as_permit)
            if len(self._recent) >= _RECENT_MAX:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = checked
        return checked

    def _check(self, message: Message, as_permit: bool) -> Checked:
        raw = sha256(message.line).digest()
        checked = self._first_steps(message.line, raw.hex(), as_permit)
        if raw != message.digest:
            raise Finding(
                checked.code or "correlation_mismatch",
                "the message does not have the digest under which it is kept",
            )
        if (message.kind, message.id, message.service, message.code) != _columns(checked, message.line):
            raise Finding(
                checked.code or "correlation_mismatch", "the columns beside the message say what it does not"
            )
        known = self.seen.get(checked.digest)
        if known is None or known.code is not None:
            self.seen[checked.digest] = _seen(message.number, checked)
        return checked

    def _first_steps(self, line: bytes, digest: str, as_permit: bool) -> Checked:
        """Form, key, signature, payload, sender: in the order of `mesh.party`, without the clock."""
        key, kind = None, ""
        try:
            token = jws.parse(line)
            kind = token.typ
            decoder = _permit_decoder if as_permit and kind == Kind.PERMIT else None
            if not as_permit:
                decoder = _DECODERS.get(kind)
            if decoder is None:
                raise MeshError("message_malformed")
            key = self._view.key(token.kid)
            key.verify_key.verify(token.signature, token.signing_input)
            body = decode(token.payload, decoder)
            if as_permit:
                if key.address != BROKER or body.broker != BROKER:
                    raise MeshError("sender_mismatch")
            elif body.source != key.address:
                raise MeshError("sender_mismatch")
        except MeshError as error:
            return Checked(error.code, kind, None, digest, key)
        return Checked(None, kind, body, digest, key)

    # A transmission that came to a gate.

    def _compare(self, sent: Transmission, head: Checked, permit: Checked | None) -> None:
        """The code of the gate must be the one that this check gives, as far as it gives one."""
        given = sent.code
        # Beside an answer a permit is looked at last, and only by a broker that did not give it.
        first = None if permit is None or _is_kept(sent, head) else permit.code
        expected = first or head.code
        if expected is None and sent.sender not in (head.body.source, BROKER):
            expected = "sender_mismatch"  # Whoever brought it is not whom it names.
        if given is not None:
            self._report.refused += 1
        if given == expected or _is_believed(given, head, permit):
            return
        if expected is not None:
            raise Finding(expected, f"the gate is said to have {_said(given)}, and the message fails")
        if given in _FOUND_HERE_ONLY or given in _OF_THE_MOMENT:
            raise Finding(
                "correlation_mismatch", f"the gate is said to have {_said(given)}, and the message passes"
            )

    def _passed(self, sent: Transmission, head: Checked, permit: Checked | None) -> None:
        """What a gate let pass: keys at their time, the permit beside its message, the answer's request."""
        arrived_us = None if self._start_us is None else self._start_us + sent.arrived_us
        if head.key is not None:
            _check_key(head.key, head.body.time, arrived_us)
        if permit is not None and permit.code is not None:
            raise MeshError(permit.code, "the permit beside the answer does not verify")
        if permit is not None:
            if permit.key is not None:
                _check_key(permit.key, permit.body.time, arrived_us)
            if _is_kept(sent, head):
                _check_beside(permit, head)
            else:
                _check_permit(permit.body, head, sent.recipient)
                if permit.body.consent is not None:
                    self._consented[head.digest] = None
                self._check_law(permit.body, head)
        elif head.kind in ASKS and sent.recipient != BROKER:
            raise MeshError("no_legal_basis", "no permit came with the message, and it passed")
        if head.kind in ANSWERS:
            self._check_answer(head.body)

    def _check_refusal(self, refusal: Refusal) -> None:
        """What a broker says of an attempt that it had permitted: nobody was there, or its permit was not taken."""
        if refusal.recipient == BROKER:
            self._unread[refusal.requestdigest, refusal.code] = None
        permit = self.seen.get(refusal.permitdigest or "")
        if refusal.source != BROKER or permit is None or permit.to == BROKER:
            return
        if not self.may_fail(refusal.requestdigest, refusal.code, permit.to, parse_time(refusal.time)):
            raise MeshError("correlation_mismatch", "the broker refuses what it had permitted")

    def may_fail(self, digest: str, code: str, to: str, time_us: int) -> bool:
        """Whether a broker may say at a time, with that code, that a delivery which it had permitted failed."""
        if code == "recipient_unreachable":
            return digest in self._away
        if code == "consent_withdrawn":
            return digest in self._consented
        push = self._pushes.get(digest)
        return (digest, code) in self._unread or (
            push is not None and self._may_give_up(push, code, to, time_us)
        )

    def may_have_expired_unsent(self, refusal: Seen) -> bool:
        """Whether the broker may say of a push that it expired before it ever went out.

        An event may have gone out to one subscriber and not to another, and the refusal does not say to whom.
        """
        push = self._pushes.get(refusal.about or "")
        if push is None or refusal.source != BROKER or refusal.permit is not None:
            return False
        unsent = isinstance(push, Event) or refusal.about not in self._sent_on
        return unsent and parse_time(push.expiry) <= refusal.time_us

    def _may_give_up(self, push: Event | Notice, code: str, to: str, time_us: int) -> bool:
        """Whether a push is a dead letter by then: past its expiry, or without a row of the law."""
        if code == "message_expired":
            return parse_time(push.expiry) <= time_us
        law = self._law
        if law is None:
            return code == "no_legal_basis"
        try:
            if isinstance(push, Notice):
                law.decide(push.source, push.procedure, to, push.type, items_of(push.items), time_us)
            elif not any(
                matches(row.requester, to) for row in law.subscribers(push.source, push.type, time_us)
            ):
                raise MeshError("no_legal_basis")
        except MeshError as error:
            return error.code == code
        return False

    def lapsed(self, party: str, at_us: int) -> int:
        """How many generations of a party's keys counted no more at that time."""
        return self._view.lookup(party).lapsed(at_us)

    def _is_of_push(self, head: Checked) -> bool:
        """Whether a receipt is a subscriber's for a push, and not a publisher's for word of a dead letter."""
        return head.kind == Kind.RECEIPT and head.body.requestdigest in self._pushes

    def _check_law(self, permit: Permit, head: Checked) -> None:
        """The permit's row, in the law that the trace carries, and the consent that it demands."""
        if self._law is None:
            return
        is_event = head.kind == Kind.EVENT
        self._law.check_permit(permit, is_event=is_event)
        if permit.consent is not None:
            self._check_consent(permit)

    def _is_portal(self, address: str) -> bool:
        """Whether the law lets that node publish consents."""
        return self._law is not None and self._law.lets(address, CONSENTS.name)

    def _check_consent(self, permit: Permit) -> None:
        consent, _ = self._signers.read(permit.consent or "", parse_time(permit.time))
        check_scope(consent, Use.of(permit), parse_time(permit.time))

    def _check_answer(self, answer: Reply | Refusal | Receipt) -> None:
        if isinstance(answer, Refusal):
            open_code(answer)
            self._check_refusal(answer)
        asked = self.seen.get(answer.requestdigest)
        # Bytes that nobody could read may be refused: such a refusal names them, whatever they were.
        # And a publisher signs for the refusal by which it hears of a dead letter.
        told = asked is not None and asked.kind == Kind.REFUSAL and isinstance(answer, Receipt)
        if asked is None or (asked.kind not in ASKS and not isinstance(answer, Refusal) and not told):
            raise MeshError("correlation_mismatch", "the answer names a request that was never transmitted")
        if answer.permitdigest is not None:
            permit = self.seen.get(answer.permitdigest)
            if permit is None or permit.kind != Kind.PERMIT or permit.about != answer.requestdigest:
                raise MeshError("correlation_mismatch", "the answer names a permit of another request")


def _seen(number: int, checked: Checked) -> Seen:
    body = checked.body
    if body is None:
        return Seen(number, checked.kind, checked.code)
    about = getattr(body, "requestdigest", None)
    if isinstance(body, Permit):
        return Seen(
            number, checked.kind, None, BROKER, sys.intern(body.recipient), _time_us(body.time), about
        )
    said = body.code if isinstance(body, Refusal) else None
    permit = getattr(body, "permitdigest", None)
    return Seen(
        number, checked.kind, None, sys.intern(body.source), "", _time_us(body.time), about, said, permit
    )


def _time_us(text: str) -> int:
    try:
        return parse_time(text)
    except MeshError:  # A later step of the gate refuses it.
        return -1


def _columns(checked: Checked, line: bytes) -> tuple[str, str | None, str | None, str | None]:
    body = checked.body
    if body is None:
        kind, id_, service, code = index_of(line)
        return kind, id_ or None, service or None, code or None
    if isinstance(body, Permit):
        return checked.kind, None, body.service or None, None
    code = body.code if isinstance(body, Refusal) else ""
    return checked.kind, body.id or None, body.type or None, code or None


def _check_gate(sent: Transmission) -> None:
    """How far the gate is said to have come must fit what it made of the line, as far as its table is known here."""
    if sent.gate is None:
        return
    try:
        version, count = gates.passed(sent.gate)
    except KeyError:
        return
    gate = gates.gate_of(sent.recipient, sent.message.kind, permitted=sent.permit is not None)
    row = gates.row_of(gate, sent.message.kind, version)
    begun = len(gates.BEGINNINGS[gate])
    fits = begun <= count <= len(row) if sent.code is None else count < len(row)
    if fits and sent.code in _FOUND_HERE_ONLY:
        fits = count < begun
    if not fits:
        raise Finding("correlation_mismatch", "the gate is said to have come as far as it cannot have")


def _is_believed(given: str | None, head: Checked, permit: Checked | None) -> bool:
    """Whether the gate could have given the code at its own time, with the registry as it was known there."""
    if given not in _OF_THE_MOMENT:
        return False
    for line in (head,) if permit is None else (permit, head):
        if line.key is not None and (given != "certificate_revoked" or line.key.revoked_us is not None):
            return True
        if line.code is not None:
            break
    return False


def _check_key(key: KnownKey, time: str, arrived_us: int | None) -> None:
    try:
        key.check(parse_time(time))
    except MeshError:
        if arrived_us is None:
            raise
        key.check(arrived_us)


def _check_permit(permit: Permit, head: Checked, recipient: str) -> None:
    body = head.body
    same = (
        permit.requestdigest == head.digest
        and permit.requester == body.source
        and permit.recipient == recipient
        and permit.service == body.type
    )
    if same and not isinstance(body, Event):
        # An event has neither: its permit says under which procedure the recipient hears of it.
        same = body.recipient == recipient and (permit.procedure, permit.items) == (
            body.procedure,
            body.items,
        )
    if not same:
        raise MeshError("audience_mismatch", "the permit was given for another message")
    if not 0 <= parse_time(permit.expiry) - parse_time(permit.time) <= PERMIT_LIFE_US:
        raise MeshError("message_expired", "the permit lives longer than 60 s")


def _is_kept(sent: Transmission, head: Checked) -> bool:
    """Whether a provider gives a kept answer to a broker, with the permit under which it was given."""
    return sent.recipient == BROKER and head.kind in ANSWERS


def _check_beside(permit: Checked, head: Checked) -> None:
    """The permit beside a kept answer is the one that it names, for its request and its provider."""
    answer, said = head.body, permit.body
    named = (permit.digest, said.requestdigest, said.recipient)
    if named != (answer.permitdigest, answer.requestdigest, answer.source):
        raise MeshError("correlation_mismatch", "the permit beside the answer is another than it names")


def _said(code: str | None) -> str:
    return "let the message pass" if code is None else f"refused the message with {code}"
