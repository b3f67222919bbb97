"""Reads a trace: what a run recorded, as it stands in the file, checked for type and nothing else.

Rules kept here:
1. The file is not changed, and a trace that was interrupted, cut short or is under way is read as far as it goes;
   `notes` says so.
2. Rows come as they are asked for: a trace may be larger than memory. Those of a run under way come by pieces, since
   the run cannot commit while somebody reads.
3. What SQLite cannot read, or a column of a wrong type, is `Damage`, which is a `UsageError`. Who only looks may open a
   trace leniently: then what stands beside messages and ledgers is read as far as it goes, and `notes` says so.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from mesh.errors import MeshError, UsageError
from mesh.faults import Plan, recorded_plan
from mesh.message import parse_time
from mesh.parsing import parse_json
from mesh.policy import LegalBasis, Policy
from mesh.story import Sentence, Spans
from mesh.trace.opening import UNREADABLE, Damage, Opened, Room, Steps, connect, damaged, one_line
from mesh.trace.rows import Expectation, LedgerRow, Message, Transmission
from mesh.trace.schema import FORMAT, NOT_TRIED, sealing_keys_in


class _Plain(NamedTuple):
    number: int
    sent_us: int
    arrived_us: int
    sender: int
    recipient: int
    permit: int | None
    fate: str
    code: str | None
    gate: int | None


class Ends(NamedTuple):
    """How far a run had recorded at one moment: what comes later is left to the next look."""

    transmission: int
    """The last index."""
    ledger: int
    """The number of the last row."""
    heads: int
    """How many there were."""


T = TypeVar("T")
PIECE: Final = 1000
"""Transmissions that are read at a time while the run goes on."""
_PARTIES = "SELECT number, address FROM party ORDER BY number"
_INLINE_MAX: Final = 8192
"""Bytes of a line that come with each transmission of it; a longer one is read by itself, and kept at hand."""
_AT_HAND_MAX: Final = 2**26
"""Bytes of such lines that are kept at hand."""
_TRANSMISSION_BYTES_MIN: Final = 16
_SHARES: Final = 2 * _INLINE_MAX // _TRANSMISSION_BYTES_MIN
"""How often a byte may come where messages stand beside transmissions: a line comes with each of its transmissions."""
_ROW = "{0}.number, {0}.digest, {0}.kind, nullif({0}.id, ''), nullif({0}.service, ''), nullif({0}.code, ''), "
_MESSAGE = f"{_ROW}{{0}}.line"
_SHORT = f"CASE WHEN length({{0}}.line) <= {_INLINE_MAX} THEN {{0}}.line END"
# The writer puts '' and 0 where there is nothing, because SQLite binds them faster than NULL.
_TRANSMISSIONS = f"""
SELECT t.number, t.sent_us, t.arrived_us, t.sender, t.recipient, nullif(t.permit, 0), t.fate, nullif(t.code, ''),
  {{gate}},
  {(_ROW + _SHORT).format("m")}, {(_ROW + _SHORT).format("p")}
FROM transmission t LEFT JOIN message m ON m.number = t.message LEFT JOIN message p ON p.number = t.permit
WHERE {{where}} ORDER BY t.number LIMIT ?"""  # noqa: S608
_RAW: Final = f"""
SELECT t.number, t.sent_us, t.arrived_us, t.sender, t.recipient, t.fate, nullif(t.code, ''), m.number, p.number,
  {_SHORT.format("m")}, {_SHORT.format("p")}
