"""Linkage codes (情報提供用個人識別符号): one person, a different code for every member (番号法21条の2).

A code is the member's prefix and AES-SIV (RFC 5297) of the person under that member's code key. Whoever
holds the code keys, the code issuer and the brokers, translates without a table that joins anything;
to everybody else two members' codes of one person have nothing in common.

What this gives and does not: two members that took part in one exchange can join that person by the
exchange's message id. Nobody else can join anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mesh import base64url
from mesh.errors import MeshError
from mesh.keys import derive

PERSON_SIZE = 16
"""Bytes of the issuer's inner name of a person; it never leaves issuer and broker."""

_KEYS_MAX = 40_000
_CODES_MAX = 65_536


class CodeBook:
    """The code keys of all members, held by the code issuer and the brokers.

    `given(member, person, code)` hears of every code, once or more often.
    """

    def __init__(self, master: bytes, given: Callable[[str, bytes, str], object] | None = None) -> None:
        self._master = master
        self._given = given
        self._cipher = lru_cache(maxsize=_KEYS_MAX)(self._make_cipher)
        self._person = lru_cache(maxsize=_CODES_MAX)(self._open)
        self.code = lru_cache(maxsize=_CODES_MAX)(self._close)
        """`code(member, person)`: the member's code of the person."""

    def person_of(self, resident_code: str) -> bytes:
        """The inner name of whoever has this 住民票コード: a keyed hash, so that none is listed."""
        return derive(self._master, "person", resident_code)[:PERSON_SIZE]

    def _close(self, member: str, person: bytes) -> str:
        code = f"{member}:{base64url.encode_text(self._cipher(member).encrypt(person, None))}"
        if self._given is not None:
            self._given(member, person, code)
        return code

    def person(self, code: str, member: str) -> bytes:
        """The person behind a code that `member` presents.

        Raises `MeshError`: linkage_code_foreign if the code is another member's, linkage_code_unknown if
        it was never issued.
        """
        return self._person(code, member)

    def _open(self, code: str, member: str) -> bytes:
        owner, _, text = code.partition(":")
        if owner != member:
            raise MeshError("linkage_code_foreign")
        try:
            return self._cipher(member).decrypt(base64url.decode_text(text), None)
        except (InvalidTag, MeshError, ValueError):
            raise MeshError("linkage_code_unknown") from None

    def _make_cipher(self, member: str) -> AESSIV:
        return AESSIV(derive(self._master, "code key", member))
