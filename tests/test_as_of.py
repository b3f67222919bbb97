"""Every service that answers from a copy says when that copy was registered, and not when it was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date
from functools import partial

from mesh import Caller, FromCopy, Simulation, instant
from mesh.builtin import Empty
from mesh.loading import modules_of, node_classes
from mesh.testing import simulation
from nodes import establish
from nodes.agency.family_register_link import FAMILY_LINK, FamilyRegisterLink
from nodes.agency.kinship import CertificateQuery, WideAreaQuery
from nodes.agency.pension import PENSION, PensionBody
from nodes.data.people import Move, Population
from nodes.municipality.assembly import assemble
from nodes.municipality.care_file import Certification
from nodes.municipality.care_insurance import CareInsurance
from nodes.municipality.child_rearing_allowance import ChildRearingAllowance
from nodes.municipality.disability_welfare import DisabilityWelfare
from nodes.municipality.family_register import FamilyRegister
from nodes.municipality.packages import CUSTOMISED, LATE, SHARED, STANDARD, Package
from nodes.municipality.paired_record import Change
from nodes.municipality.public_assistance import PublicAssistance
from nodes.municipality.tax import IncomeQuery, TaxedQuery
from nodes.municipality.tax_layout_2 import TaxOfficeLayout2
from nodes.municipality.tax_legacy import LegacyTaxOffice
from nodes.municipality.vaccination_ledger import HistoryQuery, VaccinationLedger
from nodes.portal.api import SELF_INCOME
from scenarios._applicants import TAX_YEAR
from scenarios._care import SecondLayout
from scenarios._private_users import make_private
from scenarios._registers import as_applicant, ask_code, key, make_world
from scenarios.private_app import KOBE

Answers = list[tuple[str, Callable[[], Awaitable[FromCopy]]]]
"""What asks each service of an office by its name, once its copies are registered."""

CALLER = Caller("muni/01208/tax", "any", frozenset(), None, "a-message", "a-row")


async def tax(sim: Simulation, package: Package) -> Answers:
    """What was assessed long ago counts from its copy on, in every package."""
    city = assemble(sim, "28100", package=package)
    move = Move(date(2025, 7, 1), "28100", "01208")
    code = city.code(Population(sim).household("01208", moves=(move,)).head)
    city.tax.assess(code, 2025, total_income_yen=1)
    await sim.sleep(3600)
    city.tax.register_replica(code, 2025)
    if isinstance(city.tax, LegacyTaxOffice):
        city.tax.run_night_batch()
    office = city.tax
    answers: Answers = [
        ("tax.income.v1", lambda: office.income(IncomeQuery(2025), CALLER, code)),
        ("tax.taxed.v1", lambda: office.taxed(TaxedQuery(2025), CALLER, code)),
    ]
    if isinstance(office, TaxOfficeLayout2):
        answers.append(("tax.income.v2", lambda: office.income_2(IncomeQuery(2025), CALLER, code)))
    return answers


async def standing(sim: Simulation) -> Answers:
    """Offices that keep what they decided: each decides, and copies an hour later."""
    city = assemble(
        sim,
        "28100",
        "care-insurance",
        "child-rearing-allowance",
        "disability-welfare",
        "public-assistance",
        "vaccination-ledger",
    )
    sim.add(SecondLayout, "muni/01100/care-insurance")
    second = sim.node("muni/01100/care-insurance", SecondLayout)
    code = city.code(Population(sim).household("28100").head)
    ledger = city.node(VaccinationLedger)
    ledger.enter(code, Change("mr-1", "given_on", "2025-07-01", 0, "clerk"))
    welfare, assistance = city.node(DisabilityWelfare), city.node(PublicAssistance)
    welfare.record(code, "physical", "2", uses_services=True)
    assistance.grant([code], "2025-01", ("living",))
    rearing, care = city.node(ChildRearingAllowance), city.node(CareInsurance)
    rearing.certify(code, code, "full", "2025-01")
    pension = sim.node(PENSION, PensionBody)
    pension.enrol(code, "employees", "private", 84)
    for office in (care, second):
        office.certify(code, Certification("要介護2", "2025-01-01", "2025-12-31"))
    await sim.sleep(3600)
    for office in (welfare, assistance, rearing, care, second, pension):
        office.register_replica(code)
    ledger.register_replica(code, "mr-1")
    return [
        ("care.certification.v1", lambda: care.certification(Empty(), CALLER, code)),
        ("care.certification.v1", lambda: second.certification(Empty(), CALLER, code)),
        ("care.certification.v2", lambda: second.certification_2(Empty(), CALLER, code)),
        ("disability-welfare.record.v1", lambda: welfare.answer(Empty(), CALLER, code)),
        ("public-assistance.receipt.v1", lambda: assistance.assistance(Empty(), CALLER, code)),
        ("child-rearing-allowance.receipt.v1", lambda: rearing.allowance(Empty(), CALLER, code)),
        ("pension.enrolment.v1", lambda: pension.enrolment(Empty(), CALLER, code)),
        ("vaccination.history.v1", lambda: ledger.history(HistoryQuery("mr-1"), CALLER, code)),
    ]


async def registers(sim: Simulation) -> Answers:
    """The link of family registers, whose copies come over the mesh."""
    world = make_world(sim)
    record = key(world.kobe, 1)
    await sim.sleep(3600)
    await world.kobe.node(FamilyRegister).send_copy(record)
    code = (await ask_code(world, world.son)).code
    son, link = as_applicant(world.son), sim.node(FAMILY_LINK, FamilyRegisterLink)
    person = link.db.execute("SELECT person FROM entry WHERE name = ?", (son.name,)).fetchone()["person"]
    return [
        ("family.relations.v1", lambda: link.relations(Empty(), CALLER, person)),
        ("family.certificate.v1", lambda: link.certificate(CertificateQuery(code), CALLER)),
        ("family.wide-area.v1", lambda: link.wide_area(WideAreaQuery(record, son.name, son.born), CALLER)),
    ]


async def through_the_gateway(sim: Simulation) -> Answers:
    """A firm's consented look, which the gateway passes on to the city and back."""
    world = make_private(sim)
    number = world.app.link(world.firm_code)
    await world.consent(number, days=1, uses=1)
    return [(SELF_INCOME.name, lambda: world.app.read_income(number, KOBE, TAX_YEAR))]


BUILDS = (
    *(partial(tax, package=one) for one in (STANDARD, CUSTOMISED, SHARED, LATE)),
    standing,
    registers,
    through_the_gateway,
)


async def test_every_answer_says_when_its_copy_was_registered() -> None:
    said, right = [], []
    for build in BUILDS:
        with simulation(starts="2025-11-10T09:00:00+09:00") as sim:
            establish(sim)
            answers = await build(sim)
            copied_at = instant(sim.now_us())
            await sim.sleep(3600)
            said += [(name, (await ask()).as_of) for name, ask in answers]
            right += [(name, copied_at) for name, _ in answers]
    assert said == right
    declared = [
        one
        for cls in node_classes([*modules_of("nodes"), *modules_of("scenarios")])
        for one in cls.declarations.items()
    ]
    assert {name for name, _ in right} == {
        name for name, (one, _) in declared if getattr(one, "from_copy", False)
    }
