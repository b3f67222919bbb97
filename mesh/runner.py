"""Runs one scenario from seed to result: loop, simulation, trace and report around it."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from mesh import institutions, plugins
from mesh.arguments import check_kind, check_text, check_whole
from mesh.aside import in_thread
from mesh.clock import VirtualLoop, run
from mesh.errors import UsageError
from mesh.faults import Effect, Plan
from mesh.guard import forbid_nondeterminism, is_guarded
from mesh.ledger import Row, read_row
from mesh.refusals import Behind, all_behind, marked
from mesh.report import Result, UnderFaults
from mesh.scenario import SEED_MAX, Scenario
from mesh.simulation import Simulation
from mesh.store import is_of_place
from mesh.trace.claim import Claim
from mesh.trace.writer import TraceWriter
from mesh.unawaited import unawaited

COLLECT_AFTER = 50_000
"""Allocations between two sweeps of the youngest garbage: messages hold no cycles, so sweeps find nothing."""


def run_scenario(
    scenario: Scenario,
    *,
    seed: int = 1,
    settings: dict[str, Any] | None = None,
    trace: Path | None = None,
    data: Path | None = None,
    nodes: str | None = None,
    faults: Plan | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Run a scenario in a simulation of its own and return what came of it.

    `nodes` is the package whose `establish(sim)` puts the nation's law and institutions in place.
    `faults` is what goes wrong besides: what the scenario cannot bear then ends it, with the reason in one line.
    `progress(messages, mesh time in µs)` is called every thousand transmissions. An interrupted run
    (KeyboardInterrupt) leaves a readable trace of what happened so far. Inside a running event loop, as in a cell of a
    notebook, the run has a thread of its own. Raises `UsageError` for arguments that could not be meant, while another
    run goes on in this process, and if trace or data cannot be written; then nothing is left of either.
    """
    settings = dict(settings or {})
    _check_arguments(scenario, seed, settings, trace, data, nodes, faults)
    loop = VirtualLoop()

    record = partial(_record, loop, scenario, seed, settings, trace, data, nodes, faults, progress)
    return in_thread(record, loop.interrupt) if _loop_runs() else record()


def _check_arguments(
    scenario: Any, seed: Any, settings: dict[str, Any], trace: Any, data: Any, nodes: Any, faults: Any
) -> None:
    """`UsageError` for what a program got wrong: that is no result of the mesh."""
    if is_guarded():
        raise UsageError("a run goes on in this process already; wait for it, or use a process for each")
    check_kind("run_scenario", "a Scenario", scenario, Scenario)
    check_whole("run_scenario", "seed", seed, -SEED_MAX)
    if seed > SEED_MAX:
        raise UsageError(f"run_scenario takes a seed up to {SEED_MAX}, not {seed}; give a smaller one")
    scenario.check_settings(settings)
    for name, value in (("trace", trace), ("data", data)):
        if value is not None:
            check_kind("run_scenario", f"{name} as a pathlib.Path", value, Path)
    if faults is not None:
        check_kind("run_scenario", "faults as a Plan", faults, Plan)
    if nodes is not None:
        check_text("run_scenario", "nodes, a package,", nodes)
        institutions.check(nodes)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _record(
    loop: VirtualLoop,
    scenario: Scenario,
    seed: int,
    settings: dict[str, Any],
    trace: Path | None,
    data: Path | None,
    nodes: str | None,
    faults: Plan | None,
    progress: Callable[[int, int], None] | None,
) -> Result:
    """Run it, and leave nothing behind of what could not be recorded."""
    values = {setting.name: setting.default for setting in scenario.settings} | settings
    made = data is not None and not data.exists()
    folder, claim = _folder(data)
    under = {} if faults is None else {"faults": to_builtins(faults)}
    if nodes is not None and (installed := plugins.packages(plugins.NODES)):
        under["installed"] = {package: plugins.version_of(package) for package in installed}
    writer = None
    try:
        starts = scenario.start(values)
        writer = TraceWriter(
            trace, scenario=scenario.name, seed=seed, settings=values, starts=starts, **under
        )
        sim = Simulation(loop=loop, seed=seed, starts=starts, trace=writer, data=folder, faults=faults)
        return _play(sim, scenario, values, nodes, progress)
    except Exception as error:
        full = is_of_place(error)
        if full and writer is not None:
            writer.discard()
        if claim is not None:
            claim.release()
        if folder is not None and (full or isinstance(error, UsageError)):
            _clear(folder, made=made)
        if not full:
            raise
        where = " and ".join(str(one) for one in (trace, data) if one is not None)
        raise UsageError(f"cannot write {where}: {error}; name a place with room") from None
    finally:
        if claim is not None:
            claim.release()


