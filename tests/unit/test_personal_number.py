"""Personal numbers are found however they are written, and nothing else is."""

import json
import random
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import MeshError
from mesh.personal_number import is_personal_number, personal_numbers_in

VALID = "123456789018"


def check_digit_by_law(eleven):
    """The formula as the ordinance words it: P and Q counted from the right, the lowest digit as n = 1."""
    total = 0
    for n in range(1, 12):
        p = int(eleven[11 - n])
        q = n + 1 if n <= 6 else n - 5
        total += p * q
    remainder = total % 11
    return 0 if remainder <= 1 else 11 - remainder


def numbers():
    draw = random.Random(12)
    for _ in range(300):
        eleven = f"{draw.randrange(10**11):011}"
        yield eleven + str(check_digit_by_law(eleven))


def encode(value, ascii_only=False):
    return json.dumps(value, ensure_ascii=ascii_only).encode()


def test_the_check_digit_is_the_laws():
    assert check_digit_by_law(VALID[:11]) == int(VALID[11])
    for number in numbers():
        assert [is_personal_number(number[:11] + digit) for digit in "0123456789"] == [
            digit == number[11] for digit in "0123456789"
        ]


def test_both_small_remainders_give_zero():
    found = {check_digit_by_law(f"{number:011}") for number in range(200)}
    assert 0 in found
    zeros = [f"{number:011}" for number in range(200) if check_digit_by_law(f"{number:011}") == 0]
    assert all(is_personal_number(eleven + "0") for eleven in zeros)


WRITTEN = [
    VALID,
    "1234-5678-9018",
    "1234 5678 9018",
    "  123456789018  ",
    "１２３４５６７８９０１８",
    "１２３４－５６７８－９０１８",
    "1234　5678　9018",
    "1234\u20105678\u20119018",
    "1234–5678—9018",
    "1234−5678−9018",
    "1234ー5678ー9018",
    "1234ｰ5678ｰ9018",
    "1234\u00a05678\u20099018",
    "1234\u00ad5678\u200b9018",
    "1234\t5678\n9018",
    "①②③④⑤⑥⑦⑧⑨0①⑧",
    "⑫34567890⑱",
    "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗𝟎𝟏𝟖",
    "١٢٣٤٥٦٧٨٩٠١٨",
    "-1-2-3-4-5-6-7-8-9-0-1-8-",
]


@pytest.mark.parametrize("text", WRITTEN)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_found_however_written_and_wherever_it_stands(text, ascii_only):
    assert is_personal_number(text)
    for value in (
        text,
        [text],
        {"a": text},
        {text: 1},
        {"氏名": "北見 花子", "a": [{"b": [1, text]}]},
        {"é": {text: None}},
    ):
        assert personal_numbers_in(encode(value, ascii_only))


OTHER = [
    "",
    "123456789012",
    "12345678901",
    "1234567890180",
    "a123456789018",
    "123456789018円",
    "1234.5678.9018",
    "1234_5678_9018",
    "1234/5678/9018",
    "(123456789018)",
    "北見 花子",
    "2026-04-01T09:00",
    " " * 40,
    "-" * 12,
    "①" * 11,
]


@pytest.mark.parametrize("text", OTHER)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_other_strings_pass(text, ascii_only):
    assert not is_personal_number(text)
    for value in (text, [text, 1], {text: "x"}, {"番号": text}):
        assert not personal_numbers_in(encode(value, ascii_only))


def test_numbers_and_neighbours_are_no_strings():
    assert not personal_numbers_in(b"123456789018")
    assert not personal_numbers_in(b'{"income":123456789018,"a":[123456789018]}')
    assert not personal_numbers_in(b'["1234", "5678", "9018"]')
    assert not personal_numbers_in(b'{"a" : 123456789018 , "b" : ""}')
    assert not personal_numbers_in(rb'["a\"123456789018"]')
    assert personal_numbers_in(rb'["a\"","123456789018"]')


def test_every_dash_of_unicode_is_a_hyphen():
    dashes = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Pd"]
    assert len(dashes) > 20
    assert all(is_personal_number(f"1234{dash}5678{dash}9018") for dash in dashes)


def test_no_character_is_shorter_than_its_digits():
    # The fast path looks only at strings of twelve bytes and more.
    for code in range(0x80, 0x110000):
        if not 0xD800 <= code < 0xE000:
            plain = unicodedata.normalize("NFKC", chr(code))
            assert sum(map(str.isdecimal, plain)) <= len(chr(code).encode())


TEXTS = st.one_of(
    st.text(),
    st.text("0123456789 -ー１２３"),
    st.from_regex(r"[0-9]{4}[- ー]?[0-9]{4}[- ー]?[0-9]{4}", fullmatch=True),
)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        TEXTS | st.integers(0, 10**12), lambda v: st.lists(v) | st.dictionaries(TEXTS, v), max_leaves=8
    ),
    st.booleans(),
)
def test_the_fast_path_agrees_with_walking(value, ascii_only):
    def strings(node):
        if isinstance(node, str):
            yield node
        elif isinstance(node, list):
            yield from (text for child in node for text in strings(child))
        elif isinstance(node, dict):
            yield from (text for pair in node.items() for child in pair for text in strings(child))

    assert personal_numbers_in(encode(value, ascii_only)) == any(map(is_personal_number, strings(value)))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(), st.text('"\\u123456789018ー[]{}', max_size=40).map(str.encode)))
def test_junk_raises_only_mesh_errors(data):
    code = None
    try:
        personal_numbers_in(data)
    except MeshError as error:
        code = error.code
    assert code in (None, "message_malformed")


def test_broken_utf8_is_searched_as_it_is():
    assert not personal_numbers_in(b'"\xff23456789018"')
    assert personal_numbers_in(b'["\xff23456789018","123456789018"]')
