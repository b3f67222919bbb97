"""What an office could not pass on is refused when it writes it down, not when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mesh import Simulation, UsageError
from mesh.node import Node
from mesh.store import Database
from mesh.testing import simulation
from nodes.municipality.care_file import CareFile, Certification
from nodes.municipality.childcare import ChildcareOffice
from nodes.municipality.copy_orders import Applicant, CopyOrders
from nodes.municipality.disability_welfare import DisabilityWelfare
from nodes.municipality.family_register import FamilyRegister, Line
from nodes.municipality.notices import NoticeOffice
from nodes.municipality.paired_record import Change, PairedRecord
from nodes.municipality.proposals import Proposals
from nodes.portal.inbox import Letter

LONG, NUMBERED, BROKEN = "あ" * 201, "花子 1234-5678-9018", "花子\ud800"


def _certification(kind: str) -> Certification:
    return Certification("care-1", "2026-04-01", "2027-03-31", (kind,))


WRITES: dict[str, tuple[type[Node], Callable[[Any, str], Any]]] = {
    "family register": (
        FamilyRegister,
        lambda node, text: node.enter(1, [Line("c", text, "2026-04-01")], []),
    ),
    "applicant of a copy": (
        FamilyRegister,
        lambda node, text: CopyOrders(node.db).open(
            "kr-01208-000001", "current", Applicant(text, "2026-04-01")
        ),
    ),
    "nursery": (ChildcareOffice, lambda node, text: node.open_nursery(text, 3)),
    "grade": (DisabilityWelfare, lambda node, text: node.record("c", "physical", text, uses_services=True)),
    "letter": (NoticeOffice, lambda node, text: node.send(Letter(text, "お知らせ", "2026-05-01"), [])),
    "kinds of care": (Node, lambda node, text: CareFile(node.db).certify("c", _certification(text))),
    "change": (
        Node,
        lambda node, text: PairedRecord(node.db, "vaccination-ledger").enter(
            "c", Change("mr-1", "lot", text, 0, "clerk"), source="x", at_us=0
        ),
    ),
    "proposal": (
        Node,
        lambda node, text: Proposals(node.db).add("c", Change("mr-1", "lot", "1", 0, text), 0),
    ),
}


@pytest.mark.parametrize("text", [LONG, NUMBERED, BROKEN], ids=["long", "numbered", "broken"])
@pytest.mark.parametrize("case", WRITES)
async def test_what_could_not_be_passed_on_is_not_entered(case: str, text: str) -> None:
    cls, write = WRITES[case]
    with simulation() as sim:
        node = _node(sim, cls)
        before = _rows(node.db)
        with pytest.raises(UsageError, match="could not be passed on") as caught:
            write(node, text)
        assert "花子" not in str(caught.value)
        assert _rows(node.db) == before


def _node(sim: Simulation, cls: type[Node]) -> Node:
    sim.add(cls, "muni/01208/office")
    return sim.node("muni/01208/office")


def _rows(db: Database) -> int:
    """How many rows the tables of a node have altogether."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return sum(db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)
