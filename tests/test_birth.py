"""The scenario `birth` holds, and each of its expectations fails when what it watches is broken."""

from __future__ import annotations

from typing import Any

import pytest

import nodes
from mesh import LegalBasis, Simulation, UsageError
from mesh.exchange import Turn
from mesh.faults import drop, repeat
from mesh.names import BROKER
from mesh.outbox import Outbox
from mesh.party import Party
from mesh.personal_number import personal_numbers_in
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, personal_numbers, simulation
from nodes.agency.code_issuer import CodeIssuer, CodeReply
from nodes.agency.commission import Commission
from nodes.municipality import allowance_rules, child_allowance
from nodes.municipality.child_allowance import ChildAllowanceOffice
from nodes.municipality.resident import BIRTH
from scenarios.birth import run as birth
from tests.helpers_scenario import Sabotaging, hold, named, no_history, see_fail


async def tell(sim: Simulation, **settings: Any) -> dict[str, bool]:
    """Run the story in a simulation; expectations by text."""
    nodes.establish(sim)
    await birth.run(sim, **({"away_s": 60} | settings))
    return {one.text: one.held for one in sim.trace.expectations}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_holds(seed: int) -> None:
    result = hold(birth, seed=seed)
    assert 10 <= len(result.expectations) <= 20
    assert [one.paper.name_ja[:6] for one in result.report.papers] == ["年金加入証明"] * 2, (
        "nothing of its own residents"
    )
    assert result.report.visits_saved == 0
    assert all(one.paper.source for one in result.report.papers)
    assert result.report.fallbacks == []
    assert "title_ja" in result.report.disclosed["gov/portal/inbox"]
    assert "title_ja" not in result.report.disclosed["muni/01208/child-allowance"], "it sent the letters"


@pytest.mark.parametrize("away_s", [10, 3600])
def test_it_holds_for_short_and_long_outages(away_s: int) -> None:
    hold(birth, away_s=away_s)


@pytest.mark.parametrize("away_s", [9, 86_401])
def test_an_outage_that_makes_no_sense_is_a_usage_error(away_s: int) -> None:
    with pytest.raises(UsageError, match="--set away_s=60"):
        run_scenario(birth, settings={"away_s": away_s}, nodes="nodes")


async def test_no_personal_number_leaves_the_register() -> None:
    with simulation(starts=birth.starts) as sim:
        await tell(sim)
        held = personal_numbers(sim)
        assert len(held) == 6, "four parents and two newborns"
        opened = 0
        for one in messages(sim):
            seal = getattr(one.message, "data", None)
            assert not any(number.encode() in one.line for number in held)
            if not isinstance(seal, str):
                continue
            reader = one.message.recipient
            body = open_sealed(seal, sim.keys_of(reader).sealing)
            opened += 1
            assert not personal_numbers_in(body)
            assert not any(number.encode() in body for number in held)
        assert opened > 50


async def test_a_delivery_that_comes_twice_has_one_effect() -> None:
    with simulation(starts=birth.starts) as sim:
        sim.disturbance.rules.append(repeat(BROKER, "muni/*/child-medical"))
        held = await tell(sim)
        assert all(held.values())
        twice = [one for one in messages(sim) if one.recipient.endswith("child-medical")]
        assert len(twice) > 2


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def a_row_for_tourism(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(LegalBasis("muni/*/tourism", "tourism", "muni/*/resident", BIRTH.name, same_member=True))

    @staticmethod
    def rows_across_cities(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(LegalBasis("muni/*/child-allowance", "x", "muni/*/resident", BIRTH.name))
        # A Kobe that cannot ask is sent the event for days: the story ends with who heard of it.
        patch.delattr("scenarios.birth.invite")

    @staticmethod
    def a_foreign_code(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        issue = CodeIssuer.issue

        async def another(self: CodeIssuer, query: Any, caller: Any) -> CodeReply:
            await issue(self, query, caller)
            return CodeReply(self._book().code("muni/01208", self._book().person_of("1")))

        patch.setattr(CodeIssuer, "issue", another)

    @staticmethod
    def no_memory_of_pushes(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(ChildAllowanceOffice, "resume", lambda self: self._outbox.load([], 0))

    @staticmethod
    def no_second_attempt(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        take_due = Outbox.take_due

        def once(self: Outbox, now_us: int, turn: Turn) -> Any:
            ready, expired = take_due(self, now_us, turn)
            return [one for one in ready if one.attempts == 1], expired

        patch.setattr(Outbox, "take_due", once)

    @staticmethod
    def an_eager_office(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        invite = ChildAllowanceOffice._invite

        async def grants(self: ChildAllowanceOffice, event: Any, person: str, occasion: Any) -> None:
            await invite(self, event, person, occasion)
            self.take_claim(person, child_allowance.ClaimQuery("birth", "2026-05-20"))

        patch.setattr(ChildAllowanceOffice, "_invite", grants)

    @staticmethod
    def a_day_less(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(allowance_rules, "CLAIM", allowance_rules.CLAIM._replace(days=14))

    @staticmethod
    def a_day_more(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(allowance_rules, "CLAIM", allowance_rules.CLAIM._replace(days=16))

    @staticmethod
    def a_number_for_ever(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        issue = CodeIssuer.issue

        async def keeps(self: CodeIssuer, query: Any, caller: Any) -> CodeReply:
            rows = self.db.execute("SELECT * FROM reservation").fetchall()
            answer = await issue(self, query, caller)
            self.host.store.db.executemany("INSERT OR REPLACE INTO reservation VALUES (?,?,?,?)", rows)
            return answer

        patch.setattr(CodeIssuer, "issue", keeps)

    @staticmethod
    def a_ledger_row_rewritten(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        reconcile = Commission.reconcile

        async def later(self: Commission, parties: list[str]) -> Any:
            store = sim._stores["muni/01208/tax"]
            store.db.execute("UPDATE mesh_ledger SET row = replace(row, 'tax_year', 'tax_more')")
            return await reconcile(self, parties)

        patch.setattr(Commission, "reconcile", later)

    @staticmethod
    def an_open_subject(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Party, "seal_subject", lambda self, message_id, code: code)

    @staticmethod
    def a_wire_that_loses_the_replay(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.disturbance.rules.append(drop("muni/*/tourism"))


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.a_row_for_tourism, ["tourism office asks", "got nothing", "nobody else", "no row names"]),
        (Sabotage.rows_across_cities, ["nobody else"]),
        (Sabotage.a_foreign_code, ["Kitami's own"]),
        (Sabotage.an_open_subject, ["no personal data"]),
        (Sabotage.a_wire_that_loses_the_replay, ["refused to who sent it"]),
        (Sabotage.a_day_less, ["one letter", "Day 15"]),
        (Sabotage.a_day_more, ["one letter", "Day 16"]),
        (Sabotage.an_eager_office, ["opened no claim", "two claims"]),
        (Sabotage.no_memory_of_pushes, ["exactly once"]),
        (Sabotage.no_second_attempt, ["Health management was away", "planned each"]),
        (Sabotage.a_number_for_ever, ["works once"]),
        (no_history, ["reads in the history", "who was told"]),
        (Sabotage.a_ledger_row_rewritten, ["finds nothing"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(birth, sabotage, words, monkeypatch, away_s=60)
