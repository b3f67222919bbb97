"""Declarations: named and versioned, without room for a personal number, and read by everything else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from mesh.builtin import HistoryLine
from mesh.errors import CODES, MeshError, UsageError
from mesh.node import Node
from mesh.service import (
    Caller,
    Code,
    Date,
    DeclarationError,
    EventType,
    MessageId,
    Month,
    Name,
    NoticeType,
    PersonalService,
    Service,
    Word,
    check_entry,
    declarations_of,
    receives,
    serves,
)


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Answer(Struct, frozen=True):
    kind: str | UnsetType = UNSET
    yen: int | UnsetType = UNSET
    found: bool = True


class Income(Struct, frozen=True):
    yen: int | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    found: bool = True


T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    of: T


INCOME = PersonalService("t.income.v1", Query, Income, title="Income", title_ja="所得")
PLACES = Service("t.places.v1", Query, Answer, title="Places", title_ja="空き")
BIRTH = EventType("t.birth.v1", title="Birth", title_ja="出生")
LETTER = NoticeType("t.letter.v1", Income, title="Letter", title_ja="手紙")


@dataclass
class Plain:
    text: str


@dataclass
class Checked:
    text: Word


class Typed(TypedDict):
    text: str


class Tupled(NamedTuple):
    text: str


class Numbers(Enum):
    ONE = "1234-5678-9018"


class Parent(Struct):
    children: tuple[Parent, ...] = ()
    text: str = ""


class Tree(Struct):
    children: tuple[Tree, ...] = ()
    text: Word = ""


class Renamed(Struct, frozen=True, rename="camel"):
    first_part: int | UnsetType = UNSET
    second_part: int | UnsetType = UNSET
    whole_sum: int = 0


Alias = NewType("Alias", str)


def of(annotation: Any) -> type[Struct]:
    return msgspec.defstruct("Made", [("field", annotation)], frozen=True)


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        str | None,
        list[str],
        tuple[str, ...],
        dict[str, int],
        Any,
        bytes,
        msgspec.Raw,
        of(str),
        list[of(str)],  # type: ignore[misc]
        Annotated[str, Meta(max_length=12)],
        Annotated[str, Meta(min_length=3)],
        Annotated[str, Meta(pattern="^[0-9-]+$")],
        Annotated[str, Meta(pattern="[0-9]")],
        str | UnsetType,
        list,
        dict,
        tuple,
        dict[int, Word],
        Alias,
        Plain,
        Typed,
        Tupled,
        Numbers,
        Parent,
        Literal["123456789018"],
        Annotated[str, Meta(pattern="^[0-9]{6}-[0-9]{6}$")],
        Annotated[str, Meta(pattern="^[0-9]{11} [0-9]$")],
        Annotated[str, Meta(pattern="^[0-9]+-[0-9]{3}-[0-9]$")],
        Annotated[str, Meta(pattern="^0[0-9]{11}$")],
    ],
    ids=str,
)
def test_a_text_with_room_for_a_personal_number_is_not_declared(annotation: Any) -> None:
    for query, reply in ((of(annotation), of(int)), (of(int), of(annotation))):
        with pytest.raises(DeclarationError, match="personal number"):
            PersonalService("t.x.v1", query, reply, title="x", title_ja="x")
    with pytest.raises(DeclarationError, match="personal number"):
        NoticeType("t.x.v1", of(annotation), title="x", title_ja="x")
    # About no person there is none to expose.
    Service("t.x.v1", of(annotation), of(annotation), title="x", title_ja="x")


@pytest.mark.parametrize(
    "annotation",
    [
        int, float, bool, Word, Name, Date, Month, Code, MessageId, list[Word], of(Name), Tree, dict[Word, int],
        Literal["a", "b"], tuple[Word, int], Word | None, Checked,
    ],
)  # fmt: skip
def test_everything_else_is_declared(annotation: Any) -> None:
    assert PersonalService("t.x.v1", of(annotation), of(annotation), title="x", title_ja="x").items == (
        "field",
    )


@pytest.mark.parametrize(
    "name", ["income", "t.income", "t.income.v0", "T.income.v1", "t.income.v1 ", "", "t..v1", "所得.v1"]
)
def test_a_name_has_a_version(name: str) -> None:
    for make in (
        lambda: Service(name, Query, Answer, title="x", title_ja="x"),
        lambda: EventType(name, title="x", title_ja="x"),
    ):
        with pytest.raises(DeclarationError, match="named like"):
            make()


def test_items_are_the_fields_of_the_reply() -> None:
    assert INCOME.items == ("found", "name", "yen")
    assert INCOME.fixed_items == {"found"}
    assert (INCOME.personal, PLACES.personal) == (True, False)


@pytest.mark.parametrize("bad", ["所得", "_1"])
def test_an_item_has_a_name_that_every_history_can_say(bad: str) -> None:
    struct = msgspec.defstruct("Made", [(bad, int)], frozen=True)
    with pytest.raises(DeclarationError, match="an item is named"):
        PersonalService("t.x.v1", Query, struct, title="x", title_ja="x")
    with pytest.raises(DeclarationError, match="an item is named"):
        NoticeType("t.x.v1", struct, title="x", title_ja="x")


def test_an_item_goes_by_its_name_in_the_reply() -> None:
    renamed = PersonalService("t.renamed.v1", Query, Renamed, title="x", title_ja="x")
    assert renamed.items == ("firstPart", "secondPart", "wholeSum")
    assert renamed.fixed_items == {"wholeSum"}
    assert renamed.without_unasked(Renamed(1, 2, 3), frozenset({"firstPart"})) == Renamed(1, UNSET, 3)


def test_a_history_says_every_lawful_name() -> None:
    lawful = {
        "time_us": 1, "requester": f"muni/01208/{'9' * 40}", "provider": "firm/a-1/nursery-2", "service": "t.x.v1",
        "procedure": "relief-2026", "items": "firstPart second-part tax_year_2", "outcome": "no_legal_basis",
    }  # fmt: skip
    assert msgspec.convert(lawful, HistoryLine)
    assert msgspec.convert(lawful | {"items": "", "provider": ""}, HistoryLine)
    for field in ("requester", "provider", "service", "procedure", "items", "outcome"):
        for bad in ("123456789018", "1234 5678 9018", "1234-5678-9018"):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(lawful | {field: bad}, HistoryLine)


@given(st.sets(st.sampled_from(["found", "name", "yen", "other"])))
def test_nobody_gets_more_than_the_items(items: set[str]) -> None:
    reply = INCOME.without_unasked(Income(yen=5, name="山田"), frozenset(items))
    told = set(msgspec.to_builtins(reply))
    assert told == {"found"} | (items & {"name", "yen"})


@given(st.binary(max_size=100))
def test_any_bytes_raise_only_a_mesh_error(data: bytes) -> None:
    for read in (INCOME.decode_query, INCOME.decode_reply, LETTER.decode_body):
        try:
            read(data)
        except MeshError as error:
            code = error.code
            assert code in CODES


def test_a_query_has_no_more_than_its_fields() -> None:
    assert INCOME.decode_query(b'{"year":2025}') == Query(2025)
    for text, code in (
        (b'{"year":2025,"more":1}', "schema_invalid"),
        (b'{"year":"2025"}', "schema_invalid"),
        (b"{}", "schema_invalid"),
        (b'{"year":1,"year":2}', "seal_invalid"),
        (b'{"year":9007199254740993}', "seal_invalid"),
        (b"{", "seal_invalid"),
    ):
        with pytest.raises(MeshError, match=code):
            INCOME.decode_query(text)


def test_a_node_offers_what_its_class_and_bases_serve() -> None:
    class Office(Node):
        @serves(INCOME)
        async def income(self, query: Query, caller: Caller, person: str) -> Income:
            return Income()

        @receives(BIRTH)
        async def birth(self, event: Any, caller: Caller, person: str) -> None: ...

    class Branch(Office):
        @serves(PLACES)
        async def places(self, query: Query, caller: Caller) -> Answer:
            return Answer()

        @serves(INCOME)
        async def other_income(self, query: Query, caller: Caller, person: str) -> Income:
            return Income()

    own = set(declarations_of(Node))
    assert set(Office.offers()) == own | {INCOME.name}
    assert set(Branch.offers()) == own | {INCOME.name, PLACES.name}
    assert Office.takes() == Branch.takes() == (BIRTH.name,)
    assert declarations_of(Branch)[INCOME.name] == (INCOME, "other_income")
    assert list(Branch.declarations) == sorted(Branch.declarations)


async def _asked(self: Any, query: Query, caller: Caller) -> Answer: ...


async def _about_a_person(self: Any, query: Query, caller: Caller, person: str) -> Answer: ...


def _at_once(self: Any, query: Query, caller: Caller) -> Answer: ...


@pytest.mark.parametrize(
    ("mark", "method", "says"),
    [
        (serves(PLACES), _at_once, "write it as async def"),
        (serves(PLACES), _about_a_person, r"it takes \(self, query, caller\)"),
        (serves(INCOME), _asked, r"it takes \(self, query, caller, person\)"),
        (
            receives(EventType("t.x.v1", title="x", title_ja="x")),
            _asked,
            r"it takes \(self, push, caller, person\)",
        ),
    ],
)
def test_a_method_that_could_not_be_called_is_not_declared(mark: Any, method: Any, says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        mark(method)


def test_a_service_is_served_and_a_push_received() -> None:
    push: Any = EventType("t.x.v1", title="x", title_ja="x")
    question: Any = PLACES
    with pytest.raises(DeclarationError, match="a push is for @receives"):
        serves(push)
    with pytest.raises(DeclarationError, match="a service is for @serves"):
        receives(question)


def test_two_methods_of_a_class_are_not_for_one_service() -> None:
    """The second would silently take the first one's place; a subclass may."""

    class Office:
        @serves(PLACES)
        async def first(self, query: Query, caller: Caller) -> Answer: ...

    class Better(Office):
        @serves(PLACES)
        async def other(self, query: Query, caller: Caller) -> Answer: ...

    class Double(Office):
        @serves(PLACES)
        async def one(self, query: Query, caller: Caller) -> Answer: ...

        @serves(PLACES)
        async def two(self, query: Query, caller: Caller) -> Answer: ...

    assert declarations_of(Better)[PLACES.name] == (PLACES, "other")
    with pytest.raises(DeclarationError, match="are both for"):
        declarations_of(Double)


