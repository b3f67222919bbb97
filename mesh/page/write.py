"""Writes the page: self-contained, without script, the same bytes for the same runs.

Rules kept here:
1. Everything a template prints is cleaned and escaped by the environment; no template can forget it.
2. The page takes nothing from anywhere: style, charts and both languages are inside.
3. A file that stands in the way is replaced only if it is such a page.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mesh.errors import Code, UsageError
from mesh.page import charts, text
from mesh.reach import Reach
from mesh.report import AS_WITHOUT_FAULTS, REFUSED_PUSHES, Result, Totals
from mesh.scenario import Scenario
from mesh.trace.rows import NOT_TRIED
from mesh.whole import whole_file

TEMPLATES = Path(__file__).parent / "templates"
MARK = "<!doctype html>\n<!-- report of the public service mesh simulator -->\n"
"""How every page begins, and nobody else's file."""


@dataclass(frozen=True, slots=True)
class Section:
    """One run on the page."""

    scenario: Scenario
    result: Result
    command: str
    """What to type for the same run."""
    digest: str | None
    """SHA-256 over the rows of its trace, if it was recorded."""

    @property
    def matrix(self) -> charts.Matrix:
        """Which items came to whom."""
        return charts.matrix(self.result.report.disclosed)

    @property
    def counters(self) -> list[charts.AtCounter]:
        """The papers by counter."""
        return charts.by_counter(self.result.report.papers)

    @property
    def services(self) -> list[charts.Service]:
        """What was asked and pushed."""
        return charts.services(self.result.report.uses)

    @property
    def codes(self) -> list[Code]:
        """The codes that occurred, in words."""
        return charts.known_codes({*self.result.refusals, *(one.code for one in self.result.refused)})

    @property
    def steps(self) -> list[charts.Step]:
        """How far a push got; nothing where there was none."""
        push = self.result.report.push
        return charts.reach_steps(push) if push != Reach() else []


def render(sections: Sequence[Section]) -> str:
    """The page about these runs."""
    results = [section.result for section in sections]
    page = environment().get_template("page.html")
    made = page.render(
        sections=sections,
        totals=Totals.of(results),
        sums=[Totals.of([result]) for result in results],
        no_push=Reach(),
        as_without_faults=AS_WITHOUT_FAULTS,
        not_tried=NOT_TRIED,
        refused_pushes=REFUSED_PUSHES,
        style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own file
    )
    return MARK + made


def write(path: Path, sections: Sequence[Section]) -> None:
    """Write the page about these runs to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page = render(sections).encode()
    try:
        with whole_file(path) as file:
            file.write(page)
    except OSError as error:
        raise UsageError(
            f"cannot write the report {path}: {error.strerror}; name a place with room"
        ) from None


def check_writable(path: Path) -> None:
    """`UsageError` if it cannot be written, or something stands there that is no such page: it may be somebody's work."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the report: --report {path / 'report.html'}")
    existing = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not os.access(existing, os.W_OK) or (existing != path and not existing.is_dir()):
        raise UsageError(f"cannot write the report {path}: {existing} is not writable; name another file")
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(len(MARK))
    if start and start != MARK.encode():
        raise UsageError(f"{path} exists and is no report; name another file")


@cache
def environment() -> Environment:
    """How every template is rendered: cleaned, escaped, and strict about names."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.clean,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=text.number, duration=text.duration, breakable=_breakable)
    return environment


def _breakable(value: Any) -> Markup:
    """An address or a name that may go on in the next line behind each of its separators."""
    made = Markup.escape(text.clean(str(value)))
    for separator in ("/", ".", "_"):
        made = made.replace(separator, separator + Markup("<wbr>"))
    return made
