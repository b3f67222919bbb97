"""The three-way agreement: what requester, broker and provider each recorded of one exchange.

Rules kept here:
1. `answered` needs `permitted`, which needs `opened`, by (requester, id); what they say of service, procedure,
   items and provider is equal, and so are the digests. An event is opened once, permitted and answered by
   each subscriber. Every column of a row is compared with the message that it names (`claims`), with the other ledgers,
   or must be empty in a row of its kind.
2. A missing `closed` is unfinished, a superseded permit retried; both are counted. Everything else is a
   fault: `MeshError` ledger_broken. No row comes twice: a permit, an outcome, a refusal of a copy and an answer are each
   recorded once by whom they concern. Once more stands an outcome that was signed anew, for each of its party's keys that
   had expired by then or was revoked.
3. Of what passed a gate, every permit is in the broker's ledger, and every reply and receipt in that of who gave it: both
   are recorded before they are sent.
4. What a party says it received must be in the trace, and must have passed its gate. What it recorded and never sent may
   be missing in a run that was interrupted, for as many lines as were under way then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from mesh.errors import CODES, MeshError, Step, outer_of
from mesh.ledger import Row
from mesh.message import Kind, items_of
from mesh.names import BROKER
from mesh.policy import Policy
from mesh.trace.claims import OTHER_TIME, Claims, check, check_shape, task
from mesh.trace.clocks import Clocks
from mesh.trace.marks import Marks
from mesh.trace.persons import Persons
from mesh.trace.reader import Trace
from mesh.trace.recheck import Recheck, Seen

_LEFT_OUT: Final = {
    Kind.PERMIT: "the broker did not record the permit that came with it",
    Kind.REPLY: "its provider did not record the reply",
    Kind.RECEIPT: "its subscriber did not record the receipt",
}
_UNRECORDED: tuple[Step, ...] = (Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD)
"""Steps of a gate before it is proven who sent a line: who refuses there records nothing."""


class Late(NamedTuple):
    """Something that is found only when all rows are known."""

    party: str
    exchange: tuple[str, str] | None
    """Its requester and id, if it is about one."""
    sent: int | None
    """The transmission, if it is about one."""
    error: MeshError


class _Exchange:
    """What the ledgers say of one exchange so far."""

    __slots__ = ("answers", "closed_by", "closed_with", "kind", "opened", "permits")

    def __init__(self, opened: Row, kind: str) -> None:
        self.opened = opened
        self.kind = kind
        self.permits: dict[str, Row] = {}
        """What the broker recorded of each."""
        self.answers: dict[str, list[Row]] = {}
        """By provider; a second one is the first signed anew."""
        self.closed_by: dict[tuple[str, str], None] = {}
        """(party, provider)."""
        self.closed_with: dict[str | None, None] = {}
        """The answers that its requester recorded."""


class Agreement:
    """All exchanges of a trace whose transmissions were checked before."""

    def __init__(self, trace: Trace, recheck: Recheck) -> None:
        self._trace = trace
        self._recheck = recheck
        self._seen = recheck.seen
        self._passed = recheck.passed
        self._refused_at = recheck.refused_at
        self._claims = Claims(trace, recheck.seen)
        self._persons = Persons(trace.residents(), complete=trace.complete)
        self._clocks = Clocks(trace.start_us)
        self._marks = Marks()
        self._exchanges: dict[tuple[str, str], _Exchange] = {}
        self._recorded: set[str] = set()
        """Digests of the permits and answers that those who made them wrote down."""
        self._passed_on: set[str] = set()
        """Digests of the answers that the broker wrote down."""
        self._refusals: Counter[tuple[int, str, str]] = Counter()
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
        backwards = self._clocks.runs_back(party, row.time_us)
        check_shape(row)
        self._enter[row.entry](party, row)
        check(not backwards, "its ledger runs backwards in time")

    def _opened(self, party: str, row: Row) -> None:
        check(party == row.requester, "an exchange is opened by its requester")
        check((row.requester, row.id) not in self._exchanges, "the exchange is opened twice")
        asked = self._claims.opened(row)
        exchange = _Exchange(row, "" if asked is None else asked.kind)
        self._exchanges[row.requester, row.id] = exchange
        if asked is not None and asked.kind == Kind.REQUEST:
            self._clocks.said(party, row.time_us, asked.sent_us)
        else:
            check(not row.undisclosed, "a push is opened without saying whether it is hidden")
        _hold(self._marks.asked(row))

    def _permitted(self, party: str, row: Row) -> None:
        check(party == BROKER, "only the broker permits")
        exchange = self._of(row)
        opened = exchange.opened
        check(row.service == opened.service, "the services differ")
        if exchange.kind != Kind.EVENT:
            check(task(row) == task(opened), "provider, procedure or items differ")
        permitdigest = row.permitdigest
        check(permitdigest is not None and row.provider is not None, "a permit needs its digest")
        check(permitdigest not in self._recorded, "the permit is recorded twice")
        permit, said = self._claims.permitted(row)
        if exchange.kind == Kind.REQUEST:
            check(row.undisclosed == opened.undisclosed, "it is hidden in one ledger and not in the other")
        codes = [(row.requester, opened.subject), (BROKER, row.subject)]
        if permit is not None and said is not None:
            codes.append((row.provider or "", said.subject))
            self._clocks.said(party, row.time_us, permit.sent_us)
        exchange.permits[permitdigest or ""] = row
        self._recorded.add(permitdigest or "")
        _hold(self._persons.differ(*codes))
        if said is not None and said.consent is not None:
            self._claims.consent(said, opened)

    def _answered(self, party: str, row: Row) -> None:
        check(party == row.provider, "an exchange is answered by its provider")
        exchange = self._of(row)
        permitted = exchange.permits.get(row.permitdigest or "")
        if permitted is None:
            raise MeshError("ledger_broken", "it was answered without a permit")
        former = exchange.answers.get(party, [])
        check(not former or self._is_anew(party, former, row), "it was answered twice")
        # It is recorded, whatever is wrong with it: nobody else is to be accused of that.
        exchange.answers[party] = [*former, row]
        self._recorded.add(row.replydigest or "")
        check(row.service == permitted.service and task(row) == task(permitted), "it differs from its permit")
        check(row.undisclosed == permitted.undisclosed, "it is hidden in one ledger and not in the other")
        answer = self._claims.answered(party, row)
        if answer is not None:
            self._clocks.said(party, row.time_us, answer.sent_us)
        if not former:
            _hold(self._marks.answered(party, row))

    def _is_anew(self, party: str, former: list[Row], row: Row) -> bool:
        """Whether an answer is the first one, signed anew because the key of the one before counts no more."""
        first = former[0]
        return (
            len(former) <= self._recheck.lapsed(party, row.time_us)
            and row.replydigest not in [one.replydigest for one in former]
            and replace(row, time_us=first.time_us, replydigest=first.replydigest) == first
            and self._claims.same_but_time(first.replydigest, row.replydigest)
        )

    def _closed(self, party: str, row: Row) -> None:
        check(party in (row.requester, BROKER), "requester and broker close an exchange")
        exchange = self._of(row)
        answer = self._claims.closed(party, row)
        provider = self._closed_under(exchange, party, row, answer)
        # What the broker says in its own name, and not as who was asked, it records when it says it.
        own = answer is None or (party == BROKER == answer.source != provider)
        if party == BROKER and row.requester != BROKER:
            check(bool(exchange.permits), "the broker closed what it never permitted")
            check(row.replydigest not in self._passed_on, "the answer is closed twice")
            self._passed_on.add(row.replydigest or "")
            if exchange.kind in (Kind.EVENT, Kind.NOTICE):
                check(row.provider == (provider or None), "it was closed for another recipient")
            else:
                check(row.provider is None, "it was closed for another recipient")
        else:
            check(row.provider is None, "it was closed for another recipient")
            check(row.replydigest not in exchange.closed_with, "the answer is closed twice")
            exchange.closed_with[row.replydigest] = None
            exchange.closed_by[party, ""] = None
            self._check_passed_on(row, answer)
        if own:
            if answer is not None:
                check(answer.time_us == row.time_us, OTHER_TIME)
                excused = self._recheck.may_fail(
                    row.requestdigest or "", row.code or "", provider, row.time_us
                )
                check(excused, "the broker refuses what it had permitted")
                self._clocks.said(party, row.time_us, answer.sent_us)
        elif answer is not None:
            self._check_came(party, row, answer)
        exchange.closed_by[party, provider] = None

    def _closed_under(self, exchange: _Exchange, party: str, row: Row, answer: Seen | None) -> str:
        """Compare an outcome with what the provider recorded under the permit; returns the provider."""
        if row.permitdigest is None:
            check(
                row.code is not None or (answer is not None and answer.kind == Kind.RECEIPT),
                "only a receipt comes without a permit",
            )
            self._check_provider_recorded(row, answer)
            return ""
        permitted = exchange.permits.get(row.permitdigest)
        if permitted is None:
            raise MeshError("ledger_broken", "it was closed under a permit that nobody gave")
        provider = permitted.provider or ""
        check(answer is None or answer.source in (provider, BROKER), "somebody answered who was not asked")
        given = exchange.answers.get(provider, ())
        answered = next((one for one in given if one.replydigest == row.replydigest), None)
        if answered is not None:
            check(answered.permitdigest == row.permitdigest, "its answer was given under another permit")
            said = answered.code if row.requester == party else outer_of(answered.code)
            check(row.code == said, "its answer says that something else came of it")
        elif row.code is None:
            raise MeshError("ledger_broken", "it was closed with an answer that its provider did not record")
        else:
            self._check_provider_recorded(row, answer)
        return provider

    def _check_provider_recorded(self, row: Row, answer: Seen | None) -> None:
        """A provider writes its refusal down, unless it could not read the line, or not write at all."""
        if answer is None or answer.kind != Kind.REFUSAL or answer.source == BROKER:
            return
        recorded = row.replydigest in self._recorded or self._is_unrecorded(answer)
        check(recorded, "it was closed with an answer that its provider did not record")

    def _check_passed_on(self, row: Row, answer: Seen | None) -> None:
        """The broker wrote down whatever the requester got; its own receipt for a push it does not."""
        if answer is None or (answer.kind == Kind.RECEIPT and answer.source == BROKER):
            return
        known = row.replydigest in self._passed_on or row.replydigest in self._recorded
        check(known or self._is_unrecorded(answer), "the broker did not record the answer that it passed on")

    def _check_came(self, party: str, row: Row, answer: Seen) -> None:
        came = answer.to_broker if party == BROKER else answer.to_others
        if came is None:
            raise MeshError("ledger_broken", "it was closed with an answer that never came to it")
        early = self._clocks.is_early(party, (row.requester, row.id), row.time_us, came)
        check(not early, "it was closed before its answer came")

    def _refused(self, party: str, row: Row) -> None:
        check(row.code in CODES, "a refusal has a code of the table")
        asked, answer = self._claims.refused(party, row)
        self._recorded.add(row.replydigest or "")
        if answer is not None:
            self._clocks.said(party, row.time_us, answer.sent_us)
        key = (asked.number, party, row.code or "")
        self._refusals[key] += 1
        check(self._refusals[key] <= self._refused_at[key], "it refused what its gate did not refuse")

    def _mark(self, party: str, row: Row) -> None:
        exchange = self._exchanges.get((row.requester, row.id))
        if exchange is None:
            raise MeshError("ledger_broken", "its requester never opened it")
        others = dict.fromkeys((row.requester, BROKER, *exchange.answers))
        check(party in others, "a mark hides an exchange of others")
        _hold(self._marks.mark(party, row))

    def _of(self, row: Row) -> _Exchange:
        exchange = self._exchanges.get((row.requester, row.id))
        if exchange is None:
            raise MeshError("ledger_broken", "its requester never opened it")
        check(row.requestdigest == exchange.opened.requestdigest, "the request digests differ")
        return exchange

    # The end.

    def finish(self) -> Iterator[Late]:
        """What is found only when all rows are known."""
        yield from self._left_out()
        for party, key in self._clocks.too_late():
            yield Late(party, key, None, MeshError("ledger_broken", "it was closed after its answer came"))
        for party, key, text in self._marks.finish(self._others()):
            if self._trace.complete:
                yield Late(party, key, None, MeshError("ledger_broken", text))
        yield from self._not_permitted()

    def _left_out(self) -> Iterator[Late]:
        """Permits, answers and refusals that nobody wrote down."""
        for digest, (index, kind) in self._passed.items():
            if digest not in self._recorded:
                yield Late("", None, index, MeshError("ledger_broken", _LEFT_OUT[kind]))
        for digest, seen in self._seen.items():
            if seen.kind != Kind.REFUSAL or seen.code is not None or seen.sent_us < 0:
                continue
            known = digest in self._recorded or digest in self._passed_on or self._is_unrecorded(seen)
            if not known:
                yield Late(
                    seen.source, None, None, MeshError("ledger_broken", "it did not record its refusal")
                )

    def _not_permitted(self) -> Iterator[Late]:
        """What only a requester says of a question that was never permitted: whom it is about, and that it is hidden."""
        law = self._trace.law()
        for key, exchange in self._exchanges.items():
            opened = exchange.opened
            if exchange.permits:
                continue
            if not self._claims.names(opened):
                error = MeshError("ledger_broken", "its message is about another person")
                yield Late(opened.requester, key, None, error)
            if opened.undisclosed and law is not None and not _hides(law, opened):
                error = MeshError("ledger_broken", "it hides what no row of the law hides")
                yield Late(opened.requester, key, None, error)

    def _is_unrecorded(self, refusal: Seen) -> bool:
        """Whether who refused may have written nothing down: it could not read the line, or not write."""
        code = refusal.said or ""
        if code in ("sender_mismatch", "storage_unavailable"):
            return True
        if code == "message_expired" and self._recheck.may_have_expired_unsent(refusal):
            return True  # There is nothing to close.
        found = CODES.get(code)
        if found is None or found.step not in _UNRECORDED:
            return False
        if found.step is not Step.PAYLOAD:
            return True
        # What is wrong inside a line whose sender is proven is recorded.
        asked = self._seen.get(refusal.about or "")
        unread = refusal.source != BROKER and refusal.permit is None
        return asked is None or asked.code is not None or unread

    def _others(self) -> dict[tuple[str, str], list[str]]:
        marked = ((key, self._exchanges.get(key)) for key in self._marks.marked)
        return {
            key: [BROKER, *(one for one in exchange.answers if one != BROKER)]
            for key, exchange in marked
            if exchange is not None
        }

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


def _hides(law: Policy, opened: Row) -> bool:
    """Whether a row of the law keeps a question from the person it is about."""
    items = items_of(opened.items or "")
    return law.hides(
        opened.requester,
        opened.procedure,
        opened.provider or "",
        opened.service or "",
        items,
        opened.time_us,
    )


def _hold(text: str | None) -> None:
    if text is not None:
        raise MeshError("ledger_broken", text)
