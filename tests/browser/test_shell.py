"""The bar, the languages, the colours, and the words."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.browser.conftest import Tab

STATIC = Path(__file__).parent.parent.parent / "mesh" / "viewer" / "static"
TRACE = "/t/child_allowance.trace"


def test_both_dictionaries_have_the_same_keys_and_values_to_fill_in() -> None:
    english, japanese = (json.loads((STATIC / "words" / f"{one}.json").read_text()) for one in ("en", "ja"))
    assert list(english) == list(japanese)
    for key, phrase in english.items():
        assert set(re.findall(r"\{\w+\}", phrase)) == set(re.findall(r"\{\w+\}", japanese[key])), key


def test_every_phrase_that_a_page_asks_for_is_there() -> None:
    english = json.loads((STATIC / "words" / "en.json").read_text())
    source = "\n".join(path.read_text() for path in sorted((STATIC / "js").glob("*.js")))
    asked = set(re.findall(r"\bt\(\s*\"([^\"]+)\"", source)) | set(
        re.findall(r"\bcard\(\s*\"([^\"]+)\"", source)
    )
    assert asked - set(english) == set()


def test_no_page_makes_markup_from_text() -> None:
    for path in sorted((STATIC / "js").glob("*.js")):
        source = path.read_text()
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert word not in source, f"{path.name}: {word}"
    page = (STATIC / "index.html").read_text()
    assert "style=" not in page
    assert re.search(r"<script(?![^>]*\bsrc=)", page) is None


def test_nothing_comes_from_outside(tab: Tab) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.open(f"{TRACE}/sequence")
    assert asked
    assert all(one.startswith(tab.address) for one in asked)


def test_the_language_is_the_browsers_and_can_be_switched(japanese: Tab) -> None:
    page = japanese.open(f"{TRACE}/sequence")
    assert page.locator("html").get_attribute("lang") == "ja"
    assert page.get_by_role("link", name="関係図").is_visible()
    page.click("#language")
    page.get_by_role("link", name="Map", exact=True).wait_for()
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    japanese.ready()
    assert page.locator("html").get_attribute("lang") == "en"


def test_colours_follow_the_system_until_somebody_chooses(japanese: Tab) -> None:
    page = japanese.open("/")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("#theme")
    light = page.evaluate(paper)
    page.click("#theme")
    assert page.evaluate(paper) == dark != light


def test_the_bar_has_landmarks_and_a_way_past_it(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    for role in ("banner", "navigation", "main", "status"):
        assert page.get_by_role(role).count() >= 1, role
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_trace_that_is_not_there_is_said_to_be_missing(tab: Tab) -> None:
    page = tab.open("/t/nothing.trace/sequence")
    assert "no such trace" in page.get_by_role("alert").inner_text()
