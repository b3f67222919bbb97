"""Three records of one exchange, laid side by side: requester's, broker's and provider's (番号法23条).

Comparing them is the simulator's own device, not a documented practice of the commission.

Rules kept here:
1. An exchange is (requester, message id); a push has one record for each recipient.
2. `answered` needs `permitted`, which needs `opened`; what all of them state must be equal, in every column. What only two
   state, digests and codes of answers, must be equal between those. No record comes twice.
3. A missing `closed` is unfinished, no fault. What no second ledger holds is none either: a refusal of bytes
   whose sender was not proven, or of a party that could not write, the broker's for a party that was away,
   and its receipt for a push. An answer that was signed anew, because the key of the first one counts no more, is a record
   more.
4. The one that differs from two others is named; of two that differ, the one that is not the broker.
5. Nobody lacks a record in a ledger that could not be had: without the broker's, answers wait for the next inspection.
6. Times are compared with each other, since the commission has no messages: within a ledger they do not run backwards,
   and from ledger to ledger they are as far apart as clocks, lives of messages and handlers allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from mesh.builtin import LEDGER_MARK
from mesh.errors import CODES, NOT_PROVIDED, Step, outer_of
from mesh.ledger import TIMES_WITHIN_US, Row, misfilled
from mesh.names import BROKER, member_of

Key = tuple[str, str]

_FIELDS = ("service", "procedure", "items", "requestdigest")
_BEFORE_ANY_RECORD = (Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD)
_BROKER_ALONE = ("recipient_unreachable", "storage_unavailable")
_GIVEN_UP = (Step.TIME, Step.ZONE, Step.AUTHORISATION)
CLOCKS_US: Final = 300_000_000
"""How far two clocks may be apart that still let each other's messages pass."""
LIFE_US: Final = 600_000_000
"""How long a question may be asked again, and so be permitted."""
ANSWER_US: Final = 900_000_000
"""How long after its permit a question is answered at the latest, for whoever looks into it."""


class Finding(Struct, frozen=True):
    """What does not agree, at whom, about which exchange. It never holds a value or a code of a person."""

    code: str
    party: str
    message: str
    """The id of the exchange; empty for a ledger as a whole."""
    text: str
    text_ja: str


class Pair(Struct, frozen=True):
    """The two codes under which two parties of one exchange recorded its person."""

    key: Key
    other: str
    """The party whose code the second is: who answered, or the broker."""
    asked: str
    second: str


class Records:
    """Every record of one exchange that was handed in, by party."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.rows: dict[str, list[Row]] = {}

    @property
    def is_push(self) -> bool:
        """Whether it was a push: the broker signs for one without a permit, and closes it for each recipient."""
        closed = self.of(self.key[0], "closed")
        return any(row.provider is not None for row in self.of(BROKER, "closed")) or any(
            row.permitdigest is None and row.code is None for row in closed
        )

    def of(self, party: str, *entries: str) -> list[Row]:
        """A party's records of these kinds."""
        return [row for row in self.rows.get(party, ()) if row.entry in entries]

    @property
    def time_us(self) -> int:
        """When the broker last recorded it, or anybody where the broker did not."""
        rows = self.rows.get(BROKER) or [row for rows in self.rows.values() for row in rows]
        return max(row.time_us for row in rows)


def gather(ledgers: Mapping[str, Sequence[Row]], before_us: int) -> list[Records]:
    """The exchanges that had settled before a time, in the order of the ledgers."""
    found: dict[Key, Records] = {}
    for party, rows in ledgers.items():
        for row in rows:
            if row.entry == "mark":
                continue
            key = (row.requester, row.id)
            if key not in found:
                found[key] = Records(key)
            found[key].rows.setdefault(party, []).append(row)
    return [records for records in found.values() if records.time_us < before_us]


def compare(
    records: Records, parties: Iterable[str], lapsed: Callable[[str, int], int] = lambda party, at_us: 0
) -> Iterator[Finding]:
    """What does not agree in the records of one exchange; `parties` are those whose ledgers are at hand.

    `lapsed(party, at_us)` says how many of its keys had expired by a time or were revoked: for each it may have signed its
    answer anew.
    """
    at_hand = tuple(parties)
    requester = records.key[0]
    yield from _compare_columns(records)
    yield from _compare_anew(records, lapsed)
    if requester in at_hand:
        yield from _compare_opening(records)
    if BROKER not in at_hand:
        return
    if requester in at_hand:
        yield from _compare_permits(records)
        yield from _compare_closing(records)
        yield from _compare_reasons(records)
    for provider in at_hand:
        yield from _compare_answers(records, provider, requester in at_hand)


