"""The broker's post: pushes taken over, passed to whom the law names, and repeated until signed for.

The publisher gets its receipt when every delivery is committed; each attempt carries a permit of its own,
decided anew, so a row that ended in the meantime ends the deliveries under it. What is given up is a dead letter, and
its publisher gets the signed refusal that says so, until it has signed for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mesh.authoriser import Authoriser
from mesh.errors import Again, MeshError
from mesh.exchange import Happening, Turn, digest_of
from mesh.gates import AUTHORISATION, DUPLICATE, REPLY, TIME, ZONE, Walk
from mesh.ledger import Row
from mesh.message import Event, Kind, Notice, Receipt, Refusal, format_time, items_of, parse_time
from mesh.names import BROKER, matches, member_of
from mesh.outbox import Delivery, Outbox
from mesh.party import PERMIT_LIFE_US, PUSH_LIFE_US, Admitted, check_time, read_line
from mesh.policy import LegalBasis
from mesh.reason import open_code
from mesh.routing import Ids
from mesh.subscriber import KEEP_US

PERMITS_KEPT = 8
"""Permits of a delivery that are kept at hand: nearly every receipt is for one of the last."""


class Post:
    """Pushes on their way through a broker.

    `ids` knows which ids are taken, and the receipts of pushes taken over before; `listeners(event, role)`
    names the registered nodes with the role that take the event; `rows_with(text)` finds rows of the ledger.
    """

    def __init__(
        self,
        authoriser: Authoriser,
        outbox: Outbox,
        ids: Ids,
        listeners: Callable[[str, str], Iterable[str]],
        rows_with: Callable[[str], Iterable[Row]],
    ) -> None:
        self._authoriser = authoriser
        self._party = authoriser.party
        self.outbox = outbox
        self._ids = ids
        self._listeners = listeners
        self._rows_with = rows_with

    def on_push(self, admitted: Admitted, line: bytes, peer: str, now_us: int, turn: Turn) -> None:
        """Take a push over: commit its deliveries, then sign for it.

        Raises `MeshError` with the codes of the steps address to authorisation.
        """
        message: Event | Notice = admitted.message
        self._check_address(message, now_us)
        admitted.walk.to(TIME)
        check_time(message.time, message.expiry, now_us, PUSH_LIFE_US, self._party.newest_signed_us)
        admitted.walk.to(DUPLICATE)
        if self._ids.check(message.source, message.id, admitted.digest):
            kept = self._ids.kept(message.source, message.id)
            if kept is not None:
                self._revive(message, admitted.digest, now_us, turn)
                turn.sends.append((message.source, self._party.current(kept[1], now_us)))
            # Else the first copy is about to be committed, and its receipt answers this one as well.
            return
        recipients = self._recipients(message, admitted.zone, now_us, admitted.walk)
        # Its own code is kept with the delivery: the subject is sealed for a key that may be gone before it leaves.
        subject = self._own_code(self._authoriser.person_of(message, now_us))
        self._authoriser.rates.count(peer, self._party.monotonic_us())
        expiry_us = parse_time(message.expiry)
        self._ids.take(message.source, message.id, admitted.digest)
        for recipient in recipients:
            turn.writes.append(
                self.outbox.add(message.source, recipient, admitted.digest, line, expiry_us, now_us, subject)
            )
        turn.calls.append((self._ids.free, (message.source, message.id)))
        turn.undo.append(lambda _: self._give_back(message, admitted.digest, recipients))
        receipt = Receipt(
            specversion="1.0",
            id=self._party.new_id(now_us),
            source=self._party.address,
            type=message.type,
            time=format_time(now_us),
            recipient=message.source,
            requestdigest=admitted.digest,
        )
        receipt_line = self._party.sign(receipt, Kind.RECEIPT)
        turn.writes.append(
            ("outcome", (message.source, message.id, admitted.digest, receipt_line, expiry_us + KEEP_US))
        )
        turn.sends.append((message.source, receipt_line))

    def on_copy(self, line: bytes, error: MeshError, peer: str, now_us: int, turn: Turn) -> bool:
        """Whether a push comes again from its source that was taken over while its key still counted: it gets its receipt.

        To refuse it would tell its publisher that it died.
        """
        if error.code not in ("certificate_revoked", "certificate_expired"):
            return False
        try:
            message = read_line(line)
        except MeshError:  # Nothing but its key was looked at.
            return False
        if not isinstance(message, Event | Notice) or peer != message.source:
            return False
        kept = self._ids.kept(message.source, message.id)
        if kept is None or kept[0] != digest_of(line):
            return False
        turn.sends.append((message.source, self._party.current(kept[1], now_us)))
        return True

    def _revive(self, message: Event | Notice, digest: str, now_us: int, turn: Turn) -> None:
        """Its publisher sends a push again: the deliveries of it that were given up go out again."""
        for delivery in [one for one in self.outbox.dead.values() if one.digest == digest]:
            self._send_again(delivery, parse_time(message.expiry), now_us, turn)

    def _own_code(self, person: bytes) -> str:
        return self._authoriser.codes.code(self._party.member, person)

    def _give_back(self, message: Event | Notice, digest: str, recipients: Iterable[str]) -> None:
        """The takeover could not be committed: the publisher sends the push again."""
        self._ids.free(message.source, message.id)
        for recipient in recipients:
            self.outbox.forget(recipient, digest)

    def _check_address(self, message: Event | Notice, now_us: int) -> None:
        if isinstance(message, Notice):
            self._authoriser.recipient(message.recipient, now_us)
            if message.type not in self._party.view.lookup(message.recipient).events:
                raise MeshError("service_unknown")
        elif message.recipient != BROKER:
            raise MeshError("audience_mismatch")

    def _recipients(self, message: Event | Notice, zone: str, now_us: int, walk: Walk) -> list[str]:
        """Who gets the push: the recipient of a notice, or whom the law lets hear of the event."""
        if isinstance(message, Event):
            walk.to(AUTHORISATION)
            rows = self._authoriser.policy.subscribers(message.source, message.type, now_us)
            if not rows:
                raise MeshError("no_legal_basis", f"no row lets anybody hear of {message.source}'s event")
            return [
                address for address in self._heard_by(message, rows) if self._reaches(message, zone, address)
            ]
        walk.to(ZONE)
        recipient = self._party.view.lookup(message.recipient)
        self._authoriser.check_zone(zone, recipient.zone, message.source, message.recipient)
        walk.to(AUTHORISATION)
        self._basis_for(message, message.recipient, now_us)
        return [message.recipient]

    def _heard_by(self, message: Event, rows: list[LegalBasis]) -> list[str]:
        heard: dict[str, None] = {}
        for row in rows:
            role = row.requester
            if row.same_member:
                role = f"{member_of(message.source)}/{role.rsplit('/', 1)[1]}"
            for address in self._listeners(message.type, role):
                if matches(row.requester, address):
                    heard.setdefault(address)
        return list(heard)

    def _reaches(self, message: Event, zone: str, address: str) -> bool:
        listener = self._party.view.lookup(address)
        return self._authoriser.policy.may_cross(zone, listener.zone, message.source, address)

    def _basis_for(self, message: Event | Notice, recipient: str, now_us: int) -> LegalBasis:
        policy = self._authoriser.policy
        if isinstance(message, Notice):
            items = items_of(message.items)
            return policy.decide(message.source, message.procedure, recipient, message.type, items, now_us)
        for row in policy.subscribers(message.source, message.type, now_us):
            same = not row.same_member or member_of(recipient) == member_of(message.source)
            if same and matches(row.requester, recipient):
                return row
        raise MeshError("no_legal_basis", f"no row lets {recipient} hear of {message.type}")

    def deliver_due(self, now_us: int, turn: Turn) -> None:
        """Send what is due, each with a permit of its own; what may go no longer is a dead letter."""
        ready, expired = self.outbox.take_due(now_us, turn)
        for delivery in expired:
            self._say_dead(
                delivery, MeshError("message_expired", f"{delivery.to} did not sign in time"), now_us, turn
            )
        for delivery in ready:
            try:
                self._deliver(delivery, now_us, turn)
            except MeshError as error:
                if error.again is Again.NEVER:
                    self._forbid(delivery, turn)
                    self._say_dead(delivery, error, now_us, turn)

    def _forbid(self, delivery: Delivery, turn: Turn) -> None:
        turn.writes.append(self.outbox.end(delivery, Happening.FORBID))
        turn.undo.append(lambda _: self.outbox.put_back(delivery))

    def _say_dead(self, delivery: Delivery, error: MeshError, now_us: int, turn: Turn) -> None:
        """Give a push up in the broker's own name; its publisher hears."""
        if delivery.sender == self._party.address:
            return  # It was word of a dead letter.
        permit_digest = delivery.permits[0] if delivery.permits else self._last_permit(delivery)
        line = self._party.refusal(
            error,
            to=delivery.sender,
            digest=delivery.digest,
            now_us=now_us,
            permit_digest=permit_digest,
            about=read_line(delivery.line).type,
            definite=not delivery.attempts,
        )
        if permit_digest is not None:
            self._close(delivery, permit_digest, digest_of(line), error.code, now_us, turn)
        self._send_word(delivery.sender, line, now_us, turn)

    def _last_permit(self, delivery: Delivery) -> str | None:
        """The last permit that the ledger has for a delivery of before a restart; None if it never went out."""
        rows = [row for row in self._rows_with(delivery.digest) if row.provider == delivery.to]
        return next((row.permitdigest for row in reversed(rows) if row.entry == "permitted"), None)

    def _send_word(self, publisher: str, line: bytes, now_us: int, turn: Turn) -> None:
        """Let a publisher hear of a dead letter: the refusal itself goes to it until it has signed for that."""
        digest = digest_of(line)
        turn.writes.append(
            self.outbox.add(self._party.address, publisher, digest, line, now_us + PUSH_LIFE_US, now_us)
        )
        turn.undo.append(lambda _: self.outbox.forget(publisher, digest))

    def _take_back(self, word: Delivery, said: Refusal, now_us: int, turn: Turn) -> None:
        """The key that signed a refusal was revoked before its publisher heard: nobody would believe that the push died.

        So it did not: it goes out again, and ends again if the reason still stands.
        """
        former = word.former()
        turn.writes.append(self.outbox.end(word, Happening.REFUSE))
        turn.undo.append(lambda _: self.outbox.restore(word, former))
        for delivery in [one for one in self.outbox.dead.values() if one.digest == said.requestdigest]:
            if said.source in (delivery.to, self._party.address):
                self._send_again(delivery, delivery.expiry_us, now_us, turn)

    def _deliver(self, delivery: Delivery, now_us: int, turn: Turn) -> None:
        message: Any = read_line(delivery.line)
        if isinstance(message, Refusal):
            if self._party.is_believed(delivery.line, now_us):
                turn.sends.append((delivery.to, delivery.line))
            else:
                self._take_back(delivery, message, now_us, turn)
            return
        authoriser = self._authoriser
        self._authoriser.recipient(delivery.to, now_us)
        basis = self._basis_for(message, delivery.to, now_us)
        person = authoriser.codes.person(delivery.subject or "", self._party.member)
        permit, permit_digest = authoriser.permit(
            message,
            delivery.digest,
            delivery.to,
            basis,
            authoriser.codes.code(member_of(delivery.to), person),
            now_us,
            accepted=format_time(delivery.added_us),
        )
        row = Row(
            "permitted",
            now_us,
            message.id,
            message.source,
            provider=delivery.to,
            service=message.type,
            procedure=basis.procedure or None,
            items=getattr(message, "items", None),
            subject=delivery.subject,
            requestdigest=delivery.digest,
            permitdigest=permit_digest,
            undisclosed=basis.undisclosed,
        )
        turn.rows.append(row)
        before = delivery.permits
        delivery.permits = (permit_digest, *before[: PERMITS_KEPT - 1])
        turn.undo.append(lambda _: setattr(delivery, "permits", before))
        turn.sends.append((delivery.to, delivery.line + b"\n" + permit))

    def on_receipt(self, admitted: Admitted, permit_line: bytes, now_us: int, turn: Turn) -> None:
        """A subscriber signed for a push: it is not sent again. A repeated receipt is dropped.

        One that was kept may be for another broker's permit, which then comes beside it.
        Raises `MeshError`: audience_mismatch, and correlation_mismatch for a permit that did not come with it.
        """
        receipt: Receipt = admitted.message
        if receipt.recipient != self._party.address:
            raise MeshError("audience_mismatch")
        admitted.walk.to(REPLY)
        delivery = self.outbox.find(receipt.source, receipt.requestdigest)
        if delivery is None:
            return
        is_word = delivery.sender == self._party.address
        if (
            not is_word
            and receipt.permitdigest not in delivery.permits
            and not self._was_permitted(delivery, receipt)
            and not self._authoriser.was_permitted(
                receipt, permit_line, delivery.sender, delivery.to, read_line(delivery.line).type, now_us
            )
        ):
            raise MeshError("correlation_mismatch", "the receipt is for a permit that was not given")
        former = delivery.former()
        turn.writes.append(self.outbox.end(delivery, Happening.RECEIPT))
        turn.undo.append(lambda _: self.outbox.restore(delivery, former))
        if not is_word:
            self._close(delivery, receipt.permitdigest, admitted.digest, None, now_us, turn)

    def on_refusal(self, admitted: Admitted, line: bytes, now_us: int, turn: Turn) -> bool:
        """Whether the refusal is of a delivery. One that says `never` of its last attempts makes a dead letter of it.

        After any other it goes out again until it expires. Raises `MeshError` schema_invalid for a code that is not in
        the table.
        """
        refusal: Refusal = admitted.message
        delivery = self.outbox.find(refusal.source, refusal.requestdigest)
        if delivery is None:
            return False
        admitted.walk.to(REPLY)
        code = open_code(refusal)
        # One without a permit, or of another time, says nothing of what is under way.
        if code.again is Again.NEVER and refusal.permitdigest in delivery.permits:
            former = delivery.former()
            turn.writes.append(self.outbox.end(delivery, Happening.REFUSE))
            turn.undo.append(lambda _: self.outbox.restore(delivery, former))
            self._close(delivery, refusal.permitdigest, admitted.digest, refusal.code, now_us, turn)
            self._send_word(delivery.sender, line, now_us, turn)
        return True

    def _close(
        self,
        delivery: Delivery,
        permit_digest: str | None,
        answer_digest: str,
        code: str | None,
        now_us: int,
        turn: Turn,
    ) -> None:
        message: Any = read_line(delivery.line)
        row = Row(
            "closed",
            now_us,
            message.id,
            message.source,
            provider=delivery.to,
            requestdigest=delivery.digest,
            permitdigest=permit_digest,
            replydigest=answer_digest,
            code=code,
        )
        turn.rows.append(row)

    def _was_permitted(self, delivery: Delivery, receipt: Receipt) -> bool:
        """Whether the ledger has the permit: one of long ago, or of before a restart."""
        return receipt.permitdigest is not None and any(
            (row.entry, row.provider, row.requestdigest, row.permitdigest)
            == ("permitted", delivery.to, delivery.digest, receipt.permitdigest)
            for row in self._rows_with(receipt.permitdigest)
        )

    def dead_letters(self) -> list[Delivery]:
        """The deliveries that were given up, in the order in which they were taken over."""
        return sorted(one for one in self.outbox.dead.values() if one.sender != self._party.address)

    def send_again(self, number: int, now_us: int, turn: Turn) -> bool:
        """Send a dead letter again, as a person decided; False if there is none, or it is too late.

        It goes out for as long as its recipient remembers having had it, so that its effect stays one.
        """
        delivery = self.outbox.dead.get(number)
        if delivery is None:
            return False
        # The last permit is in force for its life, and the recipient still remembers when it ends.
        until_us = parse_time(read_line(delivery.line).expiry) + KEEP_US - PERMIT_LIFE_US
        if now_us >= until_us:
            return False
        self._send_again(delivery, until_us, now_us, turn)
        return True

    def _send_again(self, delivery: Delivery, until_us: int, now_us: int, turn: Turn) -> None:
        former = delivery.former()
        write = self.outbox.revive(delivery.number, until_us, now_us)
        if write is not None:
            turn.writes.append(write)
            turn.undo.append(lambda _: self.outbox.restore(delivery, former))
