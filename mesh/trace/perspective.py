"""The trace as somebody sees it: which transmissions they have, and what of each they can read.

Rules kept here:
1. A party has what it sent and what came to it; everything else is absent.
2. It reads what was sealed for it and what it sealed itself; the rest stays sealed.
3. A resident sees what the portal may show: for each line of their history who asked whom, when, what for and which
   items, never values, and letters in full. What is hidden (番号法23条2項) is absent, not blank: what they see is numbered
   by itself, so that no gap tells how much that is.
4. On the wire lines pass inside TLS: who, to whom, when and how long is all that an outsider has.
5. Parties that collude see what each of them sees.
6. Whether a text is for somebody `shows` decides, and nothing else: terminal, exports, pages and the viewer's answers
   ask it. What only the run as a whole knows is for who looks at the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from mesh.errors import MeshError, UsageError
from mesh.message import Kind, Refusal
from mesh.names import BROKER, COMMISSION, is_address, is_role, matches, member_of
from mesh.party import read_line
from mesh.trace.history import NoCode, shown
from mesh.trace.keyring import Keys
from mesh.trace.reader import Trace
from mesh.trace.rows import Transmission

EVERYTHING: Final = "everything"
WIRE: Final = "wire"


class Text(StrEnum):
    """What there is to read of a recorded run, as far as it is decided apart. `of` is what `shows` is told of it."""

    RUN = "run"
    """What only the run as a whole knows: what was expected, its story, the outcome that it reports, its settings, seed
    and faults, why it broke off, how much it recorded, and whom a code means. `of` is nothing."""
    PERSON = "person"
    """A resident's own page: history, letters, consents. `of` is their handle."""
    LINE = "line"
    """What stands in a line and its permit, and their bytes, digests and lengths. `of` is the transmission."""
    ARRIVAL = "arrival"
    """What became of it at the other end: when it arrived, what its gate checked, and the code. `of` as before."""
    BASIS = "basis"
    """The row of the law by which it was permitted. `of` as before."""
    RECORD = "record"
    """A ledger. `of` is whose."""
    COMPARISON = "comparison"
    """All records laid side by side. `of` is nothing."""
    OUTCOME = "outcome"
    """What came of the questions and pushes that they have. `of` is nothing."""


def sees_run(name: str | None) -> bool:
    """Whether who looks has the run as a whole: nobody in particular, or a perspective by that name."""
    return name is None or name == EVERYTHING


@dataclass(frozen=True, slots=True)
class Seen:
    """One transmission, and what of it somebody reads."""

    sent: Transmission
    readable: bool = True
    """Whether the signed attributes can be read at all."""
    subject: str | None = None
    """The sender's own linkage code of the person, for those who can read it."""
    content: Any = None
    """What was under the seal, as a JSON value."""
    reason: str | None = None
    """The code under a refusal's seal."""
    sealed: tuple[str, ...] = ()
    """Which parts are there and stay closed: `data`, `subject`, `reason`."""


class Perspective:
    """What everybody sees together: the view of who looks at the whole run. The others see less."""

    def __init__(self, trace: Trace, name: str) -> None:
        self.name = name
        self._keys = Keys(trace)

    def shows(self, what: Text, of: Transmission | str | None = None) -> bool:
        """Whether a text is for who looks; of a transmission that `see` gives them."""
        return True

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """SQL over t (transmission) and m (message), with its values: what may be seen; `see` decides."""
        return "1", ()

    def see(self, sent: Transmission) -> Seen | None:
        """What is seen of a transmission; None if it is absent."""
        return self._read(sent)

    def reads_seal_of(self, reader: str, author: str) -> bool:
        """Whether what an author sealed for a reader is open here."""
        return True

    def _read(self, sent: Transmission) -> Seen:
        message = _message(sent)
        if message is None:
            return Seen(sent)
        opened: dict[str, Any] = {}
        sealed = []
        for part, reader in (("data", getattr(message, "recipient", "")), ("subject", BROKER)):
            token = getattr(message, part, None)
            if not isinstance(token, str):
                continue
            try:
                if not self.reads_seal_of(reader, message.source):
                    raise MeshError("seal_invalid")
                opened[part] = self._keys.open(token, reader, message.source)
            except MeshError:
                sealed.append(part)
        subject, reason = opened.get("subject"), None
        if isinstance(message, Refusal) and message.reason is not None:
            reason = self._reason(message)
            sealed += [] if reason is not None else ["reason"]
        return Seen(
            sent,
            subject=subject if isinstance(subject, str) else None,
            content=opened.get("data"),
            reason=reason,
            sealed=tuple(sealed),
        )

    def _reason(self, refusal: Refusal) -> str | None:
        """The code under a refusal's seal, if it is open here."""
        own = self.reads_seal_of(refusal.recipient, refusal.source)
        code = self._keys.reason(refusal) if own else None
        return None if code is None else code.name


