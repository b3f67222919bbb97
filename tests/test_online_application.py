"""The scenario `online_application` holds, each expectation can fail, and what its nodes refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from itertools import count
from typing import Any

import msgspec
import pytest
from msgspec import structs

import nodes
from mesh import LegalBasis, ManualReview, MeshError, NotFound, Refused, Simulation, UsageError, ZonePath
from mesh.builtin import Empty
from mesh.names import Zone
from mesh.personal_number import personal_numbers_in
from mesh.runner import run_scenario
from mesh.sealing import open_sealed
from mesh.testing import messages, personal_numbers, simulation
from nodes.agency.card import Signed
from nodes.data.people import Population
from nodes.municipality import application_management, asking, childcare
from nodes.municipality.application_management import ApplicationManagement
from nodes.municipality.assembly import assemble
from nodes.municipality.childcare import APPLY, ChildcareForm, Employment
from nodes.municipality.childcare_fee import fee_tax_year, fee_yen
from nodes.municipality.resident import ResidentRegister
from nodes.municipality.tax import IncomeQuery
from nodes.portal import application_server, application_site
from nodes.portal.application import ONLINE, Application, Filing, open_filing
from nodes.portal.application_server import (
    FETCH,
    FILE,
    REPORT,
    SERVER,
    STATES,
    FileQuery,
    ReportQuery,
    StatesQuery,
)
from nodes.portal.application_site import SITE, ApplicationSite
from scenarios._applicants import FROM_MONTH, NURSERY, TYPED, World
from scenarios.online_application import SYSTEMS, run
from tests.helpers_scenario import Sabotaging, hold, named, see_fail


@pytest.mark.parametrize(("seed", "places"), [(1, 1), (2, 0), (3, 20)])
def test_it_holds(seed: int, places: int) -> None:
    result = hold(run, seed=seed, places=places)
    assert [one.name_ja for one in result.report.uploads] == ["就労証明書"] * 4, (
        "an upload is no fall back to paper"
    )
    assert [one.paper_ja[:2] for one in result.report.fallbacks] == ["保育", "保育", "課税"]
    assert result.refusals["zone_forbidden"] == 1


@pytest.mark.parametrize("places", [-1, 21])
def test_places_that_make_no_sense(places: int) -> None:
    with pytest.raises(UsageError, match="--set places=1"):
        run_scenario(run, settings={"places": places}, nodes="nodes")


async def told(sim: Simulation) -> list[str]:
    """Run the story; what failed."""
    nodes.establish(sim)
    await run.run(sim)
    return [one.text for one in sim.trace.expectations if not one.held]


async def test_no_personal_number_leaves_the_registers() -> None:
    with simulation(starts=run.starts) as sim:
        assert await told(sim) == []
        held = personal_numbers(sim)
        assert len(held) > 10
        for one in messages(sim):
            token = getattr(one.message, "data", None)
            text = one.line
            if isinstance(token, str):
                text += open_sealed(token, sim.keys_of(one.message.recipient).sealing)
                assert not personal_numbers_in(text[len(one.line) :])
            assert not any(number.encode() in text for number in held)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def no_check_at_filing(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        async def nothing(*_: Any) -> None: ...

        patch.setattr(application_server, "check_certificate", nothing)

    @staticmethod
    def certificate_as_of_now(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        check = application_management.check_signature

        async def now(node: Any, signed: Any, at_us: int) -> Any:
            return await check(node, signed, node.host.now_us())

        patch.setattr(application_management, "check_signature", now)

    @staticmethod
    def sealed_for_the_server(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        def seal(node: Any, receipt: str, recipient: str, signed: Signed) -> Filing:
            key = node.party.view.lookup(SERVER).seal_key
            sealed = node.party.seal(receipt, recipient, msgspec.json.encode(signed), SERVER, key)
            return Filing(receipt, recipient, signed.certificate, sealed)

        def unseal(node: Any, filing: Filing, sender: str) -> Signed:
            body = msgspec.json.decode(open_sealed(filing.sealed, sim.keys_of(SERVER).sealing))
            return msgspec.convert(body["data"], Signed)

        patch.setattr(application_site, "seal_filing", seal)
        patch.setattr(application_management, "open_filing", unseal)

    @staticmethod
    def a_path_from_the_internet(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow_path(ZonePath(Zone.INTERNET, Zone.MYNUMBER))

    @staticmethod
    def somebody_by_any_serial(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        resolve = ApplicationManagement._resolve

        async def anybody(self: ApplicationManagement, serial: str) -> str:
            rows = sim.node("muni/01208/resident", ResidentRegister).db.execute("SELECT code FROM resident")
            return await resolve(self, serial) or str(rows.fetchone()["code"])

        patch.setattr(ApplicationManagement, "_resolve", anybody)

    @staticmethod
    def more_items(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(asking, "IncomeQuery", lambda year: IncomeQuery(year - 1))

    @staticmethod
    def a_new_receipt_each_time(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The relay server keeps every copy that comes as an application of its own."""
        submit, draw = ApplicationSite.submit, count(1)

        async def anew(self: ApplicationSite, receipt: str) -> int:
            await submit(self, receipt)
            return next(draw)

        patch.setattr(ApplicationSite, "submit", anew)

    @staticmethod
    def a_law_for_the_short_cut(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow_path(ZonePath(Zone.INTERNET, Zone.MYNUMBER))
        sim.allow(LegalBasis(SITE, "childcare", "muni/*/childcare", APPLY.name, APPLY.items))


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.sealed_for_the_server, ["Of all who carried it"]),
        (Sabotage.no_check_at_filing, ["An application signed with an expired certificate"]),
        (Sabotage.certificate_as_of_now, ["A certificate that lapsed after filing counts"]),
        (Sabotage.a_path_from_the_internet, ["The site on the internet asks the childcare office directly"]),
        (Sabotage.somebody_by_any_serial, ["Without a 宛名 nothing is handed over"]),
        (Sabotage.more_items, ["The need is certified for standard hours"]),
        (Sabotage.a_new_receipt_each_time, ["the button was pressed twice"]),
        (Sabotage.a_law_for_the_short_cut, ["It never reached the office"]),
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
        yield World(sim, assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", *SYSTEMS), Population(sim))


async def filed(world: World) -> tuple[str, Filing]:
    """An application of a new family that waits for Kitami."""
    family = world.family()
    receipt = world.draft(family, world.card(family.head))
    await world.site.submit(receipt)
    row = world.site.db.execute("SELECT filing FROM filing WHERE receipt = ?", (receipt,)).fetchone()
    return receipt, msgspec.json.decode(row["filing"], type=Filing)


async def test_each_city_gets_its_own_applications_only(world: World) -> None:
    receipt, _ = await filed(world)
    other = world.sim.node(world.kobe.address("application-management"), ApplicationManagement)
    assert (await other.ask(SERVER, FETCH, Empty(), procedure=ONLINE)).waiting == ()
    with pytest.raises(Refused, match="not_found"):
        await other.ask(SERVER, REPORT, ReportQuery(receipt, "completed"), procedure=ONLINE)
    with pytest.raises(Refused, match=r"zone_forbidden|no_legal_basis"):
        await world.office.ask(SERVER, FETCH, Empty(), procedure=ONLINE)


async def test_a_receipt_number_is_one_application(world: World) -> None:
    _, filing = await filed(world)
    forged = structs.replace(filing, sealed=filing.sealed[:-1] + ("A" if filing.sealed[-1] != "A" else "B"))
    with pytest.raises(Refused, match="schema_invalid"):
        await world.site.ask(SERVER, FILE, FileQuery(forged), procedure=ONLINE)
    with pytest.raises(Refused, match="not_found"):
        await world.site.ask(SERVER, STATES, StatesQuery(("rn-0000000000000000",)), procedure=ONLINE)


async def test_what_does_not_open_or_was_signed_for_another_filing_goes_back(world: World) -> None:
    _, filing = await filed(world)
    with pytest.raises(MeshError, match="seal_invalid"):
        open_filing(world.management, structs.replace(filing, receipt="rn-0000000000000000"), SITE)
    with pytest.raises(MeshError, match="seal_invalid"):
        open_filing(world.management, filing, SERVER)
    family = world.family()
    card = world.card(family.head)
    first = world.draft(family, card)
    row = world.site.db.execute("SELECT filing FROM filing WHERE receipt = ?", (first,)).fetchone()
    signed = open_filing(world.management, msgspec.json.decode(row["filing"], type=Filing), SITE)
    again = world.site.new_receipt()
    world.site.prepare(again, world.portal_code(family.head), "muni/01208", "childcare", signed)
    await world.site.submit(again)
    await world.management.run()
    states = {
        row["receipt"]: row["state"] for row in await world.site.refresh(world.portal_code(family.head))
    }
    assert states == {first: "draft", again: "returned"}
    with pytest.raises(NotFound):
        world.management.state(again)


async def test_the_signer_s_form_must_be_a_form(world: World) -> None:
    family = world.family()
    card, receipt = world.card(family.head), world.site.new_receipt()
    application = Application(
        "childcare", family.head.name, family.head.born.isoformat(), msgspec.Raw(b'{"receipt":"x"}')
    )
    world.site.prepare(
        receipt, world.portal_code(family.head), "muni/01208", "childcare", card.sign(application, TYPED)
    )
    await world.site.submit(receipt)
    await world.management.run()
    assert (await world.site.refresh(world.portal_code(family.head)))[0]["state"] == "returned"


async def test_an_office_that_is_down_gets_the_application_in_the_next_run(world: World) -> None:
    receipt, _ = await filed(world)
    with world.sim.offline(world.office.address):
        await world.management.run()
    assert world.management.state(receipt) == "received"
    await world.management.run()
    assert world.management.state(receipt) == "handed-over"
    assert len(world.office.applications()) == 1
    with pytest.raises(ManualReview):
        await world.management.resolve(receipt, "muni/01208:x")


async def test_what_the_relay_server_was_not_told_is_given_back_again(world: World) -> None:
    family = world.family()
    receipt = world.draft(family, world.card(family.head, noted=False))
    await world.site.submit(receipt)
    await world.management.run()
    with world.sim.offline(SERVER), pytest.raises(Refused):
        await world.management.give_back(receipt, "not a resident of this city")
    assert [row["receipt"] for row in world.management.unresolved()] == [receipt]
    await world.management.give_back(receipt, "not a resident of this city")
    assert (await world.site.refresh(world.portal_code(family.head)))[0]["state"] == "returned"


async def test_without_j_lis_nothing_is_filed_and_nothing_is_lost(world: World) -> None:
    family = world.family()
    receipt = world.draft(family, world.card(family.head))
    with world.sim.offline("org/j-lis/certificates"), pytest.raises(Refused, match="handler_failed"):
        await world.site.submit(receipt)
    await filed(world)
    with world.sim.offline("org/j-lis/certificates"), pytest.raises(Refused):
        await world.management.run()
    await world.management.run()
    assert len(world.office.applications()) == 1


async def test_the_office_asks_for_what_is_missing(world: World) -> None:
    office, family = world.office, world.family()
    code = world.kitami.code(family.head)
    born = family.children[0].born.isoformat()
    one = Employment(family.head.born.isoformat(), "オホーツク製作所", 160)
    short = Employment(family.parents[1].born.isoformat(), "常呂川病院", 40)

    async def apply(child: str, *work: Employment) -> int:
        form = ChildcareForm(world.site.new_receipt(), child, FROM_MONTH, NURSERY, work)
        reply = await world.management.ask(
            office.address, childcare.APPLY, form, subject=code, procedure="childcare"
        )
        return int(reply.number)

    number = await apply(born, one)
    assert await office.examine(number) == "paper-needed"
    assert [row["paper"] for row in office.papers(number)] == ["employment-certificate"]
    with pytest.raises(ManualReview):
        office.place(number)
    assert await office.examine(await apply(born, one, short)) == "no-need"
    with pytest.raises(ManualReview):
        await office.examine(await apply("2020-01-01", one, short))
    with pytest.raises(NotFound):
        await office.examine(99)


async def test_a_certification_and_its_report_are_one_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filed(world)
    await world.management.run()

    def fails(self: Any, number: int, state: str) -> None:
        raise RuntimeError(state)

    with monkeypatch.context() as patch:
        patch.setattr(childcare.ChildcareOffice, "_report", fails)
        with pytest.raises(RuntimeError):
            await world.office.examine(1)
    assert world.office.certification(1) is None
    assert await world.office.examine(1) == "certified"


async def test_a_place_is_given_once(world: World) -> None:
    world.office.open_nursery(NURSERY, 2)
    await filed(world)
    await world.management.run()
    await world.office.examine(1)
    assert [world.office.place(1) for _ in range(2)] == [True, True]
    row = world.office.db.execute("SELECT places FROM nursery WHERE name = ?", (NURSERY,)).fetchone()
    assert row["places"] == 1


async def test_a_refused_draft_that_is_taken_later_is_filed(world: World) -> None:
    family = world.family()
    receipt = world.draft(family, world.card(family.head, issued_on=date(2025, 11, 6)))
    with pytest.raises(Refused, match="certificate_not_yet_valid"):
        await world.site.submit(receipt)
    await world.sim.sleep(3 * 86_400)
    await world.site.submit(receipt)
    assert (await world.site.refresh(world.portal_code(family.head)))[0]["state"] == "filed"


async def test_an_unlawful_question_is_the_office_s_own_fault(world: World) -> None:
    await filed(world)
    await world.management.run()
    world.sim.policy.withdraw_assessment("muni/01208", "childcare")
    with pytest.raises(Refused, match="assessment_missing"):
        await world.office.examine(1)


@pytest.mark.parametrize(
    ("tax_yen", "yen"),
    [(0, 0), (80_999, 19_500), (81_000, 30_000), (300_000, 61_000), (600_000, 80_000), (900_000, 104_000)],
)
def test_the_fee_by_the_municipal_levy(tax_yen: int, yen: int) -> None:
    assert fee_yen(date(2024, 5, 1), date(2026, 4, 1), tax_yen) == yen


def test_the_fee_ends_with_the_school_year_of_the_third_birthday() -> None:
    born = date(2023, 4, 1)
    assert fee_yen(born, date(2026, 3, 1), 300_000) == 61_000
    assert fee_yen(born, date(2026, 4, 1), 300_000) == 0
    assert fee_yen(date(2023, 4, 2), date(2027, 3, 1), 300_000) == 61_000
    assert [fee_tax_year(date(2026, month, 1)) for month in (4, 8, 9)] == [2025, 2025, 2026]
