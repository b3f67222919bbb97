"""The guard: what fails inside, what goes on working, and that leaving restores the machine."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from mesh.clock import run
from mesh.errors import UsageError
from mesh.guard import Nondeterminism, forbid_nondeterminism, real_monotonic

# Lambdas, because a name taken here would be the real function, which no guard can reach.
SOURCES: dict[str, Callable[[], object]] = {
    "time.time": lambda: time.time(),
    "time.time_ns": lambda: time.time_ns(),
    "time.monotonic": lambda: time.monotonic(),
    "time.monotonic_ns": lambda: time.monotonic_ns(),
    "time.perf_counter": lambda: time.perf_counter(),
    "time.perf_counter_ns": lambda: time.perf_counter_ns(),
    "time.sleep": lambda: time.sleep(0),
    "os.urandom": lambda: os.urandom(1),
    "uuid.uuid1": lambda: uuid.uuid1(),
    "uuid.uuid4": lambda: uuid.uuid4(),
    "random.random": lambda: random.random(),
    "random.randint": lambda: random.randint(1, 2),
    "random.choice": lambda: random.choice([1]),
    "random.shuffle": lambda: random.shuffle([]),
    "random.seed": lambda: random.seed(1),
    "random._urandom": lambda: secrets.token_hex(),
    "threading.Thread.start": lambda: threading.Thread(target=print).start(),
    "socket.socket.__init__": lambda: socket.socket().close(),
    "socket.getaddrinfo": lambda: socket.getaddrinfo("127.0.0.1", 80),
    "subprocess.Popen.__init__": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_forbidden_source_fails_inside_and_works_again_outside(name: str) -> None:
    with (
        forbid_nondeterminism(),
        pytest.raises(Nondeterminism, match="differs from run to run; use") as caught,
    ):
        SOURCES[name]()
    assert name.removeprefix("threading.").removeprefix("socket.").removeprefix("subprocess.") in str(
        caught.value
    )
    SOURCES[name]()


@pytest.mark.parametrize(
    "call",
    [
        lambda: secrets.randbelow(7),
        lambda: secrets.choice("ab"),
        lambda: random.SystemRandom().random(),
        lambda: ThreadPoolExecutor(1).submit(print),
        lambda: urllib.request.urlopen("http://127.0.0.1:9/"),
    ],
)
def test_what_stands_on_a_forbidden_source_fails_too(call: Callable[[], object]) -> None:
    with forbid_nondeterminism(), pytest.raises(Nondeterminism):
        call()


def test_leaving_restores_the_very_functions_also_after_an_error() -> None:
    with pytest.raises(KeyError), forbid_nondeterminism():
        raise KeyError
    assert [f.__module__ for f in (time.time, uuid.uuid4, threading.Thread.start)] == [
        "time",
        "uuid",
        "threading",
    ]
    assert random.random.__self__ is random._inst


def test_it_nests() -> None:
    with forbid_nondeterminism():
        with forbid_nondeterminism():
            pass
        with pytest.raises(Nondeterminism):
            time.time()
    time.time()


def test_a_function_kept_from_inside_works_outside() -> None:
    """As `from time import monotonic` does, in a module that is first imported during a simulation."""
    with forbid_nondeterminism():
        kept = time.monotonic
    assert kept() > 0


def test_what_a_simulation_needs_goes_on_working(caplog: pytest.LogCaptureFixture) -> None:
    async def simulate() -> list[object]:
        logging.getLogger("mesh").warning("a log record carries the real time, for people")
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
        database = sqlite3.connect(":memory:")
        rows = database.execute("SELECT 1").fetchone()
        database.close()
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        key.public_key().verify(key.sign(b"x"), b"x")
        await asyncio.gather(asyncio.sleep(1), asyncio.sleep(2))
        assert time.process_time() > 0
        assert real_monotonic() > 0
        return [rows, random.Random(1).random()]

    with forbid_nondeterminism():
        assert run(simulate()) == [(1,), random.Random(1).random()]
    assert len(caplog.records) == 1


def test_other_threads_keep_their_clock_but_may_not_simulate() -> None:
    seen: list[object] = []

    def outside() -> None:
        start.wait()
        seen.append(time.time() > 0)
        try:
            with forbid_nondeterminism():
                pass
        except UsageError as error:
            seen.append(str(error))

    start = threading.Event()
    thread = threading.Thread(target=outside)
    thread.start()
    with forbid_nondeterminism():
        start.set()
        thread.join()
    assert seen == [True, "another thread of this process runs a simulation; run one at a time"]


@given(st.data())
def test_hypothesis_may_draw_inside(data: st.DataObject) -> None:
    with forbid_nondeterminism():
        assert data.draw(st.integers(0, 9)) in range(10)


CALLS_MAX = 400


def test_it_is_cheap_to_enter_and_leave() -> None:
    """It swaps the functions it names, and searches no module: a few calls for each."""
    calls: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda _, event, __: calls.append(event) if "call" in event else None)
    try:
        with forbid_nondeterminism():
            pass
    finally:
        sys.setprofile(before)
    assert 0 < len(calls) < CALLS_MAX
