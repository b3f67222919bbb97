"""Every check of every gate, for every kind of message: one table, made from `mesh.gates`, of what fails at each.

An honest line of each kind passes its gate. A fault changes one thing of it (or of its permit), and the gate must stop at
exactly the check that the table names, with the code, and without any effect. Lines are brought straight to the gate, so
that no broker before it can have refused them. Limits stand here as numbers, not taken from what is tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Struct, UnsetType, structs

from mesh import (
    Caller,
    EventType,
    LegalBasis,
    Node,
    NoticeType,
    PersonalService,
    base64url,
    gates,
    jws,
    receives,
    sealing,
    serves,
)
from mesh.broker import Broker
from mesh.builtin import CONSENTS
from mesh.exchange import digest_of
from mesh.faults import drop
from mesh.gates import STEPS, Check, Gate, passed
from mesh.keys import SealingKey, SigningKey
from mesh.ledger import Row
from mesh.message import (
    Body,
    Event,
    Kind,
    Notice,
    Permit,
    Receipt,
    Refusal,
    RefusalData,
    Reply,
    Request,
    encode,
    format_time,
)
from mesh.names import BROKER
from mesh.provider import Answering
from mesh.recorder import Passage
from mesh.registry import Entry, key_record
from mesh.service import Code, Word
from mesh.simulation import Simulation
from mesh.testing import Forger, Transmission, ledger, messages, simulation

PORTAL = "gov/portal/inbox"
DESK, OFFICE, OTHER, AFAR = "muni/01208/desk", "muni/28100/office", "muni/13101/desk", "firm/acme/office"
SECOND_US = 1_000_000
AHEAD_US = 300 * SECOND_US
"""How far two clocks may lie apart."""
LIFE_US = {
    Kind.REQUEST: 600 * SECOND_US,
    Kind.EVENT: 30 * 86_400 * SECOND_US,
    Kind.NOTICE: 30 * 86_400 * SECOND_US,
}
"""How long a message may live."""
PERMIT_LIFE_US = 60 * SECOND_US
LINE_MAX_BYTES = 1024 * 1024
DAY_US = 86_400 * SECOND_US
ANSWERS = (Kind.REPLY, Kind.REFUSAL, Kind.RECEIPT)


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    note: Word = ""
    subjects: tuple[Code, ...] = ()


class Facts(Struct, frozen=True):
    age: int
    city: Word | UnsetType = UNSET


class Note(Struct, frozen=True):
    word: Word


FACTS = PersonalService("gate.facts.v1", Query, Facts, title="Facts", title_ja="事実")
NOTE = NoticeType("gate.note.v1", Note, title="Note", title_ja="通知")
MOVED = EventType("gate.moved.v1", title="Moved", title_ja="異動")


class Desk(Node):
    """Asks and pushes."""


class Office(Node):
    """Answers and receives."""

    handled = 0

    @serves(FACTS)
    async def facts(self, query: Query, caller: Caller, person: str) -> Facts:
        self.handled += 1
        return Facts(7)

    @receives(NOTE)
    async def note(self, note: Note, caller: Caller, person: str) -> None:
        self.handled += 1

    @receives(MOVED)
    async def moved(self, event: Event, caller: Caller, person: str) -> None:
        self.handled += 1


class Afar(Office):
    zone = "internet"


@dataclass
class Signed:
    """A document, whose key signs it, and what is done to its bytes before and to its line after."""

    document: Any
    key: SigningKey
    typ: str
    text: Callable[[bytes], bytes] = bytes
    line: Callable[[bytes], bytes] = bytes

    def change(self, **changes: Any) -> None:
        self.document = structs.replace(self.document, **changes)

    def signed(self) -> bytes:
        return self.line(jws.sign(self.text(encode(self.document)), self.key, typ=self.typ))


@dataclass
class Draft:
    """A line on its way to a gate: who gets it, from whom, and what it is."""

    at: Node
    peer: str
    head: Signed
    permit: Signed | None = None

    def lines(self) -> bytes:
        """A permit names the line beside it, unless it is to name another."""
        head = self.head.signed()
        if self.permit is None:
            return head
        if self.permit.document.requestdigest == "":
            self.permit.change(requestdigest=digest_of(head))
        return head + b"\n" + self.permit.signed()


class World:
    """A desk that asks and pushes, an office that answers and receives, the broker, and everybody's keys."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for cls, address in ((Desk, DESK), (Desk, OTHER), (Office, OFFICE), (Afar, AFAR)):
            sim.add(cls, address)
        for office in ("muni/*/office", AFAR):
            sim.allow(
                LegalBasis("muni/*/desk", "task", office, FACTS.name, ("age", "city"), id=f"ask {office}")
            )
            sim.allow(LegalBasis("muni/*/desk", "task", office, NOTE.name, ("word",), id=f"tell {office}"))
        sim.allow(LegalBasis(OFFICE, "task", OFFICE, FACTS.name, ("age", "city"), id="inside"))
        sim.allow(
            LegalBasis("muni/*/desk", "agreed", OFFICE, FACTS.name, ("age",), consent=True, id="agreed")
        )
        sim.allow(LegalBasis(PORTAL, "consents", BROKER, CONSENTS.name))
        sim.allow(LegalBasis("muni/*/office", "hear", DESK, MOVED.name, id="hear"))
        self.person = sim.resident("00000000019")
        self.code = sim.code("muni/01208", self.person)
        self.office, self.desk = sim.node(OFFICE, Office), sim.node(DESK, Desk)
        self.broker = sim.node(BROKER, Broker)
        self.forgers = {one: Forger(sim, one) for one in (DESK, OTHER, OFFICE, AFAR, BROKER)}
        self.asking: list[asyncio.Task[Any]] = []

    @property
    def now_us(self) -> int:
        return self.sim.now_us()

    def signed(self, document: Any, by: str, typ: str) -> Signed:
        return Signed(document, self.forgers[by].keys.signing, typ)

    # Honest drafts.

    async def draft(self, gate: str, kind: str, about: str = "question") -> Draft:
        """An honest line of that kind, in a mesh in which it is due; a refusal is of a question or of a push."""
        if kind not in ANSWERS:
            head = self.signed(self.ask(kind), DESK, kind)
            if gate == Gate.BROKER:
                return Draft(self.broker, DESK, head)
            permit = self.signed(self.permit_for(head.document), BROKER, Kind.PERMIT)
            return Draft(self.office, BROKER, head, permit if gate == Gate.PERMITTED else None)
        of_push = kind == Kind.RECEIPT or about == "push"
        at = self.broker if gate == Gate.BROKER else self.desk
        asked, permit_digest = await (self.pushed if of_push else self.asked)(gate)
        by = BROKER if gate == Gate.NODE and kind != Kind.REPLY else OFFICE
        answer = self.answer(kind, asked, permit_digest, by)
        if of_push:
            answer = structs.replace(answer, recipient=BROKER if at is self.broker else DESK)
        return Draft(at, OFFICE if at is self.broker else BROKER, self.signed(answer, by, kind))

    def ask(self, kind: str, to: str = OFFICE, **changes: Any) -> Any:
        """A request, event or notice of the desk."""
        forger, now_us = self.forgers[DESK], self.now_us
        message_id = forger.new_id()
        common: dict[str, Any] = {
            "specversion": "1.0",
            "id": message_id,
            "source": DESK,
            "time": format_time(now_us),
            "subject": forger.seal(message_id, BROKER, encode(self.code)),
            "expiry": format_time(now_us + 60 * SECOND_US),
        }
        if kind == Kind.EVENT:
            return Event(**(common | {"type": MOVED.name, "recipient": BROKER} | changes))
        common |= {"datacontenttype": "application/jose", "recipient": to, "procedure": "task"}
        if kind == Kind.NOTICE:
            data = forger.seal(message_id, to, b'{"word":"hello"}')
            return Notice(**(common | {"type": NOTE.name, "items": "word", "data": data} | changes))
        data = forger.seal(message_id, to, b'{"note":"hello"}')
        return Request(**(common | {"type": FACTS.name, "items": "age city", "data": data} | changes))

    def permit_for(self, message: Any, **changes: Any) -> Permit:
        """The broker's permit for a message of the desk to the office; its digest is filled in when it is signed."""
        event = isinstance(message, Event)
        basis = {Request: "ask muni/*/office", Notice: "tell muni/*/office", Event: "hear"}[type(message)]
        fields: dict[str, Any] = {
            "broker": BROKER,
            "requestdigest": "",
            "requester": DESK,
            "recipient": OFFICE,
            "service": message.type,
            "procedure": "hear" if event else "task",
            "items": None if event else message.items,
            "basis": basis,
            "subject": self.sim.code("muni/28100", self.person),
            "registry": 1,
            "time": format_time(self.now_us),
            "expiry": format_time(self.now_us + PERMIT_LIFE_US),
            "accepted": None if isinstance(message, Request) else format_time(self.now_us),
        }
        return Permit(**(fields | changes))

    def answer(self, kind: str, digest: str, permit_digest: str | None, by: str, **changes: Any) -> Any:
        """A reply, refusal or receipt that names a digest."""
        forger = self.forgers[by]
        message_id = forger.new_id()
        common: dict[str, Any] = {
            "specversion": "1.0",
            "id": message_id,
            "source": by,
            "type": FACTS.name,
            "time": format_time(self.now_us),
            "recipient": DESK,
            "requestdigest": digest,
            "permitdigest": permit_digest,
        }
        if kind == Kind.RECEIPT:
            return Receipt(**(common | {"type": MOVED.name} | changes))
        if kind == Kind.REFUSAL:
            common |= {"code": "schema_invalid", "data": RefusalData(True, "no")}
            return Refusal(**(common | {"datacontenttype": "application/json"} | changes))
        data = forger.seal(message_id, DESK, b'{"age":7}')
        return Reply(**(common | {"datacontenttype": "application/jose", "data": data} | changes))

    async def asked(self, gate: str) -> tuple[str, str]:
        """A question that the broker permitted (or the desk asked) and nobody answered: its digest and its permit's."""
        if gate == Gate.NODE:
            self.sim.disturbance.rules.append(drop(DESK, BROKER))
            asking = self.desk.ask(
                OFFICE, FACTS, Query("hello"), subject=self.code, procedure="task", attempts=1
            )
            self.asking.append(asyncio.create_task(asking, name="asks"))
            await self.sim.sleep(0.001)
            return self.row(DESK, "opened").requestdigest or "", "0" * 64
        self.sim.disturbance.rules.append(drop(BROKER, OFFICE))
        assert (
            self.broker.receive(self.signed(self.ask(Kind.REQUEST), DESK, Kind.REQUEST).signed(), DESK).code
            is None
        )
        await self.sim.sleep(0.001)
        permitted = self.row(BROKER, "permitted")
        return permitted.requestdigest or "", permitted.permitdigest or ""

    async def pushed(self, gate: str) -> tuple[str, str | None]:
        """The same of a push."""
        if gate == Gate.NODE:
            self.sim.disturbance.rules.append(drop(DESK, BROKER))
            self.desk.publish(MOVED, self.code)
            await self.sim.sleep(0.001)
            return self.row(DESK, "opened").requestdigest or "", None
        self.sim.disturbance.rules.append(drop(BROKER, OFFICE))
        assert (
            self.broker.receive(self.signed(self.ask(Kind.EVENT), DESK, Kind.EVENT).signed(), DESK).code
            is None
        )
        await self.sim.sleep(0.001)
        permitted = self.row(BROKER, "permitted")
        return permitted.requestdigest or "", permitted.permitdigest

    def row(self, address: str, entry: str) -> Row:
        return next(row for row in ledger(self.sim, address) if row.entry == entry)

    def bring(self, draft: Draft) -> Passage:
        return draft.at.receive(draft.lines(), draft.peer)

    def certify(self, address: str, from_us: int, until_us: int) -> None:
        """Replace somebody's certificate by one for another time; the keys stay."""
        sim, entry = self.sim, self.sim.registry.entry(address)
        assert entry is not None
        old = msgspec.json.decode(entry[0], type=Entry)
        record = key_record(sim.authority, sim.keys_of(address), from_us=from_us, until_us=until_us)
        sim.registry.put(structs.replace(old, keys=(record,)))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation() as sim:
        made = World(sim)
        yield made
        for task in made.asking:
            task.cancel()


