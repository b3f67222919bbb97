"""`run_scenario` as a program calls it: what it refuses before anything is written, and from a notebook's cell."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mesh import Simulation, UsageError, scenario
from mesh.guard import forbid_nondeterminism
from mesh.report import Result
from mesh.runner import run_scenario

ROOT = Path(__file__).parent.parent


@scenario(title="t", title_ja="試")
async def waits(
    sim: Simulation, *, days: int = 1, share: float = 0.5, late: bool = False, word: str = "a"
) -> None:
    """Lets time pass."""
    await sim.sleep(86_400 * days)
    sim.expect("time passed", True)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"scenario": "birth"}, "run_scenario takes a Scenario, not a str"),
        ({"scenario": waits.run}, "run_scenario takes a Scenario, not a function"),
        ({"seed": "1"}, "seed as a whole number, not a str"),
        ({"seed": True}, "seed as a whole number, not a bool"),
        ({"seed": 2**63}, "a seed up to"),
        ({"seed": -(2**63)}, "seed from"),
        ({"settings": {"day": 2}}, "has no setting 'day'; its settings: days, share, late, word"),
        ({"settings": {"days": "2"}}, "the setting days takes int, not a str"),
        ({"settings": {"days": True}}, "the setting days takes int, not a bool"),
        ({"settings": {"days": 1.0}}, "the setting days takes int, not a float"),
        ({"settings": {"share": float("nan")}}, "the setting share takes float"),
        ({"settings": {"late": 1}}, "the setting late takes bool, not an int"),
        ({"trace": "run.trace"}, "trace as a pathlib.Path, not a str"),
        ({"data": "data"}, "data as a pathlib.Path, not a str"),
        ({"faults": "packet_loss"}, "faults as a Plan, not a str"),
        ({"nodes": "nodez"}, "nodes='nodez' cannot be imported"),
        ({"nodes": "json"}, "nodes='json' has no establish(sim)"),
        ({"nodes": 3}, "nodes, a package, as text, not an int"),
    ],
)
def test_wrong_arguments_are_no_result(tmp_path: Path, wrong: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"scenario": waits, "trace": tmp_path / "run.trace"} | wrong
    with pytest.raises(UsageError) as caught:
        run_scenario(given.pop("scenario"), **given)
    assert text in str(caught.value)
    assert "; " in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_whole_number_is_a_float_too() -> None:
    assert run_scenario(waits, settings={"share": 1}).held


def test_another_thread_runs_one_at_a_time() -> None:
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with forbid_nondeterminism():
            inside.set()
            done.wait()

    other = threading.Thread(target=hold)
    other.start()
    try:
        inside.wait()
        with pytest.raises(UsageError, match="a run goes on in this process already"):
            run_scenario(waits)
    finally:
        done.set()
        other.join()
    assert run_scenario(waits).held


def test_a_scenario_does_not_run_another() -> None:
    @scenario(title="t", title_ja="試")
    async def runs(sim: Simulation) -> None:
        run_scenario(waits)

    with pytest.raises(UsageError, match="a run goes on in this process already"):
        run_scenario(runs)


@pytest.mark.real_loop
async def test_in_a_running_loop_it_returns_the_result_all_the_same() -> None:
    """A cell of a notebook has a loop that runs."""
    asyncio.get_running_loop()
    result = run_scenario(waits, settings={"days": 3})
    assert isinstance(result, Result)
    assert (result.held, result.elapsed_us) == (True, 3 * 86_400_000_000)


@pytest.mark.real_loop
async def test_in_a_running_loop_it_raises_what_is_wrong() -> None:
    @scenario(title="t", title_ja="試")
    async def wrong(sim: Simulation) -> None:
        sim.crash("muni/01208/tax")

    with pytest.raises(UsageError, match="there is none at muni/01208/tax"):
        run_scenario(wrong)


ENDLESS = """
import asyncio, sys
from pathlib import Path
from mesh import Simulation, scenario
from mesh.runner import run_scenario

@scenario(title="t", title_ja="試")
async def run(sim: Simulation) -> None:
    print("goes on", flush=True)
    while True:
        await sim.sleep(1)

async def cell() -> None:
    try:
        run_scenario(run, trace=Path(sys.argv[1]))
    except KeyboardInterrupt:
        print("interrupted", Path(sys.argv[1]).exists(), flush=True)

asyncio.new_event_loop().run_until_complete(cell())
"""


def test_ctrl_c_in_a_cell_ends_the_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / "run.trace")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "goes on\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.read() == "interrupted True\n"
    assert process.returncode == 0
