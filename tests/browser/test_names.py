"""What parties and services are called, on every page; a name is what a trace says, and may be anything."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Tab, new_tab, serving

TRACE = "/t/child_allowance.trace"
HOSTILE = "<script>window.broken=1</script>\u202e\u0000<img src=x onerror=window.broken=1>" + "長" * 300
PAGES = {
    "sequence": "北見市",
    "message/ASKED": "北見市　児童手当",
    "map": "北見市",
    "resident/r-000001": "北見市　児童手当",
    "commission": "三者の記録の突合",
    "outcome": "北見市　児童手当",
    "collusion?first=muni/01208&second=muni/28100": "神戸市",
}


@pytest.mark.parametrize(("page", "name"), PAGES.items(), ids=PAGES)
def test_a_japanese_page_calls_parties_by_their_names(japanese: Tab, page: str, name: str) -> None:
    japanese.open(f"{TRACE}/{page}")
    expect(japanese.page.locator("#main")).to_contain_text(name)


def test_addresses_stand_beside_names(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    head = page.locator(".node", has_text="Individual inhabitant tax")
    expect(head.locator(".id")).to_have_text("tax")
    assert "muni/28100/tax" in str(head.get_attribute("title"))
    expect(page.locator(".member", has_text="Kobe City").locator(".id")).to_have_text("muni/28100")
    page = tab.open(f"{TRACE}/message/ASKED")
    expect(page.locator(".letter .lead")).to_contain_text("muni/28100/tax")
    expect(page.locator(".letter .lead")).to_contain_text("Income and inhabitant tax of a year")
    expect(page.locator(".letter .lead")).to_contain_text("tax.income.v1")


@pytest.mark.parametrize("wanted", ["Kobe City", "神戸市", "muni/28100", "個人住民税"])
def test_a_search_knows_names_in_both_languages_and_addresses(tab: Tab, wanted: str) -> None:
    page = tab.open(f"{TRACE}/sequence")
    expect(page.locator(".count")).to_have_text(f"{tab.messages(TRACE)} messages")
    page.fill("#search", wanted)
    expect(page.locator(".count")).to_contain_text("found")
    assert page.locator(".count").inner_text() != "0 found"


def test_a_row_says_who_of_a_folded_column_it_was(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/sequence")
    expect(page.locator(".row .main").first).to_be_visible()
    expect(page.locator(".row .who")).to_have_count(0)
    page.get_by_role("button", name="Fold", exact=True).click()
    expect(page.locator(".row .who").first).to_have_text("Resident register")


def test_the_map_can_be_read_on_a_telephone(browser: Browser, address: str) -> None:
    with new_tab(browser, address, viewport={"width": 400, "height": 800}) as tab:
        page = tab.open(f"{TRACE}/map")
        name = page.locator(".dot .name", has_text="Kitami City").bounding_box()
        assert name is not None
        assert name["height"] > 10
        assert page.evaluate("document.querySelector('#main').scrollWidth <= 400")


def test_somebody_is_chosen_by_name(japanese: Tab) -> None:
    page = japanese.open(f"{TRACE}/sequence")
    page.click("#perspective")
    page.keyboard.type("Japan Pension")
    expect(page.locator("dialog [role=option]").first).to_contain_text("日本年金機構")
    page.keyboard.press("Enter")
    expect(page.locator(".seenby")).to_contain_text("日本年金機構")
    expect(page.locator(".seenby")).to_contain_text("org/nenkin")


def test_a_refusal_says_in_japanese_what_is_wrong_and_who_mends_it(japanese: Tab) -> None:
    page = japanese.open(f"{TRACE}/message/REFUSED")
    expect(page.locator(".verdict")).to_contain_text("法的根拠にない項目が含まれています")
    expect(page.locator(".verdict")).to_contain_text(
        "情報照会者が、法的根拠に掲げられた項目だけを照会します。"
    )
    assert "The requester" not in page.locator(".verdict").inner_text()


@pytest.fixture(scope="module")
def renamed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A viewer over a trace whose names are an attacker's, and one that has none."""
    made = tmp_path_factory.mktemp("renamed")
    names = {
        "muni/28100/tax": {"title": HOSTILE, "title_ja": HOSTILE},
        "muni/28100": {"title": "Digital Agency", "title_ja": "デジタル庁"},
        "org/nenkin": {"title": 7},
        "constructor": {"title": HOSTILE, "title_ja": HOSTILE},
        "gov/portal": "no title",
    }
    for name, said in (("hostile", names), ("wrong", ["no", "names"]), ("old", None), ("cut", None)):
        path = made / f"{name}.trace"
        shutil.copy(folder / "child_allowance.trace", path)
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("DELETE FROM epilogue WHERE key = 'names'")
            if name == "cut":
                db.execute("UPDATE meta SET value = '0' WHERE key = 'complete'")
            if said is not None:
                db.execute("INSERT INTO epilogue VALUES ('names', ?)", (json.dumps(said),))
    with serving(made) as address:
        yield address


@pytest.fixture
def fooled(browser: Browser, renamed: str) -> Iterator[Tab]:
    with new_tab(browser, renamed) as made:
        yield made


@pytest.mark.parametrize("page", PAGES)
def test_a_hostile_name_is_text_and_keeps_its_room(fooled: Tab, page: str) -> None:
    shown = fooled.open(f"/t/hostile.trace/{page}")
    if page == "commission":
        shown.locator(".seal-of").wait_for()
    assert shown.evaluate("window.broken") is None
    assert shown.locator("#main script, #main img").count() == 0
    text = shown.locator("body").inner_text()
    assert "\u202e" not in text
    assert "\0" not in text
    for part in ("document.documentElement", "document.querySelector('#main')"):
        assert shown.evaluate(f"{part}.scrollWidth <= {part}.clientWidth"), part
    if page == "sequence":
        # Who takes another's name is known by the address beside it.
        expect(shown.locator(".member", has_text="Digital Agency")).to_have_text("Digital Agencymuni/28100")
        assert shown.locator(".heads").evaluate("one => one.offsetHeight") < 200


@pytest.mark.parametrize("name", ["old", "wrong"])
def test_without_names_the_addresses_stand(fooled: Tab, name: str) -> None:
    page = fooled.open(f"/t/{name}.trace/sequence")
    expect(page.locator(".member").first).to_contain_text("gov/digital")
    expect(page.locator(".node").last).to_have_text("records")
    page = fooled.open(f"/t/{name}.trace/message/13")
    expect(page.locator(".letter .lead")).to_contain_text("muni/28100/tax")


def test_what_is_wrong_with_a_file_is_said_in_japanese(browser: Browser, renamed: str) -> None:
    with new_tab(browser, renamed, locale="ja-JP") as tab:
        for page in ("/", "/t/cut.trace/sequence"):
            tab.open(page)
            expect(tab.page.locator(".notes").first).to_contain_text("中断までの記録を表示します")
