"""What a report says of a run follows from what happened: papers, pushes, the story, refusals, and how old an answer is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Struct, UnsetType
from rich.console import Console

import nodes
from mesh import (
    Caller,
    FromCopy,
    LegalBasis,
    MeshError,
    Node,
    NotFound,
    NoticeType,
    Paper,
    PersonalService,
    Replacement,
    Simulation,
    UsageError,
    instant,
    scenario,
    serves,
)
from mesh.cli.rendering import render
from mesh.ledger import Row, read_row
from mesh.loading import modules_of, node_classes, plans_of, scenarios_of
from mesh.papers import visits_of
from mesh.report import Report, Result
from mesh.runner import run_scenario
from mesh.service import Name, Push
from mesh.testing import simulation
from mesh.trace.reader import Trace
from mesh.trace.schema import _FORMAT_1
from nodes.municipality.assembly import assemble
from nodes.municipality.public_assistance import PublicAssistance
from scenarios.child_allowance import run as child_allowance
from tests.conftest import Shipped

SCENARIOS = scenarios_of("scenarios")
DECLARED = {
    name: declaration
    for cls in node_classes([*modules_of("nodes"), *modules_of("scenarios")])
    for name, (declaration, _) in cls.declarations.items()
}
PUSHES = {name for name, one in DECLARED.items() if isinstance(one, Push)}


def rows_of(trace: Trace) -> Iterator[tuple[str, Row]]:
    return ((one.party, read_row(one.row)) for one in trace.ledger())


def settled(result: Result, trace: Trace, without: frozenset[str] = frozenset()) -> Report:
    """The report of a run again, as if rows of these exchanges had never been recorded."""
    codes = {(handle, member): code for handle, member, code in trace.residents()}
    rows = [
        # A row keeps its number: claims say up to which one they look.
        (party, row) if row.id not in without else ("", Row("mark", 0, "", ""))
        for party, row in rows_of(trace)
    ]
    made = Report(claims=result.report.claims, invitations=result.report.invitations)
    made.settle(rows, lambda member, handle: codes.get((handle, member)), PUSHES)
    return made


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_paper_rests_on_rows_of_the_ledgers_and_falls_with_them(
    name: str, shipped: Callable[[str], Shipped]
) -> None:
    run = shipped(name)
    report = run.result.report
    with Trace.open(run.trace) as trace:
        again = settled(run.result, trace)
        assert (again.papers, again.push) == (report.papers, report.push)
        assert again.visits_saved == report.visits_saved == visits_of(report.papers)
        given = {
            row.id: row
            for party, row in rows_of(trace)
            if (row.entry, row.code, row.provider) == ("answered", None, party)
        }
        assert all(one.messages and all(id_ in given for id_ in one.messages) for one in report.papers)
        names = {way.service for claim in report.claims for way in claim.paper.replaced_by}
        names |= {said for one in report.invitations for said in one.services}
        gone = settled(run.result, trace, frozenset(row.id for row in given.values() if row.service in names))
        assert gone.papers == []
        assert len(gone.fallbacks) == len(report.claims)
        assert (gone.push.notified, gone.push.accepted, gone.push.declined, gone.push.mistaken) == (
            0,
            0,
            0,
            0,
        )
        one = next(iter(report.papers), None)
        if one is not None:
            fewer = settled(run.result, trace, frozenset(one.messages))
            assert one.messages not in [other.messages for other in fewer.papers]


def test_nothing_is_saved_while_nobody_answers() -> None:
    result = run_scenario(child_allowance, faults=plans_of("scenarios")["city_offline"], nodes="nodes")
    report = result.report
    assert (report.papers, report.fees_saved_yen, report.visits_saved) == ([], 0, 0)
    assert {one.code for one in report.fallbacks} == {"recipient_unreachable", None}
    lines = "\n".join(result.as_lines())
    assert "refused before / 直前の拒否: #" in lines
    assert "tax.income.v1 recipient_unreachable" in lines


# The story.


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks."""


