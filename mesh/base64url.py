"""Base64url without padding (RFC 7515 section 2), in its one canonical spelling.

Other decoders ignore the unused bits of the last character, so that several texts decode to the same
bytes; here every byte string has exactly one text, and any other text is `message_malformed`.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64

from mesh.errors import MeshError

_TO_URL = bytes.maketrans(b"+/", b"-_")
# The characters of plain base64 become illegal ones, so that only the URL alphabet passes.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"!", b"==", b"=")
# Two characters carry 12 bits for one byte, three carry 18 for two: the last bits must be zero.
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def encode(data: bytes) -> bytes:
    """The canonical text of the bytes, as ASCII bytes."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def encode_text(data: bytes) -> str:
    """The canonical text of the bytes, as a string."""
    return encode(data).decode("ascii")


def decode(text: bytes) -> bytes:
    """The bytes of a canonical text; anything else is `message_malformed`."""
    rest = len(text) & 3
    try:
        data = a2b_base64(text.translate(_FROM_URL) + _PADDING[rest], strict_mode=True)
    except Error:
        raise MeshError("message_malformed", "not base64url") from None
    if rest and text[-1] not in _LAST[rest]:
        raise MeshError("message_malformed", "base64url is not canonical")
    return data


def decode_text(text: str) -> bytes:
    """The bytes of a canonical text given as a string."""
    try:
        return decode(text.encode("ascii"))
    except UnicodeEncodeError:
        raise MeshError("message_malformed", "not base64url") from None
