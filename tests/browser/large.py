"""Measures the page itself on a large trace: `uv run python -m tests.browser.large traces/million.trace` prints JSON.

Seconds until the first rows are seen, from opening the address, and the memory of the page's scripts before and after
scrolling from end to end.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.conftest import ARGUMENTS, chromium, serving

PLACES: Final = 200
TIMES: Final = 5


def main(trace: Path) -> int:
    """Open the trace's sequence, scroll through it, and print what was measured."""
    path = chromium()
    if path is None:
        print("no Chromium is installed", file=sys.stderr)
        return 1
    with serving(trace) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        firsts = []
        for _ in range(TIMES):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            start_s = time.perf_counter()
            page.goto(f"{address}#/t/{quote(trace.name)}/sequence")
            page.locator(".row:not([hidden]):not(.blank) .c-number").first.wait_for(timeout=60_000)
            firsts.append(time.perf_counter() - start_s)
        heaps = _scroll(page, page.context.new_cdp_session(page))
        browser.close()
    found = {
        "first_rows_s": {"first": round(firsts[0], 2), "median": round(sorted(firsts)[TIMES // 2], 2)},
        "heap_mib": [round(one, 1) for one in heaps],
        "places": PLACES,
    }
    print(json.dumps(found, indent=2))
    return 0


def _scroll(page: Page, session: CDPSession) -> list[float]:
    """MiB that the scripts hold at the start, after half, and after all of the way."""
    found = [_heap_mib(session)]
    for place in range(1, PLACES + 1):
        page.evaluate(
            "part => { const e = document.querySelector('.scroller'); e.scrollTop = e.scrollHeight * part; }",
            place / PLACES,
        )
        page.wait_for_timeout(60)
        if place in (PLACES // 2, PLACES):
            found.append(_heap_mib(session))
    return found


def _heap_mib(session: CDPSession) -> float:
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 2**20


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
