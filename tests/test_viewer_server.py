"""The viewer's server: what it says of a trace, to whom it speaks, and which files it opens."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import combinations, islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from mesh.errors import CODES, UsageError
from mesh.ledger import read_row
from mesh.loading import scenarios_of
from mesh.names import BROKER
from mesh.trace.history import history
from mesh.trace.perspective import OfParties, perspective
from mesh.trace.reader import Trace
from mesh.trace.recheck import ASKS
from mesh.trace.rows import Transmission
from mesh.trace.seen import see
from mesh.trace.show import Filter, parts, rows
from mesh.trace.writer import TraceWriter
from mesh.viewer.answers import ANSWERS, answer
from mesh.viewer.chunks import Chunk
from mesh.viewer.connection import Runner
from mesh.viewer.folder import Folder
from mesh.viewer.guarding import POLICY
from mesh.viewer.index import Index
from mesh.viewer.indexing import chunks
from mesh.viewer.opened import Opened
from mesh.viewer.server import Viewer
from mesh.viewer.serving import listen
from tests.conftest import Shipped
from tests.helpers_waiting import HANG_S, pause

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.real_loop
SCENARIOS = scenarios_of("scenarios")


class Page:
    """What a browser would do: asks one server, with the headers of its own page."""

    def __init__(
        self, session: aiohttp.ClientSession, viewer: Viewer, folder: Path, runner: web.AppRunner
    ) -> None:
        self.session = session
        self.viewer = viewer
        self.folder = folder
        self.runner = runner
        self.url = f"http://127.0.0.1:{viewer.guard.port}"
        self.own = {"Origin": self.url}

    async def ask(self, path: str, status: int = 200, method: str = "GET", **extra: Any) -> Any:
        """The JSON of an address, exactly as it is spelt."""
        from yarl import URL

        async with self.session.request(method, URL(self.url + path, encoded=True), **extra) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()


@pytest.fixture
def folder(shipped: Callable[[str], Shipped], tmp_path: Path) -> Path:
    # Not in the asynchronous fixture: a run has a loop of its own.
    for name in RECORDED:
        shutil.copy(shipped(name).trace, tmp_path / f"{name}.trace")
    return tmp_path


@pytest.fixture
async def page(folder: Path) -> AsyncIterator[Page]:
    async for opened in visit(folder):
        yield opened


async def visit(folder: Path, only: str | None = None) -> AsyncIterator[Page]:
    viewer = Viewer(Folder(folder, only, SCENARIOS), SCENARIOS, ("nodes", "scenarios"))
    runner = Runner(viewer.app())
    await runner.setup()
    await listen(viewer, runner, 0)
    async with aiohttp.ClientSession() as session:
        yield Page(session, viewer, folder, runner)
    await runner.cleanup()


RECORDED = ("child_allowance", "hostile_mesh", "private_app", "birth")
ALLOWANCE = "/api/t/child_allowance.trace"


@pytest.fixture
def total(shipped: Callable[[str], Shipped]) -> int:
    """How many messages `child_allowance` sends."""
    return shipped("child_allowance").result.messages


async def test_the_folder_is_listed_with_titles_and_counts(page: Page) -> None:
    (page.folder / "notes.txt").write_text("no trace")
    (page.folder / "broken.trace").write_bytes(b"SQLite format 3\x00")
    traces = {one["name"]: one for one in (await page.ask("/api/traces"))["traces"]}
    assert set(traces) == {f"{name}.trace" for name in (*RECORDED, "broken")}
    allowance = traces["child_allowance.trace"]
    assert (allowance["scenario"], allowance["seed"], allowance["complete"]) == ("child_allowance", 1, True)
    assert allowance["title_ja"] == SCENARIOS["child_allowance"].title_ja
    assert "truncated" in traces["broken.trace"]["notes"][0]


async def test_meta_says_who_took_part_and_what_can_be_filtered(page: Page) -> None:
    meta = await page.ask(ALLOWANCE)
    assert meta["index"] == {"done": True, "share": 1.0}
    assert {"number": 2, "address": "gov/digital/broker", "member": "gov/digital", "zone": "cloud"} in meta[
        "parties"
    ]
    assert "tax.income.v1" in meta["services"]
    assert "refusal" in meta["kinds"]
    assert "item_not_permitted" in meta["codes"]
    assert "r-000001" in meta["residents"]
    assert meta["start_us"] == 1728950400000000


FILTERS = [
    {},
    {"kind": "reply"},
    {"service": "tax.income.v1"},
    {"code": "no_legal_basis"},
    {"node": "muni/28100/tax"},
    {"node": "muni/*/tax", "kind": "refusal"},
    {"person": "r-000001"},
    {"person": "r-000002", "service": "tax.income.v1"},
]


@pytest.mark.parametrize("trace", ["child_allowance", "hostile_mesh"])
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
async def test_filters_find_what_trace_show_finds(page: Page, trace: str, wanted: dict[str, str]) -> None:
    with Trace.open(page.folder / f"{trace}.trace") as opened:
        if wanted.get("person", "r-000001") not in {handle for handle, _, _ in opened.residents()}:
            pytest.skip("the trace has no such resident")
        expected = [one["index"] for one in rows(opened, Filter(**wanted))]
    query = "&".join(f"{key}={value}" for key, value in wanted.items())
    found = await page.ask(f"/api/t/{trace}.trace/rows?{query}&limit=500")
    assert (found["total"], [one["index"] for one in found["rows"]]) == (len(expected), expected[:500])
    for offset, index in list(enumerate(expected))[:: max(len(expected) // 5, 1)]:
        place = await page.ask(f"/api/t/{trace}.trace/position?index={index}&{query}")
        assert place["offset"] == offset


async def test_pages_follow_each_other(page: Page) -> None:
    whole = await page.ask(f"{ALLOWANCE}/rows?limit=500&q=INCOME")
    parts = [
        (await page.ask(f"{ALLOWANCE}/rows?limit=7&offset={at}&q=income"))["rows"] for at in range(0, 70, 7)
    ]
    assert [one for part in parts for one in part][: whole["total"]] == whole["rows"][:70]
    assert {one["service"] for one in whole["rows"]} == {"tax.income.v1"}


@pytest.mark.parametrize(
    ("text", "address"),
    [("神戸市", "muni/28100/tax"), ("kobe CITY", "muni/28100/tax"), ("年金記録", "org/nenkin/records")],
)
async def test_search_finds_what_parties_are_called(page: Page, text: str, address: str) -> None:
    meta = await page.ask(ALLOWANCE)
    assert meta["names"]["muni/28100"] == {"title": "Kobe City", "title_ja": "神戸市"}
    assert meta["titles"]["codes"]["not_found"]["title_ja"]
    named = await page.ask(f"{ALLOWANCE}/rows?limit=500&q={quote(text)}")
    touching = await page.ask(f"{ALLOWANCE}/rows?limit=500&node={address}")
    assert [one["index"] for one in named["rows"]] == [one["index"] for one in touching["rows"]] != []


async def test_search_finds_what_services_and_procedures_are_called(page: Page) -> None:
    for text, where in (
        ("所得・個人住民税", "service=tax.income.v1"),
        ("income and inhabitant", "service=tax.income.v1"),
    ):
        named = await page.ask(f"{ALLOWANCE}/rows?limit=500&q={quote(text)}")
        exact = await page.ask(f"{ALLOWANCE}/rows?limit=500&{where}")
        assert named["total"] == exact["total"] > 0
    assert (await page.ask(f"{ALLOWANCE}/rows?q={quote('児童手当の支給')}"))["total"] > 0


async def test_search_finds_ids_addresses_procedures_and_codes(page: Page) -> None:
    first = (await page.ask(f"{ALLOWANCE}/rows?limit=1&offset=30"))["rows"][0]
    found = await page.ask(f"{ALLOWANCE}/rows?q={first['id'].upper()}")
    assert {one["id"] for one in found["rows"]} == {first["id"]}
    assert (await page.ask(f"{ALLOWANCE}/rows?q=nenkin"))["total"] > 0
    assert {one["procedure"] for one in (await page.ask(f"{ALLOWANCE}/rows?q=child-health"))["rows"]} == {
        "child-health"
    }
    codes = (await page.ask(f"{ALLOWANCE}/rows?q=no_legal"))["rows"]
    assert {one["code"] for one in codes} == {"no_legal_basis"}
    assert (await page.ask(f"{ALLOWANCE}/rows?q=%00%F0%9F%98%80"))["total"] == 0


async def test_a_message_is_shown_with_checks_records_and_proofs(page: Page) -> None:
    reply = (await page.ask(f"{ALLOWANCE}/rows?service=tax.income.v1&kind=reply"))["rows"][0]
    full = await page.ask(f"{ALLOWANCE}/message/{reply['index']}")
    assert full["content"] is not None
    assert full["attributes"]["type"] == "tax.income.v1"
    assert {one["result"] for one in full["checks"]} == {"passed"}
    assert len(full["exchange"]) == 4
    assert full["digests"]["request"]["index"] == full["exchange"][0]["index"]
    assert full["digests"]["permit"]["index"] == full["exchange"][1]["index"]
    assert full["digests"]["reply"]["index"] == full["exchange"][2]["index"]
    assert [one["row"]["entry"] for one in full["ledger"]] == [
        "opened",
        "permitted",
        "answered",
        "closed",
        "closed",
    ]
    assert {one["verdict"] for one in full["ledger"]} == {"included"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
async def test_the_openssl_line_verifies_and_fails_on_another_signature(page: Page) -> None:
    full = await page.ask(f"{ALLOWANCE}/message/5")
    for copy in (full["copy"], full["permit_copy"]):
        assert await run_line(copy["openssl"]) == 0
        changed = copy["openssl"].replace("printf %s eyJ", "printf %s eyK", 1)
        assert await run_line(changed) == 1
        assert "illustrative" in copy["curl"]


async def run_line(line: str) -> int:
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", line], capture_output=True, timeout=HANG_S, check=False
    )
    return done.returncode


# Who sees what.


async def test_a_party_sees_its_own_and_a_stranger_on_the_wire_only_lines(page: Page) -> None:
    tax = (await page.ask(f"{ALLOWANCE}/rows?as=muni/28100/tax&limit=500"))["rows"]
    assert tax
    assert all("muni/28100/tax" in (one["from"], one["to"]) for one in tax)
    wire = (await page.ask(f"{ALLOWANCE}/rows?as=wire&limit=500"))["rows"]
    assert {(one["id"], one["service"], one["readable"]) for one in wire} == {(None, None, False)}
    assert (await page.ask(f"{ALLOWANCE}/rows?as=wire&service=tax.income.v1"))["total"] == 0
    full = await page.ask(f"{ALLOWANCE}/message/5?as=wire")
    assert (full["jws"], full["attributes"], full["ledger"]) == (None, None, [])
    await page.ask(f"{ALLOWANCE}/message/{tax[0]['index']}?as=org/nenkin/records", 404)


async def test_the_broker_reads_attributes_and_no_content(page: Page) -> None:
    request = (await page.ask(f"{ALLOWANCE}/rows?service=tax.income.v1&kind=request"))["rows"][0]
    full = await page.ask(f"{ALLOWANCE}/message/{request['index']}?as=gov/digital/broker")
    assert (full["sealed"], full["content"]) == (["data"], None)
    assert {one["party"] for one in full["ledger"]} == {"gov/digital/broker"}


# Pages over the whole run.


async def test_the_map_counts_what_went_between_members(page: Page, total: int) -> None:
    made = await page.ask(f"{ALLOWANCE}/map")
    assert sum(one["messages"] for one in made["edges"]) == total
    mine = {"from": "muni/01208", "from_zone": "mynumber", "to": "muni/28100", "to_zone": "mynumber"}
    assert mine | {"count": 13} in made["exchanges"]
    rows = (await page.ask(f"{ALLOWANCE}/rows?limit=500"))["rows"]
    refusals = {one["id"] for one in rows if one["kind"] == "refusal"}
    assert sum(one["refusals"] for one in made["edges"]) == len(refusals) > 0
    assert [one["zones"] for one in made["members"] if one["member"] == "gov/digital"] == [["cloud"]]
    half = await page.ask(f"{ALLOWANCE}/map?from_us=60000000&to_us=61000000")
    within = [one for one in rows if 60_000_000 <= one["time_us"] < 61_000_000]
    assert sum(one["messages"] for one in half["edges"]) == len(within) > 0
    wire = await page.ask(f"{ALLOWANCE}/map?as=wire")
    assert sum(one["messages"] for one in wire["edges"]) == total
    assert (sum(one["refusals"] for one in wire["edges"]), wire["exchanges"]) == (0, [])


async def test_an_edge_of_the_map_runs_from_zone_to_zone(page: Page) -> None:
    zones = {one["address"]: one["zone"] for one in (await page.ask("/api/t/birth.trace"))["parties"]}
    rows = (await page.ask("/api/t/birth.trace/rows?limit=500"))["rows"]

    def stand(address: str) -> tuple[str, str | None]:
        return "/".join(address.split("/")[:2]), zones[address]

    expected = Counter((stand(one["from"]), stand(one["to"])) for one in rows)
    edges = (await page.ask("/api/t/birth.trace/map"))["edges"]
    assert {
        ((one["from"], one["from_zone"]), (one["to"], one["to_zone"])): one["messages"] for one in edges
    } == expected


async def test_the_timeline_counts_every_message_once(page: Page, total: int) -> None:
    for bins in (1, 7, 2000):
        made = await page.ask(f"{ALLOWANCE}/timeline?bins={bins}")
        assert len(made["bins"]) == bins
        assert sum(one["messages"] for one in made["bins"]) == total
        assert sum(one["refusals"] for one in made["bins"]) == 4


async def test_what_appears_is_what_somebodys_rows_show(page: Page) -> None:
    whole = await page.ask(f"{ALLOWANCE}/present")
    meta = await page.ask(ALLOWANCE)
    assert [one["address"] for one in meta["parties"]] == whole["parties"]
    assert (meta["codes"], meta["fates"]) == (whole["codes"], whole["fates"])
    assert set(whole["kinds"]) == set(meta["kinds"]) - {"permit"}
    for name in ("muni/28100/tax", "gov/digital/broker", "r-000001", "wire"):
        found = await page.ask(f"{ALLOWANCE}/present?as={name}")
        rows = (await page.ask(f"{ALLOWANCE}/rows?as={name}&limit=500"))["rows"]
        assert set(found["parties"]) == {row[end] for row in rows for end in ("from", "to")}
        assert set(found["kinds"]) == {row["kind"] for row in rows} - {None}
        assert set(found["codes"]) == {row["code"] for row in rows} - {None}
        assert found["residents"] == ([name] if name == "r-000001" else [])


async def test_a_timeline_counts_what_the_filters_leave(page: Page) -> None:
    for query in (
        "as=muni/28100/tax",
        "code=not_provided",
        "q=nenkin",
        "kind=refusal&as=gov/digital/broker",
    ):
        rows = (await page.ask(f"{ALLOWANCE}/rows?{query}&limit=500"))["rows"]
        bins = (await page.ask(f"{ALLOWANCE}/timeline?{query}&bins=60"))["bins"]
        assert sum(one["messages"] for one in bins) == len(rows) > 0
        refusals = {row["id"] for row in rows if row["kind"] == "refusal"}
        assert sum(one["refusals"] for one in bins) == len(refusals)


async def test_a_residents_page_has_what_their_history_has(page: Page) -> None:
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        for handle in ("r-000001", "r-000002", "r-000007", "r-000013"):
            made = await page.ask(f"{ALLOWANCE}/resident/{handle}")
            expected = history(trace, handle)["rows"]
            told = ("resident.move-in.v1", "portal.letter.v1")
            assert [(one.pop("kind") == "request") for one in made["rows"]] == [
                one["service"] not in told for one in expected
            ]
            assert [one | {"time_us": 0} for one in made["rows"]] == [
                one | {"time_us": 0} for one in expected
            ]
            assert all(one["time_us"] < 10**9 for one in made["rows"])
            inspected = await page.ask(f"{ALLOWANCE}/resident/{handle}?hidden=1")
            assert len(inspected["rows"]) == len(history(trace, handle, hidden=True)["rows"])
    await page.ask(f"{ALLOWANCE}/resident/r-999999", 400)


async def test_a_resident_sees_letters_and_consents_with_their_uses(page: Page) -> None:
    made = await page.ask("/api/t/private_app.trace/resident/r-000001")
    assert all(0 <= one["from_us"] < one["until_us"] for one in made["consents"])
    assert {one["firm"] for one in made["consents"]} == {"firm/hokuto-homes", "firm/quick-rent"}
    assert any(one["withdrawn_us"] is not None for one in made["consents"])
    assert max(one["used"] for one in made["consents"]) > 1
    assert all("subject" not in one for one in made["consents"])
    letters = (await page.ask(f"{ALLOWANCE}/resident/r-000001"))["letters"]
    assert all(one["content"]["title_ja"] for one in letters)


async def test_hidden_exchanges_leave_no_gap_in_any_page_of_the_resident(page: Page) -> None:
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        handles = [handle for handle, _, _ in trace.residents()]
        hidden = next(
            handle
            for handle in handles
            if len(history(trace, handle, hidden=True)["rows"]) > len(history(trace, handle)["rows"])
        )
        visible = history(trace, hidden)["rows"]
    rows = await page.ask(f"{ALLOWANCE}/rows?as={hidden}&limit=500")
    assert [one["index"] for one in rows["rows"]] == list(range(len(visible)))
    last = await page.ask(f"{ALLOWANCE}/message/{len(visible) - 1}?as={hidden}")
    assert last["next"] is None
    await page.ask(f"{ALLOWANCE}/message/{len(visible)}?as={hidden}", 404)


@pytest.fixture
def disaster(shipped: Callable[[str], Shipped], folder: Path) -> None:
    """One more trace in the folder: in it a member's codes are known by permits alone."""
    shutil.copy(shipped("disaster").trace, folder / "disaster.trace")


