"""Personal numbers are found however they are written and wherever they stand, and what looks alike is not."""

import json
import random
import re
import unicodedata
import uuid
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import MeshError
from mesh.personal_number import _INVISIBLE, _SEPARATOR, is_personal_number, personal_numbers_in

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
    "a123456789018",
    "123456789018円",
    "(123456789018)",
    "【１２３４ ５６７８ ９０１８】",
    "個人番号：123456789018",
    "マイナンバー１２３４－５６７８－９０１８です",
    "My Number No.123456789018, as on the card",
    "ID-1234-5678-9018",
    "北見 花子 (0157-23-7111): 1234 5678 9018.",
    "12345678901, 1234567890123 and 123456789018",
    "2026-04-01 09:00 123456789018",
    "本人\n1234 5678 9018\n2026-04-01",
    "1\t123456789018\t2",
    "0194abcd-0000-7000-8000-0123456789ab 123456789018",
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
    "1234.5678.9018",
    "1234_5678_9018",
    "1234/5678/9018",
    "1234--5678--9018",
    "1234 - 5678 - 9018",
    "1234) 5678 (9018",
    "1 1234-5678-9018",
    "1234 5678 9018 0",
    "20260401-0915-123456789018",
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
    assert personal_numbers_in(rb'["a\"123456789018"]')
    assert personal_numbers_in(rb'["a\"","123456789018"]')


def test_every_dash_of_unicode_is_a_hyphen_and_every_format_character_is_invisible():
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Pd":
            assert re.fullmatch(_SEPARATOR, unicodedata.normalize("NFKC", character)), hex(code)
            assert is_personal_number(f"1234{character}5678{character}9018")
        if category == "Cf":
            assert is_personal_number(f"1234{character}5678{character}{character}9018"), hex(code)
        elif _INVISIBLE.match(character):
            assert category == "Cn", f"{code:x} is seen"


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


def test_broken_utf8_is_no_document():
    with pytest.raises(MeshError) as caught:
        personal_numbers_in(b'["\xff23456789018","123456789018"]')
    assert caught.value.code == "message_malformed"
    assert not personal_numbers_in(b'["\xff23456789018"]')


def _moments(draw):
    for _ in range(COUNT):
        yield datetime(1926, 1, 1) + timedelta(minutes=draw.randrange(60 * 24 * 365 * 150))


def _dates(draw):
    forms = (
        "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y/%m/%d %H:%M", "%Y.%m.%d %H:%M", "%Y年%m月%d日%H時%M分",
        "%Y年%m月%d日 %H時%M分", "%Y%m%d %H:%M", "%Y-%m-%dT%H:%M:00+09:00", "%Y-%m-%d %H:%M:%S.%f",
        "%Y-%m-%d %H%M", "%Y-%m-%d-%H-%M", "%Y%m%d-%H%M", "%Y%m%d %H%M", "%Y-%m-%d %H:%M-%Y-%m-%d %H:%M",
        "%Y-%m-%d %H:%M %Y-%m-%d %H:%M", "%Y%m%dT%H%M%SZ",
    )  # fmt: skip
    for number, moment in enumerate(_moments(draw)):
        text = moment.strftime(forms[number % len(forms)])
        yield text.translate(WIDE) if number % 3 == 0 else text
        yield f"{moment.year}年{moment.month}月{moment.day}日{moment.hour}時{moment.minute:02}分"
        yield f"{moment.year}-{moment.month}-{moment.day} {moment.hour}:{moment.minute:02}"


def _telephones(draw):
    for _ in range(COUNT):
        area, rest = draw.choice(["0157", "03", "078", "01547", "0120"]), f"{draw.randrange(10**9):09}"
        local = rest[: 6 - len(area)] if len(area) < 5 else rest[:1]
        fixed = (area, local, rest[5:])
        mobile = (draw.choice(["090", "080", "070"]), rest[:4], rest[4:8])
        for parts in (fixed, mobile):
            yield from (mark.join(parts) for mark in ("-", " ", "", "－"))
            yield f"({parts[0]}){parts[1]}-{parts[2]}"
            yield f"+81-{parts[0][1:]}-{parts[1]}-{parts[2]}"
            yield f"+81 {parts[0][1:]} {parts[1]} {parts[2]}"
            yield f"＋81{''.join(parts)[1:]}"
            yield f"電話 {'-'.join(parts)}（内線{rest[:3]}）"


def _corporate_numbers(draw):
    for _ in range(COUNT):
        number = f"{draw.randrange(10**12, 10**13)}"
        yield number
        yield number.translate(WIDE)
        yield f"T{number}"
        yield f"{number[0]}-{number[1:5]}-{number[5:9]}-{number[9:]}"
        yield f"{number[0]} {number[1:]}"


def _long_codes(draw):
    for _ in range(COUNT):
        code = f"{draw.randrange(10**16):016}"
        yield code
        yield code.translate(WIDE)
        yield from (mark.join(code[at : at + 4] for at in range(0, 16, 4)) for mark in "- －　")


def _message_ids(draw):
    for _ in range(COUNT):
        yield str(uuid.UUID(int=draw.getrandbits(128), version=4))
        # A group of digits more often than chance would give one.
        yield f"0194{draw.randrange(16**4):04x}-{draw.randrange(10**4):04}-7abc-8abc-{draw.randrange(10**12):012}"
        yield f"0194abcd-{draw.randrange(10**4):04}-7{draw.randrange(10**3):03}-8{draw.randrange(10**3):03}-abcdef012345"


def _digests(draw):
    for _ in range(COUNT):
        yield f"{draw.getrandbits(256):064x}"
        yield f"{draw.getrandbits(26):07x}a{draw.randrange(10**12):012}b{draw.getrandbits(80):020x}"


COUNT = 10_000
WIDE = {48 + value: 0xFF10 + value for value in range(10)}


@pytest.mark.parametrize(
    "texts",
    [_dates, _telephones, _corporate_numbers, _long_codes, _message_ids, _digests],
    ids=lambda one: one.__name__,
)
def test_ten_thousand_of_what_only_looks_like_one_are_let_through(texts):
    assert [text for text in texts(random.Random(7)) if is_personal_number(text)] == []


def test_the_stated_limits_are_as_stated():
    draw = random.Random(3)
    assert not any(
        is_personal_number(f"2026-04-{day:02}-{hour:02}-{minute:02}")
        for day in range(1, 31)
        for hour in range(24)
        for minute in range(60)
    )
    bare = [moment.strftime("%Y%m%d%H%M") for moment in _moments(draw)]
    refused = sum(map(is_personal_number, bare)) / len(bare)
    assert 0.08 < refused < 0.12, "of dates typed as twelve bare digits a tenth is refused"
    assert not is_personal_number("+123456789018"), "behind a plus sign it is a telephone number"
    assert not is_personal_number("00000000-0000-0000-0000-123456789018"), "as the end of a UUID"
    assert not is_personal_number("123456789018 3"), "beside another digit it is part of a longer run"
