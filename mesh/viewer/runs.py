"""Scenarios that were started from the page: each in a process of its own, watched line by line.

Rules kept here:
1. What is run is a scenario that ships, with its own settings and a fault plan that ships, recorded into the folder
   under the name that `run` gives it. A page names neither a file nor a command.
2. One run at a time writes a trace, and few run at once.
3. Nothing outlives the server: what it started it stops, and waits for.
4. A run that somebody else records into the folder is listed as well, and is nobody's to stop here.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.errors import UsageError
from mesh.faults import Plan
from mesh.scenario import SEED_MAX, Scenario
from mesh.trace.claim import is_claimed
from mesh.trace.opening import check_file
from mesh.viewer import child
from mesh.viewer.folder import Folder, Missing

RUNS_MAX: Final = 4
"""Runs under way at a time."""
KEPT_MAX: Final = 64
"""Finished runs whose outcome can still be asked for."""
STOP_S: Final = 20.0
"""How long a run may take to close its trace once it is told to stop."""

Event = tuple[str, dict[str, Any]]


@dataclass
class Run:
    """One run: its trace's name, and what it has said so far."""

    id: str
    trace: str
    process: asyncio.subprocess.Process
    scenario: Scenario | None = None
    last: Event = ("progress", {"messages": 0, "mesh_time_us": 0})
    reached: dict[str, Any] = field(default_factory=lambda: {"messages": 0, "mesh_time_us": 0})
    """The progress that was told last."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether its last event was said."""
        return self.last[0] in ("done", "failed")

    def tell(self, event: Event) -> None:
        """Say what happened to all who watch."""
        self.last = event
        self.reached |= {name: event[1][name] for name in self.reached if name in event[1]}
        self.changed.set()
        self.changed = asyncio.Event()

    def as_json(self) -> dict[str, Any]:
        """The run as a list of runs has it."""
        kind, said = self.last
        scenario = self.scenario
        named = None if scenario is None else scenario.name
        title, title_ja = ("", "") if scenario is None else (scenario.title, scenario.title_ja)
        return {
            "run": self.id, "trace": self.trace, "scenario": named, "title": title, "title_ja": title_ja,
            **self.reached, "ended": self.ended, "stopped": self.stopped and kind != "done", "held": said.get("held"),
            "broke_off": said.get("broke_off"), "failed": said.get("text"),
        }  # fmt: skip