def _play(
    sim: Simulation,
    scenario: Scenario,
    values: dict[str, Any],
    nodes: str | None,
    progress: Callable[[int, int], None] | None,
) -> Result:
    loop, writer = sim.loop, sim.trace
    faults = None if sim.faults is None else sim.faults.plan
    failures: list[BaseException] = []
    complete, usable, full, error = False, True, False, None
    if progress is not None:
        writer.on_commit = lambda: progress(writer.transmissions, loop.now_us)
    try:
        with calm_collector(), unawaited(failures), forbid_nondeterminism():
            loop.set_exception_handler(lambda _, context: _failed(loop, failures, _cause(context)))
            run(_main(sim, scenario, values, nodes, failures), loop=loop)
        complete = True
    except UsageError as wrong:
        usable = False
        raise UsageError(f"{wrong}{_place(wrong, scenario)}") from None
    except KeyboardInterrupt:
        lost = next(filter(is_of_place, failures), None)
        if lost is None:
            raise
        full = True
        raise lost from None
    except (Exception, SystemExit) as failure:
        full = is_of_place(failure)
        if full:
            raise
        complete = True
        error = _first_line(f"{type(failure).__name__}: {failure}") + _place(failure, scenario)
        if faults is None:
            traceback.print_exception(failure)
    finally:
        elapsed_us = loop.now_us
        if full:  # Nothing more can be written, and what was is discarded.
            sim.abandon()
        else:
            sim.close()
            refusals = writer.refusals()
            pushes = sim.pushes()
            permitted: dict[str, None] = {}
            sim.report.count_answers(_noting(_rows(writer), permitted), pushes)
            sim.report.settle(_rows(writer), sim.code_of, pushes)
            refused = marked(writer.refused(), sim.expected)
            sim.report.count_refusals(writer.refusals_by_service())
            sim.report.entitle(sim.declarations())
            effects = () if sim.faults is None else sim.faults.effects(sim.addresses)
            pointed = all_behind(writer.expectations, refused, broke_off=error is not None)
            said = _said(sim, scenario, elapsed_us, permitted) | _went_wrong(effects, error, pointed)
            writer.epilogue(**said)
            writer.close(complete=complete, refused=not usable)
    return Result(
        scenario=scenario.name,
        title=scenario.title,
        title_ja=scenario.title_ja,
        seed=sim.seed,
        settings=values,
        expectations=tuple(writer.expectations),
        report=sim.report,
        trace=None if writer.path is None else str(writer.path),
        messages=writer.transmissions,
        refusals=refusals,
        elapsed_us=elapsed_us,
        error=error,
        faults=None if faults is None else UnderFaults(faults, effects),
        refused=refused,
    )


def _failed(loop: VirtualLoop, failures: list[BaseException], cause: BaseException) -> None:
    """Keep what went wrong unseen, for the run's end; a disk that is full ends it now."""
    failures.append(cause)
    if is_of_place(cause):
        loop.interrupt()


