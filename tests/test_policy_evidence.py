"""The scenario `policy_evidence` holds, and each of its expectations fails when what it watches is broken."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import nodes
from mesh import LegalBasis, ManualReview, NotFound, Refused, Simulation, UsageError, ZonePath
from mesh.names import Zone
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.agency import statistics as agency
from nodes.agency.disclosure_control import small_cells
from nodes.agency.statistics import STATISTICS, StatisticsOffice
from nodes.agency.statistics_tables import TABLES
from nodes.data.people import Population
from nodes.municipality import statistics as desk
from nodes.municipality.assembly import City, assemble
from nodes.municipality.resident import COUNTS, Counts, CountsQuery
from nodes.municipality.statistics import PROCEDURE, TABLE_COUNTS, StatisticsDesk, TableQuery
from scenarios import policy_evidence
from scenarios.policy_evidence import DAY, OTHER_TABLE, TABLE, choose
from scenarios.policy_evidence import run as scenario
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize("seed", [2, 7])
def test_it_holds(seed: int) -> None:
    hold(scenario, seed=seed)


@pytest.mark.parametrize("cities", [11, 61])
def test_settings_that_make_no_sense(cities: int) -> None:
    with pytest.raises(UsageError, match="--set cities is 12 to 60"):
        run_scenario(scenario, settings={"cities": cities}, nodes="nodes")


def test_municipalities_of_every_kind_are_asked() -> None:
    chosen = choose(18)
    assert len({one.code for one in chosen}) == 18
    assert len({one.kind for one in chosen}) == 6


@pytest.fixture
async def city() -> Any:
    with simulation(starts=scenario.starts) as sim:
        nodes.establish(sim)
        sim.add(StatisticsOffice, STATISTICS)
        city = assemble(sim, "01208", "resident", "statistics")
        people = Population(sim)
        for ages in ((0, 2), (3,), (5, 14), (15,), ()):
            city.settle(people.household("01208", child_ages=ages))
        yield city


def office_of(city: City) -> StatisticsOffice:
    return city.sim.node(STATISTICS, StatisticsOffice)


class TestCounts:
    async def test_ages_are_whole_years_on_the_day(self, city: City) -> None:
        answer = await city.node(StatisticsDesk).ask(
            city.address("resident"), COUNTS, CountsQuery(DAY, (0, 3, 6, 15, 65)), procedure=PROCEDURE
        )
        assert answer.counts == (2, 2, 1, 11, 0)

    async def test_who_is_younger_than_the_first_group_or_not_born_yet_is_not_counted(
        self, city: City
    ) -> None:
        ask = city.node(StatisticsDesk).ask
        register = city.address("resident")
        adults = await ask(register, COUNTS, CountsQuery(DAY, (18,)), procedure=PROCEDURE)
        earlier = await ask(register, COUNTS, CountsQuery("2000-01-01", (0,)), procedure=PROCEDURE)
        assert (adults.counts, earlier.counts) == ((10,), (10,))

    async def test_only_the_citys_own_desk_and_only_the_office_may_ask(self, city: City) -> None:
        other = assemble(city.sim, "28100", "resident", "statistics")
        with pytest.raises(Refused, match=r"^no_legal_basis"):
            await other.node(StatisticsDesk).ask(
                city.address("resident"), COUNTS, CountsQuery(DAY, (0,)), procedure=PROCEDURE
            )
        with pytest.raises(Refused, match=r"^no_legal_basis"):
            await other.node(StatisticsDesk).ask(
                city.address("statistics"), TABLE_COUNTS, TableQuery(TABLE, DAY), procedure=PROCEDURE
            )

    async def test_the_desk_holds_counts_alone(self, city: City) -> None:
        await office_of(city).gather(TABLE, DAY, [city.about])
        rows = city.node(StatisticsDesk).db.execute("SELECT * FROM counted").fetchall()
        assert [tuple(row) for row in rows] == [(TABLE, DAY, b'{"counts":[2,2,1,11,0]}')]

    async def test_two_that_ask_at_once_get_the_same(self, city: City) -> None:
        """A family moves in between the two counts; the first stands."""
        office, desk = office_of(city), city.address("statistics")

        async def ask(after_s: float) -> tuple[int, ...]:
            await asyncio.sleep(after_s)
            answer = await office.ask(desk, TABLE_COUNTS, TableQuery(TABLE, DAY), procedure=PROCEDURE)
            return answer.counts

        async def move_in() -> None:
            await asyncio.sleep(0.025)
            city.settle(Population(city.sim).at("01208", 1))

        first, second, _ = await asyncio.gather(ask(0), ask(0.012), move_in())
        assert first == second == (2, 2, 1, 11, 0)


class TestOffice:
    async def test_nothing_is_released_that_nobody_reported(self, city: City) -> None:
        for table in (TABLE, "invented"):
            with pytest.raises(NotFound):
                office_of(city).release(table, DAY, [city.about])

    async def test_another_day_is_another_table(self, city: City) -> None:
        office = office_of(city)
        for table, day in ((TABLE, DAY), (OTHER_TABLE, "2025-04-01"), (TABLE, "2024-04-01")):
            await office.gather(table, day, [city.about])
            office.release(table, day, [city.about])
        await office.gather(OTHER_TABLE, DAY, [city.about])
        with pytest.raises(ManualReview):
            office.release(OTHER_TABLE, DAY, [city.about])

    async def test_who_has_reported_is_not_asked_again(self, city: City) -> None:
        office = office_of(city)
        await office.gather(TABLE, DAY, [city.about])
        with city.sim.offline(city.address("statistics")):
            assert await office.gather(TABLE, DAY, [city.about]) == []


def test_tables_have_names_for_their_groups() -> None:
    assert TABLES[TABLE].columns == ("age_0_2", "age_3_5", "age_6_14", "age_15_64", "age_65_up")


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def nothing_is_withheld(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(agency, "withheld_cells", lambda table: [])

    @staticmethod
    def the_small_alone_are_withheld(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(agency, "withheld_cells", small_cells)

    @staticmethod
    def silence_is_zero(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(agency, "NOT_REPORTED", "0")

    @staticmethod
    def any_table_is_released(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def careless(self: StatisticsOffice, key: str, on: str, cities: Any) -> Any:
            with self.effect():
                self.db.execute("DELETE FROM dataset")
            return release(self, key, on, cities)

        release = StatisticsOffice.release
        patch.setattr(StatisticsOffice, "release", careless)

    @staticmethod
    def the_desk_counts_anew(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        counts = StatisticsDesk.counts

        async def anew(self: StatisticsDesk, query: Any, caller: Any) -> Any:
            with self.effect():
                self.db.execute("DELETE FROM counted")
            self.host.flush(effect=True)
            return await counts(self, query, caller)

        patch.setattr(StatisticsDesk, "counts", anew)

    @staticmethod
    def any_table_is_counted(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        class Every(dict[str, Any]):
            def __contains__(self, key: object) -> bool:
                return True

            def __missing__(self, key: str) -> Any:
                return TABLES[TABLE]

        patch.setattr(desk, "TABLES", Every(TABLES))

    @staticmethod
    def a_path_for_everybody(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow_path(ZonePath(Zone.INTERNET, Zone.MYNUMBER))
        sim.allow(LegalBasis("firm/*/*", PROCEDURE, "muni/*/statistics", TABLE_COUNTS.name))

    @staticmethod
    def the_file_is_another(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        describe = StatisticsOffice._describe
        patch.setattr(
            StatisticsOffice, "_describe", lambda self, one, on, note, text: describe(self, one, on, note, "")
        )

    @staticmethod
    def everything_is_small(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """No city counts more than five of any age: so much is withheld that nothing can be subtracted."""
        patch.setattr(
            "nodes.municipality.resident.Counts",
            lambda counts: Counts(tuple(min(max(one, 1), 5) for one in counts)),
        )


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.nothing_is_withheld, ["No count from 1 to 9"]),
        (Sabotage.the_small_alone_are_withheld, ["the same attack gives none"]),
        (Sabotage.silence_is_zero, ["not as zero"]),
        (Sabotage.any_table_is_released, ["second table of the same residents", "second edition"]),
        (Sabotage.the_desk_counts_anew, ["Asked again"]),
        (Sabotage.any_table_is_counted, ["not defined is not counted"]),
        (Sabotage.a_path_for_everybody, ["cannot ask the city itself"]),
        (Sabotage.the_file_is_another, ["finds the table in the catalogue"]),
        (Sabotage.everything_is_small, ["Were only the"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = {kind: max(count // 4, 20) for kind, count in policy_evidence.HOUSEHOLDS.items()}
    monkeypatch.setattr(policy_evidence, "HOUSEHOLDS", fewer)
    await see_fail(scenario, sabotage, words, monkeypatch, cities=12)
