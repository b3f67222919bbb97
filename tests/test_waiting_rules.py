"""No test holds a clock against a number or sleeps a fixed while: it waits for what happens, or counts.

Virtual time is no clock: on the mesh's own loop a `sleep` is part of the story. What measures are commands: `bench`,
`tests/sweeps`, `tests/browser/large.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers_waiting import HANG_S

TESTS = Path(__file__).parent
CLOCKS = {
    f"time.{name}{ending}"
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time")
    for ending in ("", "_ns")
} | {"time.sleep", "resource.getrusage", "resource.RLIMIT_CPU", "signal.setitimer", "signal.alarm"}
IN_MS = {"set_default_timeout", "set_options", "wait_for_selector", "wait_for_function", "wait_for_url"}
"""Playwright's; all else counts in seconds."""
GUARDS = {"timeout", "wait_for", "wait", "join", "communicate", "settimeout", *IN_MS}
ALLOWED = {
    ("helpers_waiting.py", "a clock"): "it is what waits for all others, and stops a hang",
    (
        "unit/test_guard.py",
        "a clock",
    ): "the guard is what forbids them to a run: each is called to be refused",
    ("unit/test_simulation.py", "a clock"): "a run calls one to be refused",
}


def breaches(source: str) -> Iterator[str]:
    """What a file does that hangs on how fast the machine is."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (isinstance(node, ast.Attribute | ast.Name) and ast.unparse(node) in CLOCKS) or (
            isinstance(node, ast.ImportFrom) and node.module == "time"
        ):
            yield "a clock"
        elif isinstance(node, ast.Call) and _name(node) == "wait_for_timeout":
            yield "a fixed while"
    for node, plain in _on_a_real_clock(tree):
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) == "asyncio.sleep":
            # What a plain function makes is handed to `run`, which has virtual time.
            if not plain and _seconds(node.args[0]):
                yield "a fixed while"
        elif (limit := _limit_s(node)) is not None and limit < HANG_S:
            yield "a short limit"


def _on_a_real_clock(tree: ast.Module) -> Iterator[tuple[ast.AST, bool]]:
    """All of a file that is marked so; of another its plain functions and the coroutines that are marked.

    Beside each node, whether it is in a plain function of a file that is not marked.
    """
    marked = any(
        isinstance(one, ast.Assign) and "pytestmark" in ast.unparse(one) and "real_loop" in ast.unparse(one)
        for one in tree.body
    )
    todo: list[tuple[ast.AST, bool]] = [(tree, not marked)]
    while todo:
        node, plain = todo.pop()
        if isinstance(node, ast.AsyncFunctionDef) and plain:
            if not any("real_loop" in ast.unparse(one) for one in node.decorator_list):
                continue
            plain = False
        yield node, plain
        todo += ((one, plain) for one in ast.iter_child_nodes(node))


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)


def _seconds(node: ast.expr) -> float:
    """The value of a number that stands there, else 0."""
    value = getattr(node, "value", None)
    return float(value) if isinstance(value, int | float) else 0.0


def _limit_s(call: ast.Call) -> float | None:
    """After how long a call gives up, if that stands there as a number."""
    name = _name(call)
    given = [one.value for one in call.keywords if one.arg == "timeout"]
    if not given and name in GUARDS:
        given = call.args[-1:]
    if name == "select" and len(call.args) == 4:
        given = call.args[3:]
    limit = _seconds(given[0]) if given else 0.0
    playwright = name in IN_MS or name.startswith(("to_", "not_to_")) or limit >= 1000
    return (limit / 1000 if playwright else limit) or None


FILES = [
    path
    for path in sorted(TESTS.rglob("*.py"))
    if path.parts[-2] not in ("sweeps", "specifications", "typing_cases") and path.name != "large.py"
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_hangs_on_how_fast_the_machine_is(path: Path) -> None:
    name = path.relative_to(TESTS).as_posix()
    found = set(breaches(path.read_text(encoding="utf-8")))
    assert {what for what in found if (name, what) not in ALLOWED} == set()


@pytest.mark.parametrize(("name", "what"), ALLOWED)
def test_whatever_is_allowed_is_done(name: str, what: str) -> None:
    assert what in set(breaches((TESTS / name).read_text(encoding="utf-8")))


REAL = "pytestmark = pytest.mark.real_loop\nasync def test() -> None:\n    "
BAD = {
    "import time\ndef test(): assert time.process_time() < 2": "a clock",
    "from time import monotonic": "a clock",
    "import time\ntime.sleep(1)": "a clock",
    "page.wait_for_timeout(200)": "a fixed while",
    REAL + "await asyncio.sleep(0.05)": "a fixed while",
    "@pytest.mark.real_loop\nasync def test(): await asyncio.sleep(1)": "a fixed while",
    "subprocess.run(command, timeout=60)": "a short limit",
    "child.wait(timeout=30)": "a short limit",
    "event.wait(5)": "a short limit",
    "select.select([master], [], [], 30)": "a short limit",
    REAL + "await asyncio.wait_for(process.wait(), 20)": "a short limit",
    REAL + "async with asyncio.timeout(20): pass": "a short limit",
    "expect(card).to_have_text('x', timeout=15_000)": "a short limit",
    "context.set_default_timeout(15_000)": "a short limit",
}


@pytest.mark.parametrize(("source", "what"), BAD.items(), ids=BAD)
def test_what_hangs_on_it_is_found(source: str, what: str) -> None:
    assert list(breaches(source)) == [what]


@pytest.mark.parametrize(
    "source",
    [
        "async def test(sim): await sim.sleep(60); await asyncio.sleep(1)",
        "async def test(sim):\n    async with asyncio.timeout(1): pass",
        REAL + "await asyncio.sleep(0)",
        "def test(): run(asyncio.sleep(1))",
        "subprocess.run(command, timeout=HANG_S)",
        "async def test(): await desk.ask(OFFICE, timeout_s=5)",
        "expect(card).to_have_text('x', timeout=600_000)",
    ],
)
def test_what_does_not_is_let_be(source: str) -> None:
    assert list(breaches(source)) == []
