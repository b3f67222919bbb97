"""Each check of `verify` on ledgers finds something that no other finds: one lie for each, with what is said of it.

The story's rows: the city 0 opened, 1 closed (and so on by twos, 7 closed with no_legal_basis, 9 with
recipient_unreachable, 12 opened and never closed), 13 and 14 answered (events); the broker 0 permitted, 1 closed, 6 refused,
13 permitted, 14 closed (an event), 15 to 18 permitted (one event), 19 closed; the tax office 0 to 4 answered; the register 0
opened, 1 closed, 2 opened, 3 closed (two events).
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mesh.errors import MeshError
from mesh.ledger import Row, read_row
from mesh.message import Event, Kind, Permit, Reply, Request, format_time
from mesh.names import Zone
from mesh.trace import recheck
from mesh.trace.finding import Finding
from mesh.trace.reader import Trace
from mesh.trace.recheck import Checked
from mesh.trace.rows import Message, Transmission
from mesh.trace.verify import verify
from mesh.view import KnownKey
from tests.helpers_trace import BROKER, CITY, RESIDENTS, TAX, edit, forge_ledger, keys_of, make_trace, query

Change = Callable[[Path, list[Row]], list[Row]]
SECOND_US = 1_000_000


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def trace(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "copy.trace"))


def rows_of(path: Path, party: str) -> list[Row]:
    found = query(
        path,
        "SELECT row FROM ledger WHERE party = (SELECT number FROM party WHERE address = ?) ORDER BY number",
        party,
    )
    return [read_row(row) for (row,) in found]


def found(path: Path) -> str:
    with Trace.open(path) as trace:
        finding = verify(trace).finding
    return "" if finding is None else finding.text


def at(place: int, **change: Any) -> Change:
    """One row says something else."""
    return lambda path, rows: [*rows[:place], replace(rows[place], **change), *rows[place + 1 :]]


def instead(place: int, party: str, other: int, **change: Any) -> Change:
    """Another party's row stands in the place of one."""
    return lambda path, rows: [
        *rows[:place],
        replace(rows_of(path, party)[other], **change),
        *rows[place + 1 :],
    ]


def later(place: int, by_us: int) -> Change:
    return lambda path, rows: [
        *rows[:place],
        replace(rows[place], time_us=rows[place].time_us + by_us),
        *rows[place + 1 :],
    ]


def without(*places: int) -> Change:
    return lambda path, rows: [row for place, row in enumerate(rows) if place not in places]


def forge(path: Path, party: str, change: Change) -> None:
    """A party rewrites its ledger; each row that stays, stays at its time among those of others."""
    before = query(
        path,
        "SELECT number, row FROM ledger WHERE party = (SELECT number FROM party WHERE address = ?) ORDER BY number",
        party,
    )
    rows = change(path, [read_row(row) for _, row in before])
    gone = [number for number, row in before if read_row(row) not in rows] if len(rows) < len(before) else []
    forge_ledger(path, party, lambda _: rows)
    kept = [number for number, _ in before if number not in gone]
    for position, number in reversed([*enumerate(kept)]):
        last = before[len(before) - len(rows) + position][0]
        edit(path, "UPDATE ledger SET number = -? WHERE number = ?", number, last)
    edit(path, "UPDATE ledger SET number = -number WHERE number < 0")


