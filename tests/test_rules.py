"""The rules of the domain, one test or more for each, named after its number.

They run the shipped nodes under the shipped law: what a rule forbids is refused, what it demands is recorded.
What a single office decides is tested with that office.
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mesh import MeshError, Node, Refused, Simulation
from mesh.builtin import LEDGER_ROWS, SUBSCRIPTION, RowsQuery, SubscribeQuery
from mesh.errors import CODES, Step
from mesh.keys import SealingKey
from mesh.ledger import Row
from mesh.message import Event, Reply, Request
from mesh.names import BROKER, matches, member_of
from mesh.sealing import open_sealed
from mesh.testing import ledger, messages, simulation
from nodes import establish
from nodes.agency.code_issuer import ISSUER
from nodes.agency.commission import COMMISSION, Commission
from nodes.agency.jlis import RELAY, acquire_code
from nodes.data.people import Household, Move, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.child_allowance import PROCEDURE, ClaimQuery
from nodes.municipality.packages import LATE, SHARED, Package
from nodes.municipality.resident import HOUSEHOLD, MOVE_IN, HouseholdQuery
from nodes.municipality.tax import INCOME, Income, IncomeQuery
from nodes.municipality.tax_layout_2 import INCOME_2
from nodes.municipality.tax_legacy import LegacyTaxOffice
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter, Portal
from scenarios._applicants import World as Applicants
from scenarios._private_users import LOAN, Private, make_private
from scenarios.online_application import SYSTEMS
from scenarios.online_application import run as online_application
from scenarios.private_app import run as private_app
from tests.conftest import Shipped

ROOT = Path(__file__).parent.parent
INCOME_YEN = 4_321_987
ATTACHMENT_FREE = (
    "child_allowance", "online_application", "vaccination_record", "write_free_counter", "benefit_payment",
    "moving", "care_certification", "disaster", "car_ownership", "family_register", "private_app", "standardisation",
)  # fmt: skip
"""The scenarios in which papers fall away."""
YEAR_US = 366 * 86_400_000_000
BEFORE_THE_TABLE, SINCE = "2024-05-26T23:00:00+09:00", "2024-05-27T00:00:00+09:00"


class Town:
    """Kitami, to which a family moved from Kobe, where the father's income is assessed and copied."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kitami: City = assemble(sim, "01208")
        self.kobe: City = assemble(sim, "28100")
        self.people = Population(sim)
        self.family = self.move("28100")
        self.father = self.family.head
        self.office = self.kitami.child_allowance
        self.where = self.kobe.address("tax")
        self.kitami.settle(self.family)
        self.code = self.kobe.code(self.father)
        self.kobe.tax.assess(self.code, 2024, total_income_yen=INCOME_YEN)
        self.kobe.tax.register_replica(self.code, 2024)

    def move(self, city: str) -> Household:
        """A family that moved to Kitami two weeks ago."""
        moves = (Move(date(2024, 10, 1), city, "01208"),)
        return self.people.household("01208", child_ages=(1,), moves=moves)

    async def ask(self, **changes: Any) -> Income:
        """One lawful question about the father's income, but for the changes."""
        asked: dict[str, Any] = {
            "subject": self.kitami.code(self.father),
            "procedure": PROCEDURE,
            "items": ("tax_year", "total_income_yen"),
        }
        return await self.office.ask(self.where, INCOME, IncomeQuery(2024), **(asked | changes))


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    with simulation(starts="2024-10-15T09:00:00+09:00") as sim:
        establish(sim)
        yield Town(sim)


def refuses(code: str) -> Any:
    return pytest.raises(MeshError, match=f"^{code}:")


def records(sim: Simulation, message_id: str) -> dict[str, list[Row]]:
    """What each party recorded of an exchange."""
    parties = [party for party in (*sim._nodes,) if any(row.id == message_id for row in ledger(sim, party))]
    return {party: [row for row in ledger(sim, party) if row.id == message_id] for party in parties}


