"""An author's class cannot break the engine: a name of the engine's is refused when the class is made."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from mesh import Caller, EventType, Node, NoticeType, Service, serves
from mesh.broker import Broker
from mesh.endpoint import Endpoint
from mesh.errors import UsageError
from mesh.names import BROKER
from mesh.reserved import HOOKS, METHODS, TEXTS
from mesh.service import DeclarationError
from mesh.testing import simulation

ADDRESS = "muni/01208/office"


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Reply(Struct, frozen=True):
    places: int


PLACES = Service("t.places.v1", Query, Reply, title="Places", title_ja="空き")
CHANGED = EventType("t.changed.v1", title="Changed", title_ja="変更")
LETTER = NoticeType("t.letter.v1", Query, title="Letter", title_ja="手紙")

ENGINE = sorted(
    {name for cls in (Endpoint, Node) for name in vars(cls) if not name.startswith("__")} - HOOKS
    | {"host", "address", "member", "db", "_methods", "_party", "_admitted", "_effect", "_pump_us"}
)


@pytest.mark.parametrize("name", ENGINE)
def test_every_name_of_the_engine_is_refused_in_an_authors_class(name: str) -> None:
    with pytest.raises(DeclarationError, match=rf"Office\.{name} .*call it something else"):
        type("Office", (Node,), {name: 1})


def test_a_method_a_handler_and_a_mixed_in_class_are_refused_alike() -> None:
    with pytest.raises(DeclarationError, match=r"_begin"):

        class Beginning(Node):
            def _begin(self) -> None:
                """Opens the office's day."""

    with pytest.raises(DeclarationError, match=r"\.receive "):

        class Receiving(Node):
            @serves(PLACES)
            async def receive(self, query: Query, caller: Caller) -> Reply:
                return Reply(1)

    class Kinds:
        kinds = ("dog", "cat")

    with pytest.raises(DeclarationError, match=r"Kinds\.kinds"):

        class Mixed(Kinds, Node):
            pass

    with pytest.raises(DeclarationError, match=r"Broker|authoriser"):

        class Another(Broker):
            authoriser = None


def test_what_a_method_sets_on_itself_is_refused_too() -> None:
    with pytest.raises(DeclarationError, match=r"Office\._methods "):

        class Office(Node):
            def start(self) -> None:
                self._methods = ["post", "desk"]  # type: ignore[dict-item,assignment]

    with pytest.raises(DeclarationError, match=r"Inner\.host "):

        class Inner(Node):
            def start(self) -> None:
                def later() -> None:
                    self.host = None  # type: ignore[assignment]

                later()


def test_names_of_its_own_are_the_authors() -> None:
    class Office(Node):
        title, title_ja, zone, schema = "Office", "窓口", "mynumber", "CREATE TABLE t(a)"
        places, items, store, open = 3, (), None, True

        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.seen = [self.host.address]

        def start(self) -> None:
            entry = type("Entry", (), {})()
            entry.host = entry.kinds = 1  # Of something else.
            self.places = 4

        def log(self, error: Exception) -> None:
            self.seen.append(str(error))

        @serves(PLACES)
        async def free(self, query: Query, caller: Caller) -> Reply:
            return Reply(self.places)

    class Branch(Office):
        places = 5

    assert set(TEXTS) | set(METHODS) == HOOKS
    assert Branch.declarations["t.places.v1"][1] == "free"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("zone", 3),
        ("title", None),
        ("schema", b"x"),
        ("start", 1),
        ("start", lambda: None),
        ("log", lambda self: None),
    ],
)
def test_a_hook_that_the_mesh_could_not_use_is_refused(name: str, value: object) -> None:
    with pytest.raises(DeclarationError, match=rf"Office\.{name} is "):
        type("Office", (Node,), {name: value})


def test_a_start_that_nobody_would_await_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"write def start\(self\), not async"):

        class Office(Node):
            async def start(self) -> None:  # type: ignore[override]
                """Never awaited."""


async def test_a_setting_of_one_node_is_no_name_of_the_engine_either() -> None:
    class Office(Node):
        places = 3

        @serves(PLACES)
        async def free(self, query: Query, caller: Caller) -> Reply:
            return Reply(self.places)

    with simulation() as sim:
        for name in ("ask", "zone", "title", "free", "_methods"):
            with pytest.raises(UsageError, match=name):
                sim.add(Office, ADDRESS, **{name: "x"})
        sim.add(Office, ADDRESS, places=4)
        sim.add(Node, "muni/01208/desk")
        assert (await sim.node("muni/01208/desk").ask(ADDRESS, PLACES, Query(1))).places == 4


async def test_a_broker_says_at_the_call_that_it_cannot_ask_or_push() -> None:
    with simulation() as sim:
        broker = sim.node(BROKER)
        for call in (
            lambda: broker.ask(ADDRESS, PLACES, Query(1)),
            lambda: broker.publish(CHANGED, "x"),
            lambda: broker.notify(LETTER, ADDRESS, Query(1), subject="x", procedure="p"),
            lambda: broker.hide("x", (), procedure="p"),
        ):
            with pytest.raises(UsageError, match="not for a broker"):
                call()
