"""The world of `moving`: two cities, households that move between them, and the network that their news takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import msgspec

from mesh.message import Event, Notice, Request, encode
from mesh.names import member_of
from mesh.simulation import JST
from mesh.testing import messages
from nodes.agency.card import Card
from nodes.agency.certificates import issue_card
from nodes.data.people import Household, Person
from nodes.municipality.application_management import ApplicationManagement
from nodes.municipality.assembly import City
from nodes.municipality.moves import MOVING_OUT_ONLINE, MoveOutForm
from nodes.portal.application import Application
from scenarios._portal import OnlineWorld

TYPED = "KOBE2026"
"""The password that each holder types into the card reader."""


@dataclass(frozen=True, slots=True)
class World(OnlineWorld):
    """The old city, the new city, and who moves."""

    @property
    def management(self) -> ApplicationManagement:
        """Kobe's 申請管理."""
        return self.kobe.node(ApplicationManagement)

    @property
    def today(self) -> date:
        """The day in Japan."""
        return self.sim.now().date()

    async def until(self, day: date, hour: int = 10) -> None:
        """Let time pass until an hour of a day; Kobe's daily run strikes off on the way who leaves."""
        while self.today < day:
            await self._sleep_until(date.fromordinal(self.today.toordinal() + 1), 1)
            self.kobe.resident.strike_out()
        await self._sleep_until(day, hour)

    async def _sleep_until(self, day: date, hour: int) -> None:
        moment = datetime(day.year, day.month, day.day, hour, tzinfo=JST)
        await self.sim.sleep(max((moment - self.sim.now()).total_seconds(), 0))

    def settle(self, *child_ages: int, parents: int = 2) -> tuple[Household, Card]:
        """A household of Kobe whose head has a card; only the head has one."""
        home = self.people.household("28100", child_ages=child_ages, parents=parents)
        self.kobe.settle(home)
        card = issue_card(self.sim, home.head, TYPED)
        code = self.kobe.code(home.head)
        self.kobe.resident.note_card(code)
        self.kobe.resident.note_certificate(code, card.serial)
        return home, card

    async def file(self, person: Person, card: Card, planned_on: date, visit_on: date | None = None) -> str:
        """A head signs and files the household's 転出届 on the portal; Kobe fetches it. Returns the receipt number."""
        site, to = self.site, self.kitami.about.code[:5]
        receipt = site.new_receipt()
        form = MoveOutForm(receipt, to, planned_on.isoformat(), (visit_on or planned_on).isoformat())
        application = Application(
            MOVING_OUT_ONLINE, person.name, person.born.isoformat(), msgspec.Raw(encode(form))
        )
        signed = card.sign(application, TYPED)
        site.prepare(receipt, self.portal_code(person), self.kobe.member, MOVING_OUT_ONLINE, signed)
        await site.submit(receipt)
        await self.management.run()
        await self.sim.sleep(60)
        return receipt

    async def state(self, person: Person) -> str:
        """Where a person's last application stands, as the site shows it."""
        return str((await self.site.refresh(self.portal_code(person)))[-1]["state"])

    def codes(self, city: City, home: Household) -> list[str]:
        """A city's codes of a household."""
        return [city.code(person) for person in home.members]

    def between_cities(self) -> set[tuple[str, str, str]]:
        """All that the broker passed on from one city to the other: who, to whom, and what."""
        cities = {self.kobe.member, self.kitami.member}
        return {
            (one.message.source, one.recipient, one.message.type)
            for one in messages(self.sim)
            if isinstance(one.message, Event | Notice | Request)
            and one.permit is not None
            and {member_of(one.message.source), member_of(one.recipient)} == cities
        }
