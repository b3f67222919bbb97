"""Text from anybody, as it may be shown: nothing in it acts, hides or turns around what stands beside it."""

from __future__ import annotations

from typing import Final

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks that turn the direction of writing, also of what follows (Unicode TR 9)."""
_SEPARATORS = (0x2028, 0x2029, 0xFEFF)
_ALL = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    for code in (*_CONTROLS, *_DIRECTIONS, *_SEPARATORS, *range(0xD800, 0xE000))
}
_IN_LINES = {code: shown for code, shown in _ALL.items() if chr(code) not in "\n\t"}
_IN_JSON: Final = {code: f"\\u{code:04x}" for code in _ALL if code >= 0x7F}
"""What JSON leaves as it is, and a terminal does not."""


def visible(text: str) -> str:
    """The text with its control and direction marks made visible; it may have several lines."""
    return text.translate(_IN_LINES)


def one_line(text: str) -> str:
    """The same, with its line breaks and tabs made visible, too: it cannot pass for another line."""
    return text.translate(_ALL)


def json_text(document: str) -> str:
    """A JSON document with the marks in its texts as JSON's own escapes: it says the same."""
    return document.translate(_IN_JSON)
