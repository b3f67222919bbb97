"""The same seed gives the same run, byte for byte, in any process; another seed gives another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from mesh import Caller, LegalBasis, Node, PersonalService, serves
from mesh.clock import run
from mesh.loading import scenarios_of
from mesh.message import Reply, Request
from mesh.names import member_of
from mesh.runner import run_scenario
from mesh.testing import messages, simulation
from tests.conftest import Shipped

SCENARIOS = scenarios_of("scenarios")


def sha256_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", SCENARIOS)
def test_equal_runs_are_equal_files_in_two_processes_with_different_hash_seeds(
    name: str, shipped: Callable[[str], Shipped], printed: dict[str, Any]
) -> None:
    (there,) = (one["trace"] for one in printed["runs"] if one["scenario"] == name)
    assert sha256_of(shipped(name).trace) == sha256_of(Path(there))


@pytest.mark.parametrize("name", ["birth", "child_allowance", "hostile_mesh"])
def test_another_seed_is_another_run(name: str, shipped: Callable[[str], Shipped], tmp_path: Path) -> None:
    result = run_scenario(SCENARIOS[name], seed=2, trace=tmp_path / "other.trace", nodes="nodes")
    assert result.held
    assert sha256_of(shipped(name).trace) != sha256_of(tmp_path / "other.trace")


class Query(Struct, frozen=True, forbid_unknown_fields=True):
    year: int


class Amount(Struct, frozen=True):
    amount: int


AMOUNT = PersonalService("repeat.amount.v1", Query, Amount, title="Amount", title_ja="数量")


class Keeper(Node):
    @serves(AMOUNT)
    async def amount(self, query: Query, caller: Caller, person: str) -> Amount:
        return Amount(amount=self.host.random.getrandbits(40))


async def said(asker: str, keeper: str, *, beside: tuple[str, str] | None = None) -> list[Any]:
    """What two nodes say to each other in three exchanges; `beside` two others do the same at the same time."""
    pairs = [(asker, keeper), *([beside] if beside else [])]
    with simulation(seed=7) as sim:
        for one, other in reversed(pairs):
            sim.add(Node, one)
            sim.add(Keeper, other)
            sim.allow(LegalBasis(one, "relief", other, AMOUNT.name, ("amount",)))

        async def exchange(one: str, other: str) -> list[int]:
            person = sim.code(member_of(one), sim.resident("12345678901"))
            ask = partial(sim.node(one).ask, other, AMOUNT, Query(2025), subject=person, procedure="relief")
            return [(await ask()).amount for _ in range(3)]

        *_, amounts = await asyncio.gather(*(exchange(*pair) for pair in reversed(pairs)))
        asked = [one.message for one in messages(sim, Request) if one.message.source == asker]
        answered = [one.message for one in messages(sim, Reply) if one.message.source == keeper]
    # A permit names the registry's version, so its digest is all that may differ.
    return [amounts, *asked, *(msgspec.structs.replace(one, permitdigest=None) for one in answered)]


def test_nodes_that_are_added_change_nothing_that_others_draw() -> None:
    """Ids, ephemeral keys and what handlers draw: all of it is in the signed messages, which stay equal."""
    pair = ("muni/28100/asker", "muni/01208/keeper")
    alone = run(said(*pair))
    beside = run(said(*pair, beside=("muni/04100/asker", "muni/01208/a")))
    assert len(alone) > 12
    assert beside == alone
