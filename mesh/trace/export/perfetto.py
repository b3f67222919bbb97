"""Perfetto: a track for each node, a slice for each leg of an exchange, a flow for each transmission.

Its own format, TrackEvent in protobuf (perfetto.dev/docs/reference/synthetic-track-event). Members are groups, nodes
their tracks. Exchanges under way at once would overlap, which a track does not allow, so a node has as many tracks of
one name as it needs; the user interface shows them as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Any, Final

from mesh.errors import MeshError
from mesh.names import member_of
from mesh.trace.export.legs import Leg

# Numbers of fields in protos/perfetto/trace: trace_packet, track_descriptor, track_event, debug_annotation.
_PACKET: Final = 1
_TIMESTAMP, _SEQUENCE, _TRACK_EVENT, _TRACK_DESCRIPTOR = 8, 10, 11, 60
_UUID, _NAME, _PARENT = 1, 2, 5
_ANNOTATION, _TYPE, _TRACK_UUID, _CATEGORY, _EVENT_NAME, _FLOW, _FLOW_END = 4, 9, 11, 22, 23, 47, 48
_KEY, _INT, _STRING = 10, 4, 6
_BEGIN, _END, _INSTANT = 1, 2, 3
_SEQUENCE_ID: Final = 1


def write(legs: Iterable[Leg]) -> Iterator[bytes]:
    """The file for some legs; times count from the start of the run."""
    tracks = _Tracks()
    for leg in legs:
        lane, declared = tracks.lane(leg)
        yield declared + b"".join(_slice(leg, lane))


class _Tracks:
    """Which tracks there are, and which of a node's are free."""

    def __init__(self) -> None:
        self._members: dict[str, int] = {}
        self._free: dict[str, list[tuple[int, int]]] = {}
        """By node: when each of its tracks ended last, and its number. The earliest comes first."""
        self._last = 0

    def lane(self, leg: Leg) -> tuple[int, bytes]:
        """A track of the node that is free when the leg begins, and the declaration of what is new."""
        free = self._free.setdefault(leg.node, [])
        if free and free[0][0] <= leg.start_us:
            track, declared = heappop(free)[1], b""
        else:
            member = _member(leg.node)
            declared = b""
            if member not in self._members:
                self._members[member], declared = self._declare(member)
            track, declaration = self._declare(leg.node, self._members[member])
            declared += declaration
        heappush(free, (leg.end_us, track))
        return track, declared

    def _declare(self, name: str, parent: int = 0) -> tuple[int, bytes]:
        self._last += 1
        content = _number(_UUID, self._last) + _text(_NAME, name)
        content += _number(_PARENT, parent) if parent else b""
        return self._last, _packet(_message(_TRACK_DESCRIPTOR, content))


def _member(node: str) -> str:
    try:
        return member_of(node)
    except MeshError:
        return node


def _slice(leg: Leg, track: int) -> Iterator[bytes]:
    row = leg.row
    verbs = ("push", "take") if leg.push else ("ask", "answer")
    name = f"{verbs[0 if leg.asks else 1]} {row['service'] or row['kind'] or 'line'}"
    facts = {
        "peer": leg.counterpart, "kind": row["kind"], "id": row["id"], "procedure": row["procedure"],
        "items": " ".join(row["items"] or ()) or None, "code": leg.code,
    }  # fmt: skip
    yield _event(leg.start_us, _BEGIN, track, _named(name, facts))
    for one in leg.moments:
        kind = one.row["kind"] or "line"
        name = f"{kind} → {one.row['to']}" if one.sends else f"{kind} ← {one.row['from']}"
        more = {name: one.row[name] for name in ("index", "fate", "code", "bytes")}
        flow = _fixed(_FLOW if one.sends else _FLOW_END, one.row["index"] + 1)
        yield _event(one.time_us, _INSTANT, track, _named(name, more) + flow)
    yield _event(leg.end_us, _END, track, b"")


def _named(name: str, facts: dict[str, Any]) -> bytes:
    annotations = (
        _message(
            _ANNOTATION,
            _text(_KEY, key)
            + (_number(_INT, value) if isinstance(value, int) else _text(_STRING, str(value))),
        )
        for key, value in facts.items()
        if value is not None
    )
    return _text(_EVENT_NAME, name) + _text(_CATEGORY, "mesh") + b"".join(annotations)


def _event(time_us: int, kind: int, track: int, rest: bytes) -> bytes:
    event = _number(_TYPE, kind) + _number(_TRACK_UUID, track) + rest
    return _packet(_number(_TIMESTAMP, time_us * 1000) + _message(_TRACK_EVENT, event))


# Protocol buffers (protobuf.dev/programming-guides/encoding), as far as this format needs them.


def _packet(content: bytes) -> bytes:
    return _message(_PACKET, content + _number(_SEQUENCE, _SEQUENCE_ID))


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode("utf-8", "backslashreplace"))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _fixed(field: int, value: int) -> bytes:
    return _varint(field << 3 | 1) + value.to_bytes(8, "little")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
