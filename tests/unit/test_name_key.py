"""Names are found however they are typed, and carried unchanged; a birth date alone identifies nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest
from msgspec.structs import replace

import nodes
from mesh import LegalBasis, Node, Refused, Simulation
from mesh.testing import simulation
from nodes.data.name_key import name_key
from nodes.data.people import Household, Population
from nodes.municipality.assembly import City, assemble
from nodes.municipality.benefit_rules import suspicion_of
from nodes.municipality.school_enrolment import TRANSFER, SchoolEnrolment, TransferForm


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("タナカ タロウ", "ﾀﾅｶ ﾀﾛｳ"),
        ("タナカ タロウ", "たなか　たろう"),
        ("ガッキ", "ｶﾞｯｷ"),
        ("田中 太郎", "田中太郎"),
        ("田中 太郎", "田中　太郎"),
        ("辻 葵", "辻\U000e0100 葵"),
        ("辻 葵", "辻\ufe00葵"),
        ("NGUYEN VAN AN", "Nguyen Van An"),
        ("NGUYEN VAN AN", "ＮＧＵＹＥＮ　ＶＡＮ　ＡＮ"),
        ("アン・リー", "アン リー"),
    ],
)
def test_two_ways_to_type_one_name(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("髙橋", "高橋"), ("タナカ", "タナガ"), ("ヤ", "ャ"), ("AN", "ANN")]
)
def test_other_names_stay_others(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_an_account_is_the_payees_in_half_width_too() -> None:
    assert suspicion_of("ﾀﾅｶ ﾀﾛｳ", "タナカ タロウ") is None
    assert suspicion_of("ﾀﾅｶ ﾊﾅｺ", "タナカ タロウ") == "family"
    assert suspicion_of("ｻﾄｳ ﾊﾅｺ", "タナカ タロウ") == "stranger"


@pytest.fixture
async def sim() -> AsyncIterator[Simulation]:
    with simulation() as made:
        nodes.establish(made)
        yield made


def twins_of(sim: Simulation, city: City) -> Household:
    """A household with twins of school age, settled in the city."""
    people = Population(sim)
    home = people.household("01208")
    born = date(2016, 5, 5)
    one, other = people.newborn(home, born), people.newborn(home, born)
    home = replace(home, members=(*home.members, one, other))
    city.settle(home)
    return home


async def test_twins_are_two_persons_and_the_first_is_who_an_only_child_was(sim: Simulation) -> None:
    """The case of twins born into one household."""
    people = Population(sim)
    home = people.household("01208")
    born = date(2026, 5, 20)
    one, other = people.newborn(home, born), people.newborn(home, born)
    assert (one.resident_code, one.name) != (other.resident_code, other.name)
    assert Population(sim).newborn(home, born) == one
    assert people.newborn(home, date(2028, 2, 29)).born == date(2028, 2, 29)


async def test_a_notice_is_about_one_of_two_twins(sim: Simulation) -> None:
    """The case of twins at school: the office asks for the name, and takes it however it is typed."""
    city = assemble(sim, "01208", "resident")
    home = twins_of(sim, city)
    other = home.children[1]
    office, desk = "muni/01208/school-enrolment", "muni/01208/desk"
    sim.add(SchoolEnrolment, office)
    sim.add(Node, desk)
    sim.allow(LegalBasis("muni/*/desk", "transfer", "muni/*/school-enrolment", TRANSFER.name, TRANSFER.items))

    async def file(name: str | None) -> None:
        form = TransferForm("2016-05-05", "Minami", "2026-04-01", name)
        await sim.node(desk).ask(office, TRANSFER, form, subject=city.code(home.head), procedure="transfer")

    def from_elsewhere() -> list[str]:
        return [row["child"] for row in sim.node(office, SchoolEnrolment).pupils() if row["from_school"]]

    with pytest.raises(Refused, match="manual_review"):
        await file(None)
    with pytest.raises(Refused, match="manual_review"):
        await file("somebody else")
    assert from_elsewhere() == []
    await file(other.name.replace(" ", "　"))
    assert from_elsewhere() == [city.code(other)]


async def test_the_register_finds_a_name_and_keeps_it_as_it_was_written(sim: Simulation) -> None:
    city = assemble(sim, "01208", "resident")
    home = Population(sim).household("01208")
    written = replace(home.head.given, written=f"{home.head.given.written}\U000e0101")
    head = replace(home.head, given=written)
    city.settle(replace(home, members=(head, *home.members[1:])))
    found = city.resident.find(home.head.name.replace(" ", ""), head.born.isoformat())
    assert found == [city.code(head)]
    names = [row["name"] for row in city.resident.db.execute("SELECT name FROM resident")]
    assert head.name in names
