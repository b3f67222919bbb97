"""Withdrawn means withdrawn: what a portal says of a consent, what its brokers go by, and what the provider counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import Struct, json, structs

from mesh import (
    Caller,
    LegalBasis,
    ManualReview,
    MeshError,
    Node,
    NotFound,
    PersonalService,
    Refused,
    Simulation,
    Withheld,
    jws,
    serves,
)
from mesh.builtin import CONSENTS, ConsentsQuery, ConsentsReply
from mesh.clock import Deadlock
from mesh.clock import run as run_clock
from mesh.consent import Consent, Difference, sign_consent, sign_difference
from mesh.errors import ReplicaMissing
from mesh.faults import drop
from mesh.jws import LINE_SIZE_MAX
from mesh.keys import NodeKeys, SigningKey
from mesh.message import Reply, Request
from mesh.names import BROKER, Zone
from mesh.registry import Entry
from mesh.service import Word
from mesh.testing import Forger, ledger, messages, simulation
from nodes.portal.consent_file import ConsentState
from nodes.portal.inbox import PORTAL, Portal
from tests.sweeps.withdrawals import play, play_many, points
from tests.test_exchange_under_failure import tear

FIRM, OFFICE, OTHER = "firm/kitami-bank/app", "gov/records/office", "gov/records/annex"
RIVAL = "gov/rival/inbox"
PERSON = "12345678901"
CONSENTS_PROCEDURE = "portal-consents"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    ends: Word = ""


class Facts(Struct, frozen=True):
    age: int


FACTS = PersonalService("test.facts.v1", Query, Facts, title="Facts", title_ja="事実")


class Office(Node):
    """Says what is asked for, in one way or another."""

    zone = Zone.CLOUD
    delay_s = 0.0

    @serves(FACTS)
    async def facts(self, query: Query, caller: Caller, person: str) -> Facts:
        await asyncio.sleep(self.delay_s)
        ends: dict[str, type[MeshError]] = {
            "not found": NotFound,
            "withheld": Withheld,
            "by hand": ManualReview,
            "no copy": ReplicaMissing,
        }
        if query.ends in ends:
            raise ends[query.ends]
        return Facts(40)


class App(Node):
    zone = Zone.CLOUD


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as sim:
        furnish(sim)
        yield sim


def furnish(sim: Simulation) -> None:
    sim.add(Portal, PORTAL)
    sim.add(Portal, RIVAL)
    sim.add(App, FIRM)
    for office in (OFFICE, OTHER):
        sim.add(Office, office)
    sim.allow(LegalBasis(PORTAL, CONSENTS_PROCEDURE, BROKER, CONSENTS.name))
    sim.allow(LegalBasis(RIVAL, CONSENTS_PROCEDURE, BROKER, CONSENTS.name))
    sim.allow(LegalBasis("firm/*/app", "loan", "gov/records/*", FACTS.name, ("age",), consent=True))


def portal(sim: Simulation) -> Portal:
    return sim.node(PORTAL, Portal)


def me(sim: Simulation) -> str:
    return sim.code("gov/portal", sim.resident(PERSON))


def terms(sim: Simulation, **changes: Any) -> dict[str, Any]:
    return {
        "provider": OFFICE,
        "firm": "firm/kitami-bank",
        "firm_code": sim.code("firm/kitami-bank", sim.resident(PERSON)),
        "procedure": "loan",
        "services": (FACTS.name,),
        "items": ("age",),
        "days": 30,
        "uses": 9,
    } | changes


async def grant(sim: Simulation, **changes: Any) -> str:
    return await portal(sim).grant(me(sim), **terms(sim, **changes))


async def ask(sim: Simulation, consent: str, ends: str = "", to: str = OFFICE, **how: Any) -> Facts:
    code = sim.code("firm/kitami-bank", sim.resident(PERSON))
    return await sim.node(FIRM).ask(
        to, FACTS, Query(ends), subject=code, procedure="loan", consent=consent, **how
    )


def states(sim: Simulation) -> list[ConsentState]:
    return [one.state for one in portal(sim).consents(me(sim))]


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


def differences(sim: Simulation) -> list[Difference]:
    """What the portal sent, opened."""
    found = []
    for one in messages(sim, Request):
        if one.message.type == CONSENTS.name and one.recipient == BROKER and one.sender == PORTAL:
            body = sim.node(BROKER).party.unseal(one.message.data, one.message, sim.now_us())
            token = json.decode(body, type=ConsentsQuery).listing
            assert len(one.line) <= LINE_SIZE_MAX
            found.append(json.decode(_payload(token), type=Difference))
    return found


def _payload(token: str) -> bytes:
    return jws.parse(token).payload


def consent_of(sim: Simulation, name: str = "c-1", **changes: Any) -> Consent:
    now_us = sim.now_us()
    code = sim.code("firm/kitami-bank", sim.resident(PERSON))
    consent = Consent(
        name, OFFICE, "firm/kitami-bank", code, "loan", (FACTS.name,), ("age",), now_us, now_us + 10**12, 9
    )
    return structs.replace(consent, **changes)


async def bring(sim: Simulation, token: str, source: str = PORTAL) -> ConsentsReply:
    return await sim.node(source).ask(
        BROKER, CONSENTS, ConsentsQuery(token), procedure=CONSENTS_PROCEDURE, attempts=1
    )


# Pending, until each broker concerned has confirmed.


async def test_a_withdrawal_is_pending_until_the_broker_confirms_it(sim: Simulation) -> None:
    consent = await grant(sim)
    await ask(sim, consent)
    with sim.offline(BROKER):
        assert await portal(sim).withdraw(me(sim), consent) is ConsentState.PENDING
        assert states(sim) == [ConsentState.PENDING]
        await sim.sleep(100)
        assert states(sim) == [ConsentState.PENDING]
    await sim.sleep(60)
    assert states(sim) == [ConsentState.WITHDRAWN]
    with refuses("consent_withdrawn"):
        await ask(sim, consent)


async def test_a_portal_that_comes_up_again_goes_on_with_what_is_pending(sim: Simulation) -> None:
    consent = await grant(sim)
    with sim.offline(BROKER):
        await portal(sim).withdraw(me(sim), consent)
        sim.crash(PORTAL)
    sim.restart(PORTAL)
    await sim.sleep(1)
    assert states(sim) == [ConsentState.WITHDRAWN]


async def test_a_consent_that_no_broker_confirmed_is_not_called_in_force(sim: Simulation) -> None:
    with sim.offline(BROKER):
        consent = await grant(sim)
        assert states(sim) == [ConsentState.GIVEN]
    await sim.sleep(60)
    assert states(sim) == [ConsentState.IN_FORCE]
    await ask(sim, consent)


async def test_a_consent_is_over_after_its_term(sim: Simulation) -> None:
    consent = await grant(sim, days=1)
    await sim.sleep(86_400)
    assert states(sim) == [ConsentState.OVER]
    with refuses("consent_expired"):
        await ask(sim, consent)


async def test_a_broker_says_for_a_month_why_a_consent_holds_no_more_and_then_forgets_it(
    sim: Simulation,
) -> None:
    consent, withdrawn = await grant(sim, days=1), await grant(sim, days=1)
    await portal(sim).withdraw(me(sim), withdrawn)
    for days, codes in ((29, ("consent_expired", "consent_expired")), (31, ("consent_required",) * 2)):
        await sim.sleep(days * 86_400)
        await grant(sim, days=1)
        for one, code in zip((consent, withdrawn), codes, strict=True):
            with refuses(code):
                await ask(sim, one)


async def test_withdrawing_once_more_changes_nothing(sim: Simulation) -> None:
    consent = await grant(sim)
    assert await portal(sim).withdraw(me(sim), consent) is ConsentState.WITHDRAWN
    sent = len(differences(sim))
    assert await portal(sim).withdraw(me(sim), consent) is ConsentState.WITHDRAWN
    assert len(differences(sim)) == sent


def test_who_waits_for_what_cannot_come_hears_of_it_although_a_withdrawal_is_pending() -> None:
    async def wait_for_ever() -> None:
        with simulation() as sim:
            furnish(sim)
            consent = await grant(sim)
            with sim.offline(BROKER):
                assert await portal(sim).withdraw(me(sim), consent) is ConsentState.PENDING
                await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run_clock(wait_for_ever())


class Ledgerless(Node):
    """A broker of another network, as far as consents go: it confirms what it is told, once it is to."""

    zone = Zone.CLOUD
    confirms = False
    version = 0

    @serves(CONSENTS)
    async def take(self, query: ConsentsQuery, caller: Caller) -> ConsentsReply:
        if not self.confirms:
            raise NotFound
        self.version = json.decode(_payload(query.listing), type=Difference).version
        return ConsentsReply(self.version)


SECOND = "gov/second/broker"


class TwoBrokers(Portal):
    brokers = (BROKER, SECOND)


async def test_every_broker_concerned_has_to_confirm() -> None:
    with simulation() as sim:
        sim.add(TwoBrokers, PORTAL)
        sim.add(Ledgerless, SECOND)
        sim.add(App, FIRM)
        sim.add(Office, OFFICE)
        for broker in (BROKER, SECOND):
            sim.allow(LegalBasis(PORTAL, CONSENTS_PROCEDURE, broker, CONSENTS.name))
        second = sim.node(SECOND, Ledgerless)
        second.confirms = True
        consent = await grant(sim)
        assert states(sim) == [ConsentState.IN_FORCE]
        second.confirms = False
        assert await portal(sim).withdraw(me(sim), consent) is ConsentState.PENDING
        second.confirms = True
        await sim.sleep(60)
        assert states(sim) == [ConsentState.WITHDRAWN]


async def test_a_broker_that_never_goes_by_what_it_was_told_is_asked_again_with_pauses() -> None:
    class Stuck(Ledgerless):
        @serves(CONSENTS)
        async def take(self, query: ConsentsQuery, caller: Caller) -> ConsentsReply:
            return ConsentsReply(0)

    with simulation() as sim:
        sim.add(TwoBrokers, PORTAL)
        sim.add(Stuck, SECOND)
        sim.allow(LegalBasis(PORTAL, CONSENTS_PROCEDURE, BROKER, CONSENTS.name))
        sim.allow(LegalBasis(PORTAL, CONSENTS_PROCEDURE, SECOND, CONSENTS.name))
        await grant(sim)
        await sim.sleep(60)
        assert states(sim) == [ConsentState.GIVEN]
        told = [row for row in ledger(sim, SECOND) if row.entry == "answered"]
        assert 3 < len(told) < 30


async def test_a_broker_that_takes_nothing_is_asked_again_with_pauses(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.consent_list.ConsentList.take", lambda *_: None)
    monkeypatch.setattr("mesh.consent_list.ConsentList.version", lambda *_: 7)
    await grant(sim)
    await sim.sleep(60)
    assert states(sim) == [ConsentState.GIVEN]
    assert 3 < len(differences(sim)) < 30


# What goes wrong around it.


def test_who_dies_whose_disk_is_full_and_what_is_lost_around_a_withdrawal() -> None:
    """A sample of `tests/sweeps/withdrawals.py`."""
    outcomes = [play(point) for point in points()[::19]]
    assert len(outcomes) >= 10
    assert len({one.point.how for one in outcomes}) == 4
    assert len({one.point.party for one in outcomes}) == 5
    assert [(str(one.point), one.faults) for one in outcomes if one.faults] == []


@pytest.mark.parametrize("party", [PORTAL, BROKER])
@pytest.mark.parametrize("skip", range(5))
async def test_a_disk_that_is_full_for_one_commit(sim: Simulation, party: str, skip: int) -> None:
    consent = await grant(sim)
    tear(sim.node(party), skip=skip)
    if (party, skip) == (PORTAL, 0):
        with refuses("storage_unavailable"):
            await portal(sim).withdraw(me(sim), consent)
        assert states(sim) == [ConsentState.IN_FORCE]
    await portal(sim).withdraw(me(sim), consent)
    await sim.sleep(60)
    assert states(sim) == [ConsentState.WITHDRAWN]
    with refuses("consent_withdrawn"):
        await ask(sim, consent)


@pytest.mark.parametrize("number", range(6))
async def test_one_lost_line(sim: Simulation, number: int) -> None:
    consent = await grant(sim)
    left = [number]

    def lose(sender: str, recipient: str, line: bytes, now_us: int) -> Any:
        left[0] -= 1
        return ((None, line),) if left[0] == -1 else None

    sim.disturbance.rules.append(lose)
    await portal(sim).withdraw(me(sim), consent)
    await sim.sleep(60)
    assert states(sim) == [ConsentState.WITHDRAWN]
    with refuses("consent_withdrawn"):
        await ask(sim, consent)


async def test_what_the_broker_could_not_commit_it_does_not_go_by(sim: Simulation) -> None:
    """Nobody may be refused, and nobody told, by a list that a crash forgets."""
    consent = await grant(sim)
    tear(sim.node(BROKER), skip=1, times=2)
    withdrawing = asyncio.create_task(portal(sim).withdraw(me(sim), consent), name="withdraws")
    await sim.sleep(0.1)
    assert states(sim) == [ConsentState.PENDING]
    assert (await ask(sim, consent)).age == 40
    assert await withdrawing is ConsentState.WITHDRAWN


async def test_what_comes_behind_a_withdrawal_in_the_same_turn_is_judged_by_it(sim: Simulation) -> None:
    consent = await grant(sim)
    forger = Forger(sim, FIRM)
    code = sim.code("firm/kitami-bank", sim.resident(PERSON))
    question = forger.line(
        forger.request(OFFICE, FACTS.name, subject=code, procedure="loan", items="age", consent=consent)
    )
    sim.node(FIRM)

    def behind(sender: str, recipient: str, line: bytes, now_us: int) -> None:
        """The question leaves right after the broker has sent itself the list, and so arrives behind it."""
        if (sender, recipient) == (BROKER, BROKER) and b"\n" in line and not sent:
            sent.append(now_us)
            sim.loop.call_soon(sim.transmit, FIRM, BROKER, question)

    sent: list[int] = []
    sim.disturbance.rules.append(behind)
    await portal(sim).withdraw(me(sim), consent)
    arrived = {(one.sender, one.recipient): one for one in messages(sim, Request) if one.sent_us == sent[0]}
    assert list(arrived) == [(BROKER, BROKER), (FIRM, BROKER)]
    assert arrived[FIRM, BROKER].code == "consent_withdrawn"


async def test_two_consents_given_at_once_both_stand(sim: Simulation) -> None:
    first, second = await asyncio.gather(grant(sim), grant(sim))
    assert states(sim) == [ConsentState.IN_FORCE] * 2
    for consent in (first, second):
        assert (await ask(sim, consent)).age == 40


async def test_a_withdrawal_while_another_list_is_under_way_goes_behind_it(sim: Simulation) -> None:
    consent = await grant(sim)
    _, state = await asyncio.gather(grant(sim), portal(sim).withdraw(me(sim), consent))
    assert state is ConsentState.WITHDRAWN
    assert states(sim) == [ConsentState.WITHDRAWN, ConsentState.IN_FORCE]


# What was under way when the broker took the withdrawal.


@pytest.mark.parametrize("ends", ["", "not found"])
async def test_an_answer_that_comes_after_the_withdrawal_goes_no_further(sim: Simulation, ends: str) -> None:
    consent = await grant(sim)
    sim.node(OFFICE, Office).delay_s = 5.0
    asking = asyncio.create_task(ask(sim, consent, ends, attempts=1), name="asks")
    await sim.sleep(1)
    assert await portal(sim).withdraw(me(sim), consent) is ConsentState.WITHDRAWN
    with pytest.raises(Refused) as refused:
        await asking
    assert (refused.value.code, refused.value.by, refused.value.definite) == (
        "consent_withdrawn", BROKER, False,
    )  # fmt: skip
    assert [one for one in messages(sim, Reply) if (one.sender, one.recipient) == (BROKER, FIRM)] == []
    (answer,) = [one.line for one in messages(sim) if one.sender == OFFICE]
    sim.transmit(OFFICE, BROKER, answer)
    await sim.sleep(1)
    rows = [(row.entry, row.code) for row in ledger(sim, BROKER) if row.requester == FIRM]
    assert rows == [("permitted", None), ("closed", "consent_withdrawn")], "once, however often it comes"


async def test_a_copy_of_an_answer_goes_no_further_either(sim: Simulation) -> None:
    consent = await grant(sim)
    await ask(sim, consent)
    (answer,) = [one.line for one in messages(sim, Reply) if one.sender == OFFICE]
    await portal(sim).withdraw(me(sim), consent)
    before = len(messages(sim))
    sim.transmit(OFFICE, BROKER, answer)
    await sim.sleep(1)
    assert len(messages(sim)) == before + 1


async def test_nor_does_it_when_the_broker_restarted_meanwhile(sim: Simulation) -> None:
    consent = await grant(sim)
    sim.node(OFFICE, Office).delay_s = 5.0
    asking = asyncio.create_task(ask(sim, consent), name="asks")
    await sim.sleep(0.5)
    sim.crash(BROKER)
    sim.restart(BROKER)
    sim.disturbance.rules.append(drop(FIRM, BROKER))
    assert await portal(sim).withdraw(me(sim), consent) is ConsentState.WITHDRAWN
    await sim.sleep(10)
    sim.disturbance.rules.clear()
    with refuses("consent_withdrawn"):
        await asking
    assert [one for one in messages(sim, Reply) if (one.sender, one.recipient) == (BROKER, FIRM)] == []


async def test_what_stands_is_answered_although_the_broker_restarted_meanwhile(sim: Simulation) -> None:
    consent = await grant(sim)
    sim.node(OFFICE, Office).delay_s = 5.0
    asking = asyncio.create_task(ask(sim, consent), name="asks")
    await sim.sleep(0.5)
    sim.crash(BROKER)
    sim.restart(BROKER)
    assert (await asking).age == 40
    assert sim.node(OFFICE).host.store.number(f"consent {consent}") == 1


# Keys.


def change_key(sim: Simulation, patch: pytest.MonkeyPatch, address: str) -> None:
    """An ordinary change: the old key stays listed and ends now, the node comes up with the new one."""
    entry = json.decode(sim.registry.entry(address)[0], type=Entry)  # type: ignore[index]
    now_us = sim.now_us()
    keys, real = NodeKeys.derived(b"changed", address, len(entry.keys)), sim.keys_of
    patch.setattr(sim, "keys_of", lambda of: keys if of == address else real(of))
    new = sim._make_entry(address)
    assert new is not None
    old = structs.replace(entry.keys[-1], until_us=now_us)
    sim.registry.put(structs.replace(entry, keys=(*entry.keys[:-1], old, *new.keys)))
    sim.crash(address)
    sim.restart(address)


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_portal_that_changes_its_key_keeps_its_consents_and_can_withdraw_them(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    old = await grant(sim)
    await sim.sleep(1)
    change_key(sim, monkeypatch, PORTAL)
    await sim.sleep(1)
    if restarts:
        sim.crash(BROKER)
        sim.restart(BROKER)
    assert (await ask(sim, old)).age == 40
    new = await grant(sim)
    assert (await ask(sim, new)).age == 40
    assert (await ask(sim, old)).age == 40
    assert await portal(sim).withdraw(me(sim), old) is ConsentState.WITHDRAWN
    assert states(sim) == [ConsentState.WITHDRAWN, ConsentState.IN_FORCE]


async def test_a_withdrawal_that_is_pending_while_the_key_changes(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = await grant(sim)
    with sim.offline(BROKER):
        assert await portal(sim).withdraw(me(sim), consent) is ConsentState.PENDING
        await sim.sleep(5)
        change_key(sim, monkeypatch, PORTAL)
    await sim.sleep(60)
    assert states(sim) == [ConsentState.WITHDRAWN]
    with refuses("consent_withdrawn"):
        await ask(sim, consent)


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_a_revoked_key_signed_is_over_and_blocks_no_list(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    old = await grant(sim)
    await sim.sleep(1)
    revoked_us = sim.now_us()
    sim.registry.revoke(PORTAL, revoked_us)
    change_key(sim, monkeypatch, PORTAL)
    if restarts:
        sim.crash(BROKER)
        sim.restart(BROKER)
    with pytest.raises(Refused) as refused:
        await ask(sim, old)
    assert (refused.value.code, refused.value.by) == ("consent_required", BROKER)
    with sim.offline(BROKER):
        void = await grant(sim)
        await sim.sleep(1)
    forget(sim)
    new = await grant(sim)
    assert states(sim) == [ConsentState.OVER, ConsentState.IN_FORCE, ConsentState.IN_FORCE]
    assert len(differences(sim)[-1].given) == 2
    for consent in (void, new):
        assert (await ask(sim, consent)).age == 40


# Lists.


def _cut(token: str) -> str:
    return token[: len(token) // 2]


def _other_signature(token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


def _spoilt(token: str) -> str:
    return token[:-40]


Made = Callable[[Simulation], tuple[str, str]]


def _listing(sim: Simulation, key: SigningKey | None = None, **changes: Any) -> str:
    """A difference that would be taken, with one consent besides the one that stands, but for what is changed."""
    signing = sim.keys_of(PORTAL).signing
    given = (sign_consent(consent_of(sim, "c-2"), signing),)
    made = structs.replace(Difference(1, 2, given, ()), **changes)
    return sign_difference(made, key or signing)


def _entry(sim: Simulation, bad: str) -> str:
    good = sign_consent(consent_of(sim, "c-2"), sim.keys_of(PORTAL).signing)
    return _listing(sim, given=(good, bad), withdrawn=("c-1",))


def _signed_by(sim: Simulation, address: str, **changes: Any) -> str:
    return sign_consent(consent_of(sim, "c-3", **changes), sim.keys_of(address).signing)


BAD_LISTS: dict[str, tuple[Callable[[Simulation], str], str]] = {
    "cut": (lambda sim: _cut(_listing(sim)), "message_malformed"),
    "its last characters cut": (lambda sim: _spoilt(_listing(sim)), "message_malformed"),
    "another signature": (lambda sim: _other_signature(_listing(sim)), "signature_invalid"),
    "not a list": (lambda sim: _signed_by(sim, PORTAL), "schema_invalid"),
    "older": (lambda sim: _listing(sim, base=0, version=1, withdrawn=("c-1",)), "registry_stale"),
    "of a foreign portal": (lambda sim: _listing(sim, sim.keys_of(RIVAL).signing), "key_unknown"),
    "of nobody": (lambda sim: _listing(sim, NodeKeys.derived(b"x", PORTAL).signing), "key_unknown"),
    "an entry cut": (lambda sim: _entry(sim, _cut(_signed_by(sim, PORTAL))), "message_malformed"),
    "an entry with another signature": (
        lambda sim: _entry(sim, _other_signature(_signed_by(sim, PORTAL))),
        "signature_invalid",
    ),
    "an entry of a foreign portal": (lambda sim: _entry(sim, _signed_by(sim, RIVAL)), "key_unknown"),
    "an entry of no portal": (lambda sim: _entry(sim, _signed_by(sim, FIRM)), "consent_required"),
    "an entry signed before its key": (
        lambda sim: _entry(sim, _signed_by(sim, PORTAL, from_us=0)),
        "certificate_not_yet_valid",
    ),
    "an entry twice": (
        lambda sim: _listing(sim, given=(_signed_by(sim, PORTAL),) * 2, withdrawn=("c-1",)),
        "schema_invalid",
    ),
    "an entry that another portal holds": (
        lambda sim: _entry(sim, sign_consent(consent_of(sim, "r-1"), sim.keys_of(PORTAL).signing)),
        "schema_invalid",
    ),
    "another portal's withdrawn": (lambda sim: _listing(sim, withdrawn=("r-1",)), "schema_invalid"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
async def test_a_bad_list_changes_nothing(sim: Simulation, case: str) -> None:
    rival, own = sim.keys_of(RIVAL).signing, sim.keys_of(PORTAL).signing
    for source, key, name in ((PORTAL, own, "c-1"), (RIVAL, rival, "r-1")):
        token = sign_consent(consent_of(sim, name), key)
        sim.node(source)
        await bring(sim, sign_difference(Difference(0, 1, (token,), ()), key), source)
    make, code = BAD_LISTS[case]
    sim.node(FIRM)
    with pytest.raises(Refused) as refused:
        await bring(sim, make(sim))
    assert (refused.value.code, refused.value.by) == (code, BROKER)
    assert (await ask(sim, "c-1")).age == 40
    assert (await ask(sim, "r-1")).age == 40
    with refuses("consent_required"):
        await ask(sim, "c-2")
    assert (await bring(sim, _listing(sim, withdrawn=("c-1",)))).version == 2
    assert (await ask(sim, "c-2")).age == 40
    with refuses("consent_withdrawn"):
        await ask(sim, "c-1")


async def test_a_list_from_another_version_is_not_taken_and_the_answer_names_the_own(sim: Simulation) -> None:
    sim.node(PORTAL)
    assert (await bring(sim, _listing(sim, base=0, version=3))).version == 3
    for base in (2, 4):
        answer = await bring(sim, _listing(sim, base=base, version=9, given=(), withdrawn=("c-2",)))
        assert answer.version == 3
    assert (await ask(sim, "c-2")).age == 40


async def test_what_was_withdrawn_stays_so_whatever_is_given_later(sim: Simulation) -> None:
    sim.node(PORTAL)
    await bring(sim, _listing(sim, base=0, version=1))
    await bring(sim, _listing(sim, base=1, version=2, given=(), withdrawn=("c-2",)))
    await bring(sim, _listing(sim, base=2, version=3))
    with refuses("consent_withdrawn"):
        await ask(sim, "c-2")


async def test_a_list_leaves_out_what_is_over(sim: Simulation) -> None:
    await grant(sim, days=1)
    withdrawn, standing = await grant(sim), await grant(sim)
    await portal(sim).withdraw(me(sim), withdrawn)
    await sim.sleep(2 * 86_400)
    forget(sim)
    await grant(sim)
    last = differences(sim)[-1]
    assert (last.base, len(last.given), last.withdrawn) == (0, 2, ())
    assert (await ask(sim, standing)).age == 40
    assert states(sim).count(ConsentState.IN_FORCE) == 2


@pytest.mark.parametrize("party", [PORTAL, BROKER])
@pytest.mark.parametrize("days", [-31, 31])
async def test_a_clock_that_is_far_off_for_a_while_leaves_out_and_forgets_nothing_that_stands(
    sim: Simulation, party: str, days: int
) -> None:
    consent, withdrawn = await grant(sim, days=20), await grant(sim, days=20)
    if party == PORTAL:
        forget(sim)
    host = sim.node(party).host
    right = host.now_us
    host.now_us = lambda: right() + days * 86_400_000_000
    await portal(sim).withdraw(me(sim), withdrawn)
    assert states(sim)[1] is ConsentState.PENDING
    host.now_us = right
    await sim.sleep(60)
    assert states(sim) == [ConsentState.IN_FORCE, ConsentState.WITHDRAWN]
    assert (await ask(sim, consent)).age == 40


def forget(sim: Simulation) -> None:
    """The broker loses what it knew of consents."""
    for table in ("consent", "consent_version"):
        sim._stores[BROKER].db.execute(f"DELETE FROM {table}")


async def test_a_broker_that_lost_its_database_is_told_everything_again(sim: Simulation) -> None:
    first, second = await grant(sim), await grant(sim)
    await portal(sim).withdraw(me(sim), second)
    forget(sim)
    third = await grant(sim)
    for consent in (first, third):
        assert (await ask(sim, consent)).age == 40
    with refuses("consent_required"):
        await ask(sim, second)
    assert states(sim)[1] is ConsentState.WITHDRAWN


async def test_a_broker_that_came_back_to_an_older_state_hears_of_the_withdrawal_again(
    sim: Simulation,
) -> None:
    first, second = await grant(sim), await grant(sim)
    await portal(sim).withdraw(me(sim), first)
    db = sim._stores[BROKER].db
    db.execute("UPDATE consent SET withdrawn = 0")
    db.execute("UPDATE consent_version SET version = 2")
    assert (await ask(sim, first)).age == 40
    await portal(sim).withdraw(me(sim), second)
    assert states(sim) == [ConsentState.WITHDRAWN] * 2
    for consent in (first, second):
        with refuses("consent_withdrawn"):
            await ask(sim, consent)


def test_thousands_of_consents_in_one_run() -> None:
    """`tests/sweeps/withdrawals.py` gives ten thousand."""
    many = play_many(2_000)
    assert many.faults == ()
    assert many.parts > 3


# What a consent names, and what it costs.


@pytest.mark.parametrize("waved_through", [False, True])
async def test_a_consent_is_for_the_provider_that_it_names(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch, waved_through: bool
) -> None:
    consent = await grant(sim, provider=OFFICE)
    if waved_through:
        token = sim.node(BROKER).consents.find(consent).token  # type: ignore[attr-defined]
        monkeypatch.setattr("mesh.consent.ConsentBook.check", lambda *_, **__: token)
    with pytest.raises(Refused) as refused:
        await ask(sim, consent, to=OTHER)
    assert (refused.value.code, refused.value.by) == (
        "consent_required", OTHER if waved_through else BROKER,
    )  # fmt: skip
    assert (await ask(sim, consent)).age == 40
    counted = [sim.node(one).host.store.number(f"consent {consent}") for one in (OFFICE, OTHER)]
    assert counted == [1, 0]


@pytest.mark.parametrize(
    ("ends", "code", "uses"),
    [
        ("not found", "not_found", 1),
        ("withheld", "withheld", 0),
        ("by hand", "manual_review", 0),
        ("no copy", "replica_missing", 0),
    ],
)
async def test_that_there_is_nothing_is_a_use_and_that_nobody_says_is_none(
    sim: Simulation, ends: str, code: str, uses: int
) -> None:
    consent = await grant(sim, uses=1)
    with refuses(code):
        await ask(sim, consent, ends)
    assert sim.node(OFFICE).host.store.number(f"consent {consent}") == uses
    if uses:
        with pytest.raises(Refused) as refused:
            await ask(sim, consent)
        assert (refused.value.code, refused.value.by) == ("consent_expired", OFFICE)
    else:
        assert (await ask(sim, consent)).age == 40
