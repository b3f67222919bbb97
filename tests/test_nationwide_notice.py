"""The scenario `nationwide_notice` holds, and each of its expectations fails when what it watches is broken."""

from __future__ import annotations

from typing import Any

import pytest

import nodes
from mesh import LegalBasis, Simulation, UsageError, places
from mesh.runner import run_scenario
from mesh.testing import simulation
from nodes.municipality.notices import PROCEDURE, NoticeOffice
from nodes.portal.inbox import PORTAL, PORTAL_LETTER, Letter, Portal
from scenarios._nationwide_post import SLOW_US
from scenarios.nationwide_notice import MUNICIPALITIES
from scenarios.nationwide_notice import run as nationwide
from tests.helpers_scenario import Sabotaging, hold, named, see_fail

FEW = {"municipalities": 60, "residents": 1, "late_every": 10}


@pytest.mark.parametrize("seed", [2, 3, 7])
def test_it_holds_for_few(seed: int) -> None:
    result = hold(nationwide, seed=seed, **FEW)
    assert result.report.push.eligible == result.report.push.notified > 150
    assert list(result.report.disclosed) == [PORTAL]


def test_it_holds_for_ten_residents_each() -> None:
    hold(nationwide, **(FEW | {"residents": 10}))


def test_all_take_part_by_default() -> None:
    defaults = {setting.name: setting.default for setting in nationwide.settings}
    assert defaults["municipalities"] == MUNICIPALITIES == 1741


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("municipalities", 49),
        ("municipalities", 1742),
        ("residents", 0),
        ("residents", 11),
        ("late_every", 1),
    ],
)
def test_settings_that_make_no_sense(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"--set {name} is"):
        run_scenario(nationwide, settings=FEW | {name: value}, nodes="nodes")


async def test_a_second_list_does_not_disturb_the_first() -> None:
    with simulation() as sim:
        nodes.establish(sim)
        sim.add(NoticeOffice, "muni/01208/notices")
        office, portal = sim.node("muni/01208/notices", NoticeOffice), sim.node(PORTAL, Portal)
        handles = [sim.resident(f"{number:011d}") for number in range(70)]
        codes = [sim.code("muni/01208", handle) for handle in handles]
        office.send(Letter("First", "一通目", "2026-04-30"), codes)
        office.send(Letter("Second", "二通目", "2026-05-31"), codes[:2])
        assert office.unsent() == 72
        await sim.sleep(10)
        assert (office.unsent(), office.unsigned()) == (0, 0)
        mine = portal.letters(sim.code("gov/portal", handles[0]))
        assert [row["title"] for row in mine] == ["First", "Second"]
        assert len(portal.letters(sim.code("gov/portal", handles[-1]))) == 1


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def nobody_goes_on(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(NoticeOffice, "start", lambda self: None)

    @staticmethod
    def the_mark_is_lost(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """Who comes up again finds everybody unsent."""

        def forgetful(self: NoticeOffice) -> None:
            with self.effect():
                self.db.execute("UPDATE addressee SET message = NULL")
            self._go_on()

        patch.setattr(NoticeOffice, "start", forgetful)

    @staticmethod
    def more_at_once(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(places, "UNRECEIPTED_MAX", 64)
        patch.setattr(places, "FRESH_MAX", 64)
        patch.setattr("nodes.municipality.notices.UNRECEIPTED_MAX", 64)

    @staticmethod
    def a_row_for_prefectures(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        sim.allow(LegalBasis("pref/*/notices", PROCEDURE, PORTAL, PORTAL_LETTER.name, PORTAL_LETTER.items))

    @staticmethod
    def one_letter_at_a_time(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        patch.setattr(places, "UNRECEIPTED_MAX", 1)
        patch.setattr(places, "FRESH_MAX", 1)
        patch.setattr("nodes.municipality.notices.UNRECEIPTED_MAX", 1)

    @staticmethod
    def letters_from_elsewhere(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """The portal files each letter under another resident."""
        take = Portal.take_letter

        async def swapped(self: Portal, letter: Any, caller: Any, person: str) -> None:
            await take(self, letter, caller, person[:-1])

        swapped.__mesh_declaration__ = PORTAL_LETTER  # type: ignore[attr-defined]
        patch.setattr(Portal, "take_letter", swapped)

    @staticmethod
    def a_city_that_does_not_write(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        send = NoticeOffice.send

        def some(self: NoticeOffice, letter: Letter, codes: list[str]) -> None:
            if self.member != "muni/01100":
                send(self, letter, codes)

        patch.setattr(NoticeOffice, "send", some)

    @staticmethod
    def everybody_waits_for_the_village(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """As slow a line for all as for the village, until ten."""
        sim.disturbance.rules.append(
            lambda *line: ((SLOW_US + 1_000_000, line[2]),) if sim.loop.now_us < 1_800_000_000 else None
        )

    @staticmethod
    def the_late_are_served_last(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """A slow line for all, from ten on."""
        sim.disturbance.rules.append(
            lambda *line: ((SLOW_US, line[2]),) if sim.loop.now_us >= 3_600_000_000 else None
        )


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (Sabotage.nobody_goes_on, ["exactly one letter", "up again"]),
        (Sabotage.the_mark_is_lost, ["exactly one letter", "up again"]),
        (Sabotage.more_at_once, ["first way to the portal", "of them unsigned"]),
        (Sabotage.one_letter_at_a_time, ["first way to the portal", "of them unsigned"]),
        (Sabotage.a_row_for_prefectures, ["prefecture is not a sender"]),
        (Sabotage.letters_from_elsewhere, ["exactly one letter"]),
        (Sabotage.a_city_that_does_not_write, ["each from its own system"]),
        (Sabotage.everybody_waits_for_the_village, ["nobody waited for stragglers"]),
        (Sabotage.the_late_are_served_last, ["began at ten as quickly"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(nationwide, sabotage, words, monkeypatch, **FEW)
