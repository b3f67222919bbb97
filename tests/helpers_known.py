"""What a recorded run holds, and what of it a party can know: read from the trace itself, and not by a perspective.

A *word* is a value, a code, an id, a digest, a signed line, a handle. A *sentence* is what the run says of itself: what
it expected, its story, its faults. Nobody in the mesh knows a sentence. A word is known to whoever sent or received a
line that has it, could open the seal that it is under, sealed it, or has it in a ledger of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh import base64url
from mesh.consent import Consent, Difference
from mesh.errors import CODES, MeshError
from mesh.ledger import read_row
from mesh.message import Kind, format_time
from mesh.names import BROKER, member_of
from mesh.parsing import parse_json
from mesh.party import read_line
from mesh.trace.history import NoCode, history, shown
from mesh.trace.keyring import Keys
from mesh.trace.reader import Trace
from mesh.trace.rows import Message, Transmission
from mesh.trace.show import text

ROOT: Final = Path(__file__).parent.parent
_JWS: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
JST_AHEAD_US: Final = 9 * 3600 * 1_000_000
_TIMES: Final = ("time", "expiry")
_NUMBER_MIN: Final = 1000
"""Smaller numbers are also counts, indexes and years of the page itself."""


@dataclass
class Words:
    """Words, each with where it stands; and codes of refusals, which are words of the program as well."""

    words: dict[str, str] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)

    def add(self, words: Iterable[str], where: str) -> None:
        """Keep words that tell something."""
        for word in words:
            if _tells(word):
                self.words.setdefault(word, where)


def _tells(word: str) -> bool:
    word = word.strip()  # The blanks that fill a reason up to one length tell nothing.
    return len(word) >= 4 or (len(word) >= 2 and not word.isascii())


def leaves(value: Any, without: tuple[str, ...] = ()) -> Iterator[str]:
    """Every text and large number of a JSON value; of a JWS, and of JSON in a text, what stands in it, too."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name not in without:
                yield from leaves(one, without)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from leaves(one, without)
    elif isinstance(value, str):
        yield value
        if _JWS.fullmatch(value):
            yield from leaves(_payload(value.encode()), without)
        elif value.startswith("{"):
            yield from leaves(_json(value), without)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= _NUMBER_MIN:
        yield str(value)


def _payload(line: bytes) -> Any:
    try:
        return parse_json(base64url.decode(line.split(b".")[1]))
    except (MeshError, IndexError):
        return None


def _json(value: str) -> Any:
    try:
        return parse_json(value.encode())
    except MeshError:
        return None


