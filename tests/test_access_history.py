"""The scenario `access_history` holds; the check of use, guidance and breach reports keep their rules."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

import nodes
from mesh import NotFound, Refused, Simulation, UsageError
from mesh.faults import drop
from mesh.history import lines_of
from mesh.ledger import Row
from mesh.loading import scenarios_of
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import simulation
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from mesh.viewer.reconciling import Reconciliation
from nodes.agency import breach_rules, commission, harvesting
from nodes.agency.breach_intake import BREACH_INTAKE, BREACH_REPORT, BreachIntake, BreachQuery
from nodes.agency.breach_rules import final_due, preliminary_due
from nodes.agency.case_check import CASES, CasesQuery
from nodes.agency.commission import GUIDANCE, NO_CASE, OVERSIGHT, Commission, GuidanceQuery
from nodes.agency.harvesting import PERSONS_MIN, WITHIN_US, bursts
from nodes.municipality.child_allowance import PROCEDURE as ALLOWANCE
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.claim_file import Decision
from nodes.municipality.privacy import PROCEDURE, PrivacyDesk
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter, Portal
from scenarios._watched_offices import Story, open_story
from scenarios.access_history import run as scenario
from tests.helpers_scenario import Sabotaging, hold, named, no_history, see_fail


@pytest.mark.parametrize("seed", [2, 7])
def test_it_holds(seed: int) -> None:
    hold(scenario, seed=seed)


@pytest.mark.parametrize(
    "settings", [{"neighbours": 8, "report_day": 5}, {"neighbours": 20, "report_day": 6}]
)
def test_it_holds_for_few_and_many_early_and_late(settings: dict[str, int]) -> None:
    hold(scenario, **settings)


@pytest.mark.parametrize(
    "settings", [{"neighbours": 7}, {"neighbours": 61}, {"report_day": 0}, {"report_day": 31}]
)
def test_settings_that_make_no_sense(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="--set"):
        run_scenario(scenario, settings=settings, nodes="nodes")


class TestLines:
    """What the broker's rows say to the person."""

    ASKS = ("muni/01208/office", "muni/28100/tax")

    def rows(self, digest: str, *codes: str | None, undisclosed: bool = False) -> list[Row]:
        """One exchange about Anna under the id `m`, and what it was closed with."""
        requester, provider = self.ASKS
        permitted = Row(
            "permitted", 1, "m", requester, provider=provider, subject="anna", requestdigest=digest,
            undisclosed=undisclosed,
        )  # fmt: skip
        return [
            permitted,
            *(Row("closed", 2, "m", requester, requestdigest=digest, code=one) for one in codes),
        ]

    def shown(self, *rows: Row) -> list[str]:
        return [line.outcome for line, hidden in lines_of(rows, lambda _: list(rows), "anna") if not hidden]

    def test_a_refusal_that_follows_an_answer_takes_nothing_back(self) -> None:
        assert self.shown(*self.rows("a", None, "not_found")) == ["answered"]
        assert self.shown(*self.rows("a", "recipient_unreachable", None)) == ["answered"]
        assert self.shown(*self.rows("a", "overloaded", "not_found")) == ["not_found"]
        assert self.shown(*self.rows("a")) == ["unfinished"]

    def test_an_id_used_again_hides_neither_exchange(self) -> None:
        assert self.shown(*self.rows("a", "withheld"), *self.rows("b", None)) == ["withheld", "answered"]
        assert self.shown(*self.rows("a", None), *self.rows("b", None, undisclosed=True)) == ["answered"]
        marked = Row("mark", 3, "m", self.ASKS[0], undisclosed=True)
        assert self.shown(*self.rows("a", None), *self.rows("a", None), marked) == []


