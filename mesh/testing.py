"""What tests of one's own nodes need: a simulation to fill, bytes to attack it with, and what came of both.

A test is an async function under `@in_virtual_time`, in which `with simulation() as sim:` opens a mesh with an
in-memory trace; who has pytest-asyncio may give it `loop_factory` instead. Everything here is deterministic, as a simulation is.

Convention: a node that may hold personal numbers (個人番号) defines `personal_numbers()`, which gives all
that it holds; `personal_numbers(sim)` gathers them, so that a test can look for them where they must not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from mesh import jws, sealing
from mesh.clock import VirtualLoop, run
from mesh.errors import MeshError
from mesh.exchange import Turn, digest_of
from mesh.guard import forbid_nondeterminism
from mesh.keys import NodeKeys, SealingKey
from mesh.ledger import Row, read_row
from mesh.message import Body, Kind, Permit, Refusal, Request, encode, format_time, items_of, parse_time
from mesh.names import BROKER
from mesh.node import REQUEST_LIFE_US
from mesh.party import PERMIT_LIFE_US, decode_body, read_line
from mesh.policy import NO_BASIS_ID
from mesh.reason import read_reason
from mesh.simulation import Simulation

__all__ = [
    "Forger",
    "HoldsPersonalNumbers",
    "Transmission",
    "answers_to",
    "in_virtual_time",
    "keep_record",
    "ledger",
    "loop_factory",
    "messages",
    "personal_numbers",
    "reason",
    "simulation",
]

loop_factory: Final = VirtualLoop
"""Makes the loop of a test; return `{"virtual": loop_factory}` from `pytest_asyncio_loop_factories`."""

_KINDS: Final = {Permit.__name__: Kind.PERMIT} | {
    kind.title(): kind
    for kind in (Kind.REQUEST, Kind.REPLY, Kind.REFUSAL, Kind.EVENT, Kind.NOTICE, Kind.RECEIPT)
}


P = ParamSpec("P")


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a test that any runner can call, with no plugin, of an async one: on a virtual loop of its own."""

    @wraps(test)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return run_test


@contextmanager
def simulation(**options: Any) -> Iterator[Simulation]:
    """A simulation on the running virtual loop; `options` are those of `Simulation` (seed, starts, …).

    Clocks, chance, threads and the network are refused meanwhile, as in a run (`mesh.guard`). On leaving, ledgers are
    signed and databases closed; read the trace before. RuntimeError outside a virtual loop.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError("a simulation runs on mesh.testing.loop_factory, not on asyncio's own loop")
    with forbid_nondeterminism():
        sim = Simulation(loop=loop, **options)
        try:
            yield sim
        finally:
            sim.close()
            sim.trace.close()


class Forger:
    """Whoever builds messages by hand with one node's keys: what a hostile or broken node could send.

    `keys` are the node's own unless others are given. Make one for each address: two draw the same ids.
    """

    def __init__(self, sim: Simulation, address: str, keys: NodeKeys | None = None) -> None:
        self.address = address
        self.keys = sim.keys_of(address) if keys is None else keys
        self._sim = sim
        self._random = sim.stream(f"forger {address}")
        # The registry knows an entry's keys from its first use on, as when the node itself comes up.
        sim.registry.entry(address)

    def new_id(self) -> str:
        """A fresh message id."""
        text = f"{self._random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def seal(self, message_id: str, to: str, data: bytes, *, key_of: str | None = None) -> str:
        """Content sealed as a message with this id to `to` would carry it, for the key of `key_of`."""
        reader = to if key_of is None else key_of
        body = encode(Body(message_id, self.address, to, msgspec.Raw(data)))
        ephemeral = SealingKey.from_seed(self._random.randbytes(32))
        key = self._sim.keys_of(reader).sealing.public
        return sealing.seal(body, key, ephemeral=ephemeral, apu=self.address, apv=reader)

    def request(
        self, to: str, service: str, query: bytes = b"{}", *, subject: str | None = None, **attributes: Any
    ) -> Request:
        """A request as the node itself would make it, except for the attributes given.

        `query` is JSON and `subject` a linkage code: both are sealed here. Attributes that are
        given stand as they are, such as `data` of another message.
        """
        message_id = attributes.pop("id", None) or self.new_id()
        now_us = self._sim.now_us()
        fields: dict[str, Any] = {
            "specversion": "1.0",
            "source": self.address,
            "type": service,
            "time": format_time(now_us),
            "recipient": to,
            "datacontenttype": "application/jose",
            "expiry": format_time(now_us + REQUEST_LIFE_US),
            "data": self.seal(message_id, to, query),
        }
        if subject is not None:
            fields["subject"] = self.seal(message_id, BROKER, encode(subject))
        return Request(id=message_id, **(fields | attributes))

    def permit(self, line: bytes, **attributes: Any) -> bytes:
        """A permit for a signed request, by this forger; it counts only if the forger is the broker.

        It names the row of the law that covers the request, if there is one.
        """
        request, now_us = read_line(line), self._sim.now_us()
        fields: dict[str, Any] = {
            "broker": BROKER,
            "requestdigest": digest_of(line),
            "requester": request.source,
            "recipient": request.recipient,
            "service": request.type,
            "procedure": request.procedure,
            "items": request.items,
            "basis": self._basis_of(request),
            "registry": 1,
            "time": format_time(now_us),
            "expiry": format_time(now_us + PERMIT_LIFE_US),
        }
        return self.line(Permit(**(fields | attributes)))

    def _basis_of(self, request: Any) -> str:
        policy, procedure = self._sim.policy, getattr(request, "procedure", None)
        if not policy.restricts(request.type):
            return NO_BASIS_ID
        items = items_of(getattr(request, "items", None) or "")
        try:
            return policy.decide(
                request.source, procedure or "", request.recipient, request.type, items, self._sim.now_us()
            ).id
        except MeshError:
            return "forged"

    def line(self, payload: Struct | bytes, kind: str | None = None) -> bytes:
        """The signed line of a message or of any bytes; `kind` is the message's own unless given."""
        if isinstance(payload, bytes):
            return jws.sign(payload, self.keys.signing, typ=kind or Kind.REQUEST)
        return jws.sign(encode(payload), self.keys.signing, typ=kind or _KINDS[type(payload).__name__])

    def send(self, payload: Struct | bytes, to: str = BROKER) -> bytes:
        """Put a message, or bytes as they are, on the wire as from this node; returns the line."""
        line = payload if isinstance(payload, bytes) else self.line(payload)
        self._sim.transmit(self.address, to, line)
        return line


