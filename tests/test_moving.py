"""The scenario `moving` holds, each expectation can fail, and the rules of the register and the new city's offices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest

import nodes
from mesh import LegalBasis, ManualReview, Node, NotFound, Refused, Simulation, UsageError
from mesh.builtin import Empty
from mesh.faults import Fates
from mesh.names import BROKER
from mesh.personal_number import personal_numbers_in
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, personal_numbers, simulation
from nodes.agency.certificates import CertificateAuthority
from nodes.agency.pension import PENSION, PensionBody
from nodes.data.people import Population
from nodes.municipality import moves, moving_register
from nodes.municipality.assembly import assemble
from nodes.municipality.electoral_roll import ElectoralRoll
from nodes.municipality.guidance import who_had
from nodes.municipality.health_insurance import ENROL, EnrolForm, HealthInsurance, reduction_tenths
from nodes.municipality.move_file import MoveFile
from nodes.municipality.moves import (
    JUKI,
    MOVE_OUT,
    MOVING_OUT,
    MOVING_OUT_RECORD,
    MoveOutForm,
    card_until,
    may_file_online,
    overdue_after,
)
from nodes.municipality.moving_register import MovingRegister
from nodes.municipality.national_pension import NOTIFY_PENSION, NationalPension, PensionForm
from nodes.municipality.resident import HOUSEHOLD, HouseholdQuery
from nodes.municipality.school_enrolment import TRANSFER, SchoolEnrolment, TransferForm, is_of_school_age
from scenarios._movers import World
from scenarios.moving import NEW_SYSTEMS, OLD_SYSTEMS, run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize(("seed", "visit_day"), [(1, 5), (2, 4), (3, 14)])
def test_it_holds(seed: int, visit_day: int) -> None:
    result = hold(run, seed=seed, visit_day=visit_day)
    assert result.refusals == {"not_provided": 3}
    assert sorted(one.code for one in result.refused) == ["manual_review", "manual_review", "not_found"]
    assert (result.report.push.eligible, result.report.push.notified, result.report.push.accepted) == (
        5,
        5,
        1,
    )
    assert [one.paper_ja for one in result.report.fallbacks] == ["転出証明書"] * 3


@pytest.mark.parametrize("visit_day", [3, 15])
def test_a_visit_that_the_story_does_not_tell(visit_day: int) -> None:
    with pytest.raises(UsageError, match="--set visit_day=5"):
        run_scenario(run, settings={"visit_day": visit_day}, nodes="nodes")


async def test_no_personal_number_leaves_a_register_and_it_stays_the_same_in_every_city() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        await run.run(sim)
        old, new = (
            set(sim.node(f"muni/{city}/resident").personal_numbers())  # type: ignore[attr-defined]
            for city in ("28100", "01208")
        )
        assert new
        assert new < old
        held = personal_numbers(sim)
        for one in messages(sim):
            assert not any(number.encode() in one.line for number in held)
            token = getattr(one.message, "data", None)
            if isinstance(token, str):
                text = open_sealed(token, sim.keys_of(one.message.recipient).sealing)
                assert not personal_numbers_in(text)
                assert not any(number.encode() in text for number in held)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def any_day_online(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(moving_register, "may_file_online", lambda planned_on, today: True)

    @staticmethod
    def a_patient_card(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(moving_register, "card_until", lambda planned_on, moved_on: date(2030, 1, 1))

    @staticmethod
    def a_forgetful_register(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """Striking the family off forgets it."""
        strike_out = MovingRegister.strike_out

        def forget(self: Any) -> list[str]:
            due = strike_out(self)
            with self.effect():
                for code in due if len(due) > 1 else ():
                    self.moves.stay(code)
            return due

        patch.setattr(MovingRegister, "strike_out", forget)

    @staticmethod
    def no_notice_back(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(MoveFile, "confirm", lambda self, code, day: None)

    @staticmethod
    def everybody_told(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def everybody(office: Any, person: str, kind: str, *, procedure: str) -> list[str]:
            register = f"{office.member}/resident"
            reply = await office.ask(
                register, HOUSEHOLD, HouseholdQuery(), subject=person, procedure=procedure
            )
            return [one.code for one in reply.members]

        patch.setattr("nodes.municipality.national_pension.who_had", everybody)

    @staticmethod
    def registers_that_gossip(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """Who enters a newcomer asks the old city for the rest of the household, too."""
        register = "muni/*/resident"
        sim.allow(LegalBasis(register, "gossip", register, HOUSEHOLD.name, HOUSEHOLD.items))
        accept = MovingRegister.accept_move_in

        async def curious(self: Any, code: str, *, from_city: str, moved_on: date) -> list[str]:
            entered = await accept(self, code, from_city=from_city, moved_on=moved_on)
            where = f"muni/{from_city}/resident"
            with suppress(Refused):
                await self.ask(where, HOUSEHOLD, HouseholdQuery(), subject=code, procedure="gossip")
            return entered

        patch.setattr(MovingRegister, "accept_move_in", curious)

    @staticmethod
    def an_insurance_that_asks_around(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """It asks the old city's register as well."""
        old = "muni/28100/resident"
        sim.allow(LegalBasis("muni/*/health-insurance", "around", old, HOUSEHOLD.name, HOUSEHOLD.items))

        async def around(office: Any, person: str, kind: str, *, procedure: str) -> list[str]:
            with suppress(Refused):
                await office.ask(old, HOUSEHOLD, HouseholdQuery(), subject=person, procedure="around")
            return await who_had(office, person, kind, procedure=procedure)  # type: ignore[arg-type]

        patch.setattr("nodes.municipality.health_insurance.who_had", around)

    @staticmethod
    def a_longer_term_to_come(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(moves, "CARD_AFTER_MOVE", moves.CARD_AFTER_MOVE._replace(days=20))

    @staticmethod
    def a_longer_term_of_the_card(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(moves, "CARD_AFTER_PLAN", moves.CARD_AFTER_PLAN._replace(days=40))

    @staticmethod
    def votes_at_once(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr("nodes.municipality.electoral_roll.RESIDENCE_MONTHS", 0)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.any_day_online, ["34 days before"]),
        (Sabotage.a_patient_card, ["15 days after moving"]),
        (Sabotage.a_forgetful_register, ["On the planned day"]),
        (Sabotage.no_notice_back, ["Kitami's notice closes"]),
        (Sabotage.everybody_told, ["The father is written to by four offices"]),
        (Sabotage.votes_at_once, ["On 1 June"]),
        (Sabotage.registers_that_gossip, ["three things and no more"]),
        (Sabotage.an_insurance_that_asks_around, ["What the insurance knows"]),
        (Sabotage.a_longer_term_to_come, ["15 days after"]),
        (Sabotage.a_longer_term_of_the_card, ["more than 30 days after the planned day"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


@pytest.mark.parametrize(("days", "may"), [(-31, False), (-30, True), (0, True), (10, True), (11, False)])
def test_when_a_move_may_be_filed_online(days: int, may: bool) -> None:
    planned = date(2026, 4, 5)
    assert may_file_online(planned, planned + timedelta(days=days)) is may


def test_until_when_the_card_replaces_the_certificate() -> None:
    planned = date(2026, 4, 1)
    assert card_until(planned, planned) == date(2026, 4, 15)
    assert card_until(planned, date(2026, 4, 25)) == date(2026, 5, 1)
    assert overdue_after(planned) == date(2026, 5, 1)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation(starts="2026-03-02T09:00:00+09:00") as sim:
        nodes.establish(sim)
        yield World(
            sim,
            kobe=assemble(sim, "28100", *OLD_SYSTEMS, "tax"),
            kitami=assemble(sim, "01208", *NEW_SYSTEMS, "tax"),
            people=Population(sim),
        )


async def test_day_14_is_in_time(world: World) -> None:
    home, card = world.settle(parents=1)
    moved = date(2026, 3, 10)
    await world.file(home.head, card, moved)
    await world.until(moved + timedelta(days=14))
    code = world.kitami.code(home.head)
    assert await world.kitami.resident.accept_move_in(code, from_city="28100", moved_on=moved) == [code]
    assert world.kitami.resident.moves.card(code) == "continued"


async def test_a_household_without_a_card_brings_paper(world: World) -> None:
    home = world.people.household("28100", parents=1)
    world.kobe.settle(home)
    (printed,) = world.kobe.resident.issue_certificate(world.kobe.code(home.head), "01208", world.today)
    code = world.kitami.code(home.head)
    with pytest.raises(ManualReview, match="nobody of the household has a card"):
        await world.kitami.resident.accept_move_in(code, from_city="28100", moved_on=world.today)
    assert world.kitami.resident.accept_certificate([(code, printed[1])], moved_on=world.today) == [code]
    assert world.kitami.resident.moves.card(code) is None


async def test_a_new_city_that_was_not_announced_asks_the_old_one(world: World) -> None:
    """Announced to Kitami, come to Kobe's other neighbour: here Kitami is asked as if it had not been told."""
    home, card = world.settle(parents=1)
    await world.file(home.head, card, world.today)
    register = world.kitami.resident
    with register.effect():
        register.db.execute("DELETE FROM expected")
    code = world.kitami.code(home.head)
    assert await register.accept_move_in(code, from_city="28100", moved_on=world.today) == [code]


async def test_who_moves_before_the_planned_day_is_in_one_register(world: World) -> None:
    home, card = world.settle(parents=1)
    old, new = world.kobe, world.kitami
    await world.file(home.head, card, world.today + timedelta(days=9))
    await new.resident.accept_move_in(new.code(home.head), from_city="28100", moved_on=world.today)
    await world.sim.sleep(60)
    named = (home.head.name, home.head.born.isoformat())
    assert (old.resident.find(*named), new.resident.find(*named)) == ([], [new.code(home.head)])
    with pytest.raises(ManualReview, match="has entered"):
        old.resident.cancel_move_out(old.code(home.head))
    await world.until(world.today + timedelta(days=10))
    authority = world.sim.node("org/j-lis/certificates", CertificateAuthority)
    assert authority.lapses(world.sim.code("org/j-lis", home.head.handle)) == ["identity-change"]


async def test_who_comes_back_is_taken_up_again_and_stays(world: World) -> None:
    home, card = world.settle(parents=1)
    moved, old, new = world.today, world.kobe.resident, world.kitami.resident
    there, here = world.kitami.code(home.head), world.kobe.code(home.head)
    await world.file(home.head, card, moved)
    await new.accept_move_in(there, from_city="28100", moved_on=moved)
    with pytest.raises(ManualReview, match="already"):
        new.accept_certificate([(there, old.print_certificate(here))], moved_on=moved)
    await world.until(moved + timedelta(days=3))
    (printed,) = new.issue_certificate(there, "28100", world.today)
    new.strike_out()
    assert old.accept_certificate([(here, printed[1])], moved_on=world.today) == [here]
    await world.until(moved + timedelta(days=40))
    assert old.find(home.head.name, home.head.born.isoformat()) == [here]
    assert (old.overdue(), new.overdue(), new.moves.unconfirmed([there])) == ([], [], [])
    assert len(list(old.personal_numbers())) == 1


async def test_of_two_announcements_the_later_counts_in_whatever_order_they_come(world: World) -> None:
    home, card = world.settle(parents=1)
    await world.file(home.head, card, world.today + timedelta(days=9))
    moves, code = world.kitami.resident.moves, world.kitami.code(home.head)
    first = moves.expected()[code]
    await world.file(home.head, card, world.today + timedelta(days=12))
    moves.expect(code, first)
    assert moves.expected()[code].planned_on == (world.today + timedelta(days=12)).isoformat()
    world.kobe.resident.cancel_move_out(world.kobe.code(home.head))
    await world.sim.sleep(60)
    moves.expect(code, first)
    assert moves.expected() == {}


async def test_the_head_is_entered_first_in_whatever_order_the_announcements_come(world: World) -> None:
    home, card = world.settle(1, 8)
    register, later_us = world.kitami.resident, count(900_000, -200_000)

    def overtake(sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        return ((next(later_us), line),) if (sender, recipient) == (BROKER, register.address) else None

    world.sim.disturbance.rules.append(overtake)
    await world.file(home.head, card, world.today)
    world.sim.disturbance.rules.remove(overtake)
    codes = world.codes(world.kitami, home)
    assert list(register.moves.expected()) == codes[::-1], "the last announced came first"
    assert await register.accept_move_in(codes[2], from_city="28100", moved_on=world.today) == codes


async def test_only_registers_speak_to_registers_about_moves(world: World) -> None:
    home, card = world.settle(parents=1)
    await world.file(home.head, card, world.today)
    asker, subject = world.kitami.node(HealthInsurance), world.kitami.code(home.head)
    for procedure in (JUKI, "health-insurance"):
        with pytest.raises(Refused, match="no_legal_basis"):
            await asker.ask(
                world.kobe.address("resident"),
                MOVING_OUT_RECORD,
                Empty(),
                subject=subject,
                procedure=procedure,
            )
    with pytest.raises(NotFound):
        world.kobe.resident.print_certificate("muni/28100:nobody")


async def test_a_day_that_does_not_exist_goes_to_an_official(world: World) -> None:
    home, _ = world.settle(parents=1)
    form = MoveOutForm("rn-0000000000000000", "01208", "2026-02-31", "2026-03-01")
    with pytest.raises(Refused, match="manual_review"):
        await world.management.ask(
            world.kobe.address("resident"),
            MOVE_OUT,
            form,
            subject=world.kobe.code(home.head),
            procedure="moving-out",
        )


# The offices of the new city.


async def arrived(world: World, *ages: int) -> list[str]:
    """Kitami's codes of a household that came today."""
    home, card = world.settle(*ages)
    for code in world.codes(world.kobe, home):
        world.kobe.resident.note_entitlements(code, "health-insurance")
        world.kobe.resident.note_entitlements(code, "national-pension")
    await world.file(home.head, card, world.today)
    codes = await world.kitami.resident.accept_move_in(
        world.kitami.code(home.head), from_city="28100", moved_on=world.today
    )
    await world.sim.sleep(60)
    return codes


@pytest.fixture
def clerk(world: World) -> Any:
    """Somebody at Kitami's counter, whom rows for the test let ask."""
    for system, service in (
        ("health-insurance", ENROL),
        ("national-pension", NOTIFY_PENSION),
        ("school-enrolment", TRANSFER),
    ):
        world.sim.allow(
            LegalBasis(
                "muni/*/desk", system, f"muni/*/{system}", service.name, service.items, same_member=True
            )
        )
    world.sim.add(Node, "muni/01208/desk")
    return world.sim.node("muni/01208/desk")


async def test_health_insurance_enrols_who_asks_and_strikes_off_who_leaves(world: World, clerk: Any) -> None:
    codes = await arrived(world)
    office = world.kitami.node(HealthInsurance)
    assert [row["person"] for row in office.guidance.notes()] == codes[:1]

    async def enrol(since: date, *, other: bool = False) -> Any:
        return await clerk.ask(
            office.address,
            ENROL,
            EnrolForm(since.isoformat(), other),
            subject=codes[0],
            procedure="health-insurance",
        )

    with pytest.raises(Refused, match="manual_review"):
        await enrol(world.today, other=True)
    with pytest.raises(NotFound):
        office.insured(codes[0])
    first = await enrol(world.today - timedelta(days=20))
    assert (first.in_time, (await enrol(world.today)).number) == (False, first.number)
    assert office.count() == 1
    world.kitami.resident.issue_certificate(codes[0], "28100", world.today)
    world.kitami.resident.strike_out()
    await world.sim.sleep(60)
    assert (office.count(), office.insured(codes[0])["until"]) == (0, world.today.isoformat())


async def test_the_premium_goes_by_the_income_that_the_city_of_1_january_says(
    world: World, clerk: Any
) -> None:
    codes = await arrived(world)
    office = world.kitami.node(HealthInsurance)
    for code in codes:
        await clerk.ask(
            office.address, ENROL, EnrolForm("2026-03-02", False), subject=code, procedure="health-insurance"
        )
    waiting = await office.reduce(codes[0], 2025)
    assert (waiting.tenths, waiting.papers) == (None, tuple(codes))
    for code in codes:
        office.bring_income_paper(code, 2025, 400_000)
    assert (await office.reduce(codes[0], 2025)).tenths == 5
    world.sim.policy.withdraw_assessment("muni/01208", "health-insurance")
    with pytest.raises(Refused, match="assessment_missing"):
        await office.reduce(codes[0], 2024)


@pytest.mark.parametrize(
    ("income_yen", "insured", "tenths"),
    [(430_000, 1, 7), (430_001, 1, 5), (735_000, 1, 5), (735_001, 1, 2), (990_000, 1, 2), (990_001, 1, 0)],
)
def test_the_reduction_by_income(income_yen: int, insured: int, tenths: int) -> None:
    assert reduction_tenths(income_yen, insured) == tenths


async def test_the_pension_office_reports_what_it_takes_in(world: World, clerk: Any) -> None:
    codes = await arrived(world, 7)
    office = world.kitami.node(NationalPension)
    assert [row["person"] for row in office.guidance.notes()] == codes

    async def notify(person: str) -> Any:
        form = PensionForm("address", world.today.isoformat())
        return await clerk.ask(
            office.address, NOTIFY_PENSION, form, subject=person, procedure="national-pension"
        )

    assert (await notify(codes[0])).number == (await notify(codes[0])).number
    with pytest.raises(Refused, match="manual_review"):
        await notify(codes[2])
    await world.sim.sleep(60)
    assert len(office.filings(codes[0])) == 1
    book = world.sim.codes
    person = book.person(codes[0], "muni/01208")
    body = world.sim.node(PENSION, PensionBody)
    assert body.reports(book.code("org/nenkin", person)) == [("address", "2026-03-02")]


async def test_the_school_roll_follows_the_register(world: World, clerk: Any) -> None:
    codes = await arrived(world, 3, 9)
    office = world.kitami.node(SchoolEnrolment)
    assert [row["child"] for row in office.pupils()] == [codes[2]]
    born = office.pupils()[0]["born"]

    async def transfer(day: str) -> Any:
        form = TransferForm(day, "湊小学校", "2026-03-02")
        return await clerk.ask(office.address, TRANSFER, form, subject=codes[0], procedure="school-enrolment")

    assert (await transfer(born)).school is None
    office.designate(codes[2], "常呂小学校")
    assert (await transfer(born)).school == "常呂小学校"
    assert office.pupils()[0]["from_school"] == "湊小学校"
    with pytest.raises(Refused, match="manual_review"):
        await transfer("2026-01-01")
    with pytest.raises(ManualReview):
        office.designate(codes[3], "常呂小学校")


def test_school_age() -> None:
    born = date(2019, 4, 2)
    assert [is_of_school_age(born, day) for day in (date(2026, 3, 31), date(2026, 4, 1))] == [False, True]
    assert [is_of_school_age(born, day) for day in (date(2035, 3, 31), date(2035, 4, 1))] == [True, False]
    assert is_of_school_age(date(2019, 4, 1), date(2025, 4, 1))


async def test_the_roll_registers_on_its_days_only(world: World) -> None:
    codes = await arrived(world, 5)
    roll = world.kitami.node(ElectoralRoll)
    with pytest.raises(ManualReview):
        roll.register()
    await world.until(date(2026, 9, 1))
    assert roll.register() == codes[:2]
    assert roll.register() == []
    world.kitami.resident.issue_certificate(codes[0], "28100", world.today)
    world.kitami.resident.strike_out()
    await world.sim.sleep(60)
    entry = roll.entry(codes[0])
    assert entry is not None
    assert entry["marked_on"] == "2026-09-01"
    await world.until(date(2026, 12, 1))
    roll.register()
    assert roll.entry(codes[0]) is not None
    await world.until(date(2027, 3, 1))
    roll.register()
    assert roll.entry(codes[0]) is None


LONG_NAME = "JOHNSON MARIA DEL CARMEN GUADALUPE DE LA SANTISIMA TRINIDAD Y TODOS LOS SANTOS III (田中 7-2)"


async def test_a_long_name_with_digits_moves_unchanged(world: World) -> None:
    """The case of a long name that moves: a register holds the names that people have, and passes on what it holds."""
    home = world.people.household("28100", parents=1)
    world.kobe.settle(home)
    register, code = world.kobe.resident, world.kobe.code(home.head)
    register.register_name(code, LONG_NAME, "マリア")
    ((left, info),) = register.issue_certificate(code, "01208", world.today)
    with register.effect():
        register.notify(MOVING_OUT, world.kitami.resident.address, info, subject=left, procedure=JUKI)
    await world.sim.sleep(60)
    (expected,) = world.kitami.resident.moves.expected().values()
    assert expected.name == LONG_NAME


async def test_a_name_that_could_not_be_passed_on_is_refused_at_the_register(world: World) -> None:
    home, _ = world.settle(parents=1)
    register, code = world.kobe.resident, world.kobe.code(home.head)
    for name in ("あ" * 201, "花子 1234-5678-9018", "花子\ud800"):
        with pytest.raises(UsageError, match="could not be passed on"):
            register.register_name(code, name, "ハナコ")
        with pytest.raises(UsageError, match="could not be passed on"):
            await register.register_birth(
                resident_code="00000000019",
                code="x",
                name=name,
                kana="ハナコ",
                born="2026-03-01",
                parent_code=code,
            )
    assert register.find(home.head.name, home.head.born.isoformat()) == [code]
