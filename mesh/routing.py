"""The broker's decisions about requests: is it lawful, for whom is it, and which answer belongs to it.

The broker reads attributes, never content: it opens the subject, which is sealed to its role, translates
the code and gives a permit. It keeps digests, and its own final refusals, so that a repeat gets the same
answer; that a repeat has one effect only is decided in the provider's database.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from mesh import jws
from mesh.authoriser import Authoriser
from mesh.consent import Use
from mesh.errors import CODES, Again, Code, MeshError, Step
from mesh.exchange import BROKER, Happening, LifeCycle, State, Table, Turn, digest_of
from mesh.gates import AUTHORISATION, DUPLICATE, REPLY, TIME, ZONE
from mesh.ledger import Row
from mesh.message import CLOCK_TOLERANCE_US, Kind, Refusal, Reply, Request, items_of, parse_time
from mesh.party import REQUEST_LIFE_US, Admitted, check_time, read_line
from mesh.policy import LegalBasis
from mesh.provider import KEEP_US
from mesh.reason import open_code

UNKNOWN = ""
"""Some consent: which one is in no ledger, and no consent has this id."""
REPEATED_WITHIN_US = REQUEST_LIFE_US + CLOCK_TOLERANCE_US + KEEP_US
"""So long after it came somebody may come back to an exchange, at most."""
_STEPS_OF_PERMIT = (Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD, Step.ADDRESS, Step.TIME)
_KEPT_STEPS = (Step.ZONE, Step.AUTHORISATION)


class Earlier(Protocol):
    """What a broker's ledger has of exchanges from before a restart, found one by one."""

    def about(self, digest: str) -> list[Row]:
        """The rows that permitted a request or closed it, the oldest first."""

    def digest_of(self, source: str, message_id: str) -> str | None:
        """Which request or push an id of this source meant, if it was permitted and may still be repeated."""


class Ids:
    """Which message of a source an id names: one only, be it a request or a push.

    Holds what is under way; `kept(source, id)` looks up digest and outcome of what is in the database.
    """

    def __init__(self, kept: Callable[[str, str], tuple[str, bytes] | None]) -> None:
        self.kept = kept
        self.earlier: Earlier | None = None
        self._taken: dict[tuple[str, str], str] = {}

    def check(self, source: str, message_id: str, digest: str) -> bool:
        """Whether this very message is known; `id_conflict` if the id names another."""
        known = self._taken.get((source, message_id))
        if known is None:
            kept = self.kept(source, message_id)
            known = None if kept is None else kept[0]
            if known is None and self.earlier is not None:
                known = self.earlier.digest_of(source, message_id)
        if known is not None and known != digest:
            raise MeshError("id_conflict")
        return known is not None

    def take(self, source: str, message_id: str, digest: str) -> None:
        """The id names this message from here on."""
        self._taken[source, message_id] = digest

    def free(self, source: str, message_id: str) -> None:
        """The message is kept in the database, or nothing came of it."""
        self._taken.pop((source, message_id), None)


class Routed(LifeCycle):
    """One exchange as the broker knows it."""

    __slots__ = (
        "answers",
        "consent",
        "digest",
        "id",
        "permits",
        "provider",
        "refusal",
        "requester",
        "service",
        "until_us",
    )

    table: ClassVar[Table] = BROKER
    whole: ClassVar[tuple[str, ...]] = ("state", "permits", "answers", "refusal")

    def __init__(
        self, requester: str, message_id: str, digest: str, provider: str, service: str, until_us: int
    ) -> None:
        super().__init__()
        self.requester = requester
        self.id = message_id
        self.digest = digest
        self.provider = provider
        self.service = service
        self.until_us = until_us
        self.permits: tuple[str, ...] = ()
        self.answers: tuple[str, ...] = ()
        """The digests of the answers that are recorded: each is once, however often it comes."""
        self.refusal: bytes = b""
        """The broker's own no, if that is what it said."""
        self.consent: str | None = None
        """The consent under which it was permitted; `UNKNOWN` until its requester comes back after a restart."""


