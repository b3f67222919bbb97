"""What an author of a scenario or a node gets wrong is said where it stands, in one line, and by its type alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from mesh import (
    Caller,
    EventType,
    LegalBasis,
    Node,
    NoticeType,
    PersonalService,
    Service,
    Simulation,
    UsageError,
    receives,
    scenario,
    serves,
)
from mesh.loading import scenario_of_file
from mesh.runner import run_scenario
from mesh.scenario import Scenario
from mesh.service import Word
from nodes.data import table

DESK, OFFICE = "muni/01208/desk", "muni/28100/office"


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """Says nothing."""


class Note(Struct, frozen=True):
    """A word."""

    word: Word


ECHO = Service("t.echo.v1", Empty, Empty, title="Echo", title_ja="反響")
FACTS = PersonalService("t.facts.v1", Empty, Note, title="Facts", title_ja="事実")
NOTE = NoticeType("t.note.v1", Note, title="Note", title_ja="通知")
CHANGED = EventType("t.changed.v1", title="Changed", title_ja="変更")


class Office(Node):
    """Answers."""

    @serves(ECHO)
    async def echo(self, query: Empty, caller: Caller) -> Empty:
        return Empty()

    @serves(FACTS)
    async def facts(self, query: Empty, caller: Caller, person: str) -> Note:
        return Note("a")

    @receives(NOTE)
    async def note(self, body: Note, caller: Caller, person: str) -> None:
        """Takes it."""

    @receives(CHANGED)
    async def changed(self, push: Any, caller: Caller, person: str) -> None:
        """Takes it."""


def said(act: Callable[[Any], Any]) -> str:
    """What a run says of one wrong act."""

    @scenario(title="t", title_ja="試")
    async def run(sim: Simulation) -> None:
        sim.add(Office, DESK)
        sim.add(Office, OFFICE)
        sim.allow(LegalBasis("muni/*/desk", "relief", "muni/*/office", NOTE.name, ("word",)))
        done = act(sim)
        if asyncio.iscoroutine(done):
            await done
        sim.expect("it went on", True)

    with pytest.raises(UsageError) as caught:
        run_scenario(run)
    text = str(caught.value)
    assert "\n" not in text
    assert "; " in text, "what is wrong; how to mend it"
    return text


async def ask(
    sim: Simulation, to: Any = OFFICE, service: Any = ECHO, query: Any = None, **options: Any
) -> Any:
    node: Any = sim.node(DESK)
    return await node.ask(to, service, Empty() if query is None else query, **options)


def notify(sim: Simulation, notice: Any = NOTE, to: Any = OFFICE, body: Any = None, **options: Any) -> Any:
    node: Any = sim.node(DESK)
    return node.notify(
        notice, to, Note("a") if body is None else body, **{"subject": "c", "procedure": "relief"} | options
    )


def publish(sim: Simulation, event: Any, subject: Any = "c", **options: Any) -> Any:
    node: Any = sim.node(DESK)
    return node.publish(event, subject, **options)


async def forgets_await(sim: Simulation) -> None:
    sim.node(DESK).ask(OFFICE, ECHO, Empty())  # type: ignore[unused-coroutine]
    await sim.sleep(1)


async def forgets_sleep(sim: Simulation) -> None:
    sim.sleep(1)  # type: ignore[unused-coroutine]


async def expects_a_coroutine(sim: Any) -> None:
    sim.expect("it echoes", sim.node(DESK).ask(OFFICE, ECHO, Empty()))


def allows(*values: Any, **more: Any) -> Callable[[Any], None]:
    def act(sim: Any) -> None:
        fields = ("muni/*/desk", "relief", "muni/*/office", ECHO.name, ())
        sim.allow(LegalBasis(*values, *fields[len(values) :], **more))  # type: ignore[misc]

    return act


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "crash nobody": (lambda sim: sim.crash("muni/01208/tax"), "there is none at muni/01208/tax; enrol it"),
    "restart nobody": (lambda sim: sim.restart("muni/01208/tax"), "there is none at muni/01208/tax"),
    "skew nobody": (lambda sim: sim.skew("muni/01208/tax", 1), "there is none at muni/01208/tax"),
    "offline nobody": (lambda sim: sim.offline("muni/01208/tax"), "there is none at muni/01208/tax"),
    "crash a node": (lambda sim: sim.crash(sim.node(DESK)), f"name its address, {DESK!r}"),
    "skew for ever": (lambda sim: sim.skew(OFFICE, nan), "skew takes an offset in seconds"),
    "offline alone": (lambda sim: sim.offline(OFFICE), f"sim.offline({OFFICE!r}) had no effect; write: with"),
    "refused alone": (lambda sim: sim.refused("timeout", "t"), "sim.refused('timeout', …) had no effect; write: with"),
    "expect a coroutine": (expects_a_coroutine, "not the coroutine Node.ask; write await in front of it"),
    "expect a number": (lambda sim: sim.expect("t", 3), "True or False, not an int; compare it"),
    "expect a list": (lambda sim: sim.expect("t", [OFFICE]), "True or False, not a list"),
    "expect nothing": (lambda sim: sim.expect(True, True), "what is expected as text, not a bool"),
    "no await": (forgets_await, "Node.ask was called and not awaited (test_wrong_use.py, line"),
    "no await of sleep": (forgets_sleep, "Simulation.sleep was called and not awaited (test_wrong_use.py, line"),
    "sleep nan": (lambda sim: sim.sleep(nan), "sleep takes a time in seconds, finite and not below 0, not nan"),
    "sleep inf": (lambda sim: sim.sleep(inf), "sleep takes a time in seconds"),
    "sleep back": (lambda sim: sim.sleep(-1), "sleep takes a time in seconds"),
    "sleep text": (lambda sim: sim.sleep("5"), "a time in seconds, not a str"),
    "sleep too long": (lambda sim: sim.sleep(1e12), "end before the year 10000, not 1000000000000.0; sleep less"),
    "ask a name": (lambda sim: ask(sim, service=ECHO.name), "ask takes a Service or PersonalService, not a str"),
    "ask a node": (lambda sim: ask(sim, to=sim.node(OFFICE)), f"name its address, {OFFICE!r}"),
    "ask nowhere": (lambda sim: ask(sim, to="kobe"), "an address, and 'kobe' is none; write kind/code/system"),
    "ask text items": (
        lambda sim: ask(sim, service=FACTS, subject="c", procedure="relief", items="word"),
        "items as a list of names, not one text; write ['word']",
    ),
    "ask no such item": (
        lambda sim: ask(sim, service=FACTS, subject="c", procedure="relief", items=["words"]),
        "there is no item 'words'; there are: word",
    ),
    "ask about an object": (
        lambda sim: ask(sim, service=FACTS, subject=object(), procedure="relief"),
        "the subject as text, not an object",
    ),
    "ask backwards": (lambda sim: ask(sim, timeout_s=-1), "timeout_s in seconds, finite and not below 0, not -1"),
    "ask never": (lambda sim: ask(sim, timeout_s=nan), "timeout_s in seconds"),
    "ask no times": (lambda sim: ask(sim, attempts=0), "attempts from 1 up, not 0"),
    "publish a notice": (lambda sim: publish(sim, NOTE), "publish takes an EventType, not a NoticeType"),
    "publish a name": (lambda sim: publish(sim, CHANGED.name), "publish takes an EventType, not a str"),
    "publish about nobody": (lambda sim: publish(sim, CHANGED, None), "the subject as text, not a NoneType"),
    "publish a text version": (
        lambda sim: publish(sim, CHANGED, data_version="1"),
        "data_version as a whole number, not a str",
    ),
    "notify an event": (lambda sim: notify(sim, CHANGED), "notify takes a NoticeType, not an EventType"),
    "notify a node": (lambda sim: notify(sim, to=sim.node(OFFICE)), f"name its address, {OFFICE!r}"),
    "notify about nobody": (lambda sim: notify(sim, subject=None), "the subject as text, not a NoneType"),
    "add a node": (lambda sim: sim.add(sim.node(DESK), "muni/01208/tax"), "a class made from Node, not an Office"),
    "add a class": (lambda sim: sim.add(Struct, "muni/01208/tax"), "a class made from Node, not the class Struct"),
    "add the other way": (lambda sim: sim.add("muni/01208/tax", Office), "a class made from Node, not a str"),
    "add nowhere": (lambda sim: sim.add(Office, 3), "add takes an address, not an int"),
    "allow a tuple": (lambda sim: sim.allow(("a", "b")), "allow takes a LegalBasis, not a tuple"),
    "allow a path": (lambda sim: sim.allow_path("lgwan"), "allow_path takes a ZonePath, not a str"),
    "row with a service": (allows("muni/*/desk", "relief", "muni/*/office", ECHO), f"not a Service; write {ECHO.name!r}"),
    "row with one text": (
        allows("muni/*/desk", "relief", "muni/*/office", ECHO.name, "word"),
        "items as a list of names, not one text",
    ),
    "row about nothing": (
        allows("muni/*/desk", "relief", "muni/*/office", "t.ecko.v1"),
        "nobody enrolled offers or takes 't.ecko.v1'; did you mean t.echo.v1?",
    ),
    "row for no item": (
        allows("muni/*/desk", "relief", "muni/*/office", FACTS.name, ("wort",)),
        "there is no item 'wort'; there are: word",
    ),
    "tell nothing": (lambda sim: sim.tell("a", None), "a sentence in Japanese as text, not a NoneType"),
    "transmit a text": (lambda sim: sim.transmit(DESK, OFFICE, "line"), "a line as bytes, not a str"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_it_is_said_in_one_line(name: str) -> None:
    act, text = WRONG[name]
    assert text in said(act)


def test_the_line_names_its_place() -> None:
    assert "(test_wrong_use.py, line " in said(lambda sim: sim.expect("t", 3))


def test_a_body_of_another_type_is_the_wrong_type_of_its_notice() -> None:
    @scenario(title="t", title_ja="試")
    async def run(sim: Simulation) -> None:
        sim.add(Office, DESK)
        sim.add(Office, OFFICE)
        notify(sim, body=Empty())

    assert "t.note.v1 carries Note, not Empty" in (run_scenario(run).error or "")


def test_a_right_run_says_nothing_of_it() -> None:
    @scenario(title="t", title_ja="試")
    async def run(sim: Simulation) -> None:
        sim.add(Office, DESK)
        sim.add(Office, OFFICE)
        with sim.offline(OFFICE), sim.refused("recipient_unreachable", "away"):
            await ask(sim, attempts=1)
        sim.expect("it echoes", await ask(sim) == Empty())

    result = run_scenario(run)
    assert (result.held, result.error) == (True, None)


def declare(**changes: Any) -> Scenario:
    async def run(sim: Simulation, *, days: int = 1) -> None:
        """Nothing."""

    values: dict[str, Any] = {"title": "t", "title_ja": "試"} | changes
    return scenario(**values)(run)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"title": ""}, "title as text, not an empty one"),
        ({"title_ja": 3}, "title_ja as text, not an int"),
        ({"rules": 4}, "rules as a tuple of numbers, not an int"),
        ({"rules": ("4",)}, "each of rules as a whole number, not a str"),
        ({"sources": "重点計画"}, "sources as a list of names, not one text"),
        ({"starts": 2026}, "starts as text, or as a dict"),
        (
            {"starts": {"2024-09": "2024-09-01T09:00+09:00"}},
            "run has a setting rules whose default is one of 2024-09",
        ),
    ],
)
def test_a_declaration_says_what_is_wrong(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        declare(**changes)
    assert text in str(caught.value)


def test_a_scenario_is_declared_once_and_by_name() -> None:
    once = declare()
    again: Any = scenario(title="t", title_ja="試")
    with pytest.raises(UsageError, match="is a scenario already"):
        again(once)
    bare: Any = scenario
    with pytest.raises(UsageError, match="takes its arguments by name"):
        bare("t", title="t", title_ja="試")


@dataclass(frozen=True)
class File:
    folder: Path

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


TWO = """
from mesh import Simulation, scenario

