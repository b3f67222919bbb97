"""What `bench` measures of this package: people on demand, against nothing but their random draws.

`generation_to_draws` is the CPU time of making households with all their residents ÷ that of making the same
streams and taking the same draws from them; the two alternate in slices, so that a machine whose speed drifts
moves both. `addressable_systems_mib` is the most memory that a process of its own held in which all standard
systems of all municipalities are enrolled and one in each prefecture was addressed.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

from mesh.clock import VirtualLoop
from mesh.errors import UsageError
from mesh.node import Node
from mesh.simulation import Simulation
from mesh.trace.writer import TraceWriter
from nodes.data.municipalities import municipalities, read_prefectures
from nodes.data.people import Population
from nodes.data.standard_systems import read_standard_systems
from nodes.data.table import HERE
from nodes.municipality.assembly import system_class

PAIRS: Final = 11
SLICE: Final = 300
"""Households in a slice."""
CITY: Final = "01208"


class CountedStream(Random):
    """A stream that counts what is drawn from it; `random` is the only kind of draw that it allows."""

    def __init__(self, stream: Random) -> None:
        super().__init__(0)
        self.setstate(stream.getstate())
        self.drawn = 0

    def random(self) -> float:
        """One draw, counted."""
        self.drawn += 1
        return super().random()

    def getrandbits(self, k: int) -> int:
        """Not counted, hence not allowed."""
        raise AssertionError("residents are made by random() alone")


class CountingSimulation(Simulation):
    """A simulation that keeps its streams, to tell what was drawn from each."""

    def __init__(self) -> None:
        super().__init__(loop=VirtualLoop(), trace=TraceWriter(None))
        self.streams: dict[str, CountedStream] = {}

    def stream(self, name: str) -> Random:
        """The stream of that name, counted."""
        counted = self.streams[name] = CountedStream(super().stream(name))
        return counted


def draws_of(count: int) -> dict[str, int]:
    """How many draws each of the first households takes, by the name of its stream."""
    sim = CountingSimulation()
    for _ in Population(sim).settled(CITY, count):
        pass
    _close(sim)
    return {name: stream.drawn for name, stream in sim.streams.items() if stream.drawn}


def figures() -> dict[str, tuple[list[float], str]]:
    """What was measured, each in pairs, and its unit."""
    draws = list(draws_of(SLICE * (PAIRS + 1)).items())
    sim = Simulation(loop=VirtualLoop(), trace=TraceWriter(None))
    people = Population(sim)
    _generate(people, 0)  # reads the tables
    ratios, rates = [], []
    for number in range(1, PAIRS + 1):
        made_s, residents = _generate(people, number)
        ratios.append(made_s / _draw(sim, draws[number * SLICE : (number + 1) * SLICE]))
        rates.append(residents / made_s)
    _close(sim)
    return {
        "generation_to_draws": (ratios, "ratio"),
        "residents_per_s": (rates, "1/s"),
        "addressable_systems_mib": ([addressable_systems_mib()], "MiB"),
    }


def addressable_systems_mib() -> float:
    """The peak memory of a process of its own that runs `enrol_the_nation`."""
    said = "from nodes.data import bench; bench.enrol_the_nation(); print(bench.peak_mib())"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", said], cwd=HERE.parents[1], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def enrol_the_nation() -> int:
    """Enrol every standard system of every municipality, and address one in each prefecture; how many there are."""
    sim = Simulation(loop=VirtualLoop(), trace=TraceWriter(None))
    classes = {key: _class_of(key) for key in read_standard_systems()}
    for city in municipalities():
        for key, cls in classes.items():
            sim.add(cls, f"{city.member}/{key}")
    firsts = {city.code[:2]: city.member for city in reversed(municipalities())}
    for place, code in enumerate(read_prefectures()):
        sim.node(f"{firsts[code]}/{list(classes)[place % len(classes)]}")
    count = len(sim.addresses("muni/*/*"))
    _close(sim)
    return count


def peak_mib() -> float:
    """The most memory that this process has held.

    On Linux from /proc, as `ru_maxrss` there counts what the parent held when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def _class_of(key: str) -> type[Node]:
    """The class of a system, or a plain node for one that this version does not have."""
    try:
        return system_class(key)
    except UsageError:
        return Node


def _generate(people: Population, slice_: int) -> tuple[float, int]:
    """The CPU seconds of a slice of households, and how many residents they have."""
    start = time.process_time()
    residents = sum(len(one.members) for one in people.settled(CITY, SLICE, first=slice_ * SLICE + 1))
    return time.process_time() - start, residents


def _draw(sim: Simulation, draws: list[tuple[str, int]]) -> float:
    """The CPU seconds of the same streams and draws, and nothing else."""
    start = time.process_time()
    for name, count in draws:
        draw = sim.stream(name).random
        for _ in range(count):
            draw()
    return time.process_time() - start


def _close(sim: Simulation) -> None:
    sim.close()
    sim.trace.close()
    sim.loop.close()
