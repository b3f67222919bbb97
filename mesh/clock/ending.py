"""SIGTERM and SIGHUP end a run as Ctrl-C does: a service manager or a closed terminal may not cut a recording."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDING: Final = ("SIGTERM", "SIGHUP")
"""By name: not every system has both."""


class Ending:
    """Which signal ended this process's work; SIGINT until another came."""

    def __init__(self) -> None:
        self.number: int = signal.SIGINT
        self.cancel: Callable[[], None] | None = None
        """What ends the run under way between two of its callbacks; None when there is none."""

    @property
    def code(self) -> int:
        """The exit code: 128 and the signal's number, as shells count."""
        return 128 + self.number

    @property
    def words(self) -> str:
        """What happened, for a person."""
        if self.number == signal.SIGINT:
            return "interrupted"
        return f"ended by {signal.Signals(self.number).name}"

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # A shell's background job ignores Ctrl-C.
            if self.cancel is None:
                raise KeyboardInterrupt
            self.cancel()
            return
        interrupt(signal.SIGINT, frame)

    @contextmanager
    def as_interrupt(self) -> Iterator[None]:
        """While inside, those signals do what Ctrl-C would; one that is ignored, as under nohup, or handled stays so."""
        self.number = signal.SIGINT
        numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
        taken = []
        for number in numbers:
            try:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, self._interrupt)
                    taken.append(number)
            except ValueError:  # Not the main thread: no signal is delivered here.
                break
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, signal.SIG_DFL)


ending: Final = Ending()
"""Of this process; signals are the process's, too."""
