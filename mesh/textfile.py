"""Text files that people save with their own tools: UTF-8, with or without the mark that some put in front."""

from __future__ import annotations

from mesh.errors import UsageError

_SAVE = "save it as UTF-8"


def decode_text(data: bytes, name: str) -> str:
    """The text of a file's bytes, without a byte order mark; `UsageError` that names the encoding it looks like."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{name} is UTF-16; {_SAVE}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8{_looks_like(data)}, at byte {error.start}; {_SAVE}") from None


def _looks_like(data: bytes) -> str:
    try:
        data.decode("cp932")
    except UnicodeDecodeError:
        return ""
    return ", and reads as Shift_JIS (cp932)"
