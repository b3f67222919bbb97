"""CloudEvents: every message once, as it was signed, in a batch (application/cloudevents-batch+json).

A message is a CloudEvent already, so nothing is translated. What is sealed stays sealed: `data` and `subject` are the
tokens that travelled. A permit is no event, and an event that was signed takes no attribute more, so permits are left
out; lines that cannot be read are no events either. `Left` counts both, so that whoever gets the batch is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mesh import base64url
from mesh.errors import MeshError
from mesh.message import KINDS
from mesh.parsing import parse_json
from mesh.party import read_line


@dataclass
class Left:
    """What has no place in a batch."""

    permits: int = 0
    lines: int = 0
    """Those that cannot be read, and what somebody cannot read."""

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"left out, as they are no events: {self.permits} permits, {self.lines} lines that cannot be read"
        )


def write(rows: Iterable[dict[str, Any]], left: Left) -> Iterator[bytes]:
    """The batch, piece by piece; `left` is complete with the last."""
    written: set[str] = set()
    opening = b"["
    for row in rows:
        left.permits += row["permit"] is not None
        left.lines += row["jws"] is None
        if row["digest"] is None or row["digest"] in written or row["jws"] is None:
            continue
        written.add(row["digest"])
        event = _event(row)
        if event is None:
            left.lines += 1
        else:
            yield opening + b"\n" + json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode()
            opening = b","
    yield b"\n]\n" if opening == b"," else b"[]\n"


def _event(row: dict[str, Any]) -> Any:
    """The signed payload, if it is a message that travels."""
    if row["kind"] not in KINDS:
        return None
    line = row["jws"].encode("ascii", "backslashreplace")
    try:
        read_line(line)
        return parse_json(base64url.decode(line.split(b".")[1]))
    except MeshError:
        return None
