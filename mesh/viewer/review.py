"""The commission's comparison of a trace, made once it is asked for, in a process of its own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from mesh.viewer import child


class Review:
    """How far the comparison is, and what it found."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._share = 0.0
        self._result: dict[str, Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._outdated = False

    def outdate(self) -> None:
        """The run went on since the comparison began: what it finds is told once, and then compared anew."""
        self._outdated = self._task is not None

    def state(self) -> dict[str, Any]:
        """`done` and `share`, and what was found once it is done; the first call begins it, and one after a failure.

        What is `outdated` is asked for again by who wants to know of what was recorded since.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name=f"review {self._name}")
        result, outdated = self._result, self._outdated
        if result is not None and self._task.done() and (outdated or "error" in result):
            self._task, self._result, self._share, self._outdated = None, None, 0.0, False
        return {"done": result is not None, "share": self._share, "outdated": outdated} | (result or {})

    async def _watch(self) -> None:
        process = await child.start("mesh.viewer.reconciling", str(self._path), self._name)
        try:
            async for line in child.output(process):
                said = json.loads(line)
                self._share = said["share"]
                self._result = said.get("result")
        except ValueError:
            self._result = {"error": "the comparison could not be read"}
        finally:
            await child.end(process)
        if self._result is None:
            self._result = {"error": "the comparison ended without a result; ask again"}

    async def close(self) -> None:
        """Stop the comparison."""
        if self._task is not None:
            await child.stop(self._task, ending=self._result is not None)