def pairs(records: Records) -> Iterator[Pair]:
    """The codes that must mean one person."""
    opened = next(iter(records.of(records.key[0], "opened")), None)
    if opened is None or opened.subject is None:
        return
    for row in records.of(BROKER, "permitted"):
        if row.subject is not None:
            yield Pair(records.key, BROKER, opened.subject, row.subject)
            break
    for provider in records.rows:
        for row in records.of(provider, "answered"):
            if row.subject is not None:
                yield Pair(records.key, provider, opened.subject, row.subject)


def compare_marks(ledgers: Mapping[str, Sequence[Row]], found: Iterable[Records]) -> Iterator[Finding]:
    """Who hides an exchange that the others show, or shows one that they hide (番号法23条2項)."""
    marked = {
        party: Counter((row.requester, row.id) for row in rows if row.entry == "mark")
        for party, rows in ledgers.items()
    }
    done = {
        party: Counter(
            requester
            for requester, _ in dict.fromkeys(
                (row.requester, row.id)
                for row in rows
                if row.entry == "answered" and row.service == LEDGER_MARK.name and row.code is None
            )
        )
        for party, rows in ledgers.items()
    }
    for party, marks in marked.items():
        asked = Counter[str]()
        for (requester, _), times in marks.items():
            asked[requester] += times if requester != party else 0
        for requester, message in marks:
            if requester != party and (
                asked[requester] > done[party][requester]
                or (requester in marked and (requester, message) not in marked[requester])
            ):
                yield differing(party, message, "undisclosed")
    for records in found:
        requester, message = records.key
        if records.key not in marked.get(requester, ()):
            continue
        for party in (BROKER, *(one for one in records.rows if records.of(one, "answered"))):
            if party in marked and party != requester and not marked[party][records.key]:
                # One that could not be asked, or did not, hides fewer than it answered for.
                hidden = sum(times for (asker, _), times in marked[party].items() if asker == requester)
                if done[party][requester] > hidden:
                    yield differing(party, message, "undisclosed")


def runs_back(ledgers: Mapping[str, Sequence[Row]]) -> Iterator[Finding]:
    """Ledgers whose times run backwards: what was recorded later is older."""
    for party, rows in ledgers.items():
        last_us = 0
        for row in rows:
            if row.time_us < last_us - TIMES_WITHIN_US:
                yield differing(party, row.id, "time_us")
            last_us = max(last_us, row.time_us)


def _compare_columns(records: Records) -> Iterator[Finding]:
    """A record has the columns of its kind, of itself, and comes once."""
    message = records.key[1]
    for party, rows in records.rows.items():
        seen: dict[tuple[str | None, ...], None] = {}
        for row in rows:
            column = misfilled(row)
            if column is not None:
                yield differing(party, message, column)
            foreign = row.subject is not None and not row.subject.startswith(f"{member_of(party)}:")
            if foreign:
                yield differing(party, message, "subject")
            key = _once(row)
            if key in seen:
                yield repeated(party, message, row.entry)
            seen[key] = None


def _compare_anew(records: Records, lapsed: Callable[[str, int], int]) -> Iterator[Finding]:
    """An answer is recorded once, and once more for each key of its party that counted no more by then."""
    for party in records.rows:
        answered = records.of(party, "answered")
        for number, row in enumerate(answered[1:], start=1):
            first = replace(row, time_us=answered[0].time_us, replydigest=answered[0].replydigest)
            if number > lapsed(party, row.time_us) or first != answered[0]:
                yield repeated(party, records.key[1], row.entry)


def _once(row: Row) -> tuple[str | None, ...]:
    """What may be in a ledger once: an opening, a permit, an outcome, an answer."""
    if row.entry == "opened":
        return (row.entry,)
    return (row.entry, row.provider, row.permitdigest if row.entry == "permitted" else row.replydigest)


def _compare_opening(records: Records) -> Iterator[Finding]:
    """The requester must have opened whatever the broker or a provider knows of."""
    if not records.of(records.key[0], "opened"):
        yield missing(records.key[0], records.key[1], "opened", "照会")