class Fact(FromCopy, frozen=True):
    """What a copy says."""

    fact: Name | UnsetType = UNSET


class Letter(Struct, frozen=True):
    """What is written."""

    text: Name


FACT = PersonalService("test.fact.v1", Query, Fact, title="Fact", title_ja="事実")
LETTER = NoticeType("test.letter.v1", Letter, title="Letter", title_ja="手紙")
SLIP = Paper("Slip", "票", "desk", "窓口", 300, "illustrative", replaced_by=(Replacement(FACT.name),))
KEEPER, ASKER = "muni/28100/keeper", "muni/01208/asker"
COPIED_US = 1_775_000_000_000_000


class Keeper(Node):
    """Answers from a copy."""

    zone = "mynumber"

    @serves(FACT)
    async def fact(self, query: Query, caller: Caller, person: str) -> Fact:
        """The fact, from the copy."""
        return Fact(fact="yes", as_of=instant(COPIED_US))


class Asker(Node):
    """Asks."""

    zone = "mynumber"


def world(sim: Simulation) -> tuple[Asker, str, str]:
    sim.add(Keeper, KEEPER)
    sim.add(Asker, ASKER)
    sim.allow(LegalBasis(ASKER, "task", KEEPER, FACT.name, ("fact",), "illustrative"))
    resident = sim.resident("12345678901")
    return sim.node(ASKER, Asker), resident, sim.code("muni/01208", resident)


@scenario(title="Told", title_ja="語る", rules=(1,), sources=("illustrative",))
async def told(sim: Simulation, *, fail: bool = False) -> None:
    """Two sentences, one refused push, one refused question that nobody expected."""
    asker, resident, person = world(sim)
    ask: dict[str, Any] = {"subject": person, "procedure": "task"}
    await asker.ask(KEEPER, FACT, Query(), **ask)
    sim.tell("First.", "一。")
    await asyncio.gather(*(asker.ask(KEEPER, FACT, Query(), **ask) for _ in range(2)))
    sim.saved(SLIP, resident)
    sim.expect("It begins well", True, text_ja="始まりはよい")
    with sim.refused("no_legal_basis", "Another task is refused", text_ja="別の事務は拒否される"):
        await asker.ask(KEEPER, FACT, Query(), subject=person, procedure="other")
    try:
        await asker.ask(KEEPER, FACT, Query(), subject=person, procedure="unforeseen")
    except MeshError:
        sim.tell("Nobody foresaw it.", "予期しなかった。")
    asker.notify(LETTER, KEEPER, Letter("hello"), subject=person, procedure="task")
    await sim.sleep(5)
    sim.tell("Second.", "二。")
    sim.expect("It ends well", not fail, text_ja="終わりもよい")


def test_each_sentence_owns_the_messages_since_the_one_before(tmp_path: Path) -> None:
    result = run_scenario(told, trace=tmp_path / "told.trace")
    first, second, third = result.report.story
    assert first.messages == ((0, 3),)
    assert second.messages == ((4, 15),)
    assert third.messages == ((16, result.messages - 1),)
    assert result.as_json()["story"][0] == {"text": "First.", "text_ja": "一。", "messages": [[0, 3]]}
    with Trace.open(tmp_path / "told.trace") as trace:
        assert list(trace.story()) == [first, second, third]
    assert run_scenario(told).report.story == [first, second, third], "also where tasks run beside each other"


async def test_a_sentence_may_be_given_its_messages() -> None:
    with simulation() as sim:
        asker, _, person = world(sim)
        ids = []
        for _ in range(3):
            await asker.ask(KEEPER, FACT, Query(), subject=person, procedure="task")
            ids.append(
                next(
                    r.id
                    for r in map(read_row, list(asker.host.store.ledger_rows())[::-1])
                    if r.entry == "opened"
                )
            )
        sim.tell("The second.", "二番目。", about=[ids[1]])
        sim.tell("The others.", "残り。")
        assert [one.messages for one in sim.report.story] == [((4, 7),), ((0, 3), (8, 11))]
        with pytest.raises(UsageError, match="no message was sent with the id nobody"):
            sim.tell("None.", "なし。", about=["nobody"])


