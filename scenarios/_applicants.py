"""The world of `online_application`: a city with its systems, families with cards, and looks at the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import msgspec

from mesh import MeshError, Simulation, jws
from mesh.keys import SealingKey
from mesh.message import encode
from mesh.sealing import open_sealed
from mesh.testing import messages
from nodes.agency.card import Card, Signed
from nodes.agency.certificates import issue_card
from nodes.data.people import Household, Move, Person
from nodes.municipality.application_management import ApplicationManagement
from nodes.municipality.childcare import ChildcareForm, ChildcareOffice, Employment
from nodes.portal.application import Application
from scenarios._portal import OnlineWorld

TYPED = "KITAMI2025"
"""The password that each holder types into the card reader."""
TAX_YEAR = 2025
MOVED = date(2025, 5, 12)
FROM_MONTH = "2026-04"
NURSERY = "ひまわり保育園"
_SIGNED = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SEAL = re.compile(rb"[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class World(OnlineWorld):
    """The two cities, and who applies."""

    @property
    def management(self) -> ApplicationManagement:
        """Kitami's 申請管理."""
        return self.kitami.node(ApplicationManagement)

    @property
    def office(self) -> ChildcareOffice:
        """Kitami's childcare office."""
        return self.kitami.node(ChildcareOffice)

    def family(self, *, copied: bool = True) -> Household:
        """A family that moved in from Kobe in May; Kobe taxed it on 1 January, and registered the copies or not."""
        move = Move(MOVED, self.kobe.about.code[:5], self.kitami.about.code[:5])
        family = self.people.household(self.kitami.about.code[:5], child_ages=(1,), moves=(move,))
        self.kitami.settle(family)
        for place, parent in enumerate(family.parents):
            code = self.kobe.code(parent)
            self.kobe.tax.assess(code, TAX_YEAR, total_income_yen=2_430_000 - 900_000 * place)
            if copied or place:
                self.kobe.tax.register_replica(code, TAX_YEAR)
        return family

    def card(self, person: Person, *, issued_on: date | None = None, noted: bool = True) -> Card:
        """A card of a resident; the city that passed the application on notes the certificate's serial number."""
        card = issue_card(self.sim, person, TYPED, issued_on=issued_on)
        if noted:
            self.kitami.resident.note_certificate(self.kitami.code(person), card.serial)
        return card

    def draft(self, family: Household, card: Card) -> str:
        """The head of a family fills in the form, attaches both certificates of employment, and signs."""
        receipt = self.site.new_receipt()
        signed = self.signed(receipt, family, card)
        person = self.portal_code(family.head)
        self.site.prepare(receipt, person, self.kitami.member, "childcare", signed)
        return receipt

    def signed(self, receipt: str, family: Household, card: Card) -> Signed:
        """The form under a receipt number, filled in and signed by the head of a family."""
        person = family.head
        born = family.children[0].born.isoformat()
        work = tuple(
            Employment(parent.born.isoformat(), employer, 160)
            for parent, employer in zip(family.parents, ("オホーツク製作所", "常呂川病院"), strict=True)
        )
        form = ChildcareForm(receipt, born, FROM_MONTH, NURSERY, work)
        application = Application(
            "childcare", person.name, person.born.isoformat(), msgspec.Raw(encode(form))
        )
        return card.sign(application, TYPED)


def readers_of(sim: Simulation, secret: str, parties: Iterable[str]) -> list[str]:
    """Which parties' keys open something on the wire that holds a secret, be it in a seal within a seal."""
    tokens = [
        one.message.data for one in messages(sim) if isinstance(getattr(one.message, "data", None), str)
    ]
    return [party for party in parties if _reads(sim.keys_of(party).sealing, tokens, secret.encode())]


def _reads(key: SealingKey, tokens: Iterable[str], secret: bytes) -> bool:
    """Whether a key opens a seal that holds the secret: plainly, in a signed document, or in a seal inside."""
    for token in tokens:
        try:
            opened = open_sealed(token, key)
        except MeshError:
            continue
        signed = [_payload(found.group()) for found in _SIGNED.finditer(opened)]
        inner = [found.group().decode() for found in _SEAL.finditer(opened)]
        if any(secret in text for text in (opened, *signed)) or _reads(key, inner, secret):
            return True
    return False


def _payload(token: bytes) -> bytes:
    try:
        return jws.parse(token).payload
    except MeshError:
        return b""
