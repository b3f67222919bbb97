"""The requester's side of an exchange (情報照会者): it asks, and checks that the answer is to its question.

It writes `opened` before anything leaves, and `closed` before its caller hears of the answer. It holds
questions by the digest of their bytes, because that is what an answer names; where each stands says its
state (`mesh.exchange.REQUESTER`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from mesh.blame import fault_of
from mesh.content import Content
from mesh.errors import Again, Code, Fault, MeshError, Refused, Step
from mesh.exchange import REQUESTER, Happening, LifeCycle, State, Table, Turn, digest_of
from mesh.gates import CONTENT, REPLY
from mesh.ledger import Row
from mesh.message import Kind, Refusal, Reply, Request, format_time, parse_time
from mesh.names import BROKER
from mesh.party import Admitted, Party, check_no_personal_number
from mesh.reason import open_code, read_reason

LATE_MAX = 1024
"""Closed and given up questions remembered, so that a repeated or late answer is known as one."""


class Said(NamedTuple):
    """What a refusal says, opened."""

    by: str
    message: str
    code: Code
    text: str
    definite: bool
    fault: Fault | None = None
    """Who can mend it, if not whom the code names."""


class Question(LifeCycle):
    """One question: what was sent, and who waits for the answer."""

    __slots__ = (
        "again", "answer_digest", "answer_id", "attempts", "attempts_left", "deadline_us", "digest", "id", "keys",
        "last_us", "line", "overdue", "passing", "refusal", "service", "settle", "to",
    )  # fmt: skip

    table: ClassVar[Table] = REQUESTER
    whole: ClassVar[tuple[str, ...]] = ("state", "answer_id", "answer_digest", "passing")

    def __init__(
        self,
        message_id: str,
        to: str,
        service: str,
        line: bytes,
        digest: str,
        keys: tuple[str, str, str] = ("", "", ""),
    ) -> None:
        super().__init__()
        self.id = message_id
        self.to = to
        self.keys = keys
        """The names of the keys by which it is signed and for which it is sealed, recipient and broker."""
        self.service = service
        self.line = line
        self.digest = digest
        self.attempts = 1
        """How often it was sent."""
        self.attempts_left = 0
        """How often it may still be sent."""
        self.again = False
        """Whether it will be sent again."""
        self.overdue = False
        """Whether the first pause went by without an answer."""
        self.deadline_us = 0
        """When, by the monotonic clock, its caller waits no longer."""
        self.last_us = 0
        """When, by the monotonic clock, it is sent no more."""
        self.refusal: Said | None = None
        """The last refusal of an attempt after which it is sent again."""
        self.passing = False
        """Whether it was closed by a refusal of one attempt, of which another may still be answered."""
        self.settle: Callable[[bytes | Refused], None] | None = None
        self.answer_id: str | None = None
        self.answer_digest: str | None = None

    def last_word(self) -> Refused:
        """What its caller hears when it is given up: the last refusal of an attempt, or that no answer came."""
        if self.refusal is not None:
            return _refused(self, self.refusal)
        return Refused("timeout", message=self.id, attempts=self.attempts)


class Requester:
    """Questions of one party."""

    def __init__(self, party: Party) -> None:
        self._party = party
        self._questions: dict[str, Question] = {}
        """By the digest of their bytes."""
        self._settled: deque[Question] = deque()
        """Those that nobody waits for, in the order in which they are forgotten."""

    def knows(self, digest: str) -> bool:
        """Whether a question of these bytes is remembered."""
        return digest in self._questions

    def waited_for(self) -> list[Question]:
        """The questions whose answer somebody waits for, in the order in which they were asked.

        One that is closed is among them until that is committed: only then its caller hears.
        """
        return [one for one in self._questions.values() if one.settle is not None]

    def ask(
        self,
        to: str,
        service: str,
        content: Content,
        now_us: int,
        *,
        life_us: int,
        subject: str | None = None,
        procedure: str | None = None,
        items: str | None = None,
        consent: str | None = None,
        undisclosed: bool = False,
    ) -> tuple[Question, Row]:
        """Build, seal and sign a question; its ledger row must be committed before `line` is sent.

        Raises `Unsendable` for what the first gate would refuse: then nothing was recorded and nothing leaves.
        """
        party = self._party
        recipient = party.lookup_for(to)
        message_id = party.new_id(now_us)
        request = Request(
            specversion="1.0",
            id=message_id,
            source=party.address,
            type=service,
            time=format_time(now_us),
            recipient=to,
            datacontenttype="application/jose",
            subject=None if subject is None else self._party.seal_subject(message_id, subject),
            procedure=procedure,
            items=items,
            consent=consent,
            expiry=format_time(now_us + life_us),
            data=party.seal(message_id, to, content, to, recipient.seal_key),
        )
        line = party.sign(request, Kind.REQUEST)
        digest = digest_of(line)
        question = Question(message_id, to, service, line, digest, self._keys_for(to))
        question.fire(Happening.ASK)
        self._questions[digest] = question
        row = Row(
            "opened",
            now_us,
            message_id,
            party.address,
            provider=to,
            service=service,
            procedure=procedure,
            items=items,
            subject=subject,
            requestdigest=digest,
            undisclosed=undisclosed,
        )
        return question, row

    def on_answer(self, admitted: Admitted, now_us: int, turn: Turn) -> None:
        """Close the question that a reply or refusal answers.

        Raises `MeshError`: correlation_mismatch for an answer to nothing asked, audience_mismatch,
        seal_invalid, schema_invalid. A repeated answer is dropped.
        """
        answer: Reply | Refusal = admitted.message
        party = self._party
        if answer.recipient != party.address:
            raise MeshError("audience_mismatch")
        admitted.walk.to(CONTENT)
        try:
            content = self._open(answer, now_us)
        except MeshError as error:
            self._give_up_unread(answer, error, turn)
            raise
        admitted.walk.to(REPLY)
        question = self._questions.get(answer.requestdigest)
        if question is None:
            raise MeshError("correlation_mismatch")
        if question.answer_digest == admitted.digest:
            question.fire(Happening.REPEAT)
            return
        came = _read(question, answer, content)
        if isinstance(came, Said) and isinstance(answer, Refusal):
            came = came._replace(fault=self._fault_of(answer, now_us))
        passing = isinstance(came, Said) and came.code.again is Again.SAME_BYTES
        if passing and isinstance(came, Said) and (question.again or question.state == State.CLOSED):
            question.refusal = came
            return  # Of one attempt; the next goes out when its time comes, or another was answered.
        former = question.former()
        question.fire(Happening.ANSWER if not question.passing else Happening.SUPERSEDE)
        question.answer_id, question.answer_digest, question.passing = answer.id, admitted.digest, passing
        turn.undo.append(lambda _: question.restore(former))
        if former[0] == State.OPENED:
            self._settle(question)
        row = Row(
            "closed",
            now_us,
            question.id,
            party.address,
            requestdigest=question.digest,
            permitdigest=answer.permitdigest,
            replydigest=admitted.digest,
            code=came.code.name if isinstance(came, Said) else None,
        )
        turn.rows.append(row)
        if question.settle is not None:
            outcome = _refused(question, came) if isinstance(came, Said) else came
            turn.calls.append((question.settle, (outcome,)))

    def _give_up_unread(self, answer: Reply | Refusal, error: MeshError, turn: Turn) -> None:
        """The one answer that its provider keeps is sealed for a key of this party that was revoked: no repeat helps."""
        question = self._questions.get(answer.requestdigest)
        if (
            error.code == "seal_key_revoked"
            and question is not None
            and answer.source == question.to
            and question.settle is not None
        ):
            said = Refused(error.code, by=self._party.address, message=question.id, definite=False)
            turn.calls.append((question.settle, (said,)))

    def _keys_for(self, to: str) -> tuple[str, str, str]:
        party = self._party
        own = party.keys.signing.kid
        return own, party.view.lookup(to).seal_key.kid, party.view.lookup(BROKER).seal_key.kid

    def may_ask_anew(self, question: Question, refused: Refused) -> bool:
        """Whether a question certainly had no effect because a key of it was revoked, and there is a new one by now."""
        return (
            refused.code in ("seal_key_revoked", "certificate_revoked")
            and refused.definite
            and self._keys_for(question.to) != question.keys
        )

    def _open(self, answer: Reply | Refusal, now_us: int) -> bytes | Code | None:
        """What stands under a seal: a reply's content, or why there is none; None of a refusal that says so openly."""
        if isinstance(answer, Reply):
            content = self._party.unseal(answer.data, answer, now_us)
            check_no_personal_number(content)
            return content
        if answer.reason is None:
            return None
        return read_reason(self._party.unseal(answer.reason, answer, now_us))

    def _fault_of(self, refusal: Refusal, now_us: int) -> Fault | None:
        """Whose clock or registry a refusal is about, if it is about one."""
        return fault_of(
            refusal.code,
            Fault.BROKER if refusal.source == BROKER else Fault.PROVIDER,
            said_us=parse_time(refusal.time),
            own_us=now_us,
            signed_us=self._party.newest_signed_us,
        )

    def last_word(self, question: Question, now_us: int) -> Refused:
        """As the question has it; but who can believe no answer, because his own registry is past its time, hears that."""
        if question.refusal is None:
            try:
                self._party.view.check_fresh(now_us)
            except MeshError as error:
                return Refused(
                    error.code,
                    by=self._party.address,
                    message=question.id,
                    attempts=question.attempts,
                    definite=False,
                    fault=Fault.REQUESTER,
                )
        return question.last_word()

    def expire(self, question: Question) -> None:
        """The requester waits no longer; an answer that still comes is recorded."""
        question.fire(Happening.TIMEOUT)
        question.settle = None
        self._settle(question)

    def abandon(self, question: Question) -> None:
        """Forget a question whose opening could not be committed."""
        question.restore((State.NEW, None, None, False))
        self._questions.pop(question.digest, None)

    def _settle(self, question: Question) -> None:
        """Remember a question that nobody waits for, for as long as there is room."""
        self._settled.append(question)
        # Whoever waits for the commit of an answer waits again, if that fails, or hears that the party goes down.
        while len(self._settled) > LATE_MAX and self._settled[0].settle is None:
            self._questions.pop(self._settled.popleft().digest, None)


