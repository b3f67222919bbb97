"""Makes the pictures of the README: `uv run python -m tests.browser.screenshots` writes docs/screenshots/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import ARGUMENTS, ROOT, chromium, new_tab, record, serving

FOLDER: Final = ROOT / "docs" / "screenshots"
SIZE: Final = {"width": 1440, "height": 900}
ALLOWANCE, MOVING, APP = ("/t/child_allowance.trace", "/t/moving.trace", "/t/private_app.trace")
PICTURES: Final = {
    "sequence": ("en-GB", "light", f"{ALLOWANCE}/sequence?at=REFUSED"),
    "message": ("en-GB", "light", f"{ALLOWANCE}/message/ASKED"),
    "perspective": ("ja-JP", "dark", f"{ALLOWANCE}/sequence?as=gov/digital/broker&at=ASKED"),
    "map": ("en-GB", "dark", f"{MOVING}/map"),
    "resident": ("ja-JP", "light", f"{APP}/resident/r-000001"),
    "commission": ("en-GB", "light", "/t/access_history.trace/commission"),
    "outcome": ("ja-JP", "light", f"{MOVING}/outcome"),
}
"""Name → language, colours and page."""


def main() -> int:
    """Record the runs, look at each page, and keep what is seen."""
    path = chromium()
    if path is None:
        print("no Chromium is installed", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        record(folder := Path(made), "child_allowance", "moving", "private_app")
        record(folder, "access_history", settings=("false_books=true",))
        with serving(folder) as address:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
            for name, (locale, colours, page) in PICTURES.items():
                with new_tab(browser, address, locale=locale, color_scheme=colours, viewport=SIZE) as tab:
                    tab.open(page)
                    tab.page.wait_for_load_state("networkidle")
                    expect(tab.page.locator(".reading:visible")).to_have_count(0)
                    tab.page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
                print(FOLDER / f"{name}.png")
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
