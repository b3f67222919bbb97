"""Until when a party waits for its answers: what is asked again, and what is given up.

One timer serves all open questions, because nearly all of them are answered before it fires.
"""

from __future__ import annotations

import asyncio

from mesh.errors import Refused
from mesh.exchange import Turn
from mesh.host import Host
from mesh.names import BROKER
from mesh.requester import Question, Requester


class Deadlines:
    """When the open questions of one party are asked again or given up."""

    def __init__(self, host: Host, requester: Requester) -> None:
        self._host = host
        self._requester = requester
        self._timer: asyncio.TimerHandle | None = None
        self._wake_us = 0

    def watch(self, question: Question, timeout_us: int, attempts: int) -> None:
        """Send the same bytes again after each time-out, up to so many attempts in all; then give up."""
        question.deadline_us = deadline_us = self._host.monotonic_us() + timeout_us
        question.timeout_us = timeout_us
        question.attempts_left = max(attempts, 1) - 1
        if self._timer is None or deadline_us < self._wake_us:
            self._wake_at(deadline_us)

    def forget(self, question: Question) -> None:
        """It is answered, or its caller has gone."""
        if question.settle is not None and question.answer_id is None:
            self._requester.expire(question)

    def give_up_all(self) -> None:
        """The party is going down: whoever waits hears that no answer came."""
        for question in list(self._requester.open.values()):
            self._give_up(question)

    def _wake_at(self, when_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake_us = when_us
        self._timer = self._host.call_later(max(when_us - self._host.monotonic_us(), 0), self._check)

    def _check(self) -> None:
        self._timer = None
        now_us = self._host.monotonic_us()
        turn = Turn()
        waiting = self._requester.open
        for question in [one for one in waiting.values() if one.deadline_us <= now_us]:
            if question.attempts_left:
                question.attempts_left -= 1
                question.attempts += 1
                question.deadline_us = now_us + question.timeout_us
                turn.sends.append((BROKER, question.line))
            else:
                self._give_up(question)
        self._host.perform(turn)
        if waiting:
            self._wake_at(min(one.deadline_us for one in waiting.values()))

    def _give_up(self, question: Question) -> None:
        settle = question.settle
        if settle is not None and question.answer_id is None:
            self._requester.expire(question)
            settle(Refused("timeout", message=question.id, attempts=question.attempts))
