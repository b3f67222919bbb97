"""Listing a trace, one message in full, and what a person may see."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import jws
from mesh.errors import UsageError
from mesh.ledger import Row
from mesh.trace.history import history
from mesh.trace.reader import Trace
from mesh.trace.show import Filter, full, rows
from mesh.trace.text import format_full, format_line, format_time
from tests.helpers_trace import BROKER, CITY, TAX, edit, forge_ledger, keys_of, make_trace, query


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.sqlite")


@pytest.fixture
def trace(original: Path) -> Iterator[Trace]:
    with Trace.open(original) as opened:
        yield opened


def indexes(trace: Trace, **wanted: str) -> list[int]:
    return [row["index"] for row in rows(trace, Filter(**wanted))]


def test_a_row_says_what_went_where_and_how_it_ended(trace: Trace) -> None:
    listed = list(rows(trace))
    assert [row["index"] for row in listed] == list(range(41))
    row = listed[1]
    assert {key: row[key] for key in ("time_us", "arrived_us", "kind", "from", "to", "service", "code", "fate")} == {
        "time_us": 5000, "arrived_us": 10000, "kind": "request", "from": BROKER, "to": TAX,
        "service": "tax.income.v1", "code": None, "fate": "delivered",
    }  # fmt: skip
    assert b'"type":"tax.income.v1"' in jws.verify(row["jws"], keys_of(CITY).signing.public, typ="request")
    assert b'"basis":"added-1"' in jws.verify(row["permit"], keys_of(BROKER).signing.public, typ="permit")
    assert (listed[6]["code"], listed[6]["refused"]) == ("not_provided", False)
    assert (listed[12]["code"], listed[12]["refused"]) == ("no_legal_basis", True)
    assert listed[37]["jws"] == "no message at all"
    json.dumps(listed)


def test_filters(trace: Trace) -> None:
    assert indexes(trace, code="no_legal_basis") == [12, 13]
    assert indexes(trace, kind="event") == [28, 30, 32, 34, 35, 36, 39]
    assert indexes(trace, service="resident.moved.v1") == [*range(28, 37), 39, 40]
    assert indexes(trace, node="muni/*/resident") == [28, 29, 30, 32, 33, 34, 35, 36, 39]
    # Also on their way to the broker: they are for it.
    assert indexes(trace, node=CITY, kind="reply") == [2, 3, 10, 11, 20, 21, 23, 24]
    assert [row["index"] for row in rows(trace, Filter(kind="event"), start=34)] == [34, 35, 36, 39]


def test_a_person_is_found_by_sealed_subject_permit_and_what_answers_name(trace: Trace) -> None:
    ben = [4, 5, 6, 7, 25, 26, 27, 32, 33, 34, 35, 36, 39, 40]
    assert indexes(trace, person="r-000002") == ben
    assert indexes(trace, person="r-000001") == [n for n in range(37) if n not in ben]
    assert indexes(trace, person="r-000002", kind="refusal", node=TAX) == [6, 7, 27]
    assert [row["index"] for row in rows(trace, Filter(person="r-000002"), start=30)] == ben[7:]


def test_a_person_is_found_by_permits_where_the_brokers_key_is_not_kept(
    original: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(original, tmp_path / "copy.sqlite"))
    edit(path, "DELETE FROM sealing_key")
    with Trace.open(path) as opened:
        # One permit names the person, and so the whole exchange or push is about them.
        assert indexes(opened, person="r-000002") == [4, 5, 6, 7, 25, 26, 27, 32, 33, 34, 35, 36, 39, 40]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"person": "r-9"}, "one of them is r-000001"),
        ({"code": "none"}, "there is no code"),
        ({"kind": "letter"}, "it is one of request"),
        ({"node": "nobody"}, "is no node"),
    ],
)
def test_an_unknown_name_in_a_filter_says_what_is_known(
    trace: Trace, wanted: dict[str, str], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        rows(trace, Filter(**wanted))


def test_a_listing_begins_at_once(trace: Trace) -> None:
    assert next(rows(trace))["index"] == 0
    assert next(iter(rows(trace, Filter(person="r-000002"))))["index"] == 4


def results(trace: Trace, index: int, of: str = "message") -> dict[str, str]:
    found = full(trace, str(index))[0]["checks"]
    return {one["step"]: one["result"] for one in found if one["of"] == of}


def test_the_checks_are_those_of_the_gate_that_stood_there(trace: Trace) -> None:
    assert list(results(trace, 0)) == [
        "size and form", "algorithm and key", "signature", "payload", "address", "time", "duplicate", "zone",
        "authorisation",
    ]  # fmt: skip
    assert set(results(trace, 0).values()) == {"passed"}
    assert list(results(trace, 1))[-4:] == ["duplicate", "authorisation", "content", "delivery"]
    assert list(results(trace, 1, "permit"))[-2:] == ["address", "authorisation"]
    assert list(results(trace, 2))[-1] == "correlation"
    assert list(results(trace, 3))[-2:] == ["content", "correlation"]
    assert list(results(trace, 30))[-1] == "duplicate"
    assert results(trace, 12)["authorisation"] == "failed"
    assert results(trace, 12)["zone"] == "passed"
    assert list(results(trace, 37, "permit").values()) == ["failed", *["not reached"] * 4]
    assert list(results(trace, 37).values()) == ["not reached"] * 5
    assert results(trace, 38)["correlation"] == "failed"
    assert set(results(trace, 15).values()) == {"not reached"}


def test_one_message_in_full(trace: Trace) -> None:
    (row,) = full(trace, "1")
    assert row["header"]["typ"] == "request"
    assert row["attributes"]["procedure"] == "child-allowance"
    assert row["permit_attributes"]["requester"] == CITY
    assert [one["index"] for one in full(trace, row["id"])] == [0, 1]
    assert full(trace, "37")[0]["attributes"] is None
    text = format_full(row)
    assert "    ok  signature (署名)" in text
    assert row["jws"] in text
    text = format_full(full(trace, "12")[0])
    assert "    NO  authorisation" in text
    assert "The requester names the procedure" in text
    assert "(it cannot be read)" in format_full(full(trace, "37")[0])
    for which in ("41", "nobody", "9" * 18, "9" * 40, "²", "-1"):
        with pytest.raises(UsageError, match="an index from 0 to 40"):
            full(trace, which)


def test_an_expectation_is_shown_with_its_message(original: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(original, tmp_path / "copy.sqlite"))
    ((id_,),) = query(path, "SELECT id FROM message WHERE number = 1")
    edit(path, "UPDATE expectation SET message = ?, held = 0", id_)
    with Trace.open(path) as opened:
        assert "expected: it went well: NOT HELD" in format_full(full(opened, "0")[0])


def test_a_line_is_one_line_whatever_came_over_the_wire(trace: Trace) -> None:
    row = next(rows(trace))
    line = format_line(row)
    assert line.startswith("     0 +00:00.000000 muni/01208/child-allowance     → gov/digital/broker ")
    assert line.endswith("request  tax.income.v1            ok")
    for name in ("from", "to", "service", "kind", "fate", "code"):
        hostile = format_line(row | {name: "a\nb\x1b[31m\u202e", "refused": True})
        assert hostile.isprintable(), name
    assert [format_line(row).split()[-1] for row in rows(trace, Filter(node=TAX))][-2:] == [
        "message_malformed",
        "correlation_mismatch",
    ]
    assert len({format_line(row).index("→") for row in rows(trace)}) == 1


def test_times_grow_hours_and_days() -> None:
    assert format_time(5000) == "+00:00.005000"
    assert format_time(3_661_000_000) == "+1:01:01.000000"
    assert format_time(90_061_000_001) == "+1d 01:01:01.000001"


def test_a_person_sees_what_was_asked_and_not_what_is_hidden(trace: Trace) -> None:
    own = history(trace, "r-000001")
    assert own["person"] == "r-000001"
    assert [(row["requester"], row["procedure"], row["items"], row["outcome"]) for row in own["rows"]] == [
        (CITY, "child-allowance", ["income"], "answered"),
        (CITY, "child-allowance", ["income"], "recipient_unreachable"),
        (CITY, "child-allowance", ["income"], "answered"),
        ("muni/01208/resident", "child-allowance", [], "answered"),
    ]
    assert not any(row["hidden"] for row in own["rows"])
    inspector = history(trace, "r-000001", hidden=True)["rows"]
    assert [row["procedure"] for row in inspector if row["hidden"]] == ["secret"]
    assert len(inspector) == 5
    assert [row["outcome"] for row in history(trace, "r-000002")["rows"]] == [
        "not_provided",
        "unfinished",
        "answered",
    ]


def test_a_later_mark_hides_what_was_recorded_before(original: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(original, tmp_path / "copy.sqlite"))

    def mark_first(ledger: list[Row]) -> list[Row]:
        hidden = Row("mark", 0, ledger[0].id, ledger[0].requester, undisclosed=True)
        return [*ledger[:-1], hidden]

    forge_ledger(path, BROKER, mark_first)
    with Trace.open(path) as opened:
        assert len(history(opened, "r-000001")["rows"]) == 3
        assert [row["hidden"] for row in history(opened, "r-000001", hidden=True)["rows"]][:2] == [True, True]


def test_a_history_that_cannot_be_read_says_why(original: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(original, tmp_path / "copy.sqlite"))
    with Trace.open(path) as opened, pytest.raises(UsageError, match="one of them is r-000001"):
        history(opened, "nobody")
    edit(path, "DELETE FROM resident WHERE member = 'gov/digital' AND handle = 'r-000002'")
    with Trace.open(path) as opened, pytest.raises(UsageError, match="no code of gov/digital"):
        history(opened, "r-000002")
    edit(path, "UPDATE ledger SET row = CAST('{' AS BLOB) WHERE number = 2")
    with Trace.open(path) as opened, pytest.raises(UsageError, match="is damaged"):
        history(opened, "r-000001")
