"""A scenario told in a test: that it holds, and that it stops holding when a node is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

import nodes
from mesh.keys import NodeKeys
from mesh.registry import KeyHolders
from mesh.report import Result
from mesh.runner import run_scenario
from mesh.scenario import Scenario
from mesh.simulation import Simulation
from mesh.testing import simulation
from mesh.trace.rows import Expectation
from nodes.municipality.tax import TaxOffice

Sabotaging = Callable[[pytest.MonkeyPatch, Simulation], None]
"""A way to break what some expectation watches, in a simulation that is about to tell its story."""


def failed(expectations: Iterable[Expectation]) -> list[str]:
    """The texts of those that did not hold."""
    return [one.text for one in expectations if not one.held]


def hold(scenario: Scenario, *, seed: int = 1, **settings: Any) -> Result:
    """Run it and see that every expectation holds, and is said in both languages; what came of it."""
    result = run_scenario(scenario, seed=seed, settings=settings, nodes="nodes")
    assert result.error is None
    assert failed(result.expectations) == []
    assert result.held
    assert all(one.text != one.text_ja for one in result.expectations)
    return result


async def see_fail(
    scenario: Scenario,
    sabotage: Sabotaging,
    words: list[str],
    patch: pytest.MonkeyPatch,
    **settings: Any,
) -> None:
    """Tell the story over broken nodes: for each of the words, some expectation that has it fails."""
    with simulation(starts=scenario.starts) as sim:
        nodes.establish(sim)
        sabotage(patch, sim)
        # What is broken may break the story off later: what came before counts.
        with suppress(Exception):
            await scenario.run(sim, **settings)
        fell = failed(sim.trace.expectations)
    assert [word for word in words if not any(word in text for text in fell)] == [], fell


def one_code_for_all(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
    """Issue codes that differ between members in the name in front alone."""
    cipher = sim.codes._make_cipher("everybody")
    sim.codes._cipher = lambda member: cipher  # type: ignore[assignment, method-assign]


def one_key_for_two(patch: pytest.MonkeyPatch, of: str, held_by: str) -> None:
    """Give a node the sealing key of another, by an authority that does not look who has it already."""
    keys_of = Simulation.keys_of

    def shared(self: Simulation, address: str) -> NodeKeys:
        return replace(keys_of(self, address), sealing=keys_of(self, address.replace(held_by, of)).sealing)

    patch.setattr(Simulation, "keys_of", shared)
    patch.setattr(KeyHolders, "check", lambda self, entry: None)


def no_history(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
    """Show nobody anything of what was asked about them."""
    patch.setattr("mesh.broker.history_of", lambda *_: ())


def copies_as_of_now(patch: pytest.MonkeyPatch, sim: Simulation) -> None:
    """Let every tax office say of its copies that they are of the moment in which somebody asks."""
    replica = TaxOffice._replica

    def fresh(self: TaxOffice, person: str, tax_year: int, *, to_self: bool = False) -> dict[str, object]:
        row = replica(self, person, tax_year, to_self=to_self)
        return dict(row) | {"registered_us": self.host.now_us()}

    patch.setattr(TaxOffice, "_replica", fresh)


def named(value: object) -> str:
    """The id of a sabotage among a test's parameters; the words beside it give none."""
    return value.__name__ if callable(value) else ""
