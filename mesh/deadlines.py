"""Until when a party waits for its answers: what is asked again, and what is given up.

One timer serves all open questions, because nearly all of them are answered before it fires.
"""

from __future__ import annotations

import asyncio

from mesh.errors import Refused
from mesh.exchange import State, Turn
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
        """It is answered, or its caller has gone: it is not sent again."""
        if question.state == State.OPENED:
            self._requester.expire(question)
        question.line, question.attempts_left = b"", 0

    def give_up_all(self) -> None:
        """The party is going down: whoever waits hears that no answer came."""
        for question in self._requester.open():
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
        for question in self._requester.open():
            if question.deadline_us > now_us:
                continue
            if question.attempts_left:
                question.attempts_left -= 1
                question.attempts += 1
                question.deadline_us = now_us + question.timeout_us
                turn.sends.append((BROKER, question.line))
            else:
                self._give_up(question)
        self._host.perform(turn)
        waiting = self._requester.open()
        if waiting:
            self._wake_at(min(one.deadline_us for one in waiting))

    def _give_up(self, question: Question) -> None:
        settle = question.settle
        self._requester.expire(question)
        if settle is not None:
            settle(Refused("timeout", message=question.id, attempts=question.attempts))
