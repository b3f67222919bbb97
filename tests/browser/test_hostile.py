"""Payloads that would like to be more than text, in every field of every answer that a page shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Route

from tests.browser.conftest import Tab, new_tab

TRACE = "/t/child_allowance.trace"
PAYLOAD = (
    '<img src=x onerror="window.broken=1"><script>window.broken=1</script>\'"><svg onload=window.broken=1>'
    "\u202e\u2066\u0000\u001b[31m\ud800{{7*7}}${7*7}javascript:window.broken=1 " + "W" * 700
)
NAMED_BY_THEIR_WRITER = (
    "attributes",
    "content",
    "header",
    "permit_attributes",
    "settings",
    "services",
    "procedures",
    "codes",
    "names",
    "answers",
)
OURS = ("title", "title_ja")
PAGES = {
    "runs": "/",
    "sequence": f"{TRACE}/sequence?at=25",
    "sequence as the wire": f"{TRACE}/sequence?as=wire",
    "message": f"{TRACE}/message/ASKED",
    "refusal": f"{TRACE}/message/REFUSED",
    "map": f"{TRACE}/map",
    "collusion": f"{TRACE}/collusion?first=muni/01208&second=muni/28100",
    "resident": f"{TRACE}/resident/r-000001",
    "commission": f"{TRACE}/commission",
    "outcome": f"{TRACE}/outcome",
}


def poisoned(value: Any, *, keys: bool = False) -> Any:
    """The same answer with the payload behind every text."""
    if isinstance(value, str):
        return value + PAYLOAD
    if isinstance(value, list):
        return [poisoned(one, keys=keys) for one in value]
    if isinstance(value, dict):
        return {
            name + PAYLOAD if keys and name not in OURS else name: poisoned(
                one, keys=keys or name in NAMED_BY_THEIR_WRITER
            )
            for name, one in value.items()
        }
    return value


FAILED = """() => new Promise(done => {
    const image = new Image(); image.onerror = image.onload = done; image.src = "x?" + performance.now(); })"""
"""An image that came later has failed: an earlier one would have called its handler."""


def poison(route: Route) -> None:
    """Answer as the server does, poisoned."""
    answer = route.fetch()
    route.fulfill(
        status=answer.status, content_type="application/json", body=json.dumps(poisoned(answer.json()))
    )


@pytest.fixture
def hostile(browser: Browser, address: str) -> Iterator[Tab]:
    """A tab that is told nothing without a payload."""
    with new_tab(browser, address) as made:
        made.page.route("**/api/**", poison)
        yield made
        made.page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES.keys())
def test_no_payload_runs_or_breaks_a_page(hostile: Tab, path: str) -> None:
    page = hostile.open(path)
    page.evaluate(FAILED)
    assert page.evaluate("window.broken") is None
    assert (
        page.locator(
            "#main script, #main img, #bar script, #main iframe, #main [onload], #main [onerror]"
        ).count()
        == 0
    )
    assert "<script>" in page.locator("body").inner_text() or "wire" in path
    shown = page.locator("body").inner_text()
    for one in "\u202e\u2066\u0000\u001b":
        assert one not in shown
    for part in ("document.documentElement", "document.querySelector('#main')"):
        assert page.evaluate(f"{part}.scrollWidth <= {part}.clientWidth"), part
    assert page.evaluate("document.querySelector('#bar').offsetHeight") < 160


def test_no_payload_in_the_list_of_perspectives_runs(hostile: Tab) -> None:
    page = hostile.open(f"{TRACE}/sequence")
    page.click("#perspective")
    page.keyboard.type("r-0000")
    assert page.locator("dialog img, dialog script").count() == 0
    assert page.evaluate("window.broken") is None
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_link_may_hold_anything(tab: Tab) -> None:
    page = tab.open("/t/%3Cscript%3Ealert(1)%3C%2Fscript%3E/%00/%ff?as=%3Cimg%20src%3Dx%3E&q=%00")
    assert page.get_by_role("alert").is_visible()
    assert page.locator("#main img, #main script").count() == 0


def test_the_address_of_an_error_is_shown_as_text(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?as=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.get_by_role("alert").wait_for()
    assert page.locator("#main img").count() == 0
