"""Measures the viewer on a large trace, over HTTP as a page asks it, and makes such a trace."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from mesh.bench import World
from mesh.cli.app import Places
from mesh.errors import UsageError
from mesh.names import member_of
from mesh.runner import calm_collector

TRANSMISSIONS: Final = 4
"""Of one exchange."""
NODES: Final = 200
SLICE: Final = 500
TIMES: Final = 20
"""Questions of each kind."""
SHOWS: Final = 5
WAIT_S: Final = 1800.0

Progress = Callable[[str, int, int], None]


def make_trace(path: Path, messages: int, progress: Progress) -> None:
    """Record so many transmissions of real exchanges between `NODES` nodes."""
    with calm_collector():
        world = World(path.stem, NODES, path.parent)
        for member in dict.fromkeys(map(member_of, world.sim.addresses())):
            for handle in world.persons:
                world.sim.code(member, handle)  # So that the trace says whom a code means.
        for done in range(0, messages // TRANSMISSIONS, SLICE):
            progress(f"making {messages:,} messages", done * TRANSMISSIONS, messages)
            world.run(min(SLICE, messages // TRANSMISSIONS - done))
        world.close()
    made = path.with_name(f"{path.stem}.trace")
    if made != path:
        made.rename(path)


def measure(path: Path, places: Places, progress: Progress) -> dict[str, Any]:
    """Start the viewer on a trace, ask it, and return the figures as `bench --json` prints them."""
    figures: dict[str, Any] = {}
    with _server(path, places) as (port, process, began_s):
        figures["start_s"] = _figure([time.monotonic() - began_s], "s")
        asking = _Asking(port, path.name)
        figures["first_paint_ms"] = _figure([asking.time(asking.paint)], "ms")
        progress("while the trace is read", 0, len(_QUESTIONS) + 1)
        figures["page_while_reading_ms"] = _figure(asking.times(_pages), "ms")
        figures["filter_while_reading_ms"] = _figure(asking.times(_filters), "ms")
        figures["listing_s"] = _figure([asking.wait(began_s, "/rows", kind="reply", limit=1)], "s")
        figures["reading_s"] = _figure([asking.wait(began_s)], "s")
        for done, (name, questions) in enumerate(_QUESTIONS.items(), 1):
            progress(f"measuring {name}", done, len(_QUESTIONS) + 1)
            figures[f"{name}_ms"] = _figure(asking.times(questions), "ms")
        figures["memory_mib"] = _figure([_memory_mib(process.pid)], "MiB")
        messages = asking.meta["messages"]
    progress("measuring trace show", len(_QUESTIONS), len(_QUESTIONS) + 1)
    figures["show_ms"] = _figure([_show_ms(path, places) for _ in range(SHOWS)], "ms")
    return {"figures": figures, "counts": {"messages": messages}}


def _start(places: Places, *words: str) -> subprocess.Popen[str]:
    """The command line with these words, in a process of its own."""
    code = f"from mesh.cli import main; main(nodes={places.nodes!r}, scenarios={places.scenarios!r})"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", code, *words],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def _show_ms(path: Path, places: Places) -> float:
    """The milliseconds from starting `trace show` to its first line."""
    began_s = time.monotonic()
    with _start(places, "trace", "show", str(path)) as process:
        line = "" if process.stdout is None else process.stdout.readline()
        took_s = time.monotonic() - began_s
        process.kill()
    if not line:
        raise UsageError(f"`trace show {path}` prints nothing; see what it says")
    return took_s * 1000


@contextmanager
def _server(path: Path, places: Places) -> Iterator[tuple[int, subprocess.Popen[str], float]]:
    began_s = time.monotonic()
    process = _start(places, "view", str(path), "--json")
    try:
        text = ""
        for line in process.stdout or ():
            text += line
            if line.startswith("}"):
                break
        if not text:
            raise UsageError(f"the viewer does not start on {path}; see what `view {path}` says")
        yield urlsplit(json.loads(text)["address"]).port or 0, process, began_s
    finally:
        process.terminate()
        process.wait()


class _Asking:
    """One page's questions."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._trace = f"/api/t/{quote(name)}"
        self.random = Random(1)  # noqa: S311
        self.meta: dict[str, Any] = {}

    def get(self, path: str) -> bytes:
        """The bytes of an address."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise UsageError(f"the viewer answers {answer.status} to {path}: {body.decode()[:200]}")
        return body

    def ask(self, path: str, **query: Any) -> Any:
        """The JSON of the trace's address."""
        return json.loads(self.get(f"{self._trace}{path}?{urlencode(query)}"))

    def paint(self) -> None:
        """What the page asks for before anything is seen: the list, the trace, the first rows."""
        self.get("/api/traces")
        self.meta = self.ask("")
        self.ask("/rows", limit=100)

    def wait(self, began_s: float, path: str = "", **query: Any) -> float:
        """Until an answer covers the whole trace; the seconds since the start."""
        while not (answer := self.ask(path, **query))["index"]["done"]:
            if time.monotonic() - began_s > WAIT_S:
                raise UsageError("the viewer does not get through the trace")
            time.sleep(0.1)
        if not path:
            self.meta = answer
        return time.monotonic() - began_s

    def times(self, questions: Callable[[_Asking], Iterator[Callable[[], Any]]]) -> list[float]:
        """The milliseconds of each question, with reading its answer."""
        return [self.time(question) for question in questions(self)]

    @staticmethod
    def time(question: Callable[[], Any]) -> float:
        """The milliseconds of one question."""
        start_s = time.perf_counter()
        question()
        return (time.perf_counter() - start_s) * 1000

    def number(self) -> int:
        """Any transmission."""
        return self.random.randrange(self.meta["messages"])

    def party(self) -> str:
        """Any party's address."""
        found: str = self.random.choice(self.meta["parties"])["address"]
        return found


