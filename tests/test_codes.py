"""Every code of DESIGN.md section 4, provoked from outside: bytes in, a signed refusal out, and on the record.

A case sends something and says which line is to be refused, by whom, and where that stands. The order of the
checks is tested with messages that have two faults.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Struct, UnsetType

from mesh import base64url, jws, provider, sealing
from mesh.builtin import CONSENTS, HISTORY, ConsentsQuery, Empty
from mesh.consent import Consent, Difference, sign_consent, sign_difference
from mesh.errors import (
    CODES,
    NOT_PROVIDED,
    Again,
    ManualReview,
    MeshError,
    NotFound,
    Refused,
    ReplicaMissing,
    Withheld,
)
from mesh.exchange import digest_of
from mesh.faults import drop
from mesh.keys import NodeKeys, SigningKey
from mesh.message import Body, Kind, Refusal, Reply, Request, encode, format_time
from mesh.names import BROKER, Zone
from mesh.node import Node
from mesh.policy import LegalBasis, ZonePath
from mesh.registry import Entry, key_record
from mesh.service import Caller, Code, PersonalService, Service, Word, serves
from mesh.simulation import Simulation
from mesh.testing import (
    Forger,
    Transmission,
    answers_to,
    ledger,
    messages,
    personal_numbers,
    reason,
    simulation,
)

CITY, RIVAL, TAX, FAR = "muni/01208/desk", "muni/01100/desk", "muni/28100/tax", "firm/acme/tax"
PORTAL, HEALTH = "gov/portal/inbox", "muni/01100/health"
CANARY = "kanarienvog"
"""Eleven letters that stand in every payload and may stand in no refusal and no ledger row."""
DAY_US = 86_400_000_000


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    case: Word = ""
    note: Word = ""
    subjects: tuple[Code, ...] = ()


class Income(Struct, frozen=True):
    income: int | UnsetType = UNSET
    dependants: int | UnsetType = UNSET


class Status(Struct, frozen=True):
    alive: bool
    city: Word | UnsetType = UNSET


INCOME = PersonalService("test.income.v1", Query, Income, title="Income", title_ja="所得")
STATUS = PersonalService("test.status.v1", Query, Status, title="Status", title_ja="状況")
PLACES = Service("test.places.v1", Query, Income, title="Places", title_ja="空き")
OUTCOMES = {
    "missing": NotFound,
    "withheld": Withheld,
    "review": ManualReview,
    "replica": ReplicaMissing,
    "bug": ZeroDivisionError,
}


class Tax(Node):
    async def _answer(self, query: Query) -> Income:
        if query.case == "slow":
            await asyncio.sleep(20)
        if query.case in OUTCOMES:
            raise OUTCOMES[query.case]()
        return Income(income=500)

    @serves(INCOME)
    async def income(self, query: Query, caller: Caller, person: str) -> Income:
        return await self._answer(query)

    @serves(STATUS)
    async def status(self, query: Query, caller: Caller, person: str) -> Status:
        return Status(alive=True, city="Kobe")

    @serves(PLACES)
    async def places(self, query: Query, caller: Caller) -> Income:
        return await self._answer(query)

    def log(self, error: Exception) -> None:
        """The handler that fails on purpose need not say so."""


class FarTax(Tax):
    zone = "internet"


class Desk(Node):
    """Asks."""


class Portal(Desk):
    zone = "cloud"


class World:
    """A small mesh, an attacker with a city's keys, and a person that the tax office knows."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for address, cls in (
            (CITY, Desk),
            (RIVAL, Desk),
            (TAX, Tax),
            (FAR, FarTax),
            (PORTAL, Portal),
            (HEALTH, Desk),
        ):
            sim.add(cls, address)
        for procedure, more in (
            ("allowance", {}),
            ("consented", {"consent": True}),
            ("assessed", {"assessment": True}),
        ):
            for role in (TAX, FAR):
                sim.allow(LegalBasis("muni/*/desk", procedure, role, INCOME.name, ("income",), **more))
        sim.allow(LegalBasis(PORTAL, "consents", BROKER, CONSENTS.name))
        sim.allow(LegalBasis(PORTAL, "history", BROKER, HISTORY.name, HISTORY.items))
        sim.policy.withdraw_assessment("muni/01208", "assessed")
        self.person = sim.resident("12345678901")
        self.code = sim.code("muni/01208", self.person)
        self.forger = Forger(sim, CITY)

    def request(
        self, case: str = "", *, to: str = TAX, service: str = INCOME.name, **changes: Any
    ) -> Request:
        data = changes.pop("query", None) or json.dumps({"case": case, "note": CANARY}).encode()
        values: dict[str, Any] = {"procedure": "allowance", "items": "income", "subject": self.code}
        return self.forger.request(to, service, data, **(values | {"traceparent": CANARY} | changes))

    async def settle(self, seconds: float = 1) -> None:
        await self.sim.sleep(seconds)

    async def consent(self, *, until_us: int | None = None, withdrawn: bool = False, version: int = 1) -> str:
        """Bring a consent to the broker, as the portal does; returns its id."""
        key = self.sim.keys_of(PORTAL).signing
        now_us = self.sim.now_us()
        consent = Consent(
            id="consent-1", provider=TAX, firm="muni/01208", subject=self.code, procedure="consented",
            services=(INCOME.name,), items=("income",), from_us=now_us, until_us=until_us or now_us + DAY_US, uses=9,
        )  # fmt: skip
        given, ended = (sign_consent(consent, key),), ("consent-1",) if withdrawn else ()
        listing = Difference(version - 1, version, given, ended)
        portal = self.sim.node(PORTAL)
        await portal.ask(BROKER, CONSENTS, ConsentsQuery(sign_difference(listing, key)), procedure="consents")
        return "consent-1"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation() as sim:
        yield World(sim)


