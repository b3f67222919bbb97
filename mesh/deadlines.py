"""Until when a party waits for its answers: what is asked again, and what is given up.

One timer serves all open questions, because nearly all of them are answered before it fires.
"""

from __future__ import annotations

from mesh.errors import Refused
from mesh.exchange import Turn
from mesh.host import Host
from mesh.names import BROKER
from mesh.requester import Question, Requester


class _Wait:
    """One question: when its attempt is over, how long an attempt takes, and how many are left."""

    __slots__ = ("attempts", "deadline_us", "question", "timeout_us")

    def __init__(self, question: Question, deadline_us: int, timeout_us: int, attempts: int) -> None:
        self.question = question
        self.deadline_us = deadline_us
        self.timeout_us = timeout_us
        self.attempts = attempts


class Deadlines:
    """The open questions of one party, by the digest of their bytes."""

    def __init__(self, host: Host, requester: Requester) -> None:
        self._host = host
        self._requester = requester
        self._waits: dict[str, _Wait] = {}
        self._wake_us: int | None = None

    def watch(self, question: Question, timeout_us: int, attempts: int) -> None:
        """Send the same bytes again after each time-out, up to so many attempts in all; then give up."""
        deadline_us = self._host.monotonic_us() + timeout_us
        self._waits[question.digest] = _Wait(question, deadline_us, timeout_us, attempts - 1)
        if self._wake_us is None or deadline_us < self._wake_us:
            self._wake_us = deadline_us
            self._host.call_later(timeout_us, self._check)

    def forget(self, question: Question) -> None:
        """It is answered, or nobody waits for it any more."""
        self._waits.pop(question.digest, None)

    def _check(self) -> None:
        now_us = self._host.monotonic_us()
        turn = Turn()
        for wait in [wait for wait in self._waits.values() if wait.deadline_us <= now_us]:
            if wait.attempts:
                wait.attempts -= 1
                wait.deadline_us = now_us + wait.timeout_us
                turn.sends.append((BROKER, wait.question.line))
            else:
                self._give_up(wait.question)
        self._host.perform(turn)
        self._wake_us = min((wait.deadline_us for wait in self._waits.values()), default=None)
        if self._wake_us is not None:
            self._host.call_later(self._wake_us - now_us, self._check)

    def _give_up(self, question: Question) -> None:
        self.forget(question)
        settle = question.settle
        if settle is not None and question.answer_id is None:
            self._requester.expire(question)
            settle(Refused("timeout", message=question.id))
