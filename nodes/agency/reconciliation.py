"""Three records of one exchange, laid side by side: requester's, broker's and provider's (番号法23条).

Comparing them is the simulator's own device, not a documented practice of the commission.

Rules kept here:
1. An exchange is (requester, message id); a push has one record for each recipient.
2. `answered` needs `permitted`, which needs `opened`; what all of them state must be equal.
3. A missing `closed` is unfinished, no fault. What no second ledger holds is none either: a refusal of bytes
   whose sender was not proven, or of a party that could not write, the broker's for a party that was away,
   and its receipt for a push.
4. The one that differs from two others is named; of two that differ, the one that is not the broker.
5. Nobody lacks a record in a ledger that could not be had: without the broker's, answers wait for the next inspection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from mesh.errors import CODES, Step
from mesh.ledger import Row
from mesh.names import BROKER

Key = tuple[str, str]

_FIELDS = ("service", "procedure", "items", "requestdigest")
_BEFORE_ANY_RECORD = (Step.FORM, Step.KEY, Step.SIGNATURE, Step.PAYLOAD)
_BROKER_ALONE = ("recipient_unreachable", "storage_unavailable")


class Finding(Struct, frozen=True):
    """What does not agree, at whom, about which exchange. It never holds a value or a code of a person."""

    code: str
    party: str
    message: str
    """The id of the exchange; empty for a ledger as a whole."""
    text: str
    text_ja: str


class Pair(Struct, frozen=True):
    """The two codes under which the ends of one exchange recorded its person."""

    key: Key
    provider: str
    asked: str
    answered: str


class Records:
    """Every record of one exchange that was handed in, by party."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.rows: dict[str, list[Row]] = {}

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


def compare(records: Records, parties: Iterable[str]) -> Iterator[Finding]:
    """What does not agree in the records of one exchange; `parties` are those whose ledgers are at hand."""
    at_hand = tuple(parties)
    requester = records.key[0]
    if requester in at_hand:
        yield from _compare_opening(records)
    if BROKER not in at_hand:
        return
    if requester in at_hand:
        yield from _compare_closing(records)
    for provider in at_hand:
        yield from _compare_answers(records, provider, requester in at_hand)


def pairs(records: Records) -> Iterator[Pair]:
    """The codes that must mean one person."""
    opened = next(iter(records.of(records.key[0], "opened")), None)
    if opened is None or opened.subject is None:
        return
    for provider in records.rows:
        for row in records.of(provider, "answered"):
            if row.subject is not None:
                yield Pair(records.key, provider, opened.subject, row.subject)


def _compare_opening(records: Records) -> Iterator[Finding]:
    """The requester must have opened whatever the broker or a provider knows of."""
    if not records.of(records.key[0], "opened"):
        yield missing(records.key[0], records.key[1], "opened", "照会")


def _compare_closing(records: Records) -> Iterator[Finding]:
    """The broker must have recorded whatever answer the requester recorded."""
    known = [row.replydigest for row in records.of(BROKER, "closed", "refused")]
    for row in records.of(records.key[0], "closed"):
        is_receipt = row.permitdigest is None and row.code is None
        if row.replydigest not in known and not is_receipt and not _is_early(row.code):
            yield missing(BROKER, records.key[1], "closed", "回答の中継")


def _is_early(code: str | None) -> bool:
    """Whether such a refusal comes before it is proven who asked: then no ledger holds it."""
    return code == "sender_mismatch" or (code in CODES and CODES[code].step in _BEFORE_ANY_RECORD)


def _compare_answers(records: Records, provider: str, has_requester: bool) -> Iterator[Finding]:
    requester, message = records.key
    permitted = [row for row in records.of(BROKER, "permitted") if row.provider == provider]
    answered = [row for row in records.of(provider, "answered") if row.provider == provider]
    for row in answered:
        permit = next((one for one in permitted if one.permitdigest == row.permitdigest), None)
        if permit is None:
            yield missing(BROKER, message, "permitted", "許可")
            continue
        opened = records.of(requester, "opened")[:1] if has_requester else []
        if permit.undisclosed != row.undisclosed:
            # A push is opened without the flag, so the requester only says which of the two is odd.
            agrees = bool(opened) and opened[0].undisclosed == row.undisclosed
            yield differing(BROKER if agrees else provider, message, "undisclosed")
        yield from _compare_fields(message, opened, permit, row, provider)
    yield from _compare_replies(records, provider, bool(permitted))


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
    """The provider must have recorded whatever answer of its the broker passed on."""
    known = [row.replydigest for row in records.of(provider, "answered", "refused")]
    for row in records.of(BROKER, "closed"):
        is_its_own = row.provider == provider or (row.provider is None and was_permitted)
        if is_its_own and row.code not in _BROKER_ALONE and row.replydigest not in known:
            yield missing(provider, records.key[1], "answered", "提供")


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


def differing(party: str, message: str, field: str) -> Finding:
    """A record says something else than the others."""
    return Finding(
        "ledger_broken",
        party,
        message,
        f"the record of {party} differs from the others in '{field}'; it is asked to explain",
        f"{party} の記録は、他の記録と「{field}」が一致しません。説明を求めます",
    )
