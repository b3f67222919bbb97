"""Strict JSON: a table in the manner of JSONTestSuite, round trips, the typed fast path, and junk."""

import datetime
import json
import math
import sys
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh import parsing
from mesh.errors import MeshError
from mesh.parsing import decode, parse_json
from tests.sweeps.slow_documents import HOSTILE

QUICK = settings(max_examples=200, deadline=None)
MIB = 2**20

# Each document is read by parse_json, and by decode as Any: the same values, but for those of FLOAT_MISFITS.
ACCEPTED = {
    b"null": None,
    b"true": True,
    b"false": False,
    b"0": 0,
    b"-0": 0,
    b"-0.0": -0.0,
    b"-0e1": -0.0,
    b"12": 12,
    b"9007199254740991": 2**53 - 1,
    b"-9007199254740991": -(2**53) + 1,
    b"1.5": 1.5,
    b"0.1": 0.1,
    b"1e5": 1e5,
    b"1E+5": 1e5,
    b"1e-5": 1e-5,
    b"1.25E-2": 0.0125,
    b"1e-400": 0.0,
    b"9007199254740993.0": 9007199254740992.0,
    b"100000000000000000000e0": 1e20,
    b'""': "",
    b'" "': " ",
    b'"\x7f"': "\x7f",
    b'"\\"\\\\\\/\\b\\f\\n\\r\\t"': '"\\/\b\f\n\r\t',
    b'"\\u0000"': "\0",
    b'"\\u0061\\u00E9\\u6c34"': "aé水",
    b'"\\ud83d\\ude00"': "😀",
    b'"\\uD83D\\uDE00\\uDBFF\\uDFFF"': "😀\U0010ffff",
    b'"\\\\ud800"': "\\ud800",
    '"北見 花子 😀 \ufeff \u2028"'.encode(): "北見 花子 😀 \ufeff \u2028",
    b'"\xef\xbf\xbf\xf4\x8f\xbf\xbf"': "\uffff\U0010ffff",
    b'"[[[[{{{{"': "[[[[{{{{",
    b"[]": [],
    b"{}": {},
    b" \t\r\n[ \n1 ,\t2\r] \n": [1, 2],
    b'{"a":[{"b":{}},[],null]}': {"a": [{"b": {}}, [], None]},
    b'{"":0}': {"": 0},
    b'{"a":1,"A":2,"a ":3}': {"a": 1, "A": 2, "a ": 3},
    b'{"a":{"a":{"a":1}}}': {"a": {"a": {"a": 1}}},
    '{"é":1,"e\u0301":2}'.encode(): {"é": 1, "e\u0301": 2},
    b"[" * 64 + b"]" * 64: "depth",
    b'{"a":' * 63 + b"[]" + b"}" * 63: "depth",
    b"[" + b"[]," * 100 + b"[]]": [[]] * 101,
    b'["' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"]': ["[" * 100 + '"' + "{" * 100],
}
FLOAT_MISFITS = {
    b"1e400": math.inf,
    b"-1e400": -math.inf,
    b"[1.0E9999]": [math.inf],
    b"1" * 400 + b".0": math.inf,
}

REFUSED = [
    # form
    b"", b" ", b"\n", b"nul", b"True", b"NULL", b"undefined", b"'a'", b"a", b"\x00", b"\x00[]", b"[]\x00", b"// x\n1",
    b"/**/1", b"1 # x", b"\x0c1", b"\x0b[]", b"\xc2\xa01", b"\xe3\x80\x801",
    # trailing bytes
    b"1 2", b"{}{}", b"[],", b"[]]", b"{}}", b'""x', b"null,", b"[1]#",
    # numbers
    b"01", b"-01", b"00", b"-", b"+1", b".5", b"1.", b"-.5", b"1e", b"1e+", b"1.e5", b"0x10", b"1_000", b"1,5", b"--1",
    b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"inf", b"[NaN]", b'{"a":Infinity}', b"\xef\xbc\x91", b"[1\xd9\xa1]",
    b"9007199254740992", b"-9007199254740992", b"10000000000000000000", b"18446744073709551616", b"1" * 5000,
    b"[-" + b"9" * 100_000 + b"]",
    # strings
    b'"', b'"a', b'"\\"', b'"\\', b'"\\a"', b'"\\x41"', b"\"\\'\"", b'"\\u"', b'"\\u12"', b'"\\u12G4"', b'"\\u+123"',
    b'"\\u 123"', b'"\\U0041"', b'"\n"', b'"\t"', b'"\x00"', b'"\x1f"', b'"a\rb"', b'{"a\nb":1}',
    # surrogates
    b'"\\ud800"', b'"\\uDFFF"', b'"\\udc00\\ud800"', b'"\\ud800\\ud800"', b'"\\ud83dx\\ude00"', b'"\\ud83d\\n"',
    b'{"\\udc00":1}', b'[[{"a":["\\udbff"]}]]', b'"\\ud83d\\ude00\\ude00"', b'"\xed\xa0\x80"', b'"\xed\xa0\xbd\xed\xb8\x80"',
    # UTF-8
    b'"\xff"', b'"\x80"', b'"\xc0\x80"', b'"\xe0\x80\x80"', b'"\xf4\x90\x80\x80"', b'"\xe6\xb0"', b'{"\xff":1}', b"\xff",
    b'"\xf8\x88\x80\x80\x80"', b"\xef\xbb\xbf{}", b"\xef\xbb\xbf", b"\xff\xfe[\x00]\x00", b"\x00[\x00]", '"a"'.encode("utf-32"),
    # arrays and objects
    b"[", b"]", b"[1", b"[1,", b"[1,]", b"[,1]", b"[,]", b"[1 2]", b"[1;2]", b"[1}", b"{", b"}", b'{"a"', b'{"a":', b'{"a":1',
    b'{"a":1,', b'{"a":1,}', b"{,}", b'{"a" 1}', b'{"a",1}', b"{a:1}", b"{1:1}", b"{'a':1}", b"{null:1}", b'{"a":1]', b"{[]:1}",
    b'{"a"::1}', b'{"a":1 "b":2}',
    # duplicate keys
    b'{"a":1,"a":1}', b'{"a":1,"b":2,"a":3}', b'{"":1,"":2}', b'{"a":1,"\\u0061":2}', b'[{"x":{"a":1,"a":2}}]',
    b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}', b'{"/":1,"\\/":2}',
    # depth
    b"[" * 65 + b"]" * 65, b'{"a":' * 64 + b"[]" + b"}" * 64, b"[" * 100_000, b'{"a":' * 100_000, b'[{"a":' * 50_000,
    b"[" * 500_000 + b"]" * 500_000, b'["",' + b"[" * 64 + b"]" * 64 + b"]", b'["\\\\",' + b"[" * 64 + b"]" * 65,
]  # fmt: skip


