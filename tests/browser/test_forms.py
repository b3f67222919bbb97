"""Each thing that can happen to a message has a form of its own, not only a colour, and is said in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import Tab, made, new_tab, serving
from tests.helpers_dishonest import rough

FORMS = {
    "request": ((0,), "request, from Kitami City · Child allowance to Digital Agency · Broker, Income"),
    "permit": ((1,), "with a permit"),
    "reply": ((2, 3), "reply"),
    "refused": ((4,), "refused at the gate"),
    "refusal": ((5,), "refusal"),
    "unreachable": ((7,), "nobody there"),
    "dropped": ((11,), "lost on the way"),
    "retry": ((12,), "sent again"),
    "retry with a new permit": ((13,), "with a permit, sent again"),
    "push": ((16,), "event"),
    "receipt": ((17, 19), "receipt"),
    "in flight": ((24,), "on its way at the end"),
}
"""What happens: the messages of the run that show it, and words that must be said of them."""


@pytest.fixture(scope="module")
def rough_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("rough")
    made(rough, folder / "rough.trace")
    with serving(folder) as address:
        yield address


@pytest.fixture
def rough_tab(browser: Browser, rough_address: str) -> Iterator[Tab]:
    with new_tab(browser, rough_address, viewport={"width": 1440, "height": 1000}) as opened:
        yield opened


def drawing(tab: Tab, index: int) -> Locator:
    """The drawing of a message in the sequence."""
    return tab.page.locator(".row", has=tab.page.locator(f".c-number:text-is('{index}')")).locator(".drawing")


def shape(drawn: Locator) -> str:
    """What is drawn without its place, its length and its colour: elements, dashes, and whether they are filled."""
    return str(
        drawn.evaluate(
            """svg => [...svg.querySelectorAll("g.line *")].map(one => {
                 const shown = getComputedStyle(one);
                 const dashes = shown.strokeDasharray, filled = shown.fill === "none" ? "open" : "filled";
                 const form = (one.getAttribute("d") ?? "").replace(/[-0-9. ]+/g, "");
                 return [one.tagName, form, dashes, filled, shown.strokeWidth].join(" ");
               }).sort().join("; ")"""
        )
    )


@pytest.mark.parametrize(("indices", "words"), FORMS.values(), ids=FORMS)
def test_what_happens_is_said_in_words(rough_tab: Tab, indices: tuple[int, ...], words: str) -> None:
    rough_tab.open("/t/rough.trace/sequence")
    for index in indices:
        label = str(drawing(rough_tab, index).get_attribute("aria-label"))
        assert words in label
        expect(drawing(rough_tab, index)).to_be_visible()


def test_no_two_forms_are_alike_without_their_colours(rough_tab: Tab) -> None:
    rough_tab.open("/t/rough.trace/sequence")
    rough_tab.page.emulate_media(forced_colors="active")
    shapes = {name: shape(drawing(rough_tab, indices[0])) for name, (indices, _) in FORMS.items()}
    assert all(shapes.values())
    alike = [(one, other) for one, other in combinations(shapes, 2) if shapes[one] == shapes[other]]
    assert alike == []


def test_each_form_has_its_mark(rough_tab: Tab) -> None:
    rough_tab.open("/t/rough.trace/sequence")
    marks = {
        1: ".stamp", 4: ".refused .cross", 5: ".k-refusal .cross", 7: ".lost .cut >> nth=1", 11: ".lost .cut",
        12: ".fine", 13: ".stamp", 16: ".k-event .open", 17: ".k-receipt .ring", 24: ".lost .ghost",
    }  # fmt: skip
    for index, mark in marks.items():
        expect(drawing(rough_tab, index).locator(mark).first).to_be_attached()
    for index in (7, 11, 24):
        # What did not arrive has no head at the other end.
        expect(drawing(rough_tab, index).locator(".full, .open")).to_have_count(0)
    expect(drawing(rough_tab, 13).locator(".fine")).to_have_count(1)


def test_the_legend_explains_every_form_that_can_be_met(rough_tab: Tab) -> None:
    page = rough_tab.open("/t/rough.trace/sequence?as=gov/digital/broker")
    expect(page.locator(".legend")).to_contain_text("sealed")
    page = rough_tab.open("/t/rough.trace/sequence")
    shown = page.locator(".legend > span > svg").count()
    assert shown == 11
    for words in ("retry", "dropped", "unreachable", "receipt", "on its way at the end"):
        expect(page.locator(".legend")).to_contain_text(words)


def test_a_small_sequence_has_the_same_forms(rough_tab: Tab) -> None:
    page = rough_tab.open("/t/rough.trace/message/13")
    rows = page.locator(".small li svg")
    assert rows.count() == 7
    labels = [str(one.get_attribute("aria-label")) for one in rows.all()]
    assert sum("sent again" in one for one in labels) == 3
    assert sum("lost on the way" in one for one in labels) == 1
