"""How every test runs: in virtual time unless it says otherwise, and with the same hypothesis examples each time.

All of them together are shared among worker processes, a whole file to each at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from mesh.clock import VirtualLoop
from mesh.loading import scenarios_of
from mesh.report import Result
from mesh.runner import run_scenario
from mesh.simulation import Simulation
from mesh.testing import personal_numbers
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
WORKERS_COUNT = 2
"""Each takes some 300 MB, and a browser or a command besides; `-n` takes another number, `-n 0` none at all."""
T = TypeVar("T")

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="rewrite the stored transcripts")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real_loop: run on asyncio's own loop and the real clock")
    if sys.dont_write_bytecode and config.pluginmanager.hasplugin("cacheprovider"):
        # Every process that a test starts would compile every module again.
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(config.cache.mkdir("compiled"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Have workers, unless somebody says how many, or wants one file, or looks over the test's shoulder.

    Not as `addopts`, which would make `-p no:xdist` an error, and one file wait for workers to start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    if option.numprocesses is None and not (option.tx or option.distload):
        files = {config.invocation_params.dir / argument.partition("::")[0] for argument in config.args}
        single = len(files) == 1 and files.pop().is_file()
        watched = option.usepdb or option.capture == "no"
        option.numprocesses = 0 if single or watched else WORKERS_COUNT
    if option.numprocesses and option.dist == "no":
        # Files in their order begin with the browser's, the longest, and end with many short ones.
        option.dist, option.loadscopereorder = "loadfile", False


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
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is the same for all workers of one session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "common"
    folder.mkdir(exist_ok=True)
    return folder


def once(kept: Path, make: Callable[[], T]) -> T:
    """What `make` returns; whichever worker comes first makes it, and the others wait and read it."""
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(make()))
    made: T = pickle.loads(kept.read_bytes())
    return made


@pytest.fixture(scope="session")
def printed(common: Path) -> dict[str, Any]:
    """What `run --all --json` prints in a process of its own, whose hashes have another seed; traces are beside."""
    return once(common / "printed.pickle", lambda: _print(common / "printed"))


def _print(folder: Path) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(ROOT / "run_sim.py"), "run", "--all", "--json", "--trace", f"{folder}/"]
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    env = os.environ | {"PYTHONHASHSEED": other}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=HANG_S, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@pytest.fixture(scope="session")
def built_wheel(common: Path) -> Path:
    """A wheel built now, once in a session. `uv run` names itself in UV; its cache has hatchling, so no network."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv: the wheel was NOT built; `pip install uv` and run this again")
    return once(common / "wheel.pickle", lambda: _build(uv, common / "wheel"))


def _build(uv: str, folder: Path) -> Path:
    build = [uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)]
    done = subprocess.run([*build, "--offline"], capture_output=True, text=True, timeout=HANG_S)
    if done.returncode:
        done = subprocess.run(build, capture_output=True, text=True, timeout=HANG_S)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped scenario as it ran once, with its defaults, for all tests of one session."""

    result: Result
    trace: Path
    numbers: frozenset[str]
    """Every personal number that some node held when the story ended."""


@pytest.fixture(scope="session")
def shipped(common: Path) -> Callable[[str], Shipped]:
    """Runs a shipped scenario, once in a session: name → what came of it."""
    return cache(lambda name: once(common / f"{name}.pickle", lambda: _run(name, common / f"{name}.trace")))


def _run(name: str, trace: Path) -> Shipped:
    scenario, numbers = scenarios_of("scenarios")[name], list[str]()

    async def run_and_gather(sim: Simulation, **settings: Any) -> None:
        await scenario.run(sim, **settings)
        numbers.extend(personal_numbers(sim))

    result = run_scenario(replace(scenario, run=run_and_gather), trace=trace, nodes="nodes")
    return Shipped(result, trace, frozenset(numbers))
