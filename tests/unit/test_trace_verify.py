"""What `verify` finds: any changed byte, and every lie that a party could sign."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mesh import jws
from mesh.ledger import Row
from mesh.message import encode, format_time, parse_time
from mesh.party import read_line
from mesh.registry import TYP
from mesh.trace.finding import Finding
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from tests.helpers_trace import (
    BROKER,
    CITY,
    RESIDENTS,
    TAX,
    edit,
    forge_ledger,
    forge_message,
    keys_of,
    make_trace,
    query,
)

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.sqlite")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.sqlite"))


def fault(path: Path, **options: Any) -> Finding:
    with Trace.open(path) as opened:
        report = verify(opened, **options)
    assert report.finding is not None
    assert not report.to_dict()["ok"]
    return report.finding


def complete(path: Path, complete: int) -> None:
    edit(path, "UPDATE meta SET value = ? WHERE key = 'complete'", str(complete))


def test_an_honest_trace_holds_and_is_counted(trace: Path) -> None:
    steps: list[tuple[int, int]] = []
    with Trace.open(trace) as opened:
        root_der = opened.root_der
        report = verify(opened, root_der, lambda done, total: steps.append((done, total)))
    assert report.to_dict() == {
        "ok": True,
        "checked": {"messages": 41, "permits": 14, "ledger_rows": 44, "trees": 5},
        "first_fault": None,
        "complete": True,
        "live": False,
        "nothing": False,
        "root": sha256(root_der).hexdigest(),
        "refused": 3,
        "unfinished": 1,
        "retried": 4,
        "unsigned": 0,
    }
    assert steps[0] == (0, 85)
    assert steps[-1] == (85, 85)


def test_another_root_is_found(trace: Path) -> None:
    assert fault(trace, root_der=b"another").code == "key_unknown"


# One changed byte, anywhere in what was said and recorded.


def cells(path: Path) -> Iterator[tuple[str, str, str, Any, Any]]:
    """(table, key column, column, key, value) of each cell that a changed byte must be found in."""
    columns = {
        "message": ("number", "digest", "kind", "id", "service", "code", "line"),
        "ledger": ("number", "row"),
        "head": ("number", "token"),
        "registry_entry": ("position", "address", "data"),
        "registry_head": ("version", "token"),
    }
    for table, (key, *names) in columns.items():
        for name in names:
            for place, value in query(path, f"SELECT {key}, {name} FROM {table}"):
                if value is not None:
                    yield table, key, name, place, value


def test_a_changed_byte_of_any_message_row_or_head_is_found(trace: Path) -> None:
    first = dict(query(trace, "SELECT message, min(number) FROM transmission GROUP BY message"))
    first |= dict(
        query(trace, "SELECT permit, min(number) FROM transmission WHERE permit > 0 GROUP BY permit")
    )
    changed = 0
    for round_, (table, key, column, place, value) in enumerate(list(cells(trace))):
        data = value.encode() if isinstance(value, str) else value
        kind = "TEXT" if isinstance(value, str) else "BLOB"
        sql = f"UPDATE {table} SET {column} = CAST(? AS {kind}) WHERE {key} = ?"
        where = (7 * round_ + 3, len(data) - 1) if column in ("line", "row") else (7 * round_ + 3,)
        for at in where if data else ():
            other = bytearray(data)
            other[at % len(data)] ^= 1 << round_ % 7
            edit(trace, sql, bytes(other), place)
            found = fault(trace)
            assert found.index == (first[place] if table == "message" else None), (table, column, place, at)
            changed += 1
        edit(trace, sql, data, place)
    assert changed > 300
    with Trace.open(trace) as opened:
        assert verify(opened).ok


def test_a_changed_message_is_named(trace: Path) -> None:
    ((number, line, id_),) = query(trace, "SELECT number, line, id FROM message WHERE kind = 'reply' LIMIT 1")
    edit(trace, "UPDATE message SET line = ? WHERE number = ?", line[:-4] + b"AAAA", number)
    found = fault(trace)
    assert (found.index, found.message, found.code) == (2, id_, "signature_invalid")


def test_a_changed_ledger_row_is_named_by_party_and_position(trace: Path) -> None:
    # It says what it said, in other bytes: nothing but its head is against it.
    edit(trace, "UPDATE ledger SET row = replace(row, '{', '{ ') WHERE number = 3")
    edit(trace, "UPDATE ledger SET row = CAST(row AS BLOB) WHERE number = 3")
    found = fault(trace)
    assert found.code == "ledger_broken"
    assert "muni/28100/tax, rows 0 to" in found.text


# Messages: digest, columns and signature agree with each other, and still not with the rest.


def test_a_message_of_another_signer_is_found_although_all_columns_fit(trace: Path) -> None:
    ((number, line),) = query(trace, "SELECT number, line FROM message WHERE kind = 'reply' LIMIT 1")
    forge_message(trace, number, line[:-4] + b"AAAA")
    assert (fault(trace).index, fault(trace).code) == (2, "signature_invalid")
    forge_message(trace, number, jws.sign(encode(read_line(line)), keys_of(CITY).signing, typ="reply"))
    assert (fault(trace).index, fault(trace).code) == (2, "sender_mismatch")


def test_a_message_signed_before_or_after_its_certificate_is_found(trace: Path) -> None:
    ((number, line),) = query(trace, "SELECT number, line FROM message WHERE kind = 'reply' LIMIT 1")
    edit(trace, "DELETE FROM meta WHERE key = 'starts'")
    for year, code in ((2020, "certificate_not_yet_valid"), (2036, "certificate_expired")):
        late = replace(read_line(line), time=f"{year}-01-01T00:00:00Z")
        forge_message(trace, number, jws.sign(encode(late), keys_of(TAX).signing, typ="reply"))
        assert (fault(trace).index, fault(trace).code) == (2, code)


def test_an_answer_to_nothing_is_found(trace: Path) -> None:
    ((number, line),) = query(trace, "SELECT number, line FROM message WHERE kind = 'reply' LIMIT 1")
    reply = read_line(line)
    for change in (
        {"requestdigest": "0" * 64},
        {"permitdigest": "0" * 64},
        {"permitdigest": reply.requestdigest},
    ):
        forged = jws.sign(encode(replace(reply, **change)), keys_of(TAX).signing, typ="reply")
        forge_message(trace, number, forged)
        assert (fault(trace).index, fault(trace).code) == (2, "correlation_mismatch")


def test_a_permit_that_does_not_fit_its_message_is_found(trace: Path) -> None:
    ((number, line),) = query(
        trace,
        "SELECT number, line FROM message WHERE number = (SELECT permit FROM transmission WHERE number = 1)",
    )
    permit = read_line(line)
    late = format_time(parse_time(permit.time) + 60_000_001)
    for change, code in (
        ({"requestdigest": "0" * 64}, "audience_mismatch"),
        ({"requester": TAX}, "audience_mismatch"),
        ({"recipient": CITY}, "audience_mismatch"),
        ({"service": "tax.other.v1"}, "audience_mismatch"),
        ({"procedure": "other"}, "audience_mismatch"),
        ({"items": None}, "audience_mismatch"),
        ({"expiry": late}, "message_expired"),
        ({"expiry": format_time(parse_time(permit.time) - 1)}, "message_expired"),
        ({"broker": TAX}, "sender_mismatch"),
    ):
        forged = jws.sign(encode(replace(permit, **change)), keys_of(BROKER).signing, typ="permit")
        forge_message(trace, number, forged)
        assert (fault(trace).index, fault(trace).code) == (1, code), change
    forge_message(trace, number, jws.sign(encode(permit), keys_of(TAX).signing, typ="permit"))
    assert (fault(trace).index, fault(trace).code) == (1, "sender_mismatch")


# Gates.


@pytest.mark.parametrize(
    ("sql", "index", "code"),
    [
        ("UPDATE transmission SET code = 'signature_invalid' WHERE number = 2", 2, "correlation_mismatch"),
        ("UPDATE transmission SET code = 'certificate_revoked' WHERE number = 2", 2, "correlation_mismatch"),
        ("UPDATE transmission SET code = 'no_such_code' WHERE number = 2", 2, "correlation_mismatch"),
        ("UPDATE transmission SET code = NULL WHERE number = 37", 37, "message_malformed"),
        ("UPDATE transmission SET code = 'key_unknown' WHERE number = 37", 37, "message_malformed"),
        ("UPDATE transmission SET code = 'seal_invalid' WHERE number = 37", 37, "message_malformed"),
        ("UPDATE transmission SET fate = 'lost' WHERE number = 2", 2, "correlation_mismatch"),
        ("UPDATE transmission SET code = 'timeout' WHERE number = 15", 15, "correlation_mismatch"),
        ("UPDATE transmission SET permit = NULL WHERE number = 1", 1, "no_legal_basis"),
        ("UPDATE transmission SET recipient = sender WHERE number = 1", 1, "audience_mismatch"),
        ("UPDATE transmission SET sent_us = 1 WHERE number = 2", 2, "correlation_mismatch"),
        ("UPDATE transmission SET arrived_us = 1 WHERE number = 2", 2, "correlation_mismatch"),
        ("DELETE FROM transmission WHERE number = 2", 3, "correlation_mismatch"),
        ("INSERT INTO message SELECT 999, digest, kind, id, service, code, line FROM message WHERE number = 1",
         None, "correlation_mismatch"),
    ],
)  # fmt: skip
def test_a_changed_transmission_is_found(trace: Path, sql: str, index: int | None, code: str) -> None:
    edit(trace, sql)
    assert (fault(trace).index, fault(trace).code) == (index, code)


def test_a_refusal_for_the_time_of_a_certificate_is_believed(trace: Path) -> None:
    edit(trace, "UPDATE transmission SET code = 'certificate_expired' WHERE number = 38")
    with Trace.open(trace) as opened:
        report = verify(opened)
    assert report.ok
    assert report.refused == 3


# Registry.


def test_a_registry_of_its_own_making_is_found(trace: Path) -> None:
    ((token,),) = query(trace, "SELECT token FROM registry_head")
    payload = jws.parse(token).payload
    edit(trace, "UPDATE registry_head SET token = ?", jws.sign(payload, keys_of(BROKER).signing, typ=TYP))
    assert fault(trace).code == "key_unknown"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("DELETE FROM registry_entry WHERE position = 3", "signature_invalid"),
        ("DELETE FROM registry_entry WHERE position = 1", "registry_stale"),
        ("UPDATE registry_entry SET address = 'muni/00000/x' WHERE position = 1", "registry_stale"),
        ("DELETE FROM registry_head", "registry_stale"),
        ("UPDATE meta SET value = 'none' WHERE key = 'root'", "registry_stale"),
        ("UPDATE meta SET value = '3082' WHERE key = 'root'", "message_malformed"),
    ],
)
def test_a_changed_registry_is_found(trace: Path, sql: str, code: str) -> None:
    edit(trace, sql)
    assert fault(trace).code == code


# Ledgers: rows rewritten by their party and signed anew.


def at(place: int, **change: Any) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [*rows[:place], replace(rows[place], **change), *rows[place + 1 :]]


def without(place: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: rows[:place] + rows[place + 1 :]


def twice(place: int) -> Callable[[list[Row]], list[Row]]:
    return lambda rows: [*rows[: place + 1], rows[place], *rows[place + 2 :]]


# City: 0 opened, 1 closed. Tax: 0 answered. Broker: 0 permitted, 1 closed; 6 refused (no legal basis).
@pytest.mark.parametrize(
    ("party", "change", "text"),
    [
        (CITY, at(0, service="tax.other.v1"), "says otherwise"),
        (CITY, at(0, procedure="other"), "another procedure"),
        (CITY, at(0, items=None), "another procedure"),
        (CITY, at(0, provider=CITY), "says otherwise"),
        (CITY, at(0, id="other"), "says otherwise"),
        (CITY, at(0, requester=TAX), "opened by its requester"),
        (CITY, at(0, requestdigest="0" * 64), "never transmitted"),
        (CITY, at(0, requestdigest=None), "digest is missing"),
        (CITY, twice(0), "opened twice"),
        (CITY, without(0), "never opened"),
        (CITY, at(1, replydigest="0" * 64), "never transmitted"),
        (CITY, at(1, permitdigest="0" * 64), "another permit"),
        (CITY, at(1, permitdigest=None), "another permit"),
        (CITY, at(1, code="not_found"), "something else came of it"),
        (CITY, at(1, id="other"), "never opened"),
        (CITY, at(1, entry="mark"), "a mark hides"),
        (TAX, without(0), "its provider did not record"),
        (TAX, twice(0), "twice"),
        (TAX, at(0, items="dependants"), "differs from its permit"),
        (TAX, at(0, provider=CITY), "answered by its provider"),
        (TAX, at(0, permitdigest="0" * 64), "without a permit"),
        (TAX, at(0, replydigest="0" * 64), "never transmitted"),
        (TAX, at(0, undisclosed=True), "hidden in one"),
        (BROKER, without(0), "without a permit"),
        (BROKER, at(0, procedure="other"), "provider, procedure or items differ"),
        (BROKER, at(0, service="tax.other.v1"), "services differ"),
        (BROKER, at(0, entry="answered"), "answered by its provider"),
        (BROKER, at(0, permitdigest=None), "needs its digest"),
        (BROKER, at(1, code="withheld"), "something else came of it"),
        (BROKER, at(6, code="withheld"), "something else came of it"),
        (TAX, at(0, subject="muni/28100:another"), "about another person"),
        (TAX, at(0, entry="permitted"), "a column is filled"),
        (TAX, at(0, entry="closed"), "a column is filled"),
    ],
)
def test_a_ledger_rewritten_by_its_party_disagrees_with_the_others(
    trace: Path, party: str, change: Callable[[list[Row]], list[Row]], text: str
) -> None:
    forge_ledger(trace, party, change)
    found = fault(trace)
    assert text in found.text
    assert found.code == "ledger_broken"
    assert found.index is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({TAX: (0, "code"), BROKER: (1, "code"), CITY: (1, "code")}, "something else came of it"),
        ({TAX: (0, "items"), BROKER: (0, "items")}, "provider, procedure or items differ"),
    ],
    ids=["that nothing was disclosed", "that less was disclosed"],
)
def test_parties_that_rewrite_their_ledgers_alike_disagree_with_what_they_signed(
    trace: Path, changes: dict[str, tuple[int, str]], text: str
) -> None:
    for party, (place, column) in changes.items():
        forge_ledger(trace, party, at(place, **{column: "not_found"}))
    assert text in fault(trace).text


def test_a_broker_and_a_provider_do_not_hide_what_the_permit_shows(trace: Path) -> None:
    forge_ledger(trace, BROKER, at(0, undisclosed=True))
    forge_ledger(trace, TAX, at(0, undisclosed=True))
    assert "its permit says otherwise" in fault(trace).text


def test_a_ledger_that_names_an_answer_to_something_else_is_found(trace: Path) -> None:
    ((other,),) = query(trace, "SELECT lower(hex(digest)) FROM message WHERE kind = 'refusal' LIMIT 1")
    forge_ledger(trace, TAX, at(0, replydigest=other))
    assert "to another request" in fault(trace).text
    ((other,),) = query(
        trace, "SELECT lower(hex(digest)) FROM message WHERE kind = 'request' LIMIT 1 OFFSET 1"
    )
    forge_ledger(trace, TAX, at(0, replydigest=other))
    assert "another kind" in fault(trace).text


def test_what_nobody_verified_cannot_be_in_a_ledger(trace: Path) -> None:
    ((number, line),) = query(
        trace,
        "SELECT number, line FROM message WHERE number = (SELECT message FROM transmission WHERE number = 27)",
    )
    forge_message(trace, number, line[:-4] + b"AAAA")
    forged = sha256(line[:-4] + b"AAAA").hexdigest()
    old = sha256(line).hexdigest()

    def follow(rows: list[Row]) -> list[Row]:
        return [replace(row, replydigest=forged) if row.replydigest == old else row for row in rows]

    forge_ledger(trace, TAX, follow)
    assert fault(trace).code == "signature_invalid"
    assert "does not verify" in fault(trace).text


def test_a_refusal_without_a_code_of_the_table_is_found(trace: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [replace(row, code="none") if row.entry == "refused" else row for row in rows]

    forge_ledger(trace, BROKER, change)
    assert "code of the table" in fault(trace).text


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("UPDATE head SET party = (SELECT number FROM party WHERE address = 'muni/28100/tax')",
         "sender_mismatch", "signed by another party"),
        ("DELETE FROM head WHERE number = (SELECT max(number) FROM head)", "ledger_broken", "no signed head covers it"),
        ("DELETE FROM ledger WHERE number = (SELECT max(number) FROM ledger)", "ledger_broken", "it is missing"),
        ("UPDATE ledger SET position = 5 WHERE number = 1", "ledger_broken", "row 0 is missing"),
        ("UPDATE ledger SET row = 'x' WHERE number = 1", "message_malformed", "is damaged"),
        ("UPDATE ledger SET row = CAST('x' AS BLOB) WHERE number = 1", "ledger_broken", "no ledger row"),
    ],
)  # fmt: skip
def test_changed_ledgers_and_heads_are_found(trace: Path, sql: str, code: str, text: str) -> None:
    edit(trace, sql)
    found = fault(trace)
    assert (found.code, found.index) == (code, None)
    assert text in found.text


def test_heads_that_fall_or_are_of_another_ledger_are_found(trace: Path) -> None:
    ((number, _, token),) = query(
        trace,
        "SELECT party, max(number), token FROM head WHERE party = (SELECT number FROM party WHERE address = ?)",
        RESIDENTS,
    )
    payload = msgspec.json.decode(jws.parse(token).payload)
    for change in ({"size": 1}, {"party": TAX}):
        signed = jws.sign(msgspec.json.encode(payload | change), keys_of(RESIDENTS).signing, typ="tree-head")
        edit(trace, "INSERT INTO head VALUES (99, ?, ?)", number, signed)
        assert "another party's, or smaller" in fault(trace).text
        edit(trace, "DELETE FROM head WHERE number = 99")


# Interrupted runs.


def test_an_interrupted_trace_verifies_as_far_as_it_goes(trace: Path) -> None:
    complete(trace, 0)
    edit(trace, "INSERT INTO meta VALUES ('under_way', '[40]')")
    for party in (CITY, BROKER):  # Their last heads; the first ones stay.
        edit(
            trace,
            "DELETE FROM head WHERE number = (SELECT max(h.number) FROM head h JOIN party p ON p.number = h.party"
            " WHERE address = ?)",
            party,
        )
    edit(trace, "DELETE FROM transmission WHERE number = 40")
    edit(trace, "DELETE FROM message WHERE number = (SELECT max(number) FROM message)")
    edit(trace, "DELETE FROM ledger WHERE number = (SELECT max(number) FROM ledger)")
    with Trace.open(trace) as opened:
        report = verify(opened)
    assert report.finding is None
    assert not report.complete
    assert report.unsigned > 20
    assert report.unfinished == 2


def test_a_change_is_found_in_an_interrupted_trace(trace: Path) -> None:
    complete(trace, 0)
    edit(trace, "UPDATE message SET line = line || 'A' WHERE number = 3")
    assert fault(trace).index == 2


# Whom rows are about. The commission asks the issuer of the codes; a trace knows by itself.


@pytest.mark.parametrize("party", [CITY, BROKER])
def test_a_row_about_another_person_is_found_from_the_file_alone(trace: Path, party: str) -> None:
    member = party.rsplit("/", 1)[0]
    codes = dict(query(trace, "SELECT code, handle FROM resident WHERE member = ?", member))
    mine = next(code for code, handle in codes.items() if handle == "r-000001")
    other = next(code for code, handle in codes.items() if handle == "r-000002")
    for code, text in (
        (other, "different persons"), (None, "and another does not"), (f"{mine[:-2]}AA", "is nobody's"),
    ):  # fmt: skip
        shutil.copy(trace, copy := trace.with_name("lie.sqlite"))
        forge_ledger(copy, party, at(0, subject=code))
        assert text in fault(copy).text
