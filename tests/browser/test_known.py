"""Nothing is said before it is known: every page while the server still reads the trace, and while the run goes on."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from mesh.loading import scenarios_of
from mesh.trace.reader import Trace
from mesh.viewer.chunks import Chunk
from mesh.viewer.connection import Runner
from mesh.viewer.folder import Folder
from mesh.viewer.indexing import chunks
from mesh.viewer.server import Viewer
from mesh.viewer.serving import listen
from tests.browser.conftest import new_tab, serving
from tests.helpers_waiting import HANG_S

TRACE = "/t/child_allowance.trace"
PIECE = 16
"""Rows read at a time: then a hundred messages take as long as thirty thousand would."""
LISTS = (
    "sequence",
    "sequence?as=muni/28100/tax",
    "sequence?code=no_legal_basis",
    "sequence?at=100&kind=reply",
)
MESSAGE_PAGES = ("message/ASKED", "message/5?as=gov/digital/broker")
WAITING = (
    "sequence?as=r-000001", "map", "map?as=r-000001", "collusion?first=muni/01208&second=muni/28100",
    "resident/r-000001", "resident/r-000001?as=r-000001", "outcome", "outcome?as=muni/28100", "message/0?as=r-000001",
)  # fmt: skip


class Reading:
    """Lets a server read its trace, chunk by chunk."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._allowed = asyncio.Semaphore(0)
        self._stopped = asyncio.Event()
        self._address = ""
        self._ready = threading.Event()

    async def received(self, file: Path, name: str) -> AsyncIterator[Chunk]:
        """What `mesh.viewer.receiving` gives, when it is let."""
        with Trace.open(file, name, lenient=True) as trace:
            for chunk in chunks(trace):
                await self._allowed.acquire()
                yield chunk

    def let(self, count: int) -> None:
        """Read so many chunks more."""
        for _ in range(count):
            self._loop.call_soon_threadsafe(self._allowed.release)

    @contextmanager
    def serving(self, folder: Path) -> Iterator[str]:
        """The address of a viewer in a thread of its own: Playwright's loop runs in this one."""
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(folder),))
        thread.start()
        try:
            assert self._ready.wait(HANG_S)
            yield self._address
        finally:
            self.let(1000)
            self._loop.call_soon_threadsafe(self._stopped.set)
            thread.join()
            self._loop.close()

    async def _serve(self, folder: Path) -> None:
        scenarios = scenarios_of("scenarios")
        viewer = Viewer(Folder(folder, None, scenarios), scenarios)
        runner = Runner(viewer.app())
        await runner.setup()
        self._address = f"http://127.0.0.1:{await listen(viewer, runner, 0)}/"
        self._ready.set()
        await self._stopped.wait()
        await runner.cleanup()


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    found = Reading()
    monkeypatch.setattr("mesh.viewer.opened.AT_ONCE_MAX", 0)
    monkeypatch.setattr("mesh.viewer.opened.received", found.received)
    monkeypatch.setattr("mesh.viewer.chunks.PIECE", PIECE)
    return found


def text(page: Page) -> str:
    """What the page says, once it says all."""
    page.wait_for_selector("#main:not([aria-busy])")
    expect(page.locator("#main [aria-busy]")).to_have_count(0)
    expect(page.locator(".reading:visible")).to_have_count(0)
    expect(page.locator(".row.blank:visible")).to_have_count(0)
    return page.locator("#main").inner_text()


def share(page: Page) -> int:
    return int(page.locator(".reading output").first.inner_text().rstrip("%"))


