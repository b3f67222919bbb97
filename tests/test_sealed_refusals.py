"""Why a provider gives no answer is for its requester alone: the broker carries, records and learns `not_provided`.

What an official may not be told of somebody is not told by a refusal's code, by its text, by its length, or by a record.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct, UnsetType

from mesh import base64url
from mesh.builtin import HISTORY, Empty
from mesh.clock import VirtualLoop, run
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
    outer_of,
)
from mesh.exchange import digest_of
from mesh.faults import drop
from mesh.ledger import Row, read_row
from mesh.loading import scenarios_of
from mesh.message import Refusal, RefusalData, Request, encode, format_time
from mesh.names import BROKER
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.reason import Reason, read_reason, reason_content
from mesh.runner import run_scenario
from mesh.service import Caller, PersonalService, Service, serves
from mesh.simulation import STARTS, Simulation
from mesh.testing import Forger, Transmission, answers_to, ledger, messages, reason, simulation
from mesh.trace.reader import Trace
from mesh.trace.seen import see
from mesh.trace.verify import verify
from mesh.trace.writer import TraceWriter
from nodes.agency.reconciliation import compare, gather
from tests.conftest import Shipped
from tests.helpers_trace import edit, forge_ledger

DESK, TAX, OTHER = "muni/01208/desk", "muni/28100/tax", "muni/01100/tax"
PORTAL = "gov/portal/inbox"
SEALED = [name for name, code in CODES.items() if code.sealed]
RAISED = {
    "not_found": NotFound,
    "withheld": Withheld,
    "manual_review": ManualReview,
    "replica_missing": ReplicaMissing,
}


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Income(Struct, frozen=True):
    income: int | UnsetType = 0


INCOME = PersonalService("test.income.v1", Query, Income, title="Income", title_ja="所得")
PLACES = Service("test.places.v1", Query, Income, title="Places", title_ja="空き")


class Tax(Node):
    """Says no for the reason that it was told."""

    says: Callable[[], Exception] = NotFound
    handled = 0

    @serves(INCOME)
    async def income(self, query: Query, caller: Caller, person: str) -> Income:
        self.handled += 1
        raise self.says()

    @serves(PLACES)
    async def places(self, query: Query, caller: Caller) -> Income:
        raise self.says()

    def log(self, error: Exception) -> None:
        """A handler that fails on purpose need not say so."""


class Portal(Node):
    zone = "cloud"


class World:
    """A desk that asks, a tax office that does not answer, and a person."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        for cls, address in ((Node, DESK), (Tax, TAX), (Tax, OTHER), (Portal, PORTAL)):
            sim.add(cls, address)
        sim.allow(LegalBasis("muni/*/desk", "allowance", "muni/*/tax", INCOME.name, ("income",)))
        sim.allow(LegalBasis(PORTAL, "history", BROKER, HISTORY.name, HISTORY.items))
        self.person = sim.resident("12345678901")
        self.code = sim.code("muni/01208", self.person)
        self.desk, self.tax = sim.node(DESK), sim.node(TAX, Tax)
        self.forger, self.forged_tax = Forger(sim, DESK), Forger(sim, TAX)

    async def ask(self, says: Callable[[], Exception]) -> Refused:
        self.tax.says = says
        with pytest.raises(Refused) as caught:
            await self.desk.ask(TAX, INCOME, Query(), subject=self.code, procedure="allowance")
        return caught.value

    def refused(self) -> list[Transmission]:
        """What the tax office refused, as it came to the desk."""
        return [one for one in messages(self.sim, Refusal) if one.recipient == DESK]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation() as sim:
        yield World(sim)


# The table.


def test_what_says_something_of_a_person_is_sealed() -> None:
    assert sorted(SEALED) == sorted(RAISED)
    assert {CODES[name].outer for name in SEALED} == {outer_of("withheld")} == {NOT_PROVIDED}
    assert [name for name, code in CODES.items() if code.outer != name] == SEALED
    assert (outer_of(None), outer_of("timeout"), outer_of("no code")) == (None, "timeout", "no code")


def test_none_of_them_is_tried_again_with_the_same_bytes() -> None:
    assert {CODES[name].again for name in (*SEALED, NOT_PROVIDED)} == {Again.LATER}


def test_all_reasons_have_one_length_and_are_read_back() -> None:
    contents = [reason_content(CODES[name]) for name in SEALED]
    assert len({len(content) for content in contents}) == 1
    assert [read_reason(content).name for content in contents] == SEALED


# What each party learns.


