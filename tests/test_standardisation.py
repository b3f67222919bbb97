"""Packages of one standard system: what they keep differs, and what they answer does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import Event, LegalBasis, NotFound, Refused, Simulation, Withheld
from mesh.loading import scenarios_of
from mesh.testing import messages, simulation
from nodes import establish
from nodes.data.people import Move, Population
from nodes.municipality.assembly import assemble, key_of
from nodes.municipality.child_allowance import PROCEDURE
from nodes.municipality.packages import CUSTOMISED, LATE, SHARED, STANDARD, Package
from nodes.municipality.tax import INCOME, IncomeQuery, TaxOffice
from nodes.municipality.tax_customised import CustomisedTaxOffice
from nodes.municipality.tax_layout_2 import INCOME_2, TaxOfficeLayout2
from nodes.municipality.tax_legacy import LegacyTaxOffice, Record
from tests.helpers_scenario import Sabotaging, copies_as_of_now, hold, named, one_key_for_two, see_fail

PACKAGES = (STANDARD, CUSTOMISED, SHARED, LATE)


class Pair:
    """Kitami, a city with some package, and somebody who moved."""

    def __init__(self, sim: Simulation, package: Package) -> None:
        self.asker = assemble(sim, "01208").child_allowance
        self.city = assemble(sim, "28100", package=package)
        move = Move(date(2026, 7, 1), "28100", "01208")
        person = Population(sim).household("01208", moves=(move,)).head
        self.code = self.city.code(person)
        self.asked = {"subject": sim.code("muni/01208", person.handle), "procedure": PROCEDURE}

    def assess(self, yen: int) -> None:
        self.city.tax.assess(self.code, 2026, total_income_yen=yen)
        self.city.tax.register_replica(self.code, 2026)
        if isinstance(self.city.tax, LegacyTaxOffice):
            self.city.tax.run_night_batch()

    async def income(self) -> object:
        items = ("tax_year", "total_income_yen")
        where = self.city.address("tax")
        return await self.asker.ask(where, INCOME, IncomeQuery(2026), items=items, **self.asked)


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation(starts="2026-07-15T09:00:00+09:00") as made:
        establish(made)
        yield made


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: one.key)
async def test_every_package_answers_alike(sim: Simulation, package: Package) -> None:
    pair = Pair(sim, package)
    with pytest.raises(Refused, match="not_found"):
        await pair.income()
    pair.city.tax.assess(pair.code, 2026, total_income_yen=1)
    with pytest.raises(Refused, match="replica_missing"):
        await pair.income()
    for yen in (3_456_789, 2_000_001):
        pair.assess(yen)
        assert (await pair.income()).total_income_yen == yen  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", [TaxOffice, TaxOfficeLayout2, CustomisedTaxOffice, LegacyTaxOffice])
def test_a_package_plays_the_system_of_the_standard(cls: type[TaxOffice]) -> None:
    assert key_of(cls) == "tax"
    assert set(TaxOffice.offers()) <= set(cls.offers())


async def test_the_late_system_answers_from_its_last_batch(sim: Simulation) -> None:
    pair = Pair(sim, LATE)
    pair.assess(1_000_000)
    pair.city.tax.assess(pair.code, 2026, total_income_yen=2_000_000)
    pair.city.tax.register_replica(pair.code, 2026)
    assert (await pair.income()).total_income_yen == 1_000_000  # type: ignore[attr-defined]
    assert pair.city.node(LegacyTaxOffice).run_night_batch() == 2
    assert pair.city.node(LegacyTaxOffice).run_night_batch() == 0
    assert (await pair.income()).total_income_yen == 2_000_000  # type: ignore[attr-defined]


async def test_the_second_layout_answers_what_the_first_does_not_have(sim: Simulation) -> None:
    pair = Pair(sim, SHARED)
    pair.assess(1_000_000)
    tax = pair.city.node(TaxOfficeLayout2)
    tax.assess_separately(pair.code, 2026, 70)
    items = ("separate_income_yen", "total_income_yen")
    where = pair.city.address("tax")
    for copied_yen in (0, 70):
        reply = await pair.asker.ask(where, INCOME_2, IncomeQuery(2026), items=items, **pair.asked)
        assert (reply.total_income_yen, reply.separate_income_yen) == (1_000_000, copied_yen)
        tax.register_replica(pair.code, 2026)
    with pytest.raises(Refused, match="item_not_permitted"):
        await pair.asker.ask(where, INCOME_2, IncomeQuery(2026), items=("tax_yen",), **pair.asked)


async def test_the_second_layout_takes_no_item_of_the_first_away(sim: Simulation) -> None:
    pair = Pair(sim, SHARED)
    pair.city.tax.assess(pair.code, 2026, total_income_yen=1_000_000, dependants=2, pension_yen=900_000)
    pair.city.tax.register_replica(pair.code, 2026)
    replies = []
    for service in (INCOME, INCOME_2):
        items = INCOME.items
        procedure, asker, provider = PROCEDURE, pair.asker.address, pair.city.address("tax")
        sim.allow(LegalBasis(asker, procedure, provider, service.name, items))
        reply = await pair.asker.ask(provider, service, IncomeQuery(2026), items=items, **pair.asked)
        replies.append({item: getattr(reply, item) for item in items})
    assert replies[0] == replies[1]
    assert replies[1]["pension_yen"] == 900_000


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: one.key)
async def test_a_correction_is_said_when_the_copy_has_it(sim: Simulation, package: Package) -> None:
    pair = Pair(sim, package)
    pair.assess(1_000_000)
    pair.city.tax.correct(pair.code, 2026, total_income_yen=2_000_000)
    await sim.sleep(1)
    said = [one for one in messages(sim, Event) if one.sender == pair.city.address("tax")]
    if package is LATE:
        assert said == []
        pair.city.node(LegacyTaxOffice).run_night_batch()
        pair.city.node(LegacyTaxOffice).run_night_batch()
        await sim.sleep(1)
    else:
        assert len(said) == 1
    assert len([one for one in messages(sim, Event) if one.sender == pair.city.address("tax")]) == 1
    assert (await pair.income()).total_income_yen == 2_000_000  # type: ignore[attr-defined]


@given(st.integers(1950, 2200), st.integers(0, 10**10 - 1), st.integers(0, 99), st.sampled_from("課非"))
def test_a_record_of_fixed_width_reads_as_it_was_written(
    year: int, yen: int, dependants: int, taxed: str
) -> None:
    record = Record(year, yen, dependants, yen // 2, taxed)
    assert len(record.pack()) == 28
    assert Record.unpack(record.pack()) == record


@pytest.mark.parametrize("migrated", [False, True])
def test_the_scenario_holds_before_and_after_migration(migrated: bool) -> None:
    scenario = scenarios_of("scenarios")["standardisation"]
    result = hold(scenario, migrated=migrated)
    assert len(result.report.papers) == (4 if migrated else 3)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def one_key_for_both_towns(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        one_key_for_two(patch, "muni/01549/tax", "muni/01550/tax")

    @staticmethod
    def a_word_about_the_neighbour(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The program says of a resident of the other town that it may not say."""
        replica = TaxOffice._replica
        known: list[str] = []

        def telling(self: TaxOffice, person: str, tax_year: int, *, to_self: bool = False) -> object:
            try:
                return replica(self, person, tax_year, to_self=to_self)
            except NotFound:
                known.append(person)
                if len(known) == 1:
                    raise Withheld from None
                raise

        patch.setattr(TaxOffice, "_replica", telling)

    @staticmethod
    def a_batch_that_dates_back(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The late town's batch stamps its copies with the end of the office hours before."""
        copy = TaxOffice._copy

        def dated_back(self: LegacyTaxOffice, code: str, tax_year: int) -> None:
            copy(self, code, tax_year)
            self.db.execute("UPDATE replica SET registered_us = registered_us - 9 * 3600000000")

        patch.setattr(LegacyTaxOffice, "_copy", dated_back)

    @staticmethod
    def a_slip_in_the_conversion(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        pack = Record.pack
        patch.setattr(Record, "pack", lambda self: pack(self._replace(income_yen=self.income_yen // 1000)))

    @staticmethod
    def a_field_is_dropped(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The city of its own making forgets the last coded field once the copy is registered."""
        register = CustomisedTaxOffice.register_replica

        def forgetful(self: CustomisedTaxOffice, code: str, tax_year: int) -> None:
            register(self, code, tax_year)
            with self.effect():
                self.db.execute("DELETE FROM entry WHERE rowid = (SELECT max(rowid) FROM entry)")

        patch.setattr(CustomisedTaxOffice, "register_replica", forgetful)

    @staticmethod
    def towns_with_the_first_layout(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("scenarios._tenants.SHARED", STANDARD)

    @staticmethod
    def nothing_taxed_separately(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        enter = CustomisedTaxOffice.assess_separately
        patch.setattr(
            CustomisedTaxOffice, "assess_separately", lambda self, code, year, yen: enter(self, code, year, 0)
        )


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.one_key_for_both_towns, ["the other's key does not open it"]),
        (Sabotage.a_word_about_the_neighbour, ["a town knows nobody"]),
        (copies_as_of_now, ["Each answer says as of when"]),
        (Sabotage.a_batch_that_dates_back, ["Each answer says as of when"]),
        (Sabotage.a_slip_in_the_conversion, ["the same answer from all four"]),
        (Sabotage.a_field_is_dropped, ["Behind the contract"]),
        (Sabotage.towns_with_the_first_layout, ["Both versions of the layout"]),
        (Sabotage.nothing_taxed_separately, ["Only the second has the income"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(scenarios_of("scenarios")["standardisation"], sabotage, words, monkeypatch)
