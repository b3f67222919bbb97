"""The scenario `child_allowance` under both rule dates, and the rules of the nodes that it uses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace as scenario_replace
from datetime import date
from typing import Any

import pytest

from mesh import LegalBasis, ManualReview, MeshError, NotFound, Refused, Simulation, UsageError
from mesh.builtin import Empty
from mesh.names import BROKER
from mesh.personal_number import personal_numbers_in
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, personal_numbers, simulation
from nodes import establish
from nodes.agency.pension import ENROLMENT, PENSION, PensionBody
from nodes.data.calendar import months_after
from nodes.data.people import Household, Move, Population
from nodes.municipality import child_allowance
from nodes.municipality.allowance_rules import (
    NEW,
    OLD,
    due_date,
    first_month,
    is_under_three,
    monthly_yen,
    rules_for,
    school_year_end,
    tax_year,
)
from nodes.municipality.assembly import City, assemble
from nodes.municipality.child_allowance import PROCEDURE, ChildAllowanceOffice, ClaimQuery
from nodes.municipality.claim_file import Decision
from nodes.municipality.resident import HOUSEHOLD, HouseholdQuery
from nodes.municipality.tax import INCOME, IncomeQuery, TaxOffice
from nodes.portal.inbox import PORTAL, Portal
from scenarios.child_allowance import run
from tests.helpers_scenario import Sabotaging, copies_as_of_now, hold, named, see_fail

OCTOBER, SEPTEMBER = date(2024, 10, 1), date(2024, 9, 1)


@pytest.mark.parametrize("rules", ["2024-10", "2024-09"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_scenario_holds(seed: int, rules: str):
    result = hold(run, seed=seed, rules=rules)
    assert len(result.expectations) >= 15
    assert result.refusals == {
        "item_not_permitted": 2 if rules == "2024-09" else 1,
        "no_legal_basis": 1,
        "not_provided": 2,
    }
    assert {"not_found", "replica_missing"} <= {one.code for one in result.refused}
    assert [one.paper_ja[:2] for one in result.report.fallbacks] == ["課税", "年金"]


@pytest.mark.parametrize("children", [1, 3, 5])
@pytest.mark.parametrize("rules", ["2024-10", "2024-09"])
def test_the_scenario_holds_for_other_families(children: int, rules: str):
    hold(run, rules=rules, children=children)


def test_the_rule_dates_differ():
    new, old = (run_scenario(run, settings={"rules": key}, nodes="nodes") for key in ("2024-10", "2024-09"))
    office = "muni/01208/child-allowance"
    assert "dependants" not in new.report.disclosed[office]
    assert "dependants" in old.report.disclosed[office]
    assert "25000 yen" in new.report.story[0].text
    assert "10000 yen" in old.report.story[0].text


@pytest.mark.parametrize("settings", [{"rules": "2023-01"}, {"children": 0}, {"children": 6}])
def test_settings_that_it_does_not_model_are_refused(settings: dict[str, Any]):
    with pytest.raises(UsageError, match="--set"):
        run_scenario(run, settings=settings, nodes="nodes")


async def test_no_personal_number_is_in_any_message():
    with simulation(starts=run.start({"rules": "2024-10"})) as sim:
        establish(sim)
        await run.run(sim)
        numbers = personal_numbers(sim)
        texts = [text for one in messages(sim) for text in plaintexts(sim, one.message)]
    assert len(numbers) >= 15
    assert len(texts) > 100
    for text in texts:
        assert not personal_numbers_in(text)
        assert not any(number.encode() in text for number in numbers)


def plaintexts(sim: Simulation, message: Any) -> list[bytes]:
    """What the recipients of a message can read: its sealed content and its sealed subject."""
    sealed = [
        (getattr(message, "data", None), message_to(message)),
        (getattr(message, "subject", None), BROKER),
    ]
    return [
        open_sealed(token, sim.keys_of(to).sealing)
        for token, to in sealed
        if isinstance(token, str) and token.count(".") == 4
    ]


def message_to(message: Any) -> str:
    return str(getattr(message, "recipient", ""))


# The rules, as pure functions.


@pytest.mark.parametrize(
    ("born", "month", "yen"),
    [
        (date(2023, 10, 2), date(2026, 10, 1), 15_000),
        (date(2023, 10, 1), date(2026, 10, 1), 15_000),  # to the month of the birthday
        (date(2023, 9, 30), date(2026, 10, 1), 10_000),
        (date(2006, 4, 2), date(2025, 3, 1), 10_000),
        (date(2006, 4, 1), date(2025, 3, 1), 0),
        (date(2006, 4, 2), date(2025, 4, 1), 0),
    ],
)
def test_what_one_child_brings_since_october_2024(born: date, month: date, yen: int):
    assert monthly_yen([born], month) == yen


def test_the_third_child_counts_from_older_siblings():
    older = [date(2003, 1, 5), date(2008, 1, 5)]
    youngest = date(2024, 1, 5)
    assert monthly_yen([*older, youngest], OCTOBER) == 10_000 + 30_000
    # Until September 2024 only children up to 18 counted, and none was paid past 15.
    assert monthly_yen([*older, youngest], SEPTEMBER) == 15_000
    assert monthly_yen([date(2008, 1, 5), date(2012, 6, 5), date(2016, 6, 5)], SEPTEMBER) == 10_000 + 15_000


@pytest.mark.parametrize(
    ("income_yen", "yen"),
    [(7_059_999, 25_000), (7_060_000, 10_000), (9_419_999, 10_000), (9_420_000, 0)],
)
def test_the_old_income_limits(income_yen: int, yen: int):
    """With two dependants: 6,980,000 and 9,340,000 yen, before the deduction of 80,000."""
    children = [date(2023, 1, 5), date(2020, 1, 5)]
    assert monthly_yen(children, SEPTEMBER, income_yen=income_yen, dependants=2) == yen
    assert monthly_yen(children, OCTOBER, income_yen=income_yen, dependants=2) == 25_000


def test_day_15_is_in_time_and_day_16_is_not():
    moved = date(2024, 9, 30)
    assert due_date(moved) == date(2024, 10, 15)
    assert first_month(moved, date(2024, 10, 15)) == OCTOBER
    assert first_month(moved, date(2024, 10, 16)) == date(2024, 11, 1)
    assert first_month(date(2024, 12, 20), date(2024, 12, 25)) == date(2025, 1, 1)


def test_dates_of_the_rules():
    assert (rules_for(SEPTEMBER), rules_for(OCTOBER)) == (OLD, NEW)
    assert (tax_year(date(2025, 5, 1)), tax_year(date(2025, 6, 1))) == (2024, 2025)
    assert is_under_three(date(2021, 10, 1), OCTOBER)
    assert is_under_three(date(2021, 10, 31), OCTOBER)
    assert not is_under_three(date(2021, 9, 30), OCTOBER)
    assert school_year_end(date(2010, 4, 1), 15) == date(2025, 3, 31)
    assert school_year_end(date(2010, 4, 2), 15) == date(2026, 3, 31)
    assert months_after(date(2024, 10, 31), 4) == date(2025, 2, 28)
    assert months_after(date(2024, 12, 15), 18) == date(2026, 6, 15)


# The nodes, in small simulations.


class Town:
    """Kitami and Kobe, and a family that moved between them."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kitami: City = assemble(sim, "01208")
        self.kobe: City = assemble(sim, "28100")
        self.people = Population(sim)
        self.family: Household = self.people.household(
            "01208", child_ages=(1,), moves=(Move(date(2024, 10, 1), "28100", "01208"),)
        )
        self.father, self.mother = self.family.parents
        self.office = self.kitami.child_allowance

    async def income(self, **options: Any) -> Any:
        asked = {"items": ("tax_year", "total_income_yen"), "procedure": PROCEDURE} | options
        subject = self.kitami.code(self.father)
        where = self.kobe.address("tax")
        return await self.office.ask(where, INCOME, IncomeQuery(2024), subject=subject, **asked)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    with simulation(starts="2024-10-15T09:00:00+09:00") as sim:
        establish(sim)
        yield Town(sim)