@pytest.mark.parametrize("code", SEALED)
async def test_its_caller_learns_why_and_the_broker_does_not(code: str, world: World) -> None:
    said = await world.ask(RAISED[code])
    assert (said.code, said.text, said.by, said.definite) == (code, CODES[code].text, TAX, True)
    rows = {(row.entry, row.code) for row in ledger(world.sim, DESK) + ledger(world.sim, TAX)}
    assert rows == {("opened", None), ("answered", code), ("closed", code)}
    assert [(row.entry, row.code) for row in ledger(world.sim, BROKER)] == [
        ("permitted", None),
        ("closed", NOT_PROVIDED),
    ]
    (refused,) = {one.line: one for one in messages(world.sim, Refusal)}.values()
    assert (refused.refusal, reason(world.sim, refused)) == (NOT_PROVIDED, code)
    assert refused.message.data == RefusalData(True, CODES[NOT_PROVIDED].text)
    history = await world.sim.node(PORTAL).ask(
        BROKER, HISTORY, Empty(), subject=world.sim.code("gov/portal", world.person), procedure="history"
    )
    assert history.exchanges[0].outcome == NOT_PROVIDED


async def test_what_is_asked_about_nobody_is_refused_alike(world: World) -> None:
    """One rule: a code decides, whatever the service is about; a question's content is sealed as well."""
    with pytest.raises(Refused, match="not_found"):
        await world.desk.ask(TAX, PLACES, Query())
    assert [row.code for row in ledger(world.sim, BROKER)] == [None, NOT_PROVIDED]


async def test_no_reason_can_be_told_from_another_by_who_carries_it(world: World) -> None:
    for code in SEALED * 2:
        await world.ask(RAISED[code])
    varying = ("id", "time", "requestdigest", "permitdigest", "reason")
    assert len({(len(one.line), len(one.message.reason)) for one in world.refused()}) == 1
    fields = [
        {name: value for name, value in msgspec.to_builtins(one.message).items() if name not in varying}
        for one in world.refused()
    ]
    assert len(fields) == 8
    assert fields == [fields[0]] * 8
    plain = ("time_us", "id", "requestdigest", "permitdigest", "replydigest")
    closed = [row for row in ledger(world.sim, BROKER) if row.entry == "closed"]
    assert len({encode(replace_all(row, plain)) for row in closed}) == 1
    assert not named_in(bytes_of(world.sim, BROKER))


def replace_all(row: Row, names: tuple[str, ...]) -> Row:
    return msgspec.structs.replace(row, **{name: 0 if name == "time_us" else "" for name in names})


def bytes_of(sim: Simulation, address: str) -> Iterator[bytes]:
    """Every value in a node's database; of a token, what it says."""
    return values_of(sim.node(address).host.store.db)


def values_of(db: Any) -> Iterator[bytes]:
    for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for row in db.execute(f"SELECT * FROM {table}"):
            for value in tuple(row):
                yield from spelled(value)


def spelled(value: Any) -> Iterator[bytes]:
    text = value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytes) else b""
    yield text
    for part in text.replace(b"\n", b".").split(b"."):
        try:
            yield base64url.decode(part)
        except MeshError:
            continue


def named_in(texts: Iterator[bytes]) -> list[bytes]:
    """The texts in which a sealed code stands, or what it says."""
    words = [
        word
        for name in SEALED
        for word in (name.encode(), CODES[name].text.encode(), CODES[name].text_ja.encode())
    ]
    found, count = [], 0
    for text in texts:
        count += 1
        found += [text for word in words if word in text]
    assert count > 10, "there was something to look through"
    return found


@pytest.mark.parametrize(("scenario", "code"), [("child_support", "not_found"), ("private_app", "withheld"),
                                                ("disaster", "withheld"), ("access_history", "not_found")])  # fmt: skip
def test_no_list_of_the_protected_can_be_read_from_the_brokers_record(
    scenario: str, code: str, shipped: Callable[[str], Shipped]
) -> None:
    with Trace.open(shipped(scenario).trace) as trace:
        seen = [encode(row) for row in see(trace, name=BROKER, full=True)]
        rows = [bytes(one.row) for one in trace.ledger(BROKER)]
        assert not named_in(one for one in (*seen, *rows))
        assert any(NOT_PROVIDED.encode() in row for row in rows)
        everybody = b"".join(bytes(one.row) for one in trace.ledger())
        assert code.encode() in everybody, "somebody recorded why"


@pytest.mark.parametrize("scenario", ["child_support", "private_app"])
def test_no_list_of_the_protected_stands_in_the_brokers_database(scenario: str, tmp_path: Path) -> None:
    assert run_scenario(scenarios_of("scenarios")[scenario], nodes="nodes", data=tmp_path).held
    (path,) = (one for one in tmp_path.glob("*.sqlite") if "digital" in one.name and "broker" in one.name)
    db = sqlite3.connect(path)
    assert not named_in(values_of(db))
    assert any(NOT_PROVIDED.encode() in text for text in values_of(db))
    db.close()