def stored_by(sim: Simulation, address: str) -> str:
    """Everything that a node's database holds, as text."""
    db = sim._stores[address].db
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [tuple(row) for table in tables for row in db.execute(f'SELECT * FROM "{table}"')]
    return "\n".join(
        one.decode(errors="replace") if isinstance(one, bytes) else str(one) for row in rows for one in row
    )


# 1. 分散管理


def root_of(part: ast.expr) -> str:
    """The name at which a chain of attributes begins; empty if it begins with anything else, as with a call."""
    while isinstance(part, ast.Attribute):
        part = part.value
    return part.id if isinstance(part, ast.Name) else ""


def test_rule_01_no_node_opens_another_nodes_database() -> None:
    """In `nodes/` a database is reached from `self`, or from the `node` that a part of it was handed."""
    opened = [
        f"{path.relative_to(ROOT)}:{part.lineno}"
        for path in sorted((ROOT / "nodes").rglob("*.py"))
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(part, ast.Attribute)
        and part.attr in ("db", "store")
        and root_of(part) not in ("self", "node")
    ]
    assert opened == []


async def test_rule_01_the_broker_keeps_no_personal_data(town: Town) -> None:
    assert (await town.ask()).total_income_yen == INCOME_YEN
    kept = stored_by(town.sim, BROKER)
    assert town.kitami.code(town.father) not in kept
    assert not any(word in kept for word in (str(INCOME_YEN), town.father.name, town.father.kana, town.code))


# 2. 正本 and 副本


async def test_rule_02_answers_come_from_the_copy(town: Town) -> None:
    town.kobe.tax.assess(town.code, 2024, total_income_yen=9_000_000)
    assert (await town.ask()).total_income_yen == INCOME_YEN, "stale until the copy is registered again"
    town.kobe.tax.register_replica(town.code, 2024)
    assert (await town.ask()).total_income_yen == 9_000_000


async def test_rule_02_a_missing_copy_is_said_to_be_missing(town: Town) -> None:
    mother = town.family.parents[1]
    with refuses("not_found"):
        await town.ask(subject=town.kitami.code(mother))
    town.kobe.tax.assess(town.kobe.code(mother), 2024, total_income_yen=1)
    with refuses("replica_missing"):
        await town.ask(subject=town.kitami.code(mother))


# 3. 符号


async def test_rule_03_a_code_is_of_one_body_and_useless_elsewhere(town: Town) -> None:
    assert town.kitami.code(town.father) != town.code
    with refuses("linkage_code_foreign"):
        await town.ask(subject=town.code)


async def test_rule_03_the_relay_passes_numbers_and_never_a_code(town: Town) -> None:
    code = await acquire_code(town.kitami.resident, town.father.resident_code)
    assert code == town.kitami.code(town.father)
    assert code not in stored_by(town.sim, RELAY)
    key = town.sim.keys_of(RELAY).sealing
    heard = [open_sealed(one.message.data, key) for one in messages(town.sim) if one.recipient == RELAY]
    assert heard
    assert not any(code.encode() in one for one in heard)


# 4. The gate


@pytest.mark.parametrize(("starts", "lawful"), [(BEFORE_THE_TABLE, False), (SINCE, True)])
async def test_rule_04_the_table_holds_since_its_day(starts: str, lawful: bool) -> None:
    with simulation(starts=starts) as sim:
        establish(sim)
        town = Town(sim)
        if lawful:
            assert (await town.ask()).total_income_yen == INCOME_YEN
        else:
            with refuses("no_legal_basis"):
                await town.ask()


async def test_rule_04_requester_procedure_provider_and_items_all_count(town: Town) -> None:
    with refuses("no_legal_basis"):
        await town.ask(procedure="child-health")
    with refuses("item_not_permitted"):
        await town.ask(items=("tax_yen",))
    with refuses("no_legal_basis"):
        await town.kitami.health.ask(
            town.where, INCOME, IncomeQuery(2024), subject=town.kitami.code(town.father), procedure=PROCEDURE
        )
    assert not [row for row in ledger(town.sim, town.where) if row.subject], "the provider never heard of it"


