"""Measures what an exchange costs beside its cryptography, as ratios within one run.

Rules kept here:
1. Every figure compares two things in alternating slices of the same run, so that a machine whose speed
   drifts moves both; a figure is the median of at least nine pairs, with the lowest and highest beside it.
2. The limit is an exchange's own cryptography: the same signatures and verifications, over bytes of the
   same lengths, without anything else. They are counted in the exchange too, so nothing can be skipped.
3. Process CPU time, with the trace on disk. Worlds are built and warmed before anything is measured.
4. A plain loop that makes the same documents is measured beside it: how near to the limit anything could come.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from mesh import jws
from mesh.clock import VirtualLoop
from mesh.errors import NotFound
from mesh.keys import COUNTS, SigningKey
from mesh.message import Kind
from mesh.node import Node
from mesh.plain_loop import PlainLoop
from mesh.policy import LegalBasis
from mesh.runner import calm_collector
from mesh.service import Caller, PersonalService, serves
from mesh.simulation import Simulation
from mesh.trace.writer import TraceWriter

PAIRS = 11
SLICE = 200
"""Exchanges in a slice."""
IN_FLIGHT = 50
"""Exchanges that a world has under way at a time."""
PERSONS = 50
SIGNATURES = 3
VERIFICATIONS = 5
NATION = 34_820
"""Standard business systems of all municipalities: 1,741 × 20."""
FEW, MANY = 10, 2000
SHORT, LONG = 1_000, 100_000

Progress = Callable[[str, int, int], None]


class IncomeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A question of the size that real ones have."""

    tax_year: Annotated[int, Meta(ge=1950, le=2100)]


class Income(Struct, frozen=True, omit_defaults=True):
    """An answer of the size that real ones have."""

    income_yen: int | UnsetType = UNSET
    taxable: bool | UnsetType = UNSET
    assessed_on: Annotated[str, Meta(max_length=10)] | UnsetType = UNSET


INCOME = PersonalService("bench.income.v1", IncomeQuery, Income, title="Income", title_ja="所得")


class BenchTax(Node):
    """Answers from its own database."""

    schema = "CREATE TABLE income(person TEXT PRIMARY KEY, yen INTEGER NOT NULL)"

    @serves(INCOME)
    async def income(self, query: IncomeQuery, caller: Caller, person: str) -> Income:
        """The income of a person."""
        row = self.db.execute("SELECT yen FROM income WHERE person = ?", (person,)).fetchone()
        if row is None:
            raise NotFound
        return Income(income_yen=row["yen"], taxable=True, assessed_on="2026-06-01")


class BenchDesk(Node):
    """Asks."""


