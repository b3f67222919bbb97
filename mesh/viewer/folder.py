"""The traces of one folder, by name; nothing outside it can be named.

Rules kept here:
1. A name is the name of a regular file that stands in the folder itself. What leads elsewhere, be it a path, a
   link, or a name that the system reads otherwise, is no trace.
2. If one file was named when the viewer was started, its neighbours are none either; what the page records is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mesh.errors import UsageError
from mesh.scenario import Scenario
from mesh.trace.opening import check_file
from mesh.trace.reader import Trace
from mesh.viewer.indexing import count
from mesh.viewer.opened import Opened

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
        self._open: dict[str, tuple[tuple[int, int, int], Opened]] = {}

    def allow(self, name: str) -> None:
        """Show a trace that was recorded from the page."""
        if self._only is not None:
            self._only.add(name)

    def file(self, name: str) -> Path:
        """The file of a name; `Missing` for what is no file of this folder."""
        path = self.path / name
        try:
            inside = Path(name).name == name and path.resolve() == path and path.is_file()
        except (OSError, ValueError):
            inside = False
        if not inside or (self._only is not None and name not in self._only):
            raise Missing("there is no such trace in the folder")
        return path

    def list(self) -> list[dict[str, Any]]:
        """Every trace, those that cannot be opened with the reason, newest first."""
        found = []
        for path in self.path.iterdir():
            try:
                self.file(path.name)
                check_file(path)
                found.append((-path.stat().st_mtime_ns, self._describe(path)))
            except Missing:
                continue
            except UsageError as error:
                if path.suffix == ".trace":
                    found.append((0, _unopened(path, str(error))))
        found.sort(key=lambda one: (one[0], one[1]["name"]))
        return [one for _, one in found[:LISTED_MAX]]

    def _describe(self, path: Path) -> dict[str, Any]:
        with Trace.open(path) as trace:
            return {
                "name": path.name,
                **titles(trace, self._scenarios),
                "seed": trace.meta.get("seed"),
                "faults": None if trace.faults is None else trace.faults.as_json(),
                "messages": count(trace, "transmission"),
                "complete": trace.complete and trace.whole,
                "notes": list(trace.notes),
            }

    async def opened(self, name: str) -> Opened:
        """The trace of a name, opened again if the file has changed; `Missing` or `UsageError` if it cannot be."""
        path = self.file(name)
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        known, opened = self._open.pop(name, (None, None))
        if opened is None or (known != stamp and not opened.is_fresh()):
            if opened is not None:
                await opened.close()
            opened = Opened(path)
            await opened.start()
        self._open[name] = (stamp, opened)
        if len(self._open) > OPEN_MAX:
            _, oldest = self._open.pop(next(iter(self._open)))
            await oldest.close()
        return opened

    async def close(self) -> None:
        """Close every trace."""
        while self._open:
            _, (_, opened) = self._open.popitem()
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


def _unopened(path: Path, why: str) -> dict[str, Any]:
    return {
        "name": path.name, "scenario": None, "title": "", "title_ja": "", "seed": None, "faults": None, "messages": 0,
        "complete": False, "notes": [why],
    }  # fmt: skip
