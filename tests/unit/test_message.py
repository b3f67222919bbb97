"""The envelope: exactly the attributes of its kind, times and items in one spelling, only MeshErrors on any bytes."""

from __future__ import annotations

import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.errors import CODES, MeshError
from mesh.exchange import digest_of
from mesh.message import (
    Event,
    Notice,
    Permit,
    Receipt,
    Refusal,
    RefusalData,
    Reply,
    Request,
    decode,
    encode,
    format_time,
    items_of,
    parse_json,
    parse_time,
)
from mesh.names import BROKER
from mesh.node import Node
from mesh.testing import Forger, messages, simulation

DIGEST = digest_of(b"1")
TIME = "2026-04-01T00:00:00.000000Z"
ENVELOPE = {
    "specversion": "1.0",
    "id": "1",
    "source": "muni/01208/a",
    "type": "t.v1",
    "time": TIME,
    "recipient": BROKER,
}
JOSE, JSON = "application/jose", "application/json"
SMALLEST: dict[type[msgspec.Struct], dict[str, Any]] = {
    Request: ENVELOPE | {"datacontenttype": JOSE, "expiry": TIME, "data": "x"},
    Reply: ENVELOPE | {"datacontenttype": JOSE, "requestdigest": DIGEST, "permitdigest": DIGEST, "data": "x"},
    Refusal: ENVELOPE
    | {"datacontenttype": JSON, "requestdigest": DIGEST, "code": "timeout", "data": {"definite": True, "text": ""}},
    Event: ENVELOPE | {"subject": "x", "expiry": TIME},
    Notice: ENVELOPE
    | {"datacontenttype": JOSE, "subject": "x", "procedure": "p", "items": "a", "expiry": TIME, "data": "x"},
    Receipt: ENVELOPE | {"requestdigest": DIGEST},
    Permit: {
        "broker": BROKER, "requestdigest": DIGEST, "requester": "a", "recipient": "b", "service": "s", "basis": "1",
        "registry": 1, "time": TIME, "expiry": TIME,
    },
}  # fmt: skip
DECODERS: dict[type[msgspec.Struct], Any] = {kind: msgspec.json.Decoder(kind) for kind in SMALLEST}


def code_of(kind: type[msgspec.Struct], data: bytes) -> str | None:
    try:
        decode(data, DECODERS[kind])
    except MeshError as error:
        return error.code
    return None


@pytest.mark.parametrize("kind", SMALLEST)
def test_a_kind_has_exactly_its_attributes(kind: type[msgspec.Struct]) -> None:
    smallest = SMALLEST[kind]
    assert code_of(kind, json.dumps(smallest).encode()) is None
    for name in smallest:
        lacking = {key: value for key, value in smallest.items() if key != name}
        assert code_of(kind, json.dumps(lacking).encode()) == "schema_invalid"
        assert code_of(kind, json.dumps(smallest | {name: None}).encode()) == "schema_invalid"
        assert code_of(kind, json.dumps(smallest | {name: [1]}).encode()) == "schema_invalid"
    for surplus in ("colour", "Source", "data_base64", "partitionkey"):
        assert code_of(kind, json.dumps(smallest | {surplus: "x"}).encode()) == "schema_invalid"


@pytest.mark.parametrize("kind", SMALLEST)
def test_what_is_written_is_canonical_and_reads_back(kind: type[msgspec.Struct]) -> None:
    message = decode(json.dumps(SMALLEST[kind]).encode(), DECODERS[kind])
    text = encode(message)
    assert decode(text, DECODERS[kind]) == message
    assert b" " not in text
    assert set(json.loads(text)) == set(SMALLEST[kind])


@pytest.mark.parametrize("kind", SMALLEST)
def test_attribute_names_are_lowercase_alphanumeric(kind: type[msgspec.Struct]) -> None:
    """As CloudEvents 1.0, section 3.1 wants; at most 20 characters."""
    for field in kind.__struct_fields__:
        assert field.isascii()
        assert field.isalnum()
        assert field.islower()
        assert len(field) <= 20


@pytest.mark.parametrize("kind", SMALLEST)
def test_a_key_twice_is_malformed_and_a_long_text_does_not_fit(kind: type[msgspec.Struct]) -> None:
    text = json.dumps(SMALLEST[kind])
    assert code_of(kind, (text[:-1] + ',"time":"' + TIME + '"}').encode()) == "message_malformed"
    long = SMALLEST[kind] | {"time": "1" * 513}
    assert code_of(kind, json.dumps(long).encode()) == "schema_invalid"
    assert code_of(kind, text.encode("utf-16")) == "message_malformed"


