"""The broker: the core of the mesh, which decides whether an exchange is lawful and cannot read it.

It is a node like others where it answers for itself (ledger, history, consents); in between it passes on
what others say. It keeps no personal data: digests, codes of its own, and its decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NoReturn

from mesh import jws
from mesh.authoriser import Authoriser
from mesh.builtin import (
    CONSENTS,
    HISTORY,
    SUBSCRIPTION,
    ConsentsQuery,
    ConsentsReply,
    Empty,
    HistoryReply,
    SubscribeQuery,
    SubscribeReply,
)
from mesh.consent import ConsentBook
from mesh.consent_list import ConsentList
from mesh.errors import MeshError, UsageError
from mesh.exchange import Turn
from mesh.gates import Gate, Walk
from mesh.history import history_of
from mesh.host import Host
from mesh.ledger import Row, id_key, key_of, keys_of, read_row
from mesh.linkage import CodeBook
from mesh.message import Kind
from mesh.names import Zone, matches
from mesh.node import Node
from mesh.outbox import Delivery, Outbox
from mesh.party import Admitted, Party, check_peer
from mesh.policy import Policy
from mesh.post import Post
from mesh.routing import REPEATED_WITHIN_US, Ids, Router
from mesh.service import Caller, serves


class Earlier:
    """A `mesh.routing.Earlier`: exchanges of before a restart, found in the database by their keys."""

    def __init__(self, host: Host, since_us: int) -> None:
        self._host = host
        self._since_us = since_us
        """What was permitted before is over, and its id may be used again."""

    def about(self, digest: str) -> list[Row]:
        """The rows that permitted a request or closed it, the oldest first."""
        return [row for row in self._rows(key_of(digest)) if row.requestdigest == digest]

    def digest_of(self, source: str, message_id: str) -> str | None:
        """Which request an id of this source meant, if it was permitted and may still be repeated."""
        for row in self._rows(id_key(message_id)):
            if (row.requester, row.id) == (source, message_id) and row.time_us >= self._since_us:
                return row.requestdigest
        return None

    def _rows(self, key: int) -> Iterator[Row]:
        store, waiting = self._host.store, self._host.keys or ()
        positions = {*store.positions_of(key), *(position for one, position in waiting if one == key)}
        for position in sorted(positions):
            yield from map(read_row, store.ledger_rows(position, position + 1))


class Broker(Node, engine=True):
    """The broker role (情報提供ネットワークシステム).

    `codes` are the members' code keys; `listeners(event, role)` names the registered nodes that take an
    event.
    """

    title: ClassVar[str] = "Broker"
    title_ja: ClassVar[str] = "情報提供ネットワークシステム"
    zone: ClassVar[str] = Zone.CLOUD
    schema: ClassVar[str] = ConsentList.schema
    at_once: ClassVar[frozenset[str]] = frozenset({CONSENTS.name})

    def __init__(
        self,
        host: Host,
        party: Party,
        policy: Policy,
        *,
        codes: CodeBook,
        listeners: Callable[[str, str], Iterable[str]],
    ) -> None:
        super().__init__(host, party, policy)
        host.keys = []
        self.consents = ConsentList(self.db)
        self.authoriser = Authoriser(party, policy, codes, ConsentBook(self.consents.find, self._signers))
        ids = Ids(host.store.kept)
        self.router = Router(self.authoriser, ids)
        self.post = Post(
            self.authoriser, Outbox(host.random.randrange, host.monotonic_us), ids, listeners, self._rows_with
        )

    def ask(self, *_: Any, **__: Any) -> NoReturn:
        """A broker asks nobody: `UsageError`."""
        _passes_on("ask")

    def publish(self, *_: Any, **__: Any) -> NoReturn:
        """A broker pushes nothing of its own: `UsageError`."""
        _passes_on("publish")

    def notify(self, *_: Any, **__: Any) -> NoReturn:
        """A broker pushes nothing of its own: `UsageError`."""
        _passes_on("notify")

    def dead_letters(self, *_: Any, **__: Any) -> NoReturn:
        """A broker pushes nothing of its own: `UsageError`; what it gave up of others' is `given_up`."""
        _passes_on("dead_letters")

    def send_again(self, *_: Any, **__: Any) -> NoReturn:
        """A broker pushes nothing of its own: `UsageError`; others' deliveries go again by `deliver_again`."""
        _passes_on("send_again")

    def hide(self, *_: Any, **__: Any) -> NoReturn:
        """A broker has no exchange of its own to hide: `UsageError`."""
        _passes_on("hide")

    @property
    def _outbox(self) -> Outbox:
        return self.post.outbox

    def resume(self) -> None:
        """Take up exchanges and deliveries from the database; consents are always read there."""
        host = self.host
        if host.ledger.size:
            known = host.store.grown()[0]
            rows = enumerate(map(read_row, host.store.ledger_rows(known)), known)
            host.keys = [(key, position) for position, row in rows for key in keys_of(row)]
            past_us = min(host.now_us(), self._party.newest_signed_us)
            self.router.load(Earlier(host, past_us - REPEATED_WITHIN_US))
        super().resume()

    def _route(self, line: bytes, peer: str, turn: Turn) -> None:
        permit_line = b""
        if line.find(b"\n") >= 0:
            head, _, permit_line = line.partition(b"\n")
            if not _is_answer(head):
                super()._route(line, peer, turn)
                return
            line = head
        now_us = self.host.now_us()
        try:
            self._walk = walk = Walk(Gate.BROKER)
            self._admitted = admitted = self._party.admit(line, now_us, walk=walk)
            check_peer(admitted, peer)
        except MeshError as error:
            if not self.post.on_copy(line, error, peer, now_us, turn):
                self._refuse_unknown(line, error, peer, now_us, turn)
            raise
        try:
            self._pass_on(admitted, line, permit_line, peer, now_us, turn)
        except MeshError as error:
            if admitted.kind == Kind.REQUEST:
                self.router.refuse(admitted, error, now_us, turn)
            elif admitted.kind in (Kind.EVENT, Kind.NOTICE):
                self._refuse(admitted, error, peer, now_us, turn)
            raise

    def _pass_on(
        self, admitted: Admitted, line: bytes, permit_line: bytes, peer: str, now_us: int, turn: Turn
    ) -> None:
        """`permit_line` is what came beside an answer that was given under another permit than the last."""
        if admitted.kind == Kind.REQUEST:
            self.router.on_request(admitted, line, peer, now_us, turn)
        elif admitted.kind == Kind.REPLY:
            self.router.on_answer(admitted, line, permit_line, now_us, turn)
        elif admitted.kind == Kind.RECEIPT:
            self.post.on_receipt(admitted, permit_line, now_us, turn)
            turn.calls.append((self._arm, ()))
        elif admitted.kind == Kind.REFUSAL:
            if self.post.on_refusal(admitted, line, now_us, turn):
                turn.calls.append((self._arm, ()))
            else:
                self.router.on_answer(admitted, line, permit_line, now_us, turn)
        else:
            self.post.on_push(admitted, line, peer, now_us, turn)
            turn.calls.append((self._arm, ()))

    def unreachable(self, line: bytes, recipient: str) -> None:
        """Tell the requester, for this attempt; a push goes out again by itself."""
        turn = Turn()
        self.router.on_unreachable(line, self.host.now_us(), turn)
        self.host.perform(turn)

    def _deliver_due(self, now_us: int, turn: Turn) -> None:
        self.post.deliver_due(now_us, turn)

    def given_up(self) -> list[Delivery]:
        """Pushes that were given up: refused for good, unlawful by now, or past their expiry."""
        return self.post.dead_letters()

    def deliver_again(self, number: int) -> bool:
        """Send a dead letter again; False if it is too late for that, there is none of this number, or no room to write."""
        turn = Turn()
        sent = self.post.send_again(number, self.host.now_us(), turn)
        self.host.perform(turn)
        failed = self.host.flush()
        self._arm()
        return sent and failed is None

    @serves(SUBSCRIPTION)
    async def _subscription(self, query: SubscribeQuery, caller: Caller) -> SubscribeReply:
        """Under which row a node hears of an event; nobody subscribes whom the law does not name."""
        for row in self._policy.rows(query.event):
            if matches(row.requester, caller.address):
                return SubscribeReply(row.id, row.citation)
        raise MeshError("no_legal_basis", f"no row lets {caller.address} hear of this event")

    @serves(CONSENTS)
    async def _consents(self, query: ConsentsQuery, caller: Caller) -> ConsentsReply:
        """Take over what changed of the portal's consents, all or nothing; the row that permits the call names the portal.

        A change from another version than this broker goes by is not taken: the answer says which that is.
        """
        if caller.basis == "none":
            raise MeshError("no_legal_basis", "consents come from the portal that the law names")
        portal, now_us = caller.address, self.host.now_us()
        difference = self._signers.read_difference(query.listing, portal, now_us)
        version = self.consents.version(portal)
        if difference.version <= version:
            raise MeshError("registry_stale", "a newer list of consents is known")
        if difference.base == version:
            given = self._signers.read_given(difference, portal, now_us)
            with self.effect():
                self.consents.take(portal, difference, given, now_us)
            version = difference.version
        return ConsentsReply(version)

    @serves(HISTORY)
    async def _history(self, query: Empty, caller: Caller, person: str) -> HistoryReply:
        """What this broker permitted about a person, less what is not for their eyes."""
        return HistoryReply(tuple(history_of(self._rows_with(person), self._rows_about, person)))

    def _rows_about(self, message_id: str) -> list[Row]:
        return [row for row in self._rows_with(message_id) if row.id == message_id]


def _passes_on(call: str) -> NoReturn:
    """What came back to its own requests, and receipts for its own pushes, a broker would take for other parties'."""
    raise UsageError(
        f"{call} is not for a broker, which passes on what others send; call it on a node of your own"
    )


def _is_answer(line: bytes) -> bool:
    """Whether the first of two lines is an answer; else they are a message and its permit."""
    try:
        return jws.parse(line).typ in (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT)
    except MeshError:
        return False
