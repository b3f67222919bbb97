"""The papers of the old process: which counter issues each, at what fee, and where that is stated.

Fees for 住民票 and 課税証明書 are set by ordinance; the amounts here are illustrative.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mesh.errors import UsageError
from mesh.report import Paper
from nodes.data.table import HERE, read_table

COLUMNS = ("key", "name", "name_ja", "counter", "counter_ja", "fee_yen", "source")


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
        )
        for cells in read_table(folder / "papers.csv", COLUMNS)
    }


def paper(key: str) -> Paper:
    """One paper; `UsageError` for a key that the table does not have."""
    papers = read_papers()
    if key not in papers:
        raise UsageError(f"there is no paper {key!r} in papers.csv; it has {', '.join(papers)}")
    return papers[key]