async def _main(
    sim: Simulation,
    scenario: Scenario,
    values: dict[str, Any],
    nodes: str | None,
    failures: list[BaseException],
) -> None:
    if nodes is not None:
        institutions.establish(sim, nodes)
    try:
        await scenario.run(sim, **values)
    except Exception:
        if failures:  # What went wrong unseen: the scenario met what came of it.
            raise failures[0] from None
        raise
    if failures:
        raise failures[0]
    sim.check_use()


def _rows(writer: TraceWriter) -> Iterator[tuple[str, Row]]:
    """Every party's ledger rows with their party, in the order of commits."""
    return ((party, read_row(row)) for party, row in writer.ledgers())


def _noting(rows: Iterable[tuple[str, Row]], permitted: dict[str, None]) -> Iterator[tuple[str, Row]]:
    """The rows; meanwhile the services of those that permit something are noted."""
    for party, row in rows:
        if row.entry == "permitted" and row.service is not None:
            permitted[row.service] = None
        yield party, row


def _said(sim: Simulation, scenario: Scenario, elapsed_us: int, permitted: Iterable[str]) -> dict[str, Any]:
    """What a reader of the trace needs besides messages and story: the outcome, and the law that was applied."""
    uses, policy = sim.report.uses, sim.policy
    # Of every permit it must be possible to say whether its row covers it.
    services = dict.fromkeys((*uses, *permitted))
    law = {basis.id: to_builtins(basis) for service in services for basis in policy.rows(service)}
    named = {row["procedure"]: policy.procedures[row["procedure"]] for row in law.values()}
    return {
        "title": scenario.title,
        "title_ja": scenario.title_ja,
        "outcome": sim.report.outcome(elapsed_us),
        "law": law,
        "procedures": {id_: {"title": one.title, "title_ja": one.title_ja} for id_, one in named.items()},
        "services": {
            name: {"title": use.title, "title_ja": use.title_ja}
            | ({"from_copy": True} if use.from_copy else {})
            for name, use in uses.items()
        },
        "names": {
            name: {"title": title, "title_ja": title_ja} for name, (title, title_ja) in sim.names().items()
        },
    }


def _went_wrong(effects: Sequence[Effect], error: str | None, pointed: Sequence[Behind]) -> dict[str, Any]:
    """What the run's faults met, why the scenario broke off, and what stands behind that and what failed; if anything."""
    said: dict[str, Any] = {"effects": [one.as_json() for one in effects]} if effects else {}
    if pointed:
        said["behind"] = to_builtins(pointed)
    return said if error is None else said | {"broke_off": error}


def _first_line(text: str) -> str:
    """A deadlock's further lines name files of one machine."""
    return text.splitlines()[0].rstrip(":")


def _place(failure: BaseException, scenario: Scenario) -> str:
    """Where in the scenario's folder a failure came through last, by file and line."""
    folder = Path(scenario.run.__code__.co_filename).parent
    frames = [
        one for one in traceback.extract_tb(failure.__traceback__) if Path(one.filename).parent == folder
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _cause(context: dict[str, Any]) -> BaseException:
    exception = context.get("exception")
    return exception if isinstance(exception, BaseException) else RuntimeError(context["message"])


def _folder(data: Path | None) -> tuple[Path | None, Claim | None]:
    """The folder for the nodes' databases, claimed: new or empty, since a simulation starts from nothing."""
    if data is None:
        return None, None
    try:
        data.mkdir(parents=True, exist_ok=True)
        claim = Claim(data / "databases")
    except OSError as error:
        raise UsageError(f"cannot write to {data}: {error.strerror}; name a writable folder") from None
    if any(data.glob("*.sqlite")):
        claim.release()
        raise UsageError(f"{data} holds databases of another run; name a new or an empty folder")
    return data, claim


def _clear(folder: Path, *, made: bool) -> None:
    """What could not run leaves no half-written databases behind, nor the folder made for them."""
    for database in sorted(folder.glob("*.sqlite")):
        database.unlink()
    if made and not any(folder.iterdir()):
        folder.rmdir()


@contextmanager
def calm_collector() -> Iterator[None]:
    """Sweep for garbage less often meanwhile."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
