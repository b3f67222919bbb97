"""Whoever pushes: an event to the subscribers that the law names, or a notice to one recipient.

A push is recorded and kept in the publisher's outbox before it leaves, and goes out again until the broker
has signed for it or refused it for good. An event carries no data; a notice carries a sealed body. Of a push that the
broker took over and gave up later the publisher hears: it records that, signs for it, and tells its author once. What a
push said is kept for as long as it may be sent again: the same bytes while they can still arrive, and else a new message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mesh import jws
from mesh.dead_letter import DeadLetter
from mesh.errors import Again, MeshError
from mesh.exchange import Happening, Turn, digest_of
from mesh.gates import CONTENT, REPLY
from mesh.ledger import Row
from mesh.message import Event, Kind, Notice, Receipt, Refusal, format_time, parse_time
from mesh.names import BROKER, matches
from mesh.outbox import Delivery, Outbox
from mesh.party import PUSH_LIFE_US, Admitted, Party, read_line
from mesh.policy import Policy
from mesh.reason import open_code
from mesh.sealing import key_of, split
from mesh.subscriber import KEEP_US

WORD_KEPT_US = PUSH_LIFE_US + KEEP_US
"""Word of a dead letter is remembered for as long as the broker may bring it, and this much longer."""


class Kept(Protocol):
    """What a publisher finds in its party's database."""

    def kept(self, source: str, message_id: str) -> tuple[str, bytes] | None:
        """What was kept of a dead letter heard of before: digest and receipt."""

    def push(self, message_id: str) -> tuple[bytes, str, bytes] | None:
        """Line, subject and content of a push, for as long as it can be sent again."""

    def letters(self) -> list[DeadLetter]:
        """The dead letters that were not sent again."""