class TestDays:
    def test_the_day_of_knowing_is_the_first(self) -> None:
        known_on = date(2026, 6, 1)
        assert preliminary_due(known_on) == date(2026, 6, 5)
        assert final_due(known_on, wilful=False) == date(2026, 6, 30)
        assert final_due(known_on, wilful=True) == date(2026, 7, 30)

    @pytest.mark.parametrize(
        ("known_on", "due"), [(4, date(2026, 7, 3)), (5, date(2026, 7, 6)), (6, date(2026, 7, 6))]
    )
    def test_a_weekend_moves_the_last_day_to_monday(self, known_on: int, due: date) -> None:
        assert final_due(date(2026, 6, known_on), wilful=False) == due


def permitted(place: int, time_us: int, **changes: Any) -> Row:
    fields: dict[str, Any] = {
        "provider": "muni/28100/tax", "procedure": "p", "subject": f"person {place}", "service": "tax.income.v1",
    }  # fmt: skip
    return Row("permitted", time_us, f"message {place}", "muni/01100/desk", **(fields | changes))


class TestBursts:
    def test_as_many_persons_in_an_hour_are_a_burst(self) -> None:
        rows = [permitted(place, place) for place in range(PERSONS_MIN)]
        assert [(one.persons, len(one.messages)) for one in bursts(rows)] == [(PERSONS_MIN, PERSONS_MIN)]
        assert bursts(rows[1:]) == []

    def test_over_more_than_an_hour_they_are_none(self) -> None:
        rows = [
            permitted(place, place * (WITHIN_US // (PERSONS_MIN - 1) + 1)) for place in range(2 * PERSONS_MIN)
        ]
        assert bursts(rows) == []

    def test_what_came_before_and_after_is_not_part_of_it(self) -> None:
        rows = [permitted(100, 0)]
        rows += [permitted(place, 10 * WITHIN_US + place) for place in range(PERSONS_MIN)]
        rows += [permitted(200, 20 * WITHIN_US)]
        assert bursts(rows)[0].messages == tuple(f"message {place}" for place in range(PERSONS_MIN))

    @pytest.mark.parametrize(
        "changes",
        [
            {"subject": "one person"},
            {"subject": None},
            {"provider": "muni/01100/resident"},
            {"provider": None},
        ],
    )
    def test_what_is_not_watched(self, changes: dict[str, Any]) -> None:
        assert bursts(permitted(place, place, **changes) for place in range(2 * PERSONS_MIN)) == []


@pytest.fixture
async def story() -> Any:
    with simulation(starts=scenario.starts) as sim:
        nodes.establish(sim)
        yield open_story(sim)


class TestOversight:
    async def test_only_the_commission_asks_for_cases_and_guides(self, story: Story) -> None:
        office, desk = story.sapporo_office, story.sapporo_privacy
        with pytest.raises(Refused, match=r"^no_legal_basis"):
            await desk.ask(office.address, CASES, CasesQuery(()), procedure=OVERSIGHT)
        with pytest.raises(Refused, match=r"^no_legal_basis"):
            await office.ask(
                desk.address, GUIDANCE, GuidanceQuery(1, office.address, "x", "x", ()), procedure=OVERSIGHT
            )

    async def test_an_exchange_that_the_office_never_had_has_no_case(self, story: Story) -> None:
        query = CasesQuery(("01900000-0000-7000-8000-000000000000",))
        answer = await story.commission.ask(story.sapporo_office.address, CASES, query, procedure=OVERSIGHT)
        assert answer.cases == ("none",)

    async def test_an_office_that_is_away_is_a_finding(self, story: Story) -> None:
        for _ in range(PERSONS_MIN):
            await story.ask_from_sapporo(story.claim_in_sapporo(1_000_000))
        assert await story.commission.check_use() == []
        with story.sim.offline(story.sapporo_office.address):
            findings = await story.commission.check_use()
        assert [(one.code, one.party) for one in findings] == [
            ("recipient_unreachable", story.sapporo_office.address)
        ]

    async def test_a_broker_that_cannot_be_inspected_is_a_finding(self, story: Story) -> None:
        await story.commission.reconcile([])
        with story.commission.effect():
            story.commission.db.execute("UPDATE head SET root = ?", ("0" * 64,))
        assert [(one.code, one.party) for one in await story.commission.check_use()] == [
            ("ledger_broken", BROKER)
        ]

    async def test_guidance_is_given_once(self, story: Story) -> None:
        for place in range(PERSONS_MIN):
            parent = story.claim_in_sapporo(1_000_000) if place else story.world.family(4, parents=1).head
            story.world.assess(parent, 1_000_000)
            await story.ask_from_sapporo(parent)
        assert [one.code for one in await story.commission.check_use()] == [NO_CASE]
        number = await story.commission.guide(story.sapporo_office.address)
        assert [row["guidance"] for row in story.commission.findings()] == [number]
        with pytest.raises(NotFound):
            await story.commission.guide(story.sapporo_office.address)


class TestBreaches:
    async def test_both_reports_late_are_taken_all_the_same(self, story: Story) -> None:
        desk = story.sapporo_privacy
        breach = desk.note_breach([story.sapporo.code(story.claim_in_sapporo(1))], wilful=False)
        await story.sim.sleep(10 * 86_400)
        assert not (await desk.report(breach)).in_time
        await story.sim.sleep(40 * 86_400)
        final = await desk.report(breach)
        assert (final.number, final.in_time, final.final_due) == (1, False, "2024-11-13")

    async def test_a_report_whose_answer_was_lost_is_one_report(self, story: Story) -> None:
        desk, sim = story.sapporo_privacy, story.sim
        breach = desk.note_breach([story.sapporo.code(story.claim_in_sapporo(1))], wilful=False)
        for stage_days in (6, 40):
            lost = drop(BROKER, desk.address, times=1)
            sim.disturbance.rules.append(lost)
            answer = await desk.report(breach)  # The question is repeated, and gets the answer that was kept.
            sim.disturbance.rules.remove(lost)
            await sim.sleep(stage_days * 86_400)
            assert (answer.number, answer.in_time) == (1, True)
        (row,) = sim.node(BREACH_INTAKE, BreachIntake).breaches()
        assert (row["preliminary_on"], row["final_on"]) == ("2024-10-15", "2024-10-21")

    async def test_guidance_that_comes_again_is_about_the_same_exchanges(self, story: Story) -> None:
        commission, desk = story.commission, story.sapporo_privacy
        message = "01928f5e-0000-7000-8000-000000000001"
        for _ in range(2):
            query = GuidanceQuery(1, story.sapporo_office.address, "look", "確認", (message,))
            await commission.ask(desk.address, GUIDANCE, query, procedure=OVERSIGHT)
        assert desk.concerned(1) == [message]

    async def test_whom_it_concerns_is_written_to_once(self, story: Story) -> None:
        desk, sim = story.sapporo_privacy, story.sim
        person = story.claim_in_sapporo(1)
        breach = desk.note_breach([story.sapporo.code(person)], wilful=False)
        assert [len(desk.tell_people(breach)) for _ in range(2)] == [1, 0]
        await sim.sleep(60)
        assert len(sim.node(PORTAL, Portal).letters(sim.code("gov/portal", person.handle))) == 1

    async def test_nobody_reports_finally_for_another(self, story: Story) -> None:
        desk, kobe = story.sapporo_privacy, story.world.kobe.node(PrivacyDesk)
        breach = desk.note_breach([story.sapporo.code(story.claim_in_sapporo(1))], wilful=True)
        await desk.report(breach)
        query = BreachQuery("final", "2024-10-15", 1, True, 1)
        with pytest.raises(Refused, match=r"^not_found"):
            await kobe.ask("gov/ppc/breach-intake", BREACH_REPORT, query, procedure=PROCEDURE)

    async def test_what_was_not_noted_is_not_reported(self, story: Story) -> None:
        with pytest.raises(NotFound):
            await story.sapporo_privacy.report(9)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def a_letter_with_the_income(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        examine = ChildAllowanceOffice.examine

        async def chatty(self: ChildAllowanceOffice, claim: int) -> Decision:
            if told:
                raise RuntimeError("the story has been told far enough")
            decision = await examine(self, claim)
            income = next(iter(self.file.incomes(claim).values()))
            letter = Letter(f"Your income is {income.total_income_yen}", "所得のお知らせ", "2024-12-31")
            self.notify(PORTAL_LETTER, PORTAL, letter, subject=decision.claimant, procedure=ALLOWANCE)
            await sim.sleep(1)
            told.append(claim)
            return decision

        told: list[int] = []
        patch.setattr(ChildAllowanceOffice, "examine", chatty)

    @staticmethod
    def hidden_rows_are_shown(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("mesh.broker.history_of", lambda *args: (line for line, _ in lines_of(*args)))

    @staticmethod
    def nothing_is_compared(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(commission, "compare", lambda records, ledgers, lapsed: [])

    @staticmethod
    def no_head_is_kept(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        inspect = Commission._inspect

        async def forgets(self: Commission, party: str) -> Any:
            with self.effect():
                self.db.execute("DELETE FROM head")
            return await inspect(self, party)

        patch.setattr(Commission, "_inspect", forgets)

    @staticmethod
    def cases_are_believed_unseen(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(ChildAllowanceOffice, "_case_of", lambda self, message: "claim")

    @staticmethod
    def whoever_is_busy_is_guilty(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(ChildAllowanceOffice, "_case_of", lambda self, message: "none")

    @staticmethod
    def nobody_is_watched(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(harvesting, "PERSONS_MIN", 10_000)

    @staticmethod
    def ten_days_to_report(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.agency.breach_intake.preliminary_due", lambda known_on: known_on)

    @staticmethod
    def thirty_days_for_all(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(breach_rules, "FINAL_WILFUL", breach_rules.FINAL)

    @staticmethod
    def nobody_is_told(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(PrivacyDesk, "tell_people", lambda self, breach: [])


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (no_history, ["mother reads one line", "a neighbour reads"]),
        (Sabotage.a_letter_with_the_income, ["What the portal was sent for it"]),
        (Sabotage.hidden_rows_are_shown, ["no gap"]),
        (Sabotage.nothing_is_compared, ["record is missing", "record is altered"]),
        (Sabotage.no_head_is_kept, ["do not continue the head"]),
        (Sabotage.cases_are_believed_unseen, ["without a case"]),
        (Sabotage.whoever_is_busy_is_guilty, ["without a case"]),
        (Sabotage.nobody_is_watched, ["without a case", "Kitami was looked at"]),
        (Sabotage.ten_days_to_report, ["first report"]),
        (Sabotage.thirty_days_for_all, ["final report"]),
        (Sabotage.nobody_is_told, ["one letter of Sapporo"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(scenario, sabotage, words, monkeypatch, neighbours=8, report_day=4)


async def test_were_the_commission_to_forbid_the_clerk_could_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    guide = Commission.guide

    async def orders(self: Commission, party: str) -> int:
        sim.policy.withdraw_assessment("muni/01100", "child-allowance")
        return await guide(self, party)

    with simulation(starts=scenario.starts) as sim:
        nodes.establish(sim)
        monkeypatch.setattr(Commission, "guide", orders)
        with pytest.raises(Refused, match="assessment_missing"):
            await scenario.run(sim, neighbours=8, report_day=4)


def test_false_books_end_on_the_commissions_page_with_one_disagreement(tmp_path: Path) -> None:
    """The setting from which README's picture is made: one party, one record, and nobody else is accused."""
    path = tmp_path / "false.trace"
    result = run_scenario(
        scenarios_of("scenarios")["access_history"], settings={"false_books": True}, trace=path, nodes="nodes"
    )
    assert result.held
    with Trace.open(path) as trace:
        found = Reconciliation(trace, lambda share: None).run()
        assert not verify(trace).ok
    assert [(one["party"], one["text"]) for one in found["anomalies"]] == [
        ("muni/28100/tax", "it differs from its permit")
    ]
    (records,) = found["records"]
    assert {one["party"] for one in records["rows"]} == {
        "muni/28100/tax", "gov/digital/broker", "muni/01208/child-allowance",
    }  # fmt: skip