@dataclass
class Case:
    """What one code needs: `provoke` returns the line that is refused; `by` refuses it."""

    code: str
    provoke: Callable[[World], Awaitable[bytes]]
    by: str
    recorded: bool
    answered: bool

    def __repr__(self) -> str:
        return f"{self.code}-{self.provoke.__name__}"


CASES: list[Case] = []


def case(code: str, by: str = BROKER, *, recorded: bool = True, answered: bool = True) -> Any:
    """The decorated function provokes the code. `answered` is False for what is never answered: an answer."""

    def declare(provoke: Callable[[World], Awaitable[bytes]]) -> Any:
        CASES.append(Case(code, provoke, by, recorded, answered))
        return provoke

    return declare


def with_header(line: bytes, **changes: Any) -> bytes:
    """The same line with another header; its signature does not cover that."""
    header, rest = line.split(b".", 1)
    members = json.loads(base64url.decode(header)) | changes
    return base64url.encode(json.dumps(members, separators=(",", ":")).encode()) + b"." + rest


def flipped(line: bytes) -> bytes:
    """The same line with another signature that is as well-formed."""
    middle = len(line) - 40
    return line[:middle] + (b"A" if line[middle : middle + 1] != b"A" else b"B") + line[middle + 1 :]


@case("message_too_large", recorded=False)
async def too_large(world: World) -> bytes:
    return world.forger.send(world.request(traceparent=CANARY * 100_000))


@case("message_malformed", recorded=False)
async def no_token(world: World) -> bytes:
    return world.forger.send(CANARY.encode())


@case("message_malformed", recorded=False)
async def fourth_member(world: World) -> bytes:
    return world.forger.send(with_header(world.forger.line(world.request()), crit=CANARY))


@case("message_malformed", recorded=False)
async def stripped_signature(world: World) -> bytes:
    return world.forger.send(world.forger.line(world.request()).rpartition(b".")[0] + b".")


@case("message_malformed", recorded=False)
async def padded(world: World) -> bytes:
    return world.forger.send(world.forger.line(world.request()) + b"==")


@case("message_malformed", recorded=False)
async def twice_the_same_key(world: World) -> bytes:
    text = encode(world.request())
    return world.forger.send(world.forger.line(text[:-1] + b',"id":"' + CANARY.encode() + b'"}', "request"))


@case("message_malformed", recorded=False)
async def far_too_deep(world: World) -> bytes:
    deep = b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b',"x":"' + CANARY.encode() + b'"}'
    return world.forger.send(world.forger.line(deep))


@case("seal_invalid", TAX)
async def far_too_deep_under_the_seal(world: World) -> bytes:
    return world.forger.send(world.request(query=b"[" * 100_000 + b"]" * 100_000))


@case("seal_invalid", TAX)
async def no_json_under_the_seal(world: World) -> bytes:
    return world.forger.send(world.request(query=b'"\\u00'))


@case("schema_invalid", recorded=False)
async def no_id(world: World) -> bytes:
    return world.forger.send(msgspec.structs.replace(world.request(), id=""))


@case("algorithm_unsupported", recorded=False)
async def old_name(world: World) -> bytes:
    return world.forger.send(with_header(world.forger.line(world.request()), alg="EdDSA"))


@case("algorithm_unsupported", recorded=False)
async def no_algorithm(world: World) -> bytes:
    return world.forger.send(with_header(world.forger.line(world.request()), alg="none"))


@case("key_unknown", recorded=False)
async def unregistered(world: World) -> bytes:
    stranger = Forger(world.sim, CITY, NodeKeys.derived(b"another seed", CITY))
    return world.forger.send(stranger.line(world.request()))


