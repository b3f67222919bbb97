"""The scenario `care_certification` holds, its expectations can fail, and the rules about days and shares are exact."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

import nodes
from mesh import ManualReview, NotFound, Refused, Simulation, UsageError
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.municipality import care_insurance, care_rules
from nodes.municipality.care_file import CareFile, Certification
from nodes.municipality.care_insurance import CareInsurance
from nodes.municipality.care_rules import (
    Means,
    is_insured,
    last_day,
    pension_income_yen,
    share_tenths,
    share_year,
    valid_until,
)
from nodes.municipality.resident import MOVE_IN
from nodes.portal.inbox import PORTAL, Portal
from scenarios._care import KOBE, SecondLayout, World, certification
from scenarios._portal import portal_code
from scenarios.care_certification import expected_tenths, run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_the_scenario_holds(seed: int) -> None:
    result = hold(run, seed=seed)
    assert len(result.expectations) >= 15
    assert len(result.report.fallbacks) == 2
    assert result.refusals["service_unknown"] == 4, "each time Kobe was asked in the second layout"


@pytest.mark.parametrize("settings", [{"day": 2}, {"pension_yen": 0}, {"pension_yen": 4_030_000}])
def test_the_scenario_holds_for_other_settings(settings: dict[str, Any]) -> None:
    hold(run, **settings)


@pytest.mark.parametrize("settings", [{"day": 1}, {"day": 15}, {"pension_yen": -1}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def a_day_more(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(care_rules, "TRANSFER", care_rules.TRANSFER._replace(days=15))

    @staticmethod
    def a_day_less(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(care_rules, "TRANSFER", care_rules.TRANSFER._replace(days=13))

    @staticmethod
    def answers_from_the_original(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def original(self: CareFile, code: str) -> tuple[Certification | None, int]:
            return self.certification(code), sim.now_us()

        patch.setattr(CareFile, "replica", original)

    @staticmethod
    def the_old_term(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(care_insurance, "valid_until", lambda begins: date(2026, 1, 28))

    @staticmethod
    def an_event_that_certifies(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        on_move_in = CareInsurance.on_move_in

        async def certifies(self: CareInsurance, event: Any, caller: Any, person: str) -> None:
            await on_move_in(self, event, caller, person)
            self.certify(person, certification("要介護3"))

        certifies.__mesh_declaration__ = MOVE_IN  # type: ignore[attr-defined]
        patch.setattr(CareInsurance, "on_move_in", certifies)

    @staticmethod
    def a_wife_overlooked(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(care_insurance, "share_tenths", lambda own, insured: share_tenths(own, [own]))

    @staticmethod
    def the_city_that_was_left(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(care_insurance, "share_year", lambda day: 2025)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.a_day_more, ["17 April", "day 15"]),
        (Sabotage.a_day_less, ["17 April", "in time"]),
        (Sabotage.answers_from_the_original, ["certificate on paper"]),
        (Sabotage.the_old_term, ["carries the level over", "The term is a new one"]),
        (Sabotage.an_event_that_certifies, ["nobody is certified"]),
        (Sabotage.a_wife_overlooked, ["the share is"]),
        (Sabotage.the_city_that_was_left, ["city of 1 January"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


# The office.


async def test_who_is_not_insured_cannot_apply_and_no_two_levels_are_given() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        home = world.moved(KOBE)
        await sim.sleep(60)
        stranger = world.people.household("01208").head
        with pytest.raises(Refused, match="not_found"):
            await world.apply(stranger)
        number = (await world.apply(home.head)).number
        with pytest.raises(ManualReview):
            world.office.assess(number, "要介護1")
        with pytest.raises(NotFound):
            await world.office.examine(number + 1)


async def test_the_young_are_not_insured_by_moving_in() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        home = world.people.household("01208", moves=world.couple().moves, child_ages=(3,))
        world.kitami.settle(home)
        world.kitami.resident.publish(MOVE_IN, world.kitami.code(home.head))
        await sim.sleep(60)
        with pytest.raises(NotFound):
            world.office.file.insured(world.kitami.code(home.head))


async def test_an_office_that_crashes_between_two_members_insures_both() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        office = world.office.address
        asked: list[bytes] = []

        def crash_at_the_second_question(sender: str, recipient: str, line: bytes, now_us: int) -> None:
            if sender == office and recipient == BROKER:
                asked.append(line)
                if len(asked) == 4:  # The receipt, the household, the head's residency, the spouse's.
                    sim.loop.call_soon(sim.crash, office)

        sim.disturbance.rules.append(crash_at_the_second_question)
        home = world.moved(KOBE)
        await sim.sleep(60)
        assert len(asked) == 4
        sim.restart(office)
        await sim.sleep(60)
        for person in home.members:
            assert world.office.file.insured(world.kitami.code(person)).came_from == KOBE


async def test_a_share_waits_for_an_income_that_is_not_known() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        home = world.moved(KOBE)
        code = world.kitami.code(home.head)
        world.assess(world.kobe, home.head, 2_000_000)
        assert await world.office.decide_share(code) is None
        world.assess(world.kobe, home.parents[1], 0)
        assert await world.office.decide_share(code) == 1


async def test_the_history_shows_which_city_asked_which() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim)
        home = world.moved("01100")
        await sim.sleep(60)
        world.certify(world.sapporo, home.head, certification("要介護5", kinds=("訪問介護",)))
        assert isinstance(world.sapporo.node(CareInsurance), SecondLayout)
        await world.office.examine((await world.apply(home.head)).number)
        lines = await sim.node(PORTAL, Portal).read_history(portal_code(sim, home.head))
        asked = [(one.provider, one.items) for one in lines if one.service.startswith("care.certification")]
        assert asked == [
            ("muni/01100/care-insurance", "designated level service_kinds valid_from valid_until")
        ]
        assert not any("要介護" in repr(one) for one in lines)


# The rules, as pure functions.


def test_day_1_is_the_day_after_moving_in() -> None:
    assert last_day(date(2025, 4, 3)) == date(2025, 4, 17)
    assert last_day(date(2024, 2, 20)) == date(2024, 3, 5)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (date(2025, 4, 1), date(2025, 9, 30)),
        (date(2025, 4, 3), date(2025, 10, 31)),
        (date(2025, 8, 31), date(2026, 2, 28)),
        (date(2025, 12, 2), date(2026, 6, 30)),
    ],
)
def test_the_rest_of_the_month_and_six_months(begins: date, ends: date) -> None:
    assert valid_until(begins) == ends


def test_sixty_five_is_reached_on_the_eve_of_the_birthday() -> None:
    assert is_insured(date(1960, 4, 4), date(2025, 4, 3))
    assert not is_insured(date(1960, 4, 5), date(2025, 4, 3))


def test_the_share_changes_in_august() -> None:
    assert [share_year(date(2025, month, 1)) for month in (7, 8)] == [2024, 2025]


@pytest.mark.parametrize(
    ("pension_yen", "income_yen"),
    [
        (1_000_000, 0),
        (3_299_999, 2_199_999),
        (3_300_000, 2_200_000),
        (4_100_000, 2_800_000),
        (7_700_000, 5_860_000),
        (10_000_000, 8_045_000),
    ],
)
def test_what_a_pension_counts_as(pension_yen: int, income_yen: int) -> None:
    """Steps join without a gap, as the tax tables do."""
    assert pension_income_yen(pension_yen) == income_yen


@pytest.mark.parametrize(
    ("pensions", "tenths"),
    [
        ((2_799_999,), 1),
        ((2_800_000,), 2),
        ((3_399_999,), 2),
        ((3_400_000,), 3),
        ((2_860_000, 600_000), 2),
        ((2_859_999, 600_000), 1),
        ((4_030_000, 600_000), 3),
        ((4_029_999, 600_000), 2),
        ((2_600_000, 2_600_000), 1),
    ],
)
def test_the_share_of_pensioners(pensions: tuple[int, ...], tenths: int) -> None:
    """The thresholds that cities publish: 280 and 340 for one, 346 and 463 (man yen) for two."""
    means = [Means(pension_income_yen(yen), yen, taxed=True) for yen in pensions]
    assert share_tenths(means[0], means) == tenths
    assert share_tenths(means[0]._replace(taxed=False), means) == 1
    if len(pensions) == 2 and pensions[1] == 600_000:
        assert expected_tenths(pensions[0]) == tenths


def test_other_income_counts_besides_the_pension() -> None:
    own = Means(pension_income_yen(2_000_000) + 1_500_000, 2_000_000, taxed=True)
    assert share_tenths(own, [own]) == 3
