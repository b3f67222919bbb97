"""Nothing of a run stays in its process: neither the mesh that it was, nor memory."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Final, Literal

import msgspec
import pytest
from msgspec import Struct

from mesh.errors import UsageError
from mesh.gates import Walk
from mesh.loading import modules_of, plans_of, scenarios_of
from mesh.party import Admitted
from mesh.report import Result
from mesh.runner import run_scenario
from mesh.scenario import Scenario, scenario
from mesh.simulation import Simulation
from tests.sweeps.nothing_stays import GROWTH_MAX_MIB, alive, growth_mib, play

LEAVES: Final = (str, int, float, bool, bytes, types.NoneType, msgspec.Raw, Walk)
"""What points at nothing that could point back; a walk points at the tables of gates."""


@pytest.fixture(autouse=True)
def nothing_more() -> Iterator[None]:
    """After a test nothing is alive that was not alive before it.

    What was there before belongs to other tests of this process, such as a failed one, whose frames are kept. It is
    told by identity and held meanwhile, so that nothing can take its place unseen.
    """
    before = alive()
    yield
    known = set(map(id, before))
    assert [type(one).__name__ for one in alive() if id(one) not in known] == []


def shipped(name: str) -> Scenario:
    return scenarios_of("scenarios")[name]


def test_no_simulation_host_or_node_is_alive_after_three_runs() -> None:
    play(shipped("moving"), 3)


def test_nor_after_a_run_that_faults_ended() -> None:
    result: Result = run_scenario(
        shipped("moving"), nodes="nodes", faults=plans_of("scenarios")["city_offline"]
    )
    assert result.refusals


def test_nor_after_a_run_that_could_not_go_on() -> None:
    @scenario(title="Broken", title_ja="故障", sources=("illustrative",))
    async def broken(sim: Simulation) -> None:
        await shipped("birth").run(sim)
        sim.node("muni/00000/nobody")

    with pytest.raises(UsageError):
        run_scenario(broken, nodes="nodes")


def test_twenty_births_leave_the_process_as_large_as_five() -> None:
    assert growth_mib(shipped("birth"), 20) <= GROWTH_MAX_MIB


def untracked() -> Iterator[type[Struct]]:
    """Every struct that the garbage collector does not see."""
    for module in (*modules_of("mesh"), *modules_of("nodes"), *modules_of("scenarios")):
        for value in vars(module).values():
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and issubclass(value, Struct) and not value.__struct_config__.gc:
                yield value


def points_at(wanted: Any) -> Iterator[type]:
    """The classes that a value of an annotated type may be of, or hold."""
    if isinstance(wanted, type) and not typing.get_args(wanted):
        yield wanted
    elif typing.get_origin(wanted) is not Literal:
        for one in typing.get_args(wanted):
            if not isinstance(one, msgspec.Meta):
                yield from points_at(one)


def test_what_the_collector_does_not_see_holds_nothing_that_could_hold_it() -> None:
    """Else a cycle through it is never freed, and with it whatever hangs on it."""
    found = list(untracked())
    assert Admitted in found
    for struct in found:
        for name, wanted in typing.get_type_hints(struct, include_extras=True).items():
            if (struct, name) == (Admitted, "message"):
                continue  # One of the structs of `mesh.message`, all of which are among those found.
            classes = list(points_at(wanted))
            assert classes or typing.get_origin(wanted) is Literal, f"{struct.__name__}.{name} is of any type"
            for cls in classes:
                assert issubclass(cls, LEAVES) or cls in found, (
                    f"{struct.__name__}.{name} may hold {cls.__name__}"
                )
