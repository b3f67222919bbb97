"""The viewer's server among files and clients that mean harm, or are just odd: it answers, in JSON, and goes on."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from mesh.trace.opening import Steps
from mesh.trace.reader import Trace
from mesh.viewer import connection, server
from mesh.viewer.opened import Opened
from tests.helpers_trace import edit, make_trace
from tests.helpers_waiting import HANG_S, pause, until
from tests.test_viewer_server import ROOT, Page, visit
from tests.unit.test_trace_opening import endless, killed

pytestmark = pytest.mark.real_loop
STORY = "/api/t/story.trace"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    # Not in the asynchronous fixture: a run has a loop of its own.
    shutil.copy(original, tmp_path)
    return tmp_path


@pytest.fixture
async def page(folder: Path) -> AsyncIterator[Page]:
    async for opened in visit(folder):
        yield opened


async def listed(page: Page) -> dict[str, Any]:
    return {one["name"]: one for one in (await page.ask("/api/traces"))["traces"]}


# The folder.


async def test_each_file_of_the_folder_is_listed_by_itself(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steps, "OPENING", 10 * Steps.UNIT)
    (page.folder / "me.trace").symlink_to("me.trace")
    os.mkfifo(page.folder / "pipe.trace")
    shutil.copy(page.folder / "story.trace", page.folder / ".hidden.trace")
    shutil.copy(page.folder / "story.trace", page.folder / "odd.trace")
    os.mkfifo(page.folder / "odd.trace-journal")
    endless(Path(shutil.copy(page.folder / "story.trace", page.folder / "loop.trace")), "party")
    found = await listed(page)
    assert set(found) == {"story.trace", "odd.trace", "loop.trace"}
    assert "no run leaves there" in found["odd.trace"]["notes"][0]
    assert "is damaged" in found["loop.trace"]["notes"][0]
    assert str(page.folder) not in json.dumps(found)
    for name in ("me.trace", "pipe.trace", ".hidden.trace"):
        await page.ask(f"/api/t/{name}", 404)

    def fail(*_: Any) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("mesh.viewer.folder.count", fail)
    (page.folder / "story.trace").touch()
    assert "damaged" in (await listed(page))["story.trace"]["notes"][0]


async def test_a_folder_that_is_gone_is_said_in_one_line(page: Page) -> None:
    shutil.rmtree(page.folder)
    assert "cannot be read" in (await page.ask("/api/traces", 400))["error"]


async def test_a_file_that_did_not_change_is_not_read_again(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await listed(page)
    monkeypatch.setattr(Trace, "open", None)
    assert await listed(page) == before


async def test_what_a_killed_run_left_is_copied_once_when_it_is_opened(
    page: Page, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path_factory.mktemp("copies")
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    monkeypatch.setattr("mesh.viewer.opened.AT_ONCE_MAX", -1)
    await asyncio.to_thread(killed, page.folder / "killed.trace")
    assert (await listed(page))["killed.trace"]["scenario"] == "killed"
    assert list(copies.iterdir()) == []
    async with asyncio.timeout(HANG_S):
        while not (await page.ask("/api/t/killed.trace"))["index"]["done"]:
            await pause()
        while not (await page.ask("/api/t/killed.trace/commission"))["done"]:
            await pause()
    assert len(list(copies.iterdir())) == 1
    await page.viewer.folder.close()
    assert list(copies.iterdir()) == []


async def test_a_trace_is_opened_once_however_many_ask(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Opened] = []
    closed: list[Opened] = []
    asked: list[str] = []
    start, close, opened = Opened.start, Opened.close, page.viewer.folder.opened

    async def asking(name: str) -> Opened:
        asked.append(name)
        return await opened(name)

    async def starting(self: Opened) -> None:
        made.append(self)
        await start(self)

    async def closing(self: Opened) -> None:
        closed.append(self)
        await until(lambda: len(asked) % 8 == 0)  # Everybody asks while it is still open.
        await close(self)

    monkeypatch.setattr(Opened, "start", starting)
    monkeypatch.setattr(Opened, "close", closing)
    monkeypatch.setattr(page.viewer.folder, "opened", asking)
    for _ in range(3):
        (page.folder / "story.trace").touch()
        await asyncio.gather(*(page.ask(f"{STORY}/rows") for _ in range(8)))
    assert (len(made), len(closed)) == (3, 2)


# What is in a file.

ADDRESSES = (
    "", "/rows", "/rows?q=tax", "/rows?code=no_legal_basis", "/rows?as=gov/digital/broker", "/rows?as=r-000001",
    "/rows?person=r-000001", "/position?index=3", "/message/0", "/message/7", "/message/7?as=muni/01208/tax", "/map",
    "/timeline", "/resident/r-000001", "/resident/r-000001?hidden=1",
    "/joins?first=gov/digital/broker&second=muni/28100/tax", "/outcome",
)  # fmt: skip
DEEP = b'{"zz":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DAMAGE: list[tuple[str, Any]] = [
    ("UPDATE message SET kind = ?", b"\xff\x00"),
    ("UPDATE message SET kind = ?", 5),
    ("UPDATE message SET service = ?", 5.5),
    ("UPDATE message SET code = ?", b"\xff"),
    ("UPDATE message SET id = ?", 7),
    ("UPDATE message SET line = ?", "text"),
    ("UPDATE message SET line = ? WHERE number = 5", 3),
    ("UPDATE message SET line = ?", b"e30." + b"W1tb" * 40_000 + b".AAAA"),
    ("UPDATE message SET digest = ?", 1),
    ("UPDATE transmission SET code = ?", 9),
    ("UPDATE transmission SET fate = ?", b"\xff\xfe"),
    ("UPDATE transmission SET sent_us = ?", 2**62),
    ("UPDATE transmission SET sender = ?", -(2**62)),
    ("UPDATE transmission SET message = ?", 2**62),
    ("UPDATE transmission SET permit = ?", -5),
    ("UPDATE party SET address = ? WHERE number = 2", "no address"),
    ("UPDATE party SET address = ? WHERE number = 2", b"\xff"),
    ("UPDATE ledger SET row = ?", "text"),
    ("UPDATE ledger SET row = ?", DEEP),
    ("UPDATE ledger SET party = ?", 2**62),
    ("UPDATE ledger SET position = ?", "x"),
    ("UPDATE head SET token = ?", 5),
    ("UPDATE head SET party = ?", "x"),
    ("UPDATE registry_entry SET data = ?", DEEP),
    ("UPDATE registry_entry SET data = ?", 5),
    ("UPDATE registry_head SET token = ?", "x"),
    ("UPDATE expectation SET held = ?", "x"),
    ("UPDATE resident SET code = ?", b"\xff"),
    ("UPDATE sealing_key SET key = ?", "short"),
    *(
        (f"UPDATE {table} SET value = ? WHERE key NOT IN ('format', 'complete', 'root')", value)
        for table in ("meta",)
        for value in ("5", "[1,{}]", '{"a":1}', '{"a":{"title":5}}', "null", DEEP.decode(), b"\xff")
    ),
]


async def test_whatever_stands_in_a_column_the_viewer_says_so_in_json(
    page: Page, original: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for sql, value in DAMAGE:
        shutil.copy(original, page.folder / "story.trace")
        edit(page.folder / "story.trace", sql, value)
        await page.ask("/api/traces")
        for path in ADDRESSES:
            async with page.session.get(f"{page.url}{STORY}{path}") as answer:
                said = await answer.json()
            assert answer.status in (200, 400, 404), (sql, value, path, said)
            assert str(page.folder) not in json.dumps(said)
        assert capfd.readouterr().err == "", (sql, value)


async def test_pages_that_lead_to_each_other_hold_nobody_up(
    page: Page, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("server", "opened"):
        monkeypatch.setattr(f"mesh.viewer.{place}.STEPS_MAX", 10 * Steps.UNIT)
    for table in ("transmission", "message", "ledger", "registry_entry", "expectation"):
        shutil.copy(original, page.folder / "story.trace")
        endless(page.folder / "story.trace", table)
        for path in ("", "/rows", "/message/3", "/outcome", "/resident/r-000001"):
            async with page.session.get(f"{page.url}{STORY}{path}") as answer:
                assert answer.status in (200, 400, 404), (table, path, await answer.text())


async def test_long_texts_of_a_large_answer_are_cut(page: Page) -> None:
    edit(page.folder / "story.trace", "UPDATE message SET id = ?", "A" * 1_000_000)
    async with page.session.get(f"{page.url}{STORY}/rows?limit=500") as answer:
        body = await answer.read()
    assert len(body) < server.ANSWER_MAX
    assert {len(row["id"]) for row in json.loads(body)["rows"] if row["id"]} == {server.TEXT_MAX}
    assert "A" * 1_000_000 in json.dumps(await page.ask(f"{STORY}/message/3"))


async def test_a_handle_with_a_slash_has_a_page(page: Page) -> None:
    edit(page.folder / "story.trace", "UPDATE resident SET handle = 'a/b ?#' WHERE handle = 'r-000001'")
    assert (await page.ask(f"{STORY}/resident/{quote('a/b ?#', safe='')}"))["person"] == "a/b ?#"


async def test_a_comparison_that_broke_off_can_be_asked_for_again(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ended() -> Any:
        async with asyncio.timeout(HANG_S):
            while not (said := await page.ask(f"{STORY}/commission"))["done"]:
                await pause()
            return said

    with monkeypatch.context() as patch:
        patch.setattr("mesh.viewer.review.child.output", lambda process: process.kill() or process.stdout)
        assert "ask again" in (await ended())["error"]
    said = await ended()
    assert "error" not in said


# Clients.


async def test_what_nobody_thought_of_is_one_line_of_json(
    page: Page, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a client's words\x1b[2J")

    monkeypatch.setattr("mesh.viewer.answers.timeline", fail)
    for _ in range(3):
        said = await page.ask(f"{STORY}/timeline", 500)
        assert "cannot be shown" in said["error"]
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("viewer: RuntimeError at ")
    assert "words" not in told


BODIES = [
    ({"Content-Type": "application/json; charset=klingon"}, b'{"scenario":"none"}', 400),
    ({"Content-Encoding": "gzip"}, b"no gzip at all", 400),
    ({"Content-Encoding": "deflate"}, b"\x00" * 50, 400),
    ({}, b"\xff\xfe\xfd", 400),
    ({}, b"[" * 16_000, 400),
    ({}, b"x" * 20_000, 413),
]


@pytest.mark.parametrize(("headers", "body", "status"), BODIES)
async def test_a_body_that_cannot_be_read_is_refused(
    page: Page, headers: dict[str, str], body: bytes, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "error" in await page.ask("/api/runs", status, "POST", data=body, headers=page.own | headers)
    assert capfd.readouterr().err == ""


async def raw(page: Page, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", page.viewer.guard.port)
    writer.write(data)
    try:
        async with asyncio.timeout(HANG_S):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


NO_REQUESTS = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"G\x1bT / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/7.7\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 9000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: PLACE\r\nConnection: close\r\nExpect: foo\r\n\r\n",
]


@pytest.mark.parametrize("number", range(len(NO_REQUESTS)))
async def test_what_is_no_request_gets_json_with_all_headers(
    page: Page, number: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"127.0.0.1:{page.viewer.guard.port}".encode()
    data = (
        NO_REQUESTS[number].replace(b"PLACE", place).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    )
    head, _, body = (await raw(page, data)).partition(b"\r\n\r\n")
    text = head.decode()
    for name in ("Content-Security-Policy", "X-Content-Type-Options: nosniff", "Cache-Control: no-store"):
        assert name in text
    assert "Server:" not in text
    assert "Traceback" not in body.decode()
    if "Content-Type: application/json" in text:
        assert list(json.loads(body)) == ["error"]
    assert "json" in text or b"<!doctype html>" in body.lower()
    assert capfd.readouterr().err == ""


async def test_who_asks_nothing_or_half_is_let_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.3)
    monkeypatch.setattr(server, "BODY_S", 0.3)
    async for page in visit(folder):
        for data in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: y"):
            assert await raw(page, data) == b""
        own = f"Host: 127.0.0.1:{page.viewer.guard.port}\r\nOrigin: {page.url}\r\n".encode()
        half = b"POST /api/runs HTTP/1.1\r\n" + own + b"Connection: close\r\nContent-Length: 9\r\n\r\n{"
        assert b" 408 " in await raw(page, half)


async def test_there_are_only_so_many_connections(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECTIONS_MAX", 3)
    server = page.runner.server
    assert server is not None
    held = [await asyncio.open_connection("127.0.0.1", page.viewer.guard.port) for _ in range(3)]
    await until(lambda: len(server.connections) == 3)
    assert await raw(page, b"GET / HTTP/1.1\r\n\r\n") == b""
    for _, writer in held:
        writer.close()
    await until(lambda: not server.connections)
    await page.ask("/api/traces")


async def test_event_streams_that_were_closed_leave_nothing_behind(page: Page) -> None:
    wanted = {"scenario": "nationwide_notice", "seed": 1}
    started = await page.ask("/api/runs", method="POST", headers=page.own, json=wanted)
    run, server = page.viewer.runs.get(started["run"]), page.runner.server
    assert server is not None
    # Stopped for a while it says nothing, so that no word to who left finds out that they did.
    run.process.send_signal(signal.SIGSTOP)
    place = f"127.0.0.1:{page.viewer.guard.port}"
    request = f"GET /api/runs/{run.id}/events HTTP/1.1\r\nHost: {place}\r\n\r\n".encode()
    await page.session.close()  # Its connection would stay for the next question.
    try:
        await until(lambda: not server.connections)
        before = held()
        for _ in range(2):
            streams = [await asyncio.open_connection("127.0.0.1", page.viewer.guard.port) for _ in range(200)]
            for _, writer in streams:
                writer.write(request)
            for reader, _ in streams:
                assert b"200 OK" in await reader.readuntil(b"event: ")
            assert len(server.connections) == 200
            for _, writer in streams:
                writer.close()
                await writer.wait_closed()
            del streams, reader, writer
            await until(lambda: not server.connections)
            # What ends a little later than its connection, on a busy machine, is waited for; what stays is never gone.
            await until(lambda: not (held() - before))
        async with aiohttp.ClientSession() as session, session.get(f"{page.url}/api/traces") as answer:
            assert answer.status == 200
    finally:
        run.process.send_signal(signal.SIGCONT)


def held() -> Counter[object]:
    """Tasks, answers that somebody still has, and what stands open by its name: a socket's is never given twice."""
    gc.collect()
    responses = [one for one in gc.get_objects() if issubclass(type(one), web.StreamResponse)]
    return Counter([*asyncio.all_tasks(), *responses, *opened_files()])


def opened_files() -> Iterator[str]:
    """What every open file of this process is."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # The one by which the folder was read.
            yield os.readlink(link)


# The end.


def alive(pid: int) -> bool:
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGKILL])
async def test_no_run_outlives_the_server(folder: Path, sent: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "run_sim.py", "view", str(folder), "--json", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = json.loads(await process.stdout.readuntil(b"}"))["address"]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    async with aiohttp.ClientSession() as session:
        own = {"Origin": address.rstrip("/")}
        async with session.post(f"{address}api/runs", json={"scenario": "nationwide_notice"}, headers=own):
            runs = [int(one) for one in children.read_text().split()]
    await until((folder / "nationwide_notice-1.trace").exists)
    assert runs
    process.send_signal(sent)
    await asyncio.wait_for(process.wait(), HANG_S)
    await until(lambda: not any(map(alive, runs)))
