"""The traces of one folder, by name; nothing outside it can be named.

Rules kept here:
1. A name is the name of a regular file that stands in the folder itself. What leads elsewhere, be it a path, a
   link, or a name that the system reads otherwise, is no trace.
2. If one file was named when the viewer was started, its neighbours are none either; what the page records is.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mesh.errors import UsageError
from mesh.scenario import Scenario
from mesh.trace.opening import Steps, one_line
from mesh.trace.reader import Trace
from mesh.viewer.indexing import count
from mesh.viewer.opened import Opened
from mesh.viewer.stamp import Stamp, stamp_of
from mesh.viewer.telling import tell_error
from mesh.viewer.wording import note_in_japanese

OPEN_MAX: Final = 3
"""Traces that are open at a time; the least recently used leave first."""
LISTED_MAX: Final = 1000


class Missing(UsageError):
    """What was asked for by name is not here."""

    more: Mapping[str, Any] = MappingProxyType({})
    """What the answer says besides."""


class Folder:
    """Where traces are looked for. `only` is the one file that was named, if one was."""

    def __init__(self, path: Path, only: str | None, scenarios: Mapping[str, Scenario]) -> None:
        self.path = path.resolve()
        self._only = None if only is None else {only}
        self._scenarios = scenarios
        self._open: dict[str, tuple[Stamp, Opened]] = {}
        self._later: dict[str, tuple[Stamp, Opened]] = {}
        """What was recorded since, of traces that grow, as far as it was read."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._listing = asyncio.Lock()
        self._described: dict[str, tuple[Stamp, dict[str, Any]]] = {}

    def allow(self, name: str) -> None:
        """Show a trace that was recorded from the page."""
        if self._only is not None:
            self._only.add(name)

    def file(self, name: str) -> Path:
        """The file of a name; `Missing` for what is no file of this folder."""
        path = self.path / name
        try:
            inside = Path(name).name == name and stat.S_ISREG(path.lstat().st_mode)
        except (OSError, ValueError):
            inside = False
        if not inside or name.startswith(".") or (self._only is not None and name not in self._only):
            raise Missing("there is no such trace in the folder")
        return path

    async def listed(self) -> list[dict[str, Any]]:
        """Every trace, those that cannot be opened with the reason, newest first."""
        async with self._listing:
            return await asyncio.to_thread(self._list)

    def _list(self) -> list[dict[str, Any]]:
        stamps: dict[str, Stamp] = {}
        for path in self.path.iterdir():
            with suppress(Missing, OSError):
                stamps[path.name] = stamp_of(self.file(path.name))
        self._described = {
            name: one
            for name, one in self._described.items()
            if stamps.get(name) == one[0] and one[1]["live"] is False
        }
        found: list[dict[str, Any]] = []
        for name in sorted(stamps, key=lambda name: (-stamps[name].mtime_ns, name)):
            _, described = self._described.get(name) or (None, self._look(name))
            self._described[name] = (stamps[name], described)
            if described["live"] is not None or name.endswith(".trace"):
                found.append(described)
            if len(found) == LISTED_MAX:
                break
        found.sort(key=lambda one: one["live"] is None)  # What cannot be opened comes last.
        return [one | {"live": one["live"] is True} for one in found]

    def _look(self, name: str) -> dict[str, Any]:
        """A line of the list, whatever one file is like."""
        try:
            return self._describe(self.path / name, name)
        except UsageError as error:
            return _unopened(name, str(error))
        except Exception as error:
            tell_error("", error)
            return _unopened(name, f"{one_line(Path(name))} is damaged; copy it again, or run it again")

    def _describe(self, path: Path, name: str) -> dict[str, Any]:
        with Trace.open(path, name, glance=True) as trace:
            trace.steps.allow(Steps.OPENING)
            return {
                "name": name,
                **titles(trace, self._scenarios),
                "seed": trace.meta.get("seed"),
                "faults": None if trace.faults is None else trace.faults.as_json(),
                "messages": count(trace, "transmission"),
                "mesh_time_us": _reached_us(trace),
                "complete": trace.complete and trace.whole,
                "notes": list(trace.notes),
                "live": trace.live,
                "notes_ja": list(map(note_in_japanese, trace.notes)),
            }

    async def opened(self, name: str) -> Opened:
        """The trace of a name, opened again if the file has changed; `Missing` or `UsageError` if it cannot be."""
        # One at a time for each name: what is opened twice would be closed once.
        async with self._locks.setdefault(self.file(name).name, asyncio.Lock()):
            return await self._opened(name)

    async def _opened(self, name: str) -> Opened:
        path = self.file(name)
        stamp = stamp_of(path)
        known, opened = self._open.pop(name, (stamp, None))
        if opened is None or (known != stamp and not opened.is_fresh()):
            known, opened = await self._renewed(name, path, stamp, known, opened)
        self._open[name] = (known, opened)
        if len(self._open) > OPEN_MAX:
            oldest = next(iter(self._open))
            for _, one in filter(None, (self._open.pop(oldest), self._later.pop(oldest, None))):
                await one.close()
        return opened

    async def _renewed(
        self, name: str, path: Path, stamp: Stamp, known: Stamp, opened: Opened | None
    ) -> tuple[Stamp, Opened]:
        """A file that changed, opened again. What a run still writes is answered from while its newer state is read."""
        grows = opened is not None and not opened.trace.complete and known.inode == stamp.inode
        later = self._later.pop(name, None)
        if later is not None and not grows:
            await later[1].close()
            later = None
        if later is None:
            later = (stamp, Opened(await asyncio.to_thread(Trace.open, path, name, lenient=True)))
            await later[1].start()
        if opened is None:
            return later
        if grows and not later[1].index.done:
            self._later[name] = later
            return known, opened
        later[1].follow(opened)
        await opened.close()
        return later

    async def close(self) -> None:
        """Close every trace."""
        for held in (self._open, self._later):
            while held:
                _, (_, opened) = held.popitem()
                await opened.close()


def titles(trace: Trace, scenarios: Mapping[str, Scenario]) -> dict[str, Any]:
    """The scenario's name and titles, from the trace or else from the scenario that ships under that name."""
    name = trace.meta.get("scenario")
    shipped = scenarios.get(name) if isinstance(name, str) else None
    return {
        "scenario": name,
        "title": trace.meta.get("title") or (shipped.title if shipped is not None else ""),
        "title_ja": trace.meta.get("title_ja") or (shipped.title_ja if shipped is not None else ""),
    }


def _reached_us(trace: Trace) -> int:
    """When the newest transmission was sent."""
    newest = next(trace.rows("SELECT sent_us FROM transmission ORDER BY number DESC LIMIT 1"), (0,))[0]
    return newest if type(newest) is int else 0


def _unopened(name: str, why: str) -> dict[str, Any]:
    return {
        "name": name, "scenario": None, "title": "", "title_ja": "", "seed": None, "faults": None, "messages": 0,
        "mesh_time_us": 0, "complete": False, "notes": [why], "notes_ja": [note_in_japanese(why)], "live": None,
    }  # fmt: skip
