"""What the length of a sealed line tells: nothing of a value, and of content one of a few sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mesh.padding import SIZES
from mesh.trace.reader import Trace
from tests.conftest import Shipped
from tests.sweeps import sealed_sizes
from tests.sweeps.sealed_sizes import Sealed, alike, seals_in, table

SCENARIOS = ("benefit_payment", "car_ownership", "child_allowance", "child_support", "disaster", "moving")


@pytest.fixture(scope="module")
def seals(shipped: Callable[[str], Shipped]) -> list[Sealed]:
    found: list[Sealed] = []
    for name in SCENARIOS:
        with Trace.open(shipped(name).trace) as trace:
            found += seals_in(trace)
    return found


def test_answers_that_differ_in_a_value_have_one_length(seals: list[Sealed]) -> None:
    groups = alike(seals)
    told = {key[:3] for key, some in groups.items() if len({one.line_size for one in some}) > 1}
    assert told == set()
    # True and false, numbers, texts: without padding the length would tell them apart.
    bare = [{len(str(one.content)) for one in some} for some in groups.values()]
    assert sum(len(lengths) > 1 for lengths in bare) > 10
    assert any({True, False} <= {one.content.get("taxed") for one in some} for some in groups.values())


def test_everything_sealed_has_one_of_the_sizes(seals: list[Sealed]) -> None:
    assert {one.size for one in seals} <= set(SIZES)
    assert {one.part for one in seals} == set(sealed_sizes.PARTS)


@pytest.mark.parametrize("part", ["subject", "reason"])
def test_a_subject_has_one_size_and_so_has_a_reason(part: str, seals: list[Sealed]) -> None:
    assert {one.size for one in seals if one.part == part} == {256}


def test_the_table_names_every_service_with_its_sizes(seals: list[Sealed]) -> None:
    lines = list(table(seals))[2:]
    assert len(lines) == len({one.service for one in seals})
    (taxed,) = (line for line in lines if "`tax.taxed.v1`" in line)
    assert [cell.strip().partition(" ")[0] for cell in taxed.split("|")[2:5]] == ["256", "256", "256"]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert sealed_sizes.main(["--only", "birth"]) == 0
    assert "\n| `tax.income.v1` | 256 × 4 | 256 × 4 | 256 × 4 |" in capsys.readouterr().out