def _compare_permits(records: Records) -> Iterator[Finding]:
    """The broker permitted what the requester opened, for the same person or nobody, and not before or long after."""
    requester, message = records.key
    opened = next(iter(records.of(requester, "opened")), None)
    if opened is None:
        return
    for row in records.of(BROKER, "permitted"):
        if opened.provider not in (row.provider, BROKER):
            yield differing(BROKER, message, "provider")
        if (opened.subject is None) != (row.subject is None):
            yield differing(BROKER, message, "subject")
        if not records.is_push and not _within(opened.time_us, row.time_us, LIFE_US):
            yield differing(BROKER, message, "time_us")
        answered = any(records.of(one, "answered") for one in records.rows)
        if not records.is_push and not answered:
            # Nobody is there to say which of the two is odd.
            for field in (*_FIELDS, "undisclosed"):
                if getattr(opened, field) != getattr(row, field):
                    yield differing(requester, message, field)


def _within(before_us: int, after_us: int, most_us: int) -> bool:
    """Whether one clock's time may come that long after another's."""
    return -CLOCKS_US <= after_us - before_us <= most_us + CLOCKS_US


def _is_pair(opened: str | None, passed_on: str | None) -> bool:
    """Whether a party's code of an answer and the broker's are of one answer: the broker has no reasons."""
    return outer_of(opened) == passed_on and opened != NOT_PROVIDED


def _compare_closing(records: Records) -> Iterator[Finding]:
    """The broker must have recorded whatever answer the requester recorded, and with the same outcome."""
    requester, message = records.key
    by_broker = {row.replydigest: row for row in records.of(BROKER, "closed", "refused")}
    known = list(by_broker)
    closed = records.of(requester, "closed")
    for row in closed:
        same = by_broker.get(row.replydigest)
        if same is not None and requester != BROKER:
            if not _is_pair(row.code, same.code):
                yield differing(requester, message, "code")
            if same.permitdigest != row.permitdigest:
                yield differing(requester, message, "permitdigest")
            # Of a dead letter a publisher that was down hears when it is back.
            if not records.is_push and not _within(same.time_us, row.time_us, LIFE_US):
                yield differing(requester, message, "time_us")
        is_receipt = row.permitdigest is None and row.code is None
        never_sent = row.code == "message_expired" and row.permitdigest is None and _may_be_unsent(records)
        if row.replydigest not in known and not is_receipt and not never_sent and not _is_early(row.code):
            yield missing(BROKER, records.key[1], "closed", "回答の中継")


def _may_be_unsent(records: Records) -> bool:
    """Whether a push may not have gone out to everybody; an event's publisher does not say to whom it was to go."""
    opened = records.of(records.key[0], "opened")
    is_event = bool(opened) and opened[0].provider == BROKER
    return records.is_push and (is_event or not records.of(BROKER, "permitted"))


def _compare_reasons(records: Records) -> Iterator[Finding]:
    """Requester and provider alone have the reason of a refusal: which of them is wrong, the broker cannot say."""
    requester, message = records.key
    closed = {row.replydigest: row.code for row in records.of(requester, "closed")}
    for provider in records.rows:
        for row in records.of(provider, "answered"):
            if (
                outer_of(row.code) == NOT_PROVIDED
                and row.replydigest in closed
                and closed[row.replydigest] != row.code
            ):
                yield differing(requester, message, "code")
                yield differing(provider, message, "code")


def _is_early(code: str | None) -> bool:
    """Whether such a refusal comes before it is proven who asked: then no ledger holds it."""
    return code == "sender_mismatch" or (code in CODES and CODES[code].step in _BEFORE_ANY_RECORD)


def _compare_answers(records: Records, provider: str, has_requester: bool) -> Iterator[Finding]:
    requester, message = records.key
    permitted = [row for row in records.of(BROKER, "permitted") if row.provider == provider]
    answered = records.of(provider, "answered")
    for row in answered:
        permit = next((one for one in permitted if one.permitdigest == row.permitdigest), None)
        if row.provider != provider:
            yield differing(provider, message, "provider")
            continue
        if permit is None:
            yield missing(BROKER, message, "permitted", "許可")
            continue
        opened = records.of(requester, "opened")[:1] if has_requester else []
        yield from _compare_hidden(message, opened, permit, row, is_push=records.is_push)
        if (permit.subject is None) != (row.subject is None):
            yield differing(provider, message, "subject")
        if row is answered[0] and not _within(permit.time_us, row.time_us, ANSWER_US):
            yield differing(provider, message, "time_us")
        yield from _compare_fields(message, opened, permit, row, provider)
    yield from _compare_replies(records, provider, bool(permitted))


