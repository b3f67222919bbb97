"""Whoever pushes: an event to the subscribers that the law names, or a notice to one recipient.

A push is recorded and kept in the publisher's outbox before it leaves, and goes out again until the broker
has signed for it or refused it for good. An event carries no data; a notice carries a sealed body.
"""

from __future__ import annotations

from typing import Any

from mesh.content import NOTHING, Content
from mesh.errors import CODES, MeshError, Step
from mesh.exchange import Turn, digest_of
from mesh.gates import REPLY
from mesh.ledger import Row
from mesh.message import Event, Kind, Notice, Receipt, Refusal, format_time
from mesh.names import BROKER
from mesh.outbox import Delivery, Outbox
from mesh.party import PUSH_LIFE_US, Admitted, Party, read_line

_PASSING = ("rate_limited", "registry_stale", "message_from_future")
"""Refusals that time mends, besides all of `Step.DELIVERY`."""


class Publisher:
    """Pushes of one party, until the broker has taken them over."""

    def __init__(self, party: Party, outbox: Outbox) -> None:
        self._party = party
        self.outbox = outbox

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
        self._post(message, Kind.EVENT, NOTHING, subject, now_us, now_us + life_us, turn)
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
        self._post(message, Kind.NOTICE, content, subject, now_us, now_us + life_us, turn)
        return message_id

    def _post(
        self,
        message: Event | Notice,
        kind: str,
        content: Content,
        subject: str,
        now_us: int,
        expiry_us: int,
        turn: Turn,
    ) -> None:
        line = self._party.sign(message, kind, content)
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
        turn.writes.append(self.outbox.add(BROKER, digest, line, expiry_us, now_us))
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
            turn.writes.append(self.outbox.receipted(delivery, now_us))
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
        if code.step is not Step.DELIVERY and code.name not in _PASSING:
            former = delivery.former()
            turn.writes.append(self.outbox.refused(delivery, now_us))
            self._close(delivery, former, admitted.digest, code.name, now_us, turn)
        return True

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
