"""How every test runs: in virtual time unless it says otherwise, and with the same hypothesis examples each time."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from mesh.clock import VirtualLoop
from mesh.loading import scenarios_of
from mesh.report import Result
from mesh.runner import run_scenario
from mesh.simulation import Simulation
from mesh.testing import personal_numbers

ROOT = Path(__file__).parent.parent

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="rewrite the stored transcripts")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_loop: run on asyncio's own loop and the real clock")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One factory, so that the test keeps its plain name."""
    if item.get_closest_marker("real_loop") is not None:
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    """Whether stored files are to be rewritten instead of compared."""
    return bool(request.config.getoption("--renew"))


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `run --all --json` prints in a process of its own, whose hashes have another seed; traces are beside."""
    folder = tmp_path_factory.mktemp("printed")
    command = [sys.executable, str(ROOT / "run_sim.py"), "run", "--all", "--json", "--trace", f"{folder}/"]
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    env = os.environ | {"PYTHONHASHSEED": other}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=200, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped scenario as it ran once, with its defaults, for all tests of one session."""

    result: Result
    trace: Path
    numbers: frozenset[str]
    """Every personal number that some node held when the story ended."""


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shipped]:
    """Runs a shipped scenario, once in a session: name → what came of it."""
    folder, runs = tmp_path_factory.mktemp("shipped"), dict[str, Shipped]()

    def run(name: str) -> Shipped:
        if name not in runs:
            runs[name] = _run(name, folder / f"{name}.trace")
        return runs[name]

    return run


def _run(name: str, trace: Path) -> Shipped:
    scenario, numbers = scenarios_of("scenarios")[name], list[str]()

    async def run_and_gather(sim: Simulation, **settings: Any) -> None:
        await scenario.run(sim, **settings)
        numbers.extend(personal_numbers(sim))

    result = run_scenario(replace(scenario, run=run_and_gather), trace=trace, nodes="nodes")
    return Shipped(result, trace, frozenset(numbers))