def test_who_can_open_it_sees_why_and_the_others_that_it_is_sealed(tmp_path: Path) -> None:
    path = recorded(tmp_path / "x.trace", "withheld")
    with Trace.open(path) as trace:

        def said(name: str | None) -> dict[tuple[str | None, tuple[str, ...]], None]:
            rows = see(trace, name=name)
            return dict.fromkeys(
                (row["reason"], tuple(row["sealed"])) for row in rows if row["kind"] == "refusal"
            )

        for name in ("everything", DESK, TAX):
            assert list(said(name)) == [("withheld", ())], name
        for name in (BROKER, None):
            assert list(said(name)) == [(None, ("reason",))], name
        assert {row["code"] for row in see(trace, name=DESK) if row["kind"] == "refusal"} == {NOT_PROVIDED}


def recorded(path: Path, code: str) -> Path:
    """The trace of one question that is refused so."""
    writer = TraceWriter(path, scenario="sealed", seed=1, settings={}, starts=STARTS)
    loop = VirtualLoop()

    async def main() -> None:
        world = World(Simulation(loop=loop, trace=writer))
        await world.ask(RAISED[code])
        world.sim.close()

    run(main(), loop=loop)
    writer.close()
    return path


# What the gates refuse.


Seal = Callable[[Forger, str], str | None]


def sealed(data: bytes, to: str = DESK) -> Seal:
    return lambda forger, id_: forger.seal(id_, to, data)


GOOD = reason_content(CODES["withheld"])
WRONG: dict[str, tuple[str, str, str, Seal, str]] = {
    "as it must be": (DESK, TAX, NOT_PROVIDED, sealed(GOOD), ""),
    "as it must be, at the broker": (BROKER, TAX, NOT_PROVIDED, sealed(GOOD), ""),
    "no seal": (DESK, TAX, NOT_PROVIDED, lambda *_: "x", "seal_invalid"),
    "a seal for another": (DESK, TAX, NOT_PROVIDED, lambda one, id_: one.seal(id_, DESK, GOOD, key_of=BROKER), "seal_invalid"),
    "a seal lifted from another refusal": (DESK, TAX, NOT_PROVIDED, lambda one, _: one.seal(one.new_id(), DESK, GOOD), "seal_invalid"),
    "no JSON": (DESK, TAX, NOT_PROVIDED, sealed(b'{"code":'), "seal_invalid"),
    "a code that is never sealed": (DESK, TAX, NOT_PROVIDED, sealed(encode(Reason("overloaded", " " * 5))), "schema_invalid"),
    "the outer code itself": (DESK, TAX, NOT_PROVIDED, sealed(encode(Reason(NOT_PROVIDED, " " * 3))), "schema_invalid"),
    "no code of the table": (DESK, TAX, NOT_PROVIDED, sealed(encode(Reason("no_such_code", " " * 3))), "schema_invalid"),
    "of another length": (DESK, TAX, NOT_PROVIDED, sealed(encode(Reason("withheld", ""))), "schema_invalid"),
    "no reason": (DESK, TAX, NOT_PROVIDED, lambda *_: None, "schema_invalid"),
    "no reason, at the broker": (BROKER, TAX, NOT_PROVIDED, lambda *_: None, "schema_invalid"),
    "a reason beside an open code": (DESK, TAX, "handler_failed", sealed(GOOD), "schema_invalid"),
    "a reason beside an open code, at the broker": (BROKER, TAX, "handler_failed", sealed(GOOD), "schema_invalid"),
    "a sealed code openly": (DESK, TAX, "withheld", lambda *_: None, "schema_invalid"),
    "a sealed code openly, at the broker": (BROKER, TAX, "withheld", lambda *_: None, "schema_invalid"),
    "by the broker": (DESK, BROKER, NOT_PROVIDED, sealed(GOOD), "correlation_mismatch"),
    "by another provider": (DESK, OTHER, NOT_PROVIDED, sealed(GOOD), "correlation_mismatch"),
    "by another provider, at the broker": (BROKER, OTHER, NOT_PROVIDED, sealed(GOOD), "correlation_mismatch"),
}  # fmt: skip
"""Where it comes to, by whom, under which code, with which reason, and why its gate refuses it."""


