"""Which refusals a failed expectation points to, and how alike ones are told together."""

from __future__ import annotations

from dataclasses import replace

from msgspec import to_builtins

from mesh.refusals import Behind, Expected, Refusal, gathered, marked, read_behind, unexpected_since

ONE = Refusal(3, "tax.income.v1", "no_legal_basis", "no row", by="gov/digital/broker", to="muni/01208/desk")


def test_only_the_unexpected_since_the_last_that_held_and_before_the_failed_one() -> None:
    all_of_them = [replace(ONE, index=index) for index in range(6)]
    known = marked(all_of_them, [Expected(2, 4, "no_legal_basis"), Expected(0, 9, "not_found")])
    assert [one.index for one in known if one.expected] == [2, 3]
    assert [one.index for one in unexpected_since(known, 1, 5)] == [1, 4]
    assert [one.index for one in unexpected_since(known, 4, None)] == [4, 5]


def test_alike_ones_stand_together_with_the_number_of_the_first() -> None:
    other = replace(ONE, index=7, code="not_found")
    first, second = gathered([ONE, other, replace(ONE, index=9)])
    assert (first.index, first.times, second.times) == (3, 2, 1)
    assert first.as_line().startswith(
        "#3 tax.income.v1 no_legal_basis, gov/digital/broker → muni/01208/desk: no row / "
    )
    assert first.as_line().endswith("(× 2)")


def test_who_reads_the_report_learns_why_and_others_what_stood_outside() -> None:
    sealed = replace(ONE, code="withheld")
    assert " withheld, " in sealed.as_line()
    assert (sealed.as_json()["code"], sealed.as_json()["reason"]) == ("not_provided", "withheld")
    assert (ONE.as_json()["code"], "reason" in ONE.as_json()) == ("no_legal_basis", False)


def test_no_text_of_a_refusal_breaks_its_line() -> None:
    assert "\n" not in replace(ONE, text="a\nb").as_line()


def test_a_trace_keeps_what_stands_behind_a_failure_and_nothing_else_reads_as_that() -> None:
    kept = [Behind(2, (ONE,)), Behind(None, (replace(ONE, times=3),))]
    assert read_behind(to_builtins(kept)) == kept
    for said in (None, 3, {}, [{}], [{"expectation": 0, "refusals": [{"index": "x"}]}]):
        assert read_behind(said) == []
