"""Padding of what goes under a seal: a document of any length becomes one of a few sizes, so that length tells nothing.

Rules kept here:
1. A padded document is one JSON object and then blanks (0x20) up to the next power of two, at least 256 bytes: JSON
   itself (RFC 8259, section 2), which any reader takes.
2. A document has one padding. Blanks that are fewer, more or others, and other sizes, are `seal_invalid`.
3. The largest size is 512 KiB: under a signature the next would not fit into a line.
"""

from __future__ import annotations

from typing import Final

from mesh.errors import MeshError

SIZE_MIN: Final = 256
SIZE_MAX: Final = 2**19
"""Bytes under one seal, 512 KiB."""
LIMIT: Final = f"under a seal stand at most {SIZE_MAX:,} bytes"
SIZES: Final = tuple(1 << power for power in range(SIZE_MIN.bit_length() - 1, SIZE_MAX.bit_length()))
"""All sizes that there are, in bytes."""
_LEAST: Final = {size: size // 2 + 1 if size > SIZE_MIN else 1 for size in SIZES}
"""Size → bytes that its document has at least: a shorter one would have a smaller size."""


def padded(document: bytes) -> bytes:
    """The document with its padding; `message_too_large` above 512 KiB."""
    size = max(SIZE_MIN, 1 << (len(document) - 1).bit_length())
    if size > SIZE_MAX:
        raise MeshError("message_too_large", detail=LIMIT)
    return document.ljust(size)


def unpadded(plaintext: bytes) -> bytes:
    """The document of a padded one; `seal_invalid` unless its padding is the one that it has."""
    least = _LEAST.get(len(plaintext))
    document = plaintext.rstrip(b" ")
    if least is None or len(document) < least or not document.endswith(b"}"):
        raise MeshError("seal_invalid", "what is under the seal is not padded as it must be")
    return document