@pytest.mark.usefixtures("disaster")
@pytest.mark.parametrize("name", ["child_allowance", "hostile_mesh", "disaster", "birth"])
async def test_a_resident_has_one_row_for_each_line_of_their_history(page: Page, name: str) -> None:
    with Trace.open(page.folder / f"{name}.trace") as trace:
        handles = sorted({handle for handle, _, _ in trace.residents()})
        for handle in handles:
            lines = history(trace, handle)["rows"]
            rows = (await page.ask(f"/api/t/{name}.trace/rows?as={handle}&limit=500"))["rows"]
            own = list(see(trace, name=handle))
            assert [one["index"] for one in own] == list(range(len(lines)))
            for said in (rows, own):
                assert [
                    (one["from"], one["to"], one["service"], one["procedure"], one["items"]) for one in said
                ] == [
                    (one["requester"], one["provider"], one["service"], one["procedure"], one["items"])
                    for one in lines
                ]
                assert {(one["id"], one["digest"], one["bytes"]) for one in said} <= {(None, None, None)}
                codes = [one["outcome"] if one["outcome"] in CODES else None for one in lines]
                assert [one["code"] for one in said] == codes


async def test_a_resident_finds_their_rows_and_opens_their_letters(page: Page) -> None:
    path = "/api/t/birth.trace"
    rows = (await page.ask(f"{path}/rows?as=r-000001&limit=500"))["rows"]
    letter = next(one for one in rows if one["kind"] == "notice")
    full = await page.ask(f"{path}/message/{letter['index']}?as=r-000001")
    assert full["content"]["title_ja"]
    assert (full["attributes"], full["jws"], full["permit_attributes"], full["ledger"]) == (
        None,
        None,
        None,
        [],
    )
    assert [one["index"] for one in full["exchange"]] == [letter["index"]]
    asked = next(one for one in rows if one["kind"] == "request")
    full = await page.ask(f"{path}/message/{asked['index']}?as=r-000001")
    assert (full["content"], full["sealed"], full["basis"]["known"]) == (None, ["data"], True)
    sought = f"{path}/rows?as=r-000001&node={asked['from']}&limit=500"
    assert asked in (await page.ask(sought))["rows"]
    place = await page.ask(f"{path}/position?as=r-000001&index={asked['index']}")
    assert place["offset"] == asked["index"]


