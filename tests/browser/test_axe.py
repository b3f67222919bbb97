"""axe-core finds nothing: on no page of the viewer and on no HTML page, in both languages and themes, also on a phone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from tests.browser.conftest import ROOT, Tab, made, new_tab, record, serving
from tests.helpers_dishonest import dishonest
from tests.helpers_trace import make_trace

WANTED = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental"]
"""Every rule of the conformance that one asks for, and those that are not settled yet."""
TRACE, DISHONEST, APP = ("/t/child_allowance.trace", "/t/dishonest.trace", "/t/private_app.trace")
PAGES = (
    f"{TRACE}/sequence", f"{TRACE}/sequence?as=muni/28100/tax&at=3", f"{TRACE}/message/ASKED",
    f"{TRACE}/message/ASKED?as=wire", f"{TRACE}/map", f"{TRACE}/collusion?first=muni/01208&second=muni/28100",
    f"{APP}/resident/r-000001", f"{TRACE}/resident/r-000001?as=r-000001", f"{TRACE}/commission",
    f"{DISHONEST}/commission", f"{TRACE}/outcome", f"{TRACE}/outcome?as=muni/28100", f"{TRACE}/outcome?as=wire",
    "/t/none.trace/map", "/",
)  # fmt: skip
DESKTOP: dict[str, Any] = {"locale": "en-GB", "color_scheme": "light"}
PHONE: dict[str, Any] = {
    "locale": "ja-JP", "color_scheme": "dark", "viewport": {"width": 390, "height": 844},
}  # fmt: skip


def found(page: Page) -> list[str]:
    """What axe-core has to say: rule and element."""
    if page.evaluate("typeof axe === 'undefined'"):
        page.evaluate(AXE_SCRIPT)
    said = page.evaluate("runOnly => axe.run(document, { resultTypes: ['violations'], runOnly })", WANTED)
    return [f"{one['id']}: {node['html']}" for one in said["violations"] for node in one["nodes"]]


def unfold(page: Page, count: int = 1000) -> None:
    page.evaluate(
        "count => [...document.querySelectorAll('details')].slice(0, count).forEach(one => { one.open = true; })",
        count,
    )


@pytest.fixture(scope="module")
def everything(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A viewer over a run, one with consents and letters, and one whose records do not agree."""
    shown = tmp_path_factory.mktemp("shown")
    (shown / "child_allowance.trace").write_bytes((folder / "child_allowance.trace").read_bytes())
    record(shown, "private_app")
    made(dishonest, shown / "dishonest.trace")
    with serving(shown) as address:
        yield address


@pytest.mark.parametrize("settings", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_of_the_viewer_keeps_anybody_out(
    browser: Browser, everything: str, settings: dict[str, Any]
) -> None:
    with new_tab(browser, everything, **settings) as tab:
        for name in PAGES:
            page = settled(tab, name)
            unfold(page)
            assert found(page) == [], name


def settled(tab: Tab, name: str) -> Page:
    page = tab.open(name)
    if "/commission" in name:
        page.locator(".seal-of").wait_for()
    if "/sequence" in name:
        page.locator(".row:not(.blank) .shaft, .row:not(.blank) .tube").first.wait_for(state="attached")
    return page


def test_nor_does_what_comes_and_goes(browser: Browser, everything: str) -> None:
    with new_tab(browser, everything, **DESKTOP) as tab:
        page = tab.open(f"{TRACE}/map")
        page.click("#perspective")
        page.locator("dialog[open]").wait_for()
        assert found(page) == []
        page.keyboard.press("Escape")
        share = '{"index": {"done": false, "share": 0.4}}'
        page.route(
            "**/api/**/outcome*", lambda route: route.fulfill(content_type="application/json", body=share)
        )
        tab.open(f"{TRACE}/outcome")
        page.locator(".reading").wait_for()
        assert found(page) == []
        tab.open("/")
        page.fill("[name=seed]", "9")
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator(".undercard").wait_for()
        assert found(page) == []
        page.locator("#open-run").wait_for()
        assert found(page) == []


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A report of one run, one of several, and a trace as one page."""
    folder = tmp_path_factory.mktemp("html")
    story = folder / "story.trace"
    made(make_trace, story)
    one, several, trace = (folder / f"{name}.html" for name in ("one", "several", "trace"))
    for command in (
        ["run", "child_allowance", "--faults", "city_offline", "--report", str(one)],
        ["run", "private_app", "birth", "--report", str(several)],
        ["trace", "export", str(story), "--to", "html", "--out", str(trace)],
    ):
        done = subprocess.run(
            [sys.executable, "run_sim.py", *command], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
    return [one, several, trace]


@pytest.mark.parametrize("settings", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_html_page_keeps_anybody_out(browser: Browser, html: list[Path], settings: dict[str, Any]) -> None:
    language = settings["locale"][:2]
    with browser.new_context(**settings) as context:
        page = context.new_page()
        for path in html:
            page.goto(path.as_uri())
            page.locator(f"label[for=in-{language}]").click()
            hidden = page.locator(f"main [lang={'en' if language == 'ja' else 'ja'}]").first
            assert not hidden.is_visible()
            unfold(page, 3)
            assert found(page) == [], path.name