def test_pages_opened_while_a_trace_is_read_say_its_share_and_then_the_same_as_later(
    browser: Browser, folder: Path, reading: Reading
) -> None:
    with Trace.open(folder / "child_allowance.trace") as trace:
        lists = -(-trace.count("transmission") // PIECE)
        # Of whom a filter finds the server does not know yet.
        asked = next(sent.number for sent in trace.transmissions() if sent.recipient == "muni/28100/tax")
    with reading.serving(folder) as address, ExitStack() as stack:
        pages = {
            name: stack.enter_context(new_tab(browser, address)).open(
                f"{TRACE}/{name}".replace("ASKED", str(asked))
            )
            for name in (*LISTS, *MESSAGE_PAGES, *WAITING)
        }
        for so_far in ("nothing", "some messages", "all messages", "some ledgers"):
            reading.let(
                {"nothing": 0, "some messages": 3, "all messages": lists - 2, "some ledgers": 2}[so_far]
            )
            shares = {share(pages[name]) for name in WAITING if "map" not in name}
            assert max(shares) < 100
            for name in WAITING:
                if name.startswith("sequence"):
                    expect(pages[name].locator(".count")).to_have_text("")
                    assert pages[name].locator(".pane").get_attribute("data-empty") is None
                elif name != "map" or so_far in ("nothing", "some messages"):
                    said = pages[name].locator("#main .page").inner_text()
                    assert re.fullmatch(
                        r"[^\d\n]+(#0)?\n+The server is still reading the trace: \d+%", said
                    ), said
            for name in MESSAGE_PAGES:
                said = pages[name].locator("#main").inner_text()
                assert "Attributes" in said
                assert "The exchange" not in said
                assert "stands alone" not in said
                assert "In the ledgers" not in said
            if so_far in ("nothing", "some messages"):
                for name in LISTS:
                    expect(pages[name].locator(".count")).to_have_text("")
                    expect(pages[name].locator(".reading")).to_be_visible()
                    assert pages[name].locator(".pane").get_attribute("data-empty") is None
        reading.let(1000)
        early = {name: text(page) for name, page in pages.items()}
        for name, page in pages.items():
            page.reload()
            assert early[name] == text(page), name
        assert re.search(r"^1\d\d messages$", early["sequence"], re.MULTILINE)
        assert re.search(r"^[1-9]\d* entries$", early["resident/r-000001"], re.MULTILINE)


WRITTEN = {
    "transmission": "number",
    "ledger": "number",
    "expectation": "number",
    "epilogue": "key",
    "head": "number",
}
"""What a run goes on to write, and in which order."""


class Growing:
    """A trace that is written as a run writes it: committed in parts, with a transaction under way between them."""

    def __init__(self, whole: Path, path: Path, messages: int) -> None:
        shutil.copy(whole, path)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._rest = {}
        for table, order in WRITTEN.items():
            keep = f"number >= {messages}" if table == "transmission" else "1"
            self._rest[table] = self._db.execute(
                f"SELECT * FROM {table} WHERE {keep} ORDER BY {order}"
            ).fetchall()
            self._db.execute(f"DELETE FROM {table} WHERE {keep}")
        self._db.execute("UPDATE meta SET value = '0' WHERE key = 'complete'")
        self._begin()

    def _begin(self) -> None:
        self._db.execute("BEGIN")
        self._db.execute("INSERT INTO meta VALUES ('under way', '1')")

    def write(self, messages: int) -> None:
        """Commit so many messages more."""
        self._db.execute("DELETE FROM meta WHERE key = 'under way'")
        rows, self._rest["transmission"] = (
            self._rest["transmission"][:messages],
            self._rest["transmission"][messages:],
        )
        self._insert("transmission", rows)
        self._db.execute("COMMIT")
        self._begin()

    def end(self) -> None:
        """Commit the rest, and what is said at the end."""
        self._db.execute("DELETE FROM meta WHERE key = 'under way'")
        for table, rows in self._rest.items():
            self._insert(table, rows)
        self._db.execute("UPDATE meta SET value = '1' WHERE key = 'complete'")
        self._db.execute("COMMIT")
        self._db.close()

    def _insert(self, table: str, rows: list[tuple[object, ...]]) -> None:
        for row in rows:
            self._db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def test_pages_of_a_run_that_goes_on_grow_by_themselves(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    with Trace.open(folder / "child_allowance.trace") as trace:
        kinds = [sent.message.kind for sent in trace.transmissions()]
    found = {end: f"{kinds[:end].count('reply')} found" for end in (60, 100, len(kinds))}
    growing = Growing(folder / "child_allowance.trace", tmp_path / "growing.trace", 60)
    names = ("sequence", "map", "resident/r-000001", "outcome", "commission", "message/ASKED")
    with serving(tmp_path) as address, ExitStack() as stack:
        pages = {
            name: stack.enter_context(new_tab(browser, address)).open(f"/t/growing.trace/{name}")
            for name in names
        }
        expect(pages["sequence"].locator(".count")).to_have_text("60 messages")
        pages["sequence"].select_option("[name=kind]", "reply")
        expect(pages["sequence"].locator(".count")).to_have_text(found[60])
        for page in pages.values():
            expect(page.locator("#main > .notes")).to_contain_text("still being written")
        growing.write(40)
        expect(pages["sequence"].locator(".count")).to_have_text(found[100])
        expect(pages["map"].locator(".stand")).to_contain_text("100 messages")
        growing.end()
        expect(pages["sequence"].locator(".count")).to_have_text(found[len(kinds)])
        pages["sequence"].select_option("[name=kind]", "")
        expect(pages["sequence"].locator(".count")).to_have_text(f"{len(kinds)} messages")
        for name, page in pages.items():
            expect(page.locator("#main > .notes")).to_have_count(0)
            if name == "commission":
                expect(page.locator(".commission > .notes")).to_have_count(0)
                expect(page.locator(".seal-of.sound")).to_be_visible()
            early = text(page)
            page.reload()
            assert early == text(page), name


def test_a_run_of_a_terminal_is_seen_until_it_ends(browser: Browser, folder: Path, tmp_path: Path) -> None:
    growing = Growing(folder / "child_allowance.trace", tmp_path / "growing.trace", 60)
    with serving(tmp_path) as address, new_tab(browser, address) as tab:
        page = tab.open("/")
        card = page.locator(".undercard")
        expect(card).to_contain_text("60 messages")
        expect(card).to_contain_text("growing.trace")
        expect(card).to_contain_text("Started elsewhere")
        expect(card.get_by_role("button")).to_have_count(0)
        growing.write(40)
        expect(card).to_contain_text("100 messages")
        assert "not ended" in page.locator(".tracelist").inner_text()
        growing.end()
        expect(card).to_have_count(0)
        expect(page.locator(".underway")).to_be_hidden()
        expect(page.locator(".tracelist")).to_contain_text(re.compile(r"1[1-9]\d messages"))
        assert "not ended" not in page.locator(".tracelist").inner_text()