async def test_rule_04_without_an_assessment_nothing_is_notified(town: Town) -> None:
    """番号法21条2項: unless 28条 was breached."""
    town.sim.policy.withdraw_assessment(town.kitami.member, PROCEDURE)
    with refuses("assessment_missing"):
        await town.ask()


# 5. The broker cannot read


async def test_rule_05_content_passes_the_broker_unread(town: Town) -> None:
    await town.ask()
    key: SealingKey = town.sim.keys_of(BROKER).sealing
    passed = [
        one
        for one in messages(town.sim)
        if BROKER in (one.sender, one.recipient) and isinstance(one.message, Request | Reply)
    ]
    assert len(passed) == 4
    for one in passed:
        with refuses("seal_invalid"):
            open_sealed(one.message.data, key)


# 6. Three records


async def test_rule_06_requester_broker_and_provider_each_record_it(town: Town) -> None:
    await town.ask()
    asked = messages(town.sim, Request)[-1].message
    kept = records(town.sim, asked.id)
    assert {party: [row.entry for row in rows] for party, rows in kept.items()} == {
        town.office.address: ["opened", "closed"],
        BROKER: ["permitted", "closed"],
        town.where: ["answered"],
    }
    first = {party: rows[0] for party, rows in kept.items()}
    for said in ("requester", "provider", "service", "procedure", "items", "requestdigest"):
        assert len({getattr(row, said) for row in first.values()}) == 1, said
    assert all(row.time_us for row in first.values())
    assert str(INCOME_YEN) not in str(kept), "items, never values"


async def test_rule_06_records_outlive_everything_that_is_purged(town: Town) -> None:
    """Kept for seven years (番号法施行令29条); what may go goes, a record never does."""
    await town.ask()
    for address in (town.office.address, BROKER, town.where):
        store = town.sim._stores[address]
        before = list(store.ledger_rows())
        store.purge(town.sim.now_us() + 8 * YEAR_US)
        assert before
        assert list(store.ledger_rows()) == before


# 7. Consent and transparency


async def test_rule_07_agencies_need_no_consent_and_the_person_sees_them(town: Town) -> None:
    assert (await town.ask()).total_income_yen == INCOME_YEN
    portal = town.sim.node(PORTAL, Portal)
    seen = await portal.read_history(town.sim.code(member_of(PORTAL), town.father.handle))
    line = next(one for one in seen if one.service == INCOME.name)
    assert (line.requester, line.provider, line.procedure) == (town.office.address, town.where, PROCEDURE)
    assert line.items == "tax_year total_income_yen"
    assert str(INCOME_YEN) not in str(line)


@pytest.fixture
async def private() -> AsyncIterator[Private]:
    """A housing site whose customer looks for a house, and Kobe, which taxed him."""
    with simulation(starts=private_app.starts) as sim:
        establish(sim)
        yield make_private(sim)


async def read_income(private: Private, number: int) -> object:
    return (await private.app.read_income(number, "28100", 2025)).total_income_yen


async def test_rule_07_a_firm_needs_a_consent_that_counts_its_uses(private: Private) -> None:
    number = private.app.link(private.firm_code)
    private.app.keep_consent(number, "none", LOAN)
    with refuses("consent_required"):
        await read_income(private, number)
    await private.consent(number, days=1, uses=1)
    assert isinstance(await read_income(private, number), int)
    with refuses("consent_expired"):
        await read_income(private, number)


async def test_rule_07_a_consent_has_scope_and_term_and_can_be_withdrawn(private: Private) -> None:
    number = private.app.link(private.firm_code)
    await private.consent(number, items=("tax_year",), days=1, uses=9)
    with refuses("consent_required"):
        await read_income(private, number)
    await private.consent(number, days=1, uses=9)
    await private.sim.sleep(86_400)
    with refuses("consent_expired"):
        await read_income(private, number)
    consent = await private.consent(number, days=1, uses=9)
    portal = private.sim.node(PORTAL, Portal)
    await portal.withdraw(private.cities.portal_code(private.customer), consent)
    with refuses("consent_withdrawn"):
        await read_income(private, number)


# 8. Three flags


