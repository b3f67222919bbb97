"""The scenario `child_support`, its analysis and its holders: they hold, and can fail."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import date
from itertools import product
from typing import Any

import pytest
from msgspec import structs

import nodes
from mesh import LegalBasis, MeshError, Refused, Simulation, UsageError, Withheld, instant
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.policy import Policy, ZonePath
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.municipality import child_risk_rules
from nodes.municipality import child_support as child_support_office
from nodes.municipality.child_analysis import EXPLANATION, PROCEDURE, ChildAnalysis, Source
from nodes.municipality.child_rearing_allowance import REARING_ALLOWANCE, ChildRearingAllowance
from nodes.municipality.child_risk_rules import RULES, THRESHOLD, Score, score
from nodes.municipality.child_support import ChildSupport
from nodes.municipality.disability_welfare import DisabilityWelfare
from nodes.municipality.education_board import EducationBoard, band_of, school_year_start
from nodes.municipality.public_assistance import Assistance, PublicAssistance
from nodes.municipality.tax import INCOME, IncomeQuery
from nodes.portal.inbox import PORTAL, Letter, Portal
from scenarios._watched_children import World
from scenarios.child_support import run as child_support
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

STARTS = child_support.starts


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


@pytest.mark.parametrize(("seed", "keep_days"), [(1, 365), (2, 30)])
def test_it_holds(seed: int, keep_days: int) -> None:
    result = hold(child_support, seed=seed, keep_days=keep_days)
    push = result.report.push
    assert (push.eligible, push.notified, push.accepted, push.declined, push.mistaken) == (3, 3, 2, 1, 1)


def test_a_term_that_makes_no_sense_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="30 to 730"):
        run_scenario(child_support, settings={"keep_days": 1}, nodes="nodes")


class TestRules:
    def test_poverty_alone_never_brings_a_child_on_the_list(self) -> None:
        for allowance, assistance in product(("True", "False", None), repeat=2):
            facts: Any = {"absence": "few", "missed": "0", "allowance": allowance, "assistance": assistance}
            assert score(facts).points < THRESHOLD

    def test_who_is_cared_for_counts_less(self) -> None:
        facts: Any = {"absence": "long", "services": "False"}
        assert score(facts | {"services": "True"}).points < score(facts).points

    def test_each_rule_has_a_reason_of_its_own_in_japanese_too(self) -> None:
        assert len({rule.reason for rule in RULES}) == len({rule.text_ja for rule in RULES}) == len(RULES)

    def test_what_is_not_known_counts_nothing_and_is_said(self) -> None:
        facts: Any = {"absence": None, "missed": "1"}
        result = score(facts)
        assert (result.points, result.reasons, result.unknown) == (20, ("missed-check-up",), ("absence",))

    @pytest.mark.parametrize(
        ("days", "band"), [(0, "few"), (9, "few"), (10, "some"), (29, "some"), (30, "long")]
    )
    def test_the_bands_of_absence(self, days: int, band: str) -> None:
        assert band_of(days) == band

    def test_the_school_year_begins_in_april(self) -> None:
        assert school_year_start(date(2026, 3, 31)) == date(2025, 4, 1)
        assert school_year_start(date(2026, 4, 1)) == date(2026, 4, 1)


@pytest.fixture
async def world() -> Any:
    with simulation(starts=STARTS) as sim:
        nodes.establish(sim)
        world = World(sim)
        world.let_offices_work()
        yield world


class TestHolders:
    async def test_a_withheld_record_is_not_known(self, world: World) -> None:
        office, code = world.kitami.node(PublicAssistance), world.code("quiet")
        office.register_replica(code)
        office.withhold(code)
        world.analysis.approve(by="Head", keep_days=30)
        assert (await world.analysis.analyse(code)).unknown == ("assistance",)
        with pytest.raises(Withheld):
            office.file.answer(code)

    async def test_an_office_that_is_away_leaves_a_fact_unknown(self, world: World) -> None:
        world.analysis.approve(by="Head", keep_days=30)
        with world.sim.offline(world.kitami.address("education-board")):
            assert "absence" in (await world.analysis.analyse(world.code("silent"))).unknown

    async def test_a_correction_changes_no_answer_before_the_copy(self, world: World) -> None:
        office, code = world.kitami.node(PublicAssistance), world.code("quiet")
        office.register_replica(code)
        office.end(code)
        assert office.file.answer(code).receiving is True
        office.register_replica(code)
        assert office.file.answer(code) == Assistance(as_of=instant(world.sim.now_us()), receiving=False)

    async def test_public_assistance_asks_for_the_allowance_of_another_city(self, world: World) -> None:
        child, office = world.children["hospital"], world.kitami.node(ChildRearingAllowance)
        world.sim.add(PublicAssistance, "muni/28100/public-assistance")
        asker = world.sim.node("muni/28100/public-assistance", PublicAssistance)
        code = world.kobe.code(child.person)
        ask = asker.ask(
            office.address, REARING_ALLOWANCE, Empty(), subject=code, procedure="public-assistance"
        )
        answer = await ask
        assert (answer.receiving, answer.payment, answer.since) == (True, "partial", "2024-11")
        office.review_manually(child.code)
        with refuses("manual_review"):
            await asker.ask(
                office.address, REARING_ALLOWANCE, Empty(), subject=code, procedure="public-assistance"
            )

    async def test_suspended_is_not_receiving(self, world: World) -> None:
        office, child = world.kitami.node(ChildRearingAllowance), world.children["fine"]
        office.certify(world.kitami.code(child.home.head), child.code, "suspended", "2026-08")
        office.register_replica(child.code)
        assert office.file.answer(child.code).receiving is False

    async def test_the_analysis_learns_of_services_and_not_of_what(self, world: World) -> None:
        world.analysis.approve(by="Head", keep_days=30)
        await world.analysis.analyse(world.code("fine"))
        facts = world.analysis.db.execute("SELECT value FROM fact WHERE child = ?", (world.code("fine"),))
        assert "physical" not in [row["value"] for row in facts]
        record = world.kitami.node(DisabilityWelfare).file.answer(world.code("fine"))
        assert (record.certificate, record.grade) == ("physical", "4")

    async def test_a_child_that_no_school_knows_is_not_absent(self, world: World) -> None:
        world.analysis.approve(by="Head", keep_days=30)
        board = world.kitami.node(EducationBoard)
        with board.effect():
            board.db.execute("DELETE FROM absence WHERE code = ?", (world.code("silent"),))
            board.db.execute("DELETE FROM pupil WHERE code = ?", (world.code("silent"),))
        result = await world.analysis.analyse(world.code("silent"))
        assert (result.points, result.unknown) == (20, ())

    async def test_an_approval_needs_a_name(self, world: World) -> None:
        with refuses("manual_review"):
            world.analysis.approve(by=" ", keep_days=30)


class TestCentre:
    async def test_who_is_not_on_the_list_cannot_be_reviewed(self, world: World) -> None:
        with refuses("not_found"):
            world.centre.review(world.code("fine"), by="Ono", finding="support", why="a wrong row")

    async def test_a_plan_comes_before_an_offer(self, world: World) -> None:
        code = world.code("fine")
        world.centre.nominate(code, "worried")
        world.centre.review(code, by="Ono", finding="support", why="seen at home")
        with refuses("not_found"):
            await world.centre.offer(code, by="Ono")

    async def test_a_family_is_written_to_once_and_not_after_it_declined(self, world: World) -> None:
        code, centre = world.code("fine"), world.centre
        centre.nominate(code, "worried")
        centre.review(code, by="Ono", finding="support", why="seen at home")
        centre.plan(code, ("consultation",), by="Ono")
        await centre.offer(code, by="Ono")
        with refuses("manual_review"):
            await centre.offer(code, by="Ono")
        await world.sim.sleep(60)
        assert len(world.sim.node(PORTAL, Portal).letters(world.parent("fine"))) == 1
        await world.answer("fine", "decline")
        with refuses("manual_review"):
            centre.plan(code, ("consultation",), by="Ono")
        with refuses("manual_review"):
            await centre.offer(code, by="Ono")

    async def test_only_who_was_asked_can_answer(self, world: World) -> None:
        with refuses("not_found"):
            await world.answer("fine", "accept")

    async def test_a_family_that_leaves_without_a_word_takes_nothing_along(self, world: World) -> None:
        code = world.code("silent")
        world.analysis.approve(by="Head", keep_days=30)
        await world.analysis.analyse(code)
        await world.sim.sleep(1)
        assert [row["child"] for row in world.centre.candidates()] == [code]
        world.move_to_kobe("silent")
        await world.sim.sleep(60)
        assert world.analysis.scored() == []
        assert world.centre.candidates() == []
        assert world.kobe.node(ChildSupport).arrivals() == []

    async def test_who_moved_away_is_forgotten_after_an_outage_too(self, world: World) -> None:
        code = world.code("silent")
        world.analysis.approve(by="Head", keep_days=30)
        await world.analysis.analyse(code)
        world.sim.crash(world.kitami.address("child-analysis"))
        world.move_to_kobe("silent")
        await world.sim.sleep(60)
        world.sim.restart(world.kitami.address("child-analysis"))
        await world.sim.sleep(60)
        assert world.analysis.scored() == []


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def no_approval_needed(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        resume = ChildAnalysis.resume

        def approved(self: ChildAnalysis) -> None:
            resume(self)
            self.approve(by="nobody", keep_days=365)

        patch.setattr(ChildAnalysis, "resume", approved)

    @staticmethod
    def no_review_needed(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(ChildSupport, "_check_reviewed", lambda *_: None)

    @staticmethod
    def a_row_for_the_board(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(
            LegalBasis(
                "muni/*/education-board",
                "child-support",
                "muni/*/child-analysis",
                EXPLANATION.name,
                EXPLANATION.items,
            )
        )

    @staticmethod
    def unknown_is_no(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        learn = ChildAnalysis._learn

        async def guess(self: ChildAnalysis, child: str, source: Source) -> str:
            return await learn(self, child, source) or source.none

        patch.setattr(ChildAnalysis, "_learn", guess)

    @staticmethod
    def another_weight(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        rules = tuple(replace(rule, points=rule.points // 2) for rule in RULES)
        patch.setattr(child_risk_rules, "RULES", rules)

    @staticmethod
    def nothing_is_deleted(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(ChildAnalysis, "_delete", lambda *_: 0)

    @staticmethod
    def deleted_too_early(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        approve = ChildAnalysis.approve
        patch.setattr(ChildAnalysis, "approve", lambda self, by, keep_days: approve(self, by=by, keep_days=0))

    @staticmethod
    def shown_in_the_history(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        law = sim.policy.bases
        sim.policy = Policy(
            [structs.replace(row, undisclosed=False) for row in law],
            paths=sim.policy.paths,
            procedures=sim.policy.procedures.values(),
        )

    @staticmethod
    def the_tax_office_is_asked(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        tax = "muni/*/tax"
        sim.allow(LegalBasis("muni/*/child-analysis", PROCEDURE, tax, INCOME.name, ("tax_year",)))
        sim.allow_path(ZonePath(Zone.LGWAN, Zone.MYNUMBER, "muni/*/child-analysis", tax))
        analyse = ChildAnalysis.analyse

        async def curious(self: ChildAnalysis, child: str) -> Score:
            result = await analyse(self, child)
            with suppress(Refused):
                await self.ask(
                    f"{self.member}/tax",
                    INCOME,
                    IncomeQuery(2026),
                    subject=child,
                    procedure=PROCEDURE,
                    items=["tax_year"],
                )
            return result

        patch.setattr(ChildAnalysis, "analyse", curious)

    @staticmethod
    def asked_twice(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        learn = ChildAnalysis._learn

        async def again(self: ChildAnalysis, child: str, source: Source) -> str | None:
            await learn(self, child, source)
            return await learn(self, child, source)

        patch.setattr(ChildAnalysis, "_learn", again)

    @staticmethod
    def a_telling_letter(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def telling(title: str, title_ja: str, due: str) -> Letter:
            return Letter("About the absence of your child", title_ja, due)

        patch.setattr(child_support_office, "Letter", telling)

    @staticmethod
    def a_decision_under_another_name(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        review = ChildSupport.review

        def signed(self: ChildSupport, child: str, *, by: str, **more: Any) -> None:
            review(self, child, by=by and "the analysis", **more)

        patch.setattr(ChildSupport, "review", signed)

    @staticmethod
    def a_telling_contact(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        hand_over = ChildSupport.hand_over

        def chatty(self: ChildSupport, child: str, city: str, *, contact: str, agreed: bool) -> None:
            hand_over(self, child, city, contact=f"{contact}, because of absence", agreed=agreed)

        patch.setattr(ChildSupport, "hand_over", chatty)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.no_approval_needed, ["before the rules"]),
        (
            Sabotage.no_review_needed,
            ["No letter leaves", "false positive", "the suspect no plan", "In Kobe too"],
        ),
        (Sabotage.a_row_for_the_board, ["may not have the scores"]),
        (Sabotage.unknown_is_no, ["shown as not known"]),
        (Sabotage.another_weight, ["Three of five"]),
        (Sabotage.nothing_is_deleted, ["Kitami deleted the score", "and not before", "look a score up"]),
        (Sabotage.deleted_too_early, ["and not before"]),
        (Sabotage.a_telling_contact, ["nothing about why"]),
        (Sabotage.shown_in_the_history, ["who is the suspect", "In the end too", "Hidden from the portal"]),
        (Sabotage.the_tax_office_is_asked, ["the tax office for nothing"]),
        (Sabotage.asked_twice, ["Each office was asked once"]),
        (Sabotage.a_telling_letter, ["Nothing that the portal was ever sent"]),
        (Sabotage.a_decision_under_another_name, ["Each of the five"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(child_support, sabotage, words, monkeypatch, keep_days=30)
