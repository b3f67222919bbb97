"""Nobody signs for another node, and no bit of a message can be changed: checked one by one.

The gate function (`Party.admit`, `Party.admit_permit`) is fed directly, which is what every party does with every
line; a sample goes over the wire.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from itertools import permutations

import pytest
from msgspec import Struct

from mesh import jws
from mesh.errors import MeshError
from mesh.exchange import digest_of
from mesh.keys import COUNTS
from mesh.ledger import Ledger, read_head
from mesh.message import Event, Kind, Notice, Receipt, Refusal, Reply, Request, encode, format_time
from mesh.names import BROKER
from mesh.node import Node
from mesh.party import Party
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, NoticeType, PersonalService, Word, receives, serves
from mesh.simulation import Simulation
from mesh.testing import Forger, answers_to, messages, simulation

NODES = [f"muni/{code:05d}/desk" for code in range(1, 21)]
OFFICE = "muni/00001/office"
KINDS = (Request, Reply, Refusal, Event, Notice, Receipt)


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int = 0


class Answer(Struct, frozen=True):
    yes: bool


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    text: Word


QUESTION = PersonalService("t.q.v1", Query, Answer, title="Q", title_ja="問")
MOVED = EventType("t.moved.v1", title="Moved", title_ja="転居")
LETTER = NoticeType("t.letter.v1", Letter, title="Letter", title_ja="手紙")


class Office(Node):
    asked = 0

    @serves(QUESTION)
    async def answer(self, query: Query, caller: Caller, person: str) -> Answer:
        self.asked += 1
        return Answer(True)

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None: ...

    @receives(LETTER)
    async def letter(self, letter: Letter, caller: Caller, person: str) -> None: ...


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        for address in NODES:
            made.add(Node, address)
        made.add(Office, OFFICE)
        made.allow(LegalBasis("muni/*/desk", "p", OFFICE, QUESTION.name, ("yes",)))
        made.allow(LegalBasis(OFFICE, "p", "muni/*/desk", MOVED.name))
        made.allow(LegalBasis("muni/*/desk", "p", OFFICE, LETTER.name, ("text",)))
        yield made


def gate_of(sim: Simulation) -> Party:
    return sim.node(BROKER)._party


def refused_by(gate: Callable[[], object]) -> str | None:
    try:
        gate()
    except MeshError as error:
        return error.code
    return None


async def test_no_node_of_twenty_signs_for_another(sim: Simulation) -> None:
    gate, now_us = gate_of(sim), sim.now_us()
    forgers = {address: Forger(sim, address) for address in NODES}
    genuine = {address: forgers[address].request(OFFICE, QUESTION.name) for address in NODES}
    for address in NODES:
        assert gate.admit(forgers[address].line(genuine[address]), now_us).message.source == address
    tried = 0
    for signer, victim in permutations(NODES, 2):
        own = sim.keys_of(signer).signing
        line = forgers[signer].line(genuine[victim])
        assert refused_by(lambda line=line: gate.admit(line, now_us)) == "sender_mismatch"
        # With the victim's key named in the header, the signature does not fit it.
        header = forgers[victim].line(genuine[victim]).split(b".")[0]
        signing_input = header + b"." + line.split(b".")[1]
        line = signing_input + b"." + _encode(own.sign(signing_input))
        assert refused_by(lambda line=line: gate.admit(line, now_us)) == "signature_invalid"
        victims = sim.keys_of(victim).signing.public
        token = jws.sign(b"{}", own, typ="request")
        assert refused_by(lambda token=token, key=victims: jws.verify(token, key)) == "key_unknown"
        tried += 1
    assert tried == 20 * 19


def _encode(data: bytes) -> bytes:
    from mesh import base64url

    return base64url.encode(data)


async def lines_of_each_kind(sim: Simulation) -> dict[str, bytes]:
    """A line of every kind that travels, permits and tree heads among them."""
    resident = sim.resident("12345678901")
    office = sim.node(OFFICE)
    for number, address in enumerate(NODES[:3]):
        code = sim.code(address.rsplit("/", 1)[0], resident)
        node = sim.node(address)
        procedure = "p" if number else "q"
        try:
            await node.ask(OFFICE, QUESTION, Query(number), subject=code, procedure=procedure)
        except MeshError:
            assert not number
        node.notify(LETTER, OFFICE, Letter("hello"), subject=code, procedure="p")
    office.publish(MOVED, sim.code("muni/00001", resident))
    await sim.sleep(3)
    sent = messages(sim)
    found = {type(one.message).__name__.lower(): one.line for one in sent}
    found[Kind.PERMIT] = next(one.permit for one in sent if one.permit)
    found[Kind.TREE_HEAD] = Ledger(OFFICE).sign_head(sim.keys_of(OFFICE).signing, sim.now_us())
    return found


def bits_of(line: bytes) -> list[int]:
    """Which bits are tried: all of the header and of the signature, and one of each byte of the payload.

    What a signature covers counts as a whole; headers and base64 have forms of their own.
    """
    first, last = line.index(b"."), line.rindex(b".")
    return [
        at * 8 + bit
        for at in range(len(line))
        for bit in (range(8) if at <= first or at >= last else (at % 8,))
    ]


async def test_each_bit_of_a_message_of_each_kind_counts(sim: Simulation) -> None:
    lines = await lines_of_each_kind(sim)
    assert set(lines) == {one.__name__.lower() for one in KINDS} | {"permit", "tree-head"}
    gate, now_us = gate_of(sim), sim.now_us()
    head_key = sim.keys_of(OFFICE).signing.public
    gates: dict[str, Callable[[bytes], object]] = {
        Kind.PERMIT: lambda line: gate.admit_permit(line, now_us),
        Kind.TREE_HEAD: lambda line: read_head(line, head_key),
    }
    codes: dict[str, int] = {}
    verified = COUNTS.verify
    for kind, line in lines.items():
        enter = gates.get(kind) or (lambda line: gate.admit(line, now_us))
        enter(line)
        changed = bytearray(line)
        for bit in bits_of(line):
            changed[bit // 8] ^= 1 << bit % 8
            try:
                enter(bytes(changed))
            except MeshError as error:
                codes[error.code] = codes.get(error.code, 0) + 1
            else:
                pytest.fail(f"bit {bit % 8} of byte {bit // 8} of a {kind} may be changed")
            changed[bit // 8] ^= 1 << bit % 8
        enter(bytes(changed))
    assert sum(codes.values()) == sum(len(bits_of(line)) for line in lines.values())
    # Most flips reach the signature: the others fail by their form, their header or their key's name.
    assert codes["signature_invalid"] > sum(codes.values()) / 3
    assert COUNTS.verify - verified >= codes["signature_invalid"]
    assert set(codes) <= {"signature_invalid", "message_malformed", "algorithm_unsupported", "key_unknown"}


async def test_changed_bits_have_no_effect_over_the_wire(sim: Simulation) -> None:
    office = sim.node(OFFICE, Office)
    forger = Forger(sim, NODES[4])
    code = sim.code("muni/00005", sim.resident("12345678901"))
    line = forger.line(forger.request(OFFICE, QUESTION.name, b"{}", subject=code, procedure="p", items="yes"))
    changed_lines = []
    for number in range(0, len(line) * 8, 97):
        changed = bytearray(line)
        changed[number // 8] ^= 1 << number % 8
        changed_lines.append(forger.send(bytes(changed)))
    await sim.sleep(1)
    assert office.asked == 0
    refused = {one.line: one.code for one in messages(sim) if one.recipient == BROKER}
    assert all(refused[each] for each in changed_lines)
    assert [one for one in messages(sim) if one.recipient == OFFICE] == []
    forger.send(line)
    await sim.sleep(1)
    assert office.asked == 1


async def test_changed_bits_of_a_permit_have_no_effect_over_the_wire(sim: Simulation) -> None:
    office = sim.node(OFFICE, Office)
    forger, broker = Forger(sim, NODES[4]), Forger(sim, BROKER)
    line = forger.line(forger.request(OFFICE, QUESTION.name, b"{}", procedure="p", items="yes"))
    permit = broker.permit(line, subject=sim.code("muni/00001", sim.resident("12345678901")))
    for number in range(0, len(permit) * 8, 97):
        changed = bytearray(permit)
        changed[number // 8] ^= 1 << number % 8
        sim.transmit(BROKER, OFFICE, line + b"\n" + changed)
    await sim.sleep(1)
    assert office.asked == 0
    assert {one.refusal for one in answers_to(sim, line)} <= {
        "signature_invalid", "message_malformed", "algorithm_unsupported", "key_unknown",
    }  # fmt: skip
    sim.transmit(BROKER, OFFICE, line + b"\n" + permit)
    await sim.sleep(1)
    assert office.asked == 1


async def test_a_node_does_not_answer_for_another(sim: Simulation) -> None:
    """A reply signed by a third node, to a question that stands open."""
    with sim.offline(OFFICE):
        forger, third = Forger(sim, NODES[4]), Forger(sim, NODES[5])
        line = forger.send(forger.request(OFFICE, QUESTION.name, b"{}", procedure="p", items="yes"))
        reply = Reply(
            specversion="1.0", id=third.new_id(), source=third.address, type=QUESTION.name,
            time=format_time(sim.now_us()), recipient=forger.address, datacontenttype="application/jose",
            requestdigest=digest_of(line), permitdigest=digest_of(b""), data="",
        )  # fmt: skip
        answer = third.send(reply)
        as_office = third.send(
            jws.sign(encode(reply).replace(b"00006/desk", b"00001/office"), third.keys.signing, typ="reply")
        )
        await sim.sleep(1)
    codes = {one.line: one.code for one in messages(sim)}
    assert codes[answer] == "correlation_mismatch"
    assert codes[as_office] == "sender_mismatch"