@pytest.mark.parametrize("case", WRONG)
async def test_a_gate_takes_a_sealed_refusal_as_it_must_be_and_no_other(case: str, world: World) -> None:
    to, by, code, seal, refused = WRONG[case]
    sim = world.sim
    sim.disturbance.rules.append(drop(TAX, BROKER, times=1))
    asked = asyncio.ensure_future(
        world.desk.ask(
            TAX, INCOME, Query(), subject=world.code, procedure="allowance", timeout_s=9, attempts=1
        )
    )
    await sim.sleep(1)
    (sent,) = (one for one in messages(sim, Request) if one.permit is not None)
    forger = Forger(sim, by)
    refusal_id = forger.new_id()
    line = forger.line(
        Refusal(
            specversion="1.0", id=refusal_id, source=by, type=INCOME.name, time=format_time(sim.now_us()),
            recipient=DESK, datacontenttype="application/json", requestdigest=digest_of(sent.line),
            permitdigest=digest_of(sent.permit or b""), code=code, reason=seal(forger, refusal_id),
            data=RefusalData(True, "no"),
        )
    )  # fmt: skip
    sim.transmit(BROKER if to == DESK else by, to, line)
    await sim.sleep(1)
    (came,) = (one for one in messages(sim) if one.line == line and one.recipient == to)
    assert came.code == (refused or None)
    with pytest.raises(Refused) as caught:
        await asked
    assert caught.value.code == ("timeout" if refused else "withheld")


async def test_a_handler_cannot_say_what_stands_outside(world: World) -> None:
    assert (await world.ask(lambda: MeshError(NOT_PROVIDED))).code == "handler_failed"


async def test_a_repeat_gets_the_same_bytes(world: World) -> None:
    world.tax.says = Withheld
    line = world.forger.send(
        world.forger.request(
            TAX, INCOME.name, b"{}", subject=world.code, procedure="allowance", items="income"
        )
    )
    await world.sim.sleep(2)
    world.sim.transmit(DESK, BROKER, line)
    await world.sim.sleep(2)
    given = [one.line for one in answers_to(world.sim, line) if one.sender == TAX]
    assert len(given) == 2
    assert given[0] == given[1]
    assert world.tax.handled == 1


async def test_nothing_is_sealed_for_a_key_that_was_revoked_meanwhile(world: World) -> None:
    def revoke() -> Exception:
        world.sim.registry.revoke(DESK, world.sim.now_us())
        return Withheld()

    world.tax.says = revoke
    world.forger.send(
        world.forger.request(
            TAX, INCOME.name, b"{}", subject=world.code, procedure="allowance", items="income"
        )
    )
    await world.sim.sleep(2)
    (said,) = {one.line: one for one in messages(world.sim, Refusal) if one.message.source == TAX}.values()
    assert (said.refusal, said.message.reason) == ("certificate_revoked", None)


# What is recorded of it.


def said_of(path: Path) -> str | None:
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    return None if finding is None else finding.text


def telling(code: str | None) -> Callable[[list[Row]], list[Row]]:
    """A ledger whose party says of what was refused that something else came of it."""
    return lambda rows: [row if row.code is None else msgspec.structs.replace(row, code=code) for row in rows]


LIES = [(DESK, "not_found"), (TAX, "not_found"), (DESK, NOT_PROVIDED), (TAX, NOT_PROVIDED), (BROKER, "withheld"),
        (BROKER, "handler_failed"), (TAX, "handler_failed"), (DESK, None), (BROKER, None)]  # fmt: skip


@pytest.fixture(scope="module")
def withheld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sealed") / "x.trace", "withheld")


@pytest.mark.parametrize("openable", [True, False], ids=["with keys", "without keys"])
@pytest.mark.parametrize(("liar", "code"), LIES)
def test_verify_demands_the_pair(
    liar: str, code: str | None, openable: bool, withheld: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(withheld, tmp_path / "copy.trace"))
    if not openable:
        edit(path, "DELETE FROM sealing_key")
    assert said_of(path) is None
    forge_ledger(path, liar, telling(code))
    assert said_of(path) is not None


def test_verify_opens_the_seal_where_requester_and_provider_lie_alike(withheld: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(withheld, tmp_path / "copy.trace"))
    for liar in (DESK, TAX):
        forge_ledger(path, liar, telling("not_found"))
    assert "something else came of it" in (said_of(path) or "")
    # Where nobody can open it, the two alone know; but a reason it must be.
    edit(path, "DELETE FROM sealing_key")
    assert said_of(path) is None
    for liar in (DESK, TAX):
        forge_ledger(path, liar, telling("handler_failed"))
    assert "something else came of it" in (said_of(path) or "")


@pytest.mark.parametrize(("liar", "code"), LIES)
def test_the_commission_demands_the_pair(liar: str, code: str | None, withheld: Path) -> None:
    with Trace.open(withheld) as trace:
        honest = {party: [read_row(one.row) for one in trace.ledger(party)] for party in (DESK, BROKER, TAX)}
    for ledgers, found in ((honest, False), (honest | {liar: telling(code)(honest[liar])}, True)):
        (records,) = gather(ledgers, 2**60)
        assert bool(list(compare(records, ledgers))) is found
