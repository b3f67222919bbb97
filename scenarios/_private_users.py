"""The world of `private_app`: a housing site with its app, a second firm, and looks at what each party holds."""

from __future__ import annotations

from dataclasses import dataclass

from mesh import Node, Simulation, instant
from mesh.message import Request
from mesh.names import Zone, member_of
from mesh.testing import messages
from nodes.data.people import Household, Person, Population
from nodes.firm.app import FirmApp
from nodes.municipality.assembly import assemble
from nodes.portal.api import API, SELF_INCOME, ApiGateway
from nodes.portal.inbox import PORTAL, Portal
from scenarios._applicants import World

APP = "firm/hokuto-homes/app"
UNAPPROVED = "firm/quick-rent/app"
INSIDER = "firm/hokuto-homes/inside"
LOAN, RENT = "housing-loan", "rent-guarantee"
SYSTEMS = ("resident", "tax", "application-management", "childcare")


class InsideApp(FirmApp):
    """What the firm would be if somebody had wired it into マイナンバー利用事務系: nothing lets it in, but suppose."""

    zone = Zone.MYNUMBER


@dataclass(frozen=True, slots=True)
class Private:
    """The cities and their applicants, and the firm."""

    sim: Simulation
    cities: World
    family: Household
    copied_at: str
    """When Kobe registered the copies of their incomes, as a reply says a time."""

    @property
    def app(self) -> FirmApp:
        """The housing site's app."""
        return self.sim.node(APP, FirmApp)

    @property
    def gateway(self) -> ApiGateway:
        """The portal's gateway for firms."""
        return self.sim.node(API, ApiGateway)

    @property
    def customer(self) -> Person:
        """Who looks for a house."""
        return self.family.head

    @property
    def firm_code(self) -> str:
        """The firm's own code of the customer, as the portal gives it when they link their account."""
        return self.sim.code(member_of(APP), self.customer.handle)

    async def consent(
        self, number: int, *, items: tuple[str, ...] = ("tax_year", "total_income_yen"), days: int, uses: int
    ) -> str:
        """The customer consents in the portal to a loan's screening, and the app keeps the consent's id."""
        consent = await self.sim.node(PORTAL, Portal).grant(
            self.cities.portal_code(self.customer),
            provider=API,
            firm=member_of(APP),
            firm_code=self.firm_code,
            procedure=LOAN,
            services=(SELF_INCOME.name,),
            items=items,
            days=days,
            uses=uses,
        )
        self.app.keep_consent(number, consent, LOAN)
        return consent


def make_private(sim: Simulation) -> Private:
    """Enrol the cities, the gateway and the firms; デジタル庁 approves one of them for both APIs."""
    sim.add(ApiGateway, API)
    sim.add(FirmApp, APP)
    sim.add(FirmApp, UNAPPROVED)
    sim.add(InsideApp, INSIDER)
    kitami, kobe = assemble(sim, "01208", *SYSTEMS), assemble(sim, "28100", "resident", "tax")
    cities = World(sim, kitami, kobe, Population(sim))
    world = Private(sim, cities, cities.family(), instant(sim.now_us()))
    for api in ("application", "self-information"):
        world.gateway.approve(APP, api, "2026-03-31")
    return world


def hops(sim: Simulation, service_part: str) -> list[tuple[str, str]]:
    """Who asked whom, of services whose name holds a part, in order and each pair once."""
    asked = [one.message for one in messages(sim, Request) if service_part in one.message.type]
    return list(dict.fromkeys((one.source, one.recipient) for one in asked))


def holdings(node: Node) -> str:
    """All that a node keeps in tables of its own, as one text."""
    tables = node.db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'mesh%' ORDER BY name"
    ).fetchall()
    rows = [tuple(row) for table in tables for row in node.db.execute(f"SELECT * FROM {table['name']}")]  # noqa: S608
    return "\n".join(map(repr, rows))
