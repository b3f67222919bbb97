"""A viewer over real traces, and Chromium that looks at it.

Without Chromium the tests are skipped, and say so; where `CI` or `MESHSIM_REQUIRE_BROWSER` is set, that fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent.parent
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The shell is Chromium without windows of its own: it lays out and draws alike, and opens a page in half the time."""


def chromium() -> str | None:
    """Where the system's Chromium is."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


def required() -> bool:
    """Whether a missing browser is a failure."""
    return any(os.environ.get(name, "") not in ("", "0") for name in ("CI", "MESHSIM_REQUIRE_BROWSER"))


def record(folder: Path, *scenarios: str, settings: tuple[str, ...] = ()) -> None:
    """Run scenarios, with their traces in the folder."""
    given = [part for one in settings for part in ("--set", one)]
    for name in scenarios:
        command = [
            sys.executable,
            str(ROOT / "run_sim.py"),
            "run",
            name,
            "--trace",
            f"{folder / name}.trace",
            *given,
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def made(make: Callable[[Path], object], path: Path) -> None:
    """Make a trace in a thread of its own: Playwright's loop runs in this one."""
    with ThreadPoolExecutor(1) as apart:
        apart.submit(make, path).result()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a viewer over the folder, as long as it runs."""
    command = [sys.executable, str(ROOT / "run_sim.py"), "view", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()
            process.wait(HANG_S)


expect.set_options(timeout=HANG_S * 1000)
"""A machine that others keep busy answers late; a test that fails waits so long, and no other."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of traces of real runs."""
    made = tmp_path_factory.mktemp("traces")
    record(made, "child_allowance")
    return made


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """The viewer's."""
    with serving(folder) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file.

    Playwright keeps an event loop running for as long as it is open, and other files' tests need loops of their own.
    """
    path = chromium()
    if path is None:
        if required():
            pytest.fail(
                "no Chromium is installed, and CI or MESHSIM_REQUIRE_BROWSER says that there must be one"
            )
        pytest.skip("NO BROWSER: the viewer's pages were not tested; install Chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield launched
        launched.close()


NAMED = {"ASKED": "as=muni/28100/tax&kind=request", "REFUSED": "code=item_not_permitted"}
"""Messages that tests look at: what the broker passed on to Kobe's tax office first, and what it refused."""


class Tab:
    """A page of the viewer that reports whatever it complains about."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._console)
        page.on("dialog", lambda dialog: (self.complaints.append("a dialog opened"), dialog.dismiss()))

    def _console(self, message: Any) -> None:
        # An answer of 400 or 404 is told as an error by the browser; the page shows its text.
        if message.type == "error" and "status of 4" not in message.text:
            self.complaints.append(message.text)

    def open(self, path: str = "/") -> Page:
        """Go to a page by its hash, in which a name of `NAMED` is that message's number, and wait until it stands."""
        for name in NAMED:
            if name in path:
                path = path.replace(name, str(self.number(path, name)))
        self.page.goto(f"{self.address}#{path}")
        self.ready()
        return self.page

    def number(self, path: str, name: str) -> int:
        """The number of a message of `NAMED` in the trace of a path."""
        trace = "/".join(path.split("/")[:3])
        rows = self.page.request.get(f"{self.address}api{trace}/rows?{NAMED[name]}&limit=1").json()["rows"]
        return int(rows[0]["index"])

    def messages(self, trace: str) -> int:
        """How many messages there are to see of `/t/NAME`."""
        found = self.page.request.get(f"{self.address}api{trace}").json()["messages"]
        assert found > 100
        return int(found)

    def ready(self) -> None:
        """Wait until the page that was asked for stands."""
        self.page.wait_for_selector("#bar nav, #bar .tools")
        self.page.wait_for_selector("#main:not([aria-busy])")
        self.page.wait_for_selector("#main > *", state="attached")


@contextmanager
def new_tab(browser: Browser, address: str, **settings: Any) -> Iterator[Tab]:
    """A tab in a context of its own, English unless told; it is an error if the page complained."""
    given = {"locale": "en-GB", "viewport": {"width": 1440, "height": 900}} | settings
    with browser.new_context(**given) as context:
        context.set_default_timeout(HANG_S * 1000)
        tab = Tab(context.new_page(), address)
        yield tab
    assert tab.complaints == []


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Tab]:
    """A fresh tab; the test fails if the page complained."""
    with new_tab(browser, address) as made:
        yield made


@pytest.fixture
def japanese(browser: Browser, address: str) -> Iterator[Tab]:
    """A fresh tab of a browser that asks for Japanese."""
    with new_tab(browser, address, locale="ja-JP", color_scheme="dark") as made:
        yield made
