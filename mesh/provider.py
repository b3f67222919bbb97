"""The provider's side of an exchange (情報提供者): it believes nobody, answers from its own records, once.

It checks request and permit itself, repeats what needs the content, and keeps the exact bytes of its
outcome with the effect until they can no longer be asked for: a repeat gets those bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import ClassVar

from msgspec import Struct

from mesh.consent import ConsentUses, Use, costs_use
from mesh.content import Content
from mesh.errors import CODES, MeshError
from mesh.exchange import PROVIDER, Happening, LifeCycle, State, Table, Turn, digest_of
from mesh.gates import AUTHORISATION, CONTENT, DUPLICATE, PERMIT_LAW, ROOM, TIME, Walk
from mesh.ledger import Row
from mesh.message import Kind, Permit, Reply, Request, format_time, items_of, parse_time
from mesh.names import BROKER
from mesh.party import (
    REQUEST_LIFE_US,
    Admitted,
    Party,
    check_no_personal_number,
    check_permit_time,
    check_time,
)
from mesh.policy import Policy
from mesh.renewal import Renewal
from mesh.view import KnownNode

KEEP_US = 600_000_000
"""An outcome is kept until the request's expiry and this much longer, more than clocks may differ."""
HANDLING_MAX = 2000
"""Questions handled at the same time; one more is `overloaded`."""


class Answering(LifeCycle):
    """One question as its provider knows it; `outcome` is what the database keeps of it."""

    __slots__ = ("digest", "outcome", "permit")

    table: ClassVar[Table] = PROVIDER

    def __init__(self, digest: str, outcome: bytes | None = None, permit: bytes = b"") -> None:
        super().__init__()
        self.digest = digest
        self.outcome = outcome
        self.permit = permit
        """The permit under which it was answered, beside the outcome."""
        if outcome is not None:
            self.restore((State.ANSWERED,))


class Asked(Struct, frozen=True):
    """A question that passed every check and waits for its handler."""

    request: Request
    digest: str
    life: Answering
    permit: Permit
    permit_line: bytes
    permit_digest: str
    data: bytes
    """The opened query."""
    consent: str | None = None
    """The id of the consent that the answer uses."""


