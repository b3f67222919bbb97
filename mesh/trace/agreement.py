"""The three-way agreement: what requester, broker and provider each recorded of one exchange.

Rules kept here:
1. `answered` needs `permitted`, which needs `opened`, by (requester, id); what they say of service, procedure,
   items and provider is equal, and so are the digests. An event is opened once, permitted and answered by
   each subscriber. What they say is what the messages say that they name: the permit's person, the refusal's code.
2. A missing `closed` is unfinished, a superseded permit retried; both are counted. Everything else is a
   fault: `MeshError` ledger_broken.
3. Of what passed a gate in a run that came to its end, every permit is in the broker's ledger and every reply in its
   provider's: both are recorded before they are sent.
4. What a party says it received must be in the trace, and must have passed a gate's first steps. What it
   recorded and never sent may be missing: the run ended, or the party crashed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from mesh.errors import CODES, MeshError
from mesh.ledger import Row
from mesh.message import Kind
from mesh.names import BROKER
from mesh.trace.recheck import ANSWERS, ASKS, Passed, Seen


class _Exchange:
    """What the ledgers say of one exchange so far."""

    __slots__ = ("answers", "closed_by", "kind", "opened", "permits")

    def __init__(self, opened: Row, kind: str) -> None:
        self.opened = opened
        self.kind = kind
        self.permits: dict[str, Row] = {}
        """What the broker recorded of each, with the subject that the permit names to its recipient."""
        self.answers: dict[str, Row] = {}
        """By provider."""
        self.closed_by: dict[tuple[str, str], None] = {}
        """(party, provider)."""


class Agreement:
    """All exchanges of a trace.

    `seen` holds its messages by digest; `document(number)` decodes one of them.
    """

    def __init__(self, seen: dict[str, Seen], document: Callable[[int], Any]) -> None:
        self._seen = seen
        self._document = document
        self._exchanges: dict[tuple[str, str], _Exchange] = {}
        self._recorded: set[str] = set()
        """Digests of the permits and answers that those who made them wrote down."""
        self._enter = {
            "opened": self._opened,
            "permitted": self._permitted,
            "answered": self._answered,
            "closed": self._closed,
            "refused": self._refused,
            "mark": self._mark,
        }

    def enter(self, party: str, row: Row) -> None:
        """Take in the next row, in the order of commits; `MeshError` if it disagrees with what came before."""
        self._enter[row.entry](party, row)

    def _opened(self, party: str, row: Row) -> None:
        _check(party == row.requester, "an exchange is opened by its requester")
        _check((row.requester, row.id) not in self._exchanges, "the exchange is opened twice")
        asked = self._own(row.requestdigest, ASKS)
        kind = ""
        if asked is not None:
            kind = asked.kind
            body = self._document(asked.number)
            stated = (body.id, body.source, body.recipient, body.type)
            _check(stated == (row.id, row.requester, row.provider, row.service), "its message says otherwise")
            tasks = (getattr(body, "procedure", None), getattr(body, "items", None))
            _check(tasks == (row.procedure, row.items), "its message has another procedure or other items")
        self._exchanges[row.requester, row.id] = _Exchange(row, kind)

    def _permitted(self, party: str, row: Row) -> None:
        _check(party == BROKER, "only the broker permits")
        exchange = self._of(row)
        _check(row.service == exchange.opened.service, "the services differ")
        if exchange.kind != Kind.EVENT:
            _check(_task(row) == _task(exchange.opened), "provider, procedure or items differ")
        _check(row.permitdigest is not None and row.provider is not None, "a permit needs its digest")
        self._received(row.requestdigest, ASKS)
        permit = self._own(row.permitdigest, (Kind.PERMIT,))
        _check(permit is None or permit.about == row.requestdigest, "the permit is of another request")
        if permit is not None:
            body = self._document(permit.number)
            stated = (body.recipient, body.service, body.procedure, body.items, body.undisclosed)
            recorded = (row.provider, row.service, row.procedure, row.items, row.undisclosed)
            _check(stated == recorded, "its permit says otherwise")
            row = replace(row, subject=body.subject)
        exchange.permits[row.permitdigest or ""] = row
        self._recorded.add(row.permitdigest or "")

    def _answered(self, party: str, row: Row) -> None:
        _check(party == row.provider, "an exchange is answered by its provider")
        exchange = self._of(row)
        permitted = exchange.permits.get(row.permitdigest or "")
        if permitted is None:
            raise _broken("it was answered without a permit")
        _check(
            row.service == permitted.service and _task(row) == _task(permitted), "it differs from its permit"
        )
        _check(row.undisclosed == permitted.undisclosed, "it is hidden in one ledger and not in the other")
        _check(party not in exchange.answers, "it was answered twice")
        self._received(row.requestdigest, ASKS)
        self._received(row.permitdigest, (Kind.PERMIT,))
        _check(row.subject == permitted.subject, "its permit is about another person")
        self._answer_of(row, self._own(row.replydigest, ANSWERS))
        exchange.answers[party] = row
        self._recorded.add(row.replydigest or "")

    def _closed(self, party: str, row: Row) -> None:
        _check(party in (row.requester, BROKER), "requester and broker close an exchange")
        exchange = self._of(row)
        own = party == BROKER and row.code is not None
        answer = (self._own if own else self._received)(row.replydigest, ANSWERS)
        self._answer_of(row, answer)
        provider = row.provider or ""
        if row.permitdigest is not None:
            provider = self._closed_under(exchange, row, row.permitdigest)
        elif row.code is None:
            _check(
                answer is not None and answer.kind == Kind.RECEIPT, "only a receipt comes without a permit"
            )
        _check(party == row.requester or bool(exchange.permits), "the broker closed what it never permitted")
        exchange.closed_by[party, provider] = None

    def _closed_under(self, exchange: _Exchange, row: Row, permitdigest: str) -> str:
        """Compare an outcome with what the provider recorded under the permit; returns the provider."""
        permitted = exchange.permits.get(permitdigest)
        if permitted is None:
            raise _broken("it was closed under a permit that nobody gave")
        provider = permitted.provider or ""
        answered = exchange.answers.get(provider)
        if answered is not None and answered.replydigest == row.replydigest:
            _check(answered.permitdigest == permitdigest, "its answer was given under another permit")
        elif row.code is None:
            raise _broken("it was closed with an answer that its provider did not record")
        return provider

    def _refused(self, party: str, row: Row) -> None:
        _check(row.code in CODES, "a refusal has a code of the table")
        self._received(row.requestdigest, ASKS)
        self._answer_of(row, self._own(row.replydigest, (Kind.REFUSAL,)))

    def _mark(self, party: str, row: Row) -> None:
        _check(row.undisclosed, "a mark hides an exchange")

    # Digests.

    def _of(self, row: Row) -> _Exchange:
        exchange = self._exchanges.get((row.requester, row.id))
        if exchange is None:
            raise _broken("its requester never opened it")
        _check(row.requestdigest == exchange.opened.requestdigest, "the request digests differ")
        return exchange

    def _own(self, digest: str | None, kinds: tuple[str, ...]) -> Seen | None:
        """The message that a party says it made; None if it never left."""
        _check(digest is not None, "a digest is missing")
        seen = self._seen.get(digest or "")
        if seen is not None:
            _check(seen.kind in kinds, "a digest is of another kind of message")
            if seen.code is not None:
                raise MeshError(seen.code, "it names a message that does not verify")
        return seen

    def _received(self, digest: str | None, kinds: tuple[str, ...]) -> Seen:
        """The message that a party says it received: it must have been transmitted."""
        seen = self._own(digest, kinds)
        if seen is None:
            raise _broken("it names a message that was never transmitted")
        return seen

    def _answer_of(self, row: Row, answer: Seen | None) -> None:
        if answer is not None:
            _check(answer.about == row.requestdigest, "its answer is to another request")
            _check(answer.said == row.code, "its answer says that something else came of it")

    # The end.

    def unrecorded(self, passed: Mapping[str, Passed]) -> Iterator[tuple[int, MeshError]]:
        """The transmissions of permits and replies that nobody wrote down, of a run that came to its end."""
        for digest, (index, kind) in passed.items():
            if digest not in self._recorded:
                what = "the broker did not record the permit that came with it"
                yield index, _broken(what if kind == Kind.PERMIT else "its provider did not record the reply")

    def unfinished(self) -> int:
        """How many exchanges lack a `closed` of the requester, or of the broker for what it permitted."""
        return sum(1 for exchange in self._exchanges.values() if _is_unfinished(exchange))

    def retried(self) -> int:
        """How many permits were given again for the same exchange and provider."""
        return sum(
            len(exchange.permits) - len({row.provider for row in exchange.permits.values()})
            for exchange in self._exchanges.values()
        )


def _is_unfinished(exchange: _Exchange) -> bool:
    closed = exchange.closed_by
    if not any(party == exchange.opened.requester for party, _ in closed):
        return True
    # The provider's refusal of unread bytes names no permit, and so no provider.
    return any(
        (BROKER, row.provider or "") not in closed and (BROKER, "") not in closed
        for row in exchange.permits.values()
    )


def _task(row: Row) -> tuple[str | None, str | None, str | None]:
    return row.provider, row.procedure, row.items


def _check(held: bool, text: str) -> None:
    if not held:
        raise _broken(text)


def _broken(text: str) -> MeshError:
    return MeshError("ledger_broken", text)
