"""Who sees what of one exchange: the table of the message page, against what each perspective's own page says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.names import BROKER
from mesh.trace.reader import Trace
from mesh.viewer.message import message
from mesh.viewer.opened import Opened
from tests.conftest import Shipped

pytestmark = pytest.mark.real_loop
CITY, TAX = "muni/01208/child-allowance", "muni/28100/tax"


@pytest.fixture
def path(shipped: Callable[[str], Shipped]) -> Path:
    return shipped("child_allowance").trace


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Opened]:
    made = Opened(Trace.open(path))
    await made.start()
    made.trace.steps.allow(None)  # A test asks for many pages at once; the server counts for each.
    yield made
    await made.close()


def table(opened: Opened, number: int, name: str = "everything") -> dict[str, Any]:
    return dict(message(opened, number, name)["sight"])


def states(found: dict[str, Any], who: str) -> str:
    """A row's states by their first letters: parts, then codes."""
    (row,) = (one for one in found["rows"] if one["who"] == who)
    return " ".join("".join(one[0] for one in of) for of in (row["parts"].values(), row["codes"]))


async def test_each_body_reads_its_own_code_and_the_broker_all_but_the_content(opened: Opened) -> None:
    found = table(opened, 13)
    assert [one["member"] for one in found["codes"]] == ["muni/01208", "muni/28100", "gov/digital"]
    assert len({one["code"] for one in found["codes"]}) == 3
    assert states(found, CITY) == "rrrrr raa"
    assert states(found, BROKER) == "rrrss rrr"
    assert states(found, TAX) == "rrrrr sra"
    assert states(found, "r-000001") == "rrraa aaa"
    assert states(found, "wire") == "rpsss ssa"
    assert states(found, "") == "aaaaa aaa"


async def test_what_the_broker_refused_its_addressee_never_has(opened: Opened) -> None:
    found = table(opened, 24)
    assert states(found, TAX) == "aaaan a"
    assert states(found, BROKER) == "rrrsn r"


async def test_a_hidden_exchange_is_not_there_for_its_person(opened: Opened) -> None:
    hidden = sorted(opened.index.hidden)
    assert hidden
    for number in hidden:
        found = table(opened, number)
        (person,) = (one["who"] for one in found["rows"] if one["role"] == "resident")
        assert set(states(found, person)) <= set("an ")


@pytest.mark.parametrize(("name", "rows"), [(TAX, [TAX]), ("r-000001", ["r-000001"]), (BROKER, [BROKER])])
async def test_who_looks_as_somebody_learns_of_themselves_alone(
    opened: Opened, name: str, rows: list[str]
) -> None:
    number = 0 if name == "r-000001" else 13
    found = table(opened, number, name)
    assert [one["who"] for one in found["rows"]] == rows
    if name == TAX:
        assert [one["code"] is None for one in found["codes"]] == [True, False]
    if name == "r-000001":
        assert found["codes"] == []


async def test_the_table_says_what_each_perspectives_page_says(opened: Opened) -> None:
    for number in range(opened.count):
        whole = message(opened, number, "everything")
        codes = [one["code"] for one in whole["sight"]["codes"]]
        for row in whole["sight"]["rows"]:
            if row["role"] not in ("asker", "broker", "answerer", "other") or row["index"] is None:
                continue
            pages = [
                message(opened, one["index"], row["who"])
                for one in message(opened, row["index"], row["who"])["exchange"]
            ]
            assert (row["parts"]["question"] == "read") == any(
                one["content"] is not None
                for one in pages
                if one["row"]["kind"] in ("request", "event", "notice")
            )
            assert (row["parts"]["answer"] == "read") == any(
                one["content"] is not None or one["reason"] is not None
                for one in pages
                if one["row"]["kind"] not in ("request", "event", "notice")
            )
            own = {one["subject"] for one in pages}
            own |= {(one["permit_attributes"] or {}).get("subject") for one in pages}
            own |= {(one["row"] or {}).get("subject") for page in pages for one in page["ledger"]}
            assert [state == "read" for state in row["codes"]] == [code in own for code in codes]
