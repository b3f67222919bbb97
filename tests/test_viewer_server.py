"""The viewer's server: what it says of a trace, to whom it speaks, and which files it opens."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from mesh.loading import scenarios_of
from mesh.trace.reader import Trace
from mesh.trace.show import Filter, rows
from mesh.viewer.folder import Folder
from mesh.viewer.guarding import POLICY
from mesh.viewer.server import Viewer
from mesh.viewer.serving import listen
from tests.conftest import Shipped

pytestmark = pytest.mark.real_loop
SCENARIOS = scenarios_of("scenarios")


class Page:
    """What a browser would do: asks one server, with the headers of its own page."""

    def __init__(self, session: aiohttp.ClientSession, viewer: Viewer, folder: Path) -> None:
        self.session = session
        self.viewer = viewer
        self.folder = folder
        self.url = f"http://127.0.0.1:{viewer.guard.port}"

    async def ask(self, path: str, status: int = 200, method: str = "GET", **extra: Any) -> Any:
        """The JSON of an address, exactly as it is spelt."""
        from yarl import URL

        async with self.session.request(method, URL(self.url + path, encoded=True), **extra) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()


@pytest.fixture
def folder(shipped: Callable[[str], Shipped], tmp_path: Path) -> Path:
    # Not in the asynchronous fixture: a run has a loop of its own.
    for name in ("child_allowance", "hostile_mesh"):
        shutil.copy(shipped(name).trace, tmp_path / f"{name}.trace")
    return tmp_path


@pytest.fixture
async def page(folder: Path) -> AsyncIterator[Page]:
    async for opened in visit(folder):
        yield opened


async def visit(folder: Path, only: str | None = None) -> AsyncIterator[Page]:
    viewer = Viewer(Folder(folder, only, SCENARIOS), SCENARIOS)
    runner = web.AppRunner(viewer.app(), access_log=None)
    await runner.setup()
    await listen(viewer, runner, 0)
    async with aiohttp.ClientSession() as session:
        yield Page(session, viewer, folder)
    await runner.cleanup()


ALLOWANCE = "/api/t/child_allowance.trace"


async def test_the_folder_is_listed_with_titles_and_counts(page: Page) -> None:
    (page.folder / "notes.txt").write_text("no trace")
    (page.folder / "broken.trace").write_bytes(b"SQLite format 3\x00")
    traces = {one["name"]: one for one in (await page.ask("/api/traces"))["traces"]}
    assert set(traces) == {"child_allowance.trace", "hostile_mesh.trace", "broken.trace"}
    allowance = traces["child_allowance.trace"]
    assert (allowance["scenario"], allowance["seed"], allowance["complete"]) == ("child_allowance", 1, True)
    assert allowance["title_ja"] == SCENARIOS["child_allowance"].title_ja
    assert "no trace" in traces["broken.trace"]["notes"][0]


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
        subprocess.run, ["bash", "-c", line], capture_output=True, timeout=20, check=False
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
    assert names == {"child_allowance.trace", "hostile_mesh.trace"}


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


@pytest.mark.parametrize("index", ["128", "-1", "x", "99999999999999", "٣", "1.0"])
async def test_a_message_that_is_not_there_is_not_found(page: Page, index: str) -> None:
    from urllib.parse import quote

    await page.ask(f"{ALLOWANCE}/message/{quote(index)}", 404)


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/static/../server.py", "/__init__.py"]
)
async def test_no_file_but_those_of_static_is_served(page: Page, path: str) -> None:
    await page.ask(path, 404)