@case("key_weak", TAX)
async def small_order_ephemeral(world: World) -> bytes:
    request = world.request()
    header, rest = request.data.split(".", 1)
    members = json.loads(base64url.decode_text(header))
    members["epk"]["x"] = base64url.encode_text(bytes(32))
    header = base64url.encode_text(json.dumps(members).encode())
    return world.forger.send(msgspec.structs.replace(request, data=f"{header}.{rest}"))


async def _with_certificate(
    world: World, from_us: int, until_us: int, revoked_us: int | None = None
) -> bytes:
    """A request of a node whose only certificate is for that time."""
    address, sim = "muni/13101/desk", world.sim
    sim.add(Desk, address)
    record = key_record(sim.authority, sim.keys_of(address), from_us=from_us, until_us=until_us)
    record = msgspec.structs.replace(record, revoked_us=revoked_us)
    sim.registry.put(Entry(address, Zone.MYNUMBER, (), (record,)))
    forger = Forger(sim, address)
    return forger.send(forger.request(TAX, INCOME.name, b"{}", procedure="allowance", items="income"))


@case("certificate_expired", recorded=False)
async def expired(world: World) -> bytes:
    return await _with_certificate(world, world.sim.start_us - 9 * DAY_US, world.sim.start_us - DAY_US)


@case("certificate_not_yet_valid", recorded=False)
async def premature(world: World) -> bytes:
    return await _with_certificate(world, world.sim.start_us + DAY_US, world.sim.start_us + 9 * DAY_US)


@case("certificate_revoked", recorded=False)
async def revoked(world: World) -> bytes:
    line = world.forger.line(world.request())
    world.sim.registry.revoke(CITY, world.sim.now_us())
    return world.forger.send(line)


@case("registry_stale", recorded=False)
async def fast_clock(world: World) -> bytes:
    world.sim.skew(BROKER, 2 * 86_400)
    return world.forger.send(world.request())


@case("signature_invalid", recorded=False)
async def other_signature(world: World) -> bytes:
    return world.forger.send(flipped(world.forger.line(world.request())))


@case("schema_invalid", recorded=False)
async def unknown_attribute(world: World) -> bytes:
    text = encode(world.request())[:-1] + b',"colour":"' + CANARY.encode() + b'"}'
    return world.forger.send(world.forger.line(text))


@case("schema_invalid")
async def no_time(world: World) -> bytes:
    return world.forger.send(world.request(time=CANARY))


@case("schema_invalid")
async def unsorted_items(world: World) -> bytes:
    return world.forger.send(world.request(items=f"{CANARY} income"))


@case("schema_invalid", TAX)
async def wrong_query(world: World) -> bytes:
    return world.forger.send(world.request(query=json.dumps({"colour": CANARY}).encode()))


@case("schema_invalid")
async def subject_is_no_text(world: World) -> bytes:
    request = world.request(subject=None)
    subject = world.forger.seal(request.id, BROKER, b'{"code":"' + CANARY.encode() + b'"}')
    return world.forger.send(msgspec.structs.replace(request, subject=subject))


@case("sender_mismatch", recorded=False)
async def forged_sender(world: World) -> bytes:
    return world.forger.send(world.request(source=RIVAL))


@case("sender_mismatch", TAX, recorded=False)
async def forged_permit(world: World) -> bytes:
    line = world.forger.line(world.request())
    world.sim.transmit(CITY, TAX, line + b"\n" + world.forger.permit(line))
    return line


@case("recipient_unknown")
async def nobody_there(world: World) -> bytes:
    request = world.request()
    return world.forger.send(msgspec.structs.replace(request, recipient="muni/99999/tax"))


@case("service_unknown")
async def not_offered(world: World) -> bytes:
    return world.forger.send(world.request(to=RIVAL))


@case("audience_mismatch", FAR)
async def carried_elsewhere(world: World) -> bytes:
    line = world.forger.send(world.request())
    await world.settle()
    permit = next(one.permit for one in messages(world.sim, Request) if one.permit)
    world.sim.transmit(CITY, FAR, line + b"\n" + permit)
    return line


@case("message_expired")
async def replayed_late(world: World) -> bytes:
    line = world.forger.line(world.request())
    await world.settle(601)
    return world.forger.send(line)


@case("message_expired")
async def lives_too_long(world: World) -> bytes:
    return world.forger.send(world.request(expiry=format_time(world.sim.now_us() + 601_000_000)))


@case("message_expired", TAX)
async def old_permit(world: World) -> bytes:
    with world.sim.offline(TAX):
        line = world.forger.send(world.request())
        await world.settle()
    permit = next(one.permit for one in messages(world.sim, Request) if one.permit)
    await world.settle(361)
    world.sim.transmit(CITY, TAX, line + b"\n" + permit)
    return line


@case("message_from_future")
async def dated_ahead(world: World) -> bytes:
    ahead_us = world.sim.now_us() + 301_000_000
    return world.forger.send(world.request(time=format_time(ahead_us), expiry=format_time(ahead_us + 1)))


