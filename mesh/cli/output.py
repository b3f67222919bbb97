"""Where results and notes go, and in which form: a terminal gets tables, a pipe plain lines, a program JSON.

Everything printed is cleaned of control characters first: a trace or a scenario may come from anybody.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, TextIO
from unicodedata import east_asian_width

from mesh.visible import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console

NAME_WIDTH = 30
"""Columns up to which the first cell of a row, by which one finds it, is never broken."""


def make_printable(*streams: TextIO | None) -> None:
    """Let a stream escape what its encoding cannot show, instead of failing."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def clean(text: str) -> str:
    """The text with its control and direction marks made visible; they could rewrite the terminal."""
    return visible(text)


def say(line: str = "") -> None:
    """One line of the result."""
    print(clean(line))


def note(line: str) -> None:
    """One line that is no result: progress, a hint, an error."""
    if sys.stderr is not None:
        print(clean(line), file=sys.stderr, flush=True)


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout is not None and sys.stdout.isatty()


def console(file: TextIO | None = None) -> Console:
    """A rich console that takes text as it is; NO_COLOR turns every colour off (no-color.org)."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR"))
    return Console(
        file=file or sys.stdout,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=None if plain else "auto",
    )


def say_json(value: Any) -> None:
    """A whole result as JSON."""
    print(_json(value, indent=2))


def say_json_rows(key: str, rows: Iterable[Any]) -> None:
    """`{key: [rows]}` as JSON, written while the rows come."""
    opening = f'{{"{key}": ['  # Not before the first row: what is wrong shows when it is asked for.
    for row in rows:
        sys.stdout.write(f"{opening}\n{_json(row)}")
        opening = ","
    sys.stdout.write(f"{opening if opening != ',' else ''}\n]}}\n")


def _json(value: Any, indent: int | None = None) -> str:
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    return json_text(json.dumps(value, ensure_ascii=not unicode, indent=indent))


@contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """While inside, what others print goes to stderr, so that stdout holds the JSON alone."""
    if not wanted:
        yield
        return
    with redirect_stdout(sys.stderr):
        yield


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None, apart: bool = False
) -> None:
    """A table: ruled on a terminal, aligned columns in a pipe."""
    cells = [[clean(cell) for cell in row] for row in rows]
    if on_terminal():
        console().print(ruled(header, cells, title=title, apart=apart))
        return
    if title:
        say(title)
    for line in aligned([list(header), *cells]):
        say(line)


def ruled(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None, apart: bool = False
) -> Any:
    """A rich table; cells are text or rich text, nothing is left out to make it fit. `apart` rules between rows."""
    from rich.table import Table

    lines = list(rows)
    names = [line for row in lines if isinstance(row[0], str) for line in row[0].splitlines()]
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", show_lines=apart)
    for number, name in enumerate(header):
        whole = number == 0 and max(map(_width, names), default=0) <= NAME_WIDTH
        made.add_column(name, overflow="fold", no_wrap=whole)
    for row in lines:
        made.add_row(*row)
    return made


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines in which the columns stand below each other; a Japanese character counts twice."""
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        padded = [
            cell.replace("\n", " ") + " " * (width - _width(cell))
            for cell, width in zip(row, widths, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _width(text: str) -> int:
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def abandon_stdout() -> None:
    """Give up on stdout: nobody reads it, so that the interpreter must not fail to flush it at the end."""
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, sys.stdout.fileno())
        os.close(silence)
    except (OSError, io.UnsupportedOperation):
        pass
