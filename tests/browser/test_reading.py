"""The sequence as one reads it: time that passed, where one is, who is there, marks in their place, phone, print, focus."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Tab, new_tab

TRACE = "/t/child_allowance.trace"


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Tab]:
    with new_tab(browser, address, viewport={"width": 390, "height": 844}) as made:
        yield made


def test_time_that_passed_stands_between_rows(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    shown = page.locator(".between:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_have_text(re.compile(r"^\+9\d\d ms$"))
    row = page.locator(".row", has=shown)
    after = int(row.locator(".c-number").inner_text())
    clocks = [
        page.locator(".row", has=page.locator(f".c-number:text-is('{one}')")).locator(".c-time").inner_text()
        for one in (after - 1, after)
    ]
    assert [one[:8] for one in clocks] == ["09:01:00", "09:01:01"]


def test_the_strip_shows_where_one_is_and_leads_elsewhere(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    slider = page.get_by_role("slider")
    expect(page.locator(".strip .all").first).to_be_attached()
    expect(page.locator(".strip .refused").first).to_be_attached()
    expect(page.locator(".strip .now")).to_have_text("2024-10-15 09:01:00")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 8)
    expect(page.locator(".strip .now")).not_to_have_text("2024-10-15 09:01:00")
    expect(page.locator(".row:visible .c-number").first).not_to_have_text("0")
    slider.focus()
    stood = slider.get_attribute("aria-valuenow")
    page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuenow") != stood
    expect(page.locator(".row.chosen")).to_have_count(0)


def test_the_strip_shows_what_the_filters_leave(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?code=not_provided")
    expect(page.locator(".strip .refused").first).to_be_attached()
    assert page.locator(".strip .all").count() <= 3


def test_only_who_appears_has_a_column_or_can_be_chosen(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?as=muni/28100/tax")
    expect(page.locator(".node")).to_have_count(2)
    expect(page.locator("select[name=person]")).to_have_count(0)
    assert "pension.enrolment.v1" not in page.locator("select[name=service]").inner_html()
    assert page.locator(".legend .band").count() == 2
    assert "push" not in page.locator(".legend").inner_text()


def test_two_signs_say_what_is_sealed(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?as=muni/28100/tax")
    first = page.locator(".row .drawing").first
    expect(first.locator("path.envelope")).to_have_count(1)  # A tag: the person's code.
    expect(first.locator("rect.envelope")).to_have_count(0)
    page = tab.open(f"{TRACE}/sequence?as=gov/digital/broker")
    expect(page.locator(".row .drawing rect.envelope").first).to_be_attached()
    expect(page.locator(".row .drawing path.envelope")).to_have_count(0)


@pytest.mark.parametrize("name", ["gov/digital/broker", "muni/28100/tax", "everything", "wire"])
def test_no_mark_stands_on_a_line_that_is_only_crossed(tab: Tab, name: str) -> None:
    page = tab.open(f"{TRACE}/sequence?as={name}&at=REFUSED")
    page.locator(".row .drawing *").first.wait_for(state="attached")
    near = page.evaluate(
        """() => {
             const lives = [...document.querySelectorAll(".life")].map(one => one.getBoundingClientRect().x);
             return [...document.querySelectorAll(".row .cross, .row .envelope")].map(one => {
               const box = one.getBoundingClientRect();
               return Math.min(...lives.map(x => Math.abs(x - (box.x + box.width / 2)) - box.width / 2));
             });
           }"""
    )
    assert near
    assert min(near) > 0


def test_a_phone_has_text_above_its_drawing(phone: Tab) -> None:
    page = phone.open(f"{TRACE}/sequence")
    rows = page.locator(".row:visible")
    expect(rows.nth(5)).to_be_visible()
    text, drawn = rows.nth(5).locator(".texts").bounding_box(), rows.nth(5).locator(".drawing").bounding_box()
    assert text is not None
    assert drawn is not None
    assert text["width"] == 390
    assert drawn["y"] >= text["y"] + 20
    heads = page.locator(".heads").bounding_box()
    assert heads is not None
    assert heads["y"] + heads["height"] < 844 / 2


@pytest.mark.parametrize("page_name", ["outcome", "commission", "message/ASKED", "resident/r-000001"])
def test_a_phone_never_scrolls_sideways(phone: Tab, page_name: str) -> None:
    page = phone.open(f"{TRACE}/{page_name}")
    assert page.evaluate("document.getElementById('main').scrollWidth <= 390")


def test_a_phone_shows_every_count_of_the_records(phone: Tab) -> None:
    page = phone.open(f"{TRACE}/commission")
    page.locator(".seal-of").wait_for()
    for figure in page.locator(".flow .figure").all():
        box = figure.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 376


@pytest.mark.parametrize("page_name", ["outcome", "message/ASKED"])
def test_paper_has_the_whole_page(tab: Tab, page_name: str) -> None:
    page = tab.open(f"{TRACE}/{page_name}")
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollHeight") > 1200
    assert page.evaluate("getComputedStyle(document.getElementById('main')).overflowY") == "visible"
    assert not page.locator("#bar nav").is_visible()


def test_focus_stays_where_one_acted_or_goes_to_the_title(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?at=ASKED")
    page.click("#perspective")
    page.keyboard.type("28100/tax")
    page.keyboard.press("Enter")
    page.locator(".seenby").wait_for()
    tab.ready()
    expect(page.locator("#perspective")).to_be_focused()
    page.locator(".scroller").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".scroller")).to_be_focused()
    page = tab.open(f"{TRACE}/resident/r-000001")
    page.locator("#after").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/resident/r-000002")
    expect(page.locator("#after")).to_be_focused()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_faintest_text_can_be_read(tab: Tab, colours: str) -> None:
    page = tab.open(f"{TRACE}/sequence")
    page.evaluate("colours => { document.documentElement.dataset.theme = colours; }", colours)
    ratios = page.evaluate(
        """() => {
             const probe = document.createElement("i");
             document.body.append(probe);
             const light = name => {
               probe.style.setProperty("color", `var(--${name})`);
               const rgb = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(one => one / 255)
                 .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
               return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
             };
             return ["faint", "soft", "ink", "accent", "red"].flatMap(text => ["paper", "sheet", "shade"].map(ground => {
               const [one, other] = [light(text), light(ground)];
               return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
             }));
           }"""
    )
    assert min(ratios) >= 4.5
