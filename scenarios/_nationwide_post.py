"""The world of `nationwide_notice`: who sends to whom, and what the wire shows of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mesh import Simulation
from mesh.exchange import digest_of
from mesh.faults import Fates
from mesh.message import Notice, Receipt
from mesh.names import BROKER
from mesh.testing import Transmission, ledger, messages
from nodes.data.municipalities import Municipality, municipalities
from nodes.data.people import Population
from nodes.municipality.notices import NoticeOffice
from nodes.portal.inbox import PORTAL

YOKOHAMA, KITAMI, AOGASHIMA = "14100", "01208", "13402"
"""A big city whose sender stops half way, a city that cannot be reached, a village on a slow line."""
SLOW_US = 3_000_000
"""How long each line from or to the village takes."""
YOKOHAMA_LETTERS, DESIGNATED_CITY_LETTERS = 100, 10
"""Households written to: illustrative, to give the big ones more than the others."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One municipality, its residents who get the letter (one a household), and whether it begins late."""

    about: Municipality
    residents: tuple[str, ...]
    """Handles of this run."""
    late: bool

    @property
    def address(self) -> str:
        """Its system that sends."""
        return f"{self.about.member}/notices"


def senders(sim: Simulation, count: int, residents: int, late_every: int) -> list[Sender]:
    """Enrol so many municipalities, the three of the story among them; every so-many-th begins late."""
    special = (YOKOHAMA, KITAMI, AOGASHIMA)
    ordered = sorted(municipalities(), key=lambda one: (one.code[:5] not in special, one.code))[:count]
    people = Population(sim)
    found = []
    for place, about in enumerate(sorted(ordered, key=lambda one: one.code), start=1):
        homes = people.settled(about.code[:5], _letters(about, residents))
        handles = tuple(home.head.handle for home in homes)
        late = place % late_every == 0 and about.code[:5] not in special
        found.append(Sender(about, handles, late))
        sim.add(NoticeOffice, found[-1].address)
    return found


def _letters(about: Municipality, residents: int) -> int:
    if about.code[:5] == YOKOHAMA:
        return YOKOHAMA_LETTERS
    return DESIGNATED_CITY_LETTERS if about.kind == "designated-city" else residents


def find(everybody: Iterable[Sender], code: str) -> Sender:
    """The sender of one municipality."""
    return next(one for one in everybody if one.about.code.startswith(code))


def slow_line(address: str, sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
    """Delay every line from or to an address; the rest arrives as it does."""
    return ((SLOW_US, line),) if address in (sender, recipient) else None


class Traffic:
    """All letters and receipts of the run, as they went over the wire."""

    def __init__(self, sim: Simulation) -> None:
        passed = messages(sim)
        self._ledger = ledger(sim, BROKER)
        self.sent = [one for one in passed if isinstance(one.message, Notice) and one.recipient == BROKER]
        self.delivered = [one for one in passed if isinstance(one.message, Notice) and one.sender == BROKER]
        self._receipts = [one for one in passed if isinstance(one.message, Receipt)]
        self._source = {digest_of(one.line): one.sender for one in self.sent}

    def signed_by_broker(self) -> list[Transmission]:
        """The broker's receipts for letters that it took over."""
        return [one for one in self._receipts if one.sender == BROKER]

    def signed_by_portal(self) -> list[Transmission]:
        """The portal's receipts."""
        return [one for one in self._receipts if one.sender == PORTAL]

    def unsigned_max_at_portal(self) -> int:
        """The most letters that were on their first way to the portal at any time, as the broker's ledger has them."""
        known: set[str | None] = set()
        out: set[str | None] = set()
        highest = 0
        for row in self._ledger:
            if row.provider != PORTAL:
                continue
            if row.entry == "permitted" and row.requestdigest not in known:
                known.add(row.requestdigest)
                out.add(row.requestdigest)
            else:
                out.discard(row.requestdigest)
            highest = max(highest, len(out))
        return highest

    def unsigned_max_of(self, sender: str) -> int:
        """The most letters that a sender had on their way without the broker's receipt."""
        sent = [one for one in self.sent if one.sender == sender]
        return _peak(sent, [one for one in self.signed_by_broker() if one.recipient == sender])

    def waiting_max(self) -> int:
        """The most letters that the broker had signed for and not yet handed on."""
        return _peak(self.signed_by_broker(), self.delivered)

    def letters_of(self, sender: str) -> Counter[str]:
        """How often each letter of a sender went out, by message id."""
        return Counter(one.message.id for one in self.sent if one.sender == sender)

    def latest_receipt_us(self, only: Iterable[Sender]) -> int:
        """When the portal last signed for a letter of these senders."""
        addresses = {one.address for one in only}
        return max(
            one.sent_us
            for one in self.signed_by_portal()
            if self._source[one.message.requestdigest] in addresses
        )


def _peak(opening: list[Transmission], closing: list[Transmission]) -> int:
    """The most that were opened and not yet closed; what goes out again counts once."""
    marks = [(one.index, True, _digest(one)) for one in opening]
    marks += [(one.index, False, _digest(one)) for one in closing]
    opened: set[str] = set()
    closed: set[str] = set()
    highest = 0
    for _, opens, digest in sorted(marks):
        (opened if opens else closed).add(digest)
        highest = max(highest, len(opened) - len(closed))
    return highest


def _digest(one: Transmission) -> str:
    """The digest of the letter that a transmission carries, or is the receipt of."""
    return one.message.requestdigest if isinstance(one.message, Receipt) else digest_of(one.line)