def _pages(asking: _Asking) -> Iterator[Callable[[], Any]]:
    for _ in range(TIMES):
        offset = asking.number()
        yield partial(asking.ask, "/rows", offset=offset, limit=100)


def _filters(asking: _Asking) -> Iterator[Callable[[], Any]]:
    """Each is new to the server, and asks for a page in the middle of what it lets pass."""
    kinds = asking.random.sample(["request", "reply", "refusal", "event", "notice", "receipt"], 6)
    for number in range(TIMES):
        query = [
            {"kind": kinds[number % 6], "node": asking.party()},
            {"node": asking.party()},
            {"person": asking.random.choice(asking.meta["residents"] or [""])},
            {"kind": kinds[number % 6], "q": ".v1"},
        ][number % 4]
        yield partial(asking.ask, "/rows", offset=1000, limit=100, **query)


def _perspectives(asking: _Asking) -> Iterator[Callable[[], Any]]:
    for _ in range(TIMES):
        name = asking.party()
        yield partial(asking.ask, "/rows", offset=1000, limit=100, **{"as": name})


def _jumps(asking: _Asking) -> Iterator[Callable[[], Any]]:
    for number in range(TIMES):
        query = {
            "index": asking.number(),
            "kind": "reply" if number % 2 else "request",
            "node": asking.party(),
        }
        yield partial(asking.ask, "/position", **query)


def _searches(asking: _Asking) -> Iterator[Callable[[], Any]]:
    for number in range(TIMES):
        row = asking.ask("/rows", offset=asking.number(), limit=1)["rows"][0]
        # Whole ids, which few messages have, and their first characters, which most have.
        text = row["id"] if number % 2 else row["id"][: 1 + number // 2]
        yield partial(asking.ask, "/rows", q=text, limit=100)


def _messages(asking: _Asking) -> Iterator[Callable[[], Any]]:
    for _ in range(TIMES):
        index = asking.number()
        yield partial(asking.ask, f"/message/{index}")


def _maps(asking: _Asking) -> Iterator[Callable[[], Any]]:
    end_us = asking.ask("/timeline", bins=1)["to_us"]
    for number in range(TIMES):
        from_us = end_us * number // TIMES
        yield partial(asking.ask, "/map", from_us=from_us, to_us=from_us + end_us // TIMES)


def _whole_maps(asking: _Asking) -> Iterator[Callable[[], Any]]:
    yield partial(asking.ask, "/map")
    yield partial(asking.ask, "/timeline", bins=500)


_QUESTIONS: Final = {
    "page": _pages, "filter": _filters, "perspective": _perspectives, "jump": _jumps, "search": _searches,
    "message": _messages, "map_part": _maps, "map_whole": _whole_maps,
}  # fmt: skip


def _memory_mib(pid: int) -> float:
    """The memory of a process that is in use now."""
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return int(done.stdout) / 1024


def _figure(values: list[float], unit: str) -> dict[str, Any]:
    """Median, unit, lowest and highest, the 95th percentile, and of how many."""
    ordered = sorted(values)
    return {
        "value": round(statistics.median(ordered), 2),
        "unit": unit,
        "spread": [round(ordered[0], 2), round(ordered[-1], 2)],
        "p95": round(ordered[-(-len(ordered) * 95 // 100) - 1], 2),
        "pairs": len(ordered),
    }
