"""The scenario `health_ledgers` and the record that two applications share: they hold, and can fail."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

import nodes
from mesh import ManualReview, MeshError, Simulation, UsageError
from mesh.faults import drop, repeat
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.municipality.health import HealthManagement
from nodes.municipality.paired_record import Change, PairedRecord
from nodes.municipality.reminders import ITEM, Reminders, is_of_age, last_day
from nodes.municipality.vaccination_ledger import VACCINATION_HISTORY, HistoryQuery
from scenarios._toddlers import BORN, NURSE, World
from scenarios.health_ledgers import run as health_ledgers
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

STARTS = health_ledgers.starts


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


@pytest.mark.parametrize(("seed", "away_s"), [(1, 600), (2, 60), (3, 86_400)])
def test_it_holds(seed: int, away_s: int) -> None:
    result = hold(health_ledgers, seed=seed, away_s=away_s)
    push = result.report.push
    assert (push.eligible, push.notified, push.accepted, push.declined, push.mistaken) == (1, 1, 0, 0, 0)


def test_an_outage_that_makes_no_sense_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="60 to 86400"):
        run_scenario(health_ledgers, settings={"away_s": 1}, nodes="nodes")


def test_the_first_dose_is_for_the_second_year_of_life() -> None:
    born = BORN["vaccinated"]
    days = [
        (born.replace(year=year, day=day), held)
        for year, day, held in ((2024, 18, False), (2024, 19, True), (2025, 19, True), (2025, 20, False))
    ]
    assert [is_of_age(born, day) for day, _ in days] == [held for _, held in days]
    assert last_day(born) == born.replace(year=2025, day=19)


class TestRecord:
    @pytest.fixture
    async def world(self) -> Any:
        with simulation(starts=STARTS) as sim:
            nodes.establish(sim)
            yield World(sim)

    async def test_no_entry_is_altered_or_removed(self, world: World) -> None:
        world.slip("due", "2024-09-01")
        for statement in ("UPDATE entry SET value = '2024-09-02'", "DELETE FROM entry"):
            with pytest.raises(sqlite3.IntegrityError, match="stays"), world.ledger.effect():
                world.ledger.db.execute(statement)

    async def test_who_owns_the_disk_is_found_by_the_chain(self, world: World) -> None:
        world.slip("due", "2024-09-01")
        world.slip("due", "2024-09-02")
        record, code = world.ledger.record, world.code("due")
        assert record.is_whole(code, ITEM, "given_on")
        db = world.ledger.host.store.db
        db.execute("DROP TRIGGER entry_unaltered")
        db.execute("UPDATE entry SET clerk = 'Somebody else' WHERE version = 1")
        assert not record.is_whole(code, ITEM, "given_on")

    async def test_a_copy_never_goes_back(self, world: World) -> None:
        code, health = world.code("due"), world.health
        world.slip("due", "2024-09-01")
        older = world.ledger.record.card(code)
        world.slip("due", "2024-09-02")
        await world.sim.sleep(5)
        with health.effect():
            health.record.copy(code, older.fields or (), source="test", at_us=0)
        assert health.record.value(code, ITEM, "given_on") == "2024-09-02"

    async def test_events_that_come_twice_change_nothing(self, world: World) -> None:
        world.sim.disturbance.rules.append(repeat(BROKER, "muni/*/health"))
        world.slip("due", "2024-09-01")
        await world.sim.sleep(60)
        assert len(world.health.record.audit(world.code("due"), ITEM, "given_on")) == 1

    async def test_health_management_hears_while_it_was_down(self, world: World) -> None:
        address = world.health.address
        world.sim.crash(address)
        world.slip("due", "2024-09-01")
        world.slip("due", "2024-09-02")
        await world.sim.sleep(60)
        world.sim.restart(address)
        await world.sim.sleep(60)
        assert world.health.record.value(world.code("due"), ITEM, "given_on") == "2024-09-02"

    async def test_another_city_may_not_look_into_it(self, world: World) -> None:
        with refuses("no_legal_basis"):
            await world.health.ask(
                world.ledger.address,
                VACCINATION_HISTORY,
                HistoryQuery(ITEM),
                subject=world.code("due"),
                procedure="vaccination",
            )

    async def test_a_conflict_is_settled_once_and_by_a_name(self, world: World) -> None:
        with refuses("not_found"):
            world.health.settle_conflict(1, by=NURSE)

    async def test_a_proposal_that_nothing_contradicts_is_made(self, world: World) -> None:
        world.slip("due", "2024-09-01")
        await world.sim.sleep(5)
        world.health.propose(world.code("due"), Change(ITEM, "given_on", "2024-09-02", 1, NURSE))
        await world.health.send_proposals()
        await world.sim.sleep(5)
        assert world.health.proposals.waiting() == world.health.proposals.of("conflict") == []
        assert world.ledger.record.value(world.code("due"), ITEM, "given_on") == "2024-09-02"
        assert world.is_in_step()

    async def test_a_correction_whose_answer_was_lost_is_no_conflict(self, world: World) -> None:
        code, health = world.code("due"), world.health
        world.slip("due", "2024-09-01")
        await world.sim.sleep(5)
        health.propose(code, Change(ITEM, "given_on", "2024-09-02", 1, NURSE))
        lost = drop(sender=BROKER, recipient=health.address)
        world.sim.disturbance.rules.append(lost)
        await health.send_proposals()
        assert len(health.proposals.waiting()) == 1
        assert world.ledger.record.value(code, ITEM, "given_on") == "2024-09-02"
        world.sim.disturbance.rules.remove(lost)
        await health.send_proposals()
        assert health.proposals.waiting() == health.proposals.of("conflict") == []
        assert [row["value"] for row in world.ledger.record.audit(code, ITEM, "given_on")] == [
            "2024-09-01",
            "2024-09-02",
        ]

    async def test_two_nurses_who_send_one_reminder_at_once_send_one_letter(self, world: World) -> None:
        code = world.code("due")
        await world.health.enrol(code)
        world.health.find_due()
        world.health.decide(code, by=NURSE, send=True, why="no slip")
        sent = await asyncio.gather(*(world.health.remind(code) for _ in range(2)), return_exceptions=True)
        assert sent[0] is True
        assert isinstance(sent[1], ManualReview)
        await world.sim.sleep(60)
        assert len(world.letters("due")) == 1

    async def test_a_reason_to_wait_that_is_over_does_not_hold(self, world: World) -> None:
        code = world.code("waits")
        await world.health.enrol(code)
        world.health.note(code, Change(ITEM, "hold_until", "2024-09-30", 0, NURSE))
        assert world.health.find_due() == [code]
        assert world.health.find_due() == [], "found once"

    async def test_no_reminder_before_a_decision(self, world: World) -> None:
        code = world.code("due")
        await world.health.enrol(code)
        world.health.find_due()
        assert world.health.reminders.undecided() == [code]
        with refuses("manual_review"):
            await world.health.remind(code)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def the_last_writer_wins(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        enter = PairedRecord.enter

        def blind(self: PairedRecord, person: str, change: Change, **how: Any) -> int:
            seen = Change(
                change.item,
                change.field,
                change.value,
                self.version(person, change.item, change.field),
                change.clerk,
            )
            return enter(self, person, seen, **how)

        patch.setattr(PairedRecord, "enter", blind)

    @staticmethod
    def everybody_owns_everything(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        class Anybody(dict[str, str]):
            def __getitem__(self, field: str) -> Any:
                return type(
                    "Equal",
                    (str,),
                    {"__eq__": lambda *_: True, "__ne__": lambda *_: False, "__hash__": str.__hash__},
                )()

        patch.setattr("nodes.municipality.paired_record.ORIGINAL", Anybody())

    @staticmethod
    def an_eager_nurse(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        decide = Reminders.decide
        patch.setattr(
            Reminders, "decide", lambda self, child, **how: decide(self, child, **(how | {"send": True}))
        )

    @staticmethod
    def no_decision_needed(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def anybody(self: Reminders, child: str) -> Any:
            return self._db.execute("SELECT * FROM child WHERE code = ?", (child,)).fetchone()

        patch.setattr(Reminders, "approved", anybody)

    @staticmethod
    def a_stale_copy_is_trusted(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        ask = HealthManagement.ask

        async def from_the_copy(self: Any, to: str, service: Any, query: Any, **how: Any) -> Any:
            if service.name == "vaccination.record.v1" and self.reminders.of(how["subject"]) is not None:
                return self.record.card(how["subject"])
            return await ask(self, to, service, query, **how)

        patch.setattr(HealthManagement, "ask", from_the_copy)

    @staticmethod
    def nobody_follows(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(PairedRecord, "is_news", lambda *_: False)

    @staticmethod
    def a_month_more(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.municipality.reminders.UNTIL_MONTHS", 25)

    @staticmethod
    def conflicts_are_forgotten(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.municipality.proposals.Proposals.close", lambda *_: None)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.the_last_writer_wins, ["second of two corrections", "original's side stands"]),
        (Sabotage.everybody_owns_everything, ["clerk cannot enter", "nurse cannot enter"]),
        (Sabotage.an_eager_nurse, ["One family is reminded"]),
        (Sabotage.no_decision_needed, ["leave in peace"]),
        (Sabotage.a_stale_copy_is_trusted, ["Without the ledger's word"]),
        (Sabotage.nobody_follows, ["within a second"]),
        (Sabotage.a_month_more, ["One family is reminded"]),
        (Sabotage.conflicts_are_forgotten, ["is not lost"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(health_ledgers, sabotage, words, monkeypatch, away_s=60)
