"""The scenario `private_app`, the gateway for firms, and that its expectations fail when a rule is broken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from msgspec import json

from mesh import LegalBasis, MeshError, NotFound, Refused, Simulation, UsageError, instant
from mesh.consent import ConsentUses
from mesh.faults import drop, repeat
from mesh.names import BROKER
from mesh.policy import Policy
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes import establish
from nodes.data.law import read_law
from nodes.firm.app import FirmApp
from nodes.municipality.tax import INCOME, IncomeQuery
from nodes.portal.api import API, API_STATE, ApiGateway, SelfIncome, StateQuery
from nodes.portal.application import ONLINE, Filing
from nodes.portal.application_server import FILE, SERVER, FileQuery
from nodes.portal.consent_file import ConsentState
from nodes.portal.inbox import Portal
from scenarios._applicants import TAX_YEAR, TYPED
from scenarios._private_users import APP, INSIDER, LOAN, UNAPPROVED, Private, holdings, make_private
from scenarios.private_app import KOBE, run
from tests.helpers_scenario import Sabotaging, copies_as_of_now, hold, named, no_history, see_fail


@pytest.mark.parametrize(("seed", "settings"), [(2, {}), (1, {"uses": 1, "days": 1})])
def test_it_holds(seed: int, settings: dict[str, Any]) -> None:
    result = hold(run, seed=seed, **settings)
    assert [one.paper.fee_yen for one in result.report.papers] == [300, 300, 300]
    assert [one.code for one in result.report.fallbacks] == ["consent_withdrawn"]
    assert sorted(result.report.disclosed[APP]) == ["tax_year", "total_income_yen"]


@pytest.mark.parametrize("settings", [{"uses": 0}, {"uses": 11}, {"days": 0}, {"days": 101}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


@pytest.fixture
async def world() -> AsyncIterator[Private]:
    with simulation(starts=run.starts) as sim:
        establish(sim)
        yield make_private(sim)


def drafted(world: Private, app: FirmApp, **card: Any) -> str:
    """A draft of the customer in an app."""
    number = app.link(world.sim.code(app.member, world.customer.handle))
    receipt = app.new_receipt()
    signed = world.cities.signed(receipt, world.family, world.cities.card(world.customer, **card))
    app.prepare(receipt, number, world.cities.kitami.member, signed)
    return receipt


async def test_an_approval_is_for_one_api_and_ends(world: Private) -> None:
    other = world.sim.node(UNAPPROVED, FirmApp)
    receipt = drafted(world, other)
    with pytest.raises(Refused, match="no_legal_basis") as refused:
        await other.submit(receipt)
    assert refused.value.by == API
    world.gateway.approve(UNAPPROVED, "self-information", "2026-03-31")
    with pytest.raises(Refused, match="no_legal_basis"):
        await other.submit(receipt)
    world.gateway.approve(UNAPPROVED, "application", "2025-11-10")
    assert await other.submit(receipt) > 0
    assert await other.refresh(receipt) == "filed"
    await world.sim.sleep(86_400)
    with pytest.raises(Refused, match="no_legal_basis"):
        await other.refresh(receipt)


async def test_what_stands_further_on_is_not_set_back(world: Private) -> None:
    app, receipt = world.app, drafted(world, world.app)
    await app.submit(receipt)
    await world.cities.management.run()
    assert await app.refresh(receipt) == "received"
    await app.submit(receipt)
    assert app._filing(receipt)["state"] == "received"
    world.gateway.approve(APP, "application", "2025-11-09")
    with pytest.raises(Refused, match="no_legal_basis"):
        await app.submit(receipt)
    assert app._filing(receipt)["state"] == "received"


async def test_a_firm_sees_its_own_applications_only(world: Private) -> None:
    receipt = drafted(world, world.app)
    await world.app.submit(receipt)
    other = world.sim.node(UNAPPROVED, FirmApp)
    world.gateway.approve(UNAPPROVED, "application", "2026-03-31")
    with pytest.raises(Refused, match="not_found"):
        await other.ask(API, API_STATE, StateQuery(receipt), procedure=ONLINE)
    with other.effect():
        other.db.execute(
            "INSERT INTO filing SELECT ?, 1, ?, 'draft'", (receipt, world.app._filing(receipt)["filing"])
        )
    with pytest.raises(Refused, match="schema_invalid"):
        await other.submit(receipt)


async def test_the_codes_of_the_relay_server_come_through(world: Private) -> None:
    receipt = drafted(world, world.app, issued_on=date(2019, 11, 1))
    with pytest.raises(Refused, match="certificate_expired"):
        await world.app.submit(receipt)
    assert world.app._filing(receipt)["state"] == "refused"


async def test_a_lost_answer_is_filed_once_when_sent_again(world: Private) -> None:
    receipt = drafted(world, world.app)
    lost = drop(SERVER, BROKER)
    world.sim.disturbance.rules.append(lost)
    with pytest.raises(Refused) as refused:
        await world.app.submit(receipt)
    assert not refused.value.definite
    assert world.app._filing(receipt)["state"] == "draft"
    world.sim.disturbance.rules.remove(lost)
    await world.app.submit(receipt)
    assert await world.cities.management.run() == 1
    assert await world.cities.management.run() == 0


async def test_a_firm_has_no_way_around_the_gateway(world: Private) -> None:
    receipt = drafted(world, world.app)
    filing = json.decode(world.app._filing(receipt)["filing"], type=Filing)
    with pytest.raises(Refused, match="zone_forbidden"):
        await world.app.ask(SERVER, FILE, FileQuery(filing), procedure=ONLINE)
    with pytest.raises(MeshError, match="schema_invalid"):
        await world.app.ask(API, API_STATE, StateQuery("12"), procedure=ONLINE)


async def test_a_repeated_question_is_one_use(world: Private) -> None:
    number = world.app.link(world.firm_code)
    consent = await world.consent(number, days=1, uses=2)
    world.sim.disturbance.rules.append(repeat(BROKER, API))
    await world.app.read_income(number, KOBE, TAX_YEAR)
    await world.sim.sleep(5)
    assert world.gateway.host.store.number(f"consent {consent}") == 1
    read = await world.app.read_income(number, KOBE, TAX_YEAR)
    assert read == SelfIncome(TAX_YEAR, 2_430_000, as_of=world.copied_at)
    assert read.as_of != instant(world.sim.now_us()), "the gateway passes on as of when the city's copy is"


@pytest.mark.parametrize(("flag", "code"), [("withhold", "withheld"), ("review_manually", "manual_review")])
async def test_what_the_city_withholds_is_no_use_of_the_consent(world: Private, flag: str, code: str) -> None:
    number = world.app.link(world.firm_code)
    consent = await world.consent(number, days=1, uses=1)
    tax = world.cities.kobe.tax
    getattr(tax, flag)(world.cities.kobe.code(world.customer))
    with pytest.raises(Refused, match=code):
        await world.app.read_income(number, KOBE, TAX_YEAR)
    assert world.gateway.host.store.number(f"consent {consent}") == 0
    assert holdings(world.app).count("2430000") == 0


async def test_a_customer_without_consent(world: Private) -> None:
    number = world.app.link(world.firm_code)
    with pytest.raises(NotFound, match="consent"):
        await world.app.read_income(number, KOBE, TAX_YEAR)
    world.app.keep_consent(number, "invented", LOAN)
    with pytest.raises(Refused, match="consent_required"):
        await world.app.read_income(number, KOBE, TAX_YEAR)


async def test_an_altered_form_is_given_back(world: Private) -> None:
    app, cities = world.app, world.cities
    number = app.link(world.firm_code)
    receipt, other = app.new_receipt(), app.new_receipt()
    signed = cities.signed(receipt, world.family, cities.card(world.customer))
    app.prepare(other, number, cities.kitami.member, signed)
    await app.submit(other)
    await cities.management.run()
    assert await app.refresh(other) == "returned"
    assert cities.office.applications() == []
    assert TYPED not in holdings(app)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def nobody_reads_consents(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("mesh.consent.check_scope", lambda *args, **options: None)

    @staticmethod
    def uses_without_end(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        init = ConsentUses.__init__

        def never_used(self: Any, signers: Any, used: Any) -> None:
            init(self, signers, lambda consent: -99)

        patch.setattr(ConsentUses, "__init__", never_used)

    @staticmethod
    def one_great_zone(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Policy, "_may_cross", lambda *_: True)
        sim.policy.may_cross.cache_clear()
        sim.policy.may_cross = lambda *_: True  # type: ignore[assignment]

    @staticmethod
    def the_gateway_names_the_firm(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The firm asks in its own name, from inside, under a row of its own."""
        sim.allow(LegalBasis(INSIDER, LOAN, "muni/*/tax", INCOME.name, ("tax_year", "total_income_yen")))
        read_income = FirmApp.read_income

        async def itself(self: FirmApp, number: int, city: str, year: int, **how: Any) -> Any:
            inside, tax = sim.node(INSIDER), f"muni/{city}/tax"
            code = self.db.execute("SELECT code FROM customer WHERE number = ?", (number,)).fetchone()["code"]
            with suppress(Refused):
                await inside.ask(
                    tax, INCOME, IncomeQuery(year), subject=code, procedure=LOAN, items=("tax_year",)
                )
            return await read_income(self, number, city, year, **how)

        patch.setattr(FirmApp, "read_income", itself)

    @staticmethod
    def withdrawn_and_forgotten(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        withdraw = Portal.withdraw

        async def forget(self: Portal, person: str, consent: str) -> ConsentState:
            state = await withdraw(self, person, consent)
            with self.effect():
                self.db.execute("DELETE FROM consent WHERE id = ?", (consent,))
            return state

        patch.setattr(Portal, "withdraw", forget)

    @staticmethod
    def a_broker_without_law(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(LegalBasis(INSIDER, LOAN, "muni/*/tax", INCOME.name, ("tax_year", "total_income_yen")))

    @staticmethod
    def a_curious_gateway(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        income = ApiGateway.income

        async def keeps(self: ApiGateway, query: Any, caller: Any, person: str) -> SelfIncome:
            reply = await income(self, query, caller, person)
            with self.effect():
                self.db.execute(
                    "INSERT OR REPLACE INTO approval VALUES ('', 'income', ?)", (str(reply.total_income_yen),)
                )
            return reply

        patch.setattr(ApiGateway, "income", keeps)
        patch.setattr(ApiGateway, "_check_approved", lambda *_: None)
        patch.setattr(FirmApp, "forget", lambda *_: None)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.nobody_reads_consents, ["beyond its scope", "another purpose", "the consent has ended"]),
        (Sabotage.uses_without_end, ["One use more"]),
        (copies_as_of_now, ["Each answer says as of when"]),
        (no_history, ["which firm read what"]),
        (Sabotage.the_gateway_names_the_firm, ["never hears of the firm"]),
        (Sabotage.withdrawn_and_forgotten, ["the withdrawn one as withdrawn"]),
        (Sabotage.a_broker_without_law, ["None of it reached the tax office"]),
        (Sabotage.one_great_zone, ["zone refuses first"]),
        (Sabotage.a_curious_gateway, ["deletes what it had read", "has not approved", "kept neither"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


def test_the_city_is_asked_for_no_more_than_the_portal_may_show() -> None:
    rows = {row.id: row for row in read_law().bases}
    assert set(rows["pa-loan"].items) < set(rows["pa-disclosure"].items) < set(INCOME.items)
    assert rows["pa-loan"].consent
    assert not rows["pa-disclosure"].consent


async def test_what_is_kept_from_the_portal_goes_to_whom_the_law_names_all_the_same(world: Private) -> None:
    tax, code = world.cities.kobe.tax, world.cities.kobe.code(world.customer)
    tax.keep_from_portal(code)
    number = world.app.link(world.firm_code)
    await world.consent(number, days=1, uses=1)
    with pytest.raises(Refused, match="withheld"):
        await world.app.read_income(number, KOBE, TAX_YEAR)
    reply = await world.cities.office.ask(
        tax.address,
        INCOME,
        IncomeQuery(TAX_YEAR),
        subject=world.cities.kitami.code(world.customer),
        procedure="childcare",
        items=("tax_year", "tax_yen"),
    )
    assert reply.tax_year == TAX_YEAR
