"""CloudEvents: every message once, as it was signed, in a batch (application/cloudevents-batch+json).

A message is a CloudEvent already, so nothing is translated. What is sealed stays sealed: `data` and `subject` are the
tokens that travelled. Permits are no events, and lines that cannot be read are none either; both are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mesh import base64url
from mesh.errors import MeshError
from mesh.message import KINDS
from mesh.parsing import parse_json
from mesh.party import read_line


def write(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The batch, piece by piece."""
    written: set[str] = set()
    opening = b"["
    for row in rows:
        if row["digest"] is None or row["digest"] in written or row["jws"] is None:
            continue
        event = _event(row)
        if event is not None:
            written.add(row["digest"])
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