async def test_tax_answers_from_the_copy(town: Town):
    tax, code = town.kobe.tax, town.kobe.code(town.father)
    with pytest.raises(Refused, match="not_found"):
        await town.income()
    tax.assess(code, 2024, total_income_yen=3_000_000)
    with pytest.raises(Refused, match="replica_missing"):
        await town.income()
    tax.register_replica(code, 2024)
    tax.assess(code, 2024, total_income_yen=5_000_000)
    assert (await town.income()).total_income_yen == 3_000_000
    tax.register_replica(code, 2024)
    assert (await town.income()).total_income_yen == 5_000_000


@pytest.mark.parametrize(("flag", "code"), [("withhold", "withheld"), ("review_manually", "manual_review")])
async def test_flags_of_the_tax_office(town: Town, flag: str, code: str):
    tax, person = town.kobe.tax, town.kobe.code(town.father)
    tax.assess(person, 2024, total_income_yen=3_000_000)
    tax.register_replica(person, 2024)
    getattr(tax, flag)(person)
    with pytest.raises(Refused, match=code):
        await town.income()


async def test_items_outside_the_basis_are_refused(town: Town):
    for item in ("dependants", "tax_yen", "taxable_income_yen"):
        with pytest.raises(Refused, match="item_not_permitted"):
            await town.income(items=("tax_year", item))
    with pytest.raises(Refused, match="no_legal_basis"):
        await town.income(procedure="child-health")


