"""The scenario `disaster` holds, its expectations can fail, and its nodes keep their rules."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest

import nodes
from mesh import ManualReview, NotFound, Refused, Simulation, UsageError
from mesh.builtin import Empty
from mesh.names import member_of
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, simulation
from nodes.agency import recovery_support
from nodes.agency.recovery_support import CLAIM, ClaimQuery, RecoverySupport
from nodes.data.people import Population
from nodes.municipality.disaster_rules import TAX_TENTHS, basic_grant_yen, damage_of
from nodes.municipality.disaster_victims import CERTIFICATE, CERTIFIED, DisasterVictims
from nodes.municipality.elderly_medical import INSURED, REDUCE_PREMIUM, ElderlyMedical, ReducePremiumQuery
from nodes.municipality.property_tax import HOUSES, REDUCE_TAX, HousesQuery, PropertyTax, ReduceQuery
from nodes.municipality.resident import HouseholdReply, ResidentRegister
from nodes.municipality.victim_support import PROCEDURE, AcceptQuery, VictimSupport
from scenarios._flood import KITAMI, World, house_of, percent_of
from scenarios._newborns import rows_in
from scenarios.disaster import run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_the_scenario_holds(seed: int) -> None:
    result = hold(run, seed=seed)
    assert len(result.expectations) >= 18
    assert len(result.report.fallbacks) == 2
    push = result.report.push
    assert (push.eligible, push.notified, push.accepted, push.declined) == (7, 7, 6, 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"families": 5},
        {"families": 20, "per_second": 18},
        {"per_second": 2},
        {"families": 60, "per_second": 8},
        {"down_s": 60},
    ],
)
def test_the_scenario_holds_for_other_settings(settings: dict[str, Any]) -> None:
    hold(run, **settings)


@pytest.mark.parametrize("settings", [{"families": 4}, {"down_s": 59}, {"per_second": 8}, {"per_second": 1}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def signed_before_the_survey(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def issue(self: DisasterVictims, number: int, official: str) -> str:
            row = self.db.execute("SELECT * FROM household WHERE number = ?", (number,)).fetchone()
            with self.effect():
                self.db.execute(
                    "UPDATE household SET certificate = ?, issued_on = '2025-09-16' WHERE number = ?",
                    (f"rc-{number:06d}", number),
                )
                self.publish(CERTIFIED, row["head"])
            return f"rc-{number:06d}"

        patch.setattr(DisasterVictims, "issue", issue)

    @staticmethod
    def a_household_for_everybody(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        household = ResidentRegister.household

        async def alone(self: ResidentRegister, query: Any, caller: Any, person: str) -> HouseholdReply:
            reply = await household(self, query, caller, person)
            return HouseholdReply(tuple(one for one in reply.members if one.code == person))

        patch.setattr(ResidentRegister, "household", alone)

    @staticmethod
    def an_open_ledger(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.municipality.disaster_victims.member_of", lambda address: "muni/01208")

    @staticmethod
    def a_claim_for_everybody(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        keep = RecoverySupport._keep

        def another(self: RecoverySupport, certificate: str, city: str, *rest: Any) -> Any:
            number = rows_in(self, "claim") + 1
            return keep(self, f"rc-9{number:05d}", city, *rest)

        patch.setattr(RecoverySupport, "_keep", another)

    @staticmethod
    def a_desk_that_gives_up(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        put = VictimSupport._put
        patch.setattr(VictimSupport, "_put", lambda self, number, stage, why: put(self, number, "sent", why))

    @staticmethod
    def offers_for_all(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.municipality.victim_support.basic_grant_yen", lambda damage, size: 1)

    @staticmethod
    def no_tax_relief_for_half(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        tenths = {damage: value for damage, value in TAX_TENTHS.items() if damage != "半壊"}
        patch.setattr("nodes.municipality.victim_support.TAX_TENTHS", tenths)

    @staticmethod
    def power_all_the_time(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Simulation, "offline", lambda self, address: nullcontext())

    @staticmethod
    def nobody_alone(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(recovery_support, "basic_grant_yen", lambda damage, size: basic_grant_yen(damage, 2))


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.signed_before_the_survey, ["before the house was surveyed"]),
        (Sabotage.a_household_for_everybody, ["finds her husband's"]),
        (Sabotage.an_open_ledger, ["said that it stays", "where nobody stays"]),
        (Sabotage.a_claim_for_everybody, ["prefecture has one"]),
        (Sabotage.a_desk_that_gives_up, ["Property tax was down"]),
        (Sabotage.offers_for_all, ["What fits each household"]),
        (Sabotage.nobody_alone, ["three quarters"]),
        (Sabotage.no_tax_relief_for_half, ["What fits each household"]),
        (Sabotage.power_all_the_time, ["While Kitami's ledger is down"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch, down_s=60)


# The nodes.


async def certified(world: World) -> None:
    """Everybody applied, was surveyed and certified, and the desk knows."""
    await world.office.list_houses()
    for number, home in enumerate(world.homes, 1):
        await world.apply(number, home.head)
        world.office.survey(house_of(number), percent_of(number), "somebody")
        world.office.issue(number, "somebody")
    await world.sim.sleep(60)


async def test_two_ways_at_one_moment_make_one_claim() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        await certified(world)
        head, wife = world.homes[0].parents
        kobe = world.kobe.node(VictimSupport)
        world.office.note_stay(world.kitami.code(head), "28100")
        await world.accept(head, "basic-grant")
        await kobe.take(world.kobe.code(wife), AcceptQuery(KITAMI, ("basic-grant",)))
        assert await asyncio.gather(world.desk.send_on(), kobe.send_on()) == [0, 0]
        assert [claim[0] for claim in world.prefecture.claims()] == ["rc-000001"]


async def test_two_officials_who_send_on_at_once_give_lodging_once() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        await certified(world)
        head = world.homes[0].head
        await world.accept(head, "basic-grant", "lodging")
        assert await asyncio.gather(world.desk.send_on(), world.desk.send_on()) == [0, 0]
        await sim.sleep(60)
        aids = [kind for kind, _ in world.office.aids_of(world.kitami.code(head))]
        assert aids.count("lodging") == 1
        assert world.office.given_twice() == []


async def test_what_a_certificate_rests_on_is_not_surveyed_again() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        await certified(world)
        with pytest.raises(ManualReview):
            world.office.survey(house_of(1), 10, "somebody else")
        held = await world.desk.ask_ledger(world.kitami.code(world.homes[0].head), KITAMI)
        assert held.damage == damage_of(percent_of(1))


async def test_a_claim_without_a_certificate_or_without_the_ledger() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        code = world.kitami.code(world.homes[0].head)
        to = world.prefecture.address

        async def claim() -> None:
            await world.desk.ask(to, CLAIM, ClaimQuery(KITAMI), subject=code, procedure=PROCEDURE)

        with pytest.raises(Refused, match="not_found"):
            await claim()
        await world.apply(1, world.homes[0].head)
        with pytest.raises(Refused, match="not_found"):
            await claim()
        with sim.offline(world.office.address), pytest.raises(Refused, match="manual_review"):
            await claim()
        assert world.prefecture.claims() == []
        with pytest.raises(NotFound):
            world.prefecture.decide(1, "somebody")


async def test_nobody_accepts_aid_without_a_certificate() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        with pytest.raises(Refused, match="not_found"):
            await world.accept(world.homes[0].head, "basic-grant")
        with pytest.raises(ManualReview):
            world.desk.offer(world.kitami.code(world.homes[0].head), date(2025, 10, 1), "somebody")
        stranger = next(Population(sim).settled("28100", 1)).head
        with pytest.raises(Refused, match="not_found"):
            await world.apply(1, stranger)


async def test_a_reduction_for_who_has_nothing_waits_for_a_person() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        await certified(world)
        alone = world.homes[2].head
        await world.accept(alone, "elderly-premium")
        assert await world.desk.send_on() == 1
        assert world.desk.applications()[-1][2:] == ("open", "manual_review")


async def test_the_offices_of_the_reductions() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        desk, code = world.desk, world.kitami.code
        owner, wife = world.homes[0].parents
        tax, elderly = world.tax, world.kitami.node(ElderlyMedical)

        async def reduce(person: str, certificate: str) -> Any:
            query = ReduceQuery(certificate, "半壊")
            return await desk.ask(tax.address, REDUCE_TAX, query, subject=person, procedure=PROCEDURE)

        first, second = [await reduce(code(owner), "rc-000001") for _ in range(2)]
        assert (first.tenths, first.again, second.again) == (4, False, True)
        assert tax.grant("rc-000001", "somebody") == 32_000
        with pytest.raises(Refused, match="not_found"):
            await reduce(code(wife), "rc-000001")
        with pytest.raises(NotFound):
            tax.grant("rc-000002", "somebody")
        with pytest.raises(ManualReview):
            elderly.insure(code(owner), owner.born, 72_000)
        with pytest.raises(Refused, match="not_found"):
            await desk.ask(
                elderly.address,
                REDUCE_PREMIUM,
                ReducePremiumQuery("rc-000001", "全壊"),
                subject=code(owner),
                procedure=PROCEDURE,
            )
        with pytest.raises(NotFound):
            elderly.enter_decision(code(owner), "rc-000001", "somebody")
        asked = await desk.ask(elderly.address, INSURED, Empty(), subject=code(owner), procedure=PROCEDURE)
        assert asked.insured is False


async def test_the_list_of_houses_is_for_the_survey_and_comes_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nodes.municipality.property_tax.HOUSES_MAX", 2)
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        assert await world.office.list_houses() == 5
        assert isinstance(world.tax, PropertyTax)
        for procedure in (None, "disaster-aid"):
            with pytest.raises(Refused, match="no_legal_basis"):
                await world.desk.ask(world.tax.address, HOUSES, HousesQuery(), procedure=procedure)


async def test_the_ledger_is_given_to_whom_the_law_names() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, 5)
        await certified(world)
        person = world.kitami.code(world.homes[0].head)
        with pytest.raises(Refused, match="item_not_permitted"):
            await world.desk.ask(
                world.office.address, CERTIFICATE, Empty(), subject=person, procedure=PROCEDURE
            )
        with pytest.raises(Refused, match="no_legal_basis"):
            await world.tax.ask(
                world.office.address, CERTIFICATE, Empty(), subject=person, procedure=PROCEDURE
            )


# The rules, as pure functions.


@pytest.mark.parametrize(
    ("percent", "damage"),
    [
        (100, "全壊"),
        (50, "全壊"),
        (49, "大規模半壊"),
        (40, "大規模半壊"),
        (39, "中規模半壊"),
        (29, "半壊"),
        (19, "準半壊"),
        (10, "準半壊"),
        (9, "一部損壊"),
    ],
)
def test_the_classes_of_damage(percent: int, damage: str) -> None:
    assert damage_of(percent) == damage


def test_the_basic_grant() -> None:
    assert [basic_grant_yen("全壊", size) for size in (1, 2)] == [750_000, 1_000_000]
    assert [basic_grant_yen("大規模半壊", size) for size in (1, 4)] == [375_000, 500_000]
    assert basic_grant_yen("中規模半壊", 3) == 0


async def test_no_body_is_told_the_codes_of_another() -> None:
    """Rule 3: the prefecture learns how many lived in a house, and not by which codes the city knows them."""
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        await run.run(sim, down_s=60)
        opened = 0
        for one in messages(sim):
            seal, reader = getattr(one.message, "data", None), getattr(one.message, "recipient", "")
            if not isinstance(seal, str) or member_of(reader) == member_of(one.message.source):
                continue
            body = open_sealed(seal, sim.keys_of(reader).sealing)
            opened += 1
            assert f"{member_of(one.message.source)}:".encode() not in body
        assert opened > 50