class Router:
    """Requests and their answers on their way through a broker. `ids` is shared with its post."""

    def __init__(self, authoriser: Authoriser, ids: Ids) -> None:
        self._authoriser = authoriser
        self._party = authoriser.party
        self._ids = ids
        self._by_digest: dict[str, Routed] = {}
        self._leaving: deque[Routed] = deque()
        self._earlier: Earlier | None = None
        self._earlier_until_us = 0

    def load(self, earlier: Earlier) -> None:
        """Know what was before a restart: it is looked up when somebody comes back to it, for as long as that may be."""
        self._earlier = self._ids.earlier = earlier
        self._earlier_until_us = self._party.monotonic_us() + REPEATED_WITHIN_US

    def _known(self, digest: str, now_us: int) -> Routed | None:
        """The exchange of a request, if it is under way or may still be repeated."""
        routed = self._by_digest.get(digest)
        if routed is None and self._earlier is not None:
            routed = self._recall(self._earlier, digest, now_us)
        return routed

    def _recall(self, earlier: Earlier, digest: str, now_us: int) -> Routed | None:
        """An exchange of before a restart, from the ledger's rows about it; rows of a push are not one."""
        routed = None
        past_us = min(now_us, self._party.newest_signed_us)
        for row in earlier.about(digest):
            is_recent = row.time_us + REPEATED_WITHIN_US >= past_us
            if row.entry == "permitted" and row.provider and row.service and is_recent:
                if routed is None:
                    kept = self._ids.kept(row.requester, row.id)
                    if kept is not None and kept[0] == digest and jws.parse(kept[1]).typ == Kind.RECEIPT:
                        return None
                    routed = self._enter(row.requester, row.id, digest, row.provider, row.service)
                routed.fire(Happening.REQUEST)
                routed.permits = (row.permitdigest or "", *routed.permits)
                routed.consent = UNKNOWN if self._authoriser.demands_consent(row) else None
            elif row.entry == "closed" and routed is not None:
                routed.fire(Happening.ANSWER)
                routed.answers = (row.replydigest or "", *routed.answers)
        return routed

    def _recall_refusal(self, request: Request, digest: str) -> Routed | None:
        """The broker's own final no of before a restart; what else is kept are receipts, and answers of its services."""
        kept = None if self._earlier is None else self._ids.kept(request.source, request.id)
        if kept is None or kept[0] != digest or jws.parse(kept[1]).typ != Kind.REFUSAL:
            return None
        if read_line(kept[1]).permitdigest is not None:
            return None
        routed = self._enter(request.source, request.id, digest, "", "")
        routed.fire(Happening.REFUSE)
        routed.refusal = kept[1]
        return routed

    def on_request(self, admitted: Admitted, line: bytes, peer: str, now_us: int, turn: Turn) -> None:
        """Decide about a request and forward it with a permit.

        Raises `MeshError` with the codes of the steps address to authorisation. A repeat of what was
        refused for good gets the same refusal.
        """
        request: Request = admitted.message
        party, walk = self._party, admitted.walk
        items = items_of(request.items) if request.items is not None else frozenset()
        recipient = self._authoriser.recipient(request.recipient, now_us)
        if request.type not in recipient.services:
            raise MeshError("service_unknown")
        walk.to(TIME)
        check_time(request.time, request.expiry, now_us, REQUEST_LIFE_US, party.newest_signed_us)
        walk.to(DUPLICATE)
        routed = self._find(request, admitted.digest, now_us)
        if routed is not None and routed.state == State.REFUSED:
            routed.fire(Happening.REQUEST)
            if party.current(routed.refusal, now_us) is not routed.refusal:
                raise MeshError(read_line(routed.refusal).code)  # Said anew, and recorded like the first.
            turn.sends.append((request.source, routed.refusal))
            return
        authoriser = self._authoriser
        walk.to(ZONE)
        authoriser.check_zone(admitted.zone, recipient.zone, request.source, request.recipient)
        walk.to(AUTHORISATION)
        basis = authoriser.basis_of(request, items, now_us)
        consent = self._consent(request, basis, now_us)
        person = authoriser.person_of(request, now_us) if request.subject is not None else None
        authoriser.rates.count(peer, party.monotonic_us())
        codes = authoriser.codes
        permit, permit_digest = authoriser.permit(
            request,
            admitted.digest,
            request.recipient,
            basis,
            None if person is None else codes.code(recipient.member, person),
            now_us,
            consent=consent,
        )
        if routed is None:
            routed = self._enter(request.source, request.id, admitted.digest, request.recipient, request.type)
        self._fire(routed, Happening.REQUEST, turn)
        routed.permits = (permit_digest, *routed.permits)
        routed.consent = None if consent is None else request.consent
        row = Row(
            "permitted",
            now_us,
            request.id,
            request.source,
            provider=request.recipient,
            service=request.type,
            procedure=request.procedure,
            items=request.items,
            subject=None if person is None else codes.code(party.member, person),
            requestdigest=admitted.digest,
            permitdigest=permit_digest,
            undisclosed=basis.undisclosed,
        )
        turn.rows.append(row)
        turn.sends.append((request.recipient, line + b"\n" + permit))

    def _consent(self, request: Request, basis: LegalBasis, now_us: int) -> str | None:
        if not basis.consent:
            return None
        subject = self._authoriser.subject_of(request, now_us)
        return self._authoriser.consents.check(request.consent, Use.of(request), subject, now_us)

    def on_answer(self, admitted: Admitted, line: bytes, permit_line: bytes, now_us: int, turn: Turn) -> None:
        """Record a provider's reply or refusal and pass it on untouched.

        One that was kept may have been given under another broker's permit, which then comes beside it. What was asked
        under a consent that was withdrawn in the meantime goes no further: its requester hears so instead.
        Raises `MeshError`: correlation_mismatch for an answer to nothing permitted, or of another party.
        """
        answer: Reply | Refusal = admitted.message
        admitted.walk.to(REPLY)
        routed = self._known(answer.requestdigest, now_us)
        if routed is None or answer.source != routed.provider:
            raise MeshError("correlation_mismatch")
        code = CODES.get(answer.code) if isinstance(answer, Refusal) else None
        if code is not None and self._is_of_permit(answer, code, routed):
            own = self._party.view.lookup(self._party.address)
            if code.name == "certificate_revoked" and not own.is_revoked(now_us):
                return  # It was signed with a key of before: the next attempt gets a permit with the present one.
            self._close_refused(routed, Happening.ANSWER, MeshError(code.name), now_us, turn)
            return
        if answer.recipient != routed.requester or not (
            answer.permitdigest is None
            or answer.permitdigest in routed.permits
            or self._authoriser.was_permitted(
                answer, permit_line, routed.requester, routed.provider, routed.service, now_us
            )
        ):
            raise MeshError("correlation_mismatch")
        said = open_code(answer).name if isinstance(answer, Refusal) else None
        if routed.consent == UNKNOWN:
            raise MeshError("correlation_mismatch", "its requester asks again first, under its consent")
        withdrawn = routed.consent is not None and self._authoriser.consents.is_withdrawn(routed.consent)
        if admitted.digest in routed.answers:
            # Whoever asked again may lack it; that it came is recorded once.
            if not withdrawn:
                self._fire(routed, Happening.REPEAT, turn)
                turn.sends.append((routed.requester, line))
            return
        if withdrawn:
            error = MeshError("consent_withdrawn")
            self._close_refused(routed, Happening.ANSWER, error, now_us, turn, definite=False)
            routed.answers = (admitted.digest, *routed.answers)
            return
        self._fire(routed, Happening.ANSWER, turn)
        self._close(routed, line, answer.permitdigest, admitted.digest, said, now_us, turn)

    def _is_of_permit(self, answer: Reply | Refusal, code: Code, routed: Routed) -> bool:
        """Whether a provider refuses the broker's own permit: its requester cannot know what that was."""
        return (
            answer.recipient == self._party.address != routed.requester
            and bool(routed.permits)
            and code.step in _STEPS_OF_PERMIT
        )

    def on_unreachable(self, line: bytes, now_us: int, turn: Turn) -> None:
        """The transport found nobody at the recipient's address: say so to the requester, for this attempt."""
        routed = self._known(digest_of(line.partition(b"\n")[0]), now_us)
        if routed is not None and routed.may(Happening.UNREACHABLE):
            error = MeshError("recipient_unreachable")
            self._close_refused(routed, Happening.UNREACHABLE, error, now_us, turn)

    def _close_refused(
        self,
        routed: Routed,
        happening: str,
        error: MeshError,
        now_us: int,
        turn: Turn,
        *,
        definite: bool = True,
    ) -> None:
        """Tell the requester in the broker's own name that this attempt failed; `definite` unless it was answered."""
        self._fire(routed, happening, turn)
        permit_digest = routed.permits[0]
        line = self._party.refusal(
            error,
            to=routed.requester,
            digest=routed.digest,
            now_us=now_us,
            permit_digest=permit_digest,
            about=routed.service,
            definite=definite and len(routed.permits) == 1,
        )
        self._close(routed, line, permit_digest, digest_of(line), error.code, now_us, turn)

    def _close(
        self,
        routed: Routed,
        line: bytes,
        permit_digest: str | None,
        answer_digest: str,
        code: str | None,
        now_us: int,
        turn: Turn,
    ) -> None:
        """Record an answer, then send it to the requester."""
        routed.answers = (answer_digest, *routed.answers)
        row = Row(
            "closed",
            now_us,
            routed.id,
            routed.requester,
            requestdigest=routed.digest,
            permitdigest=permit_digest,
            replydigest=answer_digest,
            code=code,
        )
        turn.rows.append(row)
        turn.sends.append((routed.requester, line))

    def refuse(self, admitted: Admitted, error: MeshError, now_us: int, turn: Turn) -> None:
        """Record and send the broker's own no; a final one is kept for repeats."""
        request: Request = admitted.message
        known = self._known(admitted.digest, now_us)
        line = self._party.refusal(
            error,
            to=request.source,
            digest=admitted.digest,
            now_us=now_us,
            about=request.type,
            definite=known is None or not known.permits,
        )
        turn.rows.append(refused_row(admitted, error, line, now_us))
        turn.sends.append((request.source, line))
        if (
            error.step in _KEPT_STEPS
            and error.again is not Again.SAME_BYTES
            and not self._ids.check(request.source, request.id, admitted.digest)
        ):
            routed = self._enter(request.source, request.id, admitted.digest, request.recipient, request.type)
            self._fire(routed, Happening.REFUSE, turn)
            routed.refusal = line
            keep_us = parse_time(request.expiry) + KEEP_US
            turn.writes.append(("outcome", (request.source, request.id, admitted.digest, line, keep_us)))

    def _fire(self, routed: Routed, happening: str, turn: Turn) -> None:
        """Let something happen to an exchange; if the turn cannot be committed, it did not."""
        former = routed.former()
        routed.fire(happening)
        turn.undo.append(lambda _: self._restore(routed, former))

    def _restore(self, routed: Routed, former: tuple[Any, ...]) -> None:
        routed.restore(former)
        if routed.state == State.NEW:
            self._forget(routed)

    def _find(self, request: Request, digest: str, now_us: int) -> Routed | None:
        self._purge()
        self._ids.check(request.source, request.id, digest)
        return self._known(digest, now_us) or self._recall_refusal(request, digest)

    def _enter(self, requester: str, message_id: str, digest: str, provider: str, service: str) -> Routed:
        until_us = self._party.monotonic_us() + REPEATED_WITHIN_US
        routed = Routed(requester, message_id, digest, provider, service, until_us)
        self._ids.take(requester, message_id, digest)
        self._by_digest[digest] = routed
        self._leaving.append(routed)
        return routed

    def _purge(self) -> None:
        """Forget what nobody may repeat any more; entries leave in the order in which they came."""
        now_us = self._party.monotonic_us()
        while self._leaving and self._leaving[0].until_us < now_us:
            self._forget(self._leaving.popleft())
        if self._earlier is not None and now_us > self._earlier_until_us:
            self._earlier = self._ids.earlier = None

    def _forget(self, routed: Routed) -> None:
        if self._by_digest.get(routed.digest) is routed:
            del self._by_digest[routed.digest]
            self._ids.free(routed.requester, routed.id)


def refused_row(admitted: Admitted, error: MeshError, line: bytes, now_us: int) -> Row:
    """The row of whoever refused a message after its signature held."""
    message = admitted.message
    return Row(
        "refused",
        now_us,
        message.id,
        message.source,
        provider=message.recipient,
        service=message.type,
        requestdigest=admitted.digest,
        replydigest=digest_of(line),
        code=error.code,
    )
