"""A node: one system of a member, as its author sees it.

A node's class declares its zone, its schema and its handlers. It asks, publishes and notifies; what it
writes goes into an effect. Whatever it does to the world goes through its `Host`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, ClassVar, Final, overload

from mesh import service
from mesh.arguments import (
    check_address,
    check_kind,
    check_names,
    check_seconds,
    check_text,
    check_whole,
)
from mesh.builtin import (
    LEDGER_HEAD,
    LEDGER_MARK,
    LEDGER_ROWS,
    ROWS_BYTES_MAX,
    ROWS_MAX,
    Empty,
    HeadQuery,
    HeadReply,
    MarkQuery,
    RowsQuery,
    RowsReply,
)
from mesh.dead_letter import DeadLetter
from mesh.endpoint import Endpoint, current_work, last_message
from mesh.errors import MeshError, NotFound, Refused, Unsendable, UsageError
from mesh.exchange import Turn
from mesh.host import Host
from mesh.ledger import Row, read_row
from mesh.merkle import consistency_path, leaf_hash
from mesh.message import items_of
from mesh.names import BROKER, Zone
from mesh.party import Party
from mesh.policy import Policy
from mesh.provider import Asked
from mesh.requester import Question
from mesh.service import Caller, EventType, NoticeType, PersonalService, Q, R, Service, serves
from mesh.store import Database
from mesh.subscriber import Pushed

TIMEOUT_S: Final = 30.0
REQUEST_LIFE_US: Final = 300_000_000


class Node(Endpoint, engine=True):
    """Base of all nodes.

    Class attributes: `title` and `title_ja` (what a person calls the system; else the last part of its address
    stands), `zone` (a `mesh.names.Zone` value), `schema` (SQL of the node's own tables). Settings given to `sim.add`
    become attributes and must exist on the class. Any other name of a node is refused in a class made from this one.
    """

    title: ClassVar[str] = ""
    title_ja: ClassVar[str] = ""
    zone: ClassVar[str] = Zone.MYNUMBER
    schema: ClassVar[str] = ""

    def __init__(self, host: Host, party: Party, policy: Policy) -> None:
        super().__init__(host, party, policy)
        self.db = Database(host.store)

    # For authors of nodes.

    @property
    def party(self) -> Party:
        """Its keys and what it has verified of the registry, for documents of its own that it signs, seals or reads."""
        return self._party

    @overload
    async def ask(
        self,
        to: str,
        service: Service[Q, R],
        query: Q,
        *,
        procedure: str | None = ...,
        timeout_s: float = ...,
        attempts: int | None = ...,
    ) -> R: ...

    @overload
    async def ask(
        self,
        to: str,
        service: PersonalService[Q, R],
        query: Q,
        *,
        subject: str,
        procedure: str,
        items: Iterable[str] | None = ...,
        consent: str | None = ...,
        timeout_s: float = ...,
        attempts: int | None = ...,
    ) -> R: ...

    async def ask(
        self,
        to: str,
        service: Any,
        query: Any,
        *,
        subject: str | None = None,
        procedure: str | None = None,
        items: Iterable[str] | None = None,
        consent: str | None = None,
        timeout_s: float = TIMEOUT_S,
        attempts: int | None = None,
    ) -> Any:
        """Ask another node through the broker and wait for its answer.

        `subject` is this node's own linkage code of the person; `items` default to all that the service
        has. The same signed bytes go out again with backoff until an answer comes, or a refusal whose code says
        that more than time is lacking (`mesh.errors.Again`), for as long as `timeout_s`, which bounds the whole
        question; `attempts` bounds how often, 1 asks once. They live five minutes, and are not sent later. A question
        that certainly had no effect, because a key was revoked for which it is sealed, is asked anew for the new one. Raises
        `Refused` with the code of whoever refused last, or `timeout`; `MeshError` for what never left; `UsageError`
        for arguments that could not be meant.
        """
        _check_question(to, service, subject, procedure, items, timeout_s, attempts)
        wanted: str | None = None
        if service.personal:
            names = service.items if items is None else sorted({*items, *service.fixed_items})
            wanted = " ".join(names)
        host = self.host
        if not host.alive:  # Nothing would be sent, and no time-out would end the waiting.
            raise RuntimeError(f"{self.address} is down")
        until_us = host.monotonic_us() + round(timeout_s * 1_000_000)
        while True:
            now_us = host.now_us()
            try:
                question, row = self._requester.ask(
                    to,
                    service.name,
                    service.query_content(query),
                    now_us,
                    life_us=REQUEST_LIFE_US,
                    subject=subject,
                    procedure=procedure,
                    items=wanted,
                    consent=consent,
                    undisclosed=self._policy.hides(
                        self.address, procedure, to, service.name, items_of(wanted or ""), now_us
                    ),
                )
            except Unsendable as error:
                self._tell(service.name, error)
                raise
            outcome = await self._answer_to(question, row, until_us - host.monotonic_us(), attempts)
            if not isinstance(outcome, Refused):
                break
            if attempts is not None:
                attempts -= question.attempts
            if attempts == 0 or not self._requester.may_ask_anew(question, outcome):
                raise outcome
        try:
            return service.decode_reply(outcome)
        except MeshError as error:
            self._tell(service.name, error)
            raise

    async def _answer_to(
        self, question: Question, row: Row, timeout_us: int, attempts: int | None
    ) -> bytes | Refused:
        """Send a question, with its row of the ledger, until there is an outcome."""
        host = self.host
        last_message.set(question.id)
        future = host.future()
        question.settle = partial(_settle, future)
        turn = Turn()
        turn.rows.append(row)
        turn.sends.append((BROKER, question.line))
        turn.undo.append(lambda error: self._settle_failed(question, error))
        host.perform(turn)
        self._deadlines.watch(question, timeout_us, REQUEST_LIFE_US, attempts)
        try:
            outcome: bytes | Refused = await future
        finally:
            self._deadlines.forget(question)
        if question.answer_id:
            last_message.set(question.answer_id)
        return outcome

    def publish(self, event: EventType, subject: str, *, data_version: int | None = None) -> str:
        """Say that something happened to a subject; returns the message id at once.

        It is in the outbox with the next commit and goes out until the broker has signed for it. Raises `MeshError`
        for what the first gate would refuse, such as a `data_version` beyond 2^31−1: then nothing is recorded and
        nothing leaves. `UsageError` for arguments that could not be meant.
        """
        check_kind("publish", "an EventType", event, EventType)
        check_text("publish", "the subject", subject, _OF_PERSON)
        _check_version("publish", data_version)
        return self._push(
            event.name,
            partial(self._publisher.publish, event.name, subject, data_version=data_version),
        )

    def notify(
        self,
        notice: NoticeType[Q],
        to: str,
        body: Q,
        *,
        subject: str,
        procedure: str,
        data_version: int | None = None,
    ) -> str:
        """Send a sealed body to one recipient; returns the message id at once.

        Raises `MeshError` for what the first gate would refuse, such as a body that does not fit its declaration:
        then nothing is recorded and nothing leaves. `UsageError` for arguments that could not be meant.
        """
        check_kind("notify", "a NoticeType", notice, NoticeType)
        check_address("notify", to)
        check_text("notify", "the subject", subject, _OF_PERSON)
        check_text("notify", "the procedure", procedure)
        _check_version("notify", data_version)
        return self._push(
            notice.name,
            lambda now_us, turn: self._publisher.notify(
                notice.name,
                to,
                notice.body_content(body),
                subject,
                procedure,
                " ".join(notice.items),
                now_us,
                turn,
                data_version=data_version,
            ),
        )

    def dead_letters(self) -> list[DeadLetter]:
        """The pushes of this node that were given up and not sent again, the oldest first; of an event, one by recipient.

        They are listed until 30 days after the node heard of them; what is then is in its ledger alone.
        """
        return self.host.store.letters()

    def send_again(self, message_id: str) -> str:
        """Send a dead letter of this node again; returns the id under which it goes.

        The same message, if it has not expired and no key of it was revoked: whoever had it already has no second effect.
        Otherwise a new message with a new id, which says the same. Of an event, everybody who did not sign for it gets the
        same message, and everybody the new one. `UsageError` if no dead letter has the id; `MeshError` for what can no
        longer be sent.
        """
        check_text("send_again", "the id of a dead letter", message_id)
        turn = Turn()
        try:
            again = self._publisher.send_again(message_id, self.host.now_us(), turn)
        except Unsendable as error:
            self._tell(message_id, error)
            raise
        if again is None:
            raise UsageError(f"{self.address} has no dead letter {message_id!r}; dead_letters() lists them")
        self._post(turn, again)
        return again

    @contextlib.contextmanager
    def effect(self) -> Iterator[None]:
        """What the node writes inside happens exactly once.

        In the handler of a push the writes are committed together with the mark that the push is handled.
        In the handler of a service they are committed together with the outcome: return without awaiting
        after it. Elsewhere they are simply one transaction. What is published inside is in the outbox with
        the same commit. Raises `MeshError` storage_unavailable if the commit failed.
        """
        host, work = self.host, current_work.get()
        if not host.alive:
            raise RuntimeError(f"{self.address} is down")
        if self._effect_of is work and work is not None and self._effect == host.store.effect:
            number = self._effect  # A service handler's second effect joins its first.
        else:
            number = host.begin_effect()
        try:
            yield
        except BaseException:
            if host.store.effect == number:
                host.undo_effect()
            raise
        if host.store.effect != number:
            raise RuntimeError("an effect ends without awaiting: this one was undone when it awaited")
        if isinstance(work, Asked):
            # The handler returns next, and its outcome is committed with the effect.
            self._effect_of, self._effect = work, number
            return
        if isinstance(work, Pushed):
            turn = Turn()
            self._subscriber.handle(work, turn)
            host.perform(turn)
        failed = host.flush(effect=True)
        if failed is not None:
            raise failed

    async def hide(self, message_id: str, others: Iterable[str], *, procedure: str) -> None:
        """Hide an exchange of this node from its person, here and at the others (番号法23条2項).

        A row of the law must let this node mark exchanges at the others for the procedure. `UsageError` for an
        exchange that this node did not ask for; `MeshError` storage_unavailable if it could not be marked here.
        """
        LEDGER_MARK.query_content(MarkQuery(message_id))  # Or it would be marked here and nowhere else.
        self.host.flush()
        if not self._has_asked(message_id, self.address):
            raise UsageError(f"hide takes the id of an exchange that {self.address} asked for")
        self._mark(message_id)
        failed = self.host.flush()
        if failed is not None:
            raise failed
        for address in others:
            await self.ask(address, LEDGER_MARK, MarkQuery(message_id), procedure=procedure)

    def _settle_failed(self, question: Question, error: MeshError) -> None:
        self._requester.abandon(question)
        if question.settle is not None:
            question.settle(Refused(error.code, error.text, by=self.address, message=question.id))
            question.settle = None

    def _push(self, name: str, write: Callable[[int, Turn], str]) -> str:
        turn = Turn()
        try:
            message_id = write(self.host.now_us(), turn)
        except Unsendable as error:
            self._tell(name, error)
            raise
        self._post(turn, message_id)
        return message_id

    def _post(self, turn: Turn, message_id: str) -> None:
        last_message.set(message_id)
        self.host.perform(turn)
        self._arm()

    # What every node offers.

    @serves(LEDGER_HEAD)
    async def _ledger_head(self, query: HeadQuery, caller: Caller) -> HeadReply:
        _check_restricted(caller)
        self.host.flush()
        if query.known_size > self.host.ledger.size:
            raise NotFound("the ledger has fewer rows")
        leaves = [leaf_hash(row) for row in self.host.store.ledger_rows()]
        path = consistency_path(leaves, query.known_size, len(leaves)) if query.known_size else []
        return HeadReply(self.sign_head().decode(), tuple(one.hex() for one in path))

    @serves(LEDGER_ROWS)
    async def _ledger_rows(self, query: RowsQuery, caller: Caller) -> RowsReply:
        _check_restricted(caller)
        stop = min(query.stop, query.start + ROWS_MAX)
        rows: list[str] = []
        left = ROWS_BYTES_MAX
        for row in self.host.store.ledger_rows(query.start, stop):
            left -= len(row)
            if left < 0:
                break
            rows.append(row.decode())
        return RowsReply(tuple(rows))

    @serves(LEDGER_MARK)
    async def _ledger_mark(self, query: MarkQuery, caller: Caller) -> Empty:
        _check_restricted(caller)
        if not self._has_asked(query.message, caller.address):
            raise NotFound("no exchange of the caller has this id")
        self._mark(query.message, caller.address)
        return Empty()

    def _has_asked(self, message_id: str, requester: str) -> bool:
        rows = map(read_row, self.host.store.ledger_rows_with(message_id))
        return any(row.id == message_id and row.requester == requester for row in rows)

    def _mark(self, message_id: str, requester: str | None = None) -> None:
        turn = Turn()
        row = Row("mark", self.host.now_us(), message_id, requester or self.address, undisclosed=True)
        turn.rows.append(row)
        self.host.perform(turn)


_OF_PERSON: Final = "it is this node's own code of the person"


def _check_version(call: str, data_version: object) -> None:
    if data_version is not None:
        check_whole(call, "data_version", data_version, 0)


def _check_question(
    to: object,
    service: Any,
    subject: object,
    procedure: object,
    items: Any,
    timeout_s: object,
    attempts: object,
) -> None:
    """What `ask` takes besides the query: a service about a person names it and its task."""
    check_kind("ask", "a Service or PersonalService", service, (Service, PersonalService))
    check_address("ask", to)
    if service.personal:
        check_text("ask", "the subject", subject, _OF_PERSON)
        check_text("ask", "the procedure", procedure)
    elif procedure is not None:
        check_kind("ask", "the procedure as text", procedure, str)
    if items is not None:
        check_names("ask", "items", items, service.items)
    check_seconds("ask", "timeout_s", timeout_s)
    if attempts is not None:
        check_whole("ask", "attempts", attempts, 1)


def _settle(future: asyncio.Future[bytes | Refused], outcome: bytes | Refused) -> None:
    if not future.done():
        future.set_result(outcome)


def _check_restricted(caller: Caller) -> None:
    if caller.basis == "none":
        raise MeshError("no_legal_basis", "the service is for whom a row of the law names")


Node.declarations = service.declarations_of(Node)