# Faults.

Edit = Callable[[World, Draft], Any]


@dataclass
class Fault:
    """One thing that is wrong, where it is found, and as what."""

    check: Check
    code: str
    edit: Edit
    gates: tuple[str, ...]
    kinds: tuple[str, ...]
    about: str
    undone: bool
    """Whether the line is what is wrong: an honest one passes afterwards."""

    def is_of(self, gate: str, kind: str) -> bool:
        return gate in self.gates and kind in self.kinds


ALL_GATES = (Gate.BROKER, Gate.NODE, Gate.PERMITTED)
ASKS = (Kind.REQUEST, Kind.EVENT, Kind.NOTICE)
PUSHES = (Kind.EVENT, Kind.NOTICE)
FAULTS: list[Fault] = []


def fault(
    check: Check,
    code: str,
    gates: Any = ALL_GATES,
    kinds: Any = ASKS + ANSWERS,
    about: str = "question",
    undone: bool = True,
) -> Callable[[Edit], Edit]:
    """The decorated function makes one thing of an honest draft wrong."""

    def declare(edit: Edit) -> Edit:
        gate_names = (gates,) if isinstance(gates, str) else gates
        kind_names = (kinds,) if isinstance(kinds, str) else kinds
        FAULTS.append(Fault(check, code, edit, gate_names, kind_names, about, undone))
        return edit

    return declare


