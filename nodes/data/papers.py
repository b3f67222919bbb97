"""The papers of the old process: which counter issues each, at what fee, which rule asks for it, and what replaces it.

What replaces a paper stands as `service: item item`, several ways parted by `;`. Fees for 住民票 and 課税証明書 are set by
ordinance; the amounts here are illustrative.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mesh import Paper, Replacement, Visit
from mesh.errors import UsageError
from mesh.names import is_service
from nodes.data.table import HERE, Cells, read_table

COLUMNS = (
    "key", "name", "name_ja", "counter", "counter_ja", "fee_yen", "source", "visit", "own", "asked_by", "replaced_by",
)  # fmt: skip


@lru_cache(maxsize=4)
def read_papers(folder: Path = HERE) -> dict[str, Paper]:
    """All papers by key; `UsageError` names file, row and column of what is wrong."""
    return {
        cells.text("key"): Paper(
            cells.text("name"),
            cells.text("name_ja"),
            cells.text("counter"),
            cells.text("counter_ja"),
            cells.whole("fee_yen"),
            cells.text("source"),
            asked_by=cells.text("asked_by"),
            replaced_by=_replacements(cells),
            visit=_visit(cells),
            own=_own(cells),
        )
        for cells in read_table(folder / "papers.csv", COLUMNS)
    }


def paper(key: str) -> Paper:
    """One paper; `UsageError` for a key that the table does not have."""
    papers = read_papers()
    if key not in papers:
        raise UsageError(f"there is no paper {key!r} in papers.csv; it has {', '.join(papers)}")
    return papers[key]


def _replacements(cells: Cells) -> tuple[Replacement, ...]:
    text = " ".join(cells.words("replaced_by"))
    return tuple(_replacement(cells, way.strip()) for way in text.split(";")) if text else ()


def _replacement(cells: Cells, way: str) -> Replacement:
    service, _, items = way.partition(":")
    if not is_service(service.strip()):
        cells.wrong(
            "replaced_by", f"{service!r} is no name of a service or push; write tax.income.v1: tax_year"
        )
    return Replacement(service.strip(), frozenset(items.split()))


def _visit(cells: Cells) -> Visit:
    text = cells.text("visit")
    if text not in tuple(Visit):
        cells.wrong("visit", f"{text!r} is none of {', '.join(Visit)}")
    return Visit(text)


def _own(cells: Cells) -> bool:
    text = cells.text("own")
    if text not in ("yes", "no"):
        cells.wrong("own", f"{text!r} is neither yes nor no")
    return text == "yes"
