"""JSON Lines: one transmission a line, with the fields that docs/JSONL.md explains."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mesh.message import format_time


def write(rows: Iterable[dict[str, Any]], *, start_us: int | None) -> Iterator[bytes]:
    """The lines; `start_us` is when the run began, µs since 1970, if the trace says so."""
    for row in rows:
        time = None if start_us is None else format_time(start_us + row["time_us"])
        yield json.dumps({"index": row["index"], "time": time} | row, ensure_ascii=True).encode() + b"\n"
