"""Each check of `verify` on ledgers finds something that no other finds: one lie for each, with what is said of it.

The story's rows: the city 0 opened, 1 closed (and so on by twos, 7 closed with no_legal_basis, 9 with
recipient_unreachable, 12 opened and never closed), 13 and 14 answered (events); the broker 0 permitted, 1 closed, 6 refused,
13 permitted, 14 closed (an event), 15 to 18 permitted (one event), 19 closed; the tax office 0 to 4 answered; the register 0
opened, 1 closed, 2 opened, 3 closed (two events).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mesh.ledger import Row, read_row
from mesh.trace.reader import Trace
from mesh.trace.verify import verify
from tests.helpers_trace import BROKER, CITY, RESIDENTS, TAX, edit, forge_ledger, make_trace, query

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