def test_a_trace_of_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "told.trace"
    run_scenario(told, trace=path)
    db = sqlite3.connect(path)
    db.executescript(
        "DROP TABLE story; CREATE TEMP TABLE kept AS SELECT number, text, text_ja, held, message FROM expectation;"
        "CREATE TEMP TABLE sent AS SELECT * FROM transmission; ALTER TABLE sent DROP COLUMN gate;"
        f"DROP TABLE expectation; DROP TABLE transmission; {_FORMAT_1}"
        "INSERT INTO expectation SELECT * FROM kept; INSERT INTO transmission SELECT * FROM sent;"
        "UPDATE meta SET value = '1' WHERE key = 'format';"
        'INSERT INTO epilogue VALUES (\'story\', \'[{"text": "Old.", "text_ja": "旧。"}]\');'
    )
    db.commit()
    db.close()
    with Trace.open(path) as trace:
        assert [(one.text, one.messages) for one in trace.story()] == [("Old.", ())]
        assert next(one.text for one in trace.expectations()) == "It begins well"


# Refusals.


def test_a_refused_push_is_in_the_report_piped_and_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_scenario(told)
    (one,) = result.refused_pushes
    assert (one.service, one.code, one.to) == (LETTER.name, "service_unknown", ASKER)
    plain = "\n".join(result.as_lines())
    assert f"Refused pushes / 拒否されたプッシュ\n  #{one.index} {LETTER.name} service_unknown" in plain
    assert result.as_json()["refused_pushes"] == [one.as_json()]
    render(result, Console(width=200))
    assert f"#{one.index} {LETTER.name} service_unknown" in capsys.readouterr().out


def test_a_failed_expectation_points_to_what_nobody_expected_since_the_last_that_held() -> None:
    result = run_scenario(told, settings={"fail": True})
    failing = result.as_json()["expectations"][-1]
    assert [(one["service"], one["code"]) for one in failing["refusals"]] == [
        (FACT.name, "no_legal_basis"),
        (LETTER.name, "service_unknown"),
    ]
    expected = [one for one in result.refused if one.expected]
    assert [one.code for one in expected] == ["no_legal_basis"]
    assert expected[0].index not in [one["index"] for one in failing["refusals"]]
    assert "refusals" not in result.as_json()["expectations"][0]
    assert "\n".join(result.as_lines()).count("refused before / 直前の拒否: #") == 2
    assert run_scenario(told).as_lines().count("refused before") == 0


# As of when.


async def test_an_answer_from_a_copy_says_as_of_when_whatever_was_asked() -> None:
    with simulation() as sim:
        asker, _, person = world(sim)
        answer = await asker.ask(KEEPER, FACT, Query(), subject=person, procedure="task", items=("fact",))
        assert (answer.fact, answer.as_of) == ("yes", instant(COPIED_US))
        assert FACT.from_copy
        assert FACT.items == ("fact",), (
            "it is no item that could be left out, or that a row of law would need"
        )
        rows = map(read_row, sim.node(KEEPER).host.store.ledger_rows())
        assert {row.items for row in rows if row.entry == "answered"} == {"fact"}


async def test_a_copy_keeps_its_time_when_the_original_changes() -> None:
    with simulation() as sim:
        nodes.establish(sim)
        office = assemble(sim, "01208", "public-assistance").node(PublicAssistance)
        person = sim.code("muni/01208", sim.resident("12345678901"))
        office.grant([person], "2026-01", ("living",))
        await sim.sleep(3600)
        office.register_replica(person)
        registered = instant(sim.now_us())
        await sim.sleep(3600)
        office.end(person)
        copy = office.file.answer(person)
        assert (copy.receiving, copy.as_of) == (True, registered)
        with pytest.raises(NotFound):
            office.file.answer(sim.code("muni/01208", sim.resident("10987654321")))
