"""The signed token: one set of header members, one algorithm, and no bytes that raise anything but a MeshError."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from mesh import base64url, jws
from mesh.errors import CODES, MeshError
from mesh.keys import COUNTS, SigningKey, load_public_key
from mesh.parsing import parse_json

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
HEADER = {"alg": "Ed25519", "kid": KEY.kid, "typ": "request"}
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point (RFC 8032, section 5.1)."""


def code_of(token: bytes | str, typ: str | None = None) -> str | None:
    try:
        jws.verify(token, KEY.public, typ=typ)
    except MeshError as error:
        return error.code
    return None


def signed(header: Any, payload: bytes = b"{}") -> bytes:
    """A token whose signature holds over whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    signing_input = base64url.encode(text) + b"." + base64url.encode(payload)
    return signing_input + b"." + base64url.encode(KEY.sign(signing_input))


@given(st.binary(max_size=300), st.sampled_from(["request", "reply", "tree-head"]))
def test_what_is_signed_verifies_for_its_kind_alone(payload: bytes, typ: str) -> None:
    token = jws.sign(payload, KEY, typ=typ)
    assert jws.verify(token, KEY.public, typ=typ) == payload
    assert jws.verify(token.decode(), KEY.public) == payload
    assert code_of(token, "permit") == "message_malformed"
    with pytest.raises(MeshError, match="key_unknown"):
        jws.verify(token, OTHER.public)


def test_keys_of_the_library_are_taken_as_they_are() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert jws.sign(b"{}", key, typ="request") == jws.sign(b"{}", KEY, typ="request")
    assert jws.verify(jws.sign(b"{}", key, typ="request"), key.public_key()) == b"{}"


def test_a_typ_that_is_no_name_is_the_callers_mistake() -> None:
    for typ in ("", "Request", "a b", 'x"', "x" * 65):
        with pytest.raises(ValueError, match="typ"):
            jws.sign(b"{}", KEY, typ=typ)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (HEADER, None),
        (dict(reversed(HEADER.items())), None),
        (json.dumps(HEADER, indent=1).encode(), None),
        (HEADER | {"crit": ["x"]}, "message_malformed"),
        (HEADER | {"jwk": {}}, "message_malformed"),
        (HEADER | {"b64": False}, "message_malformed"),
        ({"alg": "Ed25519", "kid": KEY.kid}, "message_malformed"),
        ({"alg": "Ed25519", "typ": "request"}, "message_malformed"),
        ({"kid": KEY.kid, "typ": "request"}, "message_malformed"),
        (HEADER | {"alg": 1}, "message_malformed"),
        (HEADER | {"alg": None}, "message_malformed"),
        (HEADER | {"kid": [KEY.kid]}, "message_malformed"),
        (HEADER | {"typ": {"a": 1}}, "message_malformed"),
        (HEADER | {"kid": KEY.kid + "A"}, "message_malformed"),
        (HEADER | {"kid": ""}, "message_malformed"),
        (HEADER | {"typ": ""}, "message_malformed"),
        (HEADER | {"typ": "JWT"}, "message_malformed"),
        (HEADER | {"alg": "EdDSA"}, "algorithm_unsupported"),
        (HEADER | {"alg": "none"}, "algorithm_unsupported"),
        (HEADER | {"alg": "None"}, "algorithm_unsupported"),
        (HEADER | {"alg": "HS256"}, "algorithm_unsupported"),
        (HEADER | {"alg": "ed25519"}, "algorithm_unsupported"),
        (HEADER | {"alg": ""}, "algorithm_unsupported"),
        (HEADER | {"kid": OTHER.kid}, "key_unknown"),
        ([], "message_malformed"),
        ("header", "message_malformed"),
        (None, "message_malformed"),
        (b"", "message_malformed"),
        (b"{}{}", "message_malformed"),
        (
            b'{"alg":"Ed25519","alg":"Ed25519","kid":"' + KEY.kid.encode() + b'","typ":"a"}',
            "message_malformed",
        ),
    ],
    ids=repr,
)
def test_a_header_is_exactly_as_designed_or_refused(header: Any, code: str | None) -> None:
    assert code_of(signed(header)) == code


def test_a_token_of_any_other_shape_is_refused() -> None:
    token = jws.sign(b"{}", KEY, typ="request")
    header, payload, signature = token.split(b".")
    for other in (
        b"",
        b".",
        b"..",
        b"...",
        header,
        header + b"." + payload,
        header + b"." + payload + b".",
        header + b".." + signature,
        token + b".",
        b"." + token,
        token + b"." + signature,
        token + b"=",
        token + b"\n",
        b" " + token,
        header + b"." + payload + b"A." + signature,
        header + b"." + payload + b"." + signature[:-2],
        header + b"." + payload + b"." + signature + b"AA",
    ):
        assert code_of(other) in ("message_malformed", "signature_invalid"), other
    assert code_of(header + b".." + signature) == "signature_invalid"


def test_the_last_character_has_one_spelling() -> None:
    """86 characters carry 516 bits for 512: other decoders take any of sixteen for the last."""
    token = jws.sign(b"{}", KEY, typ="request")
    codes = [
        code_of(token[:-1] + bytes([last]))
        for last in base64url.encode(bytes(range(256)))
        if last != token[-1]
    ]
    assert set(codes) == {"message_malformed", "signature_invalid"}


def test_a_signature_has_one_value() -> None:
    """RFC 8032 wants s below the group's order: s + order is the same signature to a lax verifier."""
    signing_input, _, text = jws.sign(b"{}", KEY, typ="request").rpartition(b".")
    signature = base64url.decode(text)
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert code_of(signing_input + b"." + base64url.encode(signature[:32] + s.to_bytes(32, "little"))) == (
        "signature_invalid"
    )


