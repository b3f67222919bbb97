"""Base registries and their copies; the scenario `base_registry` holds, and its expectations can fail."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

import nodes
from mesh import LegalBasis, NotFound, Simulation, UsageError
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.agency import base_registry
from nodes.agency.base_registry import CHANGES_MAX, PAUSES_S, PROCEDURE, SIGNAL, Feed, SignalQuery
from nodes.agency.corporate_registry import CORPORATE_REGISTRY
from nodes.municipality import corporate_tax
from nodes.municipality.corporate_tax import CorporateTaxOffice
from nodes.municipality.registry_copy import RegistryCopy
from scenarios._registered_corporations import FOODS, MILLS, TOWN, World
from scenarios.base_registry import run as scenario
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_it_holds(seed: int) -> None:
    result = hold(scenario, seed=seed)
    assert (result.report.visits_saved, result.report.fees_saved_yen) == (1, 600)
    assert len(result.report.fallbacks) == 1


@pytest.mark.parametrize("copies", [3, 40])
def test_it_holds_for_few_and_many_copies(copies: int) -> None:
    hold(scenario, copies=copies)


@pytest.mark.parametrize("copies", [2, 101])
def test_copies_that_make_no_sense(copies: int) -> None:
    with pytest.raises(UsageError, match="--set copies is 3 to 100"):
        run_scenario(scenario, settings={"copies": copies}, nodes="nodes")


@pytest.fixture
async def world() -> Any:
    with simulation() as sim:
        nodes.establish(sim)
        world = World(sim, 3)
        world.address.record(TOWN, "2020-04-01")
        world.corporate.record(FOODS, "2020-04-01")
        yield world


class TestRegistry:
    async def test_a_number_that_cannot_be_is_not_published(self, world: World) -> None:
        wrong = replace(FOODS, number=f"{(int(FOODS.number[0]) % 9) + 1}{FOODS.number[1:]}")
        with pytest.raises(UsageError, match="check digit"):
            world.corporate.record(wrong, "2026-04-01")
        assert world.corporate.feed.version() == 1

    async def test_whoever_is_far_behind_asks_until_nothing_is_left(self, world: World) -> None:
        for number in range(CHANGES_MAX + 5):
            world.corporate.record(replace(FOODS, block=f"{number}番"), "2026-04-01")
        office = world.office(world.kitami)
        await office.refresh()
        assert office.corporations.version == world.corporate.feed.version() == CHANGES_MAX + 6
        assert office.address_of(FOODS.number).endswith(f"{CHANGES_MAX + 4}番")

    async def test_who_could_not_be_told_is_told_again(self, world: World) -> None:
        office, sim = world.office(world.kitami), world.sim
        await office.refresh()
        with sim.offline(office.address):
            world.corporate.record(MILLS, "2026-04-01")
            await sim.sleep(PAUSES_S[0] + 60)
            assert office.corporations.version == 1
        await sim.sleep(PAUSES_S[1])
        assert office.corporations.version == 2
        assert world.corporate.feed.copiers() == {office.address: 2}
        assert len(world.signals()) == 3

    async def test_a_registry_that_comes_up_again_tells_what_it_could_not(self, world: World) -> None:
        office, sim = world.office(world.kitami), world.sim
        await office.refresh()
        with sim.offline(office.address):
            world.corporate.record(MILLS, "2026-04-01")
            await sim.sleep(1)
        sim.crash(CORPORATE_REGISTRY)
        sim.restart(CORPORATE_REGISTRY)
        await sim.sleep(1)
        assert office.corporations.version == 2

    async def test_nobody_is_told_for_ever(self, world: World) -> None:
        office, sim = world.office(world.kitami), world.sim
        await office.refresh()
        with sim.offline(office.address):
            world.corporate.record(MILLS, "2026-04-01")
            await sim.sleep(30 * 86_400)
        assert len(world.signals()) == len(PAUSES_S) + 1

    async def test_a_registry_that_is_away_does_not_break_the_copier(self, world: World) -> None:
        """The signal came, and then the source was gone: the copier says what it still holds."""
        office, sim = world.office(world.kitami), world.sim
        await office.refresh()
        sim.allow(LegalBasis("muni/*/corporate-tax", PROCEDURE, "muni/*/corporate-tax", SIGNAL.name))
        with sim.offline(CORPORATE_REGISTRY):
            answer = await world.office(world.kobe).ask(
                office.address, SIGNAL, base_registry.SignalQuery("corporate", 9), procedure=PROCEDURE
            )
        assert answer.version == 1


class TestClosed:
    async def test_a_closed_corporation_files_nothing(self, world: World) -> None:
        office = world.office(world.kitami)
        world.corporate.record(replace(FOODS, closed=True), "2026-03-01")
        await office.refresh()
        assert (await office.take_notice(FOODS.number, FOODS.name)).outcome == "not-registered"

    async def test_an_abolished_town_is_in_no_address(self, world: World) -> None:
        office = world.office(world.kitami)
        world.address.record(replace(TOWN, abolished=True), "2026-03-01")
        await office.refresh()
        with pytest.raises(NotFound, match="no such town"):
            office.address_of(FOODS.number)


class TestCopy:
    async def test_a_copy_ahead_of_its_source_starts_over(self, world: World) -> None:
        office = world.office(world.kitami)
        await office.refresh()
        with office.effect():
            office.db.execute("UPDATE held SET version = 99 WHERE registry = 'corporate'")
            office.db.execute(
                "UPDATE copy SET entry = replace(entry, '見本', '別') WHERE registry = 'corporate'"
            )
        await office.refresh()
        assert (office.corporations.version, office.name_of(FOODS.number)) == (1, FOODS.name)

    async def test_two_fetches_that_overlap_enter_everything_once(self, world: World) -> None:
        office = world.office(world.kitami)
        fetched = await office.corporations.fetch()
        for _ in range(2):
            with office.effect():
                office.corporations.take(fetched)
        assert office.corporations.version == 1

    async def test_a_correction_of_the_past_counts_from_its_day(self, world: World) -> None:
        world.corporate.record(replace(FOODS, name="後"), "2026-03-01")
        world.corporate.record(replace(FOODS, name="先"), "2026-02-01")
        office = world.office(world.kitami)
        await office.refresh()
        names = [office.corporations.find(FOODS.number, day) for day in ("2026-02-15", "2026-03-15")]
        assert [one and one.name for one in names] == ["先", "後"]

    async def test_what_nobody_registered_is_not_known(self, world: World) -> None:
        office = world.office(world.kitami)
        for look in (office.name_of, office.address_of, office.register):
            with pytest.raises(NotFound):
                look(MILLS.number)

    async def test_a_copy_survives_a_crash(self, world: World) -> None:
        office, sim = world.office(world.kitami), world.sim
        await office.refresh()
        office.register(FOODS.number)
        sim.crash(office.address)
        sim.restart(office.address)
        assert world.office(world.kitami).name_of(FOODS.number) == FOODS.name


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def the_newest_counts_at_once(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        find = RegistryCopy.find
        patch.setattr(RegistryCopy, "find", lambda self, key, on: find(self, key, "9999-12-31"))

    @staticmethod
    def the_edit_wins(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(RegistryCopy, "_yield_to_source", lambda self, change: None)

    @staticmethod
    def the_copy_says_no(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def from_the_copy(self: CorporateTaxOffice, corporation: str, name: str) -> str:
            return "accepted" if self._is_named(corporation, name) else "not-registered"

        patch.setattr(CorporateTaxOffice, "_compare", from_the_copy)

    @staticmethod
    def any_copy_is_fresh(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(corporate_tax, "FRESH_US", 10**15)

    @staticmethod
    def any_number_will_do(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(corporate_tax, "is_valid", lambda number: True)

    @staticmethod
    def anybody_may_signal(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(LegalBasis("muni/*/corporate-tax", PROCEDURE, "muni/*/corporate-tax", SIGNAL.name))

    @staticmethod
    def nobody_is_told(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def silent(self: Feed, address: str) -> None:
            return None

        patch.setattr(Feed, "_tell", silent)

    @staticmethod
    def whatever_is_filed_counts(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(CorporateTaxOffice, "_is_named", lambda self, corporation, name: True)

    @staticmethod
    def a_name_of_its_own(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(CorporateTaxOffice, "name_of", lambda self, corporation: "御中")

    @staticmethod
    def a_line_that_never_fails(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Simulation, "offline", lambda self, address: nullcontext())

    @staticmethod
    def a_version_too_many(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def ahead(registry: Any, version: int) -> SignalQuery:
            return SignalQuery(registry, version + 40)

        patch.setattr("nodes.agency.base_registry.SignalQuery", ahead)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.the_newest_counts_at_once, ["the day before"]),
        (Sabotage.the_edit_wins, ["source's entry stands", "not lost"]),
        (Sabotage.the_copy_says_no, ["stale copy does not know", "asks for the certificate"]),
        (Sabotage.any_copy_is_fresh, ["asks for the certificate"]),
        (Sabotage.any_number_will_do, ["check digit"]),
        (Sabotage.anybody_may_signal, ["no row names it"]),
        (Sabotage.nobody_is_told, ["each was told once"]),
        (Sabotage.whatever_is_filed_counts, ["planned and not registered", "stale copy does not know"]),
        (Sabotage.a_name_of_its_own, ["as both registries have it"]),
        (Sabotage.a_line_that_never_fails, ["Kobe missed the signal"]),
        (Sabotage.a_version_too_many, ["The signal says that there is a version"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(scenario, sabotage, words, monkeypatch, copies=3)
