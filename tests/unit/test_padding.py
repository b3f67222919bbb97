"""Padding: one size for many lengths, and one padding for each document."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh import base64url, jws
from mesh.errors import MeshError
from mesh.padding import SIZE_MAX, SIZE_MIN, SIZES, padded, unpadded

OBJECTS = st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=8)


def document(size: int) -> bytes:
    """A JSON object of so many bytes."""
    return b'{"a":"%b"}' % (b"a" * (size - len(b'{"a":""}')))


def code_of(plaintext: bytes) -> str | None:
    try:
        unpadded(plaintext)
    except MeshError as error:
        return error.code
    return None


def test_the_sizes_are_the_powers_of_two_from_256_bytes_to_512_kib() -> None:
    assert (SIZE_MIN, SIZE_MAX) == (256, 512 * 1024)
    assert [second // first for first, second in pairwise(SIZES)] == [2] * 11
    assert (SIZES[0], SIZES[-1]) == (SIZE_MIN, SIZE_MAX)


def test_the_largest_fits_into_a_line_and_the_next_would_not() -> None:
    fits, too_large = (len(base64url.encode(base64url.encode(bytes(size)))) for size in (2**19, 2**20))
    assert fits < jws.LINE_SIZE_MAX < too_large


@given(OBJECTS)
@example({})
@example({"a": " " * 700})
def test_a_padded_document_is_the_same_json_and_comes_back(value: dict[str, str]) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    plaintext = padded(text)
    assert unpadded(plaintext) == text
    assert json.loads(plaintext) == value
    assert len(plaintext) in SIZES
    assert len(plaintext) >= len(text)
    assert len(plaintext) == SIZE_MIN or len(plaintext) < 2 * len(text)


@pytest.mark.parametrize("size", SIZES)
def test_each_size_holds_what_the_one_before_does_not(size: int) -> None:
    assert len(padded(document(size))) == size
    if size > SIZE_MIN:
        assert len(padded(document(size // 2 + 1))) == size
    assert len(padded(document(size // 2))) == max(size // 2, SIZE_MIN)


def test_nothing_is_sealed_that_no_size_holds() -> None:
    with pytest.raises(MeshError, match="message_too_large") as caught:
        padded(document(SIZE_MAX + 1))
    assert "524,288" in caught.value.text


@pytest.mark.parametrize(
    "plaintext",
    [
        document(200),
        document(200).ljust(255),
        document(200).ljust(257),
        document(200).ljust(512),
        document(256).ljust(512),
        document(257).ljust(1024),
        document(200).ljust(384),
        document(128),
        document(SIZE_MAX + 1).ljust(2 * SIZE_MAX),
        document(200) + b"\n" * 56,
        document(200) + b"\t".ljust(56),
        document(200).ljust(255) + b"\n",
        document(200).ljust(256, b"\0"),
        document(200)[:-1].ljust(256),
        b"[]".ljust(256),
        b" " * 256,
        b"",
    ],
    ids=lambda plaintext: f"{len(plaintext)} {plaintext[-3:]!r}",
)
def test_no_other_padding_opens(plaintext: bytes) -> None:
    assert code_of(plaintext) == "seal_invalid"


@given(st.binary(max_size=600))
def test_any_bytes_raise_only_seal_invalid(plaintext: bytes) -> None:
    assert code_of(plaintext) in (None, "seal_invalid")
    assert code_of(plaintext.ljust(256)) in (None, "seal_invalid")
