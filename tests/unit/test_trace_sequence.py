"""The sequence in text, and rows as somebody sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import UsageError
from mesh.message import Kind
from mesh.trace.reader import Trace
from mesh.trace.seen import full_seen, see
from mesh.trace.sequence import ASCII, PAGE_ROWS, UNICODE, draw
from mesh.trace.show import Filter, full, rows
from mesh.trace.text import format_full, format_line
from tests.helpers_trace import BROKER, CITY, RESIDENTS, TAX, make_trace


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trace]:
    with Trace.open(make_trace(tmp_path_factory.mktemp("trace") / "story.trace")) as opened:
        yield opened


def row(index: int, sender: str, recipient: str, **more: Any) -> dict[str, Any]:
    return {
        "index": index, "time_us": 5000 * index, "arrived_us": 5000 * index + 5000, "id": f"id-{index}",
        "kind": "request", "from": sender, "to": recipient, "service": "tax.income.v1", "code": None,
        "refused": False, "fate": "delivered", "jws": "", "permit": None,
    } | more  # fmt: skip


def drawn(rows: list[dict[str, Any]], **how: Any) -> list[str]:
    """The lines below the legend and the heads."""
    return [line for line in draw(rows, **({"width": 120} | how)) if line[:6].strip().isdigit()]


def test_every_kind_has_its_own_form() -> None:
    kinds = [row(n, CITY, BROKER, id=None, kind=kind) for n, kind in enumerate((*vars_of_kinds(), ""))]
    permitted = [one | {"permit": "x"} for one in kinds[:1] + kinds[3:4]]
    fates = [kinds[0] | {"fate": fate} for fate in ("dropped", "unreachable", "in-flight")]
    refused = [kinds[0] | {"refused": True}]
    for pen in (UNICODE, ASCII):
        lines = [line[24:72] for line in drawn([*kinds, *permitted, *fates[:2], *refused], pen=pen)]
        # An event and a notice share a form: both are pushes.
        assert len(set(lines)) == len(lines) - 1
        assert (
            drawn([kinds[0], kinds[0] | {"id": "a"}, kinds[0] | {"id": "a"}], pen=pen)[2].count(pen.again)
            == 1
        )
        # What points or begins to the left is the mirror of what the legend shows.
        known = pen.legend() + pen.life + "".join(form[3] for form in (pen.ask, pen.push)) + pen.unread
        assert all(mark in known for line in lines for mark in set(line) - {" "})


def vars_of_kinds() -> tuple[str, ...]:
    return Kind.REQUEST, Kind.REPLY, Kind.REFUSAL, Kind.EVENT, Kind.NOTICE, Kind.RECEIPT


def test_what_is_lost_does_not_reach_and_what_is_refused_says_so(trace: Trace) -> None:
    lines = drawn(list(rows(trace)))
    by = {one["fate"]: lines[one["index"]] for one in rows(trace)}
    assert re.fullmatch(r" +0 +\+00:00\.000000 +├─+▶│ +│ +tax\.income\.v1", lines[0])
    assert "╳" in by["unreachable"]
    assert "dropped" in by["dropped"]
    assert "⊘" in lines[12]
    assert "no_legal_basis" in lines[12]
    assert "↻" in "".join(lines)


def test_heads_repeat_and_stand_over_their_columns(trace: Trace) -> None:
    lines = list(draw(rows(trace), width=120))
    heads = [number for number, line in enumerate(lines) if "┬" in line]
    assert len(heads) == -(-41 // PAGE_ROWS)
    ticks = [place for place, char in enumerate(lines[heads[0]]) if char == "┬"]
    for line in lines[heads[0] + 1 :][:PAGE_ROWS]:
        assert {line[place] for place in ticks} <= set("│├┤╞╡╳↻⊘─═╌┈·")
    assert "allowance" in "".join(lines[: heads[0]])


@pytest.mark.parametrize("width", [20, 80, 100, 120, 300])
@pytest.mark.parametrize("members", [False, True])
def test_no_line_is_wider_than_the_terminal(trace: Trace, width: int, members: bool) -> None:
    lines = list(draw(rows(trace), width=width, members=members))[1:]
    assert max(map(len, lines)) <= max(width, 80)
    assert sum(line[:6].strip().isdigit() for line in lines) == 41


def test_columns_fold_to_members(trace: Trace) -> None:
    lines = list(draw(rows(trace), width=120, members=True))
    head = "".join(lines[1 : [("┬" in line) for line in lines].index(True)])
    assert "muni/01208" in head
    assert "child" not in head


def test_where_columns_do_not_fit_nodes_share_one_and_the_label_names_them() -> None:
    city = [f"muni/01208/system-{n}" for n in range(9)]
    lines = list(draw([row(n, one, BROKER) for n, one in enumerate(city)], width=120))
    assert "muni/01208 (9)" in "".join(lines)
    assert "(system-4)" in "".join(lines)
    nation = [f"muni/{n:05}/notices" for n in range(25)]
    lines = list(draw([row(n, one, BROKER) for n, one in enumerate(nation)], width=120))
    assert "muni/*/notices (25)" in "".join(lines)
    assert "(00013)" in "".join(lines)
    # Nodes that share nothing: the page ends early.
    strangers = [row(n, f"firm/f-{n}/x-{n}", BROKER) for n in range(12)]
    lines = list(draw(strangers, width=120))
    assert sum("┬" in line for line in lines) == 3
    assert [int(line[:6]) for line in lines if line[:6].strip().isdigit()] == list(range(12))


def test_nothing_that_came_over_the_wire_breaks_a_line() -> None:
    hostile = "a\nb\x1b[31m\u202e</script>"
    for name in ("from", "to", "service", "code", "kind"):
        for line in draw([row(1, CITY, BROKER, **{name: hostile})], width=120):
            assert line.isprintable() or line == "", name
    long = "muni/01208/" + "x" * 400
    lines = list(draw([row(1, long, BROKER)], width=120))
    assert max(map(len, lines[1:])) <= 120
    assert len(lines) <= 15


def test_a_party_sees_its_own_rows_and_what_is_sealed_for_others(trace: Trace) -> None:
    whole = {one["index"]: one for one in see(trace, name="everything")}
    assert len(whole) == 41
    theirs = list(see(trace, name=TAX))
    assert {one["index"] for one in theirs} < set(whole)
    assert all(TAX in (one["from"], one["to"]) for one in theirs)
    asked = next(one for one in theirs if one["kind"] == "request")
    assert asked["sealed"] == ["subject"]
    assert asked["content"] == {"year": 2025}
    assert (asked["procedure"], asked["items"]) == ("child-allowance", ["income"])
    broker = next(one for one in see(trace, name=BROKER) if one["index"] == asked["index"])
    assert (broker["sealed"], broker["content"]) == (["data"], None)
    assert broker["subject"] is not None
    assert "[sealed: data]" in format_line(broker)
    json.dumps(theirs)


def test_a_sender_does_not_see_what_became_of_a_line_at_the_other_end(trace: Trace) -> None:
    (row_,) = [one for one in see(trace, name=CITY) if one["index"] == 12]
    assert (row_["fate"], row_["code"], row_["refused"], row_["arrived_us"]) == ("sent", None, False, None)
    (full_,) = full_seen(trace, "12", CITY)
    assert full_["checks"] == []
    assert "sent" in format_full(full_)
    (row_,) = [one for one in see(trace, name=CITY) if one["index"] == 13]
    assert row_["code"] == "no_legal_basis"
    assert [one["fate"] for one in see(trace, name=BROKER) if one["fate"] == "unreachable"]


def test_on_the_wire_there_are_lengths(trace: Trace) -> None:
    seen = list(see(trace, name="wire"))
    assert len(seen) == 41
    lengths = [
        len(one.message.line) + (0 if one.permit is None else 1 + len(one.permit.line))
        for one in trace.transmissions()
    ]
    assert [one["bytes"] for one in seen] == lengths
    for name in (
        "id",
        "kind",
        "service",
        "code",
        "says",
        "jws",
        "permit",
        "subject",
        "content",
        "procedure",
        "items",
    ):
        assert {json.dumps(one[name]) for one in seen} == {"null"}
    assert f"{lengths[3]:,} bytes" in drawn(seen)[3]
    with pytest.raises(UsageError, match="leave the filters out"):
        see(trace, Filter(kind="reply"), "wire")
    assert "jws" not in format_full(full_seen(trace, "3", "wire")[0])


def test_a_message_in_full_is_opened_for_who_can_open_it(trace: Trace) -> None:
    (one,) = full_seen(trace, "2", TAX)
    assert one["content"] == {"income": 500}
    assert "income           500" in format_full(one)
    (one,) = full_seen(trace, "2", BROKER)
    assert "  sealed: data" in format_full(one)
    assert one["attributes"] == full(trace, "2")[0]["attributes"]
    with pytest.raises(UsageError, match="does not have message 0"):
        full_seen(trace, "0", TAX)
    assert TAX not in (RESIDENTS, CITY)


def test_a_resident_reads_who_asked_and_no_bytes(shipped: Callable[[str], Any]) -> None:
    path: Path = shipped("child_allowance").trace
    with Trace.open(path) as opened:
        own = list(see(opened, name="r-000001"))
        assert own
        assert {(one["jws"], one["permit"]) for one in own} == {(None, None)}
        asked = next(one for one in own if one["kind"] == "request")
        (whole,) = full_seen(opened, str(asked["index"]), "r-000001")
        assert (whole["attributes"], whole["content"]) == ({}, None)
        assert asked["sealed"]


NAMES = {
    "muni/01208": ("Kitami City", "北見市"),
    CITY: ("Child allowance", "児童手当"),
    BROKER: ("Broker", "情報提供ネットワークシステム"),
}


def head(rows: list[dict[str, Any]], **how: Any) -> str:
    """The lines above the first row, without the legend."""
    lines = list(draw(rows, **({"width": 120} | how)))
    return "\n".join(lines[1 : next(at for at, line in enumerate(lines) if line[:6].strip().isdigit())])


def test_names_stand_above_addresses_where_they_have_room() -> None:
    rows = [row(0, CITY, BROKER), row(1, BROKER, TAX)]
    named = head(rows, names=NAMES)
    for text in ("Kitami City", "Child allowance", "Broker", "muni/28100/"):
        assert text in named
    assert "Kitami" not in head(rows)
    # A name of more lines than a head may have leaves the addresses as they were.
    long = NAMES | {CITY: ("very " * 80, "長い")}
    assert head(rows, names=long) == head(rows)


@pytest.mark.parametrize("name", ["北見市", "Kitami\u202eytiC", "a\nb\x1b[31m", "ｋｉｔａｍｉ"])
def test_no_name_moves_a_column(name: str) -> None:
    rows = [row(0, CITY, BROKER)]
    made = head(rows, names={CITY: (name, name), "muni/01208": (name, name), BROKER: ("Broker", "b")})
    assert "\x1b" not in made
    assert "\u202e" not in made
    assert all(line.isascii() for line in head(rows, names={CITY: (name, name)}, pen=ASCII).splitlines())
