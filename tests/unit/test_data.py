"""The tables of nodes/data: what ships is sound, and a broken row is named by file, row and column."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from mesh.errors import UsageError
from mesh.policy import FOREVER_US, Policy
from nodes.data.law import read_law
from nodes.data.municipalities import (
    COUNTS,
    check_digit,
    in_prefecture,
    municipalities,
    municipality,
    prefecture,
    read_municipalities,
)
from nodes.data.online_procedures import COUNTS as GROUPS
from nodes.data.online_procedures import read_online_procedures
from nodes.data.papers import paper, read_papers
from nodes.data.romaji import hepburn
from nodes.data.table import HERE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file in sorted(HERE.glob("*.csv")):
        shutil.copy(file, tmp_path)
    return tmp_path


def break_row(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_shipped_law_is_enacted():
    law, policy = read_law(), Policy()
    law.enact(policy)
    assert len({basis.id for basis in law.bases}) == len(law.bases) == len(policy.bases)
    assert policy.procedures["child-allowance"].title_ja == "児童手当の支給に関する事務"
    assert all(basis.citation for basis in law.bases)


def test_dates_are_those_of_japan():
    old, new = (next(one for one in read_law().bases if one.id == key) for key in ("ca-tax-cap", "ca-tax"))
    first_of_october_us = 1_727_708_400_000_000  # 2024-09-30T15:00Z
    assert old.until_us == new.from_us == first_of_october_us
    assert new.until_us == FOREVER_US
    assert "dependants" in old.items
    assert "dependants" not in new.items


def test_no_row_is_older_than_the_order_it_rests_on():
    """令和6年デジタル庁・総務省令第9号 has been in force since 27 May 2024."""
    resting = [one for one in read_law().bases if "令和6年デジタル庁・総務省令第9号" in one.citation]
    assert len(resting) >= 3
    assert [one.id for one in resting if one.from_us < 1_716_735_600_000_000] == []  # 2024-05-26T15:00Z


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("legal_basis.csv", "id,requester", "id,asker", "legal_basis.csv, row 1"),
        ("legal_basis.csv", "ca-tax-cap,", ",", "legal_basis.csv, row 2, column id"),
        ("legal_basis.csv", "ca-tax,", "ca-tax-cap,", "legal_basis.csv, row 3, column id"),
        ("legal_basis.csv", "muni/*/child-allowance,", "muni/child-allowance,", "row 2, column requester"),
        ("legal_basis.csv", ",child-allowance,muni", ",child-allowances,muni", "row 2, column procedure"),
        ("legal_basis.csv", ",muni/*/tax,", ",MUNI,", "row 2, column provider"),
        ("legal_basis.csv", "tax.income.v1", "tax.income", "row 2, column service"),
        ("legal_basis.csv", "2024-05-27", "2024-05-32", "row 2, column from"),
        ("legal_basis.csv", "2024-05-27", "2024-11-01", "row 2, column until"),
        ("legal_basis.csv", ",assessment", ",assesment", "row 2, column flags"),
        ("legal_basis.csv", ",assessment", ",subjects_max=0", "row 2, column flags"),
        ("legal_basis.csv", ",assessment", ",assessment,more", "row 2, column flags: 11 cells"),
        ("procedures.csv", "児童手当の支給に関する事務", "", "procedures.csv, row 2, column title_ja"),
        ("zone_paths.csv", ",cloud,mynumber,", ",sky,mynumber,", "zone_paths.csv, row 2, column start"),
        ("zone_paths.csv", ",cloud,mynumber,", ",cloud,sea,", "zone_paths.csv, row 2, column end"),
    ],
)
def test_a_broken_row_of_the_law_is_named(folder: Path, file: str, old: str, new: str, said: str):
    break_row(folder, file, old, new)
    with pytest.raises(UsageError) as raised:
        read_law(folder)
    assert said in str(raised.value)
    assert str(raised.value).startswith(file)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("窓口,300,", "窓口,three,", r"papers\.csv, row 2, column fee_yen"),
        ("窓口,300,", "窓口,-1,", r"papers\.csv, row 2, column fee_yen"),
        ("illustrative: set by ordinance of each municipality", "", r"papers\.csv, row 2, column source"),
    ],
)
def test_a_broken_paper_is_named(folder: Path, old: str, new: str, said: str):
    break_row(folder, "papers.csv", old, new)
    with pytest.raises(UsageError, match=said):
        read_papers(folder)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("012084", "012083", r"row 9, column code"),
        ("012084", "01208", r"row 9, column code"),
        ("012084", "0120８4", r"row 9, column code"),
        ("012033", "012025", r"row 4, column code"),
        (",釧路市,", ",,", r"row 7, column name_ja"),
        ("011002,designated-city", "011002,metropolis", r"row 2, column kind"),
        ("011002,designated-city", "011002,city", r"column kind: 19 rows of designated-city, not 20"),
    ],
)
def test_a_broken_municipality_is_named(folder: Path, old: str, new: str, said: str):
    break_row(folder, "municipalities.csv", old, new)
    with pytest.raises(UsageError, match=rf"municipalities\.csv, {said}"):
        read_municipalities(folder)


def test_a_broken_prefecture_is_named(folder: Path):
    break_row(folder, "prefectures.csv", "020001", "020002")
    with pytest.raises(UsageError, match=r"prefectures\.csv, row 3, column code"):
        read_municipalities(folder)


def test_the_whole_nation_is_there():
    """1,741 with the 23 special wards, in 47 prefectures (総務省, 全国地方公共団体コード); no village without people."""
    nation = municipalities()
    assert len(nation) == 1741 == sum(COUNTS.values())
    assert [one.code for one in nation] == sorted(one.code for one in nation)
    assert sum(len(in_prefecture(f"{number:02d}")) for number in range(1, 48)) == 1741
    assert (len(in_prefecture("01")), len(in_prefecture("13")), len(in_prefecture("16"))) == (179, 62, 15)
    assert not any(
        one.code.startswith(("01695", "01696", "01697", "01698", "01699", "017")) for one in nation
    )
    assert sum(count > 1 for count in Counter(one.name_ja for one in nation).values()) == 25


def test_readings_and_latin_names_go_with_the_names():
    endings = {"市": ("シ",), "町": ("チョウ", "マチ"), "村": ("ソン", "ムラ"), "区": ("ク",)}
    for one in municipalities():
        assert one.reading.endswith(endings[one.name_ja[-1]])
        assert one.name.replace("'", "").replace("-", "").isalpha()
        assert one.name.isascii()


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        ("01208", "city", "Kitami"),
        ("01209", "city", "Yubari"),
        ("01400", "town", "Kutchan"),
        ("13101", "special-ward", "Chiyoda"),
        ("16201", "core-city", "Toyama"),
        ("28100", "designated-city", "Kobe"),
        ("28209", "city", "Toyooka"),
        ("28586", "town", "Shin'onsen"),
        ("42208", "city", "Matsuura"),
    ],
)
def test_a_municipality_has_its_kind_and_name(code: str, kind: str, name: str):
    assert (municipality(code).kind, municipality(code).name) == (kind, name)


def test_latin_names_are_hepburn():
    names = {
        "ロッカショ": "Rokkasho",
        "コウチ": "Kochi",
        "オオサカ": "Osaka",
        "ニイガタ": "Niigata",
        "シンオンセン": "Shin'onsen",
        "キョウト": "Kyoto",
        "ジョウエツ": "Joetsu",
        "ハッチョウ": "Hatcho",
        "ヒロオ": "Hiroo",
        "トヨオカ": "Toyooka",
    }
    assert {reading: hepburn(reading) for reading in names} == names


def test_names_are_as_public_lists_write_them():
    """The case of names in Latin letters: where a word ends, a word of another language, and sources that differ."""
    names = {"20303": "Koumi", "14383": "Manazuru", "19208": "Minami-Alps", "28203": "Akashi"}
    assert {code: municipality(code).name for code in names} == names


def test_papers_are_found_by_key():
    certificate = paper("income-certificate")
    assert (certificate.fee_yen, certificate.source[:12]) == (300, "illustrative")
    assert paper("pension-proof").fee_yen == 0
    with pytest.raises(UsageError, match="no paper 'passport'"):
        paper("passport")


@pytest.mark.parametrize(("code", "digit"), [("01208", "4"), ("28100", "0"), ("13101", "6"), ("01100", "2")])
def test_the_check_digit_of_a_municipality(code: str, digit: str):
    """Sapporo 011002, Chiyoda 131016: public codes of 総務省."""
    assert check_digit(code) == digit


def test_municipalities_are_found_by_code():
    assert municipality("01208").name_ja == "北見市"
    assert municipality("28100").member == "muni/28100"
    assert municipality("28100").prefecture == prefecture("28").name == "Hyogo"
    assert (prefecture("13").member, prefecture("13").name_ja) == ("pref/13", "東京都")
    with pytest.raises(UsageError, match="no municipality 99999"):
        municipality("99999")
    with pytest.raises(UsageError, match="no prefecture 48"):
        in_prefecture("48")


def test_the_31_online_procedures():
    """15 child-rearing, 11 nursing care, 1 disaster, 4 car ownership (自治体DX推進計画)."""
    procedures = read_online_procedures()
    assert [one.number for one in procedures] == list(range(1, 32))
    assert Counter(one.group for one in procedures) == GROUPS
    assert list(GROUPS.values()) == [15, 11, 1, 4]
    assert len({one.title_ja for one in procedures}) == len({one.title for one in procedures}) == 31
    assert Counter(one.system for one in procedures) == {
        "child-allowance": 10,
        "care-insurance": 11,
        "childcare": 3,
        "child-rearing-allowance": 1,
        "health": 1,
        None: 5,
    }
    assert [one.number for one in procedures if one.kind == "pref"] == [28, 29, 30, 31]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("5,child-rearing,", "5,children,", r"row 6, column group: 'children' is none"),
        ("5,child-rearing,", "5,disaster,", r"column group: 14 rows of child-rearing, not 15"),
        (",care-insurance,", ",care,", r"row 17, column system"),
        ("妊娠の届出", "", r"row 16, column title_ja"),
        ("31,car", "30,car", r"row 32, column number"),
    ],
)
def test_a_broken_online_procedure_is_named(folder: Path, old: str, new: str, said: str):
    break_row(folder, "online_procedures.csv", old, new)
    with pytest.raises(UsageError, match=rf"online_procedures\.csv, {said}"):
        read_online_procedures(folder)