LIES: list[tuple[str, Change, str]] = [
    # Who may write what.
    (CITY, instead(12, BROKER, 0), "only the broker permits"),
    (CITY, instead(14, TAX, 0), "an exchange is answered by its provider"),
    (TAX, instead(4, CITY, 1), "requester and broker close an exchange"),
    (TAX, instead(4, CITY, 0), "an exchange is opened by its requester"),
    (TAX, instead(4, RESIDENTS, 0, entry="mark", undisclosed=True), "a column is filled"),
    # Nothing comes twice.
    (BROKER, instead(11, BROKER, 9), "the permit is recorded twice"),
    (BROKER, instead(3, BROKER, 1), "the answer is closed twice"),
    (CITY, instead(3, CITY, 1), "the answer is closed twice"),
    (TAX, instead(1, TAX, 0), "it was answered twice"),
    (BROKER, instead(7, BROKER, 6), "it refused what its gate did not refuse"),
    (CITY, instead(2, CITY, 0), "the exchange is opened twice"),
    # What goes with what.
    (CITY, at(0, undisclosed=True), "it is hidden in one ledger and not in the other"),
    (CITY, at(4, undisclosed=False), "it is hidden in one ledger and not in the other"),
    (RESIDENTS, at(0, undisclosed=True), "a push is opened without saying whether it is hidden"),
    (BROKER, at(0, provider=None), "provider, procedure or items differ"),
    (BROKER, at(13, provider=None), "a permit needs its digest"),
    (BROKER, at(13, service="resident.other.v1"), "the services differ"),
    (BROKER, at(13, provider=TAX), "its permit says otherwise"),
    (BROKER, at(13, items="income"), "its permit says otherwise"),
    (BROKER, at(13, procedure="other"), "its permit says otherwise"),
    (BROKER, at(13, undisclosed=True), "its permit says otherwise"),
    (BROKER, at(13, requestdigest="0" * 64), "the request digests differ"),
    (CITY, at(13, service="tax.income.v1"), "it differs from its permit"),
    (CITY, at(13, procedure="other"), "it differs from its permit"),
    (CITY, at(13, undisclosed=True), "it is hidden in one ledger and not in the other"),
    (CITY, at(13, subject="muni/01208:other"), "its permit is about another person"),
    (BROKER, at(14, provider=TAX), "it was closed for another recipient"),
    (BROKER, at(14, provider=None), "it was closed for another recipient"),
    (BROKER, at(1, provider=TAX), "it was closed for another recipient"),
    (CITY, at(1, provider=TAX), "it was closed for another recipient"),
    (RESIDENTS, at(1, provider=BROKER), "it was closed for another recipient"),
    (BROKER, at(14, permitdigest=None), "its answer was given under another permit"),
    (RESIDENTS, at(1, permitdigest="0" * 64), "its answer was given under another permit"),
    (RESIDENTS, at(1, code="not_found"), "something else came of it"),
    (BROKER, instead(1, BROKER, 3), "its requester never opened it"),
    (
        BROKER,
        instead(7, BROKER, 6, entry="closed", provider=None, service=None),
        "the broker closed what it never permitted",
    ),
    # What is left out.
    (BROKER, without(8), "the broker did not record the answer that it passed on"),
    (BROKER, without(11), "the broker did not record the permit that came with it"),
    (TAX, without(4), "it did not record its refusal"),
    (TAX, without(3), "it was closed with an answer that its provider did not record"),
    (CITY, without(13), "it was closed with an answer that its provider did not record"),
    (CITY, without(0, 1), "its requester never opened it"),
    (RESIDENTS, without(0, 1), "its requester never opened it"),
    # When.
    (CITY, later(0, -1), "it was signed at another time than it was recorded"),
    (CITY, later(13, 1), "it was signed at another time than it was recorded"),
    (TAX, later(0, 1), "it was signed at another time than it was recorded"),
    (BROKER, later(0, 1), "it was signed at another time than it was recorded"),
    (BROKER, later(8, 1), "it was signed at another time than it was recorded"),
    (BROKER, later(6, 1), "it was signed at another time than it was recorded"),
    (BROKER, later(19, 30 * SECOND_US), "it was closed after its answer came"),
    (CITY, later(11, 900 * SECOND_US), "its ledger runs backwards in time"),
]


@pytest.mark.parametrize(("party", "change", "text"), LIES)
def test_each_lie_is_found_as_what_it_is(party: str, change: Change, text: str, trace: Path) -> None:
    forge(trace, party, change)
    assert text in found(trace)


# What `verify` compares of each transmission, one part at a time.

NOW_US = 1_775_000_000_000_000
NOW, LATER = format_time(NOW_US), format_time(NOW_US + 60 * SECOND_US)
COMMON: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": CITY, "time": NOW, "expiry": LATER}
ASKED = Request(
    **COMMON, type="s.v1", recipient=TAX, datacontenttype="application/jose", procedure="p", items="a b", data="x"
)  # fmt: skip
TOLD = Event(**COMMON, type="s.v1", recipient=BROKER, subject="x")
PERMIT = Permit(
    broker=BROKER, requestdigest="d", requester=CITY, recipient=TAX, service="s.v1", procedure="p", items="a b",
    basis="row", registry=1, time=NOW, expiry=LATER,
)  # fmt: skip
OTHERS: dict[str, Any] = {
    "requestdigest": "e", "requester": TAX, "recipient": CITY, "service": "t.v1", "procedure": "q", "items": "a",
}  # fmt: skip


def checked(
    body: Any, kind: str, digest: str = "d", key: KnownKey | None = None, code: str | None = None
) -> Checked:
    return Checked(code, kind, body, digest, key)


def test_a_permit_is_of_its_message_in_every_part() -> None:
    asked, told = checked(ASKED, Kind.REQUEST), checked(TOLD, Kind.EVENT)
    recheck._check_permit(PERMIT, asked, TAX)
    recheck._check_permit(PERMIT, told, TAX)  # Its procedure and items are the row's, and not the event's.
    for name, other in OTHERS.items():
        with pytest.raises(MeshError, match="audience_mismatch"):
            recheck._check_permit(replace(PERMIT, **{name: other}), asked, TAX)
        if name not in ("procedure", "items"):
            with pytest.raises(MeshError, match="audience_mismatch"):
                recheck._check_permit(replace(PERMIT, **{name: other}), told, TAX)
    with pytest.raises(MeshError, match="audience_mismatch"):
        recheck._check_permit(PERMIT, checked(replace(ASKED, recipient=CITY), Kind.REQUEST), TAX)