Change = Callable[["World", Signed], Any]


def of_both(of_head: Check, of_permit: Check, code: str, undone: bool = True) -> Callable[[Change], Change]:
    """What can be wrong with any line: with a message at each gate, and with a permit."""

    def declare(edit: Change) -> Change:
        def on_head(world: World, draft: Draft) -> None:
            edit(world, draft.head)

        def on_permit(world: World, draft: Draft) -> None:
            assert draft.permit is not None
            edit(world, draft.permit)

        on_head.__name__ = edit.__name__
        on_permit.__name__ = f"permit_{edit.__name__}"
        fault(of_head, code, undone=undone)(on_head)
        fault(of_permit, code, Gate.PERMITTED, ASKS, undone=undone)(on_permit)
        return edit

    return declare


@of_both(gates.FORM, gates.PERMIT_FORM, "message_too_large")
def too_large(world: World, one: Signed) -> None:
    one.line = lambda line: line + b"A" * (LINE_MAX_BYTES + 1 - len(line))


@of_both(gates.FORM, gates.PERMIT_FORM, "message_malformed")
def no_token(world: World, one: Signed) -> None:
    one.line = lambda line: b"no token"


@of_both(gates.FORM, gates.PERMIT_FORM, "message_malformed")
def another_kind(world: World, one: Signed) -> None:
    one.typ = Kind.CONSENT


@of_both(gates.KEY, gates.PERMIT_KEY, "algorithm_unsupported")
def old_algorithm(world: World, one: Signed) -> None:
    def renamed(line: bytes) -> bytes:
        header, rest = line.split(b".", 1)
        members = msgspec.json.decode(base64url.decode(header)) | {"alg": "EdDSA"}
        return base64url.encode(encode(members)) + b"." + rest

    one.line = renamed


@of_both(gates.KEY, gates.PERMIT_KEY, "key_unknown")
def unknown_key(world: World, one: Signed) -> None:
    one.key = SigningKey.from_seed(bytes(32))


def source_of(one: Signed) -> str:
    return str(BROKER if isinstance(one.document, Permit) else one.document.source)


@of_both(gates.KEY, gates.PERMIT_KEY, "certificate_expired", undone=False)
def expired_certificate(world: World, one: Signed) -> None:
    world.certify(source_of(one), world.now_us - DAY_US, world.now_us - 1)


@of_both(gates.KEY, gates.PERMIT_KEY, "certificate_not_yet_valid", undone=False)
def premature_certificate(world: World, one: Signed) -> None:
    world.certify(source_of(one), world.now_us + 1, world.now_us + DAY_US)