def _compare_hidden(
    message: str, opened: list[Row], permit: Row, answer: Row, *, is_push: bool
) -> Iterator[Finding]:
    stated = {answer.provider or "": answer.undisclosed, BROKER: permit.undisclosed}
    # A push is opened without the flag, so the requester only says which of the two is odd.
    if opened and (not is_push or len(set(stated.values())) > 1):
        stated[opened[0].requester] = opened[0].undisclosed
    odd = odd_one(stated)
    if odd is not None:
        yield differing(odd, message, "undisclosed")


def _compare_fields(
    message: str, opened: list[Row], permit: Row, answer: Row, provider: str
) -> Iterator[Finding]:
    for field in _FIELDS:
        stated = {provider: getattr(answer, field), BROKER: getattr(permit, field)}
        # An event names no procedure: the row under which it is delivered does.
        if opened and not (field == "procedure" and opened[0].procedure is None):
            stated[opened[0].requester] = getattr(opened[0], field)
        odd = odd_one(stated)
        if odd is not None:
            yield differing(odd, message, field)


def _compare_replies(records: Records, provider: str, was_permitted: bool) -> Iterator[Finding]:
    """The provider must have recorded whatever answer of its the broker passed on, and with the same outcome."""
    message = records.key[1]
    by_provider = {row.replydigest: row for row in records.of(provider, "answered", "refused")}
    for row in records.of(BROKER, "closed"):
        is_its_own = row.provider == provider or (row.provider is None and was_permitted)
        if not is_its_own:
            continue
        same = by_provider.get(row.replydigest)
        if same is None:
            if row.code not in _BROKER_ALONE and not _is_early(row.code) and not _is_given_up(records, row):
                yield missing(provider, message, "answered", "提供")
            continue
        if not _is_pair(same.code, row.code):
            yield differing(provider, message, "code")
        if same.entry == "answered" and same.permitdigest != row.permitdigest:
            yield differing(BROKER, message, "permitdigest")
        if not records.is_push and not _within(same.time_us, row.time_us, LIFE_US):
            yield differing(BROKER, message, "time_us")


def _is_given_up(records: Records, row: Row) -> bool:
    """Whether the broker itself gave a push up: past its expiry, or without a row of the law."""
    return records.is_push and row.code in CODES and CODES[row.code].step in _GIVEN_UP


def odd_one(stated: Mapping[str, object]) -> str | None:
    """Who differs from the others; None when all agree. Of two, it is the one that is not the broker."""
    values = list(stated.values())
    if all(value == values[0] for value in values):
        return None
    for party, value in stated.items():
        others = [other for name, other in stated.items() if name != party]
        if len(others) > 1 and value != others[0] and all(other == others[0] for other in others):
            return party
    return next(party for party in stated if party != BROKER)


def missing(party: str, message: str, entry: str, entry_ja: str) -> Finding:
    """A record that the others' records need is not there."""
    return Finding(
        "ledger_broken",
        party,
        message,
        f"{party} has no record '{entry}' of an exchange that others recorded; it is asked to explain",
        f"{party} には、他の記録にある情報連携の「{entry_ja}」の記録がありません。説明を求めます",
    )


def repeated(party: str, message: str, entry: str) -> Finding:
    """A record is there twice."""
    return Finding(
        "ledger_broken",
        party,
        message,
        f"{party} has the record '{entry}' of one exchange twice; it is asked to explain",
        f"{party} には、同じ情報連携の「{entry}」の記録が二重にあります。説明を求めます",
    )


def differing(party: str, message: str, field: str) -> Finding:
    """A record says something else than the others."""
    return Finding(
        "ledger_broken",
        party,
        message,
        f"the record of {party} differs from the others in '{field}'; it is asked to explain",
        f"{party} の記録は、他の記録と「{field}」が一致しません。説明を求めます",
    )
