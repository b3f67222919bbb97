"""Linkage codes: another for every member, translated by who holds the keys, and without meaning elsewhere."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from mesh import base64url
from mesh.errors import MeshError
from mesh.linkage import PERSON_SIZE, CodeBook
from mesh.service import Code

BOOK = CodeBook(b"master")
MEMBERS = [f"muni/{code:05d}" for code in range(40)]
PERSON = BOOK.person_of("12345678901")


def code_of(code: str, member: str = MEMBERS[0]) -> str | None:
    try:
        BOOK.person(code, member)
    except MeshError as error:
        return error.code
    return None


def test_each_member_has_a_code_of_its_own() -> None:
    codes = [BOOK.code(member, PERSON) for member in MEMBERS]
    assert len({code.partition(":")[2] for code in codes}) == len(MEMBERS)
    for member, code in zip(MEMBERS, codes, strict=True):
        assert BOOK.person(code, member) == PERSON
        assert BOOK.code(member, PERSON) == code


def test_a_code_is_what_the_schema_of_services_says() -> None:
    [pattern] = [part.pattern for part in get_args(Code) if isinstance(part, Meta)]
    for member in ("muni/01208", "gov/moj", "org/j-lis", "firm/kitami-bank"):
        assert re.search(pattern or "", BOOK.code(member, PERSON))


@given(st.from_regex(r"[0-9]{11}", fullmatch=True), st.from_regex(r"[0-9]{11}", fullmatch=True))
def test_persons_differ_and_no_code_shows_the_number(first: str, second: str) -> None:
    one, other = BOOK.person_of(first), BOOK.person_of(second)
    assert (one == other) == (first == second)
    assert len(one) == PERSON_SIZE
    code = BOOK.code(MEMBERS[0], one)
    assert first not in code
    assert (BOOK.code(MEMBERS[0], other) == code) == (first == second)


def test_another_members_code_is_foreign_even_if_it_is_relabelled() -> None:
    theirs = BOOK.code(MEMBERS[1], PERSON)
    assert code_of(theirs) == "linkage_code_foreign"
    assert code_of(f"{MEMBERS[0]}:{theirs.partition(':')[2]}") == "linkage_code_unknown"


def test_another_issuers_codes_are_unknown() -> None:
    other = CodeBook(b"another master")
    assert code_of(other.code(MEMBERS[0], other.person_of("12345678901"))) == "linkage_code_unknown"
    assert other.code(MEMBERS[0], PERSON) != BOOK.code(MEMBERS[0], PERSON)


def test_each_bit_of_a_code_counts() -> None:
    raw = bytearray(base64url.decode_text(BOOK.code(MEMBERS[0], PERSON).partition(":")[2]))
    for number in range(len(raw) * 8):
        raw[number // 8] ^= 1 << number % 8
        assert code_of(f"{MEMBERS[0]}:{base64url.encode_text(bytes(raw))}") == "linkage_code_unknown"
        raw[number // 8] ^= 1 << number % 8


@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda data: f"{MEMBERS[0]}:{base64url.encode_text(data)}")
)
def test_any_text_is_refused_with_a_mesh_error(code: str) -> None:
    assert code_of(code) in ("linkage_code_foreign", "linkage_code_unknown")


def test_the_order_of_asking_changes_nothing() -> None:
    """Codes come from keys, not from a table that grows."""
    backwards = CodeBook(b"master")
    assert [backwards.code(member, PERSON) for member in reversed(MEMBERS)] == [
        BOOK.code(member, PERSON) for member in reversed(MEMBERS)
    ]


@pytest.mark.parametrize("member", ["", ":", "muni"])
def test_a_member_without_codes_has_none(member: str) -> None:
    assert code_of(BOOK.code(MEMBERS[0], PERSON), member) == "linkage_code_foreign"