@of_both(gates.KEY, gates.PERMIT_KEY, "certificate_revoked", undone=False)
def revoked_certificate(world: World, one: Signed) -> None:
    world.sim.registry.revoke(source_of(one), world.now_us)


@of_both(gates.SIGNATURE, gates.PERMIT_SIGNATURE, "signature_invalid")
def another_signature(world: World, one: Signed) -> None:
    def flipped(line: bytes) -> bytes:
        middle = len(line) - 40
        return line[:middle] + (b"A" if line[middle : middle + 1] != b"A" else b"B") + line[middle + 1 :]

    one.line = flipped


@of_both(gates.PAYLOAD, gates.PERMIT_PAYLOAD, "schema_invalid")
def unknown_attribute(world: World, one: Signed) -> None:
    one.text = lambda text: text[:-1] + b',"colour":1}'


@of_both(gates.PAYLOAD, gates.PERMIT_PAYLOAD, "message_malformed")
def attribute_twice(world: World, one: Signed) -> None:
    one.text = lambda text: text[:-1] + b',"time":"x"}'


@fault(gates.ADDRESS, "sender_mismatch")
def signed_by_another(world: World, draft: Draft) -> None:
    draft.head.key = world.forgers[OTHER].keys.signing


@fault(gates.ADDRESS, "sender_mismatch")
def brought_by_another(world: World, draft: Draft) -> None:
    draft.peer = OTHER


@fault(gates.PERMIT_ADDRESS, "sender_mismatch", Gate.PERMITTED, ASKS)
def permitted_by_another(world: World, draft: Draft) -> None:
    permit(draft).key = world.forgers[OTHER].keys.signing


@fault(gates.PERMIT_ADDRESS, "sender_mismatch", Gate.PERMITTED, ASKS)
def permit_of_another_broker(world: World, draft: Draft) -> None:
    permit(draft).change(broker=OTHER)


def permit(draft: Draft) -> Signed:
    assert draft.permit is not None
    return draft.permit


# The broker's gate, for what asks.

SEALED = (Kind.REQUEST, Kind.NOTICE)


@fault(gates.ADDRESS, "recipient_unknown", Gate.BROKER, SEALED)
def nobody_there(world: World, draft: Draft) -> None:
    draft.head.change(recipient="muni/99999/office")


@fault(gates.ADDRESS, "recipient_unknown", Gate.BROKER, SEALED, undone=False)
def recipient_revoked(world: World, draft: Draft) -> None:
    world.sim.registry.revoke(OFFICE, world.now_us)


@fault(gates.ADDRESS, "service_unknown", Gate.BROKER, SEALED)
def recipient_does_not_offer(world: World, draft: Draft) -> None:
    draft.head.change(recipient=OTHER)


@fault(gates.ADDRESS, "service_unknown", Gate.BROKER, SEALED)
def another_kind_of_service(world: World, draft: Draft) -> None:
    draft.head.change(type=NOTE.name if draft.head.typ == Kind.REQUEST else FACTS.name)


@fault(gates.ADDRESS, "audience_mismatch", Gate.BROKER, Kind.EVENT)
def event_for_another(world: World, draft: Draft) -> None:
    draft.head.change(recipient=OFFICE)


@fault(gates.TIME, "message_expired", (Gate.BROKER, Gate.PERMITTED), Kind.REQUEST)
@fault(gates.TIME, "message_expired", Gate.BROKER, PUSHES)
def past_its_expiry(world: World, draft: Draft) -> None:
    over_us = world.now_us - AHEAD_US - 1
    draft.head.change(time=format_time(over_us - SECOND_US), expiry=format_time(over_us))


@fault(gates.TIME, "message_expired", (Gate.BROKER, Gate.PERMITTED), ASKS)
def ends_before_it_begins(world: World, draft: Draft) -> None:
    draft.head.change(time=format_time(world.now_us + 2), expiry=format_time(world.now_us + 1))


@fault(gates.TIME, "message_expired", (Gate.BROKER, Gate.PERMITTED), ASKS)
def lives_too_long(world: World, draft: Draft) -> None:
    draft.head.change(expiry=format_time(world.now_us + LIFE_US[draft.head.typ] + 1))


