"""The catalogue: it says what the declarations say, and who may ask by which row."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from mesh.message import Event
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, NoticeType, PersonalService, Service, receives, serves
from mesh.services import catalogue


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks."""


class Reply(Struct, frozen=True):
    """Two items."""

    zebra: int
    apple: int


PERSONAL = PersonalService("cat.person.v2", Query, Reply, title="Person", title_ja="人")
OPEN = Service("cat.open.v1", Query, Reply, title="Open", title_ja="公開")
MOVED = EventType("cat.moved.v1", title="Moved", title_ja="転居")
LETTER = NoticeType("cat.letter.v1", Reply, title="Letter", title_ja="手紙")


class Office(Node):
    """Offers both, hears both."""

    zone = "lgwan"

    @serves(PERSONAL)
    async def person(self, query: Query, caller: Caller, person: str) -> Reply:
        """Answers."""
        return Reply(1, 2)

    @serves(OPEN)
    async def open(self, query: Query, caller: Caller) -> Reply:
        """Answers."""
        return Reply(1, 2)

    @receives(MOVED)
    async def moved(self, push: Event, caller: Caller, person: str) -> None:
        """Hears."""

    @receives(LETTER)
    async def letter(self, body: Reply, caller: Caller, person: str) -> None:
        """Hears."""


class Branch(Office):
    """Offers the same from another zone."""

    zone = "mynumber"


BASES = [
    LegalBasis("muni/*/desk", "relief", "muni/*/office", PERSONAL.name, ("apple",), "Act 1"),
    LegalBasis("muni/*/desk", "relief", "muni/*/register", MOVED.name, citation="Act 2"),
    LegalBasis("muni/*/desk", "relief", "gov/*/inbox", LETTER.name, ("apple",), "Act 3"),
]


def entry(name: str, *classes: type[Node]) -> dict[str, Any]:
    made = catalogue(classes or (Office,), BASES)
    (found,) = [one for one in (*made["services"], *made["pushes"]) if one["name"] == name]
    return found


def test_a_service_says_what_its_declaration_says() -> None:
    made = entry(PERSONAL.name)
    assert made["version"] == 2
    assert (made["title"], made["title_ja"], made["kind"]) == ("Person", "人", "service")
    assert (made["personal"], made["restricted"], made["zone"]) == (True, True, "lgwan")
    assert made["items"] == ["apple", "zebra"]
    assert made["offered_by"] == [{"node": "Office", "roles": ["muni/*/office"]}]


def test_a_basis_says_who_may_ask_for_what_and_why() -> None:
    (row,) = entry(PERSONAL.name)["bases"]
    assert (row["requester"], row["procedure"], row["provider"]) == ("muni/*/desk", "relief", "muni/*/office")
    assert (tuple(row["items"]), row["citation"]) == (("apple",), "Act 1")
    assert "until_us" not in row


def test_a_service_about_no_person_is_open_unless_a_row_restricts_it() -> None:
    made = entry(OPEN.name)
    assert (made["personal"], made["restricted"], made["bases"]) == (False, False, [])
    restricted = catalogue(
        (Office,), [LegalBasis("a/b/c".replace("a", "muni"), "p", "muni/*/office", OPEN.name)]
    )
    assert [one["restricted"] for one in restricted["services"] if one["name"] == OPEN.name] == [True]


def test_the_builtin_services_are_there_and_none_is_open() -> None:
    services = {one["name"]: one for one in catalogue((Office,), [])["services"]}
    assert services["ledger.rows.v1"]["offered_by"] == [{"node": "every node", "roles": ["*/*/*"]}]
    assert services["ledger.rows.v1"]["zone"] == "every zone"
    assert services["mesh.history.v1"]["offered_by"] == [{"node": "Broker", "roles": ["gov/digital/broker"]}]
    assert all(one["restricted"] for name, one in services.items() if name != OPEN.name)


def test_a_push_names_those_who_receive_it_by_their_side_of_the_row() -> None:
    assert entry(MOVED.name)["received_by"] == [{"node": "Office", "roles": ["muni/*/desk"]}]
    assert entry(LETTER.name)["received_by"] == [{"node": "Office", "roles": ["gov/*/inbox"]}]
    assert (entry(MOVED.name)["kind"], entry(LETTER.name)["kind"]) == ("event", "notice")
    assert entry(MOVED.name)["items"] == []
    assert entry(LETTER.name)["items"] == ["apple", "zebra"]


def test_what_several_offer_stands_once() -> None:
    made = entry(PERSONAL.name, Office, Branch)
    assert [one["node"] for one in made["offered_by"]] == ["Office", "Branch"]
    assert made["zone"] == "lgwan mynumber"
