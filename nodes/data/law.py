"""The law as the simulator holds it: who may ask whom for what, in which procedure, across which zones.

Rows kept here cite what they rest on. 番号法19条8号 and the table of 令和6年デジタル庁・総務省令第9号 2条
(formerly 別表第二) say which exchanges are lawful; the services and items are the simulator's own, so the
number of a row of that table is never given.

Files: `legal_basis.csv`, `procedures.csv`, `zone_paths.csv`. Dates are of Japan; `until` is the first day on
which a row no longer holds. `flags` are names of `mesh.policy.LegalBasis` fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mesh import names
from mesh.names import Zone
from mesh.policy import FOREVER_US, LegalBasis, Policy, Procedure, ZonePath
from nodes.data.table import HERE, Cells, read_table

BASIS_COLUMNS = (
    "id",
    "requester",
    "procedure",
    "provider",
    "service",
    "items",
    "citation",
    "from",
    "until",
    "flags",
)
PROCEDURE_COLUMNS = ("id", "title", "title_ja", "citation")
PATH_COLUMNS = ("id", "start", "end", "requester", "provider", "citation")
FLAGS = ("same_member", "consent", "assessment", "undisclosed")


@dataclass(frozen=True, slots=True)
class Law:
    """The rows in force, the crossings between zones, and the procedures."""

    bases: tuple[LegalBasis, ...]
    paths: tuple[ZonePath, ...]
    procedures: tuple[Procedure, ...]

    def enact(self, policy: Policy) -> None:
        """Put all of it in force."""
        for procedure in self.procedures:
            policy.procedures[procedure.id] = procedure
        for basis in self.bases:
            policy.add(basis)
        for path in self.paths:
            policy.allow_path(path)


def read_law(folder: Path = HERE) -> Law:
    """The law from its tables; `UsageError` names file, row and column of what is wrong.

    A folder of another package has what it adds: some of the tables, and rows for procedures of its own or of ours.
    """
    procedures = tuple(map(_procedure, _rows(folder, "procedures.csv", PROCEDURE_COLUMNS)))
    ours = () if folder == HERE else read_law().procedures
    known = frozenset(procedure.id for procedure in (*ours, *procedures))
    bases = tuple(_basis(cells, known) for cells in _rows(folder, "legal_basis.csv", BASIS_COLUMNS))
    paths = tuple(map(_path, _rows(folder, "zone_paths.csv", PATH_COLUMNS)))
    return Law(bases, paths, procedures)


def _rows(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[Cells]:
    file = folder / name
    return iter(()) if folder != HERE and not file.exists() else read_table(file, columns)


def _procedure(cells: Cells) -> Procedure:
    cells.text("citation")
    return Procedure(cells.text("id"), cells.text("title"), cells.text("title_ja"))


def _basis(cells: Cells, procedures: frozenset[str]) -> LegalBasis:
    procedure = cells.text("procedure")
    if procedure not in procedures:
        cells.wrong("procedure", f"{procedure!r} is not in procedures.csv")
    service = cells.text("service")
    if not names.is_service(service):
        cells.wrong("service", f"{service!r} is not named like tax.income.v1")
    from_us = cells.instant_us("from", 0)
    until_us = cells.instant_us("until", FOREVER_US)
    if from_us >= until_us:
        cells.wrong("until", "is not after the column from")
    return LegalBasis(
        _role(cells, "requester"),
        procedure,
        _role(cells, "provider"),
        service,
        cells.words("items"),
        cells.text("citation"),
        cells.text("id"),
        from_us,
        until_us,
        **_flags(cells),
    )


def _flags(cells: Cells) -> dict[str, Any]:
    """The flags of a row; `subjects_max=20` is the one that has a number."""
    flags: dict[str, Any] = {}
    for word in cells.words("flags"):
        name, equals, number = word.partition("=")
        if name in FLAGS and not equals:
            flags[name] = True
        elif name == "subjects_max" and number.isascii() and number.isdigit() and int(number) > 0:
            flags[name] = int(number)
        else:
            cells.wrong("flags", f"{word!r} is none of {', '.join(FLAGS)}, subjects_max=N")
    return flags


def _role(cells: Cells, column: str) -> str:
    role = cells.text(column)
    if not names.is_role(role):
        cells.wrong(column, f"{role!r} is no role like muni/*/tax")
    return role


def _path(cells: Cells) -> ZonePath:
    return ZonePath(
        _zone(cells, "start"),
        _zone(cells, "end"),
        _role(cells, "requester"),
        _role(cells, "provider"),
        cells.text("citation"),
    )


def _zone(cells: Cells, column: str) -> Zone:
    zone = cells.text(column)
    if zone not in set(Zone):
        cells.wrong(column, f"{zone!r} is no zone; they are {', '.join(Zone)}")
    return Zone(zone)
