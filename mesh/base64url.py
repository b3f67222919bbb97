"""Base64url without padding (RFC 7515 section 2), in its one canonical spelling.

Other decoders ignore the unused bits of the last character, so that several texts decode to the same
bytes; here every byte string has exactly one text, and any other text is `message_malformed`.
"""

from __future__ import annotations

from binascii import Error

from pybase64 import b64decode, b64encode

from mesh.errors import MeshError

# As numbers: asking `in` with bytes makes CPython raise and drop an error first.
_PLUS, _SLASH, _EQUALS = b"+/="
_PADDING = (b"", b"!", b"==", b"=")
# Two characters carry 12 bits for one byte, three carry 18 for two: the last bits must be zero.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def encode(data: bytes) -> bytes:
    """The canonical text of the bytes, as ASCII bytes."""
    return b64encode(data, b"-_").rstrip(b"=")


def encode_text(data: bytes) -> str:
    """The canonical text of the bytes, as a string."""
    return encode(data).decode("ascii")


def decode(text: bytes) -> bytes:
    """The bytes of a canonical text; anything else is `message_malformed`."""
    rest = len(text) & 3
    # The library takes the characters of plain base64 beside those of base64url, and padding.
    if _PLUS in text or _SLASH in text or _EQUALS in text or (rest and text[-1] not in _LAST[rest]):
        raise MeshError("message_malformed", "base64url is not canonical")
    try:
        return b64decode(text + _PADDING[rest], b"-_", True)
    except Error:
        raise MeshError("message_malformed", "not base64url") from None


def decode_text(text: str) -> bytes:
    """The bytes of a canonical text given as a string."""
    try:
        return decode(text.encode("ascii"))
    except UnicodeEncodeError:
        raise MeshError("message_malformed", "not base64url") from None