async def test_rule_08_no_self_disclosure(private: Private) -> None:
    """自己情報提供不可: neither the person's own look nor whom they let look."""
    number = private.app.link(private.firm_code)
    await private.consent(number, days=1, uses=9)
    private.cities.kobe.tax.keep_from_portal(private.cities.kobe.code(private.customer))
    with refuses("withheld"):
        await read_income(private, number)


async def test_rule_08_no_automatic_answer(town: Town) -> None:
    """自動応答不可: an official decides."""
    town.kobe.tax.review_manually(town.code)
    with refuses("manual_review"):
        await town.ask()


async def test_rule_08_a_protected_persons_exchange_goes_on_and_is_hidden(town: Town) -> None:
    """不開示該当: the history is hidden; a DV flag alone ends no lawful exchange."""
    town.kitami.resident.protect(town.kitami.code(town.father))
    claim = town.office.take_claim(town.kitami.code(town.father), ClaimQuery("move-in", "2024-10-01"))
    await town.office.examine(claim.number)
    answered = [row for row in ledger(town.sim, town.where) if row.service == INCOME.name]
    assert answered[0].code is None, "the father's; the mother's income is not known"
    portal = town.sim.node(PORTAL, Portal)
    seen = await portal.read_history(town.sim.code(member_of(PORTAL), town.father.handle))
    assert not [one for one in seen if one.service == INCOME.name]


# 9. Layouts


@pytest.mark.parametrize(
    ("package", "knows"), [(SHARED, True), (LATE, False)], ids=lambda one: str(getattr(one, "key", one))
)
async def test_rule_09_what_the_layout_lacks_cannot_be_had(package: Package, knows: bool) -> None:
    """Versions live side by side: the first answers everywhere, the second where the package has it."""
    with simulation(starts="2026-07-15T09:00:00+09:00") as sim:
        establish(sim)
        office = assemble(sim, "01208").child_allowance
        city = assemble(sim, "28100", package=package)
        move = Move(date(2026, 7, 1), "28100", "01208")
        person = Population(sim).household("01208", moves=(move,)).head
        city.tax.assess(city.code(person), 2026, total_income_yen=INCOME_YEN)
        city.tax.register_replica(city.code(person), 2026)
        if isinstance(city.tax, LegacyTaxOffice):
            city.tax.run_night_batch()
        asked = {"subject": sim.code("muni/01208", person.handle), "procedure": PROCEDURE}
        where, query = city.address("tax"), IncomeQuery(2026)
        first = await office.ask(where, INCOME, query, items=("total_income_yen",), **asked)
        assert first.total_income_yen == INCOME_YEN
        second = office.ask(where, INCOME_2, query, items=("separate_income_yen",), **asked)
        if knows:
            assert (await second).separate_income_yen == 0
        else:
            with refuses("service_unknown"):
                await second


# 10. Zones


@pytest.mark.parametrize("zone", ["internet", "lgwan", "cloud"])
async def test_rule_10_only_a_named_path_crosses_zones(town: Town, zone: str) -> None:
    outside = type("Outside", (Node,), {"zone": zone, "__module__": __name__})
    town.sim.add(outside, "firm/somebody/app")
    with refuses("zone_forbidden"):
        await town.sim.node("firm/somebody/app").ask(
            town.where,
            INCOME,
            IncomeQuery(2024),
            subject=town.sim.code("firm/somebody", town.father.handle),
            procedure=PROCEDURE,
        )


# 11. 申請管理


@pytest.mark.parametrize("noted", [True, False])
async def test_rule_11_an_application_is_handed_over_to_whom_its_certificate_names(noted: bool) -> None:
    """Fetched, matched by the certificate's serial number, handed over; without a 宛名 a person decides."""
    with simulation(starts=online_application.starts) as sim:
        establish(sim)
        cities = assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", "resident", "tax")
        world = Applicants(sim, *cities, Population(sim))
        family = world.family()
        receipt = world.draft(family, world.card(family.head, noted=noted))
        await world.site.submit(receipt)
        assert world.office.applications() == [], "nothing is handed over before it is fetched"
        await world.management.run()
        given = [row["applicant"] for row in world.office.applications()]
        assert given == ([world.kitami.code(family.head)] if noted else [])
        assert [row["receipt"] for row in world.management.unresolved()] == ([] if noted else [receipt])
        assert (world.management.state(receipt) == "handed-over") is noted


