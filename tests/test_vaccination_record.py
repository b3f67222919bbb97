"""The scenario `vaccination_record`, VRS and a city's office for vouchers: they hold, and can fail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import nodes
from mesh import LegalBasis, MeshError, Simulation, UsageError
from mesh.builtin import Empty
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.agency.commission import OVERSIGHT
from nodes.agency.vrs import (
    CONSENT_DIFFICULT,
    ENTRUSTED,
    VRS,
    VRS_BATCH,
    VRS_RECORD,
    VRS_REPORT,
    VRS_UNEXPLAINED,
    Batch,
    Dose,
    LookUp,
    VaccinationCloud,
    token_of,
)
from nodes.municipality.assembly import assemble
from nodes.municipality.covid_vaccination import CovidVaccination
from scenarios._vaccinated_movers import SYSTEMS, World
from scenarios.vaccination_record import run as vaccination_record
from tests.helpers_scenario import Sabotaging, hold, named, one_code_for_all, see_fail

STRANGER = token_of("00000000001")


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_holds(seed: int) -> None:
    result = hold(vaccination_record, seed=seed)
    assert len(result.report.fallbacks) == 1


@pytest.mark.parametrize(("rules", "fallbacks"), [("2021-12", 1), ("2022-03", 0)])
def test_it_holds_under_one_reading(rules: str, fallbacks: int) -> None:
    result = hold(vaccination_record, rules=rules, movers=1)
    assert len(result.report.fallbacks) == fallbacks


@pytest.mark.parametrize(("settings", "said"), [({"movers": 0}, "1 to 100"), ({"rules": "2020"}, "2022-03")])
def test_settings_that_make_no_sense_are_usage_errors(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run_scenario(vaccination_record, settings=settings, nodes="nodes")


def test_the_token_is_the_same_for_all_and_no_number() -> None:
    assert token_of("00000000001") == STRANGER != token_of("00000000002")
    assert STRANGER.startswith("vt-")


class TestCloud:
    @pytest.fixture
    async def sim(self) -> Any:
        with simulation(starts="2022-03-02T09:00:00+09:00") as sim:
            nodes.establish(sim)
            sim.add(VaccinationCloud, VRS)
            assemble(sim, "01208", *SYSTEMS)
            assemble(sim, "28100", *SYSTEMS)
            yield sim

    async def test_one_file_belongs_to_the_city_that_sent_it(self, sim: Simulation) -> None:
        kitami, kobe = (
            sim.node(f"muni/{code}/covid-vaccination", CovidVaccination) for code in ("01208", "28100")
        )
        taken = await kitami.send_batch([STRANGER])
        await sim.sleep(86_400)
        assert await kitami.fetch_batch(taken) == 0
        with refuses("not_found"):
            await kobe.fetch_batch(taken)

    async def test_a_file_that_is_too_long_is_refused(self, sim: Simulation) -> None:
        office = sim.node("muni/01208/covid-vaccination")
        with refuses("over_broad"):
            await office.ask(VRS, VRS_BATCH, Batch((STRANGER,) * 1001), procedure=CONSENT_DIFFICULT)

    async def test_a_look_up_that_finds_nothing_is_on_the_log_too(self, sim: Simulation) -> None:
        office = sim.node("muni/01208/covid-vaccination")
        answer = await office.ask(VRS, VRS_RECORD, LookUp(STRANGER, "28100"), procedure=CONSENT_DIFFICULT)
        assert answer.doses == ()
        assert sim.node(VRS, VaccinationCloud).looked_up("01208") == [(STRANGER, CONSENT_DIFFICULT, 0)]

    async def test_a_correction_takes_the_place_of_the_dose(self, sim: Simulation) -> None:
        office = sim.node("muni/28100/covid-vaccination")
        for day in ("2021-10-12", "2021-10-13"):
            await office.ask(VRS, VRS_REPORT, Dose(STRANGER, 1, day, "Pfizer"), procedure=ENTRUSTED)
        answer = await office.ask(VRS, VRS_RECORD, LookUp(STRANGER, "28100"), procedure=CONSENT_DIFFICULT)
        assert [one.given_on for one in answer.doses] == ["2021-10-13"]

    async def test_others_than_the_law_names_get_nothing(self, sim: Simulation) -> None:
        ledger = sim.node("muni/01208/vaccination-ledger")
        with refuses("zone_forbidden"):
            await ledger.ask(VRS, VRS_RECORD, LookUp(STRANGER, "28100"), procedure=CONSENT_DIFFICULT)
        office = sim.node("muni/01208/covid-vaccination")
        with refuses("no_legal_basis"):
            await office.ask(VRS, VRS_UNEXPLAINED, Empty(), procedure=OVERSIGHT)

    async def test_after_the_special_vaccinations_nothing_is_lawful(self) -> None:
        with simulation(starts="2024-04-01T09:00:00+09:00") as sim:
            nodes.establish(sim)
            world = World(sim)
            with refuses("no_legal_basis"):
                await world.office.send_batch([STRANGER])


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def the_new_reading_from_the_start(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        for service in (VRS_RECORD, VRS_BATCH):
            sim.allow(LegalBasis("muni/*/covid-vaccination", CONSENT_DIFFICULT, VRS, service.name))

    @staticmethod
    def a_cloud_without_a_log(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(VaccinationCloud, "_log", lambda *_: None)

    @staticmethod
    def a_batch_at_once(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        today = VaccinationCloud._today
        days = iter(range(1_000_000))
        patch.setattr(VaccinationCloud, "_today", lambda self: today(self) + timedelta(days=next(days)))

    @staticmethod
    def compartments_that_keep_nothing(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(VaccinationCloud, "_doses", lambda *_: ())

    @staticmethod
    def an_office_that_keeps_strangers(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(CovidVaccination, "delete_strangers", lambda self: 0)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.the_new_reading_from_the_start, ["not looked up: no row", "is refused", "on 14 December"]),
        (one_code_for_all, ["the cities' own codes"]),
        (Sabotage.a_cloud_without_a_log, ["nothing explains", "own log"]),
        (Sabotage.compartments_that_keep_nothing, ["both doses are there", "everybody's doses"]),
        (Sabotage.an_office_that_keeps_strangers, ["deletes what it got"]),
        (Sabotage.a_batch_at_once, ["cannot be fetched on the same day"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(vaccination_record, sabotage, words, monkeypatch, rules="both", movers=1)
