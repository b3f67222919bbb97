"""The scenario `family_register`, its nodes' rules, and that its expectations fail when a rule is broken."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mesh import ManualReview, Node, NotFound, Refused, Simulation, UsageError
from mesh.builtin import Empty
from mesh.faults import repeat
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes import establish
from nodes.agency import dependent_pension, family_register_link
from nodes.agency.code_issuer import ACQUISITION, ISSUER, LINKAGE_CODE, CodeQuery
from nodes.agency.family_register_link import (
    FAMILY_CERTIFICATE,
    FAMILY_COPY,
    FAMILY_LINK,
    FAMILY_RELATIONS,
    FAMILY_WIDE_AREA,
    FamilyRegisterLink,
)
from nodes.agency.jlis import LINKAGE_ACQUIRE_FOR_JUSTICE, RELAY, AcquireQuery
from nodes.agency.kinship import (
    CertificateQuery,
    CopyQuery,
    EntryTie,
    RecordKind,
    Tie,
    WideAreaQuery,
    closest,
)
from nodes.firm.payment_agent import PAYMENT_CHARGE, ChargeQuery, PaymentAgent
from nodes.municipality.cash_desk import FEE_PAID, FEE_REFUND, CashDesk, OrderQuery
from nodes.municipality.copy_orders import FEES_YEN
from nodes.municipality.family_register import FamilyRegister
from nodes.municipality.family_register_supplement import SUPPLEMENT_ADDRESSES, FamilyRegisterSupplement
from nodes.municipality.seal_registration import SealRegistration
from scenarios._registers import (
    AGENT,
    World,
    as_applicant,
    ask_code,
    buy_copy,
    key,
    make_world,
    pay,
    pension_code,
)
from scenarios.family_register import run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

TIES = [
    Tie("spouse", "f", "m"),
    Tie("parent", "f", "s"),
    Tie("parent", "m", "s"),
    Tie("parent", "f", "t"),
    Tie("spouse", "s", "w"),
    Tie("parent", "s", "c"),
    Tie("spouse", "s", "x", "2020-01-01"),
]


@pytest.mark.parametrize(
    ("applicant", "recorded", "right"),
    [
        ("s", ["f", "s"], "self"),
        ("w", ["f", "s"], "spouse"),
        ("x", ["s"], None),
        ("c", ["f", "m"], "lineal"),
        ("m", ["c"], "lineal"),
        ("t", ["s", "w", "c"], None),
        ("w", ["t"], None),
        ("stranger", ["f", "m", "s", "t", "w", "c"], None),
    ],
)
def test_who_may_have_a_copy(applicant: str, recorded: list[str], right: str | None) -> None:
    assert closest(TIES, applicant, recorded) == right


@pytest.mark.parametrize(("seed", "settings"), [(2, {"days": 0}), (1, {"days": 200})])
def test_it_holds(seed: int, settings: dict[str, Any]) -> None:
    result = hold(run, seed=seed, **settings)
    late = settings.get("days") == 200
    assert [one.paper.fee_yen for one in result.report.papers] == [450] * (1 if late else 2)
    assert len(result.report.fallbacks) == (3 if late else 2)


@pytest.mark.parametrize("settings", [{"days": -1}, {"days": 366}, {"wallet_yen": 100}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation(starts=run.starts) as sim:
        establish(sim)
        world = make_world(sim)
        world.agent.open_wallet("w-son", 5000)
        await world.kitami.node(FamilyRegister).send_copy(key(world.kitami, 1))
        await world.kobe.node(FamilyRegister).send_copy(key(world.kobe, 1))
        yield world


async def test_symbols_differ_for_every_body(world: World) -> None:
    marriages = []
    for member, address in (("org/nenkin", "org/nenkin/dependants"), ("org/kyosai", "org/kyosai/desk")):
        if member == "org/kyosai":
            world.sim.add(dependent_pension.DependentSpouses, address)
            row = next(one for one in world.sim.policy.bases if one.id == "fr-spouse")
            world.sim.allow(type(row)(address, row.procedure, row.provider, row.service, row.items))
        code = world.sim.code(member, world.son.handle)
        reply = await world.sim.node(address).ask(
            FAMILY_LINK,
            FAMILY_RELATIONS,
            Empty(),
            subject=code,
            procedure="pension-dependant",
            items=("spouse",),
        )
        marriages.append(reply.spouse)
    assert len(set(marriages)) == 2


async def test_parents_children_and_divorce_are_told_to_whom_may_ask(world: World) -> None:
    row = next(one for one in world.sim.policy.bases if one.id == "fr-spouse")
    items = ("children", "divorced", "parents", "spouse")
    world.sim.allow(type(row)(row.requester, "family-facts", row.provider, row.service, items))
    replies = [
        await world.pension.ask(
            FAMILY_LINK,
            FAMILY_RELATIONS,
            Empty(),
            subject=pension_code(world, person),
            procedure="family-facts",
        )
        for person in (world.son, world.couple.children[0], world.elders.head)
    ]
    son, child, father = replies
    assert son.children == child.parents[:1]
    assert son.parents[0] in father.children
    assert child.spouse is None
    assert not son.divorced


async def test_a_copy_comes_from_its_home_only(world: World) -> None:
    kobe = world.kobe.node(FamilyRegister)
    foreign = CopyQuery(key(world.kitami, 1), "current", False, (), ())
    with pytest.raises(Refused, match="withheld"):
        await kobe.ask(FAMILY_LINK, FAMILY_COPY, foreign, procedure="family-register")
    assert world.link.records_of(world.sim.code("gov/moj", world.sibling.handle)) == [key(world.kitami, 1)]


async def test_a_copy_whose_ties_name_nobody_is_refused(world: World) -> None:
    broken = CopyQuery(key(world.kobe, 9), "current", False, (), (EntryTie("parent", 0, 1),))
    with pytest.raises(Refused, match="schema_invalid"):
        await world.kobe.node(FamilyRegister).ask(
            FAMILY_LINK, FAMILY_COPY, broken, procedure="family-register"
        )


async def test_a_copy_sent_again_takes_the_place_of_the_first(world: World) -> None:
    await world.kobe.node(FamilyRegister).send_copy(key(world.kobe, 1))
    rows = world.link.db.execute("SELECT count(*) FROM entry WHERE record = ?", (key(world.kobe, 1),))
    assert rows.fetchone()[0] == 3


async def test_a_city_can_do_nothing_with_a_number_for_the_minister(world: World) -> None:
    supplement = world.kobe.node(FamilyRegisterSupplement)
    reserved = await supplement.ask(
        RELAY, LINKAGE_ACQUIRE_FOR_JUSTICE, AcquireQuery(world.son.resident_code), procedure=ACQUISITION
    )
    with pytest.raises(Refused, match="not_found"):
        await world.kobe.resident.ask(ISSUER, LINKAGE_CODE, CodeQuery(reserved.number), procedure=ACQUISITION)


async def test_a_code_lapses_after_three_months(world: World) -> None:
    issued = await ask_code(world, world.son)
    assert (issued.until, len(issued.code)) == ("2025-07-10", 16)
    query = CertificateQuery(issued.code)
    certificate = await world.passports.ask(FAMILY_LINK, FAMILY_CERTIFICATE, query, procedure="passport")
    assert [one.name for one in certificate.persons] == [one.name for one in world.couple.members]
    await world.sim.sleep(92 * 86_400)
    with pytest.raises(Refused, match="not_found"):
        await world.passports.ask(FAMILY_LINK, FAMILY_CERTIFICATE, query, procedure="passport")


async def test_certificates_are_for_whom_the_law_names(world: World) -> None:
    issued = await ask_code(world, world.son)
    with pytest.raises(Refused, match="no_legal_basis"):
        await world.pension.ask(
            FAMILY_LINK, FAMILY_CERTIFICATE, CertificateQuery(issued.code), procedure="pension-dependant"
        )


async def test_a_passport_for_somebody_else_s_register(world: World) -> None:
    issued = await ask_code(world, world.son)
    office = world.passports
    number = office.take_application(world.sibling.name, world.sibling.born.isoformat(), issued.code)
    assert await office.examine(number) == "mismatch"
    assert await office.examine(office.take_application("誰か", "1990-01-01", None)) == "waiting"


async def test_a_stranger_gets_no_wide_area_copy(world: World) -> None:
    counter = world.kobe.node(FamilyRegister)
    for person in (world.bride, world.on_paper.head):
        query = WideAreaQuery(key(world.kitami, 1), person.name, person.born.isoformat())
        with pytest.raises(Refused, match="withheld"):
            await counter.ask(FAMILY_LINK, FAMILY_WIDE_AREA, query, procedure="family-register")


async def test_at_home_an_official_decides_about_protection(world: World) -> None:
    home = world.kobe.node(FamilyRegister)
    home.protect(key(world.kobe, 1))
    refused = await buy_copy(world, as_applicant(world.son), key(world.kobe, 1))
    assert (refused.state, refused.why) == ("refused", "manual_review")
    assert world.agent.balance_yen("w-son") == 5000
    order = home.order_copy(key(world.kobe, 1), as_applicant(world.son, photo_id=False))
    await world.kobe.node(CashDesk).take_payment(order.key, order.fee_yen, "w-son", AGENT)
    assert (await home.examine(order.number, official="an official")).state == "issued"


async def test_an_order_waits_while_the_link_may_have_answered(world: World) -> None:
    counter = world.kobe.node(FamilyRegister)
    order = counter.order_copy(key(world.kitami, 1), as_applicant(world.son))
    await world.kobe.node(CashDesk).take_payment(order.key, order.fee_yen, "w-son", AGENT)
    lost: Callable[..., Any] = lambda sender, to, line, now: ((None, line),) if to == FAMILY_LINK else None  # noqa: E731
    world.sim.disturbance.rules.append(lost)
    assert (await counter.examine(order.number)).state == "ordered"
    world.sim.disturbance.rules.remove(lost)
    with world.sim.offline(FAMILY_LINK):
        assert (await counter.examine(order.number)).state == "ordered"
    assert (await counter.examine(order.number)).state == "issued"
    assert (await counter.examine(order.number)).state == "issued"
    assert world.agent.balance_yen("w-son") == 5000 - 450


async def test_every_line_twice_is_charged_and_paid_back_once(world: World) -> None:
    for end in ((BROKER, AGENT), (BROKER, "muni/*/cash-desk")):
        world.sim.disturbance.rules.append(repeat(*end))
    await buy_copy(world, as_applicant(world.son), key(world.kitami, 1))
    await buy_copy(world, as_applicant(world.bride), key(world.kitami, 1))
    await world.sim.sleep(5)
    assert world.agent.balance_yen("w-son") == 5000 - 450
    assert world.agent.refunds("w-son") == [450]


@pytest.mark.parametrize("seed", range(1, 7))
async def test_whatever_is_lost_a_fee_is_kept_or_paid_back(world: World, seed: int) -> None:
    counter, desk = world.kobe.node(FamilyRegister), world.kobe.node(CashDesk)
    lots = world.sim.stream(f"what is lost, {seed}")
    losing: Callable[..., Any] = lambda *line: ((None, line[2]),) if lots.random() < 0.2 else None  # noqa: E731
    world.sim.disturbance.rules.append(losing)
    orders = [counter.order_copy(key(world.kitami, 1), as_applicant(one)) for one in (world.son, world.bride)]
    for order in orders:
        paid = False
        for _ in range(60):
            with contextlib.suppress(Refused):
                if not paid:
                    paid = bool(await desk.take_payment(order.key, order.fee_yen, "w-son", AGENT))
                await counter.examine(order.number)
    assert [counter.orders.order(one.number).state for one in orders] == ["issued", "refused"]
    assert world.agent.balance_yen("w-son") == 5000 - 450
    assert desk.takings_yen() == world.agent.owed_yen(world.kobe.member) == 450


@pytest.mark.parametrize("number", [1, 2])
async def test_a_copy_is_handed_over_for_the_fee_of_its_kind(world: World, number: int) -> None:
    kinds: tuple[RecordKind, ...] = ("current", "closed")
    home = world.kitami.node(FamilyRegister)
    world.agent.open_wallet("w-father", 1_200)
    states = {}
    for kind in kinds:
        order = home.order_copy(key(world.kitami, number), as_applicant(world.elders.head), kind)
        await pay(world.kitami, order, "w-father")
        done = await home.examine(order.number)
        states[kind] = (done.state, done.why)
    right = kinds[number - 1]
    assert states.pop(right) == ("issued", "")
    assert [*states.values()] == [("refused", "manual_review")]
    assert world.agent.balance_yen("w-father") == 1_200 - FEES_YEN[right]


async def test_without_a_row_nobody_is_told_of_fees_or_pays_them_back() -> None:
    with simulation(starts=run.starts) as sim:
        desk, other = "muni/28100/cash-desk", "muni/01208/cash-desk"
        for address in (desk, other):
            sim.add(CashDesk, address)
        for service in (FEE_PAID, FEE_REFUND):
            with pytest.raises(Refused, match="no_legal_basis"):
                await sim.node(other).ask(desk, service, OrderQuery("od-000001"))


async def test_what_the_payment_agent_refuses(world: World) -> None:
    desk = world.kobe.node(CashDesk)
    world.agent.open_wallet("w-poor", 100)
    for wallet, code in (("w-poor", "withheld"), ("w-nobody", "not_found")):
        with pytest.raises(Refused, match=code):
            await desk.take_payment("od-000099", 450, wallet, AGENT)
    with pytest.raises(ManualReview, match="not designated"):
        await desk.take_payment("od-000099", 450, "w-son", "firm/other/payment-agent")
    await desk.take_payment("od-000099", 450, "w-son", AGENT)
    with pytest.raises(Refused, match="manual_review"):
        await desk.ask(AGENT, PAYMENT_CHARGE, ChargeQuery("od-000099", 750, "w-son"), procedure="fees")
    register = world.kobe.node(FamilyRegister)
    with pytest.raises(Refused, match="zone_forbidden"):
        await register.ask(AGENT, PAYMENT_CHARGE, ChargeQuery("od-000098", 450, "w-son"), procedure="fees")


async def test_the_supplement_inside_its_own_city(world: World) -> None:
    reply = await world.kobe.node(FamilyRegister).ask(
        world.kobe.address("family-register-supplement"),
        SUPPLEMENT_ADDRESSES,
        Empty(),
        subject=world.kobe.code(world.son),
        procedure="family-register",
    )
    assert [one.city for one in reply.stays] == ["28100"]
    with pytest.raises(NotFound):
        world.kobe.node(FamilyRegisterSupplement).name_of(world.kobe.code(world.bride))


async def test_a_seal_is_proved_on_paper_and_answers_nobody(world: World) -> None:
    code = world.kobe.code(world.son)
    seals = world.kobe.node(SealRegistration)
    with pytest.raises(NotFound):
        seals.issue(code)
    seals.register(code, world.son.family.written)
    assert seals.issue(code) == "seal-000001"
    assert SealRegistration.offers() == Node.offers(), "nothing that another body could ask"


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def everybody_is_entitled(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(family_register_link, "closest", lambda *_: "self")

    @staticmethod
    def a_careless_link(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(family_register_link, "CODE_MONTHS", 24)
        patch.setattr(family_register_link, "_check_open", lambda record: None)
        patch.setattr(FamilyRegisterLink, "_symbol", lambda *_: "fr-" + "0" * 24)
        for cls, handler in (
            (FamilyRegisterSupplement, "follow_register"),
            (SealRegistration, "compare_name"),
        ):
            patch.setattr(cls, handler, ignore)

    @staticmethod
    def charged_again(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        charge = PaymentAgent.charge

        async def always(self: PaymentAgent, query: Any, caller: Any) -> Any:
            with self.effect():
                self.db.execute("UPDATE charge SET member = member || '-old'")
            return await charge(self, query, caller)

        patch.setattr(PaymentAgent, "charge", always)

    @staticmethod
    def a_code_of_one_month(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.agency.family_register_link.CODE_MONTHS", 0)

    @staticmethod
    def a_copy_is_lost(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        send_copy = FamilyRegister.send_copy

        async def lossy(self: FamilyRegister, record: str) -> int:
            return await send_copy(self, record) if self.member == "muni/01208" else 0

        patch.setattr(FamilyRegister, "send_copy", lossy)

    @staticmethod
    def kept_the_money(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(PaymentAgent, "_move", lambda self, wallet, yen: None)


async def ignore(self: Any, event: Any, caller: Any, person: str) -> None:
    """A handler that does nothing."""


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.everybody_is_entitled, ["sibling's register is refused", "paid back"]),
        (
            Sabotage.a_careless_link,
            [
                "wife's code opens nothing",
                "no code online",
                "another municipality's counter",
                "not married to each other",
                "supplement follows",
                "old name",
            ],
        ),
        (Sabotage.charged_again, ["exactly once"]),
        (Sabotage.a_code_of_one_month, ["A code that is"]),
        (Sabotage.a_copy_is_lost, ["The son stands in"]),
        (Sabotage.kept_the_money, ["exactly once", "receipts of the cash desk"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)
