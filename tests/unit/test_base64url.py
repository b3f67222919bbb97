"""Base64url: every byte string has exactly one text, and every other text is refused."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import base64url
from mesh.errors import MeshError

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def refused(text: bytes) -> bool:
    try:
        base64url.decode(text)
    except MeshError as error:
        return error.code == "message_malformed"
    return False


@given(st.binary(max_size=200))
def test_it_is_the_standard_library_without_padding(data: bytes) -> None:
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert base64url.decode(text) == data
    assert base64url.decode_text(base64url.encode_text(data)) == data


@given(st.binary(max_size=40) | st.text(alphabet="AQg-_=+/ \n\t.!", max_size=12).map(str.encode))
def test_what_decodes_encodes_back_to_the_same_text(text: bytes) -> None:
    if not refused(text):
        assert base64url.encode(base64url.decode(text)) == text


@pytest.mark.parametrize("size", [1, 2])
def test_every_short_ending_is_canonical_or_refused(size: int) -> None:
    """All texts of two and three characters: 1 in 16 and 1 in 4 stand for bytes."""
    accepted = [
        text for text in map(bytes, itertools.product(ALPHABET, repeat=size + 1)) if not refused(text)
    ]
    assert len(accepted) == 256**size
    assert len({base64url.decode(text) for text in accepted}) == 256**size


@pytest.mark.parametrize("before", [b"", b"AAAA", b"AAAAAAAA" * 9])
def test_every_byte_outside_the_alphabet_is_refused(before: bytes) -> None:
    for byte in set(range(256)) - set(ALPHABET):
        for at in range(5):
            text = b"AAAA"[:at] + bytes([byte]) + b"AAAA"[at:]
            for end in (b"", b"A", b"AA", b"AAA"):
                assert refused(before + text + end)


@pytest.mark.parametrize(
    "text",
    [b"A", b"AAAAA", b"AA==", b"AAA=", b"AA=", b"AAAA=", b"AAAA====", b"=", b"====", b"AAAA\n", b" AAAA"],
)
def test_padding_and_dangling_characters_are_refused(text: bytes) -> None:
    assert refused(text)


def test_a_text_outside_ascii_is_refused() -> None:
    for text in ("ＡＡＡＡ", "AAA\udc80", "AAA\u0141"):
        with pytest.raises(MeshError, match="message_malformed"):
            base64url.decode_text(text)