@pytest.mark.usefixtures("disaster")
@pytest.mark.parametrize("name", ["disaster", "hostile_mesh", "child_allowance"])
async def test_whom_an_exchange_is_about_command_and_page_say_alike(page: Page, name: str) -> None:
    with Trace.open(page.folder / f"{name}.trace") as trace:
        for handle in sorted({handle for handle, _, _ in trace.residents()}):
            listed = [one["index"] for one in rows(trace, Filter(person=handle))]
            found = await page.ask(f"/api/t/{name}.trace/rows?person={handle}&limit=500")
            assert [one["index"] for one in found["rows"]] == listed, handle


async def test_who_steps_through_messages_meets_only_their_own(page: Page, total: int) -> None:
    own = [one["index"] for one in (await page.ask(f"{ALLOWANCE}/rows?as=muni/28100/tax&limit=500"))["rows"]]
    for before, index, after in zip([None, *own], own, [*own[1:], None], strict=False):
        full = await page.ask(f"{ALLOWANCE}/message/{index}?as=muni/28100/tax")
        assert (full["previous"], full["next"]) == (before, after)
    whole = await page.ask(f"{ALLOWANCE}/message/{total - 1}")
    assert (whole["previous"], whole["next"]) == (total - 2, None)


async def test_who_lacks_a_message_is_led_to_the_nearest_of_its_exchange(page: Page) -> None:
    own = (await page.ask(f"{ALLOWANCE}/rows?as=muni/28100/tax&kind=request&limit=1"))["rows"][0]["index"]
    exchange = (await page.ask(f"{ALLOWANCE}/message/{own}"))["exchange"]
    answer = await page.ask(f"{ALLOWANCE}/message/{exchange[0]['index']}?as=muni/28100/tax", 404)
    assert (answer["why"], answer["nearest"]) == ("message", own)
    answer = await page.ask(f"{ALLOWANCE}/message/{own}?as=org/nenkin/records", 404)
    assert (answer["why"], answer["nearest"]) == ("message", None)


@pytest.mark.parametrize(
    "name", ["muni/01208", "muni/*/tax", "muni/28100+org/nenkin", "gov/digital/broker", "r-000001"]
)
async def test_perspectives_have_what_the_trace_says(page: Page, name: str) -> None:
    await compare_perspective(page, "child_allowance.trace", name)


async def test_what_was_lost_on_the_way_its_recipient_does_not_have(page: Page) -> None:
    with Trace.open(page.folder / "birth.trace") as trace:
        lost = [sent for sent in trace.transmissions() if sent.fate != "delivered"]
    for name in {sent.recipient for sent in lost}:
        await compare_perspective(page, "birth.trace", name)
    await page.ask(f"/api/t/birth.trace/message/{lost[0].number}?as={lost[0].recipient}", 404)


async def compare_perspective(page: Page, file: str, name: str) -> None:
    with Trace.open(page.folder / file) as trace:
        seen = [one["index"] for one in see(trace, name=name)]
    rows = await page.ask(f"/api/t/{file}/rows?as={name.replace('+', '%2B')}&limit=500")
    assert ([one["index"] for one in rows["rows"]], rows["total"]) == (seen, len(seen))