class Runs:
    """All runs of one server. `packages` are those of the nodes and the scenarios."""

    def __init__(
        self,
        folder: Folder,
        scenarios: Mapping[str, Scenario],
        plans: Mapping[str, Plan],
        packages: tuple[str | None, str | None],
    ) -> None:
        self._folder = folder
        self._scenarios = scenarios
        self._plans = plans
        self._packages = packages
        self._runs: dict[str, Run] = {}
        self._count = 0
        self._starting = asyncio.Lock()

    @property
    def under_way(self) -> list[Run]:
        """Those that have not ended."""
        return [one for one in self._runs.values() if not one.ended]

    async def listed(self) -> list[dict[str, Any]]:
        """The runs of this server, the newest first, and those under way that others record into the folder."""
        own = [one.as_json() for one in reversed(self._runs.values())]
        mine = {one.trace for one in self.under_way}
        others = [
            {name: one[name] for name in ("scenario", "title", "title_ja", "messages", "mesh_time_us")}
            | {"run": None, "trace": one["name"], "ended": False, "stopped": False, "held": None, "broke_off": None, "failed": None}
            for one in await self._folder.listed()
            if one["live"] and one["name"] not in mine
        ]  # fmt: skip
        return own + others

    async def start(self, asked: Any) -> Run:
        """Start what a page asked for; `UsageError` for what cannot be run."""
        async with self._starting:
            return await self._start(asked)

    async def _start(self, asked: Any) -> Run:
        scenario, seed, settings, faults = self._read(asked)
        trace = scenario.trace_name(seed, faults)
        under_way = self.under_way
        if any(one.trace == trace for one in under_way):
            raise UsageError(f"{trace} is being written by a run; wait for its end, or stop it")
        if len(under_way) >= RUNS_MAX:
            raise UsageError(f"{RUNS_MAX} runs are under way; wait for the end of one, or stop it")
        nodes, scenarios = self._packages
        path = self._folder.path / trace
        if is_claimed(path):  # By a run of a terminal, or of another server.
            raise UsageError(f"{trace} is being written by a run; wait for its end, or stop it")
        if path.exists():
            check_file(path, trace)  # A file that is no trace may be somebody's work.
        process = await child.start(
            "mesh.viewer.running", nodes or "", scenarios or "",
            json.dumps([scenario.name, seed, settings, faults and faults.name, str(path)]),
        )  # fmt: skip
        self._folder.allow(trace)
        self._count += 1
        run = Run(str(self._count), trace, process, scenario)
        run.task = asyncio.create_task(self._watch(run), name=f"run {run.id}")
        self._keep(run)
        return run

    def _keep(self, run: Run) -> None:
        self._runs[run.id] = run
        ended = [one.id for one in self._runs.values() if one.ended]
        for id_ in ended[: max(len(self._runs) - KEPT_MAX, 0)]:
            del self._runs[id_]

    def _read(self, asked: Any) -> tuple[Scenario, int, dict[str, Any], Plan | None]:
        if not isinstance(asked, dict) or not set(asked) <= {"scenario", "seed", "settings", "faults"}:
            raise UsageError("a run has a scenario, a seed, settings and faults")
        scenario = self._scenarios.get(str(asked.get("scenario")))
        if scenario is None:
            raise UsageError("there is no such scenario; see the list")
        seed = asked.get("seed", 1)
        if type(seed) is not int or abs(seed) > SEED_MAX:
            raise UsageError("a seed is a whole number of at most 63 bits")
        settings = asked.get("settings") or {}
        if not isinstance(settings, dict) or not all(
            isinstance(one, str | int | float) for one in settings.values()
        ):
            raise UsageError("settings are names with texts, numbers or truths")
        # Read as `--set` reads them: the same checks, the same errors.
        values = scenario.read_settings(tuple(f"{name}={value}" for name, value in settings.items()))
        scenario.start({one.name: one.default for one in scenario.settings} | values)
        faults = asked.get("faults")
        if faults is not None and not (isinstance(faults, str) and faults in self._plans):
            raise UsageError("there is no such fault plan; see the list")
        return scenario, seed, values, None if faults is None else self._plans[faults]

    async def _watch(self, run: Run) -> None:
        """Pass on what the process says; whatever it does, there is a last event."""
        ended = False
        try:
            async for line in child.output(run.process):
                kind, said = json.loads(line)
                ended = kind != "progress"
                run.tell((kind, said | ({} if kind == "failed" else {"trace": run.trace})))
        except (ValueError, TypeError) as error:
            run.tell(("failed", {"text": f"the run's words cannot be read: {error}"}))
            ended = True
        await run.process.wait()
        await child.end(run.process)
        if not ended:
            text = "the run was stopped" if run.stopped else "the run ended without a result"
            run.tell(("failed", {"text": text}))

    def get(self, id_: str) -> Run:
        """The run with an id; `Missing` if there is none."""
        if id_ not in self._runs:
            raise Missing("there is no such run")
        return self._runs[id_]

    async def events(self, run: Run) -> AsyncIterator[Event]:
        """What the run says from now on, the newest first; ends with its last event."""
        while True:
            changed, event = run.changed, run.last
            yield event
            if event[0] != "progress":
                return
            if run.last is event:
                await changed.wait()

    async def stop(self, run: Run) -> None:
        """End a run: it closes its trace, or is killed."""
        run.stopped = True
        if run.process.returncode is None:
            run.process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(run.process.wait(), STOP_S)
            except TimeoutError:
                run.process.kill()
        if run.task is not None:
            await run.task

    async def close(self) -> None:
        """End every run."""
        await asyncio.gather(*(self.stop(run) for run in list(self._runs.values())))