@case("id_conflict")
async def same_id(world: World) -> bytes:
    first = world.request()
    world.forger.send(first)
    await world.settle()
    return world.forger.send(world.request(id=first.id))


@case("zone_forbidden")
async def other_zone(world: World) -> bytes:
    return world.forger.send(world.request(to=FAR))


@case("no_legal_basis")
async def other_procedure(world: World) -> bytes:
    return world.forger.send(world.request(procedure=CANARY))


@case("no_legal_basis", TAX)
async def without_permit(world: World) -> bytes:
    return world.forger.send(world.forger.line(world.request()), TAX)


@case("no_legal_basis", TAX)
async def about_nobody(world: World) -> bytes:
    return world.forger.send(world.request(subject=None))


@case("no_legal_basis", TAX)
async def about_nobody_under_a_broken_seal(world: World) -> bytes:
    return world.forger.send(world.request(subject=None, data="x"))


@case("assessment_missing")
async def not_assessed(world: World) -> bytes:
    return world.forger.send(world.request(procedure="assessed"))


@case("item_not_permitted")
async def another_item(world: World) -> bytes:
    return world.forger.send(world.request(items=f"income {CANARY}"))


@case("item_not_permitted", TAX)
async def an_item_that_cannot_be_left_out(world: World) -> bytes:
    world.sim.allow(LegalBasis("muni/*/desk", "allowance", TAX, STATUS.name, ("city",)))
    return world.forger.send(world.request(service=STATUS.name, items="city"))


@case("item_not_permitted", TAX)
async def no_item_at_all_under_a_broken_seal(world: World) -> bytes:
    world.sim.allow(LegalBasis("muni/*/desk", "allowance", TAX, STATUS.name, ("city",)))
    return world.forger.send(world.request(service=STATUS.name, items=None, data="x"))


@case("consent_required")
async def without_consent(world: World) -> bytes:
    return world.forger.send(world.request(procedure="consented", consent=CANARY))


@case("consent_expired")
async def past_its_term(world: World) -> bytes:
    consent = await world.consent(until_us=world.sim.now_us() + 1)
    return world.forger.send(world.request(procedure="consented", consent=consent))


@case("consent_withdrawn")
async def taken_back(world: World) -> bytes:
    consent = await world.consent(withdrawn=True)
    return world.forger.send(world.request(procedure="consented", consent=consent))


@case("linkage_code_unknown")
async def made_up_code(world: World) -> bytes:
    return world.forger.send(world.request(subject="muni/01208:" + "A" * 43))


@case("linkage_code_foreign")
async def borrowed_code(world: World) -> bytes:
    return world.forger.send(world.request(subject=world.sim.code("muni/28100", world.person)))


@case("rate_limited")
async def too_often(world: World) -> bytes:
    world.sim.node(BROKER).authoriser.rates.per_second_max = 1  # type: ignore[attr-defined]
    world.forger.send(world.request())
    return world.forger.send(world.request())


@case("seal_invalid", TAX)
async def lifted_seal(world: World) -> bytes:
    first = world.request()
    world.forger.send(first)
    await world.settle()
    return world.forger.send(world.request(data=first.data))


@case("seal_invalid")
async def lifted_subject(world: World) -> bytes:
    first = world.request()
    return world.forger.send(msgspec.structs.replace(world.request(), subject=first.subject))