def _read(question: Question, answer: Reply | Refusal, content: bytes | Code | None) -> bytes | Said:
    if isinstance(answer, Refusal):
        return _said(question, answer, content if isinstance(content, Code) else None)
    if answer.type != question.service:
        raise MeshError("correlation_mismatch")
    if answer.source != question.to:
        raise MeshError("correlation_mismatch", "somebody answered who was not asked")
    assert isinstance(content, bytes)  # noqa: S101
    return content


def _said(question: Question, refusal: Refusal, reason: Code | None) -> Said:
    """The refusal, opened; a provider's code counts only when the provider signed it."""
    code = open_code(refusal)
    if refusal.source not in (question.to, BROKER):
        raise MeshError("correlation_mismatch", "somebody refused who was not asked")
    if code.step is Step.PROVIDER and refusal.source != question.to:
        raise MeshError("correlation_mismatch", "only the provider can say so")
    if reason is not None:
        return Said(refusal.source, refusal.id, reason, reason.text, reason.definite)
    return Said(refusal.source, refusal.id, code, refusal.data.text, refusal.data.definite)


def _refused(question: Question, said: Said) -> Refused:
    """The refusal as the caller meets it."""
    return Refused(
        said.code.name,
        said.text,
        by=said.by,
        message=said.message,
        # What its handler said is the one outcome that the provider keeps: every attempt has it. Nor does it come to look at
        # the seal of what it has answered.
        attempts=1 if said.code.step is Step.PROVIDER or _is_unread(question, said) else question.attempts,
        definite=said.definite,
        fault=said.fault,
    )


def _is_unread(question: Question, said: Said) -> bool:
    """Whether who was asked has never opened the question, in no attempt."""
    return said.code.name == "seal_key_revoked" and said.by == question.to
