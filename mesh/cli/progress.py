"""A live line on stderr for work that takes longer than two seconds; only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mesh.cli import output
from mesh.guard import real_monotonic

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE_S = 2.0
REFRESH_S = 0.1


class Display:
    """Shows how far the work is, once it has taken `PATIENCE_S`; without a thread, drawn when told."""

    def __init__(self, total: int | None = None) -> None:
        self._begun_s = self._drawn_s = real_monotonic()
        self._total = total
        self._progress: Progress | None = None
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self.done = 0
        """Pieces of work finished before this one."""
        self.what = ""

    def tell(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Say what is under way; `done` of `total` pieces, if they can be counted."""
        now_s = real_monotonic()
        if not self._live or now_s - self._begun_s < PATIENCE_S or now_s - self._drawn_s < REFRESH_S:
            return
        self._drawn_s = now_s
        progress = self._progress = self._progress or self._start()
        progress.update(
            progress.task_ids[0],
            description=output.clean(text),
            completed=self.done if done is None else done,
            total=self._total if total is None else total,
        )
        progress.refresh()

    def run(self, messages: int, now_us: int) -> None:
        """What a simulation says of itself: transmissions so far, and its virtual time."""
        self.tell(f"{self.what}: {messages:,} messages, mesh time {_clock(now_us)}")

    def work(self, done: int, total: int) -> None:
        """So many of so many pieces are done."""
        self.tell(self.what, done, total)

    def _start(self) -> Progress:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
            console=output.console(sys.stderr),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )
        progress.add_task("", total=self._total)
        progress.start()
        return progress

    def stop(self) -> None:
        """Take the line away."""
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def display(total: int | None = None) -> Iterator[Display]:
    """A display that goes away with the work."""
    shown = Display(total)
    try:
        yield shown
    finally:
        shown.stop()


def _clock(now_us: int) -> str:
    seconds = now_us // 1_000_000
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
