"""The scenario `benefit_payment` holds under every fault, its expectations can fail, and its nodes keep their rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

import nodes
from mesh import LegalBasis, ManualReview, NotFound, Refused, Simulation, UsageError
from mesh.builtin import Empty
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.agency.account_registry import ACCOUNT_DOUBT, ACCOUNTS, REGISTERED_ACCOUNT, AccountRegistry, Doubt
from nodes.data.people import Household
from nodes.firm.bank import TRANSFER, Account, Bank, TransferQuery
from nodes.municipality import benefit_file, benefits
from nodes.municipality.benefit_rules import PROCEDURE, is_adult, suspicion_of
from nodes.municipality.benefits import REFUSE, BenefitsOffice
from nodes.municipality.resident import HEADS, HeadsQuery, ResidentRegister
from nodes.municipality.tax import CORRECTION, TaxOffice
from nodes.portal.inbox import PORTAL, Portal
from scenarios._benefits import BANK, EARNING_YEN, PROGRAMME, World
from scenarios._portal import portal_code
from scenarios.benefit_payment import run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

NUMBER_FIVE = Account("9999", "001", "0000005", "サトウ ケンイチ")


@pytest.mark.parametrize("bank_fault", ["crash", "silence", "none"])
@pytest.mark.parametrize("seed", [1, 7])
def test_the_scenario_holds(seed: int, bank_fault: str) -> None:
    result = hold(run, seed=seed, bank_fault=bank_fault)
    assert len(result.expectations) >= 20
    push = result.report.push
    assert (push.eligible, push.notified, push.accepted, push.declined, push.mistaken) == (8, 8, 0, 1, 1)
    assert len(result.report.fallbacks) == 4


@pytest.mark.parametrize("settings", [{"refuse_days": 6}, {"refuse_days": 29}, {"bank_fault": "fire"}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def any_account_will_do(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(benefits, "suspicion_of", lambda holder, payee: None)

    @staticmethod
    def a_bank_without_memory(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        transfer = Bank.transfer

        async def forgets(self: Bank, query: TransferQuery, caller: Any) -> Any:
            number = self.db.execute("SELECT count(*) FROM transfer").fetchone()[0]
            self.host.store.db.execute("UPDATE transfer SET number = number || ?", (f"/{number}",))
            return await transfer(self, query, caller)

        patch.setattr(Bank, "transfer", forgets)

    @staticmethod
    def a_register_without_dates(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        heads = ResidentRegister.heads

        async def all_of_them(self: ResidentRegister, query: HeadsQuery, caller: Any) -> Any:
            return await heads(self, HeadsQuery("2999-01-01", query.after), caller)

        patch.setattr(ResidentRegister, "heads", all_of_them)

    @staticmethod
    def answers_from_the_original(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def levied(self: TaxOffice, person: str, tax_year: int, **_: Any) -> Any:
            return self.db.execute("SELECT * FROM levy WHERE code = ?", (person,)).fetchone()

        patch.setattr(TaxOffice, "_replica", levied)

    @staticmethod
    def an_office_that_forgets_the_last_day(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        check_stage = BenefitsOffice._check_stage

        def without_a_day(self: BenefitsOffice, number: int, *stages: Any) -> benefit_file.Household:
            return replace(check_stage(self, number, *stages), refuse_by="")

        patch.setattr(BenefitsOffice, "_check_stage", without_a_day)

    @staticmethod
    def a_correction_that_acts(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        on_correction = BenefitsOffice.on_correction

        async def acts(self: BenefitsOffice, event: Any, caller: Any, person: str) -> None:
            await on_correction(self, event, caller, person)
            for number, _ in self.file.reviews():
                self.settle_review(number, "done", "nobody")

        acts.__mesh_declaration__ = CORRECTION  # type: ignore[attr-defined]
        patch.setattr(BenefitsOffice, "on_correction", acts)

    @staticmethod
    def a_deaf_registry(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def ignore(self: AccountRegistry, doubt: Any, caller: Any, person: str) -> None:
            return None

        patch.setattr(AccountRegistry, "stop", ignore)

    @staticmethod
    def everybody_is_asked_about_at_home(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        ask = BenefitsOffice.ask

        async def at_home(self: Any, to: str, service: Any, query: Any, **how: Any) -> Any:
            return await ask(self, to.replace("muni/28100/tax", "muni/01208/tax"), service, query, **how)

        patch.setattr(BenefitsOffice, "ask", at_home)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.any_account_will_do, ["accounts in another name"]),
        (Sabotage.a_bank_without_memory, ["one order for each"]),
        (Sabotage.a_register_without_dates, ["Listed are the eight"]),
        (Sabotage.answers_from_the_original, ["two certificates"]),
        (Sabotage.an_office_that_forgets_the_last_day, ["Nothing can be paid"]),
        (Sabotage.a_correction_that_acts, ["before an official"]),
        (Sabotage.everybody_is_asked_about_at_home, ["twelve adults", "four adults"]),
        (Sabotage.a_deaf_registry, ["registry heard of both", "no automatic answer"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


# The nodes.


async def test_an_order_is_one_transfer_and_keeps_its_content() -> None:
    with simulation() as sim:
        nodes.establish(sim)
        world = World(sim)
        world.bank.open_account(NUMBER_FIVE)

        async def order(number: str, account: Account, yen: int = 70_000) -> str:
            query = TransferQuery(number, account, yen)
            return (await world.office.ask(BANK, TRANSFER, query, procedure=PROCEDURE)).outcome

        assert [await order("bp-000001", NUMBER_FIVE) for _ in range(3)] == ["paid"] * 3
        assert world.bank.balance_yen(NUMBER_FIVE) == 70_000
        with pytest.raises(Refused, match="manual_review"):
            await order("bp-000001", NUMBER_FIVE, 80_000)
        someone = Account("9999", "001", "0000005", "スズキ ケンイチ")
        nobody = Account("9999", "001", "0000006", "サトウ ケンイチ")
        assert [await order("bp-000002", someone), await order("bp-000003", nobody)] == [
            "name-differs",
            "no-account",
        ]
        assert world.bank.balance_yen(NUMBER_FIVE) == 70_000


async def test_a_person_who_registers_anew_ends_a_stop() -> None:
    with simulation() as sim:
        nodes.establish(sim)
        world = World(sim)
        home = world.household()
        code = world.kitami.code(home.head)
        office, registry = world.office, sim.node(ACCOUNTS, AccountRegistry)

        async def asked() -> str:
            try:
                reply = await office.ask(
                    ACCOUNTS, REGISTERED_ACCOUNT, Empty(), subject=code, procedure=PROCEDURE
                )
            except Refused as refused:
                return refused.code
            return str(reply.number)

        assert await asked() == "not_found"
        await world.register(home.head, NUMBER_FIVE)
        assert await asked() == "0000005"
        for last_three in ("006", "005"):  # an account that is no longer registered stops nothing
            office.notify(
                ACCOUNT_DOUBT, ACCOUNTS, Doubt("stranger", last_three), subject=code, procedure=PROCEDURE
            )
            await sim.sleep(5)
            assert len(registry.stopped()) == (last_three == "005")
        assert await asked() == "manual_review"
        await world.register(home.head, NUMBER_FIVE)
        assert await asked() == "0000005"


async def test_only_the_benefits_office_of_a_city_lists_its_households() -> None:
    with simulation() as sim:
        nodes.establish(sim)
        world = World(sim)
        for _ in range(3):
            world.household()
        kobe = world.kobe.tax
        with pytest.raises(Refused, match="no_legal_basis"):
            await kobe.ask(world.kitami.address("resident"), HEADS, HeadsQuery("2023-12-01"))
        with pytest.raises(Refused, match="no_legal_basis"):
            await kobe.ask(
                world.kitami.address("resident"), HEADS, HeadsQuery("2023-12-01"), procedure=PROCEDURE
            )


async def test_a_long_list_comes_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.municipality.resident.HEADS_MAX", 2)
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        world.office.open_programme(PROGRAMME)
        homes = [world.household() for _ in range(5)]
        assert await world.office.list_households() == 5
        assert await world.office.list_households() == 5, "listed again, nobody is listed twice"
        assert [world.number(home) for home in homes] == [1, 2, 3, 4, 5]


async def test_nobody_but_a_head_who_was_told_can_refuse() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        world.office.open_programme(PROGRAMME)
        home = world.household()
        await world.office.list_households()
        portal = sim.node(PORTAL, Portal)
        for person, code in ((home.parents[1], "not_found"), (home.head, "manual_review")):
            with pytest.raises(Refused, match=code):
                await portal.apply(
                    portal_code(sim, person), world.office.address, REFUSE, Empty(), procedure=PROCEDURE
                )


async def test_a_returned_transfer_is_no_payment() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        office = world.office
        with pytest.raises(NotFound):
            await office.list_households()
        office.open_programme(PROGRAMME)
        home = world.household()
        await world.register(home.head, Account("9999", "001", "0000009", home.head.kana))
        await office.list_households()
        await office.examine(1)
        with pytest.raises(ManualReview):
            office.report_doubt(1, "somebody")
        office.approve(1, "somebody")
        office.send_notice(1, date(2024, 2, 1))
        await sim.sleep(86_400)
        assert await office.pay(1, "somebody") == "no-account"
        assert world.bank.transfers_from("muni/01208") == [("bp-000001", "no-account", 70_000)]


async def test_who_refused_is_not_examined_into_the_programme_again() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world, home = await noticed(sim)
        portal, office = sim.node(PORTAL, Portal), world.office
        await portal.apply(portal_code(sim, home.head), office.address, REFUSE, Empty(), procedure=PROCEDURE)
        with pytest.raises(ManualReview, match="refused"):
            await office.examine(1)
        assert office.file.household(1).stage == "refused"


async def test_nothing_is_paid_while_a_correction_waits_for_an_official() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world, home = await noticed(sim)
        world.kitami.tax.correct(world.kitami.code(home.head), 2023, total_income_yen=EARNING_YEN)
        await sim.sleep(86_400)
        with pytest.raises(ManualReview, match="correction"):
            await world.office.pay(1, "somebody")
        assert world.bank.transfers_from("muni/01208") == []
        world.office.settle_review(1, "paid all the same", "somebody")
        assert await world.office.pay(1, "somebody") == "paid"


async def noticed(sim: Simulation) -> tuple[World, Household]:
    """A household that has registered its account and may refuse until tonight."""
    world = World(sim)
    home = world.household()
    await world.register(home.head, world.open_account(home.head))
    world.office.open_programme(PROGRAMME)
    await world.office.list_households()
    await world.office.examine(1)
    world.office.approve(1, "somebody")
    world.office.send_notice(1, sim.now().date())
    return world, home


async def test_an_unlawful_question_is_the_offices_own_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benefits, "PROCEDURE", "another")
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        for service, to in (("resident.heads.v1", "resident"), ("resident.household.v1", "resident")):
            items = ("members",) if "household" in service else ()
            sim.allow(LegalBasis("muni/*/benefits", "another", f"muni/*/{to}", service, items))
        world.office.open_programme(PROGRAMME)
        world.household()
        await world.office.list_households()
        with pytest.raises(Refused, match="no_legal_basis"):
            await world.office.examine(1)
        assert world.office.file.papers(1) == []


@pytest.mark.parametrize(
    ("holder", "said"),
    [
        ("サトウ ケンイチ", None),
        ("サトウ　ケンイチ", None),
        ("サトウ ハナコ", "family"),
        ("スズキ ケンイチ", "stranger"),
    ],
)
def test_whose_account_it_seems_to_be(holder: str, said: str | None) -> None:
    assert suspicion_of(holder, "サトウ ケンイチ") == said


@pytest.mark.parametrize(("born", "adult"), [(date(2005, 1, 2), True), (date(2005, 1, 3), False)])
def test_who_is_of_age_on_the_first_of_january(born: date, adult: bool) -> None:
    assert is_adult(born, 2023) is adult


async def test_who_has_died_heads_no_household() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        world.office.open_programme(PROGRAMME)
        homes = [world.household() for _ in range(2)]
        world.kitami.resident.register_death(world.kitami.code(homes[0].head))
        assert await world.office.list_households() == 1
        assert world.number(homes[1]) == 1
