"""The scenario `write_free_counter` holds, each expectation can fail, and what the counter refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from msgspec import structs

import nodes
from mesh import LegalBasis, ManualReview, MeshError, NotFound, Simulation, UsageError, Withheld
from mesh.builtin import Empty
from mesh.personal_number import personal_numbers_in
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, personal_numbers, simulation
from nodes.agency.card import Card
from nodes.data.people import Population
from nodes.municipality.assembly import assemble
from nodes.municipality.counter import Confirmation, Counter, digest_of
from nodes.municipality.counter_forms import KINDS, Answers
from nodes.municipality.resident import RECORD, ResidentRegister
from scenarios._visitors import CLERK, HELPER, TYPED, HelperTablet, World, shows
from scenarios.write_free_counter import ALONE, SYSTEMS, run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize("outage", ALONE)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_holds(seed: int, outage: str) -> None:
    result = hold(run, seed=seed, outage=outage)
    assert (len(result.report.papers), len(result.report.fallbacks)) == (5, 2)


def test_an_outage_of_another_system() -> None:
    with pytest.raises(UsageError, match="--set outage=health-insurance"):
        run_scenario(run, settings={"outage": "tax"}, nodes="nodes")


async def test_no_personal_number_is_in_any_message() -> None:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        await run.run(sim)
        held = personal_numbers(sim)
        assert len(held) == 5
        for one in messages(sim):
            token = getattr(one.message, "data", None)
            assert not any(number.encode() in one.line for number in held)
            if isinstance(token, str):
                assert not personal_numbers_in(open_sealed(token, sim.keys_of(one.message.recipient).sealing))


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def roles_for_all(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(Counter, "_check_role", lambda self, staff, procedures: None)

    @staticmethod
    def confirms_anything(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        confirm = Counter._confirm

        def anything(self: Counter, visit: int, key: str, digest: str, how: str) -> None:
            confirm(self, visit, key, sha256(self._form(visit, key)["content"]).hexdigest(), how)

        patch.setattr(Counter, "_confirm", anything)

    @staticmethod
    def files_unconfirmed(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def file(self: Counter, staff: str, visit: int) -> dict[str, str]:
            for row in self.forms(visit):
                await self._file(visit, row["key"], row["content"])
            return {row["key"]: row["state"] for row in self.forms(visit)}

        patch.setattr(Counter, "file", file)

    @staticmethod
    def a_helper_who_notes_passwords(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(HelperTablet, "schema", "CREATE TABLE note(text TEXT)")
        sign = Card.sign

        def noted(self: Card, document: Any, password: str) -> Any:
            tablet = sim.node("muni/01208/helper-tablet")
            with tablet.effect():
                tablet.db.execute("INSERT INTO note VALUES (?)", (password,))
            return sign(self, document, password)

        patch.setattr(Card, "sign", noted)

    @staticmethod
    def a_row_for_tablets(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(
            LegalBasis(
                "muni/*/helper-tablet",
                "write-free-counter",
                "muni/*/resident",
                "resident.record.v1",
                ("born", "kana", "left_on", "name", "since"),
            )
        )

    @staticmethod
    def rows_across_cities(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        for basis in list(sim.policy.bases):
            if basis.id == "wf-record":
                sim.allow(structs.replace(basis, id="wf-anywhere", same_member=False))

    @staticmethod
    def an_open_book(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        identify = Counter.identify

        async def first_look_then_check(
            self: Counter, staff: str, visit: int, documents: Any, **seen: Any
        ) -> None:
            with suppress(MeshError):
                await identify(self, staff, visit, documents, looks_alike=True)
            await identify(self, staff, visit, documents, **seen)

        patch.setattr(Counter, "identify", first_look_then_check)

    @staticmethod
    def a_counter_that_asks_abroad(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """It asks the old city's register for everybody whom it identified."""
        register = "muni/28100/resident"
        sim.allow(LegalBasis("muni/*/counter", "abroad", register, RECORD.name, RECORD.items))
        sim.add(ResidentRegister, register)
        identify = Counter.identify

        async def abroad(self: Counter, staff: str, visit: int, documents: Any, **seen: Any) -> None:
            await identify(self, staff, visit, documents, **seen)
            person = self.db.execute("SELECT person FROM visit WHERE number = ?", (visit,)).fetchone()[
                "person"
            ]
            with suppress(MeshError):
                await self.ask(register, RECORD, Empty(), subject=person, procedure="abroad")

        patch.setattr(Counter, "identify", abroad)


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.roles_for_all, ["The helper may greet"]),
        (Sabotage.roles_for_all, ["A clerk of the school section"]),
        (Sabotage.confirms_anything, ["The father sees a wrong school"]),
        (Sabotage.files_unconfirmed, ["What nobody has confirmed"]),
        (Sabotage.a_helper_who_notes_passwords, ["No password is anywhere"]),
        (Sabotage.a_row_for_tablets, ["The helper's tablet asks"]),
        (Sabotage.rows_across_cities, ["The counter of another city"]),
        (Sabotage.an_open_book, ["Nothing was opened"]),
        (Sabotage.a_counter_that_asks_abroad, ["nobody outside Kitami"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    with simulation(starts=run.starts) as sim:
        nodes.establish(sim)
        world = World(sim, assemble(sim, "01208", *SYSTEMS), Population(sim))
        world.counter.give_role(CLERK, KINDS)
        yield world


async def test_documents_must_be_of_one_person_and_enough(world: World) -> None:
    home = world.newcomers()
    father, mother = home.parents
    counter = world.counter
    visit = counter.greet(CLERK, ALONE)
    for documents in (
        [*shows(father, "pension-book"), *shows(mother, "eligibility-confirmation")],
        shows(father, "pension-book", "pension-book"),
    ):
        with pytest.raises(Withheld):
            await counter.identify(CLERK, visit, documents, looks_alike=True)
    await counter.identify(CLERK, visit, shows(father, "licence"), looks_alike=True)
    assert counter._person(visit) == world.city.code(father)


async def test_two_residents_of_one_name_and_birthday_need_a_person(world: World) -> None:
    home = world.newcomers(parents=1)
    namesake, register = world.city.code(world.newcomers(parents=1).head), world.city.resident
    register.register_name(namesake, home.head.name, home.head.kana)
    with register.effect():
        register.db.execute(
            "UPDATE resident SET born = ? WHERE code = ?", (home.head.born.isoformat(), namesake)
        )
    visit = world.counter.greet(CLERK, ALONE)
    with pytest.raises(ManualReview, match="several"):
        await world.counter.identify(CLERK, visit, shows(home.head, "licence"), looks_alike=True)


async def filled(world: World) -> tuple[int, dict[str, Any], Card]:
    """A visit whose forms are filled in, and the visitor's card."""
    home = world.newcomers(parents=1)
    visit = world.counter.greet(CLERK, ALONE)
    await world.counter.identify(CLERK, visit, shows(home.head, "card"), looks_alike=True)
    return visit, await world.counter.fill_in(CLERK, visit, Answers()), world.card(home.head)


async def test_a_declined_form_is_not_filed(world: World) -> None:
    visit, forms, _ = await filled(world)
    counter = world.counter
    for key, form in forms.items():
        counter.confirm_by_hand(visit, key, form)
    counter.decline(visit, ALONE[1])
    assert await counter.file(CLERK, visit) == {ALONE[0]: "filed", ALONE[1]: "declined"}
    assert await counter.file(CLERK, visit) == {ALONE[0]: "filed", ALONE[1]: "declined"}


async def test_a_card_confirms_the_form_that_it_signed_with_a_certificate_that_holds(world: World) -> None:
    visit, forms, card = await filled(world)
    counter, (first, second) = world.counter, ALONE
    signed = card.sign(Confirmation(first, digest_of(forms[first])), TYPED)
    with pytest.raises(ManualReview, match="another form"):
        await counter.confirm_with_card(visit, second, signed)
    await counter.confirm_with_card(visit, first, signed)
    assert counter._form(visit, first)["confirmed"] == card.serial
    world.city.resident.register_name(counter._person(visit), "常呂 花子", "トコロ ハナコ")
    await world.sim.sleep(60)
    late = card.sign(Confirmation(second, digest_of(forms[second])), TYPED)
    with pytest.raises(MeshError, match="certificate_revoked"):
        await counter.confirm_with_card(visit, second, late)


async def test_somebody_else_s_card_confirms_nothing(world: World) -> None:
    visit, forms, _ = await filled(world)
    key, form = next(iter(forms.items()))
    other = world.card(world.newcomers(parents=1).head)
    # Both moved in on one day, so that their forms say the same.
    with pytest.raises(Withheld, match="somebody else"):
        await world.counter.confirm_with_card(
            visit, key, other.sign(Confirmation(key, digest_of(form)), TYPED)
        )
    assert world.counter._form(visit, key)["state"] == "shown"


async def test_a_visit_is_one_person_s(world: World) -> None:
    visit, forms, _ = await filled(world)
    person = world.counter._person(visit)
    for key, form in forms.items():
        world.counter.confirm_by_hand(visit, key, form)
    other = world.newcomers(parents=1).head
    with pytest.raises(Withheld, match="somebody else"):
        await world.counter.identify(CLERK, visit, shows(other, "licence"), looks_alike=True)
    assert world.counter._person(visit) == person


async def test_what_was_filed_is_not_filed_again(world: World) -> None:
    visit, forms, _ = await filled(world)
    counter, (first, second) = world.counter, ALONE
    counter.confirm_by_hand(visit, first, forms[first])
    await counter.file(CLERK, visit)
    with pytest.raises(ManualReview, match="already"):
        counter.confirm_by_hand(visit, first, forms[first])
    with pytest.raises(ManualReview, match="already"):
        counter.decline(visit, first)
    await counter.fill_in(CLERK, visit, Answers(other_insurance=True))
    assert await counter.file(CLERK, visit) == {first: "filed", second: "shown"}


async def test_a_changed_form_must_be_confirmed_again(world: World) -> None:
    visit, forms, _ = await filled(world)
    counter = world.counter
    counter.confirm_by_hand(visit, ALONE[0], forms[ALONE[0]])
    await counter.fill_in(CLERK, visit, Answers())
    assert counter._form(visit, ALONE[0])["state"] == "confirmed"
    await counter.fill_in(CLERK, visit, Answers(other_insurance=True))
    assert counter._form(visit, ALONE[0])["state"] == "shown"


async def test_what_a_system_refuses_goes_on_paper_with_its_code(world: World) -> None:
    visit, _, _ = await filled(world)
    forms = await world.counter.fill_in(CLERK, visit, Answers(other_insurance=True))
    world.counter.confirm_by_hand(visit, "health-insurance", forms["health-insurance"])
    assert (await world.counter.file(CLERK, visit))["health-insurance"] == "paper"
    assert world.counter._form(visit, "health-insurance")["why"] == "manual_review"


async def test_the_claim_counts_from_the_planned_move_out(world: World) -> None:
    home = world.newcomers(3)
    visit = world.counter.greet(CLERK, ("child-allowance",))
    await world.counter.identify(CLERK, visit, shows(home.head, "licence"), looks_alike=True)
    forms = await world.counter.fill_in(CLERK, visit, Answers())
    assert forms["child-allowance"].happened_on == "2026-04-06"  # type: ignore[attr-defined]


async def test_visits_and_forms_that_are_none(world: World) -> None:
    counter = world.counter
    with pytest.raises(NotFound):
        await counter.file(CLERK, 9)
    visit = counter.greet(HELPER, ALONE)
    with pytest.raises(Withheld):
        await counter.fill_in(CLERK, visit, Answers())
    with pytest.raises(Withheld):
        await counter.file(HELPER, visit)
    with pytest.raises(NotFound):
        counter.confirm_by_hand(visit, "tax", Confirmation("x", "0" * 64))