# 12. Push: it invites and never grants


async def test_rule_12_an_event_reaches_whom_the_law_names_and_grants_nothing(town: Town) -> None:
    family = town.move("28100")
    town.kitami.move_in(family)
    await town.sim.sleep(60)
    register = town.kitami.address("resident")
    heard = {one.recipient for one in messages(town.sim, Event) if one.sender == BROKER}
    rows = town.sim.policy.subscribers(register, MOVE_IN.name, town.sim.now_us())
    named = {one for one in town.sim.addresses() if any(matches(row.requester, one) for row in rows)}
    assert town.office.address in heard
    assert heard <= {one for one in named if member_of(one) == town.kitami.member}
    assert [row["parent"] for row in town.office.invitations()] == [town.kitami.code(family.head)]
    assert town.office.db.execute("SELECT count(*) FROM claim").fetchone()[0] == 0


async def test_rule_12_nobody_else_may_subscribe(town: Town) -> None:
    for curious in (town.kobe.tax, town.kitami.tax):
        with refuses("no_legal_basis"):
            await curious.ask(BROKER, SUBSCRIPTION, SubscribeQuery("resident.move-in.v1"))


# 13. Checks after the fact


async def test_rule_13_the_commission_finds_and_guides_and_stops_nothing(town: Town) -> None:
    """番号法33条: what it finds is guidance; the exchange goes on afterwards."""
    await town.ask()
    db = town.sim._stores[town.where].db
    db.execute("DELETE FROM mesh_ledger")
    commission = town.sim.node(COMMISSION, Commission)
    found = await commission.reconcile([town.office.address, town.where])
    assert [one.code for one in found]
    assert {one.party for one in found} <= {town.where, BROKER}
    assert (await town.ask()).total_income_yen == INCOME_YEN


async def test_rule_13_only_the_commission_reads_ledgers(town: Town) -> None:
    for curious in (town.office, town.sim.node(ISSUER), town.sim.node(PORTAL)):
        with pytest.raises(Refused) as refused:
            await curious.ask(town.where, LEDGER_ROWS, RowsQuery(0, 10), procedure="oversight")
        assert CODES[refused.value.code].step in (Step.ZONE, Step.AUTHORISATION)


# 14. Paper stays possible


@pytest.mark.parametrize("name", ATTACHMENT_FREE)
def test_rule_14_every_attachment_free_procedure_shows_its_paper(
    name: str, shipped: Callable[[str], Shipped]
) -> None:
    report = shipped(name).result.report
    assert report.papers, "a paper that nobody attached"
    assert report.fallbacks, "and one that was needed after all, with its reason"
    assert all(one.why and one.why_ja for one in report.fallbacks)


# 15. Inside one body


async def test_rule_15_another_city_does_not_see_the_household(town: Town) -> None:
    """番号法9条2項 and an ordinance open the register to offices of the same body only."""
    asked = {"subject": town.kitami.code(town.father), "procedure": PROCEDURE}
    household = await town.office.ask(town.kitami.address("resident"), HOUSEHOLD, HouseholdQuery(), **asked)
    assert len(household.members) == 3
    with refuses("no_legal_basis"):
        await town.office.ask(town.kobe.address("resident"), HOUSEHOLD, HouseholdQuery(), **asked)


async def test_rule_15_a_letter_is_for_the_procedure_that_the_row_names(town: Town) -> None:
    letter = Letter("Please come", "お越しください", "2024-11-01")
    subject = town.kitami.code(town.father)
    with refuses("no_legal_basis"):
        town.office.notify(PORTAL_LETTER, PORTAL, letter, subject=subject, procedure="oversight")
        await town.sim.sleep(5)
        refusal = [one for one in messages(town.sim) if one.refusal]
        raise MeshError(refusal[0].refusal or "handler_failed")
