"""Claims of papers and pushes, held against ledger rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh import Paper, Replacement, Visit
from mesh.errors import UsageError
from mesh.ledger import Row
from mesh.papers import Claim, Fallback, Saved, settle, visits_of
from mesh.reach import Invitation, Reach
from mesh.records import Records
from nodes.data.papers import read_papers

DESK, TAX, OWN = "muni/01208/desk", "muni/28100/tax", "muni/01208/tax"
PAPER = Paper(
    "Certificate",
    "証明書",
    "counter",
    "窓口",
    300,
    "illustrative",
    replaced_by=(Replacement("tax.income.v1", frozenset({"income"})),),
)
DAY_US = 86_400_000_000
Rows = list[tuple[str, Row]]


def code_of(member: str, person: str) -> str | None:
    """A code that says whose it is."""
    return None if person == "nobody" else f"{member}:{person}"


def exchange(
    number: int,
    person: str | None = "a",
    *,
    code: str | None = None,
    items: str = "income year",
    provider: str = TAX,
    closed: bool = True,
    time_us: int = 1,
) -> Rows:
    """The rows of one question in the order in which they are committed, as far as a report reads them."""
    id_, member = f"m{number}", provider.rsplit("/", 1)[0]
    subject = None if person is None else code_of("muni/01208", person)
    theirs = None if person is None else code_of(member, person)
    said = {"service": "tax.income.v1", "items": items, "provider": provider}
    rows = [
        (DESK, Row("opened", time_us, id_, DESK, subject=subject, **said)),
        (provider, Row("answered", time_us, id_, DESK, subject=theirs, code=code, **said)),
    ]
    return rows + ([(DESK, Row("closed", time_us, id_, DESK, code=code))] if closed else [])


def held(claims: list[Claim], *parts: Rows) -> tuple[list[Saved], list[Fallback]]:
    rows = [row for part in parts for row in part]
    return settle(claims, Records.of(rows, {"tax.income.v1"}, code_of))


def claim(
    *persons: str, paper: Paper = PAPER, by: str | None = None, since: int = 0, until: int = 99
) -> Claim:
    return Claim(paper, persons, by, since, until)


def test_an_answer_about_the_person_saves_the_paper() -> None:
    (one,), needed = held([claim("a")], exchange(1, "b"), exchange(2))
    assert (one.messages, one.persons, needed) == (("m2",), ("a",), [])
    assert one.as_json()["replaced_by"] == [{"service": "tax.income.v1", "by": TAX}]


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (exchange(1, code="replica_missing"), "replica_missing"),
        (exchange(1, closed=False), "timeout"),
        (exchange(1, code="no_legal_basis")[::2], "no_legal_basis"),
        (exchange(1)[:1], "timeout"),
        (exchange(1, items="year"), None),
        (exchange(1, "b"), None),
        (exchange(1, provider=OWN), None),
        ([("muni/28100/liar", row) for _, row in exchange(1)], None),
        ([], None),
    ],
    ids=[
        "refused",
        "unarrived",
        "unlawful",
        "unanswered",
        "other-items",
        "other-person",
        "own-body",
        "invented",
        "nothing",
    ],
)
def test_what_is_not_answered_is_needed_after_all_and_says_why(rows: Rows, code: str | None) -> None:
    saved, (one,) = held([claim("a")], rows)
    assert saved == []
    assert (one.code, one.persons) == (code, ("a",))
    assert one.messages == (("m1",) if code else ())
    assert code is None or (code in one.why and code in one.why_ja)


def test_a_body_may_ask_for_what_it_could_look_up() -> None:
    saved, _ = held([claim("a", paper=replace(PAPER, own=True))], exchange(1, provider=OWN))
    assert len(saved) == 1


def test_one_answer_saves_one_copy() -> None:
    saved, needed = held([claim("a"), claim("a"), claim("a")], exchange(1), exchange(2))
    assert [one.messages for one in saved] == [("m1",), ("m2",)]
    assert [one.code for one in needed] == [None]


def test_a_paper_about_two_needs_an_answer_about_each() -> None:
    assert held([claim("a", "b")], exchange(1), exchange(2, "b"))[0][0].messages == ("m1", "m2")
    saved, (one,) = held([claim("a", "b"), claim("a")], exchange(1), exchange(2, "b", code="not_found"))
    assert one.code == "not_found"
    assert [one.persons for one in saved] == [("a",)], "what a claim could not use is there for the next"


@pytest.mark.parametrize(
    "changed",
    [{"by": "muni/01100/desk"}, {"since": 3}, {"until": 1}, {"paper": replace(PAPER, replaced_by=())}],
)
def test_only_rows_within_the_claim_count(changed: dict[str, object]) -> None:
    assert len(held([claim("a")], exchange(1))[0]) == 1
    assert held([claim("a", **changed)], exchange(1))[0] == []  # type: ignore[arg-type]


def test_an_answer_about_nobody_counts_where_the_claim_says_from_when_on() -> None:
    first, second = exchange(1, None), exchange(2, None)
    saved, needed = held([claim("a", since=3), claim(since=3), claim()], first, second)
    assert [one.messages for one in saved] == [("m2",), ("m2",), ("m1",)]
    assert needed == []


def test_two_papers_of_one_person_at_one_counter_on_one_day_are_one_visit() -> None:
    other = replace(PAPER, name="Other")
    claims = [claim("a"), claim("a", paper=other), claim("b"), claim("a")]
    saved, _ = held(claims, exchange(1), exchange(2, "b"), exchange(3, time_us=DAY_US))
    assert (len(saved), visits_of(saved)) == (4, 3)
    at_home = [replace(one, paper=replace(PAPER, visit=Visit.NONE)) for one in saved]
    assert visits_of(at_home) == 0
    elsewhere, _ = held([claim("a"), claim("a")], exchange(1), exchange(2, provider="muni/01100/tax"))
    assert visits_of(elsewhere) == 2


def test_the_first_office_is_visited_all_the_same() -> None:
    form = replace(PAPER, visit=Visit.FURTHER, own=True)
    offices = [exchange(number, provider=f"muni/01208/office-{number}") for number in (1, 2, 3)]
    saved, _ = held([claim("a", paper=form)] * 3, *offices)
    assert visits_of(saved) == 2


def test_reach_is_counted_by_what_arrived_and_was_answered() -> None:
    portal, letter, apply = "gov/portal/inbox", "portal.letter.v1", "office.apply.v1"

    def came(service: str, at: str, person: str, sender: str = DESK, code: str | None = None) -> Rows:
        subject = code_of(at.rsplit("/", 1)[0], person)
        return [(at, Row("answered", 1, f"{service}{person}", sender, provider=at, service=service, subject=subject, code=code))]  # fmt: skip

    rows = [
        *came(letter, portal, "a"),
        *came(letter, portal, "b"),
        *came(letter, portal, "c", sender="muni/01208/other"),
        *came(letter, portal, "x"),
        *came(apply, DESK, "a", sender=portal),
        *came(apply, DESK, "b", sender=portal, code="manual_review"),
    ]
    one = Invitation(letter, ("a", "b", "c", "d"), ("x", "y"), apply, None, DESK)
    records = Records.of(rows, dict.fromkeys(one.services), code_of, {letter})
    assert one.settle(records) == Reach(eligible=4, notified=2, accepted=1, declined=0, mistaken=1)


def test_every_paper_of_the_table_says_which_rule_asks_for_it() -> None:
    papers = read_papers()
    assert all(one.asked_by and one.source for one in papers.values())
    assert papers["income-certificate"].replaced_by[0] == Replacement(
        "tax.income.v1", frozenset({"tax_year", "total_income_yen"})
    )


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("replaced_by", "income: year", "no name of a service"),
        ("visit", "often", "none of"),
        ("own", "", "is empty"),
    ],
)
def test_a_wrong_cell_of_the_table_is_named(tmp_path, column: str, value: str, said: str) -> None:  # type: ignore[no-untyped-def]
    columns = "key,name,name_ja,counter,counter_ja,fee_yen,source,visit,own,asked_by,replaced_by"
    row = dict(
        zip(columns.split(","), ["k", "n", "n", "c", "c", "0", "s", "none", "no", "r", ""], strict=True)
    ) | {column: value}
    (tmp_path / "papers.csv").write_text(f"{columns}\n{','.join(row.values())}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"papers.csv, row 2, column {column}: .*{said}"):
        read_papers(tmp_path)
