"""OpenTelemetry: a trace for each exchange, a span for each leg of it, a resource for each node.

OTLP in JSON, one document a line, as the OTLP file exporter writes them: ids in hex, kinds as integers, times in
nanoseconds as strings (opentelemetry.io/docs/specs/otlp, JSON Protobuf Encoding). Every transmission is an event of
the spans at both its ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from mesh import base64url
from mesh.errors import MeshError
from mesh.names import member_of
from mesh.parsing import parse_json
from mesh.trace.export.legs import Leg, leg_key
from mesh.trace.recheck import ASKS

SPANS_EACH: Final = 500
"""Spans in a document: a collector's file receiver takes lines up to 1 MiB."""
_INTERNAL, _SERVER, _CLIENT, _PRODUCER, _CONSUMER = 1, 2, 3, 4, 5
_ERROR: Final = 2
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
"""W3C Trace Context: version, trace, parent, flags."""


def write(legs: Iterable[Leg], *, start_us: int, parties: frozenset[str] | None = None) -> Iterator[bytes]:
    """The documents for some legs; `start_us` is when the run began, µs since 1970.

    `parties` are the nodes whose spans there are, if not all: no span names a parent that is not there.
    """
    source = iter(legs)
    while batch := list(islice(source, SPANS_EACH)):
        nodes: dict[str, list[dict[str, Any]]] = {}
        for leg in batch:
            nodes.setdefault(leg.node, []).append(_span(leg, start_us, parties))
        document = {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(_resource(node))},
                    "scopeSpans": [{"scope": {"name": "public-service-mesh-simulator"}, "spans": spans}],
                }
                for node, spans in nodes.items()
            ]
        }
        yield json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _resource(node: str) -> dict[str, Any]:
    try:
        return {"service.name": node, "service.namespace": member_of(node)}
    except MeshError:
        return {"service.name": node}


def _span(leg: Leg, start_us: int, parties: frozenset[str] | None) -> dict[str, Any]:
    trace_id, parent = _context(leg)
    if leg.asked is not None:
        parent = _parent(leg, parties) or parent
    span = {
        "traceId": trace_id,
        "spanId": leg.key,
        "name": leg.row["service"] or leg.row["kind"] or "line",
        "kind": _kind(leg),
        "startTimeUnixNano": _nanos(start_us + leg.start_us),
        "endTimeUnixNano": _nanos(start_us + leg.end_us),
        "attributes": _attributes(_facts(leg)),
        "events": [
            {
                "timeUnixNano": _nanos(start_us + one.time_us),
                "name": f"{'send' if one.sends else 'receive'} {one.row['kind'] or 'line'}",
                "attributes": _attributes(
                    {
                        "mesh.index": one.row["index"], "mesh.id": one.row["id"], "mesh.fate": one.row["fate"],
                        "mesh.code": one.row["code"], "mesh.bytes": one.row["bytes"],
                    }
                ),
            }
            for one in leg.moments
        ],
        "status": {} if leg.code is None else {"code": _ERROR, "message": leg.code},
    }  # fmt: skip
    return span if parent is None else span | {"parentSpanId": parent}


def _facts(leg: Leg) -> dict[str, Any]:
    row = leg.row
    return {
        "mesh.peer": leg.counterpart,
        "mesh.kind": row["kind"],
        "mesh.procedure": row["procedure"],
        "mesh.items": " ".join(row["items"] or ()) or None,
        "mesh.answered": leg.answered,
        "error.type": leg.code,
    }


def _kind(leg: Leg) -> int:
    if leg.asked is None:
        return _INTERNAL
    if leg.asks:
        return _PRODUCER if leg.push else _CLIENT
    return _CONSUMER if leg.push else _SERVER


def _context(leg: Leg) -> tuple[str, str | None]:
    """The trace's id and the span that caused it: from the message if it says so, else from its digest."""
    if leg.asked is None:
        return leg.key + leg.node.encode("utf-8", "backslashreplace").hex()[:16].rjust(16, "0"), None
    found = _TRACEPARENT.fullmatch(_traceparent(leg.row))
    return (found[1], found[2]) if found else (leg.asked[:32], None)


def _traceparent(row: dict[str, Any]) -> str:
    if row["jws"] is None or row["asked"] is None:
        return ""
    try:
        payload = parse_json(base64url.decode(row["jws"].encode().split(b".")[1]))
    except (MeshError, IndexError):
        return ""
    value = payload.get("traceparent") if isinstance(payload, dict) else None
    return value if isinstance(value, str) else ""


def _parent(leg: Leg, parties: frozenset[str] | None) -> str | None:
    """The span that this one is part of: the asker's, or the same node's with him who asked first."""
    asked, source = leg.asked or "", leg.row["source"]
    if not leg.asks:
        there = parties is None or leg.counterpart in parties
        return leg_key(asked, leg.counterpart, leg.node, True) if there else None
    passed_on = leg.row["kind"] in ASKS and source not in (leg.node, None)
    return leg_key(asked, leg.node, source, False) if passed_on else None


def _nanos(time_us: int) -> str:
    return str(max(time_us, 0) * 1000)


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items() if value is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}