class Provider:
    """Questions put to one party.

    `kept(source, id)` looks up digest, outcome and permit of a question that was answered before, and
    `has_purged(keep_us)` says whether one that was to be kept until then may be forgotten; `consents` knows
    how often each was used; `always` names the services about a person, and the items that every answer of
    them has; `law` is its own copy; `renewal` signs what was kept anew.
    """

    def __init__(
        self,
        party: Party,
        offers: Container[str],
        kept: Callable[[str, str], tuple[str, bytes, bytes] | None],
        has_purged: Callable[[int], bool],
        consents: ConsentUses,
        always: Mapping[str, frozenset[str]],
        law: Policy,
        renewal: Renewal,
    ) -> None:
        self._party = party
        self._renewal = renewal
        self._law = law
        self._consents = consents
        self._always = always
        self._offers = offers
        self._kept = kept
        self._has_purged = has_purged
        self._answering: dict[tuple[str, str], Answering] = {}
        """Until their outcome is committed: from then on the database knows them."""

    def on_request(
        self,
        admitted: Admitted,
        permit: Permit,
        permit_line: bytes,
        permit_digest: str,
        now_us: int,
        turn: Turn,
    ) -> Asked | None:
        """Check a question and its permit; None when it is a repeat, whose outcome is in the turn.

        Raises `MeshError` with the codes of the steps address to content.
        """
        request: Request = admitted.message
        walk = admitted.walk
        self._check_address(request, permit, admitted.digest)
        walk.to(TIME)
        signed_us = self._party.newest_signed_us
        check_time(request.time, request.expiry, now_us, REQUEST_LIFE_US, signed_us)
        check_permit_time(permit, request.time, now_us, signed_us)
        self._check_remembered(request)
        if self._party.address != BROKER:  # Which would note its own clock.
            self._party.note_signed(parse_time(permit.time))
        # Before a repeat is looked up: who replays a question under a made-up row does not get the kept answer.
        walk.to(PERMIT_LAW)
        self._law.check_permit(permit)
        walk.to(DUPLICATE)
        life = self._recall(request, admitted.digest)
        if life.state != State.NEW:
            self._repeat(life, request, admitted.digest, permit_digest, now_us, turn)
            return None
        walk.to(AUTHORISATION)
        if request.type in self._always:
            self._check_person(permit)
        consent = None if permit.consent is None else self._check_consent(permit.consent, request, now_us)
        walk.to(CONTENT)
        data = self._party.unseal(request.data, request, now_us)
        check_no_personal_number(data)
        return Asked(request, admitted.digest, life, permit, permit_line, permit_digest, data, consent)

    def _check_remembered(self, request: Request) -> None:
        """`message_expired` for what may have been answered and forgotten, whatever the clock says by now."""
        keep_us = parse_time(request.expiry) + KEEP_US
        if self._has_purged(keep_us) and self._kept(request.source, request.id) is None:
            raise MeshError("message_expired", "what was asked at that time is no longer remembered here")

    def _check_person(self, permit: Permit) -> None:
        """What the broker cannot know: that the service is about a person, and what cannot be left out."""
        if permit.subject is None:
            raise MeshError("no_legal_basis", "the service is about a person, and none is named")
        missing = self._always[permit.service] - items_of(permit.items or "")
        if missing:
            raise MeshError(
                "item_not_permitted", f"every answer has {' '.join(sorted(missing))}, which was not asked for"
            )

    def _check_consent(self, token: str, request: Request, now_us: int) -> str:
        return self._consents.check(token, Use.of(request), now_us)

    def start(self, asked: Asked, walk: Walk) -> None:
        """The handler begins, if there is room for it (`overloaded`); repeats wait for it."""
        walk.to(ROOM)
        if len(self._answering) >= HANDLING_MAX:
            raise MeshError("overloaded")
        asked.life.fire(Happening.REQUEST)
        self._answering[asked.request.source, asked.request.id] = asked.life
        if asked.consent is not None:
            self._consents.hold(asked.consent)

    def _check_address(self, request: Request, permit: Permit, digest: str) -> None:
        if request.recipient != self._party.address or permit.recipient != self._party.address:
            raise MeshError("audience_mismatch")
        if request.type not in self._offers:
            raise MeshError("service_unknown")
        same = (
            permit.requestdigest == digest
            and permit.requester == request.source
            and permit.service == request.type
            and permit.procedure == request.procedure
            and permit.items == request.items
        )
        if not same:
            raise MeshError("audience_mismatch", "the permit was given for another message")

    def knows(self, admitted: Admitted) -> bool:
        """Whether this very message is being handled, or was answered: refusing a copy does not undo that."""
        life = self._recall(admitted.message, admitted.digest)
        return life.state != State.NEW and life.digest == admitted.digest

    def _recall(self, request: Request, digest: str) -> Answering:
        """Where the question of this source and id stands; a new one, if nobody has asked it."""
        life = self._answering.get((request.source, request.id))
        if life is not None:
            return life
        kept = self._kept(request.source, request.id)
        return Answering(digest) if kept is None else Answering(*kept)

    def _repeat(
        self, life: Answering, request: Request, digest: str, permit_digest: str, now_us: int, turn: Turn
    ) -> None:
        """The question comes again: the kept outcome answers it, or the one that its handler will give.

        Under another permit it may have come through another broker of the role, which does not know the one that the
        outcome names: that goes with it.
        """
        if life.digest != digest:
            raise MeshError("id_conflict")
        life.fire(Happening.REQUEST)
        if life.state == State.ANSWERED and life.outcome is not None:
            beside = b"" if digest_of(life.permit) == permit_digest else b"\n" + life.permit
            outcome = self._renewal.line(life.outcome, (request.source, request.id), now_us, turn)
            turn.sends.append((BROKER, outcome + beside))

    def answer(self, asked: Asked, content: Content, now_us: int, turn: Turn) -> None:
        """Seal and sign the handler's reply, record and keep it, then send it.

        Raises `Unsendable` for what its requester's gate would refuse, before anything is recorded.
        """
        party, request = self._party, asked.request
        reply_id = party.new_id(now_us)
        requester = self._requester_of(request, now_us)
        reply = Reply(
            specversion="1.0",
            id=reply_id,
            source=party.address,
            type=request.type,
            time=format_time(now_us),
            recipient=request.source,
            datacontenttype="application/jose",
            requestdigest=asked.digest,
            permitdigest=asked.permit_digest,
            traceparent=request.traceparent,
            data=party.seal(reply_id, request.source, content, request.source, requester.seal_key),
        )
        self._finish(asked, party.sign(reply, Kind.REPLY), None, Happening.ANSWER, now_us, turn)

    def refuse(self, asked: Asked, error: MeshError, now_us: int, turn: Turn) -> None:
        """Sign the handler's refusal, record and keep it, then send it; one that is sealed for the requester's eyes."""
        if CODES[error.code].sealed:
            try:
                self._requester_of(asked.request, now_us)
            except MeshError as revoked:
                error = revoked
        line = self._party.refusal(
            error,
            to=asked.request.source,
            digest=asked.digest,
            now_us=now_us,
            permit_digest=asked.permit_digest,
            about=asked.request.type,
        )
        self._finish(asked, line, error.code, Happening.REFUSE, now_us, turn)

    def _requester_of(self, request: Request, now_us: int) -> KnownNode:
        """For whom an answer is sealed; certificate_revoked meanwhile: its question was judged when it came."""
        requester = self._party.view.lookup(request.source)
        if requester.is_revoked(now_us):
            raise MeshError("certificate_revoked")
        return requester

    def abandon(self, asked: Asked) -> None:
        """Forget a question whose outcome could not be committed: a repeat is tried afresh."""
        asked.life.restore((State.NEW,))
        self._answering.pop((asked.request.source, asked.request.id), None)
        if asked.consent is not None:
            self._consents.release(asked.consent)

    def _finish(
        self, asked: Asked, line: bytes, code: str | None, happening: str, now_us: int, turn: Turn
    ) -> None:
        request, permit = asked.request, asked.permit
        asked.life.fire(happening)
        # Until the outcome is committed a repeat waits for it, as while the handler runs.
        turn.calls.append((self._answering.pop, ((request.source, request.id), None)))
        row = Row(
            "answered",
            now_us,
            request.id,
            request.source,
            provider=self._party.address,
            service=request.type,
            procedure=request.procedure,
            items=request.items,
            subject=permit.subject,
            requestdigest=asked.digest,
            permitdigest=asked.permit_digest,
            replydigest=digest_of(line),
            code=code,
            undisclosed=permit.undisclosed,
        )
        turn.rows.append(row)
        keep_us = parse_time(request.expiry) + KEEP_US
        kept = (
            request.source,
            request.id,
            asked.digest,
            bytearray(line),
            keep_us,
            bytearray(asked.permit_line),
        )
        turn.writes.append(("answer", kept))
        turn.sends.append((BROKER, line))
        if asked.consent is not None:
            if costs_use(code):
                turn.writes.append(("consent_use", (asked.consent,)))
            turn.calls.append((self._consents.release, (asked.consent,)))