@fault(gates.TIME, "message_from_future", (Gate.BROKER, Gate.PERMITTED), ASKS)
def dated_ahead(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US + 1
    draft.head.change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@fault(gates.DUPLICATE, "id_conflict", (Gate.BROKER, Gate.PERMITTED), ASKS, undone=False)
async def id_of_another(world: World, draft: Draft) -> None:
    assert (
        world.bring(Draft(draft.at, draft.peer, draft.head, draft.permit and replace(draft.permit))).code
        is None
    )
    await world.sim.sleep(0.1)
    draft.head = replace(draft.head)
    draft.head.change(traceparent="another")


@fault(gates.ZONE, "zone_forbidden", Gate.BROKER, SEALED)
def another_zone(world: World, draft: Draft) -> None:
    draft.head.document = world.ask(draft.head.typ, AFAR)


@fault(gates.AUTHORISATION, "no_legal_basis", Gate.BROKER, SEALED)
def another_procedure(world: World, draft: Draft) -> None:
    draft.head.change(procedure="nothing")


@fault(gates.AUTHORISATION, "no_legal_basis", Gate.BROKER, Kind.REQUEST)
def no_procedure(world: World, draft: Draft) -> None:
    draft.head.change(procedure=None)


@fault(gates.AUTHORISATION, "no_legal_basis", Gate.BROKER, Kind.REQUEST)
def neither_procedure_nor_person(world: World, draft: Draft) -> None:
    draft.head.change(procedure=None, subject=None)


@fault(gates.AUTHORISATION, "no_legal_basis", Gate.BROKER, ASKS)
def no_row_for_its_sender(world: World, draft: Draft) -> None:
    forger = world.forgers[OFFICE]
    message_id = forger.new_id()
    subject = forger.seal(message_id, BROKER, encode(world.sim.code("muni/28100", world.person)))
    draft.head.change(id=message_id, source=OFFICE, subject=subject)
    draft.head.key, draft.peer = forger.keys.signing, OFFICE
    if draft.head.typ == Kind.REQUEST:
        draft.head.change(procedure="hear")


@fault(gates.AUTHORISATION, "item_not_permitted", Gate.BROKER, SEALED)
def another_item(world: World, draft: Draft) -> None:
    draft.head.change(items="age colour" if draft.head.typ == Kind.REQUEST else "colour word")


@fault(gates.AUTHORISATION, "consent_required", Gate.BROKER, Kind.REQUEST)
def no_consent(world: World, draft: Draft) -> None:
    draft.head.change(procedure="agreed", items="age", consent="unknown")


def about(code: Callable[[World], bytes], **lift: Any) -> Edit:
    """Another subject under its seal."""

    def edit(world: World, draft: Draft) -> None:
        message = draft.head.document
        draft.head.change(subject=world.forgers[DESK].seal(lift.get("id", message.id), BROKER, code(world)))

    return edit


fault(gates.AUTHORISATION, "linkage_code_unknown", Gate.BROKER, ASKS)(
    about(lambda world: encode("muni/01208:" + "A" * 43))
)
fault(gates.AUTHORISATION, "linkage_code_foreign", Gate.BROKER, ASKS)(
    about(lambda world: encode(world.sim.code("muni/28100", world.person)))
)
fault(gates.AUTHORISATION, "schema_invalid", Gate.BROKER, ASKS)(about(lambda world: b'{"code":1}'))
fault(gates.AUTHORISATION, "seal_invalid", Gate.BROKER, ASKS)(
    about(lambda world: encode(world.code), id="another")
)


@fault(gates.AUTHORISATION, "rate_limited", Gate.BROKER, ASKS, undone=False)
def too_often(world: World, draft: Draft) -> None:
    world.sim.disturbance.rules.append(drop(BROKER, OFFICE))
    world.broker.authoriser.rates.per_second_max = 2
    for _ in range(2):
        first = Draft(world.broker, DESK, world.signed(world.ask(draft.head.typ), DESK, draft.head.typ))
        assert world.bring(first).code is None


# A node's gate, for what comes with a permit.


def permit_with(
    code: str = "audience_mismatch", check: Check = gates.ADDRESS, kinds: Any = ASKS, **changes: Any
) -> None:
    """The permit says something else than the message."""

    def edit(world: World, draft: Draft) -> None:
        permit(draft).change(**changes)

    edit.__name__ = f"permit_{'_'.join(changes)}"
    fault(check, code, Gate.PERMITTED, kinds)(edit)


permit_with(requestdigest="0" * 64)
permit_with(requester=OTHER)
permit_with(recipient=OTHER)
permit_with(service="gate.other.v1")
permit_with(procedure="agreed", kinds=Kind.REQUEST)
permit_with(items="age", kinds=Kind.REQUEST)
permit_with(basis="invented", code="no_legal_basis", check=gates.PERMIT_LAW)
permit_with(basis="inside", code="no_legal_basis", check=gates.PERMIT_LAW)
permit_with(undisclosed=True, code="no_legal_basis", check=gates.PERMIT_LAW)
permit_with(subjectsmax=2, code="no_legal_basis", check=gates.PERMIT_LAW)
permit_with(procedure="other", code="no_legal_basis", check=gates.PERMIT_LAW, kinds=PUSHES)
permit_with(items="word zebra", code="item_not_permitted", check=gates.PERMIT_LAW, kinds=Kind.NOTICE)
permit_with(items="word", code="no_legal_basis", check=gates.PERMIT_LAW, kinds=Kind.EVENT)
permit_with(subject=None, code="no_legal_basis", check=gates.AUTHORISATION, kinds=Kind.REQUEST)
permit_with(consent="no.token.here", code="message_malformed", check=gates.AUTHORISATION, kinds=Kind.REQUEST)


@fault(gates.ADDRESS, "audience_mismatch", Gate.PERMITTED, SEALED)
def for_another(world: World, draft: Draft) -> None:
    draft.head.change(recipient=OTHER)


@fault(gates.ADDRESS, "service_unknown", Gate.PERMITTED, ASKS)
def not_offered(world: World, draft: Draft) -> None:
    draft.head.change(type="gate.other.v1")
    permit(draft).change(service="gate.other.v1")


@fault(gates.ADDRESS, "service_unknown", Gate.PERMITTED, ASKS)
def of_another_kind(world: World, draft: Draft) -> None:
    name = {Kind.REQUEST: NOTE.name, Kind.NOTICE: MOVED.name, Kind.EVENT: NOTE.name}[draft.head.typ]
    draft.head.change(type=name)
    permit(draft).change(service=name)


@fault(gates.ADDRESS, "message_malformed", Gate.PERMITTED, Kind.REQUEST)
def question_judged_by_another_time(world: World, draft: Draft) -> None:
    permit(draft).change(accepted=format_time(world.now_us))


@fault(gates.TIME, "message_from_future", Gate.PERMITTED, ASKS)
def permit_dated_ahead(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US + 1
    permit(draft).change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@fault(gates.TIME, "message_expired", Gate.PERMITTED, ASKS)
def permit_past_its_expiry(world: World, draft: Draft) -> None:
    over_us = world.now_us - AHEAD_US - 1
    permit(draft).change(time=format_time(over_us - SECOND_US), expiry=format_time(over_us))


@fault(gates.TIME, "message_expired", Gate.PERMITTED, ASKS)
def permit_lives_too_long(world: World, draft: Draft) -> None:
    permit(draft).change(expiry=format_time(world.now_us + PERMIT_LIFE_US + 1))


@fault(gates.TIME, "message_from_future", Gate.PERMITTED, PUSHES)
def accepted_ahead(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US + 1
    permit(draft).change(accepted=format_time(ahead_us))
    draft.head.change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@fault(gates.TIME, "message_expired", Gate.PERMITTED, PUSHES)
def accepted_after_its_expiry(world: World, draft: Draft) -> None:
    over_us = world.now_us - AHEAD_US - 1
    draft.head.change(time=format_time(over_us - SECOND_US), expiry=format_time(over_us))


@fault(gates.TIME, "message_from_future", Gate.PERMITTED, PUSHES)
def accepted_long_before_it_was_sent(world: World, draft: Draft) -> None:
    permit(draft).change(accepted=format_time(world.now_us - AHEAD_US - 1))


@fault(gates.AUTHORISATION, "item_not_permitted", Gate.PERMITTED, Kind.REQUEST)
def without_what_every_answer_has(world: World, draft: Draft) -> None:
    draft.head.change(items="city")
    permit(draft).change(items="city")


def sealed_for(message: Any) -> str:
    return str(DESK if isinstance(message, Reply) else message.recipient)


def under_the_seal(code: str, data: bytes, gates_and_kinds: Any, **lift: str) -> None:
    """Something else under the seal, or a seal of another message."""

    def edit(world: World, draft: Draft) -> None:
        message = draft.head.document
        plain = {"id": message.id, "source": message.source, "recipient": sealed_for(message)} | lift
        body = encode(Body(plain["id"], plain["source"], plain["recipient"], msgspec.Raw(data)))
        key = world.sim.keys_of(sealed_for(message)).sealing.public
        sealed = sealing.seal(
            body, key, ephemeral=SealingKey.from_seed(b"s" * 32), apu=message.source, apv=sealed_for(message)
        )
        draft.head.change(data=sealed)

    edit.__name__ = f"sealed_{'_'.join(lift) or code}"
    for gate, kinds in gates_and_kinds:
        fault(gates.CONTENT, code, gate, kinds)(edit)


OPENED = ((Gate.PERMITTED, SEALED), (Gate.NODE, (Kind.REPLY,)))
under_the_seal("seal_invalid", b"{}", OPENED, id="another")
under_the_seal("seal_invalid", b"{}", OPENED, source=OTHER)
under_the_seal("seal_invalid", b"{}", OPENED, recipient=OTHER)
under_the_seal("personal_number_exposed", b'{"word":"123456789018"}', OPENED)
under_the_seal("schema_invalid", b'{"colour":1}', ((Gate.PERMITTED, (Kind.REQUEST,)),))
under_the_seal("schema_invalid", b'{"word":1}', ((Gate.PERMITTED, (Kind.NOTICE,)),))
under_the_seal(
    "over_broad",
    b'{"subjects":["muni/28100:%b","muni/28100:%b"]}' % (b"x" * 43, b"y" * 43),
    ((Gate.PERMITTED, (Kind.REQUEST,)),),
)


@fault(gates.CONTENT, "seal_invalid", (Gate.PERMITTED, Gate.NODE), (Kind.REQUEST, Kind.NOTICE, Kind.REPLY))
def no_seal(world: World, draft: Draft) -> None:
    draft.head.change(data="x")


@fault(gates.ROOM, "overloaded", Gate.PERMITTED, Kind.REQUEST, undone=False)
def no_room(world: World, draft: Draft) -> None:
    for number in range(2000):
        world.office._provider._answering[OTHER, str(number)] = Answering("0" * 64)


@fault(gates.AUTHORISATION, "no_legal_basis", Gate.NODE, ASKS, undone=False)
def no_permit(world: World, draft: Draft) -> None:
    """The line is as it should be, and there is no permit beside it."""


# Answers.


def answer_with(
    expected: str,
    gates_: Any,
    kinds: Any,
    check: Check = gates.REPLY,
    about: str = "question",
    by: str = "",
    **changes: Any,
) -> None:
    """The answer says something else than is due."""

    def edit(world: World, draft: Draft) -> None:
        draft.head.change(**changes)
        if by:
            draft.head.change(source=by)
            draft.head.key = world.forgers[by].keys.signing
            draft.peer = by if draft.at is world.broker else BROKER
        if by and isinstance(draft.head.document, Reply) and draft.at is world.desk:
            message = draft.head.document
            draft.head.change(data=world.forgers[by].seal(message.id, DESK, b'{"age":7}'))

    edit.__name__ = f"{about}_{'_'.join(changes)}{'_by_' + by if by else ''}"
    fault(check, expected, gates_, kinds, about)(edit)


QUESTIONS = (Kind.REPLY, Kind.REFUSAL)
answer_with("correlation_mismatch", (Gate.BROKER, Gate.NODE), QUESTIONS, requestdigest="0" * 64)
answer_with("correlation_mismatch", (Gate.BROKER, Gate.NODE), QUESTIONS, by=OTHER)
answer_with("correlation_mismatch", Gate.BROKER, QUESTIONS, recipient=OTHER)
answer_with("correlation_mismatch", Gate.BROKER, QUESTIONS, permitdigest="0" * 64)
answer_with("audience_mismatch", Gate.NODE, QUESTIONS, gates.ADDRESS, recipient=OTHER)
answer_with("correlation_mismatch", Gate.NODE, Kind.REPLY, type="gate.other.v1")
answer_with("schema_invalid", (Gate.BROKER, Gate.NODE), Kind.REFUSAL, code="nothing_of_the_table")
answer_with("correlation_mismatch", Gate.NODE, Kind.REFUSAL, code="handler_failed")
answer_with("schema_invalid", (Gate.BROKER, Gate.NODE), Kind.REFUSAL, code="not_found")
answer_with("schema_invalid", (Gate.BROKER, Gate.NODE), Kind.REFUSAL, code="not_provided")
answer_with("schema_invalid", Gate.BROKER, Kind.REFUSAL, reason="x")
answer_with("seal_invalid", Gate.NODE, Kind.REFUSAL, gates.CONTENT, reason="x")
answer_with("audience_mismatch", (Gate.BROKER, Gate.NODE), Kind.RECEIPT, gates.ADDRESS, recipient=OTHER)
answer_with("correlation_mismatch", Gate.NODE, Kind.RECEIPT, by=OFFICE)
answer_with("correlation_mismatch", Gate.BROKER, Kind.RECEIPT, permitdigest="0" * 64)
answer_with("correlation_mismatch", Gate.BROKER, Kind.RECEIPT, permitdigest=None)
answer_with("audience_mismatch", Gate.NODE, Kind.REFUSAL, gates.ADDRESS, about="push", recipient=OTHER)
answer_with("correlation_mismatch", Gate.NODE, Kind.REFUSAL, about="push", by=OFFICE)
answer_with(
    "schema_invalid", (Gate.BROKER, Gate.NODE), Kind.REFUSAL, about="push", code="nothing_of_the_table"
)
answer_with("correlation_mismatch", Gate.BROKER, Kind.REFUSAL, about="push", by=OTHER)


# The table.

TABLE = [(gate, kind, one) for (gate, kind), row in STEPS.items() for check in row for one in FAULTS if one.check is check and one.is_of(gate, kind)]  # fmt: skip


def name_of(one: Any) -> str:
    return f"{one.code}-{one.edit.__name__}" if isinstance(one, Fault) else str(one)


def test_every_check_of_every_row_has_a_fault_that_it_finds() -> None:
    """A step that is added to a row has one, or this fails."""
    found = {(gate, kind, one.check) for gate, kind, one in TABLE}
    assert {(gate, kind, check) for (gate, kind), row in STEPS.items() for check in row} - found == set()


def test_every_fault_stands_in_the_table() -> None:
    assert {id(one) for one in FAULTS} == {id(one) for _, _, one in TABLE}


HONEST = [(*key, "question") for key in STEPS] + [
    (gate, Kind.REFUSAL, "push") for gate in (Gate.BROKER, Gate.NODE)
]


@pytest.mark.parametrize(("gate", "kind", "about"), HONEST)
async def test_each_check_finds_what_is_wrong_alone_and_an_honest_line_passes(
    gate: str, kind: str, about: str, world: World
) -> None:
    """One after the other in one mesh: had one of them an effect, the honest line at the end would not pass."""
    draft = await world.draft(gate, kind, about)
    for one in (one for g, k, one in TABLE if (g, k, one.about) == (gate, kind, about) and one.undone):
        wrong = Draft(draft.at, draft.peer, replace(draft.head), draft.permit and replace(draft.permit))
        await find(one, await world.draft(gate, kind) if kind in ASKS else wrong, gate, kind, world)
    if kind in ASKS:
        draft = await world.draft(gate, kind)
    passage = world.bring(draft)
    lacks_permit = gate == Gate.NODE and kind in ASKS
    assert passage.code == ("no_legal_basis" if lacks_permit else None)
    assert passed(passage.gate)[1] == len(STEPS[gate, kind]) - lacks_permit
    await world.sim.sleep(0.1)
    assert world.office.handled == (kind in ASKS and not lacks_permit)


LASTING = [row for row in TABLE if not row[2].undone]


@pytest.mark.parametrize(("gate", "kind", "one"), LASTING, ids=name_of)
async def test_what_is_wrong_with_the_mesh_is_found_alone(
    gate: str, kind: str, one: Fault, world: World
) -> None:
    await find(one, await world.draft(gate, kind, one.about), gate, kind, world)


async def find(one: Fault, draft: Draft, gate: str, kind: str, world: World) -> None:
    """Make one thing wrong: the gate stops where the table says, says so, and nothing else comes of it."""
    doing = one.edit(world, draft)
    if doing is not None:
        await doing
    handled, sent = world.office.handled, len(messages(world.sim))
    before = {address: ledger(world.sim, address) for address in (BROKER, DESK, OFFICE)}
    passage, name = world.bring(draft), name_of(one)
    assert passage.code == one.code, name
    assert STEPS[gate, kind][passed(passage.gate)[1]] is one.check, name
    await world.sim.sleep(0.1)
    assert world.office.handled == handled, name
    check_said(world, draft, one, messages(world.sim)[sent:])
    for address, rows in before.items():
        new = ledger(world.sim, address)[len(rows) :]
        mine = [(row.entry, row.code) for row in new if row.entry != "permitted"]
        assert mine in ([], [("refused", one.code)]), (name, address)
        assert not mine or address == draft.at.address, name


UNREADABLE = (too_large, no_token, another_kind, old_algorithm)
"""Of what nobody can read nobody knows that it is an answer."""


def check_said(world: World, draft: Draft, one: Fault, since: list[Transmission]) -> None:
    """What asks gets one signed refusal; an answer gets none, or two could refuse each other for ever."""
    digest, name = digest_of(draft.head.signed()), name_of(one)
    answers = [sent.message for sent in since if getattr(sent.message, "requestdigest", None) == digest]
    unread = one.edit.__name__ in [edit.__name__ for edit in UNREADABLE]
    stolen = one.edit is brought_by_another and draft.head.typ != Kind.REFUSAL
    if draft.head.typ in ANSWERS and not unread and not stolen:
        assert answers == [], name
        return
    [refusal] = answers
    assert isinstance(refusal, Refusal), name
    assert (refusal.source, refusal.code) == (draft.at.address, one.code), name
    assert refusal.data.definite, name
    assert refusal.recipient in (draft.peer, draft.head.document.source), name


# At the limit it still holds.

AT_THE_LIMIT: list[tuple[str, str, Edit]] = []


def holds(gate_names: Any, kinds: Any) -> Callable[[Edit], Edit]:
    """The decorated function takes an honest draft as far as it may go."""

    def declare(edit: Edit) -> Edit:
        for gate in (gate_names,) if isinstance(gate_names, str) else gate_names:
            AT_THE_LIMIT.extend(
                (gate, kind, edit) for kind in ((kinds,) if isinstance(kinds, str) else kinds)
            )
        return edit

    return declare


@holds((Gate.BROKER, Gate.PERMITTED), ASKS)
def dated_as_far_ahead_as_may_be(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US
    draft.head.change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@holds((Gate.BROKER, Gate.PERMITTED), ASKS)
def as_long_lived_as_may_be(world: World, draft: Draft) -> None:
    draft.head.change(expiry=format_time(world.now_us + LIFE_US[draft.head.typ]))


@holds((Gate.BROKER, Gate.PERMITTED), ASKS)
def in_its_last_moment(world: World, draft: Draft) -> None:
    over_us = world.now_us - AHEAD_US
    draft.head.change(time=format_time(over_us - SECOND_US), expiry=format_time(over_us))


@holds(Gate.PERMITTED, ASKS)
def under_a_permit_as_far_ahead_as_may_be(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US
    permit(draft).change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@holds(Gate.PERMITTED, ASKS)
def under_a_permit_in_its_last_moment(world: World, draft: Draft) -> None:
    over_us = world.now_us - AHEAD_US
    permit(draft).change(time=format_time(over_us - PERMIT_LIFE_US), expiry=format_time(over_us))


@holds(Gate.PERMITTED, PUSHES)
def accepted_as_far_ahead_as_may_be(world: World, draft: Draft) -> None:
    ahead_us = world.now_us + AHEAD_US
    permit(draft).change(accepted=format_time(ahead_us))
    draft.head.change(time=format_time(ahead_us), expiry=format_time(ahead_us + SECOND_US))


@holds(Gate.PERMITTED, PUSHES)
def accepted_long_ago(world: World, draft: Draft) -> None:
    """Its key, its time and its expiry are judged then."""
    now_us = world.now_us
    permit(draft).change(accepted=format_time(now_us - 10 * DAY_US))
    draft.head.change(time=format_time(now_us - 10 * DAY_US), expiry=format_time(now_us - 10 * DAY_US))
    world.certify(DESK, now_us - 20 * DAY_US, now_us - 10 * DAY_US)


@holds(Gate.PERMITTED, PUSHES)
def accepted_when_the_permit_was_given(world: World, draft: Draft) -> None:
    permit(draft).change(accepted=None)


@holds(Gate.PERMITTED, Kind.REQUEST)
def in_the_last_room(world: World, draft: Draft) -> None:
    for number in range(1999):
        world.office._provider._answering[OTHER, str(number)] = Answering("0" * 64)


@holds((Gate.BROKER, Gate.NODE), ANSWERS)
@holds((Gate.BROKER, Gate.PERMITTED), ASKS)
def in_the_last_and_first_moment_of_its_certificate(world: World, draft: Draft) -> None:
    world.certify(draft.head.document.source, world.now_us, world.now_us)


@holds(Gate.BROKER, ASKS)
def as_often_as_may_be(world: World, draft: Draft) -> None:
    world.broker.authoriser.rates.per_second_max = 2
    first = Draft(world.broker, DESK, world.signed(world.ask(draft.head.typ), DESK, draft.head.typ))
    assert world.bring(first).code is None


@pytest.mark.parametrize(
    ("gate", "kind", "edit"), AT_THE_LIMIT, ids=lambda one: getattr(one, "__name__", one)
)
async def test_what_is_within_its_limit_passes(gate: str, kind: str, edit: Edit, world: World) -> None:
    draft = await world.draft(gate, kind)
    edit(world, draft)
    passage = world.bring(draft)
    assert passage.code is None
    assert passed(passage.gate)[1] == len(STEPS[gate, kind])
