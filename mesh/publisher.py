"""Whoever pushes: an event to the subscribers that the law names, or a notice to one recipient.

A push is recorded and kept in the publisher's outbox before it leaves, and goes out again until the broker
has signed for it or refused it for good. An event carries no data; a notice carries a sealed body. Of a push that the
broker took over and gave up later the publisher hears: it records that, signs for it, and tells its author once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mesh.content import Content
from mesh.dead_letter import DeadLetter
from mesh.errors import CODES, Again, MeshError
from mesh.exchange import Happening, Turn, digest_of
from mesh.gates import REPLY
from mesh.ledger import Row
from mesh.message import Event, Kind, Notice, Receipt, Refusal, format_time
from mesh.names import BROKER, matches
from mesh.outbox import Delivery, Outbox
from mesh.party import PUSH_LIFE_US, Admitted, Party, read_line
from mesh.policy import Policy


class Publisher:
    """Pushes of one party, until the broker has taken them over, and what it hears of those that died there.

    `rows_with(text)` finds rows of the ledger, `kept(source, id)` what was kept of a dead letter heard of before; `law`
    is its own copy, and `heard(letter)` tells its author.
    """

    def __init__(
        self,
        party: Party,
        outbox: Outbox,
        rows_with: Callable[[str], Iterable[Row]],
        kept: Callable[[str, str], tuple[str, bytes] | None],
        law: Policy,
        heard: Callable[[DeadLetter], None],
    ) -> None:
        self._party = party
        self.outbox = outbox
        self._rows_with = rows_with
        self._kept = kept
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
        self._post(message, Kind.EVENT, subject, now_us, now_us + life_us, turn)
        return message_id

    def notify(
        self,
        notice: str,
        to: str,
        content: Content,
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
        self._post(message, Kind.NOTICE, subject, now_us, now_us + life_us, turn)
        return message_id

    def _post(
        self,
        message: Event | Notice,
        kind: str,
        subject: str,
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
        turn.writes.append(self.outbox.add(self._party.address, BROKER, digest, line, expiry_us, now_us))
        turn.undo.append(lambda _: self.outbox.forget(BROKER, digest))

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
        admitted.walk.to(REPLY)
        if refusal.source != BROKER:
            raise MeshError("correlation_mismatch", "only the broker refuses pushes to their publisher")
        code = CODES.get(refusal.code)
        if code is None:
            raise MeshError("schema_invalid", "the refusal has no code of the table")
        if code.again is Again.NEVER:
            former = delivery.former()
            turn.writes.append(self.outbox.end(delivery, Happening.REFUSE))
            self._close(delivery, former, admitted.digest, code.name, now_us, turn)
            message = read_line(delivery.line)
            self._tell(message.id, message.type, refusal, turn)
        return True

    def _tell(self, message_id: str, push: str, refusal: Refusal, turn: Turn) -> None:
        letter = DeadLetter(message_id, push, refusal.source, refusal.code, refusal.data.text)
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
        admitted.walk.to(REPLY)
        self._check_said(refusal, opened, now_us)
        kept = self._kept(refusal.source, refusal.id)
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
            ("outcome", (refusal.source, refusal.id, admitted.digest, bytearray(line), now_us + PUSH_LIFE_US))
        )
        turn.sends.append((BROKER, line))
        self._tell(opened.id, opened.service or "", refusal, turn)
        return True

    def _check_said(self, refusal: Refusal, opened: Row, now_us: int) -> None:
        """The broker may give a push up; a recipient only by a refusal that says `never`."""
        code = CODES.get(refusal.code)
        if code is None:
            raise MeshError("schema_invalid", "the refusal has no code of the table")
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
        row = Row(
            "closed",
            now_us,
            read_line(delivery.line).id,
            self._party.address,
            requestdigest=delivery.digest,
            replydigest=answer_digest,
            code=code,
        )
        turn.rows.append(row)