class World:
    """A mesh with so many nodes, half of them asking and half answering."""

    def __init__(self, name: str, nodes: int, folder: Path) -> None:
        self.loop = VirtualLoop()
        self.writer = TraceWriter(folder / f"{name}.trace")
        self.sim = Simulation(loop=self.loop, trace=self.writer)
        self.sim.allow(
            LegalBasis("muni/*/desk", "bench", "muni/*/tax", INCOME.name, INCOME.items, "illustrative")
        )
        self.persons = [self.sim.resident(f"{number:011d}") for number in range(PERSONS)]
        self._next = 0
        self._pairs: list[tuple[Node, str, list[str]]] = []
        for number in range(nodes // 2):
            self._pairs.append(self._pair(f"muni/{number:05d}"))

    def _pair(self, member: str) -> tuple[Node, str, list[str]]:
        sim = self.sim
        sim.add(BenchTax, f"{member}/tax")
        sim.add(BenchDesk, f"{member}/desk")
        tax = sim.node(f"{member}/tax")
        codes = [sim.codes.code(member, sim._persons[handle]) for handle in self.persons]
        with tax.effect():
            tax.db.executemany("INSERT INTO income VALUES (?, 4200000)", [(code,) for code in codes])
        return sim.node(f"{member}/desk"), f"{member}/tax", codes

    async def _exchange(self, number: int) -> None:
        desk, _, codes = self._pairs[number % len(self._pairs)]
        tax = self._pairs[(number + 1) % len(self._pairs)][1]
        await desk.ask(
            tax,
            INCOME,
            IncomeQuery(2025),
            subject=codes[number % PERSONS],
            procedure="bench",
            items=INCOME.items,
        )

    async def _many(self, count: int) -> None:
        numbers = iter(range(self._next, self._next + count))
        self._next += count

        async def worker() -> None:
            for number in numbers:
                await self._exchange(number)

        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    def run(self, count: int) -> float:
        """Make so many exchanges; the CPU seconds that they took."""
        start = time.process_time()
        self.loop.run_until_complete(self._many(count))
        return time.process_time() - start

    def close(self) -> None:
        """End the run as a scenario would."""
        self.loop.run_until_complete(asyncio.sleep(0))
        self.sim.close()
        self.writer.close()
        self.loop.close()


class Cryptography:
    """The signatures and verifications of exchanges that were really made, by their own keys, and nothing else."""

    def __init__(self, world: World) -> None:
        rows = world.writer.db.execute("SELECT line FROM message ORDER BY number DESC LIMIT 300")
        # A request is verified by broker and provider, a permit by the provider, a reply by broker and requester.
        times = {Kind.REQUEST: 2, Kind.PERMIT: 1, Kind.REPLY: 2}
        self._work: dict[str, list[tuple[SigningKey, bytes, bytes, int]]] = {kind: [] for kind in times}
        keys: dict[str, SigningKey] = {}
        for token in (jws.parse(row[0]) for row in rows):
            if token.kid not in keys:
                signer = world.sim.registry.address_of(token.kid) or ""
                keys[token.kid] = world.sim.keys_of(signer).signing
            self._work[token.typ].append(
                (keys[token.kid], token.signing_input, token.signature, times[token.typ])
            )

    def run(self, count: int) -> float:
        """The cryptography of so many exchanges; the CPU seconds that it took."""
        kinds = list(self._work.values())
        start = time.process_time()
        for number in range(count):
            for work in kinds:
                key, signed, signature, times = work[number % len(work)]
                key.sign(signed)
                for _ in range(times):
                    key.public.verify(signature, signed)
        return time.process_time() - start


def run_bench(
    progress: Progress, others: Callable[[], dict[str, tuple[list[float], str]]] = dict
) -> dict[str, Any]:
    """Every figure, and how many signatures and verifications one exchange made.

    `progress(text, done, total)` is told of each step; `others` measures what is not the mesh's own. Returns
    what `bench --json` prints.
    """
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, calm_collector():
        folder = Path(name)
        progress("enrolling the nation", 0, 5)
        figures["idle_node_kib"] = _figure([_idle_node_kib(folder)], "KiB")
        progress("warming a small mesh", 1, 5)
        small = World("small", FEW, folder)
        small.run(SHORT)
        plain = PlainLoop(folder, IN_FLIGHT)
        plain.run(SHORT)
        counts = _measure_exchange(small, plain, figures)
        plain.close()
        progress("warming 2,000 nodes", 2, 5)
        before_kib = _peak_kib()
        large = World("large", MANY, folder)
        figures["active_node_kib"] = _figure([(_peak_kib() - before_kib) / MANY], "KiB")
        large.run(MANY)
        figures["nodes_2000_to_10"] = _figure(_rates(large, small), "ratio")
        large.close()
        old = World("old", FEW, folder)
        for done in range(0, LONG, SHORT):
            progress(f"making {LONG:,} exchanges", done, LONG)
            old.run(SHORT)
        progress("comparing with a mesh that made 1,000", 4, 5)
        young = World("young", FEW, folder)
        young.run(SHORT)
        figures["exchanges_100k_to_1k"] = _figure(_rates(old, young), "ratio")
        for world in (small, old, young):
            world.close()
        figures |= {name: _figure(values, unit) for name, (values, unit) in others().items()}
    progress("done", 5, 5)
    return {"figures": figures, "counts": counts}


def _measure_exchange(world: World, plain: PlainLoop, figures: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The exchange and a plain loop against their cryptography, slice by slice, and the counts of one exchange."""
    cryptography = Cryptography(world)
    slices = [(_slice(world), _slice(plain), _slice(cryptography)) for _ in range(PAIRS)]
    for _, beside, limit in slices:
        if beside[1:] != limit[1:] or limit[1:] != (SIGNATURES, VERIFICATIONS):
            raise AssertionError("the limit did not make the cryptography of an exchange")
    figures["exchange_to_crypto"] = _figure([limit[0] / whole[0] for whole, _, limit in slices], "ratio")
    figures["overhead_us"] = _figure([whole[0] - limit[0] for whole, _, limit in slices], "µs")
    figures["plain_loop_to_crypto"] = _figure([limit[0] / beside[0] for _, beside, limit in slices], "ratio")
    figures["plain_loop_us"] = _figure([beside[0] - limit[0] for _, beside, limit in slices], "µs")
    figures["exchange_us"] = _figure([whole[0] for whole, _, _ in slices], "µs")
    signed, verified = (sum(whole[place] for whole, _, _ in slices) / PAIRS for place in (1, 2))
    return {"sign": signed, "verify": verified}


def _slice(work: World | PlainLoop | Cryptography) -> tuple[float, float, float]:
    """For each exchange of a slice: CPU in µs, signatures and verifications."""
    signed, verified = COUNTS.sign, COUNTS.verify
    cpu_s = work.run(SLICE)
    return cpu_s / SLICE * 1e6, (COUNTS.sign - signed) / SLICE, (COUNTS.verify - verified) / SLICE


def _rates(larger: World, smaller: World) -> list[float]:
    """The larger's rate ÷ the smaller's, in alternating slices."""
    ratios = []
    for _ in range(PAIRS):
        slow = larger.run(SLICE)
        ratios.append(smaller.run(SLICE) / slow)
    return ratios


def _idle_node_kib(folder: Path) -> float:
    """Memory of a node that is enrolled and was never addressed, over all systems of the nation."""
    sim = Simulation(loop=VirtualLoop(), trace=TraceWriter(folder / "idle.trace"))
    tracemalloc.start()
    for number in range(NATION):
        sim.add(BenchTax, f"muni/{number // 20:05d}/system-{number % 20}")
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    sim.close()
    sim.trace.close()
    return used / NATION / 1024


def _peak_kib() -> float:
    """The most memory that this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else peak


def _figure(values: list[float], unit: str) -> dict[str, Any]:
    """Median, unit, lowest and highest, and over how many pairs."""
    return {
        "value": round(statistics.median(values), 4),
        "unit": unit,
        "spread": [round(min(values), 4), round(max(values), 4)],
        "pairs": len(values),
    }