async def test_pension_answers_from_the_copy(town: Town):
    body = town.sim.node(PENSION, PensionBody)
    code = town.sim.code("org/nenkin", town.father.handle)
    ours = {"subject": town.kitami.code(town.father), "procedure": PROCEDURE}
    items = ("scheme", "employer_kind")
    for refusal in ("not_found", "replica_missing"):
        with pytest.raises(Refused, match=refusal):
            await town.office.ask(PENSION, ENROLMENT, Empty(), items=items, **ours)
        body.enrol(code, "national", "none", 12)
    body.register_replica(code)
    reply = await town.office.ask(PENSION, ENROLMENT, Empty(), items=items, **ours)
    assert (reply.scheme, reply.employer_kind) == ("national", "none")
    with pytest.raises(Refused, match="item_not_permitted"):
        await town.office.ask(PENSION, ENROLMENT, Empty(), items=("months",), **ours)


async def test_the_register_knows_the_city_of_1_january(town: Town):
    town.kitami.settle(town.family)
    ours = {"subject": town.kitami.code(town.father), "procedure": PROCEDURE}
    for year, city in ((2024, "28100"), (2025, "01208"), (None, None)):
        reply = await town.office.ask(
            town.kitami.address("resident"), HOUSEHOLD, HouseholdQuery(year), **ours
        )
        assert {one.january_city for one in reply.members} == {city}
    assert [one.relation for one in reply.members] == ["head", "spouse", "child"]


async def test_a_household_is_not_shown_to_another_city(town: Town):
    town.kobe.settle(town.family)
    with pytest.raises(Refused, match="no_legal_basis"):
        await town.office.ask(
            town.kobe.address("resident"),
            HOUSEHOLD,
            HouseholdQuery(),
            subject=town.kitami.code(town.father),
            procedure=PROCEDURE,
        )