@pytest.mark.parametrize(
    ("life_us", "holds"), [(-1, False), (0, True), (60 * SECOND_US, True), (60 * SECOND_US + 1, False)]
)
def test_a_permit_lives_up_to_a_minute(life_us: int, holds: bool) -> None:
    permit = replace(PERMIT, expiry=format_time(NOW_US + life_us))
    if holds:
        recheck._check_permit(permit, checked(ASKED, Kind.REQUEST), TAX)
    else:
        with pytest.raises(MeshError, match="message_expired"):
            recheck._check_permit(permit, checked(ASKED, Kind.REQUEST), TAX)


def test_a_permit_beside_a_kept_answer_is_the_one_that_it_names() -> None:
    reply = Reply(
        specversion="1.0", id="1", source=TAX, type="s.v1", time=NOW, recipient=CITY,
        datacontenttype="application/jose", requestdigest="d", permitdigest="p", data="x",
    )  # fmt: skip
    head, permit = checked(reply, Kind.REPLY), checked(PERMIT, Kind.PERMIT, "p")
    recheck._check_beside(permit, head)
    for wrong in ({"permitdigest": "q"}, {"requestdigest": "e"}, {"source": CITY}):
        with pytest.raises(MeshError, match="correlation_mismatch"):
            recheck._check_beside(permit, checked(replace(reply, **wrong), Kind.REPLY))


def sent(
    kind: str, recipient: str, gate: int | None, code: str | None = None, permit: bool = False
) -> Transmission:
    message = Message(0, b"", kind, "1", "s.v1", None, b"")
    return Transmission(
        0, 0, 0, CITY, recipient, "delivered", code, message, message if permit else None, gate
    )


@pytest.mark.parametrize(
    ("one", "holds"),
    [
        # A request has nine steps at the broker, five of them before its kind is known.
        (sent(Kind.REQUEST, BROKER, 109), True),
        (sent(Kind.REQUEST, BROKER, 105), True),
        (sent(Kind.REQUEST, BROKER, 104), False),
        (sent(Kind.REQUEST, BROKER, 110), False),
        (sent(Kind.REQUEST, BROKER, 108, "zone_forbidden"), True),
        (sent(Kind.REQUEST, BROKER, 109, "zone_forbidden"), False),
        (sent(Kind.REQUEST, BROKER, 104, "sender_mismatch"), True),
        (sent(Kind.REQUEST, BROKER, 105, "sender_mismatch"), False),
        (sent(Kind.REQUEST, BROKER, 105, "signature_invalid"), False),
        (sent(Kind.REQUEST, BROKER, 105, "algorithm_unsupported"), False),
        (sent(Kind.REQUEST, BROKER, 105, "message_too_large"), False),
        (sent(Kind.REQUEST, BROKER, 105, "message_malformed"), True),
        # Sixteen with a permit, ten before its kind is known.
        (sent(Kind.REQUEST, TAX, 116, permit=True), True),
        (sent(Kind.REQUEST, TAX, 117, permit=True), False),
        (sent(Kind.REQUEST, TAX, 109, permit=True), False),
        (sent(Kind.REPLY, CITY, 107), True),
        (sent(Kind.REPLY, CITY, 108), False),
        (sent(Kind.REQUEST, BROKER, None), True),
        (sent(Kind.REQUEST, BROKER, 9901), True),
    ],
)
def test_a_gate_comes_as_far_as_it_can(one: Transmission, holds: bool) -> None:
    if holds:
        recheck._check_gate(one)
    else:
        with pytest.raises(Finding, match="as far as it cannot have") as caught:
            recheck._check_gate(one)
        assert caught.value.code == "correlation_mismatch"


MOMENT = [
    "key_unknown",
    "certificate_expired",
    "certificate_not_yet_valid",
    "certificate_revoked",
    "registry_stale",
]


def test_what_a_gate_alone_could_know_is_believed_if_it_came_that_far() -> None:
    key = KnownKey(CITY, Zone.MYNUMBER, keys_of(CITY).signing.public, keys_of(CITY).sealing.public, 0, 1, 1)
    reached, not_reached = checked(ASKED, Kind.REQUEST, key=key), checked(ASKED, Kind.REQUEST)
    failed = checked(None, Kind.PERMIT, code="signature_invalid")
    for code in MOMENT:
        assert recheck._is_believed(code, reached, None)
        assert not recheck._is_believed(code, not_reached, None)
        assert recheck._is_believed(code, not_reached, checked(PERMIT, Kind.PERMIT, key=key))
        assert recheck._is_believed(code, reached, checked(PERMIT, Kind.PERMIT))
        assert not recheck._is_believed(code, reached, failed), "the permit is looked at first"
    never_revoked = checked(ASKED, Kind.REQUEST, key=dataclasses.replace(key, revoked_us=None))
    assert not recheck._is_believed("certificate_revoked", never_revoked, None)
    assert recheck._is_believed("certificate_expired", never_revoked, None)
    for code in (None, "signature_invalid", "sender_mismatch", "no_legal_basis", "message_expired"):
        assert not recheck._is_believed(code, reached, None)
