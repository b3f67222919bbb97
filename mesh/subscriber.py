"""Whoever receives pushes: it keeps the push, signs for it, and handles it with effect exactly once.

The push is in the inbox and committed before the receipt leaves. The key (source, id) decides what is a
repeat: a repeat gets the receipt that was kept, and no second effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from mesh.errors import MeshError
from mesh.exchange import SUBSCRIBER, Happening, LifeCycle, State, Table, Turn, digest_of
from mesh.gates import CONTENT, DUPLICATE, PERMIT_LAW, TIME
from mesh.ledger import Row
from mesh.message import (
    CLOCK_TOLERANCE_US,
    Event,
    Kind,
    Notice,
    Permit,
    Receipt,
    format_time,
    parse_time,
)
from mesh.names import BROKER
from mesh.party import (
    PERMIT_LIFE_US,
    PUSH_LIFE_US,
    Admitted,
    Party,
    check_no_personal_number,
    check_time,
    read_line,
)
from mesh.policy import Policy
from mesh.renewal import Renewal

KEEP_US = 7 * 86_400_000_000
"""A push is remembered until its expiry and this much longer."""


class Receiving(LifeCycle):
    """One push as its subscriber knows it; `receipt` is what the inbox keeps of it, if it is there already."""

    __slots__ = ("digest", "permit", "receipt")

    table: ClassVar[Table] = SUBSCRIBER

    def __init__(self, digest: str, receipt: bytes | None = None, permit: bytes = b"") -> None:
        super().__init__()
        self.digest = digest
        self.receipt = receipt
        self.permit = permit
        """The permit under which it was taken in, beside the receipt."""
        if receipt is not None:
            self.restore((State.RECEIVED,))


class Pushed(NamedTuple):
    """A push that was taken in and waits for its handler."""

    life: Receiving
    message: Event | Notice
    permit: Permit
    data: bytes
    """The opened body of a notice; empty for an event."""


class Subscriber:
    """Pushes put to one party.

    `takes` names the pushes that it receives, and the kind of each; `kept(source, id)` looks up digest, receipt and
    permit of one taken in before, and `has_purged(keep_us)` says whether one that was to be kept until then may be forgotten; `read(type, data)` reads a notice's body, and raises seal_invalid or schema_invalid before
    anything of it is kept; `law` is its own copy.
    """

    def __init__(
        self,
        party: Party,
        takes: Mapping[str, str],
        kept: Callable[[str, str], tuple[str, bytes, bytes] | None],
        has_purged: Callable[[int], bool],
        read: Callable[[str, bytes], object],
        law: Policy,
        renewal: Renewal,
    ) -> None:
        self._party = party
        self._renewal = renewal
        self._takes = takes
        self._kept = kept
        self._has_purged = has_purged
        self._read = read
        self._law = law
        self._entering: dict[tuple[str, str], Receiving] = {}
        """Until they are committed: from then on the inbox knows them."""

    def on_push(
        self,
        admitted: Admitted,
        line: bytes,
        permit: Permit,
        permit_line: bytes,
        now_us: int,
        turn: Turn,
    ) -> Pushed | None:
        """Take a push in; None when it is a repeat, whose receipt is in the turn.

        Its own times are judged when the broker took it over; the permit's are judged now. Raises
        `MeshError` with the codes of the steps address to content.
        """
        message: Event | Notice = admitted.message
        walk = admitted.walk
        self._check_address(message, admitted.kind, permit, admitted.digest)
        walk.to(TIME)
        check_time(permit.time, permit.expiry, now_us, PERMIT_LIFE_US, self._party.newest_signed_us)
        accepted_us = parse_time(permit.accepted or permit.time)
        if accepted_us > now_us + CLOCK_TOLERANCE_US:
            raise MeshError("message_from_future", "the push was accepted in the future")
        check_time(message.time, message.expiry, accepted_us, PUSH_LIFE_US)
        keep_us = parse_time(message.expiry) + KEEP_US
        if self._has_purged(keep_us) and self._kept(message.source, message.id) is None:
            raise MeshError("message_expired", "what was pushed at that time is no longer remembered here")
        self._party.note_signed(parse_time(permit.time))
        walk.to(PERMIT_LAW)
        self._law.check_permit(permit, is_event=isinstance(message, Event))
        walk.to(DUPLICATE)
        life = self._recall(message, admitted.digest)
        if life.state != State.NEW:
            self._repeat(life, message, admitted.digest, permit_line, now_us, turn)
            return None
        data = b""
        if isinstance(message, Notice):
            walk.to(CONTENT)
            data = self._party.unseal(message.data, message, now_us)
            check_no_personal_number(data)
            self._read(message.type, data)
        self._take_in(life, message, line, permit, permit_line, data, now_us, turn)
        return Pushed(life, message, permit, data)

    def _check_address(self, message: Event | Notice, kind: str, permit: Permit, digest: str) -> None:
        addressed = isinstance(message, Event) or message.recipient == self._party.address
        if permit.recipient != self._party.address or not addressed:
            raise MeshError("audience_mismatch")
        if self._takes.get(message.type) != kind:
            raise MeshError("service_unknown")
        if (permit.requestdigest, permit.requester, permit.service) != (digest, message.source, message.type):
            raise MeshError("audience_mismatch", "the permit was given for another message")

    def _recall(self, message: Event | Notice, digest: str) -> Receiving:
        """Where the push of this source and id stands; a new one, if it never came."""
        life = self._entering.get((message.source, message.id))
        if life is not None:
            return life
        kept = self._kept(message.source, message.id)
        return Receiving(digest) if kept is None else Receiving(*kept)

    def _repeat(
        self,
        life: Receiving,
        message: Event | Notice,
        digest: str,
        permit_line: bytes,
        now_us: int,
        turn: Turn,
    ) -> None:
        """The push comes again: the kept receipt answers it, or the one that leaves with the commit.

        Under another permit it may have come through another broker of the role: the kept one goes with it.
        """
        if life.digest != digest:
            raise MeshError("id_conflict")
        life.fire(Happening.PUSH)
        if life.state == State.RECEIVED and life.receipt is not None:
            beside = b"" if life.permit == permit_line else b"\n" + life.permit
            receipt = self._renewal.line(life.receipt, (message.source, message.id), now_us, turn)
            turn.sends.append((BROKER, receipt + beside))

    def _take_in(
        self,
        life: Receiving,
        message: Event | Notice,
        line: bytes,
        permit: Permit,
        permit_line: bytes,
        data: bytes,
        now_us: int,
        turn: Turn,
    ) -> None:
        party = self._party
        permit_digest = digest_of(permit_line)
        receipt = Receipt(
            specversion="1.0",
            id=party.new_id(now_us),
            source=party.address,
            type=message.type,
            time=format_time(now_us),
            recipient=BROKER,
            requestdigest=life.digest,
            permitdigest=permit_digest,
        )
        receipt_line = party.sign(receipt, Kind.RECEIPT)
        row = Row(
            "answered",
            now_us,
            message.id,
            message.source,
            provider=party.address,
            service=message.type,
            procedure=permit.procedure,
            items=permit.items,
            subject=permit.subject,
            requestdigest=life.digest,
            permitdigest=permit_digest,
            replydigest=digest_of(receipt_line),
            undisclosed=permit.undisclosed,
        )
        keep_us = parse_time(message.expiry) + KEEP_US
        key = (message.source, message.id)
        life.fire(Happening.PUSH)
        self._entering[key] = life
        turn.rows.append(row)
        turn.writes.append(("inbox", (*key, life.digest, line, permit_line, receipt_line, keep_us, data)))
        turn.sends.append((BROKER, receipt_line))
        turn.calls.append((life.fire, (Happening.COMMIT,)))
        turn.calls.append((self._entering.pop, (key, None)))
        turn.undo.append(lambda _: self._give_back(life, key))

    def _give_back(self, life: Receiving, key: tuple[str, str]) -> None:
        """It could not be committed: it never came."""
        life.restore((State.NEW,))
        self._entering.pop(key, None)

    def handle(self, pushed: Pushed, turn: Turn) -> None:
        """Its handler's effect is in the turn: once that is committed it may not happen again."""
        turn.writes.append(("inbox_done", (pushed.message.id, pushed.message.source)))
        turn.calls.append((pushed.life.fire, (Happening.HANDLE,)))

    def reopen(self, line: bytes, permit_line: bytes, data: bytes) -> Pushed:
        """A push from the inbox, to be handled after a restart: its own records are not judged again.

        Nor is its body opened again: the key for which that was sealed may be gone.
        """
        message, permit = read_line(line), read_line(permit_line)
        life = Receiving(digest_of(line))
        life.restore((State.RECEIVED,))
        return Pushed(life, message, permit, data)
