"""The sequence, and a message in full."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Tab

TRACE = "/t/child_allowance.trace"


def rows(page: Page) -> int:
    return page.locator(".row:not([hidden])").count()


def count(page: Page, text: str) -> None:
    expect(page.locator(".count")).to_have_text(text)


def test_parties_stand_by_zone_and_member_with_their_heads_in_sight(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    count(page, f"{tab.messages(TRACE)} messages")
    heads = page.locator(".member").all_inner_texts()
    assert [one.strip().split("\n")[0].strip("–+ ") for one in heads] == [
        "Digital Agency", "Mynaportal", "Kitami City", "Kobe City", "Japan Pension Service"
    ]  # fmt: skip
    page.keyboard.press("End")
    expect(page.locator(".row.chosen")).to_contain_text(str(tab.messages(TRACE) - 1))
    assert page.locator(".member").first.is_visible()


def test_forms_tell_kinds_apart(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?at=REFUSED")
    page.locator(".row.chosen").wait_for()
    assert page.locator(".row .line.refused .cross").count() > 0
    assert page.locator(".row .k-refusal .cross").count() > 0
    assert page.locator(".row .k-request .stamp").count() > 0
    page.keyboard.press("Home")
    expect(page.locator(".row .k-event .open").first).to_be_visible()
    expect(page.locator(".row .k-receipt .ring").first).to_be_visible()


def test_filters_narrow_and_go_into_the_link(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    page.select_option("[name=code]", "no_legal_basis")
    count(page, "2 found")
    assert "code=no_legal_basis" in page.url
    page.reload()
    tab.ready()
    count(page, "2 found")
    page.select_option("[name=code]", "")
    page.select_option("[name=person]", "r-000001")
    page.select_option("[name=service]", "tax.income.v1")
    count(page, "4 found")
    expect(page.locator(".row:not([hidden]) .service")).to_have_text(
        ["Income and inhabitant tax of a year", *["tax.income.v1"] * 3]
    )


def test_the_search_box_answers_to_the_slash_and_escape(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("pension")
    expect(page.locator(".count")).to_have_text(re.compile(r"^\d+ found$"))
    page.keyboard.press("Escape")
    count(page, f"{tab.messages(TRACE)} messages")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") != "search"


def test_nothing_found_is_said(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?q=zzzz")
    expect(page.locator(".pane")).to_have_attribute("data-empty", "Nothing matches the filters.")


def test_the_keyboard_walks_and_opens(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    count(page, f"{tab.messages(TRACE)} messages")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    chosen = page.locator(".row.chosen .c-number")
    expect(chosen).to_have_text("4")
    page.keyboard.press("ArrowRight")
    expect(chosen).to_have_text("5")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("#5")
    page.keyboard.press("Escape")
    expect(page.locator(".row.chosen .c-number")).to_have_text("5")
    assert "at=5" in page.url


def test_a_grid_says_where_one_is_in_it(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?at=100")
    row = page.locator(".row.chosen")
    expect(row).to_have_attribute("aria-rowindex", "102")
    grid = page.get_by_role("grid")
    assert grid.get_attribute("aria-rowcount") == str(tab.messages(TRACE) + 1)
    assert grid.get_attribute("aria-activedescendant") == row.get_attribute("id")
    assert "from " in str(row.locator(".drawing").get_attribute("aria-label"))


def test_members_fold(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    count(page, f"{tab.messages(TRACE)} messages")
    before = page.locator(".node").count()
    page.get_by_role("button", name="Fold", exact=True).click()
    expect(page.locator(".node")).to_have_count(before - 1)
    assert "fold=" in page.url
    page.reload()
    tab.ready()
    expect(page.locator(".node")).to_have_count(before - 1)


def test_few_elements_stand_for_many_rows(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    count(page, f"{tab.messages(TRACE)} messages")
    assert rows(page) < 45


def test_a_message_shows_checks_law_ties_and_three_books(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/ASKED")
    body = page.locator("#main").inner_text()
    assert "番号法" in page.locator(".law").inner_text()
    assert page.locator(".checks .r-passed").count() > 3
    assert page.locator(".book").count() == 3
    assert page.locator(".v-included").count() >= 4
    assert page.locator(".sealed").count() >= 1
    assert "very request" in body
    answer = tab.number(TRACE, "ASKED") + 1
    page.get_by_role("link", name=f"→ #{answer}").click()
    expect(page.locator("h1")).to_contain_text(f"#{answer}")


def test_a_message_says_who_sees_what_of_it(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/ASKED")
    rows = page.locator(".sight tbody tr")
    expect(rows).to_have_count(6)
    assert page.locator(".sight .r-broker .s-read").count() == 6
    assert page.locator(".sight .r-broker .s-sealed").count() == 2
    assert page.locator(".sight .r-others .s-read").count() == 0
    assert len(set(page.locator(".sight thead small").all_inner_texts())) == 3
    expect(page.locator(".joinable")).to_contain_text("Broker")
    rows.get_by_role("link", name="muni/28100/tax").click()
    expect(page.locator(".seenby")).to_contain_text("muni/28100/tax")
    tab.ready()
    expect(rows).to_have_count(1)
    assert page.locator(".sight .s-sealed").count() == 1


def test_times_name_their_zone_and_the_law_its_days(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/ASKED")
    lead = page.locator(".letter > header").inner_text()
    assert re.search(r"09:01:01\.\d{3} JST", lead)
    assert re.search(r"2024-10-15 09:01:01\.\d{3} JST", page.locator(".pairs").first.inner_text())
    page.locator(".law summary").click()
    law = page.locator(".law").inner_text()
    assert "until further notice" in law
    assert "9007199254740991" not in law
    assert len(set(page.locator(".entry > p.quiet").all_inner_texts())) >= 4


def test_a_refused_message_says_why_and_who_mends_it(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/REFUSED")
    assert "item_not_permitted" in page.locator(".verdict").inner_text()
    assert page.locator(".checks .r-failed").count() == 1


def test_copies_are_what_the_server_gives(tab: Tab) -> None:
    tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=tab.address.rstrip("/"))
    page = tab.open(f"{TRACE}/message/ASKED")
    for form, begins in (("jws", "eyJ"), ("json", "{"), ("curl", "curl "), ("openssl", "d=$(mktemp")):
        page.locator(f".raw [data-form={form}]").first.click()
        expect(page.locator(f".raw [data-form={form}]").first).to_contain_text("✓")
        assert str(page.evaluate("navigator.clipboard.readText()")).startswith(begins)


def test_another_perspective_is_chosen_by_the_keyboard(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    page.click("#perspective")
    page.keyboard.type("28100/tax")
    page.keyboard.press("Enter")
    page.locator(".seenby").wait_for()
    tab.ready()
    assert "as=muni%2F28100%2Ftax" in page.url
    expect(page.locator("#perspective")).to_contain_text("Kobe City · Individual inhabitant tax")
    expect(page.locator(".count")).not_to_have_text(f"{tab.messages(TRACE)} messages")
    page.get_by_role("link", name="See everything").click()
    count(page, f"{tab.messages(TRACE)} messages")


def test_on_the_wire_every_line_is_closed(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?as=wire")
    count(page, f"{tab.messages(TRACE)} messages")
    assert page.locator(".row .k-wire .envelope").count() > 10
    assert "tax.income" not in page.locator(".pane").inner_text()
    page = tab.open(f"{TRACE}/message/ASKED?as=wire")
    assert "Nothing of it can be read" in page.locator("#main").inner_text()


def test_the_broker_passes_on_what_it_cannot_open(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/ASKED?as=gov%2Fdigital%2Fbroker")
    assert "Sealed from this perspective: content" in page.locator("#main").inner_text()


def test_a_perspective_that_is_nobodys_is_refused_in_words(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence?as=muni%2F99999")
    expect(page.get_by_role("alert")).to_contain_text("muni/99999")


def test_neighbours_are_those_of_who_looks(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/message/ASKED?as=muni/28100/tax")
    expect(page.locator(".crumbs a")).to_have_count(2)  # Back, and on: nothing of theirs comes before.
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_contain_text(f"#{tab.number(TRACE, 'ASKED') + 1}")
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_contain_text("#17")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("h1")).to_contain_text(f"#{tab.number(TRACE, 'ASKED') + 1}")