class Publisher:
    """Pushes of one party, until the broker has taken them over, and what it hears of those that died there.

    `rows_with(text)` finds rows of the ledger, and `store` what is kept; `law` is its own copy, and `heard(letter)` tells
    its author.
    """

    def __init__(
        self,
        party: Party,
        outbox: Outbox,
        rows_with: Callable[[str], Iterable[Row]],
        store: Kept,
        law: Policy,
        heard: Callable[[DeadLetter], None],
    ) -> None:
        self._party = party
        self.outbox = outbox
        self._rows_with = rows_with
        self._store = store
        self._again: dict[str, str] = {}
        """What is being sent again, and under which id, until that is committed."""
        self._law = law
        self._heard = heard

    def publish(
        self,
        event: str,
        subject: str,
        now_us: int,
        turn: Turn,
        *,
        data_version: int | None = None,
        life_us: int = PUSH_LIFE_US,
    ) -> str:
        """Say that something happened to a subject (the party's own code); returns the message id.

        Raises `Unsendable` for what the first gate would refuse, before anything is recorded.
        """
        message_id = self._party.new_id(now_us)
        message = Event(
            specversion="1.0",
            id=message_id,
            source=self._party.address,
            type=event,
            time=format_time(now_us),
            recipient=BROKER,
            subject=self._party.seal_subject(message_id, subject),
            dataversion=data_version,
            expiry=format_time(now_us + life_us),
        )
        self._post(message, Kind.EVENT, subject, b"", now_us, now_us + life_us, turn)
        return message_id

    def notify(
        self,
        notice: str,
        to: str,
        content: bytes,
        subject: str,
        procedure: str,
        items: str,
        now_us: int,
        turn: Turn,
        *,
        data_version: int | None = None,
        life_us: int = PUSH_LIFE_US,
    ) -> str:
        """Send a sealed body to one recipient; returns the message id.

        Raises `Unsendable` for what the first gate would refuse, before anything is recorded.
        """
        recipient = self._party.lookup_for(to)
        message_id = self._party.new_id(now_us)
        message = Notice(
            specversion="1.0",
            id=message_id,
            source=self._party.address,
            type=notice,
            time=format_time(now_us),
            recipient=to,
            datacontenttype="application/jose",
            subject=self._party.seal_subject(message_id, subject),
            procedure=procedure,
            items=items,
            dataversion=data_version,
            expiry=format_time(now_us + life_us),
            data=self._party.seal(message_id, to, content, to, recipient.seal_key),
        )
        self._post(message, Kind.NOTICE, subject, content, now_us, now_us + life_us, turn)
        return message_id

    def _post(
        self,
        message: Event | Notice,
        kind: str,
        subject: str,
        content: bytes,
        now_us: int,
        expiry_us: int,
        turn: Turn,
    ) -> None:
        line = self._party.sign(message, kind)
        digest = digest_of(line)
        row = Row(
            "opened",
            now_us,
            message.id,
            self._party.address,
            provider=message.recipient,
            service=message.type,
            procedure=getattr(message, "procedure", None),
            items=getattr(message, "items", None),
            subject=subject,
            requestdigest=digest,
        )
        turn.rows.append(row)
        turn.writes.append(("push", (message.id, line, subject, bytes(content), expiry_us + KEEP_US)))
        self._send(line, digest, expiry_us, now_us, turn)

    def _send(self, line: bytes, digest: str, expiry_us: int, now_us: int, turn: Turn) -> None:
        turn.writes.append(self.outbox.add(self._party.address, BROKER, digest, line, expiry_us, now_us))
        turn.undo.append(lambda _: self.outbox.forget(BROKER, digest))

    def send_again(self, message_id: str, now_us: int, turn: Turn) -> str | None:
        """Send a dead letter of this party again; returns the id under which it goes, None if there is none to send.

        The same bytes, if they have not expired and their keys still count; else a new message that says the same, for as
        long as the first one lived. Raises `Unsendable` if that cannot be sent any more.
        """
        if message_id in self._again:
            return self._again[message_id]
        kept = self._store.push(message_id)
        if kept is None or message_id not in [letter.message for letter in self._store.letters()]:
            return None
        again = self._again[message_id] = self._send_kept(message_id, kept, now_us, turn)
        turn.calls.append((self._again.pop, (message_id, None)))
        turn.undo.append(lambda _: self._again.pop(message_id, None))
        return again

    def _send_kept(self, message_id: str, kept: tuple[bytes, str, bytes], now_us: int, turn: Turn) -> str:
        line, subject, content = kept
        message, digest = read_line(line), digest_of(line)
        expiry_us = parse_time(message.expiry)
        turn.writes.append(("letters_gone", (message_id,)))
        if now_us < expiry_us and self._can_arrive(line, message, now_us):
            if self.outbox.find(BROKER, digest) is None:
                self._forget_dead(digest, turn)
                self._send(line, digest, expiry_us, now_us, turn)
            return message_id
        self._forget_dead(digest, turn)
        life_us = expiry_us - parse_time(message.time)
        version = message.dataversion
        if isinstance(message, Event):
            return self.publish(message.type, subject, now_us, turn, data_version=version, life_us=life_us)
        return self.notify(
            message.type,
            message.recipient,
            content,
            subject,
            message.procedure,
            message.items,
            now_us,
            turn,
            data_version=version,
            life_us=life_us,
        )

    def _can_arrive(self, line: bytes, message: Event | Notice, now_us: int) -> bool:
        """Whether the keys of a line still count: that which signed it, and those for which it is sealed."""
        view = self._party.view
        seals = [(BROKER, message.subject)]
        if isinstance(message, Notice):
            seals.append((message.recipient, message.data))
        try:
            view.key(jws.parse(line).kid).check(now_us)
            for reader, seal in seals:
                view.lookup(reader).check_seal_key(key_of(split(seal)[0]), now_us)
        except MeshError:
            return False
        return True

    def _forget_dead(self, digest: str, turn: Turn) -> None:
        """A push that died before the broker took it over leaves the outbox when it is sent again."""
        for number in [one.number for one in self.outbox.dead.values() if one.digest == digest]:
            turn.writes.append(("outbox_gone", (number,)))
            turn.calls.append((self.outbox.dead.pop, (number, None)))

    def on_receipt(self, admitted: Admitted, now_us: int, turn: Turn) -> None:
        """The broker signed for a push; a repeated receipt is dropped."""
        receipt: Receipt = admitted.message
        if receipt.recipient != self._party.address:
            raise MeshError("audience_mismatch")
        admitted.walk.to(REPLY)
        if receipt.source != BROKER:
            raise MeshError("correlation_mismatch", "only the broker takes pushes over")
        delivery = self.outbox.find(BROKER, receipt.requestdigest)
        if delivery is not None:
            former = delivery.former()
            turn.writes.append(self.outbox.end(delivery, Happening.RECEIPT))
            self._close(delivery, former, admitted.digest, None, now_us, turn)

    def on_refusal(self, admitted: Admitted, now_us: int, turn: Turn) -> bool:
        """Whether the refusal is of a push: then it is not sent again, unless the reason may pass.

        Raises `MeshError`: correlation_mismatch if another than the broker refuses the push,
        audience_mismatch, and schema_invalid for a code that is not in the table.
        """
        refusal: Refusal = admitted.message
        delivery = self.outbox.find(BROKER, refusal.requestdigest)
        if delivery is None:
            return False
        if refusal.recipient != self._party.address:
            raise MeshError("audience_mismatch")
        admitted.walk.to(CONTENT)
        admitted.walk.to(REPLY)
        if refusal.source != BROKER:
            raise MeshError("correlation_mismatch", "only the broker refuses pushes to their publisher")
        code = open_code(refusal)
        if code.again is Again.NEVER:
            former = delivery.former()
            turn.writes.append(self.outbox.end(delivery, Happening.REFUSE))
            self._close(delivery, former, admitted.digest, code.name, now_us, turn)
            message = read_line(delivery.line)
            self._tell(message.id, message.type, refusal, now_us, turn)
        return True

    def expire(self, delivery: Delivery, now_us: int, turn: Turn) -> None:
        """A push is past its expiry before the broker signed for it."""
        message = read_line(delivery.line)
        said = "the broker did not sign for it in time"
        letter = DeadLetter(message.id, message.type, self._party.address, "message_expired", said)
        self._keep(letter, now_us, turn)

    def _tell(self, message_id: str, push: str, refusal: Refusal, now_us: int, turn: Turn) -> None:
        letter = DeadLetter(message_id, push, refusal.source, refusal.code, refusal.data.text)
        self._keep(letter, now_us, turn)

    def _keep(self, letter: DeadLetter, now_us: int, turn: Turn) -> None:
        """List a dead letter, and tell its author; it can be sent again for some time from now on."""
        said = (letter.message, letter.push, letter.by, letter.code, letter.text)
        turn.writes.append(("letter", said))
        turn.writes.append(("push_kept", (now_us + PUSH_LIFE_US, letter.message)))
        turn.calls.append((self._heard, (letter,)))

    def on_dead_letter(self, admitted: Admitted, now_us: int, turn: Turn) -> bool:
        """Whether the refusal says that a push is a dead letter which the broker had taken over: then sign for it.

        Raises `MeshError`: audience_mismatch, schema_invalid for a code that is not in the table, and
        correlation_mismatch for what nobody could say to whom the push was for.
        """
        refusal: Refusal = admitted.message
        rows = [
            row
            for row in self._rows_with(refusal.requestdigest)
            if row.requestdigest == refusal.requestdigest
        ]
        opened = next((row for row in rows if row.entry == "opened"), None)
        taken_over = any((row.entry, row.permitdigest, row.code) == ("closed", None, None) for row in rows)
        if opened is None or not taken_over:
            return False
        if refusal.recipient != self._party.address:
            raise MeshError("audience_mismatch")
        admitted.walk.to(CONTENT)
        admitted.walk.to(REPLY)
        self._check_said(refusal, opened, now_us)
        kept = self._store.kept(refusal.source, refusal.id)
        if kept is not None:
            turn.sends.append((BROKER, self._party.current(kept[1], now_us)))
            return True
        row = Row(
            "closed",
            now_us,
            opened.id,
            self._party.address,
            requestdigest=refusal.requestdigest,
            permitdigest=refusal.permitdigest,
            replydigest=admitted.digest,
            code=refusal.code,
        )
        receipt = Receipt(
            specversion="1.0",
            id=self._party.new_id(now_us),
            source=self._party.address,
            type=refusal.type,
            time=format_time(now_us),
            recipient=BROKER,
            requestdigest=admitted.digest,
        )
        line = self._party.sign(receipt, Kind.RECEIPT)
        turn.rows.append(row)
        turn.writes.append(
            ("outcome", (refusal.source, refusal.id, admitted.digest, bytearray(line), now_us + WORD_KEPT_US))
        )
        turn.sends.append((BROKER, line))
        self._tell(opened.id, opened.service or "", refusal, now_us, turn)
        return True

    def _check_said(self, refusal: Refusal, opened: Row, now_us: int) -> None:
        """The broker may give a push up; a recipient only by a refusal that says `never`."""
        code = open_code(refusal)
        if refusal.source == BROKER:
            return
        hears = refusal.source == opened.provider or (
            opened.provider == BROKER
            and any(
                matches(row.requester, refusal.source)
                for row in self._law.subscribers(self._party.address, opened.service or "", now_us)
            )
        )
        if not hears or code.again is not Again.NEVER:
            raise MeshError("correlation_mismatch", "whoever refused cannot end the push")

    def _close(
        self,
        delivery: Delivery,
        former: tuple[Any, ...],
        answer_digest: str,
        code: str | None,
        now_us: int,
        turn: Turn,
    ) -> None:
        turn.undo.append(lambda _: self.outbox.restore(delivery, former))
        message = read_line(delivery.line)
        if delivery.added_us != parse_time(message.time) and self._has_closed(answer_digest):
            return  # It was sent again, and got the receipt that the broker keeps.
        row = Row(
            "closed",
            now_us,
            message.id,
            self._party.address,
            requestdigest=delivery.digest,
            replydigest=answer_digest,
            code=code,
        )
        turn.rows.append(row)

    def _has_closed(self, answer_digest: str) -> bool:
        return any(row.replydigest == answer_digest for row in self._rows_with(answer_digest))
