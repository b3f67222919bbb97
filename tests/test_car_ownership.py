"""The scenario `car_ownership`, the rules of its offices, and that its expectations fail when a rule is broken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from msgspec.structs import replace

from mesh import LegalBasis, ManualReview, MeshError, NotFound, Refused, Simulation, UsageError, Withheld
from mesh.builtin import Empty
from mesh.faults import drop, repeat
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import messages, simulation
from nodes import establish
from nodes.agency import car_one_stop, inspection, vehicle_tax_rules
from nodes.agency.car_application import Transfer
from nodes.agency.case_steps import CaseQuery, Steps
from nodes.agency.certificates import CertificateAuthority
from nodes.agency.inspection import InspectionOffice
from nodes.agency.police import GARAGE_CERTIFY, GARAGE_WITHDRAW, GaragePolice, GarageQuery
from nodes.agency.prefecture_tax import VEHICLE_TAX_DECLARE, DeclareQuery
from nodes.agency.transport import TransportOffice
from nodes.agency.vehicle_inspection_payment import (
    PAYMENT_CHECK,
    PAYMENT_REPORT,
    PAYMENT_STANDING,
    PaymentCheck,
    PaymentQuery,
    PaymentReport,
    PaymentStanding,
)
from nodes.agency.vehicle_tax_rules import annual_yen, emission_yen, first_year_yen
from nodes.data.people import Household
from nodes.municipality.assembly import City
from nodes.municipality.light_vehicle_tax import LIGHT_TAX_OWED, LightVehicleTax
from nodes.municipality.resident import RECORD
from scenarios._cars import (
    INSPECTION,
    PLACE,
    POLICE,
    SPACES,
    TAX,
    World,
    make_world,
    sign,
)
from scenarios.car_ownership import FIRST, SECOND, run, standing_registrations
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

CASE = "cs-000901"


@pytest.mark.parametrize(
    ("seed", "settings"), [(2, {}), (1, {"price_yen": 400_000, "displacement_cc": 2_800})]
)
def test_it_holds(seed: int, settings: dict[str, Any]) -> None:
    result = hold(run, seed=seed, **settings)
    assert [one.paper.name for one in result.report.papers].count(
        "Certificate of paid vehicle tax for inspections"
    ) == 2
    assert len(result.report.fallbacks) == 2


@pytest.mark.parametrize(
    "settings", [{"price_yen": -1}, {"displacement_cc": 660}, {"displacement_cc": 10_001}]
)
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


# The rates, as pure functions.


@pytest.mark.parametrize(
    ("displacement_cc", "registered_on", "yen"),
    [
        (1_490, date(2025, 10, 6), 12_700),
        (1_500, date(2025, 4, 30), 27_900),
        (1_501, date(2026, 3, 1), 0),
        (660, date(2026, 2, 28), 2_000),
        (6_001, date(2025, 12, 31), 27_500),
    ],
)
def test_the_first_year_is_paid_by_the_month(displacement_cc: int, registered_on: date, yen: int) -> None:
    assert first_year_yen(displacement_cc, registered_on) == yen


def test_the_rates_rise_with_the_displacement() -> None:
    assert [annual_yen(cc) for cc in (1_000, 1_001, 2_000, 3_500, 4_500)] == [
        25_000,
        30_500,
        36_000,
        57_000,
        75_500,
    ]


@pytest.mark.parametrize(
    ("price_yen", "percent", "yen"),
    [
        (500_000, 3, 0),
        (500_001, 3, 15_000),
        (2_400_999, 1, 24_000),
        (1_555_000, 1, 15_500),
        (9_000_000, 0, 0),
    ],
)
def test_the_tax_on_the_acquisition(price_yen: int, percent: int, yen: int) -> None:
    assert emission_yen(price_yen, percent, date(2026, 3, 31)) == yen


def test_the_tax_on_the_acquisition_is_modelled_to_march_2026() -> None:
    with pytest.raises(ManualReview):
        emission_yen(1_000_000, 1, date(2026, 4, 1))


# The offices, in a small simulation.


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation(starts=run.starts) as sim:
        establish(sim)
        yield make_world(sim, 2_400_000, 1_490)


async def test_an_undone_step_is_never_done_again(world: World) -> None:
    query = GarageQuery(CASE, FIRST, PLACE)
    undo = CaseQuery(CASE)
    answers = [
        await world.one_stop.ask(POLICE, GARAGE_WITHDRAW, undo, procedure="car-registration")
        for _ in range(2)
    ]
    assert [one.was_done for one in answers] == [False, False]
    with pytest.raises(Refused, match="withheld"):
        await world.one_stop.ask(POLICE, GARAGE_CERTIFY, query, procedure="car-registration")
    assert world.police.free_spaces(PLACE) == SPACES
    assert Steps(world.police.db).count("undone") == 1


async def test_a_step_asked_for_again_gives_the_same(world: World) -> None:
    query = GarageQuery(CASE, FIRST, PLACE)
    numbers = [
        (await world.one_stop.ask(POLICE, GARAGE_CERTIFY, query, procedure="car-registration")).number
        for _ in range(2)
    ]
    assert numbers == ["gc-000001"] * 2
    assert world.police.free_spaces(PLACE) == SPACES - 1
    undone = await world.one_stop.ask(POLICE, GARAGE_WITHDRAW, CaseQuery(CASE), procedure="car-registration")
    assert undone.was_done
    assert world.police.free_spaces(PLACE) == SPACES


@pytest.mark.parametrize(
    ("distance_m", "spaces", "code"),
    [(2_001, 1, "withheld"), (100, 0, "withheld"), (None, 0, "manual_review")],
)
async def test_what_the_police_refuse(world: World, distance_m: int | None, spaces: int, code: str) -> None:
    if distance_m is not None:
        world.police.survey("pl-other", distance_m=distance_m, spaces=spaces)
    owner, card = world.owner()
    application = replace(world.application(owner, FIRST), place="pl-other")
    number = await world.one_stop.file(sign(card, application))
    assert await world.one_stop.advance(number) == "undone"
    assert world.one_stop.case(number)["why"] == f"police: {code}"
    assert world.transport.owner_of(FIRST) is None
    with pytest.raises(NotFound):
        world.one_stop.result(number, "police")


async def test_a_car_is_registered_once(world: World) -> None:
    states = []
    for _ in range(2):
        owner, card = world.owner()
        number = await world.one_stop.file(sign(card, world.application(owner, FIRST)))
        states.append((await world.one_stop.advance(number), world.one_stop.case(number)["why"]))
    assert states == [("completed", ""), ("undone", "transport: withheld")]


async def test_two_cases_at_once_register_a_car_once(world: World) -> None:
    numbers = []
    for _ in range(2):
        owner, card = world.owner()
        numbers.append(await world.one_stop.file(sign(card, world.application(owner, FIRST))))
    states = await asyncio.gather(*(world.one_stop.advance(number) for number in numbers))
    assert sorted(states) == ["completed", "undone"]
    assert sorted(world.one_stop.case(number)["why"] for number in numbers) == ["", "transport: withheld"]
    assert standing_registrations(world, FIRST) == 1


def test_a_paper_of_one_counter_is_one_visit() -> None:
    result = run_scenario(run, nodes="nodes")
    counted = Counter(one.paper.name_ja for one in result.report.papers)
    assert counted == {
        "自動車保管場所証明書（車庫証明書）": 4,
        "印鑑登録証明書": 5,
        "納税証明書（継続検査用）": 2,
    }
    assert result.report.visits_saved == 11


@pytest.mark.parametrize("deed", [None, "another car", "another person"])
async def test_a_transfer_needs_the_deed_of_this_car_to_this_person(world: World, deed: str | None) -> None:
    owner, card = world.owner()
    buyer, buyers_card = world.owner()
    await world.one_stop.advance(await world.one_stop.file(sign(card, world.application(owner, FIRST))))
    wanted = replace(world.application(buyer, FIRST), procedure="transfer")
    signed = {
        None: None,
        "another car": sign(card, Transfer(SECOND, buyer.name)),
        "another person": sign(card, Transfer(FIRST, "誰か")),
    }[deed]
    number = await world.one_stop.file(sign(buyers_card, wanted), signed)
    assert await world.one_stop.advance(number) == "undone"
    standing = world.transport.owner_of(FIRST)
    assert standing is not None
    assert standing["serial"] == card.serial


async def test_undoing_goes_on_when_the_police_are_back(world: World) -> None:
    owner, card = world.owner()
    number = await world.one_stop.file(sign(card, world.application(owner, FIRST, reduced=True)))

    def away(sender: str, recipient: str, line: bytes, now_us: int) -> Any:
        found = [one for one in messages(world.sim) if one.recipient == TAX]
        return ((None, line),) if recipient == POLICE and found else None

    world.sim.disturbance.rules.append(away)
    assert await world.one_stop.advance(number) == "undoing"
    assert world.one_stop.taken(number) == [("police", "done"), ("transport", "undone"), ("tax", "undone")]
    world.sim.disturbance.rules.remove(away)
    assert await world.one_stop.advance(number) == "undone"
    assert await world.one_stop.advance(number) == "undone"
    assert world.police.free_spaces(PLACE) == SPACES


async def test_every_question_twice_has_one_effect(world: World) -> None:
    world.sim.disturbance.rules.append(repeat(BROKER, "*/*/*"))
    owner, card = world.owner()
    number = await world.one_stop.file(sign(card, world.application(owner, FIRST)))
    assert await world.one_stop.advance(number) == "completed"
    await world.sim.sleep(5)
    assert world.police.free_spaces(PLACE) == SPACES - 1
    assert [Steps(one.db).count("done") for one in (world.police, world.transport, world.tax)] == [1, 1, 1]


async def test_a_signature_that_lapsed_after_filing_still_counts(world: World) -> None:
    owner, card = world.owner()
    number = await world.one_stop.file(sign(card, world.application(owner, FIRST)))
    await world.sim.sleep(60)
    authority = world.sim.node("org/j-lis/certificates", CertificateAuthority)
    authority.revoke(world.sim.code("org/j-lis", owner.handle))
    assert await world.one_stop.advance(number) == "completed"
    with pytest.raises(MeshError, match="certificate_revoked"):
        await world.one_stop.file(sign(card, world.application(owner, SECOND)))


async def test_an_altered_application_is_no_signature(world: World) -> None:
    owner, card = world.owner()
    thief, other = world.owner()
    signed = sign(card, world.application(owner, FIRST))
    mixed = replace(signed, certificate=other.certificate)
    with pytest.raises(MeshError, match="signature_invalid"):
        await world.one_stop.file(mixed)
    assert thief.name


async def test_a_transfer_leaves_the_tax_of_the_year_alone(world: World) -> None:
    query = DeclareQuery(CASE, FIRST, False, 1_490, 900_000, 2, False)
    answer = await world.one_stop.ask(TAX, VEHICLE_TAX_DECLARE, query, procedure="car-registration")
    assert (answer.emission_yen, answer.first_year_yen) == (18_000, 0)
    assert await world.tax.report() == 0


async def test_the_payment_check_is_for_whom_the_law_names(world: World) -> None:
    with pytest.raises(Refused, match="no_legal_basis"):
        await world.one_stop.ask(
            PAYMENT_CHECK, PAYMENT_REPORT, PaymentReport(FIRST, 2025, True), procedure="vehicle-tax"
        )
    with pytest.raises(Refused, match="no_legal_basis"):
        await world.tax.ask(
            PAYMENT_CHECK, PAYMENT_STANDING, PaymentQuery(FIRST, 2025), procedure="vehicle-tax"
        )


@pytest.mark.parametrize(
    ("until", "renewed"),
    [("2025-12-06", "2027-12-06"), ("2025-12-07", "2027-10-06"), ("2025-10-01", "2027-10-06")],
)
async def test_an_inspection_two_months_early_loses_no_day(world: World, until: str, renewed: str) -> None:
    office = world.sim.node(INSPECTION, InspectionOffice)
    office.enter(FIRST, until)
    assert await office.inspect(FIRST) == "paper-needed"
    world.tax.levy(FIRST, 2025, 36_000)
    assert await world.tax.report() == 1
    assert await office.inspect(FIRST) == "paper-needed"
    world.tax.receive_payment(FIRST, 2025)
    assert await world.tax.report() == 1
    assert await office.inspect(FIRST) == "renewed"
    assert office.until(FIRST) == renewed
    with pytest.raises(NotFound):
        await office.inspect(SECOND)


async def test_until_may_the_tax_of_the_year_before_counts(world: World) -> None:
    office = world.sim.node(INSPECTION, InspectionOffice)
    office.enter(FIRST, "2026-06-10")
    world.tax.levy(FIRST, 2025, 36_000)
    world.tax.receive_payment(FIRST, 2025)
    await world.tax.report()
    await world.sim.sleep((date(2026, 5, 31) - date(2025, 10, 6)).days * 86_400)
    assert await office.inspect(FIRST) == "renewed"
    await world.sim.sleep(86_400)
    assert await office.inspect(FIRST) == "paper-needed"


async def test_without_the_payment_check_paper_counts(world: World) -> None:
    office = world.sim.node(INSPECTION, InspectionOffice)
    office.enter(FIRST, "2025-10-31")
    world.sim.disturbance.rules.append(drop(BROKER, PAYMENT_CHECK))
    assert await office.inspect(FIRST) == "paper-needed"
    assert await office.inspect(FIRST, tax_paper=f"{FIRST} 2024 paid") == "paper-needed"
    assert await office.inspect(FIRST, tax_paper=f"{FIRST} 2025 paid") == "renewed"


async def test_what_the_light_vehicle_tax_tells_inside_its_city(world: World) -> None:
    owner, _ = world.owner()
    code = world.kitami.code(owner)
    tax = world.light_tax
    with pytest.raises(NotFound):
        tax.receive_payment("5BA-0000201", 2025)
    for number in ("201", "202"):
        tax.levy(code, f"5BA-0000{number}", 2025)
    tax.receive_payment("5BA-0000201", 2025)
    with pytest.raises(Withheld):
        tax.tax_certificate("5BA-0000202", 2025)
    reply = await tax.owed(Empty(), None, code)  # type: ignore[arg-type]
    assert reply.vehicles == ("5BA-0000202",)
    with pytest.raises(Refused, match="no_legal_basis"):
        await world.kitami.resident.ask(
            tax.address, LIGHT_TAX_OWED, Empty(), subject=code, procedure="vehicle-tax"
        )
    assert isinstance(tax, LightVehicleTax)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def nothing_is_undone(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def stop(self: Any, number: int) -> None:
            self._turn(number, "undone", self.case(number)["why"])

        patch.setattr(car_one_stop.CarOneStop, "_undo", stop)

    @staticmethod
    def careless_offices(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def anybody(self: Any, application: Any, deed: Any) -> None: ...

        async def always(self: Any, query: PaymentQuery, caller: Any) -> PaymentStanding:
            return PaymentStanding("paid")

        patch.setattr(TransportOffice, "_check_owner_before", anybody)
        patch.setattr(PaymentCheck, "standing", always)
        patch.setattr(inspection, "TERM_MONTHS", 12)

    @staticmethod
    def another_rate(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        rates = tuple((limit_cc, yen + 1_200) for limit_cc, yen in vehicle_tax_rules.ANNUAL_YEN)
        patch.setattr(vehicle_tax_rules, "ANNUAL_YEN", rates)

    @staticmethod
    def a_nosy_service(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """A registration asks whether some tax is paid, too."""
        sim.allow(LegalBasis(car_one_stop.ONE_STOP, "nosy", PAYMENT_CHECK, PAYMENT_STANDING.name))
        advance = car_one_stop.CarOneStop.advance

        async def nosy(self: car_one_stop.CarOneStop, number: str) -> str:
            with suppress(Refused):
                await self.ask(PAYMENT_CHECK, PAYMENT_STANDING, PaymentQuery(FIRST, 2025), procedure="nosy")
            return await advance(self, number)

        patch.setattr(car_one_stop.CarOneStop, "advance", nosy)

    @staticmethod
    def a_look_into_the_register(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The light vehicle tax asks the register about everybody who ever had to do with cars, by code."""
        tax, register = "muni/01208/light-vehicle-tax", "muni/01208/resident"
        sim.allow(LegalBasis(tax, "look", register, RECORD.name, RECORD.items))
        settle, report = City.settle, LightVehicleTax.report
        codes: list[str] = []

        def noted(self: City, home: Household) -> None:
            settle(self, home)
            codes.extend(self.code(one) for one in home.members)

        async def looking(self: LightVehicleTax) -> int:
            for code in codes:
                with suppress(Refused):
                    await self.ask(register, RECORD, Empty(), subject=code, procedure="look")
            return await report(self)

        patch.setattr(City, "settle", noted)
        patch.setattr(LightVehicleTax, "report", looking)

    @staticmethod
    def a_forgetful_leader(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Steps, "result", lambda self, case: None)
        patch.setattr(Steps, "keep", lambda self, case, result: None)
        patch.setattr(car_one_stop.CarOneStop, "taken", lambda self, number: [])
        patch.setattr(GaragePolice, "free_spaces", lambda self, place: 1)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (
            Sabotage.nothing_is_undone,
            ["given back", "are undone", "place is free", "undone exactly once", "Filed anew"],
        ),
        (
            Sabotage.careless_offices,
            ["did not sign transfers nothing", "renewed for two years", "paid yesterday"],
        ),
        (Sabotage.a_forgetful_leader, ["One signature", "nothing is done twice"]),
        (Sabotage.another_rate, ["The prefecture computes"]),
        (Sabotage.a_nosy_service, ["The procedure decides what is asked"]),
        (Sabotage.a_look_into_the_register, ["history of exchanges shows none of it"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


@pytest.mark.parametrize("seed", range(1, 9))
async def test_whatever_is_lost_a_case_ends_whole(seed: int) -> None:
    with simulation(starts=run.starts, seed=seed) as sim:
        establish(sim)
        world = make_world(sim, 2_400_000, 1_490)
        owner, card = world.owner()
        number = await world.one_stop.file(sign(card, world.application(owner, FIRST)))
        lots = sim.stream("what is lost")
        sim.disturbance.rules.append(lambda *line: ((None, line[2]),) if lots.random() < 0.25 else None)
        state = "running"
        for _ in range(20):
            state = await world.one_stop.advance(number)
            if state in ("completed", "undone"):
                break
            await sim.sleep(600)
        done = state == "completed"
        assert state in ("completed", "undone")
        assert (world.transport.owner_of(FIRST) is not None) == done
        assert world.police.free_spaces(PLACE) == SPACES - done
        assert len(world.tax.levies.unreported()) == done
        sim.disturbance.rules.clear()
        await sim.sleep(3_600)
        assert (world.transport.owner_of(FIRST) is not None) == done
        assert world.police.free_spaces(PLACE) == SPACES - done
