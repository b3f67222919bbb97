"""The messages of a trace as columns: what a transmission is found by that stands in its message or its permit."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from itertools import compress
from typing import Any, Final

from mesh.message import Kind
from mesh.trace.opening import Damage
from mesh.trace.reader import Trace
from mesh.trace.recheck import ANSWERS, ASKS
from mesh.trace.tied import hex_bytes, tied
from mesh.viewer.chunks import NONE, Names, pieces, text_of

_ASKS: Final = tuple(kind.encode() for kind in ASKS)
_ANSWERS: Final = tuple(kind.encode() for kind in ANSWERS)
_NAMING: Final = (*_ANSWERS, Kind.PERMIT.encode())
"""The kinds that name the digest of a request or push."""
# As blobs, because the reader's way of decoding a text is a call of Python for each.
_MESSAGES: Final = (
    "SELECT number, digest, CAST(ifnull(kind, '') AS BLOB), CAST(ifnull(id, '') AS BLOB), CAST(ifnull(service, '') AS BLOB),"
    " CAST(ifnull(code, '') AS BLOB), line FROM message WHERE number >= ? ORDER BY number LIMIT ?"
)


class Messages:
    """The messages that were read so far, each column by their number; number 0 stands for none.

    `names` gives each column's names their numbers, `person_of` knows the residents' codes.
    """

    def __init__(self, trace: Trace, names: Mapping[str, Names], person_of: Mapping[str, int]) -> None:
        self._pieces = pieces(trace, _MESSAGES)
        self._names = names
        self.person_of = person_of
        self.kind, self.code = array("B", (0,)), array("B", (0,))
        self.service, self.procedure = array("H", (0,)), array("H", (0,))
        self.source, self.meant = array("H", (0,)), array("H", (0,))
        """Who made a message and whom it is for, by its own word."""
        self.root = array("I", (0,))
        """The request or push that a message is or belongs to; itself where that is not known."""
        self.asks, self.answers = bytearray(1), bytearray(1)
        """1 where a message is a request or push, or an answer to one."""
        self.person = array("I", (0,))
        """Whom a permit is about; 0 for nobody."""
        self.first = array("I", (NONE,))
        """The first transmission of a request or push."""
        self.asked: dict[bytes, int] = {}
        """Digest of a request, a push, or of bytes that are no message → its number."""
        self.damage: Damage | None = None
        """Why the reading ended before the end."""
        self._ids: list[str] = []

    def __len__(self) -> int:
        return len(self.kind)

    def close(self) -> None:
        """Let go of the statement that reads."""
        self._pieces.close()

    def read_to(self, number: int) -> None:
        """Read on until a message is there, or there are no more."""
        try:
            while len(self) <= number and (rows := next(self._pieces, None)) is not None:
                # A message that is missing takes those behind it along: it is never so in a trace that a run wrote.
                self._take([row for at, row in enumerate(rows, len(self)) if row[0] == at])
        except Damage as damage:
            self.damage = damage

    def take_ids(self) -> list[str]:
        """The ids of what was read since the last call, one a line, in lower case."""
        ids, self._ids = self._ids, []
        return ids

    def exchange(self, digest: bytes) -> int:
        """The exchange of a request's or push's digest; `NONE` if it was never sent."""
        return self.first[self.asked.get(digest, 0)]

    def pushes(self) -> list[str]:
        """The services of all events and notices."""
        kinds = {self._names["kind"][kind.encode()] for kind in (Kind.EVENT, Kind.NOTICE)}
        services = dict.fromkeys(compress(self.service, map(kinds.__contains__, self.kind)))
        return [self._names["service"].all[one] for one in services]

    def _take(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        _, digests, kinds, ids, services, codes, lines = zip(*rows, strict=True)
        names = self._names
        self.kind.extend(map(names["kind"].__getitem__, kinds))
        self.service.extend(map(names["service"].__getitem__, services))
        self.code.extend(map(names["code"].__getitem__, codes))
        self.asks.extend(map(_ASKS.__contains__, kinds))
        self.answers.extend(map(_ANSWERS.__contains__, kinds))
        self.first.extend((NONE,) * len(rows))
        joined = b"\n".join(ids)
        if joined.count(b"\n") != len(ids) - 1:
            joined = b"\n".join(one.replace(b"\n", b" ") for one in ids)
        self._ids.append(text_of(joined).lower())
        self._tie(kinds, digests, lines)

    def _tie(self, kinds: tuple[bytes, ...], digests: tuple[Any, ...], lines: tuple[Any, ...]) -> None:
        """What the lines themselves say: which request they name, under which procedure, and about whom."""
        names, asked, person_of = self._names, self.asked, self.person_of
        procedures, sources, recipients = names["procedure"], names["source"], names["meant"]
        root, person = self.root, self.person
        for number, (kind, digest, line) in enumerate(zip(kinds, digests, lines, strict=True), len(root)):
            said = tied(line)
            if kind in _NAMING:
                named = asked.get(hex_bytes(said.requestdigest), number)
            else:
                # Bytes that nobody could read may be refused, and such a refusal names them.
                named = asked.setdefault(digest, number)
            root.append(named)
            self.procedure.append(procedures[_name(said.procedure)])
            self.source.append(sources[_name(said.source)])
            self.meant.append(recipients[_name(said.recipient)])
            person.append(person_of.get(said.subject or "", 0))


def _name(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "surrogatepass")