def test_a_digest_is_as_long_as_a_digest() -> None:
    for length in (0, len(DIGEST) - 1, len(DIGEST) + 1):
        document = json.dumps(SMALLEST[Receipt] | {"requestdigest": "a" * length})
        assert code_of(Receipt, document.encode()) == "schema_invalid"


@given(st.binary(max_size=200))
@example(b"\xed\xa0\x80")
@example(b'{"id":"\\ud800"}')
@example(b"[" * 100_000)
@example(b'{"specversion":"1.0","id":' + b"1" * 400 + b"}")
def test_any_bytes_raise_only_a_mesh_error(data: bytes) -> None:
    for kind in SMALLEST:
        assert code_of(kind, data) in CODES


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(max_size=20)
    | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(SMALLEST, key=lambda kind: kind.__name__)), st.data())
def test_any_attribute_raises_only_a_mesh_error(kind: type[msgspec.Struct], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*kind.__struct_fields__, "more"]))
    document = json.dumps(SMALLEST[kind] | {name: data.draw(values)}).encode()
    assert code_of(kind, document) in {None, "schema_invalid", "message_malformed"}
    if code_of(kind, document) is None:
        assert isinstance(parse_json(document), dict)


def test_a_refusal_holds_no_more_than_code_text_and_a_sealed_reason() -> None:
    assert RefusalData.__struct_fields__ == ("definite", "text")
    assert set(typing.get_type_hints(Refusal)) - set(ENVELOPE) == {
        "datacontenttype", "requestdigest", "permitdigest", "code", "reason", "data",
    }  # fmt: skip


# Times.


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_read_back(time_us: int) -> None:
    text = format_time(time_us)
    assert parse_time(text) == time_us
    assert len(text) == len(TIME)
    assert text.endswith("Z")


def test_times_with_an_offset_are_the_same_moment() -> None:
    assert parse_time("2026-04-01T09:00:00+09:00") == parse_time("2026-04-01T00:00:00Z")
    assert format_time(parse_time("2026-04-01T09:00:00+09:00")) == TIME


@given(
    st.text(max_size=40)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}(Z|[+-][0-9]{2}:[0-9]{2})?")
)
@example("2026-04-01T00:00:00")
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59.999999-23:59")
@example("2026-04-01")
def test_any_text_as_a_time_raises_only_a_mesh_error(text: str) -> None:
    try:
        time_us = parse_time(text)
    except MeshError as error:
        time_us, code = 0, error.code
        assert code == "schema_invalid"
    assert isinstance(time_us, int)


@pytest.mark.parametrize(
    "text",
    ["2026-04-01 00:00:00Z", "2026-04-01T00:00:00+0000", "2026-04-01T09:00:00-0900", "2026-04-01T00:00:00"],
)
def test_what_only_some_readers_take_for_a_time_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match="schema_invalid"):
        parse_time(text)


# Items.


@given(st.sets(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), max_size=6))
def test_items_are_sorted_and_distinct(names: set[str]) -> None:
    assert items_of(" ".join(sorted(names))) == names
    if len(names) > 1:
        with pytest.raises(MeshError, match="schema_invalid"):
            items_of(" ".join(sorted(names, reverse=True)))
    for text in (" ", "a a", " a", "a ", "a  b"):
        with pytest.raises(MeshError, match="schema_invalid"):
            items_of(text)


# The envelope on the wire: whatever a registered node signs, the broker refuses or takes, and goes on.


@given(
    kind=st.sampled_from(["request", "reply", "refusal", "event", "notice", "receipt", "permit", "x"]),
    payload=st.binary(max_size=60)
    | st.builds(
        lambda base, more: json.dumps(base | more).encode(),
        st.sampled_from(list(SMALLEST.values())),
        st.dictionaries(
            st.sampled_from(["source", "recipient", "time", "expiry", "items", "subject", "id"]), values
        ),
    ),
)
@example(kind="event", payload=json.dumps(SMALLEST[Event]).encode())
async def test_whatever_is_signed_the_broker_goes_on(kind: str, payload: bytes) -> None:
    with simulation() as sim:
        sim.add(Node, "muni/01208/a")
        forger = Forger(sim, "muni/01208/a")
        line = forger.send(forger.line(payload, kind))
        sim.transmit(forger.address, BROKER, line + b"\n" + line)
        await sim.sleep(1)
        taken = [one for one in messages(sim) if one.recipient == BROKER]
        assert len(taken) == 2
        assert all(one.code in CODES for one in taken)