@scenario(title="a", title_ja="あ")
async def first(sim: Simulation) -> None:
    sim.expect("t", True)

@scenario(title="b", title_ja="い")
async def second(sim: Simulation) -> None:
    sim.expect("t", True)
"""


def test_two_scenarios_of_one_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"declares 2 scenarios \(first, second\); give each a file of its own"
    ):
        scenario_of_file(File(tmp_path).write("two_scenarios_here.py", TWO))


def test_a_scenario_that_is_imported_is_not_the_files_own(tmp_path: Path) -> None:
    files = File(tmp_path)
    files.write("wrong_use_other.py", TWO.partition('@scenario(title="b"')[0])
    own = files.write(
        "wrong_use_own.py",
        "from wrong_use_other import first\n"
        + TWO.partition('@scenario(title="a"')[0]
        + "@scenario"
        + TWO.rpartition("@scenario")[2],
    )
    assert scenario_of_file(own).title == "b"


class TestTables:
    def read(self, folder: Path, data: bytes) -> list[str]:
        path = folder / "rows.csv"
        path.write_bytes(data)
        return [row.text("name") for row in table.read_table(path, ("name", "yen"))]

    def test_a_byte_order_mark_is_no_part_of_the_first_column(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, "\ufeffname,yen\n住民票,300\n".encode()) == ["住民票"]

    @pytest.mark.parametrize(
        ("encoding", "text"), [("cp932", "reads as Shift_JIS (cp932)"), ("utf-16", "is UTF-16")]
    )
    def test_another_encoding_is_named(self, tmp_path: Path, encoding: str, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            self.read(tmp_path, "name,yen\n住民票,300\n".encode(encoding))
        assert text in str(caught.value)
        assert "save it as UTF-8" in str(caught.value)