FROM transmission t LEFT JOIN message m ON m.number = t.message LEFT JOIN message p ON p.number = nullif(t.permit, 0)
ORDER BY t.number"""  # noqa: S608


class Trace:
    """One trace file. Use it as a context manager, or close it."""

    def __init__(self, opened: Opened, path: Path, name: str, *, lenient: bool = False) -> None:
        self.path = path
        self.name = name
        """What texts call it."""
        self._lenient = lenient
        self._lost: dict[str, None] = {}
        """Tables of which a part cannot be read."""
        self._db = opened.db
        self.steps: Steps = opened.steps
        """How far SQLite may go."""
        self._copy = opened.copy
        self._at_hand: dict[int, Message] = {}
        self._at_hand_bytes = 0
        self.live = opened.live
        """Whether the run still goes on."""
        self.short = opened.short
        """That the file is shorter than it should be, and by how much."""
        self.whole = opened.short is None
        """Whether the file is as long as it should be."""
        self._older = False
        raw = dict(self._typed("SELECT key, value FROM meta", tuple[str, str]))
        meta = {key: _value(text) for key, text in raw.items()}
        written = meta.get("format")
        self._older = type(written) is int and written < FORMAT
        self.meta: dict[str, Any] = meta | self._epilogue()
        """Facts about the run: scenario, seed, settings, starts…; and the story and outcome of one that ended."""
        self.faults: Plan | None = recorded_plan(self.meta.get("faults"))
        """What went wrong in the run besides what its scenario staged; None if nothing did."""
        broke_off = self.meta.get("broke_off")
        self.broke_off = None if broke_off is None else _printable(str(broke_off))
        """Why the scenario could not go on, if it could not."""
        self.parties: dict[int, str] = dict(self._typed(_PARTIES, tuple[int, str]))
        self.complete = self.meta.get("complete") == 1
        """Whether the run came to its end; else this is what was committed until it was interrupted."""
        self.root_der = _hex(raw.get("root", ""))
        """The root certificate; empty if the run was killed before it was written."""
        self._notes = tuple(self._say())

    def _epilogue(self) -> dict[str, Any]:
        """What the run said at its end; nothing in a trace that is cut short, goes on, or is of an older version."""
        try:
            said = dict(self._typed("SELECT key, value FROM epilogue", tuple[str, str]))
        except Damage:
            self._lost["epilogue"] = None
            return {}
        return {key: _value(text) for key, text in said.items()}

    @property
    def nothing(self) -> bool:
        """Whether the run has recorded nothing yet, or was killed before it did."""
        tables = ("transmission", "message", "ledger", "head", "registry_entry", "registry_head")
        return (
            not self.complete
            and self.whole
            and not self.root_der
            and all(next(self.rows(f"SELECT 1 FROM {one} LIMIT 1"), None) is None for one in tables)  # noqa: S608
        )

    def under_way(self) -> frozenset[int]:
        """The indexes of what was sent and had not arrived at the last commit of a run that did not come to its end."""
        said = dict(self._typed("SELECT key, value FROM meta WHERE key = 'under_way'", tuple[str, str]))
        numbers = _value(said.get("under_way", "[]"))
        return frozenset(one for one in numbers if type(one) is int) if type(numbers) is list else frozenset()

    def ends(self) -> Ends:
        """How far the run has recorded; asked for in one statement, as of one commit."""
        sql = (
            "SELECT (SELECT ifnull(max(number), -1) FROM transmission), (SELECT ifnull(max(number), 0) FROM ledger),"
            " (SELECT ifnull(max(number), 0) FROM head)"
        )
        return next(self._typed(sql, Ends))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person must know before believing the trace, each in one line; empty as it should be."""
        if self.broke_off is None:
            return self.notes_of_file
        whole, short = f"{self.name}: the scenario broke off: {self.broke_off}", self._broke_off
        return tuple(whole if one == short else one for one in self.notes_of_file)

    @property
    def notes_of_file(self) -> tuple[str, ...]:
        """The same, without what happened in the run: why its scenario broke off."""
        lost = (
            f"{self.name} is {self.short or 'damaged'}: not all of its table {table} can be read"
            for table in self._lost
        )
        return (*self._notes, *lost)

    @classmethod
    def open(
        cls, path: Path | str, name: str | None = None, *, glance: bool = False, lenient: bool = False
    ) -> Trace:
        """Open a trace for reading; `UsageError` says in one line what is wrong and what to do.

        `name` is what texts call it; else that is its path. At what a killed run left one may take a `glance`: it is
        read without being copied, and so may be torn. Who only looks is `lenient`.
        """
        path = Path(path)
        name = one_line(path if name is None else Path(name))
        opened = connect(path, name, glance=glance)
        try:
            trace = cls(opened, path, name, lenient=lenient)
        except UsageError:
            opened.db.close()
            _remove(opened.copy)
            raise
        opened.steps.allow(None)
        return trace

    @property
    def file(self) -> Path:
        """The file that is read: the copy, if there is one."""
        return self._copy or self.path

    def _say(self) -> Iterator[str]:
        """What is not as it should be; `UsageError` for a format that is not known yet."""
        name, written = self.name, self.meta.get("format")
        if type(written) is not int:
            raise self._damage()
        if written > FORMAT:
            raise UsageError(f"{name} has format {written}, and this version reads up to {FORMAT}: update it")
        if self._older:
            yield f"{name} has format {written}, and this version writes {FORMAT}: what it lacks is left out"
        if self.short is not None:
            yield f"{name} is {self.short}; what comes before the break can be read"
        elif self.live:
            yield f"{name} is still being written; what was committed so far can be read"
        elif not self.complete:
            yield f"{name} was interrupted; what was recorded until then can be read"
        if self.broke_off is not None:
            yield self._broke_off

    @property
    def _broke_off(self) -> str:
        return f"{self.name}: the scenario broke off"

    def _damage(self, where: str = "", index: int | None = None) -> Damage:
        """The error of a row that cannot be read."""
        return damaged(f"{self.name} is {self.short or 'damaged'}{where}", index)

    def close(self) -> None:
        """Close the file, and remove the copy if one was read."""
        self._db.close()
        _remove(self._copy)

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def start_us(self) -> int | None:
        """The mesh's time at the start of the run, µs since 1970; None if the trace does not say."""
        try:
            return parse_time(str(self.meta.get("starts")))
        except MeshError:
            return None

    @cached_property
    def names(self) -> dict[str, tuple[str, str]]:
        """What members and systems are called, English and Japanese, by member and by address.

        It is what the run said of itself: to be read beside the address, never in its place. Empty in a trace that
        does not say it.
        """
        return dict(self.titles("names"))

    def titles(self, key: str) -> Iterator[tuple[str, tuple[str, str]]]:
        """The titles, English and Japanese, of one kind of things that the trace names: names, services, procedures."""
        said = self.meta.get(key)
        for name, one in said.items() if isinstance(said, dict) else ():
            title, title_ja = (
                (one.get("title"), one.get("title_ja")) if isinstance(one, dict) else (None, None)
            )
            if isinstance(title, str) and isinstance(title_ja, str) and (title or title_ja):
                yield name, (title or title_ja, title_ja or title)

    # Transmissions and messages.

    def transmissions(
        self, start: int = 0, limit: int = -1, where: str = "1", values: tuple[Any, ...] = ()
    ) -> Iterator[Transmission]:
        """Transmissions from an index on, in the order of sending; all of them if the limit is negative.

        `where` is an SQL condition on t (transmission) and m (message), with its values.
        """
        gate = "NULL" if self._older else "nullif(t.gate, 0)"
        sql = _TRANSMISSIONS.format(where=f"t.number >= ? AND ({where})", gate=gate)
        for row in self._pieces(sql, start, values, limit, _SHARES):
            yield self._transmission(row)

    def raw(self) -> Iterator[tuple[Any, ...]]:
        """Every transmission as its columns stand, with the lines of message and permit at the end, in order."""
        for *columns, message, permit, line, beside in self.rows(_RAW, room=self.room(_SHARES)):
            if line is None and type(message) is int:
                line = self._long_message(message).line
            if beside is None and type(permit) is int:
                beside = self._long_message(permit).line
            yield (*columns, line, beside)

    def _pieces(
        self, sql: str, start: int, values: tuple[Any, ...] = (), limit: int = -1, shares: int = 1
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement that begins at a number and ends with a limit; in pieces if a run may still write."""
        room = self.room(shares)
        while True:
            piece = limit if self.complete else PIECE if limit < 0 else min(limit, PIECE)
            count = 0
            for row in self.rows(sql, start, *values, piece, room=room):
                if row[0] < start:  # Pages that point at each other, so that rows come again for ever.
                    raise self._damage()
                yield row
                start = row[0] + 1
                count += 1
            limit -= count
            if count < PIECE or limit == 0 or self.complete:
                return
            self.parties.update(self._typed(_PARTIES, tuple[int, str]))

    def _transmission(self, row: tuple[Any, ...]) -> Transmission:
        index = row[0] if type(row[0]) is int else None
        try:
            plain = _convert(row[:9], _Plain)
            message = self._whole(row[9:16])
            permit = None if plain.permit is None else self._whole(row[16:])
            sender, recipient = self.parties[plain.sender], self.parties[plain.recipient]
        except (msgspec.ValidationError, KeyError):
            raise self._damage(f" at transmission {index}", index) from None
        return Transmission(
            plain.number, plain.sent_us, plain.arrived_us, sender, recipient, plain.fate, plain.code,
            message, permit, plain.gate,
        )  # fmt: skip

    def _whole(self, row: tuple[Any, ...]) -> Message:
        """A message as it stands beside a transmission, with its line if that is too long to come with it."""
        if row[6] is None and type(row[0]) is int:
            return self._long_message(row[0])
        return _convert(row, Message)

    def _long_message(self, number: int) -> Message:
        """A message with a long line; those read last stay at hand, since a line may be sent many times."""
        known = self._at_hand.get(number)
        if known is None:
            known = self.message(number)
            self._at_hand_bytes += len(known.line)
            while self._at_hand and self._at_hand_bytes > _AT_HAND_MAX:
                self._at_hand_bytes -= len(self._at_hand.pop(next(iter(self._at_hand))).line)
            self._at_hand[number] = known
        return known

    def message(self, number: int) -> Message:
        """The message with a number; `Damage` if there is none."""
        sql = f"SELECT {_MESSAGE.format('m')} FROM message m WHERE number = ?"  # noqa: S608
        for message in self._typed(sql, Message, number):
            return message
        raise self._damage(f": there is no message {number}")

    def unsent(self) -> int | None:
        """The number of a message that no transmission carried; None, as it should be, when there is none."""
        sql = (
            "SELECT min(number) FROM message WHERE number NOT IN (SELECT message FROM transmission"
            " UNION ALL SELECT permit FROM transmission WHERE permit IS NOT NULL)"
        )
        (number,) = next(self._typed(sql, tuple[int | None]))
        return number

    # Ledgers, registry, residents, expectations.

    def ledger(self, party: str | None = None) -> Iterator[LedgerRow]:
        """The ledgers' rows in the order of commits; of one party, if one is named."""
        where, values = self._of_party(party)
        sql = f"SELECT number, party, position, row FROM ledger WHERE number >= ? AND {where} ORDER BY number LIMIT ?"  # noqa: S608
        for found in self._pieces(sql, 0, values):
            try:
                number, owner, position, row = _convert(found, tuple[int, int, int, bytes])
            except msgspec.ValidationError:
                raise self._damage() from None
            yield LedgerRow(number, self._address(owner), position, row)

    def ledger_row(self, number: int) -> LedgerRow:
        """The ledger row with a number; `Damage` if there is none."""
        sql = "SELECT number, party, position, row FROM ledger WHERE number = ?"
        for found, owner, position, row in self._typed(sql, tuple[int, int, int, bytes], number):
            return LedgerRow(found, self._address(owner), position, row)
        raise self._damage(f": there is no ledger row {number}")

    def ledger_rows(self, numbers: Sequence[int]) -> Iterator[LedgerRow]:
        """The ledger rows with these numbers, in the order of commits; those that there are not are left out."""
        sql = (
            "SELECT number, party, position, row FROM ledger WHERE number IN (SELECT value FROM json_each(?))"
            " ORDER BY number"
        )
        for found, owner, position, row in self._typed(
            sql, tuple[int, int, int, bytes], json.dumps(list(numbers))
        ):
            yield LedgerRow(found, self._address(owner), position, row)

    def heads(self) -> Iterator[tuple[str, bytes]]:
        """Every signed head: party and token, in the order of signing."""
        sql = "SELECT party, token FROM head ORDER BY number"
        for owner, token in self._beside("head", sql, tuple[int, bytes]):
            yield self._address(owner), token

    def registry_entries(self) -> Iterator[tuple[int, str, bytes]]:
        """Position, address and bytes of every registry entry."""
        sql = "SELECT position, address, data FROM registry_entry ORDER BY position"
        return self._beside("registry_entry", sql, tuple[int, str, bytes])

    def registry_entry(self, address: str) -> bytes | None:
        """The bytes of one address's registry entry; None if it has none."""
        sql = "SELECT data FROM registry_entry WHERE address = ?"
        return next((data for (data,) in self._beside("registry_entry", sql, tuple[bytes], address)), None)

    def registry_head(self) -> bytes | None:
        """The newest registry head; None if the run was killed before it was written."""
        sql = "SELECT token FROM registry_head ORDER BY version DESC LIMIT 1"
        return next((token for (token,) in self._beside("registry_head", sql, tuple[bytes])), None)

    def law(self) -> Policy | None:
        """The rows of the law that applied, as the run said at its end; None if it did not."""
        said = self.meta.get("law")
        if not isinstance(said, dict):
            return None
        try:
            return Policy(msgspec.convert(row, LegalBasis) for row in said.values())
        except (msgspec.ValidationError, ValueError):
            raise self._damage(": the law that it carries is none") from None

    def residents(self) -> Iterator[tuple[str, str, str]]:
        """Handle, member and that member's code of the resident."""
        sql = "SELECT handle, member, code FROM resident ORDER BY handle, member"
        return self._beside("resident", sql, tuple[str, str, str])

    def codes_of(self, handle: str) -> dict[str, str]:
        """The members' codes of one resident; `UsageError` naming a known handle if there is no such one."""
        sql = "SELECT member, code FROM resident WHERE handle = ? ORDER BY member"
        codes = dict(self._beside("resident", sql, tuple[str, str], handle))
        if not codes:
            first = next(self.residents(), None)
            known = f"one of them is {first[0]}" if first is not None else "it has none"
            raise UsageError(f"the trace knows no resident {_printable(handle)}; {known}")
        return codes

    def sealing_keys(self, address: str) -> tuple[bytes, ...]:
        """Every private sealing key that a simulated node had, 32 bytes each; empty if the trace has none."""
        sql = "SELECT key FROM sealing_key WHERE address = ?"
        raw = next((key for (key,) in self._beside("sealing_key", sql, tuple[bytes], address)), b"")
        return sealing_keys_in(raw)

    def expectations(self) -> Iterator[Expectation]:
        """What the scenario expected, in order."""
        after = "0" if self._older else "after"
        sql = f"SELECT text, text_ja, held, message, {after} FROM expectation ORDER BY number"  # noqa: S608
        for text, text_ja, held, message, sent in self._beside(
            "expectation", sql, tuple[str, str, int, str | None, int]
        ):
            yield Expectation(text, text_ja, held == 1, message, held != NOT_TRIED, sent)

    def story(self) -> Iterator[Sentence]:
        """The story so far, each sentence with its messages; of the first format, which did not know them, without."""
        if self._older:
            told = self.meta.get("story")
            for one in told if isinstance(told, list) else ():
                with suppress(msgspec.ValidationError):
                    yield msgspec.convert(one, Sentence)
            return
        sql = "SELECT text, text_ja, messages FROM story ORDER BY number"
        for text, text_ja, messages in self._beside("story", sql, tuple[str, str, str]):
            try:
                yield Sentence(text, text_ja, msgspec.json.decode(messages, type=Spans))
            except msgspec.DecodeError:
                raise self._damage() from None

    def count(self, table: str) -> int:
        """How many rows a table of the trace has."""
        # Without a condition SQLite would count in one step, which nothing could stop.
        (number,) = next(self._typed(f"SELECT count(*) FROM {table} WHERE 1", tuple[int]))  # noqa: S608
        return number

    def read_beside(self) -> None:
        """Read what stands beside messages, ledgers and registry to its end; `Damage` if that cannot be done."""
        for table in ("meta", "epilogue", "party", "resident", "expectation", "story", "sealing_key"):
            for _ in self.rows(f"SELECT * FROM {table}"):  # noqa: S608
                pass

    # Reading.

    def rows(
        self, sql: str, *values: Any, room: Room | None = None
    ) -> Generator[tuple[Any, ...], None, None]:
        """The rows of a statement; `Damage` where SQLite cannot go on, or where more comes than the file can hold.

        Statements that together read a table once share the `room`.
        """
        self.steps.begin()
        try:
            found = self._held(self._db.execute(sql, values), room or self.room())
            # A run cannot commit while somebody reads.
            yield from list(found) if self.live else found
        except UNREADABLE as error:
            if self._older and str(error).startswith("no such "):
                return
            raise self._damage() from None

    def room(self, shares: int = 1) -> Room:
        """Room for what the file can hold, if no byte comes more often."""
        return Room(self.steps.size, shares)

    def _held(self, found: Iterable[tuple[Any, ...]], room: Room) -> Iterator[tuple[Any, ...]]:
        for row in found:
            if not room.holds(row):
                raise self._damage()
            yield row

    def _typed(self, sql: str, kind: type[T], *values: Any) -> Iterator[T]:
        for row in self.rows(sql, *values):
            try:
                yield _convert(row, kind)
            except msgspec.ValidationError:
                raise self._damage() from None

    def _beside(self, table: str, sql: str, kind: type[T], *values: Any) -> Iterator[T]:
        """Rows of what stands beside messages and ledgers: who only looks goes on without what is damaged."""
        try:
            yield from self._typed(sql, kind, *values)
        except Damage:
            if not self._lenient:
                raise
            self._lost[table] = None

    def _of_party(self, party: str | None) -> tuple[str, tuple[int, ...]]:
        if party is None:
            return "1", ()
        numbers = [number for number, address in self.parties.items() if address == party]
        return "party = ?", (numbers[0] if numbers else -1,)

    def _address(self, number: int) -> str:
        try:
            return self.parties[number]
        except KeyError:
            raise self._damage(f": there is no party {number}") from None


def _remove(copy: Path | None) -> None:
    if copy is not None:
        shutil.rmtree(copy.parent, ignore_errors=True)


def _convert(row: tuple[Any, ...], kind: type[T]) -> T:
    # Bytes are named as a type of their own, or msgspec would take a text for base64.
    return msgspec.convert(row, kind, builtin_types=(bytes,))


def _value(text: str) -> Any:
    """A fact as it was given: the writer keeps texts as they are and the rest as JSON."""
    try:
        return parse_json(text.encode("utf-8", "backslashreplace"))
    except MeshError:
        return text


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
