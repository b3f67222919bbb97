"""A million rows: few elements, few rows kept, and every one of them within reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Tab, new_tab

TOTAL = 1_000_000
PATH = "/t/child_allowance.trace/sequence"
FIRST = ".row:not([hidden]):not(.blank) .c-number"
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""What was asked for has been drawn once."""
ROW = {
    "arrived_us": None, "id": "m", "kind": "request", "from": "muni/01208/child-allowance", "code": None,
    "to": "gov/digital/broker", "service": "tax.income.v1", "refused": False, "fate": "delivered", "procedure": None,
    "items": [], "readable": True, "sealed": [], "bytes": 9, "permitted": False,
}  # fmt: skip


def many(route: Route) -> None:
    """A trace of a million messages, as the server would page it."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
    if "/position" in route.request.url:
        answer = {"offset": int(query["index"])}
    else:
        offset, limit = int(query["offset"]), int(query["limit"])
        numbers = range(offset, min(TOTAL, offset + limit))
        rows = [ROW | {"index": one, "exchange": one, "time_us": one * 1000} for one in numbers]
        answer = {
            "total": TOTAL,
            "offset": offset,
            "rows": rows,
            "note": None,
            "index": {"done": True, "share": 1.0},
        }
    route.fulfill(content_type="application/json", body=json.dumps(answer))


@pytest.fixture
def large(browser: Browser, address: str) -> Iterator[Tab]:
    """A tab over a million rows."""
    with new_tab(browser, address) as made:
        made.page.route("**/rows?*", many)
        made.page.route("**/position?*", many)
        yield made


def first_number(page: Page) -> int:
    """The first row in sight."""
    return int(page.locator(FIRST).first.inner_text())


def test_every_row_is_within_reach(large: Tab) -> None:
    page = large.open(PATH)
    expect(page.locator(".count")).to_have_text("1,000,000 messages")
    page.keyboard.press("End")
    expect(page.locator(".row.chosen .c-number")).to_have_text("999999")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".row.chosen .c-number")).to_have_text("999998")
    page.keyboard.press("Home")
    expect(page.locator(".row.chosen .c-number")).to_have_text("0")
    large.open(f"{PATH}?at=654321")
    expect(page.locator(".row.chosen .c-number")).to_have_text("654321")


def test_the_wheel_moves_by_rows_and_the_bar_by_places(large: Tab) -> None:
    page = large.open(f"{PATH}?at=500000")
    page.locator(".row.chosen").wait_for()
    before = first_number(page)
    page.mouse.move(700, 500)
    page.mouse.wheel(0, 260)
    expect(page.locator(FIRST).first).to_have_text(str(before + 10))
    page.evaluate(
        "document.querySelector('.scroller').scrollTop = document.querySelector('.scroller').scrollHeight / 4"
    )
    near = re.compile(rf"^2[45]\d{{{len(str(TOTAL)) - 3}}}$")  # A quarter of the way, to a hundredth.
    expect(page.locator(FIRST).first).to_have_text(near)


def test_elements_and_kept_rows_stay_few(large: Tab) -> None:
    page = large.open(PATH)
    expect(page.locator(".count")).to_have_text("1,000,000 messages")
    counts = []
    for place in range(60):
        page.evaluate(f"document.querySelector('.scroller').scrollTop = {place} * 120000")
        page.evaluate(DRAWN)
        counts.append(int(page.evaluate("document.querySelectorAll('*').length")))
    expect(page.locator(".row.blank:visible")).to_have_count(0)
    assert max(counts) < 2500
    assert page.locator(".row:not(.blank)").count() > 20


def test_hundreds_of_members_stand_together(large: Tab) -> None:
    def nationwide(route: Route) -> None:
        meta = route.fetch().json()
        for number in range(300):
            member = f"muni/{number:05}"
            meta["parties"].append(
                {"number": 100 + number, "address": f"{member}/tax", "member": member, "zone": "mynumber"}
            )
        route.fulfill(content_type="application/json", body=json.dumps(meta))

    large.page.route("**/api/t/child_allowance.trace", nationwide)
    page = large.open(PATH)
    expect(page.locator(".member", has_text="muni/*")).to_have_count(1)
    assert page.locator(".node").count() < 10
    expect(page.locator(".row .shaft").first).to_be_attached()
