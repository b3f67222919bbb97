"""Breaks the institutions one line at a time and sees which expectations of a scenario notice.

    uv run python -m tests.sweeps.sabotage [SCENARIO…] [--json FILE] [--tries N]

An expectation that no breakage of what happens makes fall looks at nothing that happened. Each is found by the place
where it stands. For each that has not fallen yet the mutants of the lines that ran just before it are tried, those
that ran nowhere else first, at most so many.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import nodes
from mesh.clock import run as run_virtual
from mesh.loading import scenarios_of
from mesh.scenario import Scenario
from mesh.simulation import Simulation
from mesh.testing import simulation
from tests.sweeps.mutants import Mutant, apply, mutants_of

ROOT = Path(__file__).parent.parent.parent
BROKEN = ("nodes", "mesh")
"""What is broken: institutions first."""
SECONDS_MAX = 30
SMALLER = {"nationwide_notice": {"municipalities": 50}}
"""Settings under which a scenario says the same in less time."""
BY_HAND: dict[str, tuple[str, ...]] = {
    "access_history": (
        "What the portal was sent",
        "Nothing stopped",
        "Kitami was looked at",
        "The first report",
    ),
    "base_registry": ("Kitami writes to", "Kobe missed the signal", "The signal says"),
    "benefit_payment": ("Kitami's own tax office",),
    "birth": ("The code is Kitami's own", "The event carries", "It declared", "The birth alone"),
    "car_ownership": ("The procedure decides", "The owner's history"),
    "care_certification": ("Everybody of 65", "With a pension"),
    "child_allowance": (
        "Each income says",
        "The items asked",
        "Neither question",
        "The history of a parent",
        "A public servant",
    ),
    "child_support": ("Nothing is gathered", "Each office was asked once", "Nothing that the portal"),
    "disaster": ("While Kitami's ledger is down",),
    "family_register": ("The son stands",),
    "health_ledgers": ("Without the ledger's word", "No letter leaves"),
    "hostile_mesh": (
        "A lawful question is answered",
        "that was sent again",
        "The curious broker",
        "What it reads",
        "What was not proven",
    ),
    "moving": ("What the insurance knows", "The two cities told"),
    "nationwide_notice": ("The letters came", "All others had", "that began at ten"),
    "online_application": ("The answer was lost", "It never reached"),
    "policy_evidence": ("Were only the", "From the published table"),
    "private_app": (
        "Each answer says",
        "Kobe answers",
        "None of it reached",
        "The gateway kept",
        "His consents",
    ),
    "standardisation": (
        "Each answer says",
        "Behind the contract",
        "Both versions",
        "is refused, audience_mismatch",
    ),
    "vaccination_record": ("a file of newcomers is refused",),
    "write_free_counter": ("No password", "Kitami's counter asked"),
}
"""What needs a larger breakage than one line: `tests/test_SCENARIO.py` has it, and sees these fall."""
Site = str
"""Where an expectation stands: `birth.py:123`."""


def _site(frame: FrameType | None) -> Site:
    while frame is not None and "/scenarios/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


class Watch:
    """What a run expected, by place, in order; and the lines that ran before each."""

    def __init__(self) -> None:
        self.held: dict[Site, bool] = {}
        self.texts: dict[Site, str] = {}
        self.lines: dict[tuple[str, int], dict[Site, None]] = {}
        self._since: set[tuple[str, int]] = set()

    def expected(self, text: str, held: bool) -> None:
        site = _site(sys._getframe(2))
        self.held[site] = self.held.get(site, True) and held
        self.texts.setdefault(site, text)
        for line in sorted(self._since):
            self.lines.setdefault(line, {})[site] = None
        self._since.clear()

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        file = frame.f_code.co_filename
        if not file.startswith(str(ROOT)) or not file[len(str(ROOT)) + 1 :].startswith(BROKEN):
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        self._since.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def play(scenario: Scenario, watch: Watch, settings: dict[str, Any], *, traced: bool) -> BaseException | None:
    """Tell the story once; what broke it off, if anything did."""
    expect = Simulation.expect

    def watched(self: Simulation, text: str, held: Any, **more: Any) -> Any:
        watch.expected(text, bool(held))
        return expect(self, text, held, **more)

    async def main() -> BaseException | None:
        with simulation(starts=scenario.start(settings)) as sim:
            nodes.establish(sim)
            try:
                await scenario.run(sim, **settings)
            except Exception as error:
                return error
        return None

    Simulation.expect = watched  # type: ignore[method-assign]
    if traced:
        sys.settrace(watch.trace)
    try:
        return run_virtual(main())
    except Exception as error:
        return error
    finally:
        sys.settrace(None)
        Simulation.expect = expect  # type: ignore[method-assign]


def in_child(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` returns in a process of its own; None if it takes too long or dies."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        with suppress(BaseException):
            os.write(writer, pickle.dumps(work()))
        os._exit(0)
    os.close(writer)
    data, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        part = os.read(reader, 1 << 16)
        if not part:
            break
        data += part
    os.close(reader)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return pickle.loads(data) if data else None


class Sweep:
    """One scenario, its mutants, and what fell."""

    def __init__(self, scenario: Scenario, pool: dict[str, list[Mutant]], tries: int) -> None:
        self.scenario = scenario
        self.tries = tries
        self.settings = {one.name: one.default for one in scenario.settings}
        self.settings |= SMALLER.get(scenario.name, {})
        self.pool = pool
        self.tried: dict[Mutant, list[Site] | None] = {}
        self.watch = Watch()

    def prepare(self) -> None:
        """Run it whole, traced."""
        found = in_child(self._baseline, 300)
        assert found is not None, f"{self.scenario.name} cannot be traced"
        held, texts, lines, error = found
        assert error is None, error
        assert all(held.values()), [site for site, one in held.items() if not one]
        self.watch.held, self.watch.texts, self.watch.lines = held, texts, lines

    def _baseline(self) -> Any:
        watch = Watch()
        error = play(self.scenario, watch, self.settings, traced=True)
        return watch.held, watch.texts, watch.lines, error and repr(error)

    def sweep(self) -> None:
        for site in self.watch.held:
            if self.proofs(site):
                continue
            for mutant in self.candidates(site)[: self.tries]:
                self.run(mutant)
                if self.proofs(site):
                    break

    def candidates(self, site: Site) -> list[Mutant]:
        ranked = []
        for (file, line), sites in self.watch.lines.items():
            if site not in sites:
                continue
            name = str(Path(file).relative_to(ROOT))
            for mutant in self.pool.get(name, ()):
                if mutant.line == line and mutant not in self.tried:
                    last = "data/" in name, name.split("/")[0] != "nodes", mutant.kind == "altered"
                    ranked.append((*last, len(sites), name, line, mutant.kind, mutant))
        # What a reader gives back altered is the weakest proof; what ran nowhere else is the likeliest.
        ranked.sort(key=lambda one: one[:-1])
        return [one[-1] for one in ranked]

    def run(self, mutant: Mutant) -> None:
        self.tried[mutant] = in_child(lambda: self._mutated(mutant), SECONDS_MAX)

    def _mutated(self, mutant: Mutant) -> list[Site] | None:
        if not apply(mutant, ROOT):
            return None
        watch = Watch()
        play(self.scenario, watch, self.settings, traced=False)
        return [site for site, one in watch.held.items() if not one]

    def proofs(self, site: Site) -> list[Mutant]:
        """What made it fall, that with the fewest others first."""
        made = [(len(fell), str(one), one) for one, fell in self.tried.items() if fell and site in fell]
        return [one for _, _, one in sorted(made, key=lambda each: each[:2])]


def unseen(sweep: Sweep) -> list[Site]:
    """The expectations that nothing made fall, and of which no test says that it does."""
    by_hand = BY_HAND.get(sweep.scenario.name, ())
    return [
        site
        for site, text in sweep.watch.texts.items()
        if not sweep.proofs(site) and not any(words in text for words in by_hand)
    ]


def print_sweep(sweep: Sweep) -> None:
    """One line about the scenario, and one for each expectation that nothing made fall."""
    still = [site for site in sweep.watch.held if not sweep.proofs(site)]
    count = f"{len(sweep.watch.held)} expectations, {len(sweep.tried)} breakages"
    print(f"{sweep.scenario.name}: {count}; {len(still)} fell in none", flush=True)
    missing = unseen(sweep)
    for site in still:
        who = "NOTHING" if site in missing else "a test"
        print(f"  {site} falls by {who}: {sweep.watch.texts[site]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("scenarios", nargs="*")
    parser.add_argument("--tries", type=int, default=40, help="breakages tried for one expectation at most")
    parser.add_argument("--json", type=Path, help="writes what made each fall")
    options = parser.parse_args()
    known = scenarios_of("scenarios")
    pool = {
        str(path.relative_to(ROOT)): list(mutants_of(path, ROOT))
        for top in BROKEN
        for path in sorted((ROOT / top).rglob("*.py"))
    }
    missing, report = 0, dict[str, Any]()
    for name in options.scenarios or known:
        sweep = Sweep(known[name], pool, options.tries)
        sweep.prepare()
        sweep.sweep()
        print_sweep(sweep)
        missing += len(unseen(sweep))
        report[name] = {
            text: [str(one) for one in sweep.proofs(site)][:3] for site, text in sweep.watch.texts.items()
        }
    if options.json:
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=1))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