def test_a_token_over_one_mebibyte_is_too_large_before_anything_else() -> None:
    # Room for header, dots and signature; the payload fills the rest to the last byte.
    fixed = len(jws.sign(b"", KEY, typ="request"))
    fits = jws.sign(bytes((jws.LINE_SIZE_MAX - fixed) * 3 // 4), KEY, typ="request")
    assert jws.LINE_SIZE_MAX - 3 <= len(fits) <= jws.LINE_SIZE_MAX
    assert code_of(fits) is None
    for over in (b"x" * (jws.LINE_SIZE_MAX + 1), "x" * (jws.LINE_SIZE_MAX + 1)):
        assert code_of(over) == "message_too_large"


def test_every_verification_is_counted() -> None:
    token = jws.sign(b"{}", KEY, typ="request")
    before = COUNTS.verify
    assert code_of(token) is None
    assert code_of(token[:-4] + b"AAAA") == "signature_invalid"
    assert code_of(token, "reply") == "message_malformed"
    assert COUNTS.verify == before + 2


@given(st.binary(max_size=200) | st.text(max_size=100))
@example(b"e30.e30.")
@example("\udc80")
@example(b"\xff\xfe.a.b")
def test_any_bytes_raise_only_a_mesh_error(token: bytes | str) -> None:
    assert code_of(token) in CODES


@given(st.data())
def test_any_change_of_a_token_is_refused(data: st.DataObject) -> None:
    token = jws.sign(data.draw(st.binary(max_size=60)), KEY, typ="request")
    start = data.draw(st.integers(0, len(token) - 1))
    stop = data.draw(st.integers(start, min(start + 8, len(token))))
    changed = token[:start] + data.draw(st.binary(max_size=8)) + token[stop:]
    if changed != token:
        assert code_of(changed) in CODES


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku"]), st.text(max_size=50) | st.integers()))
def test_any_header_raises_only_a_mesh_error(header: dict[str, Any]) -> None:
    assert code_of(signed(header)) in CODES


@given(st.binary(max_size=64))
def test_the_readers_of_foreign_bytes_raise_only_a_mesh_error(data: bytes) -> None:
    for read in (load_public_key, parse_json):
        with contextlib.suppress(MeshError):
            read(data)


def test_blanks_in_headers_fill_nobody_s_memory() -> None:
    """A stranger may send as many as he likes: the header is read before any signature is checked."""
    jws._read_header.cache_clear()
    for count in range(1, 6):
        token = signed(json.dumps(HEADER).encode() + b" " * 100_000 * count)
        assert code_of(token) is None
    assert jws._read_header.cache_info().currsize == 0
    assert code_of(jws.sign(b"{}", KEY, typ="a" * 64)) is None
    assert jws._read_header.cache_info().currsize == 1
