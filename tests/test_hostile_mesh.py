"""The scenario `hostile_mesh`: it holds, and what it says of codes, seals and ledgers can fail."""

from __future__ import annotations

from typing import Any

import pytest

from mesh import Simulation
from mesh.names import BROKER
from mesh.testing import keep_record, messages
from scenarios.hostile_mesh import KOBE, Desk, IncomeOffice, run
from tests.helpers_scenario import Sabotaging, hold, named, one_code_for_all, one_key_for_two, see_fail


@pytest.mark.parametrize("seed", [1, 2])
def test_it_holds(seed: int) -> None:
    hold(run, seed=seed)


class Sabotage:
    """Ways to break what an expectation watches."""

    @staticmethod
    def a_broker_with_kobes_key(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        one_key_for_two(patch, KOBE, BROKER)

    @staticmethod
    def a_desk_that_tells_more(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """It names a consent that nobody needs, for everybody on the way to read."""
        ask = Desk.ask

        async def telling(self: Desk, to: str, service: Any, query: Any, **how: Any) -> Any:
            return await ask(self, to, service, query, **how, consent="c-0001")

        patch.setattr(Desk, "ask", telling)

    @staticmethod
    def a_ledger_of_hearsay(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """Kitami notes the first line down that comes in its name, whoever signed it."""
        transmit, heard = Simulation.transmit, list[bytes]()

        def noted(self: Simulation, sender: str, recipient: str, line: bytes) -> None:
            if not heard:
                heard.append(line)
                keep_record(self, line)
            transmit(self, sender, recipient, line)

        patch.setattr(Simulation, "transmit", noted)

    @staticmethod
    def a_ledger_of_repeats(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        """Kitami notes its own line down once more when somebody else sends it again."""
        transmit = Simulation.transmit

        def noted(self: Simulation, sender: str, recipient: str, line: bytes) -> None:
            if any(one.line == line for one in messages(self)):
                keep_record(self, line)
            transmit(self, sender, recipient, line)

        patch.setattr(Simulation, "transmit", noted)

    @staticmethod
    def another_income(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
        learn = IncomeOffice.learn
        patch.setattr(IncomeOffice, "learn", lambda self, person, yen: learn(self, person, yen // 10))


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (one_code_for_all, ["records share no code", "Kobe share no code", "finds its own code"]),
        (Sabotage.a_broker_with_kobes_key, ["could open none"]),
        (Sabotage.a_desk_that_tells_more, ["What it reads of a request"]),
        (Sabotage.a_ledger_of_hearsay, ["stands in no ledger"]),
        (Sabotage.a_ledger_of_repeats, ["that was sent again"]),
        (Sabotage.another_income, ["A lawful question is answered"]),
    ],
    ids=named,
)
async def test_each_expectation_can_fail(
    sabotage: Sabotaging, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await see_fail(run, sabotage, words, monkeypatch)