def code_of(read, *arguments):
    """The code of the refusal, or None when it was accepted."""
    try:
        read(*arguments)
    except MeshError as error:
        return error.code
    return None


@pytest.mark.parametrize("data", ACCEPTED, ids=lambda data: repr(data[:40]))
def test_accepted(data):
    value, wanted = parse_json(data), ACCEPTED[data]
    typed = decode(data, ANY)
    if wanted != "depth":
        assert repr(value) == repr(wanted)
        assert typed == wanted
    assert parse_json(bytearray(data)) == parse_json(memoryview(data)) == value


@pytest.mark.parametrize("data", FLOAT_MISFITS, ids=lambda data: repr(data[:40]))
def test_a_number_beyond_binary64_is_infinite_and_fits_no_type(data):
    assert parse_json(data) == FLOAT_MISFITS[data]
    assert code_of(decode, data, ANY) == "schema_invalid"


@pytest.mark.parametrize("data", REFUSED, ids=lambda data: repr(data[:40]))
def test_refused(data):
    assert code_of(parse_json, data) == "message_malformed"
    for decoder in (ANY, NOTE, msgspec.json.Decoder(int), msgspec.json.Decoder(list[str])):
        assert code_of(decode, data, decoder) == "message_malformed"


def test_depth_counts_nesting_and_not_brackets():
    assert code_of(parse_json, b"[" * 63 + b"[],[],{}" + b"]" * 63) is None
    assert code_of(parse_json, b"[" * 63 + b"[],[[]]" + b"]" * 63) == "message_malformed"
    assert code_of(parse_json, b'["]]]]",' * 64 + b"[]" + b"]" * 64) == "message_malformed"