def test_questions_and_answers_are_of_the_declared_types_generic_ones_too() -> None:
    paged = Service("t.paged.v1", Page[int], Page[Answer], title="Pages", title_ja="頁")
    paged.check_query(Page(1))
    assert paged.disclosed(Page(Answer()), frozenset()) == Page(Answer())
    with pytest.raises(TypeError, match=r"t\.paged\.v1 is asked with Page, not Query"):
        paged.check_query(Query(2026))
    with pytest.raises(TypeError, match=r"t\.paged\.v1 is answered with Page, not dict"):
        paged.disclosed({"of": Answer()}, frozenset())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "JOHNSON MARIA DEL CARMEN GUADALUPE DE LA SANTISIMA TRINIDAD Y TODOS LOS SANTOS",
        "A" * 200,
        "第7保育園 2号館",
        "電話 0157-23-7111",
        "12345678901 と 12345",
        "令和8年4月1日",
    ],
)
def test_a_name_holds_what_registers_hold(text: str) -> None:
    assert msgspec.convert(text, Name) == text
    check_entry("the name", text, Name)


@pytest.mark.parametrize(
    "text",
    [
        "A" * 201,
        "123456789018",
        "花子 123456789018",
        "花子\n１２３４－５６７８－９０１８",
        "1234 5678 9018",
        "12345678901234567890",
    ],
)
def test_a_name_holds_no_twelve_digits_in_a_row(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Name)
    with pytest.raises(UsageError, match=r"^the name cannot be entered.*expected str") as caught:
        check_entry("the name", text, Name)
    assert "花子" not in str(caught.value)
