"""A guard for simulations: the standard library's clocks, random sources, sockets and processes fail while one runs.

What it covers: module attributes, called by their module (`time.time()`), in the thread that entered; every socket,
and so whatever stands on sockets (`urllib`). What it cannot: `datetime.now`, `random.Random()` without a seed, keys that OpenSSL generates, and names taken
before it was entered (`from time import time`). For mesh/ and nodes/, tests/test_determinism_rules.py reads the
source for those. `time.process_time` stays, because `bench` measures with it in a running simulation.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mesh.errors import UsageError

real_monotonic: Callable[[], float] = time.monotonic
"""The machine's own clock in seconds, for progress displays around a running simulation, never for nodes."""

_CLOCK = "self.host.now_us() or self.host.monotonic_us()"
_RANDOM = "self.host.random"
_NETWORK = "the mesh: ask a node"
_OBSERVERS = ("logging", "rich", "hypothesis", "_pytest")
"""Packages that look at the real world only to tell a person, on stderr or screen, never in a trace."""


class Nondeterminism(RuntimeError):
    """A simulation asked the machine for time, chance, a thread or the network; the text says what to use instead."""


class _Guard:
    """Whether a guard is on, in which thread, and how often it was entered there."""

    def __init__(self) -> None:
        self.depth = 0
        self.thread = 0

    def forbids(self, caller: str) -> bool:
        """Whether a call by the module `caller` must fail."""
        return (
            self.depth > 0
            and self.thread == threading.get_ident()
            and caller.partition(".")[0] not in _OBSERVERS
        )


_guard = _Guard()
_entering = threading.Lock()


def _stand_in(owner: Any, name: str, instead: str) -> tuple[Any, str, Any, Any]:
    """Owner, name, the real function, and what fails in its place.

    Outside a guard the stand-in does what the real one does: a module that is imported during a simulation
    may keep the stand-in for ever.
    """
    real = getattr(owner, name)

    def forbidden(*args: Any, **options: Any) -> Any:
        if _guard.forbids(sys._getframe(1).f_globals.get("__name__", "")):
            raise Nondeterminism(f"{owner.__name__}.{name} differs from run to run; use {instead}")
        return real(*args, **options)

    return owner, name, real, forbidden


def _sources() -> Iterator[tuple[Any, tuple[str, ...], str]]:
    yield time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"), _CLOCK
    yield time, ("sleep",), "await asyncio.sleep"
    yield os, ("urandom", "getrandom"), _RANDOM
    yield uuid, ("uuid1", "uuid4", "uuid6", "uuid7"), "self.host.new_id(now_us)"
    # The classes stay: a seeded random.Random is what streams are made of. SystemRandom, and through it all
    # of `secrets`, reads _urandom.
    yield random, (*(name for name in random.__all__ if name[0].islower()), "_urandom"), _RANDOM
    yield threading.Thread, ("start",), "a task"
    # A socket is refused before it is made; a name is looked up without one.
    yield socket.socket, ("__init__",), _NETWORK
    yield socket, ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getfqdn"), _NETWORK
    yield subprocess.Popen, ("__init__",), _NETWORK
    yield os, ("system", "popen", "fork", "posix_spawn"), _NETWORK


_STAND_INS = [
    _stand_in(owner, name, instead)
    for owner, names, instead in _sources()
    for name in names
    if hasattr(owner, name)  # some exist on one system or Python version only
]


def is_guarded() -> bool:
    """Whether a simulation runs in this process."""
    return _guard.depth > 0


@contextmanager
def forbid_nondeterminism() -> Iterator[None]:
    """While inside, a forbidden call in this thread raises `Nondeterminism`. May be nested.

    Enter it where a simulation's loop starts to run. `UsageError` if another thread is inside: the guard
    speaks for one simulation at a time.
    """
    here = threading.get_ident()
    with _entering:
        if _guard.depth and _guard.thread != here:
            raise UsageError("another thread of this process runs a simulation; run one at a time")
        _guard.thread = here
        _guard.depth += 1
    if _guard.depth == 1:
        for owner, name, _, forbidden in _STAND_INS:
            setattr(owner, name, forbidden)
    try:
        yield
    finally:
        _guard.depth -= 1
        if _guard.depth == 0:
            for owner, name, real, _ in _STAND_INS:
                setattr(owner, name, real)