async def test_who_sent_a_line_cannot_find_it_by_what_the_other_gate_made_of_it(page: Page) -> None:
    with Trace.open(page.folder / "hostile_mesh.trace") as trace:
        refused = next(
            sent for sent in trace.transmissions() if sent.code is not None and sent.sender != BROKER
        )
        seen = see(trace, Filter(code=refused.code), refused.sender)
        assert refused.number not in {one["index"] for one in seen}
    path = f"/api/t/hostile_mesh.trace/rows?code={refused.code}&limit=500"
    assert refused.number in {one["index"] for one in (await page.ask(path))["rows"]}
    rows = (await page.ask(f"{path}&as={refused.sender}"))["rows"]
    assert refused.number not in {one["index"] for one in rows}
    full = await page.ask(f"/api/t/hostile_mesh.trace/message/{refused.number}?as={refused.sender}")
    assert (full["row"]["code"], full["code"], full["checks"]) == (None, None, [])


@pytest.mark.parametrize(
    ("first", "second"),
    [("muni/28100", "muni/01208"), ("muni/28100/tax", "org/nenkin"), ("gov/digital", "muni/*/tax")],
)
async def test_two_bodies_join_what_they_exchanged_and_nothing_else(
    page: Page, first: str, second: str
) -> None:
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        ours, theirs, brokers = (records_of(trace, name) for name in (first, second, BROKER))
        whose = {code: handle for handle, _, code in trace.residents()}
    # A code that is not in the table is known by the broker's in the same exchange.
    books = (ours, theirs, brokers)
    person = {key: whose[book[key]] for book in books for key in book if book[key] in whose}
    shared = [key for key in ours if theirs.get(key, ours[key]) != ours[key]]
    expected = Counter((ours[key], theirs[key]) for key in shared)
    both = {person[key] for key in ours} & {person[key] for key in theirs}
    made = await page.ask(f"{ALLOWANCE}/joins?first={first}&second={second}")
    # Each pair of codes once, however often they exchanged something about the person.
    assert [(one["first"], one["second"]) for one in made["joined"]] == list(
        dict.fromkeys((one["first"], one["second"]) for one in made["joined"])
    )
    assert {(one["first"], one["second"]): one["exchanges"] for one in made["joined"]} == expected
    assert made["count"] == len(expected)
    ids = {(ours[key], theirs[key], key[1]) for key in shared}
    assert all((one["first"], one["second"], one["message"]) in ids for one in made["joined"])
    assert made["known_to_both"] == len(both)
    broker = first == "gov/digital"
    assert made["translators"] == ([BROKER] if broker else [])
    assert made["joinable"] == len(both if broker else {person[key] for key in shared})
    await page.ask(f"{ALLOWANCE}/joins?first={first}&second=nobody", 400)


def records_of(trace: Trace, name: str) -> dict[tuple[str, str], str]:
    """(Requester, message id) → the code by which a body's ledgers name the person."""
    view, found = perspective(trace, name), dict[tuple[str, str], str]()
    assert isinstance(view, OfParties)
    for stored in trace.ledger():
        row = read_row(stored.row)
        if stored.party in view.parties and row.subject is not None:
            found.setdefault((row.requester, row.id), row.subject)
    return found


@pytest.mark.usefixtures("disaster")
@pytest.mark.parametrize("name", ["disaster", "hostile_mesh"])
async def test_a_body_knows_whom_a_row_of_its_ledger_names_and_nobody_else(page: Page, name: str) -> None:
    with Trace.open(page.folder / f"{name}.trace") as trace:
        bodies = sorted({"/".join(address.split("/")[:2]) for address in trace.parties.values()})
        books = {body: records_of(trace, body) for body in bodies}
        whose = {code: handle for handle, _, code in trace.residents()}
    person = {key: whose[book[key]] for book in books.values() for key in book if book[key] in whose}
    known = {body: {person[key] for key in book if key in person} for body, book in books.items()}
    assert all(code in whose for book in books.values() for code in book.values()), (
        "the trace tells whose each is"
    )
    for first, second in combinations(bodies, 2):
        made = await page.ask(f"/api/t/{name}.trace/joins?first={first}&second={second}")
        assert made["known_to_both"] == len(known[first] & known[second]), (first, second)


@pytest.mark.usefixtures("disaster")
@pytest.mark.parametrize("name", ["child_allowance", "hostile_mesh", "disaster"])
async def test_a_refusal_is_counted_once_on_every_page(page: Page, name: str) -> None:
    with Trace.open(page.folder / f"{name}.trace") as trace:
        refusals = {sent.message.digest for sent in trace.transmissions() if sent.message.kind == "refusal"}
    path = f"/api/t/{name}.trace"
    assert sum(one["count"] for one in (await page.ask(f"{path}/outcome"))["refusals"]) == len(refusals)
    assert sum(one["refusals"] for one in (await page.ask(f"{path}/map"))["edges"]) == len(refusals)
    bins = (await page.ask(f"{path}/timeline?bins=50"))["bins"]
    assert sum(one["refusals"] for one in bins) == len(refusals)
    assert (await wait_for(page, f"{path}/commission"))["exchanges"]["refused"] == len(refusals)