def keep_record(sim: Simulation, line: bytes) -> None:
    """Write the `opened` row of a request into its source's own ledger.

    For an attacker inside a member that keeps its books all the same: else `trace verify` rightly finds a
    permitted request that its requester never opened.
    """
    request = read_line(line)
    node = sim.node(request.source)
    turn = Turn()
    subject = None
    if request.subject is not None:
        opened = sim.node(BROKER).party.unseal(request.subject, request, sim.now_us())
        subject = msgspec.json.decode(opened, type=str)
    row = Row(
        "opened",
        parse_time(request.time),
        request.id,
        request.source,
        provider=request.recipient,
        service=request.type,
        procedure=request.procedure,
        items=request.items,
        subject=subject,
        requestdigest=digest_of(line),
    )
    turn.rows.append(row)
    node.host.perform(turn)


@dataclass(frozen=True, slots=True)
class Transmission:
    """One line that went from a party to another, as the trace has it."""

    index: int
    sent_us: int
    sender: str
    recipient: str
    line: bytes
    permit: bytes | None
    """The second line, of a request or push that the broker passed on."""
    message: Any
    """The struct of `mesh.message`; None for bytes that are no message."""
    fate: str
    code: str | None
    """The code with which the recipient's gate refused it; None when it passed."""

    @property
    def refusal(self) -> str | None:
        """The code that a refusal states; None for everything else."""
        return self.message.code if isinstance(self.message, Refusal) else None


def messages(sim: Simulation, message_type: type[Struct] | None = None) -> list[Transmission]:
    """All transmissions that ended, in the order of sending; those of one kind if its struct is given."""
    sim.trace.commit()
    rows = sim.trace.db.execute(
        "SELECT t.number, t.sent_us, s.address, r.address, m.line, p.line, t.fate, t.code FROM transmission t"
        " JOIN party s ON s.number = t.sender JOIN party r ON r.number = t.recipient"
        " JOIN message m ON m.number = t.message LEFT JOIN message p ON p.number = t.permit ORDER BY t.number"
    )
    found = [
        Transmission(index, sent_us, sender, recipient, line, permit, _read(line), fate, code)
        for index, sent_us, sender, recipient, line, permit, fate, code in rows
    ]
    return [one for one in found if message_type is None or isinstance(one.message, message_type)]


def _read(line: bytes) -> Any:
    try:
        return read_line(line)
    except MeshError:
        return None


def answers_to(sim: Simulation, line: bytes) -> list[Transmission]:
    """The replies, refusals and receipts that name a line's digest, in the order of sending."""
    digest = digest_of(line)
    return [
        one
        for one in messages(sim)
        if not isinstance(one.message, Permit) and getattr(one.message, "requestdigest", None) == digest
    ]


def reason(sim: Simulation, sent: Transmission) -> str | None:
    """The code under the seal of a refusal, opened with its recipient's key; None where there is none."""
    refusal = sent.message
    if not isinstance(refusal, Refusal) or refusal.reason is None:
        return None
    body = decode_body(sealing.open_sealed(refusal.reason, sim.keys_of(refusal.recipient).sealing))
    return read_reason(bytes(body.data)).name


def ledger(sim: Simulation, address: str | None = None) -> list[Row]:
    """The rows that a party committed to its ledger, or all parties', in the order of committing."""
    sim.trace.commit()
    rows = sim.trace.db.execute(
        "SELECT l.row FROM ledger l JOIN party p ON p.number = l.party"
        " WHERE ?1 IS NULL OR p.address = ?1 ORDER BY l.number",
        (address,),
    )
    return [read_row(row[0]) for row in rows]


@runtime_checkable
class HoldsPersonalNumbers(Protocol):
    """A node that may hold personal numbers, such as a resident register."""

    def personal_numbers(self) -> Iterable[str]:
        """Every personal number in the node's database, as twelve digits."""


def personal_numbers(sim: Simulation) -> list[str]:
    """Every personal number that a node of the run holds; nodes that were never addressed hold none."""
    holders = [node for node in sim._nodes.values() if isinstance(node, HoldsPersonalNumbers)]
    return [number for holder in holders for number in holder.personal_numbers()]
