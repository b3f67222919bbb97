"""What the scenario `write_free_counter` needs besides its story: the city, who comes, and a helper's tablet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from mesh import MeshError, Node, Simulation
from mesh.ledger import Row, read_row
from mesh.sealing import open_sealed
from mesh.testing import messages
from nodes.agency.card import Card
from nodes.agency.certificates import issue_card
from nodes.data.people import Household, Move, Person, Population
from nodes.municipality.assembly import City
from nodes.municipality.counter import Confirmation, Counter, Document, digest_of

MOVED = date(2026, 4, 6)
TYPED = "HIDDEN777"
"""The password that the resident types into the card reader."""
CLERK, SCHOOL_CLERK, HELPER = "sato", "suzuki", "takahashi"


class HelperTablet(Node):
    """The tablet of a helper (デジタル推進委員): it shows how things are done, and no row of the law lets it ask."""

    title, title_ja = "Helper's tablet", "支援員のタブレット"


@dataclass(frozen=True, slots=True)
class World:
    """The city with its counter, and who comes."""

    sim: Simulation
    city: City
    people: Population

    @property
    def counter(self) -> Counter:
        """The counter."""
        return self.city.node(Counter)

    @property
    def tablet(self) -> HelperTablet:
        """The helper's tablet."""
        return self.sim.node(self.city.address("helper-tablet"), HelperTablet)

    def newcomers(self, *child_ages: int, parents: int = 2) -> Household:
        """A household that moved in from Kobe, whose 転入届 was accepted."""
        move = Move(MOVED, "28100", "01208")
        home = self.people.household("01208", child_ages=child_ages, parents=parents, moves=(move,))
        self.city.move_in(home)
        return home

    def card(self, person: Person) -> Card:
        """A card with a new signature certificate, as the counter next door gave it after the move."""
        card = issue_card(self.sim, person, TYPED)
        self.city.resident.note_certificate(self.city.code(person), card.serial)
        return card

    async def confirm_all(self, visit: int, forms: dict[str, object], card: Card) -> None:
        """The resident reads each form and signs it with the card."""
        for key, form in forms.items():
            signed = card.sign(Confirmation(key, digest_of(form)), TYPED)  # type: ignore[arg-type]
            await self.counter.confirm_with_card(visit, key, signed)

    def asked_by_counter(self) -> list[Row]:
        """What the counter put on its record as asked."""
        rows = map(read_row, self.counter.host.store.ledger_rows())
        return [row for row in rows if row.entry == "opened"]


def shows(person: Person, *kinds: str) -> list[Document]:
    """Documents of a person, as they lie on the counter."""
    return [Document(kind, person.name, person.born.isoformat()) for kind in kinds]  # type: ignore[arg-type]


def is_seen(sim: Simulation, secret: str, nodes: Iterable[Node]) -> bool:
    """Whether a secret is in any message, opened by whoever may open it, or in any table of some nodes."""
    wanted = secret.encode()
    for one in messages(sim):
        token = getattr(one.message, "data", None)
        text = one.line
        if isinstance(token, str):
            try:
                text += open_sealed(token, sim.keys_of(one.message.recipient).sealing)
            except MeshError:
                continue
        if wanted in text:
            return True
    return any(wanted in _tables(node) for node in nodes)


def _tables(node: Node) -> bytes:
    names = node.db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    rows = [node.db.execute(f"SELECT * FROM {row['name']}").fetchall() for row in names]  # noqa: S608
    return repr([[tuple(one) for one in table] for table in rows]).encode()
