"""When a party asks its open questions again, and when it gives them up.

One timer serves all open questions, because nearly all of them are answered before it fires. Chance is asked for only
about what was not: so a run in which nothing is lost draws nothing for this.
"""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush
from typing import Final

from mesh.backoff import OF_QUESTIONS
from mesh.exchange import State, Turn
from mesh.host import Host
from mesh.names import BROKER
from mesh.requester import Question, Requester

UNLIMITED: Final = 2**31
"""Attempts, where nothing but time is to end them."""


class Deadlines:
    """The open questions of one party, by when they are looked at next; all times are of the monotonic clock."""

    def __init__(self, host: Host, requester: Requester) -> None:
        self._host = host
        self._requester = requester
        self._due: list[tuple[int, int, Question]] = []
        """When, a number that breaks ties, and what. Of what is answered an entry may be left, without its line."""
        self._entries = 0
        self._timer: asyncio.TimerHandle | None = None
        self._wake_us = 0

    def watch(self, question: Question, timeout_us: int, life_us: int, attempts: int | None) -> None:
        """Send the same bytes again with backoff until the time-out, up to so many attempts in all; then give up.

        Past their life of `life_us` they would only be refused, and are not sent.
        """
        now_us = self._host.monotonic_us()
        question.deadline_us = now_us + timeout_us
        question.last_us = min(question.deadline_us, now_us + life_us)
        question.attempts_left = (attempts or UNLIMITED) - 1
        due_us = self._plan(question, now_us + OF_QUESTIONS.least_us(1))
        self._drop_answered()
        if self._timer is None or due_us < self._wake_us:
            self._wake_at(due_us)

    def forget(self, question: Question) -> None:
        """It is answered, or its caller has gone: it is not sent again, and what is remembered of it is small."""
        if question.state == State.OPENED:
            self._requester.expire(question)
        question.line, question.again, question.settle = b"", False, None

    def give_up_all(self) -> None:
        """The party is going down: whoever waits hears that no answer came, or none that was committed."""
        for question in self._requester.waited_for():
            settle, question.settle = question.settle, None
            if settle is not None:
                settle(question.last_word())

    def _plan(self, question: Question, due_us: int) -> int:
        """Set when it is asked again, or given up if it is not asked again by then; returns when that is."""
        question.again = question.attempts_left > 0 and due_us < question.last_us
        return self._enter(question, due_us if question.again else question.deadline_us)

    def _enter(self, question: Question, due_us: int) -> int:
        self._entries += 1
        heappush(self._due, (due_us, self._entries, question))
        return due_us

    def _drop_answered(self) -> None:
        due = self._due
        while due and not due[0][2].line:
            heappop(due)

    def _wake_at(self, when_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake_us = when_us
        self._timer = self._host.call_later(max(when_us - self._host.monotonic_us(), 0), self._check)

    def _check(self) -> None:
        self._timer = None
        now_us = self._host.monotonic_us()
        turn = Turn()
        while self._due and self._due[0][0] <= now_us:
            question = heappop(self._due)[2]
            if question.line:
                self._look_at(question, now_us, turn)
        self._host.perform(turn)
        self._drop_answered()
        if self._due:
            self._wake_at(self._due[0][0])

    def _look_at(self, question: Question, now_us: int, turn: Turn) -> None:
        random = self._host.random
        if question.state != State.OPENED:
            # Its answer is being committed; if that fails it is as open as before.
            self._enter(question, now_us + OF_QUESTIONS.least_us(1))
        elif not question.again:
            self._give_up(question)
        elif not question.overdue:
            question.overdue = True
            self._plan(question, now_us + OF_QUESTIONS.added_us(1, random.randrange))
        else:
            question.attempts += 1
            question.attempts_left -= 1
            self._plan(question, now_us + OF_QUESTIONS.pause_us(question.attempts, random.randrange))
            turn.sends.append((BROKER, question.line))

    def _give_up(self, question: Question) -> None:
        settle = question.settle
        self._requester.expire(question)
        if settle is not None:
            settle(self._requester.last_word(question, self._host.now_us()))