@pytest.mark.usefixtures("disaster")
async def test_an_answer_is_waited_for_from_the_first_asking_also_past_refusals(page: Page) -> None:
    # Half of the applications are refused as too many at first, and answered when they come again.
    rows = (await page.ask("/api/t/disaster.trace/rows?service=disaster.apply.v1&limit=500"))["rows"]
    asked: dict[int, int] = {}
    waits: dict[int, int] = {}
    for one in rows:
        asked.setdefault(one["exchange"], one["time_us"])
        if one["kind"] == "reply" and one["from"] == BROKER:
            waits.setdefault(one["exchange"], one["arrived_us"] - asked[one["exchange"]])
    found = (await page.ask("/api/t/disaster.trace/outcome"))["latencies"]
    (said,) = [one for one in found if one["service"] == "disaster.apply.v1"]
    assert (said["count"], said["max_us"]) == (len(waits), max(waits.values()))
    assert said["max_us"] > 1_000_000
    assert said["p50_us"] == sorted(waits.values())[-(-len(waits) // 2) - 1]
    assert said["count"] + said["refused"] + said["unfinished"] == len(asked)


PAGES_OF_SOME = {
    "/outcome": ("everything", "muni/28100", "r-000001"),
    "/commission": ("everything",),
    "/resident/r-000001": ("everything", "r-000001"),
    "/joins?first=muni/01208&second=muni/28100": ("everything", "muni/01208+muni/28100"),
}


@pytest.mark.parametrize("path", PAGES_OF_SOME)
async def test_a_page_is_there_for_whom_it_is_and_for_nobody_else(page: Page, path: str) -> None:
    for looker in (
        "everything", "wire", "muni/28100", "r-000001", "r-000002", "muni/01208+muni/28100", BROKER,
    ):  # fmt: skip
        allowed = looker in PAGES_OF_SOME[path] or (path == "/outcome" and looker != "wire")
        asked = f"{ALLOWANCE}{path}{'&' if '?' in path else '?'}as={looker.replace('+', '%2B')}"
        answer = await page.ask(asked, 200 if allowed else 404)
        if not allowed:
            assert answer["why"] == path.split("/")[1].split("?")[0]


async def test_the_commission_has_its_own_page(page: Page) -> None:
    made = await wait_for(page, "/api/t/birth.trace/commission?as=gov/ppc")
    assert made["anomalies"] == []
    await page.ask("/api/t/birth.trace/resident/r-000001?as=gov/ppc", 404)


async def test_a_party_knows_of_the_outcome_what_it_gave_got_and_was_refused(page: Page) -> None:
    whole = await page.ask(f"{ALLOWANCE}/outcome")
    tax = await page.ask(f"{ALLOWANCE}/outcome?as=muni/28100/tax")
    assert (tax["papers"], tax["story"], tax["expectations"], tax["elapsed_us"]) == (None, [], [], None)
    assert {"papers", "story", "expectations"} <= set(tax["unknown"])
    assert 0 < tax["answers"]["tax.income.v1"] <= whole["answers"]["tax.income.v1"]
    assert set(tax["answers"]) < set(whole["answers"])
    assert tax["latencies"] == []
    office = await page.ask(f"{ALLOWANCE}/outcome?as=muni/01208/child-allowance")
    assert {one["service"] for one in office["latencies"]} >= {"tax.income.v1"}
    assert (await page.ask(f"{ALLOWANCE}/outcome?as={BROKER}"))["disclosed"] == whole["disclosed"]
    own = await page.ask(f"{ALLOWANCE}/outcome?as=r-000001")
    lines = (await page.ask(f"{ALLOWANCE}/resident/r-000001?as=r-000001"))["rows"]
    assert sum(own["answers"].values()) == sum(one["outcome"] == "answered" for one in lines)
    mine = await page.ask(f"{ALLOWANCE}/joins?first=muni/01208&second=muni/28100&as=muni/01208%2Bmuni/28100")
    assert mine["known_to_both"] is None
    assert mine["joinable"] > 0


async def test_the_outcome_has_what_was_reported_and_what_is_found(page: Page) -> None:
    made = await page.ask(f"{ALLOWANCE}/outcome")
    assert made["papers"]
    assert made["story"]
    assert made["missing"] == []
    assert {one["service"] for one in made["latencies"]} >= {"tax.income.v1", "resident.move-in.v1"}
    assert {"service": "tax.income.v1", "code": "no_legal_basis", "count": 1} in made["refusals"]
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        reported = trace.meta["outcome"]["disclosed"]
    assert {one["to"]: one["answers"] for one in made["disclosed"]} == {
        one["to"]: one["answers"] for one in reported
    }


async def test_the_commission_finds_nothing_in_an_honest_trace(page: Page, total: int) -> None:
    made = await wait_for(page, f"{ALLOWANCE}/commission")
    assert (made["anomalies"], made["records"]) == ([], [])
    assert made["messages"]["checked"] == total
    assert made["exchanges"]["opened"] == made["exchanges"]["permitted"] + 2 > 30
    assert all(one["holds"] and one["rows"] == one["covered"] for one in made["parties"])


async def test_the_commission_lists_what_was_altered_and_goes_on(page: Page) -> None:
    with sqlite3.connect(page.folder / "child_allowance.trace") as db:
        like = "SELECT number FROM ledger WHERE CAST(row AS TEXT) LIKE '%answered%tax.income%' ORDER BY number LIMIT 1"
        change = "UPDATE ledger SET row = CAST(replace(CAST(row AS TEXT), 'tax_year', 'tax_yeer') AS BLOB)"
        db.execute(f"{change} WHERE number = ({like})")
        db.execute("DELETE FROM ledger WHERE number = 100")
    db.close()
    made = await wait_for(page, f"{ALLOWANCE}/commission")
    assert len(made["anomalies"]) >= 2
    assert any("missing" in one["text"] for one in made["anomalies"])
    assert any(len(one["rows"]) > 1 for one in made["records"])
    assert any(not one["holds"] for one in made["parties"])
    assert all(one["text_ja"] and not one["text_ja"].isascii() for one in made["anomalies"])
    # Whatever concerns an exchange leads to its first message.
    about = [one for one in made["anomalies"] if one["message"] is not None]
    assert about
    for one in about:
        shown = await page.ask(f"{ALLOWANCE}/message/{one['index']}")
        assert (shown["row"]["id"], shown["row"]["from"]) == (one["message"], one["requester"])


async def wait_for(page: Page, path: str) -> Any:
    async with asyncio.timeout(HANG_S):
        while not (made := await page.ask(path))["done"]:
            await pause()
    return made


# Large, damaged and unfinished traces.


async def test_a_large_trace_is_read_by_a_process_and_answers_meanwhile(
    page: Page, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await page.ask(f"{ALLOWANCE}/rows?kind=reply&limit=500")
    monkeypatch.setattr("mesh.viewer.opened.AT_ONCE_MAX", 10)
    shutil.copy(page.folder / "child_allowance.trace", page.folder / "again.trace")
    first = await page.ask("/api/t/again.trace/rows?limit=5&offset=100")
    assert (first["total"], first["rows"][0]["index"]) == (total, 100)
    assert (await page.ask("/api/t/again.trace/position?index=77"))["offset"] == 77
    async with asyncio.timeout(HANG_S):
        while not (meta := await page.ask("/api/t/again.trace"))["index"]["done"]:
            await pause()
    assert meta["index"] == {"done": True, "share": 1.0}
    assert (await page.ask("/api/t/again.trace/rows?kind=reply&limit=500"))["rows"] == before["rows"]


async def test_what_is_named_is_found_before_the_index_is_there(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = (await page.ask(f"{ALLOWANCE}/rows?offset=100&limit=1"))["rows"][0]
    everywhere = await page.ask(f"{ALLOWANCE}/rows?q={wanted['id']}")
    monkeypatch.setattr("mesh.viewer.opened.AT_ONCE_MAX", 10)
    monkeypatch.setattr(Opened, "_read", _never)
    shutil.copy(page.folder / "child_allowance.trace", page.folder / "again.trace")
    found = await page.ask(f"/api/t/again.trace/rows?q={wanted['id'].upper()}")
    assert found["index"] == {"done": False, "share": 0.0}
    assert found["total"] == everywhere["total"] == len(found["rows"])
    assert [one["index"] for one in found["rows"]] == [one["index"] for one in everywhere["rows"]]
    assert (await page.ask(f"/api/t/again.trace/rows?q={wanted['id']}&offset=1"))["rows"] == found["rows"][1:]
    assert (await page.ask("/api/t/again.trace/message/100"))["row"]["id"] == wanted["id"]
    assert (await page.ask(f"/api/t/again.trace/rows?q={wanted['id'][:35]}"))["total"] == 0


async def test_what_the_index_has_is_not_found_twice(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.viewer.chunks.PIECE", 16)
    opened = await page.viewer.folder.opened("child_allowance.trace")
    wanted = (await page.ask(f"{ALLOWANCE}/rows?kind=request&limit=1"))["rows"][0]
    everywhere = await page.ask(f"{ALLOWANCE}/rows?q={wanted['id']}")
    totals = set()
    for end in range(10):
        opened.index = Index()
        for chunk in islice(chunks(opened.trace), end):
            opened.index.take(chunk)
        totals.add((await page.ask(f"{ALLOWANCE}/rows?q={wanted['id']}"))["total"])
    assert totals == {everywhere["total"]} == {2}


@pytest.mark.parametrize("name", RECORDED)
def test_exchanges_and_waiting_are_as_the_lines_say(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.viewer.chunks.PIECE", 16)
    index, exchanges = Index(), list[int]()
    asked, waited, answered = dict[str, Transmission](), dict[str | None, list[int]](), set[str]()
    with Trace.open(folder / f"{name}.trace") as trace:
        for chunk in chunks(trace):
            index.take(chunk)
        for sent in trace.transmissions():
            kind, digest = sent.message.kind, sent.message.digest.hex()
            about = (
                digest if kind in ASKS else (parts(sent.message.line)[1] or {}).get("requestdigest", digest)
            )
            request = asked.setdefault(about, sent)
            exchanges.append(request.number)
            # Who was refused still waits: they may try again.
            answers = kind in ("reply", "receipt") and request.message.kind in ASKS and about not in answered
            if (
                answers
                and sent.fate == "delivered"
                and sent.code is None
                and request.sender == sent.recipient
            ):
                answered.add(about)
                waited.setdefault(request.message.service, []).append(sent.arrived_us - request.sent_us)
    assert list(index.columns["exchange"]) == exchanges
    found: dict[str | None, list[int]] = {}
    for _, service, times, _, _ in index.summary["waits"]:
        found.setdefault(service, []).extend(array("q", times))
    assert {service: sorted(one) for service, one in found.items() if one} == {
        service: sorted(one) for service, one in waited.items()
    }


async def _never(_: Opened) -> None:
    await asyncio.Event().wait()


AT_ONCE = ("", "/rows", "/position?index=9", "/message/9", "/progress", "/commission")
"""What says something before the trace was read."""
NOT_BEFORE = (
    "/present", "/map", "/timeline", "/resident/r-000001", "/joins?first=muni/01208&second=muni/28100", "/outcome",
    "/rows?as=r-000001", "/position?index=0&as=r-000001", "/message/0?as=r-000001", "/map?as=r-000001",
)  # fmt: skip


@pytest.mark.parametrize("path", [*AT_ONCE, *NOT_BEFORE])
async def test_each_answer_says_how_much_was_read_and_nothing_before_it_is_known(
    page: Page, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.viewer.chunks.PIECE", 16)
    late = await page.ask(f"{ALLOWANCE}{path}")
    assert late["index"]["done"] or path == "/commission"
    opened = await page.viewer.folder.opened("child_allowance.trace")
    opened.index = Index()
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        for chunk in islice(chunks(trace), 1):
            opened.index.take(chunk)
    opened._perspectives.clear()
    early = await page.ask(f"{ALLOWANCE}{path}")
    assert set(early["index"]) == {"done", "share"}
    assert not early["index"]["done"]
    assert 0 <= early["index"]["share"] < 1
    assert (list(early) == ["index"]) == (path in NOT_BEFORE)


async def test_every_address_is_asked_before_the_trace_was_read() -> None:
    asked = {path.partition("?")[0].split("/")[1] if path else "" for path in (*AT_ONCE, *NOT_BEFORE)}
    assert asked == {one.partition("/{")[0].strip("/") for one in ANSWERS}


async def test_for_whom_a_page_is_not_is_said_before_the_trace_was_read(page: Page) -> None:
    opened = await page.viewer.folder.opened("child_allowance.trace")
    opened.index = Index()
    for path in PAGES_OF_SOME:
        answer = await page.ask(f"{ALLOWANCE}{path}{'&' if '?' in path else '?'}as=wire", 404)
        assert answer["why"] == path.split("/")[1].split("?")[0]


async def test_a_message_says_what_it_is_tied_to_once_that_is_known(page: Page) -> None:
    whole = await page.ask(f"{ALLOWANCE}/message/13")
    opened = await page.viewer.folder.opened("child_allowance.trace")
    opened.index = Index()
    early = await page.ask(f"{ALLOWANCE}/message/13")
    assert (early["attributes"], early["checks"]) == (whole["attributes"], whole["checks"])
    assert (early["exchange"], early["sight"], early["ledger"], early["digests"]) == ([], None, [], {})
    assert (early["previous"], early["next"]) == (12, 14)
    # Which is the nearest of an exchange is not known either, nor who has what beside it.
    assert list(await page.ask(f"{ALLOWANCE}/message/13?as=org/nenkin/records")) == ["index"]
    own = (await page.ask(f"{ALLOWANCE}/message/13?as={BROKER}"))["previous"]
    assert own is None


async def test_a_trace_that_grows_is_answered_from_while_it_is_read_again(
    page: Page, total: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, gate = page.folder / "child_allowance.trace", asyncio.Event()
    with sqlite3.connect(path) as db:
        last = db.execute("SELECT * FROM transmission WHERE number = ?", (total - 1,)).fetchone()
        db.execute("DELETE FROM transmission WHERE number = ?", (total - 1,))
        db.execute("UPDATE meta SET value = '0' WHERE key = 'complete'")
    before = await page.ask(f"{ALLOWANCE}/rows")
    assert before["total"] == total - 1

    async def received(file: Path, name: str) -> AsyncIterator[Chunk]:
        await gate.wait()
        with Trace.open(file, name) as trace:
            for chunk in chunks(trace):
                yield chunk

    monkeypatch.setattr("mesh.viewer.opened.AT_ONCE_MAX", 0)
    monkeypatch.setattr("mesh.viewer.opened.received", received)
    monkeypatch.setattr("mesh.viewer.opened.FRESH_S", 0)
    monkeypatch.setattr("mesh.viewer.opened.REST", 0)
    with sqlite3.connect(path) as db:
        db.execute(f"INSERT INTO transmission VALUES ({', '.join('?' * len(last))})", last)
        db.execute("UPDATE meta SET value = '1' WHERE key = 'complete'")
    db.close()
    assert await page.ask(f"{ALLOWANCE}/rows") == before
    stamp = (await page.ask(f"{ALLOWANCE}/progress"))["stamp"]
    gate.set()
    async with asyncio.timeout(HANG_S):
        while (await page.ask(f"{ALLOWANCE}/progress"))["stamp"] == stamp:
            await pause()
    assert (await page.ask(f"{ALLOWANCE}/rows"))["total"] == total
    assert (await page.ask(ALLOWANCE))["complete"]


async def test_lists_are_whole_before_the_ledgers_are_read(page: Page) -> None:
    opened = await page.viewer.folder.opened("child_allowance.trace")
    with Trace.open(page.folder / "child_allowance.trace") as trace:
        opened.index = Index()
        for chunk in chunks(trace):
            if chunk.ledger:
                break
            opened.index.take(chunk)
    rows = await page.ask(f"{ALLOWANCE}/rows?kind=reply")
    assert rows["index"] == {"done": True, "share": 1.0}
    assert (await page.ask(f"{ALLOWANCE}/position?index=9&kind=reply"))["index"]["done"]
    assert not (await page.ask(ALLOWANCE))["index"]["done"]
    of_resident = await page.ask(f"{ALLOWANCE}/rows?as=r-000001")
    assert of_resident["index"] == {"done": False, "share": round(opened.index.share, 3)}
    assert list(of_resident) == ["index"]


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("DELETE FROM message WHERE number = (SELECT message FROM transmission WHERE number = 50)", 50),
        ("UPDATE transmission SET permit = 'x' WHERE number = 50", 50),
        ("UPDATE transmission SET message = 0 WHERE number = 50", 50),
        ("UPDATE transmission SET message = 9999999999999 WHERE number = 50", 50),
        ("UPDATE message SET digest = 'x', line = 5, service = 7, id = x'ff0a', code = 1.5", None),
        ("UPDATE ledger SET row = 'x'", None),
        ("UPDATE ledger SET party = 'x'", None),
    ],
)
def test_the_index_holds_what_comes_before_damage(
    folder: Path, change: str, left: int | None, total: int
) -> None:
    path, left = folder / "child_allowance.trace", total if left is None else left
    with sqlite3.connect(path) as db:
        db.execute(change)
    db.close()
    index = Index()
    with Trace.open(path) as trace:
        for chunk in chunks(trace):
            index.take(chunk)
    assert list(index.columns["number"]) == list(range(left))
    assert (index.done, len(index.with_id("-"))) == (True, left)
    assert (index.note is not None) == (change != "UPDATE ledger SET row = 'x'")


async def test_a_damaged_trace_opens_as_far_as_it_can(page: Page) -> None:
    path = page.folder / "child_allowance.trace"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE transmission SET sent_us = 'noon' WHERE number = 50")
        db.execute("UPDATE meta SET value = '0' WHERE key = 'complete'")
    db.close()
    meta = await page.ask(ALLOWANCE)
    assert any("damaged" in one for one in meta["notes"])
    assert any("interrupted" in one for one in meta["notes"])
    rows = await page.ask(f"{ALLOWANCE}/rows?limit=500")
    assert [one["index"] for one in rows["rows"]] == list(range(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = await page.ask("/api/traces")
    assert any("truncated" in note for one in found["traces"] for note in one["notes"])


@pytest.mark.parametrize(
    "table", ["message", "resident", "registry_entry", "expectation", "sealing_key", "head"]
)
async def test_a_lost_page_takes_only_its_own_rows_along(page: Page, table: str, total: int) -> None:
    path = page.folder / "child_allowance.trace"
    with sqlite3.connect(path) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        (line,) = db.execute("SELECT line FROM message ORDER BY number DESC LIMIT 1").fetchone()
    db.close()
    data = bytearray(path.read_bytes())
    at = data.find(line[:200]) // 8192 * 8192 if table == "message" else (root - 1) * 8192
    data[at : at + 8192] = bytes(8192)
    path.write_bytes(data)
    for address in (*PAGES, "/message/0", "/message/20"):
        if "r-000001" not in address or table != "resident":
            await page.ask(f"{ALLOWANCE}{address}")
    left = (await page.ask(f"{ALLOWANCE}/rows"))["total"]
    assert 40 < left < total if table == "message" else left == total
    (note,) = (await page.ask(ALLOWANCE))["notes"]
    assert (f"until there {left} messages" if table == "message" else f"its table {table}") in note


PAGES = ("", "/rows?limit=500", "/map", "/timeline", "/outcome", "/resident/r-000001", "/joins?first=muni/01208&second=muni/28100",
         "/rows?as=wire&limit=500", "/rows?as=r-000001&limit=500", "/rows?as=gov/digital&q=script")  # fmt: skip


async def test_whatever_a_message_holds_is_data(page: Page, total: int) -> None:
    hostile = "<script>alert(1)</script>\u202e\u0000\n'\"${x}" + "w" * 300
    with sqlite3.connect(page.folder / "child_allowance.trace") as db:
        db.execute("UPDATE message SET id = ?, service = ? WHERE number % 7 = 1", (hostile, hostile))
        db.execute("UPDATE message SET kind = ?, code = ? WHERE number % 11 = 3", (hostile, hostile))
        db.execute(
            "UPDATE message SET line = ? WHERE number % 13 = 2", (b"\xff\x00<script>.\xed\xa0\x80.e30",)
        )
        db.execute(
            "UPDATE message SET line = ? WHERE number % 17 = 4",
            (b"e30.eyJzb3VyY2UiOlsxXSwiaXRlbXMiOnt9fQ.AA",),
        )
        db.execute("UPDATE transmission SET fate = ? WHERE number % 19 = 5", (hostile,))
        db.execute("UPDATE ledger SET row = ? WHERE number % 23 = 6", (b"[" * 100_000,))
        db.execute("UPDATE head SET token = x'ff'")
        db.execute("UPDATE registry_entry SET data = x'00' WHERE position % 2 = 1")
        db.execute(
            "UPDATE meta SET value = ? WHERE key IN ('law', 'outcome', 'story', 'title', 'starts')",
            (hostile,),
        )
        db.execute(
            "INSERT INTO expectation(text, text_ja, held, message) VALUES (?, ?, 1, ?)", (hostile,) * 3
        )
    db.close()
    for path in PAGES:
        await page.ask(f"{ALLOWANCE}{path}")
    for index in range(total):
        full = await page.ask(f"{ALLOWANCE}/message/{index}")
        assert full["row"]["index"] == index
    await wait_for(page, f"{ALLOWANCE}/commission")


@pytest.mark.parametrize(
    "path",
    ["outcome?as=muni/28100", "message/13", "joins?first=muni/01208&second=muni/28100", "commission",
     "resident/r-000001?as=r-000001", "timeline?bins=7", "rows?kind=refusal", ""],
)  # fmt: skip
async def test_the_command_prints_what_a_page_is_told(page: Page, path: str) -> None:
    shown = await (
        wait_for(page, f"{ALLOWANCE}/{path}")
        if path == "commission"
        else page.ask(f"{ALLOWANCE}/{path}".rstrip("/"))
    )
    said = await answer(page.folder / "child_allowance.trace", path, SCENARIOS)
    assert json.loads(json.dumps(said)) == shown


async def test_the_command_says_which_pages_there_are(page: Page) -> None:
    for path in ("nothing", "message", "outcome/1"):
        with pytest.raises(UsageError, match="there are rows, position"):
            await answer(page.folder / "child_allowance.trace", path, SCENARIOS)


async def test_every_address_is_documented_and_none_else(page: Page) -> None:
    text = (ROOT / "docs" / "VIEWER_API.md").read_text(encoding="utf-8")
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in page.viewer.app().router.routes()
        if route.resource is not None and route.method != "HEAD" and "/api/" in route.resource.canonical
    }
    assert set(re.findall(r"^\| `(\S+ \S+)` \|", text, re.MULTILINE)) == routes


# The command.


async def test_the_command_serves_and_ends_with_all_it_started(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "run_sim.py", "view", str(folder), "--json", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readuntil(b"}"))
    async with aiohttp.ClientSession() as session:
        own = {"Origin": said["address"].rstrip("/")}
        wanted = {"scenario": "nationwide_notice"}
        async with session.post(f"{said['address']}api/runs", json=wanted, headers=own) as answer:
            run = await answer.json()
        async with session.get(f"{said['address']}api/runs/{run['run']}/events") as answer:
            while b'"messages": 0' in (await answer.content.readuntil(b"\n\n")):
                continue
    process.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(process.wait(), HANG_S) == 0
    with Trace.open(folder / "nationwide_notice-1.trace") as trace:
        assert not trace.complete
        assert not trace.live


def test_only_the_viewer_imports_aiohttp() -> None:
    strangers = [
        path.relative_to(ROOT).as_posix()
        for package in ("mesh", "nodes", "scenarios")
        for path in (ROOT / package).rglob("*.py")
        if "aiohttp" in path.read_text(encoding="utf-8") and "mesh/viewer/" not in path.as_posix()
    ]
    assert strangers == []


# Runs.


async def test_a_run_is_started_watched_and_then_opened(page: Page) -> None:
    run = await page.ask(
        "/api/runs", method="POST", headers=page.own, json={"scenario": "birth", "seed": 4, "settings": {}}
    )
    assert run["trace"] == "birth-4.trace"
    async with page.session.get(f"{page.url}/api/runs/{run['run']}/events") as answer:
        assert answer.content_type == "text/event-stream"
        said = (await answer.text()).strip().split("\n\n")
    assert said[-1].startswith("event: done")
    assert '"held": true' in said[-1]
    assert (await page.ask("/api/t/birth-4.trace"))["seed"] == 4


async def test_a_run_with_faults_says_so_in_list_and_trace(page: Page) -> None:
    listed = (await page.ask("/api/scenarios"))["faults"]
    assert {"packet_loss", "city_offline"} <= {one["name"] for one in listed}
    wanted = {"scenario": "child_allowance", "seed": 1, "faults": "city_offline"}
    run = await page.ask("/api/runs", method="POST", headers=page.own, json=wanted)
    assert run["trace"] == "child_allowance-1-city_offline.trace"
    async with page.session.get(f"{page.url}/api/runs/{run['run']}/events") as answer:
        last = json.loads((await answer.text()).strip().split("\n\n")[-1].partition("data: ")[2])
    assert last["held"] is False
    assert last["broke_off"].startswith("Refused: recipient_unreachable")
    said = (await page.ask(f"/api/t/{run['trace']}"))["faults"]
    assert said["name"] == "city_offline"
    assert said["title_ja"].startswith("毎朝1時間のオフライン")
    assert re.search(r"\(lines lost or turned away: [1-9]\d*\)$", said["faults"][0]["text"])
    traces = {one["name"]: one["faults"] for one in (await page.ask("/api/traces"))["traces"]}
    assert traces[run["trace"]]["name"] == "city_offline"
    assert traces["child_allowance.trace"] is None
    rows = (await page.ask(f"/api/t/{run['trace']}/rows?code=recipient_unreachable"))["rows"]
    assert rows


async def test_runs_are_listed_with_how_far_they_are_and_what_came_of_them(page: Page) -> None:
    assert await page.ask("/api/runs") == {"runs": []}
    for wanted in ({"scenario": "birth", "seed": 4}, {"scenario": "nationwide_notice"}):
        await page.ask("/api/runs", method="POST", headers=page.own, json=wanted)
    async with asyncio.timeout(HANG_S):
        while not (last := (await page.ask("/api/runs"))["runs"])[1]["ended"]:
            await pause()
    birth, notice = last[1], last[0]
    assert (birth["run"], birth["trace"], birth["held"], birth["failed"]) == (
        "1",
        "birth-4.trace",
        True,
        None,
    )
    assert birth["messages"] == (await page.ask("/api/t/birth-4.trace"))["messages"]
    assert (notice["run"], notice["trace"]) == ("2", "nationwide_notice-1.trace")
    assert (notice["ended"], notice["held"]) == (False, None)
    assert notice["title_ja"] == SCENARIOS["nationwide_notice"].title_ja
    await page.ask("/api/runs/2", method="DELETE", headers=page.own)
    stopped = (await page.ask("/api/runs"))["runs"][0]
    assert (stopped["ended"], stopped["stopped"]) == (True, True)


async def test_a_run_is_stopped_and_none_outlives_the_server(page: Page) -> None:
    wanted = {"scenario": "nationwide_notice", "seed": 1}
    run = await page.ask("/api/runs", method="POST", headers=page.own, json=wanted)
    again = await page.ask("/api/runs", 400, method="POST", headers=page.own, json=wanted)
    assert "is being written" in again["error"]
    ended = await page.ask(f"/api/runs/{run['run']}", method="DELETE", headers=page.own)
    assert ended == {"run": run["run"], "ended": True}
    other = page.viewer.runs.get(
        (await page.ask("/api/runs", method="POST", headers=page.own, json=wanted))["run"]
    )
    await page.runner.cleanup()
    assert other.process.returncode is not None


BAD_RUNS = [
    {"scenario": "nobody"}, {"scenario": "../birth"}, {"scenario": "birth", "seed": "1"}, {"scenario": "birth", "seed": 2**63},
    {"scenario": "child_allowance", "settings": {"children": "many"}}, {"scenario": "child_allowance", "settings": {"x": 1}},
    {"scenario": "birth", "faults": "nothing"}, {"scenario": "birth", "faults": "../faults/packet_loss"},
    {"scenario": "birth", "faults": "scenarios/faults/packet_loss.toml"}, {"scenario": "birth", "faults": ["packet_loss"]},
    {"scenario": "child_allowance", "settings": {"rules": "1999-01"}}, {"scenario": "birth", "trace": "/tmp/x"}, [], 1, "birth",
]  # fmt: skip


@pytest.mark.parametrize("asked", BAD_RUNS, ids=str)
async def test_a_run_that_makes_no_sense_is_refused(page: Page, asked: Any) -> None:
    assert set(await page.ask("/api/runs", 400, method="POST", headers=page.own, json=asked)) == {"error"}


async def test_a_run_never_overwrites_what_is_no_trace(page: Page) -> None:
    work = page.folder / "birth-1.trace"
    work.write_text("my work")
    await page.ask("/api/runs", 400, method="POST", headers=page.own, json={"scenario": "birth"})
    assert work.read_text() == "my work"


async def test_a_run_never_writes_beside_a_run_of_a_terminal(page: Page) -> None:
    writer = TraceWriter(page.folder / "birth-1.trace", scenario="of a terminal")
    answer = await page.ask("/api/runs", 400, method="POST", headers=page.own, json={"scenario": "birth"})
    assert "is being written by a run" in answer["error"]
    writer.close()
    with Trace.open(page.folder / "birth-1.trace") as trace:
        assert trace.meta["scenario"] == "of a terminal"


async def test_a_long_body_is_refused(page: Page) -> None:
    await page.ask("/api/runs", 413, method="POST", headers=page.own, data=b"x" * 20_000)
    await page.ask("/api/runs", 400, method="POST", headers=page.own, data=b"[" * 10_000)
    await page.ask("/api/runs/77/events", 404)


# Whom it speaks to, and what it opens.


async def test_every_answer_carries_the_policy(page: Page) -> None:
    for path in ("/api/traces", "/api/nothing", "/nothing", f"{ALLOWANCE}/rows"):
        async with page.session.get(page.url + path) as answer:
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Server" not in answer.headers
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "localhost", ""]
)
async def test_another_host_is_refused(page: Page, host: str) -> None:
    answer = await page.ask("/api/traces", 403, headers={"Host": host})
    assert "answers to 127.0.0.1" in answer["error"]


async def test_localhost_is_the_same_server(page: Page) -> None:
    await page.ask("/api/traces", headers={"Host": f"localhost:{page.viewer.guard.port}"})


@pytest.mark.parametrize("method", ["POST", "DELETE"])
@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "https://127.0.0.1"])
async def test_another_origin_changes_nothing(page: Page, method: str, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    await page.ask("/api/runs", 403, method=method, headers=headers, json={"scenario": "child_allowance"})


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_refused(page: Page, method: str) -> None:
    async with page.session.request(method, page.url + "/api/traces") as answer:
        assert answer.status == 405


OUTSIDE = ["..%2Fsecret.trace", "%2E%2E%2Fsecret.trace", "sub%2Finner.trace", "%2Fetc%2Fpasswd", "link.trace", "..", ".", "%00",
           "a" * 300, "child_allowance.trace%00", "folder", "linked%2Fsecret.trace"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
async def test_no_path_outside_the_folder_is_opened(page: Page, name: str) -> None:
    secret = page.folder.parent / "secret.trace"
    shutil.copy(page.folder / "child_allowance.trace", secret)
    (page.folder / "folder").mkdir()
    (page.folder / "sub").mkdir()
    shutil.copy(secret, page.folder / "sub" / "inner.trace")
    (page.folder / "link.trace").symlink_to(secret)
    (page.folder / "linked").symlink_to(page.folder.parent)
    answer = await page.ask(f"/api/t/{name}/rows", 404)
    assert set(answer) == {"error"}
    names = {one["name"] for one in (await page.ask("/api/traces"))["traces"]}
    assert names == {f"{name}.trace" for name in RECORDED}


async def test_one_file_does_not_show_its_neighbours(page: Page) -> None:
    async for one in visit(page.folder, only="child_allowance.trace"):
        assert [each["name"] for each in (await one.ask("/api/traces"))["traces"]] == [
            "child_allowance.trace"
        ]
        await one.ask("/api/t/hostile_mesh.trace", 404)


@pytest.mark.parametrize(
    "path",
    ["/rows?offset=-1", "/rows?offset=x", "/rows?limit=1e9", "/rows?as=nobody", "/rows?person=r-999999", "/position",
     "/position?index=99999999999999999999", f"/rows?q={'a' * 201}", "/rows?as=everything%2Bwire"],
)  # fmt: skip
async def test_bad_questions_are_answered_in_one_line(page: Page, path: str) -> None:
    answer = await page.ask(f"{ALLOWANCE}{path}", 400)
    assert set(answer) == {"error"}


@pytest.mark.parametrize("index", ["99999", "-1", "x", "99999999999999", "٣", "1.0"])
async def test_a_message_that_is_not_there_is_not_found(page: Page, index: str) -> None:
    await page.ask(f"{ALLOWANCE}/message/{quote(index)}", 404)


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/static/../server.py", "/__init__.py"]
)
async def test_no_file_but_those_of_static_is_served(page: Page, path: str) -> None:
    await page.ask(path, 404)
