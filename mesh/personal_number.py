"""Personal numbers (個人番号) in content that must not hold any.

Rules kept here:
1. A personal number is twelve digits whose last is the check digit of 番号法施行令8条 and
   平成26年総務省令85号5条; python-stdnum computes it.
2. How it is written does not matter: full-width and other digits, hyphens and spaces of any script.
3. Only strings count, keys among them. A JSON number is an amount.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from stdnum.jp.in_ import calc_check_digit

from mesh.parsing import parse_json

_DIGITS_COUNT = 12
_BACKSLASH = 0x5C
_DIGIT = re.compile(r"\d")
# U+2212 is the minus sign; U+30FC lengthens a vowel and stands for a hyphen where people type kana.
_HYPHENS = "\u2212\u30fc"
# A string of digits, spaces, hyphens and whatever is not ASCII; each digit takes a byte at least, for no
# character shorter in UTF-8 than its digits exists. In JSON without escapes no text between two strings
# matches, because a comma or colon stands there.
_CANDIDATE = re.compile(rb'"([0-9 \-\x80-\xff]{12,}+)"')


def is_personal_number(text: str) -> bool:
    """Whether the text, after NFKC and without hyphens and spaces, is a valid personal number.

    Hyphens are dash punctuation (Pd), U+2212 and U+30FC. Invisible characters (Cf), such as the soft
    hyphen, are passed over too.
    """
    plain = unicodedata.normalize("NFKC", text)
    digits = "".join(_DIGIT.findall(plain))
    if len(digits) != _DIGITS_COUNT or not all(map(_is_filler, _DIGIT.sub("", plain))):
        return False
    return bool(calc_check_digit(digits[:-1]) == str(int(digits[-1])))


def personal_numbers_in(data: bytes) -> bool:
    """Whether any string or key in this JSON document is a personal number.

    The document was parsed before: bytes that are no strict JSON are searched as they are, or raise
    `MeshError` message_malformed.
    """
    if _BACKSLASH in data:
        return any(map(is_personal_number, _strings_of(parse_json(data))))
    found = _CANDIDATE.findall(data)
    return bool(found) and any(is_personal_number(text.decode("utf-8", "replace")) for text in found)


def _is_filler(character: str) -> bool:
    return character.isspace() or character in _HYPHENS or unicodedata.category(character) in ("Pd", "Cf")


def _strings_of(document: object) -> Iterator[str]:
    """Every string value and key of a parsed document."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.keys())
            pending.extend(value.values())
