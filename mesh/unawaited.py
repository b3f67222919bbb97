"""Finds coroutines that nobody awaited: what they were to do did not happen, and Python only warns of it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from mesh.errors import UsageError

_WARNING: Final = re.compile(r"coroutine '(?P<name>[^']+)' was never awaited")


@contextmanager
def unawaited(found: list[BaseException]) -> Iterator[None]:
    """While inside, each coroutine that is dropped without an await becomes a `UsageError` in `found`.

    Other warnings go where they went before. Python says where the coroutine was dropped, which is the line that
    called it unless it was kept in a variable.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("always", message="coroutine '.*' was never awaited", category=RuntimeWarning)
        show = warnings.showwarning

        def take(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            said = _WARNING.match(str(message)) if issubclass(category, RuntimeWarning) else None
            if said is None:
                show(message, category, filename, lineno, file, line)
                return
            where = f"{Path(filename).name}, line {lineno}"
            found.append(
                UsageError(f"{said['name']} was called and not awaited ({where}); write await in front of it")
            )

        warnings.showwarning = take
        yield