class Run:
    """A trace, read once for all who are asked about."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.keys = Keys(trace)
        self.sent = list(trace.transmissions())
        self.rows = [(one.party, _row(one.row)) for one in trace.ledger()]
        self.residents = list(trace.residents())
        self._opened: dict[tuple[int, str], Any] = {}

    def opened(self, message: Message, part: str) -> Any:
        """What is under a seal of a message, whoever can open it; None for nothing."""
        if (message.number, part) not in self._opened:
            self._opened[message.number, part] = self._open(message, part)
        return self._opened[message.number, part]

    def _open(self, message: Message, part: str) -> Any:
        try:
            body: Any = read_line(message.line)
            token = getattr(body, part, None)
            reader = BROKER if part == "subject" else body.recipient
            return self.keys.open(token, reader, body.source) if isinstance(token, str) else None
        except (MeshError, AttributeError):
            return None

    # What there is.

    def everything(self) -> Words:
        """Every word of the run."""
        found = Words()
        for one in self.sent:
            self._line(found, one)
            for part in ("subject", "data", "reason"):
                self._under(found, one.message, part)
            if one.code is not None:
                found.codes.add(one.code)
        for party, row in self.rows:
            self._record(found, party, row)
        for handle, member, code in self.residents:
            found.add((handle,), "a resident's handle")
            found.add((code,), f"the code of {member}")
        settings = self.trace.meta.get("settings")
        found.add(leaves(settings if isinstance(settings, dict) else {}), "a setting of the run")
        found.add((str(self.trace.meta.get("seed")),), "the seed of the run")
        return found

    def sentences(self) -> dict[str, str]:
        """What the run says of itself, each with what it is."""
        trace = self.trace
        said = {one: "an expectation" for each in trace.expectations() for one in (each.text, each.text_ja)}
        said |= {one: "the story" for each in trace.story() for one in (each.text, each.text_ja)}
        if trace.faults is not None:
            plan = trace.faults.as_json()
            said |= dict.fromkeys((plan["title"], plan["title_ja"]), "the fault plan")
            said |= {one: "a fault" for each in plan["faults"] for one in each.values()}
        if trace.broke_off is not None:
            said[trace.broke_off] = "why the scenario broke off"
        outcome = trace.meta.get("outcome")
        said |= {one: "the outcome" for one in leaves(outcome) if " " in one or not one.isascii()}
        open_ = public_words(trace)
        return {one: what for one, what in said.items() if len(one) > 3 and one not in open_}

    # What somebody has.

    def of_parties(self, parties: frozenset[str]) -> Words:
        """What some nodes know together."""
        found = Words()
        for one in self.sent:
            sends = one.sender in parties
            receives = one.recipient in parties and one.fate == "delivered"
            if not (sends or receives):
                continue
            self._line(found, one)
            body = _body(one.message)
            wrote, reads = body.get("source") in parties, body.get("recipient") in parties
            for part in ("data", "reason") if wrote or reads else ():
                self._under(found, one.message, part)
            if wrote or BROKER in parties:
                self._under(found, one.message, "subject")
            if receives and one.code is not None:
                found.codes.add(one.code)
        for party, row in self.rows:
            if party in parties:
                self._record(found, party, row)
        return found

    def of_resident(self, handle: str) -> Words:
        """What a resident knows: the lines of their history, letters in full, and the consents that they gave."""
        found = Words()
        found.add((handle,), "their handle")
        try:
            lines = history(self.trace, handle)["rows"]
            keys = shown(self.trace, handle)
        except NoCode:
            lines, keys = [], {}
        for line in lines:
            found.add(leaves(line), "their history")
            found.codes.add(line["outcome"])
        for one in self.sent:
            body = _body(one.message)
            if (body.get("source"), body.get("id"), one.recipient) in keys:
                found.add(leaves(body.get("items")), "their history")
                if one.message.kind == Kind.NOTICE:
                    self._under(found, one.message, "data")
                    found.add((one.message.id or "",), "their letter")
        codes = {code for one, _, code in self.residents if one == handle}
        for consent in self._consents():
            if consent.subject in codes:
                stated = msgspec.to_builtins(consent)
                del stated["subject"]
                found.add(leaves(stated), "their consent")
        return found

    def lines_of(self, handle: str) -> int:
        """How many lines a resident's history shows."""
        try:
            return len(shown(self.trace, handle))
        except NoCode:
            return 0

    def _consents(self) -> Iterator[Consent]:
        for one in self.sent:
            content = self.opened(one.message, "data")
            listing = content.get("listing") if isinstance(content, dict) else None
            if isinstance(listing, str):
                for token in msgspec.convert(_payload(listing.encode()), Difference).given:
                    yield msgspec.convert(_payload(token.encode()), Consent)

    def clock(self) -> Iterator[str]:
        """When the run began, and when each line was sent: clocks are everybody's."""
        yield str(self.trace.meta.get("starts"))
        start_us = self.trace.start_us or 0
        for one in self.sent:
            yield format_time(start_us + one.sent_us)
            yield from (format_time(start_us + one.sent_us + ahead_us)[:10] for ahead_us in (0, JST_AHEAD_US))

    # Pieces.

    def _line(self, found: Words, sent: Transmission) -> None:
        for line in (sent.message, sent.permit):
            if line is None:
                continue
            body, where = _body(line), f"line {sent.number}"
            found.add(leaves(body, _TIMES), where)
            found.add((items for items in str(body.get("items") or "").split()), where)
            found.add((text(line.line), line.digest.hex(), line.id or ""), where)
        if sent.message.code is not None:
            found.codes.add(sent.message.code)

    def _under(self, found: Words, message: Message, part: str) -> None:
        opened = self.opened(message, part)
        found.add(leaves(opened, _TIMES), f"{part} under the seal of message {message.number}")
        found.codes.update(
            one for said in leaves(opened) for one in re.findall(r"[a-z_]+", said) if one in CODES
        )

    def _record(self, found: Words, party: str, row: Any) -> None:
        found.add((one for one in leaves(row) if not one.isdecimal()), f"the ledger of {party}")
        if isinstance(row, dict) and row.get("code"):
            found.codes.add(row["code"])


def public_words(trace: Trace) -> str:
    """What everybody knows of a run: who there is, what they are called, the law, the services; as one text."""
    said = [trace.meta.get(name) for name in ("names", "services", "procedures", "law")]
    addresses = [address for _, address, _ in trace.registry_entries()] + list(trace.parties.values())
    parts = {part for one in addresses if "/" in one for part in (member_of(one), *one.split("/"))}
    return "\n".join((public(), *leaves(said), *_names(said), *addresses, *sorted(parts)))


def _names(value: Any) -> Iterator[str]:
    for one in value if isinstance(value, list) else ():
        yield from one if isinstance(one, dict) else ()


@cache
def public() -> str:
    """What the program says by itself: identifiers, and the texts of the codes."""
    files = [
        *(ROOT / "mesh").rglob("*.py"),
        *(ROOT / "nodes").rglob("*.py"),
        *(ROOT / "mesh").rglob("*.html"),
    ]
    known: dict[str, None] = {}
    for path in sorted(files):
        known |= dict.fromkeys(re.findall(r"[A-Za-z_]{4,}", path.read_text(encoding="utf-8")))
    texts = (one for code in CODES.values() for one in (code.text, code.text_ja, code.fix, code.fix_ja))
    return "\n".join((*known, *texts))


def _body(message: Message) -> dict[str, Any]:
    stated = _payload(message.line)
    return stated if isinstance(stated, dict) else {}


def _row(data: bytes) -> Any:
    try:
        return msgspec.to_builtins(read_row(data))
    except MeshError:
        return None
