"""Map, collusion, resident, commission and outcome pages, and a run that is started from the page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.browser.conftest import ROOT, Tab, new_tab, record, serving

TRACE = "/t/child_allowance.trace"


def test_the_map_draws_members_edges_and_refusals(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/map")
    expect(page.locator(".network .dot")).to_have_count(5)
    assert page.locator(".network .edge").count() >= 8
    assert page.locator(".network .refusal").count() >= 2
    page.get_by_label("who asked or told whom").check()
    expect(page.locator(".network .refusal")).to_have_count(0)


def test_the_map_draws_each_system_in_its_own_zone(browser: Browser, tmp_path: Path) -> None:
    record(tmp_path, "child_support")
    with serving(tmp_path) as address, new_tab(browser, address) as tab:
        page = tab.open("/t/child_support.trace/map")
        expect(page.locator(".network .dot").first).to_be_attached()
        members = page.request.get(f"{address}api/t/child_support.trace/map").json()["members"]
        expected = Counter((one["member"], node["zone"]) for one in members for node in one["nodes"])
        assert len({zone for member, zone in expected if member == "muni/01208"}) == 2
        drawn = page.evaluate(
            """() => [...document.querySelectorAll(".dot")].map(one => [one.querySelector(".sub").textContent.split(" · ")[0],
                 one.getAttribute("class").match(/z-(\\w+)/)[1], Number(one.querySelector(".count").textContent)])"""
        )
        assert {(member, zone): count for member, zone, count in drawn} == expected
        # Each stands on the ground of its zone, and on no other; the broker stands in the middle.
        inside = page.evaluate(
            """() => [...document.querySelectorAll(".dot")].map(one => {
                 const [x, y] = one.getAttribute("transform").match(/[\\d.]+/g).map(Number);
                 return [one.getAttribute("class").match(/z-(\\w+)/)[1], [...document.querySelectorAll(".ground")].filter(ground =>
                   ground.querySelector(".fill").isPointInFill(new DOMPoint(x, y))).map(ground => ground.getAttribute("class").match(/z-(\\w+)/)[1])];
               })"""
        )
        assert [zones for _, zones in inside if zones == []] == [[]]
        assert all(zones == [zone] for zone, zones in inside if zones)
        page.locator(".astable summary").click()
        assert "muni/01208 · LGWAN" in page.locator(".astable").inner_text().replace("\n", " ")


def test_the_map_plays_the_run_back(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/map")
    whole = page.locator(".stand").inner_text()
    page.locator("#time").focus()
    page.keyboard.press("Home")
    expect(page.locator(".edge.past").first).to_be_attached()
    assert page.locator(".stand").inner_text() != whole
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Pause")
    page.keyboard.press("Escape")
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")


def test_two_bodies_join_what_they_exchanged(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/collusion?first=muni/01208&second=muni/28100")
    assert page.locator(".collusion .list tbody tr").count() > 0
    page.fill("[name=second]", "muni/99999")
    page.get_by_role("button", name="Lay together").click()
    expect(page.get_by_role("alert")).to_contain_text("muni/99999")


def test_a_resident_sees_who_asked_and_not_what_is_hidden(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/resident/r-000001")
    rows = page.request.get(f"{tab.address}api{TRACE}/resident/r-000001").json()["rows"]
    assert page.locator(".history > li").count() == len(rows) > 4
    assert page.locator(".history time").first.inner_text().startswith("2024-10-15")
    assert page.locator(".history .hidden").count() == 0
    page.get_by_role("button", name="the next resident").click()
    page.wait_for_url("**/resident/r-000002")


def test_the_commission_finds_an_honest_run_sound(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/commission")
    page.locator(".seal-of.sound").wait_for()
    assert page.locator(".commission tbody tr").count() == 6


def test_the_outcome_counts_papers_and_draws_latencies(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/outcome")
    assert page.locator(".bigs dd").first.inner_text() == "10"
    assert page.locator(".ranges tbody tr").count() >= 4
    assert page.locator(".expectations .held").count() == page.locator(".expectations li").count() > 20


def test_the_outcome_leads_to_the_messages_it_rests_on(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/outcome")
    page.locator(".refusing th a", has_text="not_provided").first.click()
    expect(page.locator(".count")).to_contain_text("found")
    assert "code=not_provided" in page.url
    page = tab.open(f"{TRACE}/outcome")
    page.locator(".expectations a").nth(2).click()
    expect(page.locator(".row:visible").first).to_be_visible()
    assert "q=" in page.url


def test_papers_say_their_counter_and_fee_and_items_share_a_scale(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/outcome")
    assert "¥300" in page.locator(".outcome .bars small").first.inner_text()
    widths = page.evaluate(
        """() => [...document.querySelectorAll(".bars.mono tr")].map(one => [
             Number(one.querySelector(".figure").textContent), Number(one.querySelector("rect").getAttribute("width"))])"""
    )
    assert len({round(width / count, 2) for count, width in widths}) == 1


def test_the_map_leads_to_what_its_edges_are_of(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/map")
    page.locator(".astable summary").click()
    page.locator(".astable td a").first.click()
    expect(page.locator(".row:visible").first).to_be_visible()
    assert "node=" in page.url


def test_what_was_told_is_no_question(tab: Tab) -> None:
    page = tab.open(f"{TRACE}/resident/r-000001")
    told = page.locator(".history > li", has_text="A person moved in")
    expect(told.locator(".outcome")).to_have_text("told")
    expect(told.get_by_role("img", name="told")).to_be_attached()
    other = page.locator(".history > li", has_text="Income and inhabitant tax").first
    expect(other.locator(".outcome")).to_have_text("answered")


def test_a_run_is_started_watched_and_opened(tab: Tab, folder: Path) -> None:
    page = tab.open("/")
    page.select_option("#scenario", "child_allowance")
    page.fill("[name=seed]", "5")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#open-run").wait_for()
    assert "Every expectation held." in page.locator("#live").inner_text()
    page.click("#open-run")
    expect(page.locator(".count")).to_contain_text("messages")
    assert "seed 5" in page.locator("#bar").inner_text()
    for made in folder.glob("*.trace"):
        if made.name != "child_allowance.trace":
            made.unlink()


def test_a_run_is_found_again_after_leaving_and_stopped(tab: Tab, folder: Path) -> None:
    page = tab.open("/")
    page.select_option("#scenario", "nationwide_notice")
    page.get_by_role("button", name="Run", exact=True).click()
    card = page.locator(".undercard")
    expect(card).to_contain_text("nationwide_notice-1.trace")
    page.locator("#growing-run").wait_for()
    with page.expect_popup() as opening:
        page.click("#growing-run")
    growing = opening.value
    expect(growing.locator(".count")).to_contain_text("messages")
    growing.close()
    # In this tab, too, one may leave and come back, and another tab finds it.
    page = tab.open(f"{TRACE}/outcome")
    page = tab.open("/")
    expect(card).to_have_count(1)
    expect(card.get_by_role("progressbar", name="Running")).to_be_visible()
    expect(card.locator(".big")).to_have_text(re.compile(r"^[1-9][\d,]*$"))
    page.click("#language")
    expect(page.get_by_role("heading", name="進行中の実行")).to_be_visible()
    card.get_by_role("button", name="中止", exact=True).click()
    expect(card).to_contain_text("停止しました")
    expect(page.locator("#growing-run, .undercard button")).to_have_count(0)
    expect(page.locator(".tracelist")).to_contain_text("nationwide_notice-1.trace")
    page.reload()
    tab.ready()
    expect(page.locator(".undercard")).to_have_count(0)
    for made in folder.glob("nationwide_notice*"):
        made.unlink()


def test_a_run_with_faults_is_started_and_what_failed_is_drawn(tab: Tab, folder: Path) -> None:
    page = tab.open("/")
    page.select_option("#scenario", "child_allowance")
    page.get_by_label("faults").select_option(label="Packet loss of 5 % on every line")
    expect(page.locator("#faults-about li")).to_have_text("packet loss: 5 % of all lines")
    page.fill("[name=seed]", "1")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator("#open-run").wait_for()
    assert "Every expectation held." in page.locator("#live").inner_text()
    page.click("#open-run")
    expect(page.locator(".notes summary")).to_contain_text("Under faults: Packet loss of 5 % on every line")
    lost = page.locator(".row .fate", has_text="lost on the way")
    expect(page.locator(".count")).to_contain_text("messages")
    while lost.count() == 0:
        page.keyboard.press("PageDown")
    page.locator(".notes summary").click()
    expect(page.locator(".notes .faults li")).to_contain_text(re.compile(r"lines lost: [1-9]"))
    page.click("#language")
    expect(page.locator(".notes summary")).to_contain_text("障害の条件： 全回線でパケットロス5%")

    page = tab.open("/")
    expect(page.locator(".tracelist .faulty")).to_have_text("障害の条件： 全回線でパケットロス5%")
    page.get_by_label("障害").select_option("city_offline")
    page.get_by_role("button", name="実行", exact=True).click()
    page.locator("#open-run").wait_for()
    page.click("#open-run")
    expect(page.locator(".row .fate").first).to_have_text("宛先に不達")
    assert page.locator(".row .line .cross").count() > 0
    name = page.url.split("/t/")[1].split("/")[0]
    assert name.endswith("-1-city_offline.trace")
    held = page.request.get(f"{tab.address}api/t/{name}/outcome").json()["expectations"]
    assert not all(one["held"] for one in held)
    tab.open(f"/t/{name}/outcome")
    expect(
        page.locator("section.outcome > p.notes", has_text="あらましは障害のない場合の筋書きのまま")
    ).to_be_visible()
    expect(page.locator("ul.notes .faults")).to_be_visible()
    expect(page.locator("#bar .what")).to_contain_text("シード 1")
    # Faults and seed are the run's own; who looks as a party has neither on any page.
    tab.open(f"/t/{name}/outcome?as=muni/28100/tax")
    expect(page.locator(".seenby")).to_contain_text("muni/28100/tax")
    expect(page.locator("ul.notes .faults")).to_have_count(0)
    expect(page.locator("p.notes", has_text="障害")).to_have_count(0)
    expect(page.locator("#bar .what")).not_to_contain_text("シード")
    for made in folder.glob("*.trace"):
        if made.name != "child_allowance.trace":
            made.unlink()


def test_a_failed_expectation_points_to_the_refusals_behind_it(tab: Tab, folder: Path) -> None:
    """As the report does; in both languages, and each leads to its message."""
    trace = folder / "away.trace"
    command = ["run", "child_allowance", "--faults", "city_offline", "--json", "--trace", str(trace)]
    done = subprocess.run([sys.executable, str(ROOT / "run_sim.py"), *command], capture_output=True, cwd=ROOT)
    failed = [one for one in json.loads(done.stdout)["runs"][0]["expectations"] if "refusals" in one]
    page = tab.open("/t/away.trace/outcome")
    shown = page.locator(".expectations > .broke")
    for place, one in enumerate(failed):
        expect(shown.nth(place)).to_contain_text(one["text"])
        links = shown.nth(place).locator(".behind a")
        expect(links).to_have_text([f"#{refusal['index']}" for refusal in one["refusals"]])
    behind = page.locator(".expectations .broke .behind li").first
    expect(behind).to_have_text(
        re.compile(
            r"^refused before: #\d+ tax\.income\.v1 recipient_unreachable the recipient cannot be reached"
        )
    )
    page.click("#language")
    expect(behind).to_have_text(
        re.compile(r"^直前の拒否： #\d+ tax\.income\.v1 recipient_unreachable 宛先に到達できません")
    )
    number = behind.locator("a").inner_text().removeprefix("#")
    behind.locator("a").click()
    expect(page.locator(".row.chosen")).to_contain_text(number)
    trace.unlink()


def test_a_run_that_cannot_start_says_why(tab: Tab) -> None:
    page = tab.open("/")
    page.select_option("#scenario", "child_allowance")
    page.fill("[name=set-children]", "-7")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#live [role=alert]")).to_be_visible()
