"""The catalogue: it says what the declarations say, and who may ask by which row."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from mesh.cli.services import lines
from mesh.errors import CODES
from mesh.message import Event
from mesh.node import Node
from mesh.policy import LegalBasis
from mesh.service import Caller, EventType, NoticeType, PersonalService, Service, receives, serves
from mesh.services import CODE_GROUPS, OF_ASSESSMENT, OF_CONSENT, OF_LAW, OF_SUBJECT, catalogue


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks."""


class Reply(Struct, frozen=True):
    """Two items."""

    zebra: int
    apple: int


PERSONAL = PersonalService("cat.person.v2", Query, Reply, title="Person", title_ja="人")
PERSONAL_V10 = PersonalService("cat.person.v10", Query, Reply, title="Person", title_ja="人")
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


class Archive(Node):
    """Offers a later version of the same."""

    @serves(PERSONAL_V10)
    async def person(self, query: Query, caller: Caller, person: str) -> Reply:
        """Answers."""
        return Reply(1, 2)


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
    assert (made["offered_by"], made["roles"]) == (["Office"], ["muni/*/office"])


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


def test_the_builtin_services_are_there_and_open_only_where_they_tell_of_the_caller() -> None:
    services = {one["name"]: one for one in catalogue((Office,), [])["services"]}
    rows, history = services["ledger.rows.v1"], services["mesh.history.v1"]
    assert (rows["offered_by"], rows["roles"], rows["zone"]) == (["every node"], ["*/*/*"], "every zone")
    assert (history["offered_by"], history["roles"]) == (["Broker"], ["gov/digital/broker"])
    open_ = [name for name, one in services.items() if not one["restricted"]]
    assert open_ == [OPEN.name, "mesh.subscription.v1"]


def test_a_push_names_those_who_receive_it_by_their_side_of_the_row() -> None:
    moved, letter = entry(MOVED.name), entry(LETTER.name)
    assert (moved["received_by"], moved["roles"]) == (["Office"], ["muni/*/desk"])
    assert (letter["received_by"], letter["roles"]) == (["Office"], ["gov/*/inbox"])
    assert (moved["kind"], letter["kind"]) == ("event", "notice")
    assert (moved["items"], letter["items"]) == ([], ["apple", "zebra"])


def test_what_several_offer_stands_once() -> None:
    made = entry(PERSONAL.name, Office, Branch)
    assert (made["offered_by"], made["zone"]) == (["Office", "Branch"], "lgwan mynumber")


def test_versions_stand_side_by_side_in_the_order_of_their_numbers() -> None:
    made = catalogue((Office, Archive), BASES)
    found = [(one["name"], one["versions"]) for one in made["services"] if one["name"].startswith("cat.per")]
    assert found == [("cat.person.v2", [2, 10]), ("cat.person.v10", [2, 10])]
    assert "version 10, side by side with v2" in "\n".join(lines(made))


def test_a_row_says_when_it_holds_and_on_what_conditions() -> None:
    basis = LegalBasis(
        "muni/*/desk", "relief", "muni/*/office", PERSONAL.name, ("apple",), "Act 4", "four",
        from_us=1_711_897_200_000_000, consent=True, subjects_max=20,
    )  # fmt: skip
    made = catalogue((Office,), [basis])
    (row,) = next(one for one in made["services"] if one["name"] == PERSONAL.name)["bases"]
    assert (row["id"], row["from"], "until" in row) == ("four", "2024-04-01T00:00:00+09:00", False)
    (line,) = [line for line in lines(made) if "four" in line]
    assert line.endswith("Act 4; from 2024-04-01; with the person's consent; up to 20 persons a question")


def test_a_service_says_with_which_codes_it_may_be_refused() -> None:
    open_, personal = entry(OPEN.name)["refusals"], entry(PERSONAL.name)["refusals"]
    assert {"not_found", "withheld", "timeout", "no_legal_basis", "signature_invalid"} <= set(open_)
    assert {"item_not_permitted", "linkage_code_foreign", "consent_required", "over_broad"}.isdisjoint(open_)
    assert set(personal) - set(open_) == {*OF_LAW, *OF_SUBJECT}
    consented = LegalBasis("muni/*/desk", "p", "muni/*/office", OPEN.name, consent=True, assessment=True)
    (found,) = [one for one in catalogue((Office,), [consented])["services"] if one["name"] == OPEN.name]
    assert set(found["refusals"]) - set(open_) == {*OF_LAW, *OF_CONSENT, *OF_ASSESSMENT}


def test_every_code_of_the_table_stands_in_one_group() -> None:
    grouped = [code for group in CODE_GROUPS.values() for code in group]
    assert sorted([*grouped, "ledger_broken"]) == sorted(CODES)
