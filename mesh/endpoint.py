"""A party's end of the mesh: brings lines to the sans-IO role that each is for, and does what it wants done.

Everything between a transport and a node's own methods is here: gate, refusals, handlers, repeats, and
coming up again after a crash. What a node's author sees is in `mesh.node`.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, ClassVar, Final

from mesh import jws, service
from mesh.backoff import OF_HANDLERS
from mesh.builtin import CONSENTS
from mesh.consent import ConsentUses, Signers
from mesh.dead_letter import DeadLetter
from mesh.deadlines import Deadlines
from mesh.errors import NOT_PROVIDED, MeshError, Refused, Step, Unsendable
from mesh.exchange import State, Turn, digest_of
from mesh.gates import AUTHORISATION, Gate, Walk
from mesh.host import Host
from mesh.ledger import Row, read_row
from mesh.message import Kind, Notice, Permit, items_of, parse_time
from mesh.names import BROKER
from mesh.outbox import Outbox, Posting
from mesh.party import UNKNOWN_TYPE, Admitted, Party, Resent, Untimely, check_peer
from mesh.policy import Policy
from mesh.provider import Asked, Provider
from mesh.publisher import Publisher
from mesh.recorder import Passage
from mesh.renewal import Renewal
from mesh.requester import Requester
from mesh.reserved import check_names, keep_names
from mesh.routing import refused_row
from mesh.service import Caller, NoticeType, PersonalService, Service
from mesh.subscriber import KEEP_US, Pushed, Subscriber

PURGE_EVERY_US: Final = 3_600_000_000
"""At least so long after a commit, and after a purge, is looked for what need not be kept any more."""
_SIGNED: Final = "signed_us"
"""Under which the database keeps the newest time that others signed, from one purge to the next."""

_HANDLER_STEPS = (
    Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD, Step.AUTHORISATION, Step.CONTENT, Step.PROVIDER, Step.LEDGER,
)  # fmt: skip
"""Steps whose codes a handler may raise: what it decides itself, and what is wrong with a token in a question."""

last_message: ContextVar[str] = ContextVar("last_message", default="")
"""The id of the message that the running task sent or received last; expectations point to it."""
current_work: ContextVar[Asked | Pushed | None] = ContextVar("current_work", default=None)
"""What the running task handles."""


class Endpoint:
    """One party on the mesh. A subclass declares its handlers; `declarations` is read from it."""

    declarations: ClassVar[dict[str, tuple[service.Declaration, str]]] = {}
    always: ClassVar[dict[str, frozenset[str]]] = {}
    """Of each service about a person: the items that every answer has."""

    kinds: ClassVar[dict[str, str]] = {}
    """Of each push that such a node receives: whether it is an event or a notice."""

    at_once: ClassVar[frozenset[str]] = frozenset()
    """Services whose handlers wait for nothing: what comes behind a question finds it handled and committed."""

    def __init_subclass__(cls, *, engine: bool = False, **kwargs: Any) -> None:
        """Read what the class declares. `DeclarationError` if it has a name of the engine's, unless it is part of it."""
        super().__init_subclass__(**kwargs)
        if engine:
            keep_names(cls)
        else:
            check_names(cls)
        cls.declarations = service.declarations_of(cls)
        cls.always = {
            name: one.fixed_items
            for name, (one, _) in cls.declarations.items()
            if isinstance(one, PersonalService)
        }
        cls.kinds = {
            name: Kind.NOTICE if isinstance(one, NoticeType) else Kind.EVENT
            for name, (one, _) in cls.declarations.items()
            if isinstance(one, service.Push)
        }

    @classmethod
    def offers(cls) -> tuple[str, ...]:
        """The names of the services that such a node answers."""
        return tuple(n for n, (d, _) in cls.declarations.items() if isinstance(d, Service | PersonalService))

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        """The names of the pushes that such a node receives."""
        return tuple(n for n, (d, _) in cls.declarations.items() if isinstance(d, service.Push))

    def __init__(self, host: Host, party: Party, policy: Policy) -> None:
        self.host = host
        self.address = party.address
        self.member = party.member
        self._party = party
        self._policy = policy
        self._methods = {name: getattr(self, method) for name, (_, method) in self.declarations.items()}
        self._requester = Requester(party)
        self._signers = Signers(party.view.key, self._is_portal)
        uses = ConsentUses(self._signers, lambda one: host.store.number(f"consent {one}"))
        self._provider = Provider(
            party,
            frozenset(self.offers()),
            host.store.kept_answer,
            host.store.has_purged,
            uses,
            self.always,
            policy,
            Renewal(party, "answer_anew", self._rows_with),
        )
        self._subscriber = Subscriber(
            party,
            self.kinds,
            host.store.received,
            host.store.has_purged_push,
            self._read_notice,
            policy,
            Renewal(party, "receipt_anew", self._rows_with),
        )
        outbox = Outbox(host.random.randrange, host.monotonic_us, Posting)
        self._publisher = Publisher(party, outbox, self._rows_with, host.store, policy, self._spawn_hearing)
        self._deadlines = Deadlines(host, self._requester)
        self._pump_timer: asyncio.TimerHandle | None = None
        self._pump_us = 0
        self._effect_of: Asked | None = None
        """The question whose effect waits to be committed with its answer."""
        self._effect = 0
        """The number of that effect."""
        self._purge_planned = False
        party.note_signed(host.store.number(_SIGNED))
        self._admitted: Admitted | None = None
        self._permit_digest: str | None = None
        self._walk = Walk(Gate.NODE)
        """Of the line that is at the gate."""
        host.committed = self._after_commit
        host.commit_failed = lambda _: self._arm()
        host.going_down = self._deadlines.give_up_all

    def _is_portal(self, address: str) -> bool:
        """Whether the law lets that node publish consents."""
        return self._policy.lets(address, CONSENTS.name)

    def _rows_with(self, text: str) -> Iterator[Row]:
        """The rows of its ledger in which the text occurs."""
        return map(read_row, self.host.store.ledger_rows_with(text))

    def sign_head(self) -> bytes:
        """Sign the head of this node's ledger and report it."""
        host = self.host
        token = host.ledger.sign_head(self._party.keys.signing, host.now_us(), host.monotonic_us())
        self.host.record_head(token)
        return token

    # Between transport and roles.

    def receive(self, line: bytes, peer: str) -> Passage:
        """Take a line in; returns what the gate made of it."""
        turn = Turn()
        code = None
        self._admitted = self._permit_digest = None
        try:
            self._route(line, peer, turn)
        except MeshError as error:
            code = error.code
        self.host.perform(turn)
        return Passage(code, self._admitted, self._permit_digest, self._walk.record(refused=code is not None))

    def unreachable(self, line: bytes, recipient: str) -> None:
        """Nobody was at the address: what is in the outbox goes again, what was asked times out."""

    def _route(self, line: bytes, peer: str, turn: Turn) -> None:
        """Bring a line to the role that it is for, through the gate. Refuses what may be refused."""
        head, two, permit_line = line.partition(b"\n")
        now_us = self.host.now_us()
        if two:
            self._route_permitted(head, permit_line, peer, now_us, turn)
            return
        try:
            self._walk = walk = Walk(Gate.NODE)
            self._admitted = admitted = self._party.admit(line, now_us, walk=walk)
            check_peer(admitted, peer)
        except MeshError as error:
            self._refuse_unknown(line, error, peer, now_us, turn)
            raise
        if admitted.kind == Kind.REPLY:
            self._requester.on_answer(admitted, now_us, turn)
        elif admitted.kind == Kind.RECEIPT:
            self._publisher.on_receipt(admitted, now_us, turn)
            turn.calls.append((self._arm, ()))
        elif admitted.kind == Kind.REFUSAL:
            self._route_refusal(admitted, now_us, turn)
        else:
            admitted.walk.to(AUTHORISATION)
            missing = MeshError("no_legal_basis", "no permit of a broker came with the message")
            self._refuse(admitted, missing, peer, now_us, turn)
            raise missing

    def _route_refusal(self, admitted: Admitted, now_us: int, turn: Turn) -> None:
        """Of a push that goes out, of a question, or of a push that the broker had taken over."""
        if self._publisher.on_refusal(admitted, now_us, turn):
            turn.calls.append((self._arm, ()))
        elif self._requester.knows(admitted.message.requestdigest) or not self._publisher.on_dead_letter(
            admitted, now_us, turn
        ):
            self._requester.on_answer(admitted, now_us, turn)

    def _route_permitted(self, head: bytes, permit_line: bytes, peer: str, now_us: int, turn: Turn) -> None:
        party = self._party
        try:
            self._walk = walk = Walk(Gate.PERMITTED)
            permit, permit_digest = party.admit_permit(permit_line, now_us, walk=walk)
        except MeshError as error:
            self._refuse_unknown(head, error, peer, now_us, turn)
            raise
        self._permit_digest = permit_digest
        try:
            key_time_us = None if permit.accepted is None else parse_time(permit.accepted)
            self._admitted = admitted = party.admit(head, now_us, key_time_us=key_time_us, walk=walk)
            check_peer(admitted, peer)
        except MeshError as error:
            self._refuse_permitted(head, permit, permit_digest, error, peer, now_us, turn)
            raise
        try:
            if admitted.kind == Kind.REQUEST and permit.accepted is not None:
                raise MeshError("message_malformed", "a request is judged now, not when it was accepted")
            if admitted.kind == Kind.REQUEST:
                asked = self._provider.on_request(admitted, permit, permit_line, permit_digest, now_us, turn)
                if asked is not None:
                    self._begin(asked, walk)
            else:
                pushed = self._subscriber.on_push(admitted, head, permit, permit_line, now_us, turn)
                if pushed is not None:
                    turn.calls.append((self._spawn_push, (pushed,)))
        except MeshError as error:
            self._refuse(admitted, error, peer, now_us, turn, permit_digest)
            raise

    def _refuse_permitted(
        self,
        line: bytes,
        permit: Permit,
        permit_digest: str,
        error: MeshError,
        peer: str,
        now_us: int,
        turn: Turn,
    ) -> None:
        """Refuse bytes whose sender is not proven here, but which a broker permitted: its requester hears so."""
        digest = digest_of(line)
        if permit.requestdigest != digest or isinstance(error, Resent):
            self._refuse_unknown(line, error, peer, now_us, turn)
            return
        refusal = self._party.refusal(
            error,
            to=permit.requester,
            digest=digest,
            now_us=now_us,
            permit_digest=permit_digest,
            about=permit.service,
        )
        turn.sends.append((peer, refusal))

    def _refuse_unknown(self, line: bytes, error: MeshError, peer: str, now_us: int, turn: Turn) -> None:
        """Refuse bytes whose sender is not proven, or did not send them: to the peer that did, and in no ledger."""
        try:
            kind = jws.parse(line).typ
        except MeshError:
            kind = ""
        resent = isinstance(error, Resent) and kind in (Kind.REPLY, Kind.RECEIPT)
        if kind in (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT, Kind.PERMIT) and not resent:
            return  # An answer is never answered, or two parties could refuse each other for ever.
        about = UNKNOWN_TYPE if self._admitted is None else self._admitted.message.type
        refusal = self._party.refusal(error, to=peer, digest=digest_of(line), now_us=now_us, about=about)
        turn.sends.append((peer, refusal))

    def _refuse(
        self,
        admitted: Admitted,
        error: MeshError,
        peer: str,
        now_us: int,
        turn: Turn,
        permit_digest: str | None = None,
    ) -> None:
        """Refuse a message of a known sender, and record it."""
        message = admitted.message
        line = self._party.refusal(
            error,
            to=BROKER if isinstance(error, Untimely) and admitted.kind == Kind.REQUEST else message.source,
            digest=admitted.digest,
            now_us=now_us,
            permit_digest=permit_digest,
            about=message.type,
            definite=admitted.kind != Kind.REQUEST or not self._provider.knows(admitted),
        )
        turn.rows.append(refused_row(admitted, error, line, now_us))
        turn.sends.append((peer, line))

    # Handlers.

    def _begin(self, asked: Asked, walk: Walk) -> None:
        """Read the question and hand it to its handler; what is wrong with it has no effect there."""
        declaration = self.declarations[asked.request.type][0]
        assert isinstance(declaration, Service | PersonalService)  # noqa: S101
        query = declaration.decode_query(asked.data)
        if declaration.batched and len(query.subjects) > asked.permit.subjectsmax:
            raise MeshError("over_broad")
        self._provider.start(asked, walk)
        work = self._handle(asked, declaration, query)
        if asked.request.type in self.at_once:
            self.host.run_at_once(work)
        else:
            self.host.spawn(work, f"{self.address} answers {asked.request.id}")

    async def _handle(
        self, asked: Asked, declaration: Service[Any, Any] | PersonalService[Any, Any], query: Any
    ) -> None:
        request, permit = asked.request, asked.permit
        items = items_of(permit.items) if permit.items else frozenset()
        caller = Caller(request.source, permit.procedure, items, permit.consent, request.id, permit.basis)
        current_work.set(asked)
        last_message.set(request.id)
        turn = Turn()
        try:
            method = self._methods[request.type]
            if declaration.personal:
                reply = await method(query, caller, permit.subject)
            else:
                reply = await method(query, caller)
            content = declaration.reply_content(reply, items)
            self._check_effect(asked)
            self._provider.answer(asked, content, self.host.now_us(), turn)
        except Exception as error:
            self.host.undo_effect()
            self._provider.refuse(asked, self._as_refusal(request.type, error), self.host.now_us(), turn)
        turn.undo.append(lambda error: self._answer_unkept(asked, error))
        self.host.perform(turn)
        if self._effect_of is asked:
            self._effect_of = None
            self.host.flush(effect=True)

    def _check_effect(self, asked: Asked) -> None:
        """An effect that was undone because its handler awaited after it must not be answered for."""
        if self._effect_of is not asked:
            self.host.undo_effect()  # Another handler's, which awaited in it.
        elif self._effect != self.host.store.effect:
            raise RuntimeError("a handler returns after its effect without awaiting: this one's was undone")

    def _as_refusal(self, service: str, error: Exception) -> MeshError:
        """What a handler's exception is called on the mesh.

        Its own text stays here: it may quote the question, and a refusal travels unsealed. What the handler or its
        answer could not send is its own failure, whatever the code.
        """
        own = isinstance(error, Refused | Unsendable)
        usual = isinstance(error, MeshError) and error.step in _HANDLER_STEPS and error.code != NOT_PROVIDED
        if isinstance(error, MeshError) and usual and not own:
            return MeshError(error.code)
        self._fail(service, error)
        return MeshError("handler_failed")

    def _fail(self, about: str, error: Exception) -> None:
        """Say in this process what failed while a question or push was handled."""
        error.add_note(f"while {self.address} handled {about}")
        self.log(error)
        self._tell(about, error, "handler_failed: ")

    def _tell(self, about: str, error: Exception, prefix: str = "") -> None:
        """Leave a line for the run's report: code, declared field and limit, never a text that may quote a value."""
        if isinstance(error, MeshError):
            said = error.code if error.detail is None else f"{error.code} ({error.detail})"
        else:
            said = type(error).__name__
        self.host.failed(self.address, about, prefix + said)

    def log(self, error: Exception) -> None:
        """Say on the error stream what went wrong inside this node."""
        if isinstance(error, MeshError):
            print(": ".join((self.address, str(error))), *getattr(error, "__notes__", ()), file=sys.stderr)
        else:
            traceback.print_exception(error)

    def _answer_unkept(self, asked: Asked, error: MeshError) -> None:
        """The outcome could not be stored: refuse this attempt, keep nothing, so a repeat is tried afresh."""
        self._provider.abandon(asked)
        line = self._party.refusal(
            error,
            to=asked.request.source,
            digest=asked.digest,
            now_us=self.host.now_us(),
            permit_digest=asked.permit_digest,
            about=asked.request.type,
        )
        self.host.send_unrecorded(BROKER, line)

    def _read_notice(self, name: str, data: bytes) -> Any:
        declaration = self.declarations[name][0]
        assert isinstance(declaration, NoticeType)  # noqa: S101
        return declaration.decode_body(data)

    def _spawn_push(self, pushed: Pushed, failures: int = 0) -> None:
        name = f"{self.address} handles {pushed.message.id}"
        self.host.spawn(self._handle_push(pushed, failures), name)

    async def _handle_push(self, pushed: Pushed, failures: int = 0) -> None:
        message, permit = pushed.message, pushed.permit
        items = items_of(permit.items) if isinstance(message, Notice) and permit.items else frozenset()
        caller = Caller(message.source, permit.procedure, items, None, message.id, permit.basis)
        current_work.set(pushed)
        last_message.set(message.id)
        try:
            push = message
            if isinstance(message, Notice):
                push = self._read_notice(message.type, pushed.data)
            await self._methods[message.type](push, caller, permit.subject)
            self.host.undo_effect()  # Another handler's, which awaited in it.
            # A handler that had nothing to write is done as well.
            turn = Turn()
            self._subscriber.handle(pushed, turn)
            self.host.commit(turn.writes)
            for call, values in turn.calls:
                call(*values)
        except Exception as error:
            # It stays in the inbox, unhandled, and is handled again later, or when the node next comes up.
            self.host.undo_effect()
            self._fail(message.type, error)
            if pushed.life.state == State.HANDLED:
                return  # It failed after its effect, which may not happen a second time.
            pause_us = OF_HANDLERS.least_us(failures + 1)
            self.host.call_later(pause_us, lambda: self._spawn_push(pushed, failures + 1))

    # The outbox.

    def undelivered(self, letter: DeadLetter) -> None:
        """A push of this node was given up; for subclasses. Called once, after it is on record."""

    def _spawn_hearing(self, letter: DeadLetter) -> None:
        self.host.spawn(self._hear(letter), f"{self.address} hears of {letter.message}")

    async def _hear(self, letter: DeadLetter) -> None:
        last_message.set(letter.message)
        try:
            self.undelivered(letter)
        except Exception as error:
            self.host.undo_effect()
            self.log(error)

    def _arm(self) -> None:
        """Wake for the outbox when its next delivery is due."""
        due_us = self._outbox.next_due_us()
        if due_us is None or (self._pump_timer is not None and self._pump_us <= due_us):
            return
        if self._pump_timer is not None:
            self._pump_timer.cancel()
        self._pump_us = due_us
        self._pump_timer = self.host.call_later(max(due_us - self.host.monotonic_us(), 0), self._pump)

    def _pump(self) -> None:
        self._pump_timer = None
        turn = Turn()
        self._deliver_due(self.host.now_us(), turn)
        self.host.perform(turn)
        self._arm()

    @property
    def _outbox(self) -> Outbox:
        return self._publisher.outbox

    def _deliver_due(self, now_us: int, turn: Turn) -> None:
        ready, expired = self._outbox.take_due(now_us, turn)
        for delivery in expired:
            self._publisher.expire(delivery, now_us, turn)
        turn.sends.extend((delivery.to, delivery.line) for delivery in ready)

    # Coming up, and what a commit entails.

    def start(self) -> None:
        """Called once when the node comes up, also after a crash; for subclasses."""

    def resume(self) -> None:
        """Take up what the database holds: deliveries under way, pushes not handled yet."""
        self._outbox.load(self.host.store.outbox(), self.host.now_us())
        for line, permit_line, data in self.host.store.unhandled():
            self._spawn_push(self._subscriber.reopen(line, permit_line, data))
        self.start()
        self._arm()
        if self.host.ledger.size:
            self._plan_purge(PURGE_EVERY_US)

    def finish(self) -> None:
        """The run ends: commit what waits, and sign the head that covers it."""
        self.host.flush()
        if self.host.ledger.size != self.host.ledger.signed_size:
            self.sign_head()

    def _after_commit(self, rows: int) -> None:
        if self.host.ledger.head_due(self.host.monotonic_us()):
            self.sign_head()
        if not self._purge_planned:
            self._plan_purge(PURGE_EVERY_US)

    def _plan_purge(self, delay_us: int) -> None:
        self._purge_planned = True
        self.host.call_aside(delay_us, self._purge)

    def _purge(self) -> None:
        """Forget what nobody can repeat or send again any more, by time; and look again when the next of it may go.

        That a time has passed both the own clock says and what others signed: a clock that steps ahead forgets nothing.
        """
        self._purge_planned = False
        self.host.flush()
        now_us = self.host.now_us()
        self._party.view.catch_up(now_us)
        signed_us = self._party.newest_signed_us
        past_us = min(now_us, signed_us)
        turn = Turn(writes=[("rising", (_SIGNED, signed_us))])
        self._outbox.purge(past_us - KEEP_US, turn)
        self.host.perform(turn)
        kept_us, expiry_us = self.host.store.purge(past_us), self._outbox.next_expiry_us()
        due = [kept_us] if kept_us is not None else []
        if expiry_us is not None:
            due.append(expiry_us + KEEP_US)
        if due:
            self._plan_purge(max(min(due) - past_us, PURGE_EVERY_US))


keep_names(Endpoint)