async def test_a_birth_invites_and_plans_and_grants_nothing(town: Town):
    town.kitami.settle(town.family)
    child = town.people.newborn(town.family, date(2024, 10, 10))
    code, parent = town.kitami.code(child), town.kitami.code(town.father)
    await town.kitami.resident.register_birth(
        resident_code=child.resident_code,
        code=code,
        name=child.name,
        kana=child.kana,
        born="2024-10-10",
        parent_code=parent,
    )
    await town.sim.sleep(2)
    assert [(row["occasion"], row["parent"], row["about"]) for row in town.office.invitations()] == [
        ("birth", parent, code)
    ]
    assert town.kitami.health.plan_of(code) == [
        ("vaccination", "2024-12-10"),
        ("check-up-4m", "2025-02-10"),
        ("check-up-18m", "2026-04-10"),
        ("check-up-3y", "2027-10-10"),
    ]
    assert not town.office.db.execute("SELECT 1 FROM claim").fetchall()
    assert not town.office.db.execute("SELECT 1 FROM decision").fetchall()
    assert not town.kobe.health.plan_of(town.kobe.code(child))


async def test_a_birth_to_strangers_is_refused_and_leaves_nothing(town: Town):
    child = town.people.newborn(town.family, date(2024, 10, 10))
    with pytest.raises(NotFound):
        await town.kitami.resident.register_birth(
            resident_code=child.resident_code,
            code=town.kitami.code(child),
            name=child.name,
            kana=child.kana,
            born="2024-10-10",
            parent_code=town.kitami.code(town.father),
        )
    assert not list(town.kitami.resident.personal_numbers())


async def test_a_family_is_invited_once_and_by_a_named_official(town: Town):
    town.kitami.move_in(town.family)
    await town.sim.sleep(2)
    (row,) = town.office.invitations()
    assert row["official"] is None
    town.office.invite(row["event"], date(2024, 10, 30), "somebody")
    for event in (row["event"], "another"):
        with pytest.raises(ManualReview):
            town.office.invite(event, date(2024, 10, 30), "somebody else")
    await town.sim.sleep(60)
    letters = town.sim.node(PORTAL, Portal).letters(town.sim.code("gov/portal", town.father.handle))
    assert [one["due"] for one in letters] == ["2024-10-30"]
    assert [one["official"] for one in town.office.invitations()] == ["somebody"]


async def test_a_household_without_children_is_not_invited(town: Town):
    couple = town.people.household("01208", moves=(Move(date(2024, 10, 1), "28100", "01208"),))
    town.kitami.move_in(couple)
    await town.sim.sleep(2)
    assert town.office.invitations() == []


async def test_a_city_that_is_down_means_paper(town: Town):
    town.kitami.settle(town.family)
    number = town.office.take_claim(town.kitami.code(town.father), ClaimQuery("move-in", "2024-09-30")).number
    with town.sim.offline(town.kobe.address("tax")):
        assert (await town.office.examine(number)).outcome == "waiting"
    assert [(one.key, one.why) for one in town.office.file.papers(number)] == [
        ("income-certificate", "recipient_unreachable")
    ] * 2


async def test_an_unlawful_question_is_the_offices_own_fault(town: Town):
    town.kitami.settle(town.family)
    town.sim.policy.withdraw_assessment("muni/01208", PROCEDURE)
    number = town.office.take_claim(town.kitami.code(town.father), ClaimQuery("move-in", "2024-09-30")).number
    with pytest.raises(Refused, match="assessment_missing"):
        await town.office.examine(number)
    assert not town.office.file.papers(number)


async def test_a_claim_for_a_day_that_does_not_exist(town: Town):
    with pytest.raises(ManualReview):
        town.office.take_claim(town.kitami.code(town.father), ClaimQuery("birth", "2024-02-31"))
    with pytest.raises(MeshError, match="not_found"):
        await town.office.examine(1)


async def test_the_same_income_leaves_the_claim_with_who_filed(town: Town):
    town.kitami.settle(town.family)
    for parent in town.family.parents:
        code = town.kobe.code(parent)
        town.kobe.tax.assess(code, 2024, total_income_yen=3_000_000)
        town.kobe.tax.register_replica(code, 2024)
    town.office.bring_pension_paper(
        number := town.office.take_claim(
            town.kitami.code(town.mother), ClaimQuery("move-in", "2024-09-30")
        ).number,
        town.kitami.code(town.mother),
        "employees",
    )
    decision = await town.office.examine(number)
    assert (decision.outcome, decision.claimant) == ("granted", town.kitami.code(town.mother))
    assert (decision.monthly_yen, decision.first_month) == (15_000, "2024-10")
    assert town.office.file.decision(number) == decision