def test_a_document_has_at_most_a_mebibyte():
    for padding in (b" ", b"1"):
        largest = b'"' + padding * (MIB - 2) + b'"'
        assert parse_json(largest) == decode(largest, ANY) == largest[1:-1].decode()
        for larger in (largest + b" ", bytearray(largest + b" "), b"[" * (MIB + 1)):
            assert code_of(parse_json, larger) == code_of(decode, larger, ANY) == "message_too_large"


@pytest.mark.parametrize("data", ["{}", None, 1, [], [123, 125], object()])
def test_a_document_is_bytes(data):
    assert code_of(parse_json, data) == code_of(decode, data, ANY) == "message_malformed"


def test_a_released_memoryview_is_refused():
    view = memoryview(b"{}")
    view.release()
    assert code_of(parse_json, view) == "message_malformed"


def test_texts_quote_no_payload():
    for data in (b'{"secret":1,"secret":2}', b'"secret', b"[secret]", b'{"text":"secret"}', b'"secret\xff"'):
        with pytest.raises(MeshError) as caught:
            decode(data, NOTE)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:12]))
def test_no_document_makes_work_that_grows_faster_than_it(data, request, monkeypatch):
    """How long each takes is a command's, `tests.sweeps.slow_documents`."""
    # Python's own limit on digits may be switched off in the process that reads.
    request.addfinalizer(partial(sys.set_int_max_str_digits, sys.get_int_max_str_digits()))
    sys.set_int_max_str_digits(0)
    lengths = []
    monkeypatch.setattr(parsing, "int", lambda text: lengths.append(len(text)) or int(text), raising=False)
    for read in (parse_json, lambda some: decode(some, ANY)):
        calls = _calls_during(partial(code_of, read, data))
        assert calls <= 2 * len(data)
    assert (
        max(lengths, default=0) <= len(str(parsing.INTEGER_MAX)) + 1
    )  # Reading digits takes their number squared.


def _calls_during(read):
    """How many calls of functions it takes, those in C among them."""
    count = 0

    def called(_frame, event, _argument):
        nonlocal count
        count += "call" in event

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        read()
    finally:
        sys.setprofile(before)
    return count


# The typed decode.


class Line(msgspec.Struct, frozen=True):
    item: str
    yen: int


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    lines: list[Line] = []
    rate: float = 0.0


class Sealed(msgspec.Struct, frozen=True):
    id: str
    data: msgspec.Raw


ANY = msgspec.json.Decoder(Any)
NOTE = msgspec.json.Decoder(Note)


@pytest.fixture
def reparsed(monkeypatch):
    """The documents that took the slow path."""
    seen = []

    def spy(data):
        seen.append(data)
        return parse_json(data)

    monkeypatch.setattr(parsing, "parse_json", spy)
    return seen


@pytest.mark.parametrize(
    "note",
    [Note("a"), Note("北見", [Line("所得", 3_210_000)], 1.5), Note("z" * 1000, [Line("", -(10**14))] * 60)],
)
def test_what_msgspec_wrote_takes_the_fast_path(note, reparsed):
    assert decode(msgspec.json.encode(note), NOTE) == note
    assert reparsed == []


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b' {"id": "a"}', Note("a")),
        (b'{"lines":[],"id":"a"}', Note("a")),
        (b'{"id":"\\u0061"}', Note("a")),
        (b'{"id":"a","rate":0.50}', Note("a", rate=0.5)),
        (b'{"id":"1234567890123456"}', Note("1234567890123456")),
        (b'{"id":"a","lines":[{"item":"","yen":9007199254740991}]}', Note("a", [Line("", 2**53 - 1)])),
        (b'{"id":"a","lines":[{"item":"","yen":1,"more":[true]}]}', Note("a", [Line("", 1)])),
        (
            b'{"id":"a","lines":[' + b'{"item":"","yen":1},' * 99 + b'{"item":"","yen":1}]}',
            Note("a", [Line("", 1)] * 100),
        ),
    ],
)
def test_other_strict_documents_take_the_slow_path(data, value, reparsed):
    assert decode(data, NOTE) == decode(bytearray(data), NOTE) == decode(memoryview(data), NOTE) == value
    assert reparsed


