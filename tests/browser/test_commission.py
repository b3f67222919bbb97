"""The commission's page over records that do not agree: what, where, whose, and the way to the message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import Tab, made, new_tab, serving
from tests.browser.conftest import record as made_by_a_run
from tests.helpers_dishonest import dishonest

PAGE = "/t/dishonest.trace/commission"


@pytest.fixture(scope="module")
def dishonest_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dishonest")
    made(dishonest, folder / "dishonest.trace")
    with serving(folder) as address:
        yield address


@pytest.fixture
def found(browser: Browser, dishonest_address: str) -> Iterator[Tab]:
    with new_tab(browser, dishonest_address) as opened:
        opened.open(PAGE)
        opened.page.locator(".seal-of.unsound").wait_for()
        yield opened


def record(tab: Tab, text: str) -> Locator:
    return tab.page.locator(".record", has=tab.page.locator("h3", has_text=text)).first


def test_each_exchange_that_differs_stands_alone(found: Tab) -> None:
    expect(found.page.locator(".record")).to_have_count(4)
    expect(found.page.locator(".seal-of")).to_contain_text("4 exchanges differ")
    assert "r-000001" in found.page.locator(".record").first.inner_text()


def test_a_broker_that_takes_one_person_for_another(found: Tab) -> None:
    one = record(found, "its records name different persons")
    odd = one.locator("tr.odd")
    expect(odd).to_have_count(1)
    expect(odd.get_by_role("img", name="differs")).to_be_visible()
    assert odd.locator("td").all_inner_texts() == ["r-000001", "–", "r-000002", "–", "r-000002"]
    heads = one.locator("th[scope=colgroup]").all_inner_texts()
    assert [head.split("\n")[0] for head in heads] == [
        "Kitami City · Child allowance", "Digital Agency · Broker", "Kobe City · Individual inhabitant tax",
    ]  # fmt: skip
    one.get_by_role("link", name="Message #16").click()
    expect(found.page.locator("h1")).to_contain_text("#16")


def test_a_requester_that_struck_the_beginning_out(found: Tab) -> None:
    one = record(found, "its requester never opened it")
    absent = one.locator("th.absent")
    expect(absent).to_have_text("opened✕ no record")
    assert one.locator("thead tr").nth(1).locator("th").first.get_attribute("class") == "absent"
    expect(one.get_by_role("link", name="Message #4")).to_be_visible()


def test_a_provider_that_denies_its_answer(found: Tab) -> None:
    one = record(found, "it was closed with an answer that its provider did not record")
    expect(one.locator("th.absent")).to_have_text("answered✕ no record")
    expect(one.locator("thead tr").nth(1).locator("th").last).to_have_class("absent")


def test_a_damaged_row_is_named_by_its_ledger_and_place(found: Tab) -> None:
    alone = found.page.locator(".anomalies li")
    expect(alone.first).to_contain_text("a row is no ledger row")
    expect(alone.first).to_contain_text("muni/01208/resident")
    expect(alone.first).to_contain_text("row 0")
    books = found.page.locator(".commission .list tbody tr", has_text="muni/01208/resident")
    expect(books.locator(".broke").last).to_contain_text("✕")
    honest = found.page.locator(".commission .list tbody tr", has_text="muni/28100/tax")
    expect(honest.locator("td.held")).to_contain_text("✓")


def test_a_shipped_run_ends_with_a_disagreement(browser: Browser, tmp_path: Path) -> None:
    made_by_a_run(tmp_path, "access_history", settings=("false_books=true",))
    with serving(tmp_path) as address, new_tab(browser, address) as tab:
        page = tab.open("/t/access_history.trace/commission")
        expect(page.locator(".seal-of.unsound")).to_contain_text("one finding")
        odd = page.locator(".record tr.odd")
        expect(odd).to_have_count(1)
        expect(odd.locator("th")).to_contain_text("items")
        assert odd.locator("td").all_inner_texts()[-1] == "tax_year"


def test_findings_are_said_in_japanese(browser: Browser, dishonest_address: str) -> None:
    with new_tab(browser, dishonest_address, locale="ja-JP", color_scheme="dark") as tab:
        page = tab.open(PAGE)
        page.locator(".seal-of.unsound").wait_for()
        text = page.locator("#main").inner_text()
        for said in (
            "情報照会者に照会開始の記録がありません", "届いた提供を、情報提供者が記録していません",
            "記録の間で対象者が異なります", "記録の行が壊れていて読めません", "北見市　児童手当",
        ):  # fmt: skip
            assert said in text
        assert "never opened" not in text


def test_the_page_keeps_its_room_on_a_telephone(browser: Browser, dishonest_address: str) -> None:
    with new_tab(browser, dishonest_address, viewport={"width": 400, "height": 800}) as tab:
        page = tab.open(PAGE)
        page.locator(".seal-of.unsound").wait_for()
        assert page.evaluate("document.querySelector('#main').scrollWidth <= 400")
        hanko = page.locator(".hanko").bounding_box()
        assert hanko is not None
        assert abs(hanko["width"] - hanko["height"]) < 1
