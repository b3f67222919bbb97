"""Latin letters for readings: Hepburn without marks for long vowels, as Japanese signposts write names.

「キタミ」 is Kitami, 「コウベ」 Kobe, 「シンオンセン」 Shin'onsen. A reading does not tell where a word ends. オ or ウ
after an o- or u-sound is taken as a long vowel, unless `PARTED` knows that it begins a word of its own: 「マツウラ」
is Matsuura, 「トヨオカ」 Toyooka, 「コウミ」 (小海, a small sea) Koumi.
"""

from __future__ import annotations

import re
from typing import Final

PARTED: Final = re.compile(
    "(カツ|コト|トヨ|マツ)(ウラ)|(コ)(ウミ)|(セト|ノ)(ウチ)|(ノ)(ウエ|オモテ)|(モ|トヨ)(オカ)|(ソ|ヒロ|ミノ)(オ)"
)
"""Where a word ends in a name of `municipalities.csv` and the next begins with the same vowel."""

FOREIGN: Final = {"アルプス": "Alps"}
"""Words of other languages in a name: they are written as there, behind a hyphen (南アルプス市, Minami-Alps)."""

_SOUNDS: Final = {
    kana: roman
    for row, romans in (
        ("アイウエオ", "a i u e o"),
        ("カキクケコ", "ka ki ku ke ko"),
        ("ガギグゲゴ", "ga gi gu ge go"),
        ("サシスセソ", "sa shi su se so"),
        ("ザジズゼゾ", "za ji zu ze zo"),
        ("タチツテト", "ta chi tsu te to"),
        ("ダヂヅデド", "da ji zu de do"),
        ("ナニヌネノ", "na ni nu ne no"),
        ("ハヒフヘホ", "ha hi fu he ho"),
        ("バビブベボ", "ba bi bu be bo"),
        ("パピプペポ", "pa pi pu pe po"),
        ("マミムメモ", "ma mi mu me mo"),
        ("ヤユヨワヲ", "ya yu yo wa o"),
        ("ラリルレロ", "ra ri ru re ro"),
    )
    for kana, roman in zip(row, romans.split(), strict=True)
}
_GLIDES: Final = {"ャ": "a", "ュ": "u", "ョ": "o"}


def hepburn(reading: str) -> str:
    """A name from its reading in katakana; `KeyError` for a letter that no name has."""
    for word, written in FOREIGN.items():
        if reading.endswith(word) and reading != word:
            return f"{hepburn(reading.removesuffix(word))}-{written}"
    text = ""
    doubled = False
    for kana in PARTED.sub(lambda match: "・".join(filter(None, match.groups())), reading):
        if kana in _GLIDES:
            stem = text[:-1]
            text = stem + ("" if stem.endswith(("sh", "ch", "j")) else "y") + _GLIDES[kana]
        elif kana == "ッ":
            doubled = True
        elif kana == "ン":
            text += "N"
        elif kana == "・":
            text += kana
        elif kana != "ー":
            sound = _SOUNDS[kana]
            if doubled:
                sound = ("t" if sound.startswith("ch") else sound[0]) + sound
            text += sound
            doubled = False
    text = re.sub(r"([ou])\1|ou", lambda match: match[0][0], text)
    text = re.sub(r"N(?=[aiueoy])", "n'", text)
    return text.replace("・", "").replace("N", "n").capitalize()