class Recorded(Perspective):
    """The file as it stands, for nobody in particular: nothing is opened."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace, EVERYTHING)

    def see(self, sent: Transmission) -> Seen:
        """Everything, sealed as it travelled."""
        return Seen(sent)

    def reads_seal_of(self, reader: str, author: str) -> bool:
        """No seal."""
        return False


class OfParties(Perspective):
    """What one or several parties see together."""

    def __init__(self, trace: Trace, name: str, parties: frozenset[str]) -> None:
        super().__init__(trace, name)
        self.parties = parties
        self._numbers = [number for number, address in trace.parties.items() if address in parties]

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """What the parties sent, and what was sent to them."""
        given = "(SELECT value FROM json_each(?))"
        return f"(t.sender IN {given} OR t.recipient IN {given})", (json.dumps(self._numbers),) * 2

    def shows(self, what: Text, of: Transmission | str | None = None) -> bool:
        """What stands in their lines and ledgers; what became of a line is for whom it came to."""
        match what:
            case Text.LINE | Text.BASIS | Text.OUTCOME:
                return True
            case Text.ARRIVAL:
                return isinstance(of, Transmission) and self._arrived(of)
            case Text.RECORD:
                return of in self.parties
            case Text.COMPARISON:
                return any(matches(f"{COMMISSION}/*", one) for one in self.parties)
            case _:
                return False

    def see(self, sent: Transmission) -> Seen | None:
        """What they sent, and what arrived."""
        if sent.sender in self.parties:
            return self._read(sent)
        return self._read(sent) if self._arrived(sent) else None

    def _arrived(self, sent: Transmission) -> bool:
        """What was dropped on the way, or never arrived, its recipient does not have."""
        return sent.fate == "delivered" and sent.recipient in self.parties

    def reads_seal_of(self, reader: str, author: str) -> bool:
        """What was sealed for one of them, or by one of them."""
        return reader in self.parties or author in self.parties


class OnTheWire(Perspective):
    """What an outsider has who listens everywhere."""

    def shows(self, what: Text, of: Transmission | str | None = None) -> bool:
        """Nothing that could be read."""
        return False

    def see(self, sent: Transmission) -> Seen | None:
        """That a line passed."""
        return Seen(sent, readable=False, sealed=("line",))


class Entry(NamedTuple):
    """A line of a resident's history: where the broker passed the question or push on, and what became of it."""

    number: int
    outcome: str
    """`answered`, `unfinished`, or a code."""


class OfResident(Perspective):
    """What a resident sees of what concerns them: one transmission for each line of their history."""

    def __init__(self, trace: Trace, name: str, entries: Sequence[Entry] | None = None) -> None:
        """`entries` are what the resident's history shows, if that is known; finding it reads a whole ledger."""
        super().__init__(trace, name)
        found = _entries(trace, name) if entries is None else entries
        self.numbers = tuple(one.number for one in found)
        """The transmission of each line; they rise, and a line's place here is the number that the resident sees."""
        self.outcomes = {one.number: one.outcome for one in found}
        self._reads = False

    def condition(self) -> tuple[str, tuple[Any, ...]]:
        """What is about the resident, hidden exchanges left out."""
        return "t.number IN (SELECT value FROM json_each(?))", (json.dumps(self.numbers),)

    def shows(self, what: Text, of: Transmission | str | None = None) -> bool:
        """Their own page, and by which law; the portal shows nobody bytes, ids or lengths (番号法23条)."""
        return what in (Text.BASIS, Text.OUTCOME) or (what == Text.PERSON and of == self.name)

    def see(self, sent: Transmission) -> Seen | None:
        """Who asked whom for which items, and letters in full."""
        if sent.number not in self.outcomes:
            return None
        # A letter is the resident's own to read; of everything else they see that it was.
        self._reads = sent.message.kind == Kind.NOTICE
        return self._read(sent)

    def reads_seal_of(self, reader: str, author: str) -> bool:
        """Only of a letter."""
        return self._reads and reader != BROKER


def perspective(trace: Trace, name: str) -> Perspective:
    """Somebody's view, by name.

    `everything`, `wire`, a resident's handle, an address, a member (all its nodes), a role, or several of these
    parties joined by `+`. Raises `UsageError` for who is not in the trace.
    """
    if name == EVERYTHING:
        return Perspective(trace, name)
    if name == WIRE:
        return OnTheWire(trace, name)
    if name in {handle for handle, _, _ in trace.residents()}:
        return OfResident(trace, name)
    parties = frozenset(party for part in name.split("+") for party in _parties(trace, part))
    return OfParties(trace, name, parties)


def parties_of(trace: Trace, name: str) -> frozenset[str] | None:
    """The nodes whose view a perspective is; None for one that is of no nodes. Raises as `perspective` does."""
    view = perspective(trace, name)
    return view.parties if isinstance(view, OfParties) else None


def _member(address: str) -> str:
    """The member of an address, or the text itself when it is none: one odd name must not hide all others."""
    return member_of(address) if is_address(address) else address


def _parties(trace: Trace, part: str) -> list[str]:
    addresses = list(trace.parties.values())
    found = [
        one for one in addresses if part in (one, _member(one)) or (is_role(part) and matches(part, one))
    ]
    if not found:
        raise UsageError(
            f"nobody in the trace is {part!r}; name {EVERYTHING}, {WIRE}, a resident as r-000001, or a party, one of "
            f"{', '.join(addresses[:8])}{', …' if len(addresses) > 8 else ''}"
        )
    return found


def entries_of(sent: Iterable[Transmission], shown: Mapping[tuple[str, str, str], str]) -> list[Entry]:
    """The lines of a history among the transmissions by which the broker passed something on, in their order.

    `shown` is that of `mesh.trace.history`. What was passed on again is one line.
    """
    found: dict[tuple[str, str, str], Entry] = {}
    for one in sent:
        message = _message(one) if one.permit is not None else None
        key = (getattr(message, "source", ""), getattr(message, "id", ""), one.recipient)
        if key in shown:
            found.setdefault(key, Entry(one.number, shown[key]))
    return list(found.values())


def _entries(trace: Trace, handle: str) -> list[Entry]:
    try:
        known = shown(trace, handle)
    except NoCode:
        return []  # The broker has no code for the person: nobody ever asked about them.
    ids = json.dumps(sorted({id_ for _, id_, _ in known}))
    where = "ifnull(t.permit, 0) != 0 AND m.id IN (SELECT value FROM json_each(?))"
    return entries_of(trace.transmissions(where=where, values=(ids,)), known)


def _message(sent: Transmission) -> Any:
    try:
        return read_line(sent.message.line)
    except MeshError:
        return None