@pytest.mark.parametrize(
    "data",
    [b"[]", b"1", b"{}", b'{"id":1}', b'{"id":"a","more":1}', b'{"id":"a","rate":1e400}', b'{"id":"a","lines":[[]]}',
     b"[" * 64 + b"]" * 64],
)  # fmt: skip
def test_a_strict_document_of_another_type_is_schema_invalid(data):
    assert code_of(decode, data, NOTE) == "schema_invalid"


@pytest.mark.parametrize(
    "data",
    [
        b'{"id":"a","id":"a"}',
        b'{"id":"a","\\u0069d":"b"}',
        b'{"id":"a","lines":[{"item":"","yen":1,"more":1,"more":2}]}',
        b'{"id":"a","lines":[{"item":"","yen":1,"more":"\xff"}]}',
        b'{"id":"a","lines":[{"item":"","yen":1,"\xff":""}]}',
        b'{"id":"a","lines":[{"item":"","yen":1,"more":9007199254740992}]}',
        b'{"id":"a","lines":[{"item":"","yen":9007199254740992}]}',
        b'{"id":"a","lines":[{"item":"","yen":-9007199254740992}]}',
        b'{"id":"a","lines":[{"item":"","yen":1,"more":' + b"[" * 62 + b"]" * 62 + b"}]}",
        b'{"id":1} x',
        b'{"id":1,"id":2}',
        b'{"id":1,"rate":NaN}',
        b'{"more":9007199254740992}',
    ],
)
def test_malformed_goes_before_schema_invalid(data):
    assert code_of(decode, data, NOTE) == "message_malformed"


def test_depth_64_in_an_unknown_field_is_accepted():
    data = b'{"id":"a","lines":[{"item":"","yen":1,"more":' + b"[" * 61 + b"]" * 61 + b"}]}"
    assert decode(data, NOTE) == Note("a", [Line("", 1)])


def test_raw_content_is_kept_as_it_is_and_decoded_by_its_own_call(reparsed):
    data = b'{"id":"a","data":{"id":1,"id":2}}'
    sealed = decode(data, msgspec.json.Decoder(Sealed))
    assert bytes(sealed.data) == b'{"id":1,"id":2}'
    assert reparsed == []
    assert (
        code_of(decode, sealed.data, NOTE) == code_of(decode, bytes(sealed.data), NOTE) == "message_malformed"
    )


def test_types_beyond_json_are_read():
    class Own(str):
        __slots__ = ()

    own = msgspec.json.Decoder(list[Own], dec_hook=lambda kind, value: kind(value))
    assert decode(b'["a"]', own) == [Own("a")]
    moment = datetime.datetime(2026, 4, 1, 9, tzinfo=datetime.UTC)
    assert decode(b'"2026-04-01T09:00:00+00:00"', msgspec.json.Decoder(datetime.datetime)) == moment
    assert decode(b'["AAE="]', msgspec.json.Decoder(list[bytes])) == [b"\0\1"]


# Hypothesis.

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda value: st.lists(value) | st.dictionaries(st.text(), value),
    max_leaves=20,
)


@QUICK
@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 0, 1, "\t"]))
def test_whatever_json_dumps_writes_is_read_back(value, ascii_only, indent):
    data = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert repr(parse_json(data)) == repr(value)
    assert decode(data, ANY) == value


@QUICK
@given(st.integers(2**53), st.booleans())
def test_every_larger_integer_is_refused(number, negative):
    data = b"%d" % (-number if negative else number)
    assert code_of(parse_json, data) == code_of(decode, data, ANY) == "message_malformed"


JUNK = st.one_of(
    st.binary(),
    st.lists(st.sampled_from(b'[ ] { } " \\ \\" : , 0 1 - . e \\ud8 00 "id" "a" : null 9007199254740992 \xff \n'.split(b" "))).map(
        b"".join
    ),
    JSON_VALUES.map(json.dumps).map(str.encode),
)  # fmt: skip


@QUICK
@given(JUNK, st.integers(0, 200), st.binary(max_size=2))
def test_junk_raises_only_mesh_errors_and_both_readers_agree(data, place, change):
    data = data[:place] + change + data[place + 1 :]
    strict = code_of(parse_json, data)
    assert strict in (None, "message_malformed")
    for decoder in (ANY, NOTE):
        typed = code_of(decode, data, decoder)
        assert typed == strict or (strict is None and typed == "schema_invalid")
