"""Personal numbers (個人番号) in content that must not hold any.

Rules kept here:
1. A personal number is a run of exactly twelve digits, no part of a longer run, whose last is the check digit of
   番号法施行令8条 and 平成26年総務省令85号5条; python-stdnum computes it.
2. It is looked for after NFKC, anywhere in a text: alone, behind a label, in brackets. Between two digits of a run
   stands at most one dash or blank of any script; invisible characters do not count. A line break or tab may stand
   there too, but what stands in another line does not make a run longer.
3. A date with its time in a usual form with separators, a number behind a plus sign (a telephone number, E.164), a UUID
   and a hexadecimal code of sixteen or more characters are passed over.
4. Only strings count, keys among them. A JSON number is an amount.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from stdnum.jp.in_ import calc_check_digit

from mesh.parsing import parse_json

_BACKSLASH: Final = 0x5C
# Dash punctuation (Pd) as NFKC leaves it, U+2212 (minus) and U+30FC, which lengthens a vowel and stands for a hyphen
# where people type kana. A test compares both classes with the Unicode tables of the running Python.
_SEPARATOR: Final = (
    r"[\s\-\u058a\u05be\u1400\u1806\u2010-\u2015\u2212\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u2e5d\u301c\u3030\u30a0\u30fc"
    r"\U00010d6e\U00010ead]"
)
# Format characters (Cf), such as the soft hyphen and the zero-width space.
_INVISIBLE: Final = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    "\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
_TWELVE: Final = rf"\d(?:{_SEPARATOR}?\d){{11}}"
_NOT_LONGER: Final = rf"(?<!\d)(?<!\d{_SEPARATOR})", rf"(?!{_SEPARATOR}?\d)"
_RUN: Final = re.compile(rf"(?<!\+){_TWELVE}".join(_NOT_LONGER))
# Most contents have nowhere twelve digits in a row, and one look over their bytes says so: every digit reads as 0,
# and separators are left out, with everything that is not ASCII.
_DIGITS_AS_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_LEFT_OUT: Final = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f -" + bytes(range(0x80, 0x100))
_TWELVE_ZEROS: Final = b"0" * 12
_FOREIGN_DIGIT: Final = re.compile(r"[^\D0-9]")
_LINE_END: Final = re.compile(r"[^\S ]")

_YEAR, _MONTH, _DAY = r"(?:19|20|21)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_HOUR, _MINUTE = r"(?:[01]\d|2[0-4])", r"[0-5]\d"
_PASSED_OVER: Final = re.compile(
    "|".join(
        (
            # 2026-04-01 09:00, 2026/4/1 9:00, 2026-04-01T09:00, 2026年4月1日9時00分
            r"(?<!\d)\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?[\sT]?\d{1,2}[:時]\d{2}(?!\d)",
            # 2026-04-01 0900, 2026-04-01-09-00, 20260401-0900: nothing but separators, so it must be the whole run.
            (
                rf"(?:{_YEAR}{_SEPARATOR}{_MONTH}{_SEPARATOR}{_DAY}|{_YEAR}{_MONTH}{_DAY})"
                rf"{_SEPARATOR}{_HOUR}{_SEPARATOR}?{_MINUTE}"
            ).join(_NOT_LONGER),
            r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
            r"(?<![0-9A-Za-z])(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{16,}(?![0-9A-Za-z])",
        )
    )
)


def is_personal_number(text: str) -> bool:
    """Whether the text is or holds a valid personal number, by the rules of this module."""
    plain = unicodedata.normalize("NFKC", text)
    if not _may_hold_one(plain):
        return False
    plain = _PASSED_OVER.sub("x", _INVISIBLE.sub("", plain))
    parts = (plain, *_LINE_END.split(plain)) if _LINE_END.search(plain) else (plain,)
    return any(_is_valid(run) for part in parts for run in _RUN.findall(part))


def personal_numbers_in(data: bytes) -> bool:
    """Whether any string or key in this JSON document holds a personal number.

    The document was parsed before: for bytes that are no strict JSON the answer is False, or `MeshError`
    message_malformed is raised.
    """
    if _BACKSLASH not in data:
        if data.isascii():
            if not _has_twelve(data):
                return False
        elif not _may_hold_one(unicodedata.normalize("NFKC", data.decode("utf-8", "replace"))):
            return False
    return any(map(is_personal_number, _strings_of(parse_json(data))))


def _may_hold_one(plain: str) -> bool:
    return _FOREIGN_DIGIT.search(plain) is not None or _has_twelve(plain.encode("utf-8", "replace"))


def _has_twelve(data: bytes) -> bool:
    return data.translate(_DIGITS_AS_ZERO, _LEFT_OUT).find(_TWELVE_ZEROS) >= 0


def _is_valid(run: str) -> bool:
    digits = re.sub(r"\D", "", run)
    return bool(calc_check_digit(digits[:-1]) == str(int(digits[-1])))


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