def without_padding(seal: Callable[[], str]) -> str:
    """A seal of a sender that does not pad."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "padded", lambda document: document)
        return seal()


@case("seal_invalid", TAX)
async def query_without_padding(world: World) -> bytes:
    asked, forger = world.request(), world.forger
    data = without_padding(lambda: forger.seal(asked.id, TAX, b'{"note":"%b"}' % CANARY.encode()))
    return forger.send(msgspec.structs.replace(asked, data=data))


@case("seal_invalid")
async def subject_without_padding(world: World) -> bytes:
    asked, forger = world.request(), world.forger
    subject = without_padding(lambda: forger.seal(asked.id, BROKER, encode(world.code)))
    return forger.send(msgspec.structs.replace(asked, subject=subject))


@case("seal_invalid", TAX)
async def no_body(world: World) -> bytes:
    return world.forger.send(world.request(data=CANARY))


@case("seal_key_revoked", TAX)
async def sealed_for_a_revoked_key(world: World) -> bytes:
    line = world.forger.line(world.request())
    world.sim.change_keys(TAX, "sealing", revoked=True)
    return world.forger.send(line)


@case("seal_key_revoked")
async def subject_sealed_for_a_revoked_key(world: World) -> bytes:
    line = world.forger.line(world.request())
    world.sim.change_keys(BROKER, "sealing", revoked=True)
    return world.forger.send(line)


@case("over_broad", TAX)
async def two_persons(world: World) -> bytes:
    query = json.dumps({"note": CANARY, "subjects": [world.code, world.code]}).encode()
    return world.forger.send(world.request(query=query))


@case("personal_number_exposed", TAX)
async def number_in_query(world: World) -> bytes:
    return world.forger.send(world.request(query=f'{{"note":"1234-5678-9018","case":"{CANARY}"}}'.encode()))


@case("not_found", TAX)
async def missing(world: World) -> bytes:
    return world.forger.send(world.request("missing"))


@case("not_provided", TAX)
async def why_is_for_the_requester_alone(world: World) -> bytes:
    return world.forger.send(world.request("withheld"))


@case("withheld", TAX)
async def withheld(world: World) -> bytes:
    return world.forger.send(world.request("withheld"))


@case("manual_review", TAX)
async def review(world: World) -> bytes:
    return world.forger.send(world.request("review"))


@case("replica_missing", TAX)
async def replica(world: World) -> bytes:
    return world.forger.send(world.request("replica"))


@case("handler_failed", TAX)
async def bug(world: World) -> bytes:
    return world.forger.send(world.request("bug"))


@case("recipient_unreachable")
async def down(world: World) -> bytes:
    with world.sim.offline(TAX):
        line = world.forger.send(world.request())
        await world.settle()
    return line


@case("overloaded", TAX)
async def no_room(world: World) -> bytes:
    for _ in range(provider.HANDLING_MAX):
        world.forger.send(world.request("slow"))
    return world.forger.send(world.request("slow"))


@case("storage_unavailable", TAX)
async def full_disk(world: World) -> bytes:
    world.sim.node(TAX).host.store.db.execute("PRAGMA query_only = 1")
    return world.forger.send(world.request())


@case("correlation_mismatch", recorded=False, answered=False)
async def unasked(world: World) -> bytes:
    tax = Forger(world.sim, TAX)
    reply = Reply(
        specversion="1.0", id=tax.new_id(), source=TAX, type=INCOME.name, time=format_time(world.sim.now_us()),
        recipient=CITY, datacontenttype="application/jose", requestdigest=digest_of(b"1"), permitdigest=digest_of(b"2"),
        data=tax.seal("x", CITY, b'{"note":"' + CANARY.encode() + b'"}'),
    )  # fmt: skip
    return tax.send(reply)


@case("ledger_broken")
async def altered_row(world: World) -> bytes:
    world.forger.send(world.request())
    await world.settle()
    # Somebody with access to the broker's disk cuts a row short.
    broker = world.sim.node(BROKER)
    broker.host.store.db.execute("UPDATE mesh_ledger SET row = substr(row, 1, length(row) - 1)")
    portal = Forger(world.sim, PORTAL)
    subject = world.sim.code("gov/portal", world.person)
    return portal.send(
        portal.request(
            BROKER, HISTORY.name, encode(Empty()), subject=subject, procedure="history", items="exchanges"
        )
    )


def refusals_of(world: World, line: bytes, by: str) -> list[Transmission]:
    return [
        one
        for one in answers_to(world.sim, line)
        if isinstance(one.message, Refusal) and one.sender == by and one.message.source == by
    ]


@pytest.mark.parametrize("one", CASES, ids=repr)
async def test_each_code_is_refused_from_outside(one: Case, world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(provider, "HANDLING_MAX", 3)
    line = await one.provoke(world)
    await world.settle(2)
    declared = CODES[one.code]
    said = refusals_of(world, line, one.by)
    if one.answered:
        refusal = said[-1].message
        assert refusal.code == declared.outer
        if refusal.code == NOT_PROVIDED:
            assert reason(world.sim, said[-1]) == (one.code if declared.sealed else "withheld")
        else:
            assert refusal.data.definite == declared.definite
        error = Refused(one.code)
        assert (error.fault, error.step) == (declared.fault, declared.step)
        key = world.sim.keys_of(one.by).signing.public
        assert jws.verify(said[-1].line, key, typ=Kind.REFUSAL) == encode(refusal)
    else:
        assert not said
    rows = [row for row in ledger(world.sim) if row.requestdigest == digest_of(line) and row.code == one.code]
    gates = [sent.code for sent in messages(world.sim) if sent.line == line and sent.recipient == one.by]
    if one.recorded:
        assert {row.entry for row in rows} & {"refused", "answered", "closed"}
    else:
        assert rows == []
        assert gates[-1] == one.code
    assert_no_canary(world)


def assert_no_canary(world: World) -> None:
    for sent in messages(world.sim, Refusal):
        assert CANARY not in encode(sent.message).decode()
    for row in ledger(world.sim):
        # A requester's own ledger and an honest record name what was asked for: procedure and items are
        # attributes, not payload.
        plain = msgspec.structs.replace(row, procedure=None, items=None)
        assert CANARY not in encode(plain).decode()


async def test_time_out_is_local_and_unsigned(world: World) -> None:
    world.sim.disturbance.rules.append(drop(CITY, BROKER))
    city = world.sim.node(CITY)
    with pytest.raises(Refused) as caught:
        await city.ask(
            TAX, INCOME, Query(note=CANARY), subject=world.code, procedure="allowance", items=["income"]
        )
    assert (caught.value.code, caught.value.by) == ("timeout", None)
    assert not caught.value.definite
    assert messages(world.sim, Refusal) == []
    assert [row.entry for row in ledger(world.sim, CITY)] == ["opened"]
    assert_no_canary(world)


async def test_a_full_disk_at_the_requester_is_refused_before_anything_leaves(world: World) -> None:
    city = world.sim.node(CITY)
    city.host.store.db.execute("PRAGMA query_only = 1")
    with pytest.raises(Refused, match="storage_unavailable"):
        await city.ask(TAX, INCOME, Query(), subject=world.code, procedure="allowance", items=["income"])
    assert messages(world.sim) == []
    assert ledger(world.sim) == []


async def test_small_order_keys_are_not_registered(world: World) -> None:
    sim = world.sim
    record = key_record(sim.authority, sim.keys_of(CITY), from_us=0, until_us=DAY_US)
    for changes in ({"sign": bytes(32)}, {"seal": bytes(32)}, {"tls": bytes(32)}):
        with pytest.raises(MeshError, match="key_weak"):
            sim.registry.put(
                Entry("muni/13101/desk", Zone.MYNUMBER, (), (msgspec.structs.replace(record, **changes),))
            )


async def test_an_answer_of_another_party_is_refused_by_the_broker(world: World) -> None:
    request = world.request("slow")
    line = world.forger.send(request)
    await world.settle()
    rival = Forger(world.sim, RIVAL)
    refusal = Refusal(
        specversion="1.0", id=rival.new_id(), source=RIVAL, type=INCOME.name, time=request.time, recipient=CITY,
        datacontenttype="application/json", requestdigest=digest_of(line), code="not_found",
        data={"definite": True, "text": ""},  # type: ignore[arg-type]
    )  # fmt: skip
    forged = rival.send(refusal)
    await world.settle()
    assert [one.code for one in messages(world.sim) if one.line == forged] == ["correlation_mismatch"]


@pytest.mark.parametrize("to", [BROKER, TAX])
@pytest.mark.parametrize("query", [b"{}", b"[]"])
async def test_an_answer_to_the_broker_does_not_go_round_for_ever(
    to: str, query: bytes, world: World
) -> None:
    world.sim.allow_path(ZonePath(Zone.CLOUD, Zone.MYNUMBER))
    broker = Forger(world.sim, BROKER)
    line = broker.send(broker.request(to, PLACES.name if to == TAX else "mesh.subscription.v1", query))
    await world.settle()
    assert [one.refusal for one in answers_to(world.sim, line)] == ["no_legal_basis"]


def test_the_cases_cover_every_code() -> None:
    assert {one.code for one in CASES} | {"timeout"} == set(CODES)


# Order of the checks. A fault is an edit of a request, or of its line.

Edit = Callable[[World, dict[str, Any]], None]


def _expired(world: World, plan: dict[str, Any]) -> None:
    # Dated after its end; with `message_from_future` the date is ahead besides.
    plan["time"] = plan.get("time", format_time(world.sim.now_us()))
    plan["expiry"] = format_time(world.sim.now_us() - 1)


def _ahead(world: World, plan: dict[str, Any]) -> None:
    plan["time"] = format_time(world.sim.now_us() + 301_000_000)
    plan["expiry"] = plan.get("expiry", format_time(world.sim.now_us() + 302_000_000))


FAULTS: dict[str, Edit] = {
    "message_too_large": lambda w, p: p.update(traceparent="x" * 2**20),
    "message_malformed": lambda w, p: p["header"].update(crit="x"),
    "algorithm_unsupported": lambda w, p: p["header"].update(alg="EdDSA"),
    "key_unknown": lambda w, p: p.update(signer=SigningKey.from_seed(bytes(32))),
    "certificate_revoked": lambda w, p: w.sim.registry.revoke(CITY, w.sim.now_us()),
    "registry_stale": lambda w, p: w.sim.skew(BROKER, 2 * 86_400),
    "signature_invalid": lambda w, p: p.update(flip=True),
    "schema_invalid": lambda w, p: p.update(more=b',"colour":1}'),
    "sender_mismatch": lambda w, p: p.update(source=RIVAL),
    "recipient_unknown": lambda w, p: p.update(recipient="muni/99999/tax"),
    "service_unknown": lambda w, p: p.update(type="test.nothing.v1"),
    "message_expired": _expired,
    "message_from_future": _ahead,
    "id_conflict": lambda w, p: p.update(id="used"),
    "zone_forbidden": lambda w, p: p.update(to=FAR),
    "no_legal_basis": lambda w, p: p.update(procedure="nothing"),
    "assessment_missing": lambda w, p: p.update(procedure="assessed"),
    "item_not_permitted": lambda w, p: p.update(items="dependants"),
    "consent_required": lambda w, p: p.update(procedure="consented"),
    "linkage_code_unknown": lambda w, p: p.update(subject="muni/01208:" + "A" * 43),
    "linkage_code_foreign": lambda w, p: p.update(subject=w.sim.code("muni/28100", w.person)),
    "rate_limited": lambda w, p: setattr(w.sim.node(BROKER).authoriser.rates, "per_second_max", 0),  # type: ignore[attr-defined]
    "seal_invalid": lambda w, p: p.update(data="x"),
    "over_broad": lambda w, p: p["json"].update(subjects=[w.code, w.code]),
    "personal_number_exposed": lambda w, p: p["json"].update(note="123456789018"),
    "not_found": lambda w, p: p["json"].update(case="missing"),
}  # fmt: skip
NEVER_TOGETHER = {
    ("no_legal_basis", "assessment_missing"): "without a row there is no assessment to ask for",
    ("linkage_code_unknown", "linkage_code_foreign"): "a code is one or the other",
    ("seal_invalid", "over_broad"): "a seal that does not open holds no question",
    (
        "over_broad",
        "personal_number_exposed",
    ): "the design lists both under one step; the number is looked for first",
}


def _pairs() -> Iterator[tuple[str, str]]:
    """Every fault with the next one that can stand beside it."""
    names = list(FAULTS)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if (first, second) not in NEVER_TOGETHER:
                yield first, second
                break


def test_each_pair_that_is_left_out_would_be_tried() -> None:
    """Both are faults of the table, and what stands between them, if anything, is left out beside the first too."""
    names = list(FAULTS)
    for first, second in NEVER_TOGETHER:
        between = names[names.index(first) + 1 : names.index(second)]
        assert all((first, one) in NEVER_TOGETHER for one in between), (first, second)


# Some neighbours in the table exclude each other; these bridge the gap.
MORE_PAIRS = [
    ("no_legal_basis", "linkage_code_unknown"),
    ("no_legal_basis", "linkage_code_foreign"),
    ("item_not_permitted", "linkage_code_unknown"),
    ("item_not_permitted", "linkage_code_foreign"),
    ("assessment_missing", "linkage_code_unknown"),
    ("consent_required", "linkage_code_foreign"),
    ("linkage_code_unknown", "rate_limited"),
    ("message_malformed", "signature_invalid"),
    ("certificate_revoked", "signature_invalid"),
    ("signature_invalid", "sender_mismatch"),
    ("zone_forbidden", "linkage_code_unknown"),
    ("rate_limited", "not_found"),
    ("seal_invalid", "not_found"),
]


def craft(world: World, faults: tuple[str, ...]) -> bytes:
    plan: dict[str, Any] = {"header": {}, "json": {"note": CANARY}}
    for name in faults:
        FAULTS[name](world, plan)
    header, query = plan.pop("header"), plan.pop("json")
    signer, flip, more = plan.pop("signer", None), plan.pop("flip", False), plan.pop("more", b"}")
    plan.setdefault("query", encode(query))
    text = encode(world.request(**plan))[:-1] + more
    key = signer or world.forger.keys.signing
    line = jws.sign(text, key, typ=Kind.REQUEST)
    if header:
        line = with_header(line, **header)
    return flipped(line) if flip else line


@pytest.mark.parametrize("faults", [*_pairs(), *MORE_PAIRS], ids="-".join)
async def test_the_earlier_of_two_faults_is_what_is_refused(faults: tuple[str, str], world: World) -> None:
    if "id_conflict" in faults:
        world.forger.send(world.request(id="used"))
        await world.settle()
    line = world.forger.send(craft(world, faults))
    await world.settle()
    assert [one.refusal for one in answers_to(world.sim, line) if one.recipient == CITY] == [faults[0]]


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_of_the_order_is_a_fault(fault: str, world: World) -> None:
    """Else a pair would prove nothing."""
    if fault == "id_conflict":
        world.forger.send(world.request(id="used"))
        await world.settle()
    line = world.forger.send(craft(world, (fault,)))
    await world.settle()
    said = [one for one in answers_to(world.sim, line) if one.recipient == CITY]
    assert [reason(world.sim, one) or one.refusal for one in said] == [fault]


# Nobody learns from a refusal whether somebody exists.

LOOKUPS = {
    "requester": {"procedure": "nothing"},
    "procedure": {"procedure": "history"},
    "items": {"items": "dependants"},
}


@pytest.mark.parametrize("what", LOOKUPS)
async def test_requester_procedure_and_items_are_refused_before_the_person_is_looked_up(
    what: str, world: World
) -> None:
    looked_up: list[str] = []
    codes = world.sim.node(BROKER).authoriser.codes  # type: ignore[attr-defined]
    person = codes.person
    codes.person = lambda code, member: looked_up.append(code) or person(code, member)
    sender = Forger(world.sim, HEALTH) if what == "requester" else world.forger
    plan = {"procedure": "allowance", "items": "income"} | (LOOKUPS[what] if what != "requester" else {})
    subject = world.code if what != "requester" else world.sim.code("muni/01100", world.person)
    line = sender.send(sender.request(TAX, INCOME.name, subject=subject, **plan))
    await world.settle()
    assert [one.refusal for one in answers_to(world.sim, line)] in (
        ["no_legal_basis"],
        ["item_not_permitted"],
    )
    assert looked_up == []
    world.forger.send(world.request())
    await world.settle()
    assert looked_up == [world.code]


@pytest.mark.parametrize(
    "changes",
    [{"procedure": "nothing"}, {"items": "dependants"}, {"procedure": "consented"}, {"case": "missing"}],
    ids=str,
)
async def test_a_refusal_is_the_same_for_who_exists_and_who_does_not(
    changes: dict[str, str], world: World
) -> None:
    nobody = world.sim.resident("99999999999")
    subjects = [world.code, world.sim.code("muni/01208", nobody)]
    if changes.keys() != {"case"}:
        # Before the look-up not even a made-up code, or another member's, can be told apart.
        subjects += ["muni/01208:" + "A" * 43, world.sim.code("muni/01100", world.person)]
    said = []
    for subject in subjects:
        line = world.forger.send(
            world.request(changes.get("case", ""), subject=subject, **_without_case(changes))
        )
        await world.settle()
        [refused] = [one for one in answers_to(world.sim, line) if one.recipient == CITY]
        fields = msgspec.to_builtins(refused.message)
        assert fields.pop("permitdigest", None) is None or changes.keys() == {"case"}
        varying = ("id", "time", "requestdigest", *(("reason",) if refused.refusal == NOT_PROVIDED else ()))
        said.append((len(refused.line), {k: v for k, v in fields.items() if k not in varying}))
    assert said == [said[0]] * len(subjects)


def _without_case(changes: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in changes.items() if key != "case"}


def test_bodies_are_what_the_forger_seals() -> None:
    """The canary would prove nothing if it never stood in a payload."""
    assert CANARY in encode(Body("1", CITY, TAX, msgspec.Raw(encode(Query(note=CANARY))))).decode()


class Register(Node):
    def personal_numbers(self) -> list[str]:
        return ["123456789018"]


async def test_personal_numbers_are_gathered_from_who_may_hold_them(world: World) -> None:
    world.sim.add(Register, "muni/28100/resident")
    assert personal_numbers(world.sim) == []
    world.sim.node("muni/28100/resident")
    world.sim.node(TAX)
    assert personal_numbers(world.sim) == ["123456789018"]


@pytest.mark.real_loop
async def test_a_simulation_wants_the_virtual_loop() -> None:
    with pytest.raises(RuntimeError, match="loop_factory"), simulation():
        pass


NOBODY_BUSY_OR_BEHIND = {
    "recipient_unreachable": "nobody was there",
    "timeout": "nobody was there",
    "rate_limited": "somebody was busy",
    "overloaded": "somebody was busy",
    "storage_unavailable": "somebody had no room",
    "registry_stale": "a registry was behind",
    "key_unknown": "a registry was behind",
    "recipient_unknown": "a registry was behind",
    "certificate_expired": "a clock or a registry was behind or ahead",
    "certificate_not_yet_valid": "a clock was behind",
    "message_from_future": "a clock was behind",
    "message_expired": "a clock was ahead",
}


def test_what_says_that_nobody_was_there_or_something_was_behind_never_ends_a_delivery() -> None:
    assert {CODES[code].again for code in NOBODY_BUSY_OR_BEHIND} == {Again.SAME_BYTES, Again.LATER}


def test_whether_to_try_again_is_independent_of_whether_an_attempt_failed_for_certain() -> None:
    both = {(code.again, code.definite) for code in CODES.values()}
    assert both == {(again, definite) for again in Again for definite in (True, False)}


def test_every_code_says_in_both_languages_what_is_wrong_and_who_can_mend_it() -> None:
    for code in CODES.values():
        assert code.text.isascii() or "番号法" in code.text, code.name
        assert code.fix.endswith("."), code.name
        for japanese in (code.text_ja, code.fix_ja):
            assert not japanese.isascii(), code.name
        assert code.fix_ja.endswith("。"), code.name
        assert "。" not in code.text_ja, code.name
