"""What a run is reported to have come to: disclosures by party, uses by service, totals over runs."""

from __future__ import annotations

from mesh.ledger import Row
from mesh.papers import Fallback, Paper, Saved
from mesh.reach import Reach
from mesh.records import Given
from mesh.report import Report, Result, Totals
from mesh.trace.rows import Expectation

CERTIFICATE = Paper("Certificate", "証明書", "counter", "窓口", 300, "illustrative")


def row(**changes: object) -> Row:
    said = {"entry": "answered", "time_us": 1, "id": "1", "requester": "muni/01208/desk"} | changes
    return Row(**said)  # type: ignore[arg-type]


def result(name: str, report: Report, *, held: bool = True, refusals: dict[str, int] | None = None) -> Result:
    expectations = (
        Expectation("It holds.", "成立する", True, None),
        Expectation("So too.", "同じく", held, None),
    )
    return Result(name, name, name, 1, {}, expectations, report, None, 10, refusals or {}, 5)


def test_items_are_counted_for_whom_they_came_to() -> None:
    report = Report()
    asked = row(provider="muni/28100/tax", service="tax.income.v1", items="income year")
    letter = row(provider="gov/portal/inbox", service="portal.letter.v1", items="title")
    liar = ("muni/28100/liar", asked)
    rows = [(one.provider or "", one) for one in (asked, asked, letter)]
    report.count_answers([*rows, liar], {"portal.letter.v1"})
    assert report.disclosed == {
        "muni/01208/desk": {"income": 2, "year": 2},
        "gov/portal/inbox": {"title": 1},
    }
    assert {name: use.answered for name, use in report.uses.items()} == {
        "tax.income.v1": 2,
        "portal.letter.v1": 1,
    }


def test_what_was_refused_or_only_permitted_discloses_nothing() -> None:
    report = Report()
    asked = {"provider": "muni/28100/tax", "service": "tax.income.v1", "items": "income"}
    rows = [row(**asked, code="not_found"), row(**asked, entry="permitted")]
    report.count_answers([("muni/28100/tax", one) for one in rows])
    report.count_refusals([("tax.income.v1", "not_found", 2), ("tax.income.v1", "withheld", 1)])
    assert report.disclosed == {}
    assert (report.uses["tax.income.v1"].answered, report.uses["tax.income.v1"].refusals) == (
        0,
        {"not_found": 2, "withheld": 1},
    )


def test_totals_add_up_what_the_runs_came_to() -> None:
    mine, theirs = (
        Saved(CERTIFICATE, (person,), (Given(1, row(provider="muni/28100/tax")),)) for person in ("a", "b")
    )
    one = Report(papers=[mine, mine, theirs], push=Reach(5, 4, 3, 1, 1))
    other = Report(
        papers=[mine], fallbacks=[Fallback("Paper", "紙", "late", "遅延")], push=Reach(1, 1, 0, 0, 0)
    )
    totals = Totals.of([result("a", one, refusals={"not_found": 2}), result("b", other, held=False)])
    assert (totals.runs, totals.runs_held, totals.expectations, totals.expectations_held) == (2, 1, 4, 3)
    assert (totals.papers, totals.fees_saved_yen, totals.visits_saved, totals.fallbacks) == (4, 1200, 3, 1)
    assert (totals.messages, totals.refusals, totals.push) == (20, 2, Reach(6, 5, 3, 1, 1))