async def test_only_this_city_s_systems_hear_of_a_birth(town: Town):
    rows = town.sim.policy.rows("resident.birth.v1")
    assert {"muni/*/child-allowance", "muni/*/health"} <= {row.requester for row in rows}
    assert all(row.same_member for row in rows)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def a_question_less(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The office asks for the income alone and takes the year for granted."""
        ask = child_allowance.ask_income

        async def less(office: Any, parent: Any, year: int, items: Any, procedure: str) -> Any:
            return await ask(office, parent, year, ("total_income_yen",), procedure)

        patch.setattr(child_allowance, "ask_income", less)

    @staticmethod
    def any_question_is_lawful(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        items = ("dependants", "tax_year", "tax_yen", "total_income_yen")
        for procedure in (PROCEDURE, "child-health"):
            sim.allow(LegalBasis("muni/*/child-allowance", procedure, "muni/*/tax", INCOME.name, items))

    @staticmethod
    def one_dependant_more(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        assess = TaxOffice.assess

        def generous(self: TaxOffice, code: str, year: int, *, dependants: int = 0, **facts: Any) -> None:
            assess(self, code, year, dependants=dependants + 1, **facts)

        patch.setattr(TaxOffice, "assess", generous)

    @staticmethod
    def public_servants_too(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        examine = ChildAllowanceOffice.examine

        async def curious(self: ChildAllowanceOffice, claim: int) -> Decision:
            await self._ask_household(self.file.claim(claim).claimant, None)
            return await examine(self, claim)

        patch.setattr(ChildAllowanceOffice, "examine", curious)

    @staticmethod
    def a_day_less_to_claim(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(child_allowance, "due_date", lambda day: due_date(day) - date.resolution)

    @staticmethod
    def a_week_more_to_claim(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(child_allowance, "due_date", lambda day: due_date(day) + 7 * date.resolution)

    @staticmethod
    def everybody_is_hidden(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        hide = ChildAllowanceOffice._hide_last

        async def always(self: ChildAllowanceOffice, person: str, provider: str, protected: bool) -> None:
            await hide(self, person, provider, protected=True)

        patch.setattr(ChildAllowanceOffice, "_hide_last", always)

    @staticmethod
    def nobody_is_hidden(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def never(self: ChildAllowanceOffice, person: str, provider: str, protected: bool) -> None:
            pass

        patch.setattr(ChildAllowanceOffice, "_hide_last", never)


@pytest.mark.parametrize(
    ("sabotage", "words", "rules"),
    [
        (Sabotage.a_question_less, ["The items asked for"], "2024-10"),
        (
            Sabotage.any_question_is_lawful,
            ["Neither question reached", "Asking for dependants", "health check-ups"],
            "2024-10",
        ),
        (Sabotage.any_question_is_lawful, ["On 1 October the same question"], "2024-09"),
        (Sabotage.one_dependant_more, ["On 30 September 2024"], "2024-09"),
        (Sabotage.public_servants_too, ["not one message is sent"], "2024-10"),
        (Sabotage.a_day_less_to_claim, ["day 15 is in time", "claim on day 16 is in time"], "2024-10"),
        (Sabotage.a_week_more_to_claim, ["after the term, is late"], "2024-10"),
        (copies_as_of_now, ["Each income says as of when"], "2024-10"),
        (Sabotage.everybody_is_hidden, ["parent without protection"], "2024-10"),
        (Sabotage.nobody_is_hidden, ["All three records", "nothing that any city did"], "2024-10"),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = scenario_replace(run, starts=run.start({"rules": rules}))
    await see_fail(started, sabotage, words, monkeypatch, rules=rules)
