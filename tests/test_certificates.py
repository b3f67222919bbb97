"""Signature certificates: who gets one, when it holds, what makes it lapse, and what a card signs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct, structs

from mesh import ManualReview, MeshError, Node, Refused, Simulation
from mesh.simulation import JST
from mesh.testing import simulation
from nodes import establish
from nodes.agency.card import TRIES_MAX, Card, CardRefused, Signed, read_signed
from nodes.agency.certificates import (
    CERTIFICATES,
    CHECKING,
    STATUS,
    StatusQuery,
    _birthday,
    _last_day,
    issue_card,
)
from nodes.agency.signature import check_signature
from nodes.data.people import Household, Move, Population
from nodes.municipality.assembly import City, assemble

PASSWORD = "ABC123"


class Form(Struct, frozen=True):
    text: str


class RelyingParty(Node):
    """Stands at an address that the law lets ask."""

    zone = "mynumber"


class Town:
    """Kitami, a family, and the father's card."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.city: City = assemble(sim, "01208", "resident")
        self.family: Household = Population(sim).household(
            "01208", child_ages=(3,), moves=(Move(date(2026, 3, 20), "28100", "01208"),)
        )
        self.father, self.mother = self.family.parents
        sim.add(RelyingParty, self.city.address("application-management"))
        self.desk = sim.node(self.city.address("application-management"), RelyingParty)
        self.card: Card = issue_card(sim, self.father, PASSWORD)

    async def status(self, at: datetime | None = None, serial: str | None = None) -> str:
        at_us = self.sim.now_us() if at is None else round(at.timestamp()) * 1_000_000
        query = StatusQuery(serial or self.card.serial, at_us)
        return (await self.desk.ask(CERTIFICATES, STATUS, query, procedure=CHECKING)).status


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    with simulation(starts="2026-04-01T09:00:00+09:00") as sim:
        establish(sim)
        yield Town(sim)


async def test_it_holds_from_its_issue_to_the_fifth_birthday(town: Town):
    last = _last_day(town.father.born, date(2026, 4, 1))
    assert (last.month, last.day) == (town.father.born.month, town.father.born.day)
    assert 4 <= (last - date(2026, 4, 1)).days / 365.25 <= 5
    end = datetime.combine(last + timedelta(days=1), datetime.min.time(), tzinfo=JST)
    assert await town.status() == "valid"
    assert await town.status(end - timedelta(seconds=1)) == "valid"
    assert await town.status(end) == "expired"
    assert await town.status(datetime(2026, 3, 31, 23, 59, 59, tzinfo=JST)) == "not-yet-valid"


@pytest.mark.parametrize(
    ("issued_on", "last"),
    [
        (date(2026, 5, 19), date(2030, 5, 20)),
        (date(2026, 5, 20), date(2031, 5, 20)),
        (date(2026, 5, 21), date(2031, 5, 20)),
    ],
)
def test_the_fifth_birthday_after_the_issue(issued_on: date, last: date):
    assert _last_day(date(1990, 5, 20), issued_on) == last
    assert _birthday(date(2000, 2, 29), 5) == date(2005, 2, 28)


async def test_a_child_gets_none(town: Town):
    with pytest.raises(ManualReview):
        issue_card(town.sim, town.family.children[0], PASSWORD)


async def test_a_new_name_and_a_death_make_it_lapse_and_not_before(town: Town):
    other = issue_card(town.sim, town.mother, PASSWORD)
    town.city.settle(town.family)
    before = town.sim.now()
    await town.sim.sleep(10)
    town.city.resident.register_name(town.city.code(town.father), "北見 太郎", "キタミ タロウ")
    await town.sim.sleep(10)
    assert await town.status() == "revoked"
    assert await town.status(before) == "valid"
    assert await town.status(serial=other.serial) == "valid"
    again = issue_card(town.sim, town.father, PASSWORD)
    assert await town.status(serial=again.serial) == "valid"
    town.city.resident.register_death(town.city.code(town.father))
    await town.sim.sleep(10)
    assert await town.status(serial=again.serial) == "revoked"


async def test_a_new_certificate_takes_the_place_of_the_old(town: Town):
    again = issue_card(town.sim, town.father, PASSWORD)
    assert (await town.status(), await town.status(serial=again.serial)) == ("revoked", "valid")


async def test_only_relying_parties_are_answered(town: Town):
    query = StatusQuery(town.card.serial, town.sim.now_us())
    for wrong in ({"procedure": CHECKING}, {}):
        with pytest.raises(Refused, match=r"no_legal_basis|zone_forbidden"):
            await town.city.resident.ask(CERTIFICATES, STATUS, query, **wrong)
    with pytest.raises(Refused, match="not_found"):
        await town.status(serial="sc-0123456789abcdef")


async def test_a_signature_is_checked_in_full(town: Town):
    signed = town.card.sign(Form("nursery"), PASSWORD)
    certificate, document = await check_signature(town.desk, signed, town.sim.now_us())
    assert (certificate.serial, document) == (town.card.serial, b'{"text":"nursery"}')
    strangers = issue_card(town.sim, town.mother, PASSWORD).sign(Form("nursery"), PASSWORD)
    for broken in (
        structs.replace(signed, document=strangers.document),
        structs.replace(signed, document=signed.document[:-4] + "AAAA"),
        structs.replace(signed, certificate=strangers.document),
    ):
        with pytest.raises(MeshError):
            await check_signature(town.desk, broken, town.sim.now_us())
    late = town.sim.now_us() + 6 * 365 * 86_400_000_000
    with pytest.raises(MeshError, match="certificate_expired"):
        await check_signature(town.desk, signed, late)


async def test_a_certificate_counts_only_from_the_authority(town: Town):
    signed = town.card.sign(Form("nursery"), PASSWORD)
    with pytest.raises(MeshError, match="key_unknown"):
        read_signed(signed, town.sim.keys_of(town.desk.address).signing.public)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_card_outlives_the_key_that_certified_it_unless_that_is_revoked(revoked: bool, town: Town):
    signed = town.card.sign(Form("nursery"), PASSWORD)
    town.sim.change_keys(CERTIFICATES, revoked=revoked)
    await town.sim.sleep(1)
    if not revoked:
        certificate, _ = await check_signature(town.desk, signed, town.sim.now_us())
        assert certificate.serial == town.card.serial
    else:
        with pytest.raises(MeshError, match="certificate_revoked"):
            await check_signature(town.desk, signed, town.sim.now_us())
    new = issue_card(town.sim, town.father, PASSWORD).sign(Form("nursery"), PASSWORD)
    certificate, _ = await check_signature(town.desk, new, town.sim.now_us())
    assert certificate.serial != town.card.serial


async def test_a_card_wants_its_password_and_locks_after_five_wrong_ones(town: Town):
    def attempt(password: str) -> Any:
        return town.card.sign(Form("x"), password)

    for _ in range(TRIES_MAX - 1):
        with pytest.raises(CardRefused, match="wrong"):
            attempt("WRONG1")
    assert isinstance(attempt(PASSWORD), Signed)
    for _ in range(TRIES_MAX):
        with pytest.raises(CardRefused, match="wrong"):
            attempt("WRONG1")
    with pytest.raises(CardRefused, match="locked"):
        attempt(PASSWORD)


async def test_who_was_struck_off_has_no_household(town: Town):
    town.city.settle(town.family)
    town.city.resident.register_death(town.city.code(town.father))
    with pytest.raises(MeshError, match="not_found"):
        town.city.resident.register_death(town.city.code(town.father))
