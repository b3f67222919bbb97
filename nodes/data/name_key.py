"""Under which key a name is looked for, however it was typed; the name itself is kept and carried unchanged.

Two ways of typing one name have one key: full and half width (NFKC), hiragana and katakana, with and without spaces and
middle dots, with and without variation selectors (異体字セレクター: 「辻󠄀」 and 「辻」), capital and small Latin letters. Characters of
their own, such as 髙 and 高, stay different: whether they are one name is for an official to say.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SELECTORS: Final = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_SEPARATORS: Final = re.compile(r"[\s・.,]+")
_HIRAGANA: Final = {code: code + 0x60 for code in range(0x3041, 0x3097)}


def name_key(name: str) -> str:
    """The key of a whole name."""
    return "".join(name_parts(name))


def name_parts(name: str) -> list[str]:
    """The keys of a name's parts, as its spaces and middle dots part it: family name first, or only one."""
    plain = unicodedata.normalize("NFKC", _SELECTORS.sub("", name)).translate(_HIRAGANA).casefold()
    return [part for part in _SEPARATORS.split(plain) if part]
