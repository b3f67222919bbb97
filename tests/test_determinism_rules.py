"""DESIGN.md section 5, read from the source: what mesh/ and nodes/ may not use, because it differs from run to run.

The guard (mesh/guard.py) catches calls while a simulation runs; this reads what no guard can reach.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

EXEMPT = {
    "mesh/guard.py": "names what it forbids",
    "mesh/aside.py": "a run in a thread of its own, where an event loop runs already",
    "mesh/viewer/": "shows finished traces to a browser",
    "mesh/bench.py": "measures CPU time",
    "mesh/plain_loop.py": "measures CPU time",
    "nodes/data/bench.py": "measures CPU time",
    "mesh/cli/": "talks to a person",
}

MODULES = {
    "time": "take the time from the host",
    "secrets": "draw from the host's random",
    "threading": "everything runs on one loop",
    "_thread": "everything runs on one loop",
    "concurrent": "everything runs on one loop",
    "multiprocessing": "everything runs on one loop",
    "subprocess": "a node reaches nothing outside",
    "weakref": "when an object dies depends on the machine",
}
NAMES = {
    "datetime.datetime.now": "take the time from the host",
    "datetime.datetime.utcnow": "take the time from the host",
    "datetime.datetime.today": "take the time from the host",
    "datetime.date.today": "take the time from the host",
    "os.urandom": "draw from the host's random",
    "os.getrandom": "draw from the host's random",
    "os.getpid": "a process number differs from run to run",
    "uuid.uuid1": "let the host make ids",
    "uuid.uuid4": "let the host make ids",
    "uuid.uuid6": "let the host make ids",
    "uuid.uuid7": "let the host make ids",
    "asyncio.to_thread": "everything runs on one loop",
    "asyncio.TaskGroup": "it cancels in the order of a set; use gather",
    "asyncio.wait": "it returns sets; use gather",
    "asyncio.as_completed": "it iterates over a set; use gather or a Queue",
    "asyncio.all_tasks": "it returns a set; the loop holds its tasks in order",
}
ATTRIBUTES = {
    "run_in_executor": "everything runs on one loop",
    "random_serial_number": "serials come from the node's stream",
    "generate_key": "keys come from the seed or from the host",
}
DIRECTORIES = ("listdir", "scandir", "iterdir", "glob", "rglob")
ORDER_FREE = ("sorted", "set", "frozenset", "len", "any", "all", "min", "max", "sum")
ORDERED = (
    "list",
    "tuple",
    "iter",
    "enumerate",
    "zip",
    "map",
    "filter",
    "next",
    "deque",
    "join",
    "extend",
    "fromkeys",
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def dotted(node: ast.AST) -> str | None:
    """`a.b.c` for a chain of names, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)) is not None:
        return f"{base}.{node.attr}"
    return None


class Reader(ast.NodeVisitor):
    """Walks one file and collects `line: what, and what to do instead`."""

    def __init__(self, tree: ast.Module) -> None:
        self.faults: list[str] = []
        self.imported: dict[str, str] = {}
        self.order_free: list[ast.AST] = []
        self.sets = [set_names(own_nodes(tree))]
        self.visit(tree)

    def fault(self, node: ast.AST, what: str, instead: str) -> None:
        self.faults.append(f"{getattr(node, 'lineno', 0)}: {what}: {instead}")

    # Names that come from a forbidden place.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.partition(".")[0]
            self.imported[alias.asname or first] = alias.name if alias.asname else first
            self.check_name(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.imported[alias.asname or alias.name] = name
            self.check_name(node, name)

    def check_name(self, node: ast.AST, name: str) -> bool:
        first = name.partition(".")[0]
        if first in MODULES:
            self.fault(node, name, MODULES[first])
        elif name in NAMES:
            self.fault(node, name, NAMES[name])
        elif first == "random" and "." in name and name.split(".")[1] != "Random":
            self.fault(node, name, "draw from the host's random")
        else:
            return False
        return True

    def resolved(self, node: ast.AST) -> str | None:
        """The full name of what was imported, or None for anything else."""
        name = dotted(node)
        if name is None:
            return None
        first, dot, rest = name.partition(".")
        return self.imported[first] + dot + rest if first in self.imported else None

    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.resolved(node)
        if name is not None and self.check_name(node, name):
            return
        if node.attr in ATTRIBUTES:
            self.fault(node, node.attr, ATTRIBUTES[node.attr])
        self.generic_visit(node)

    # Calls.

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else dotted(node.func) or ""
        self.check_builtins(node, name)
        self.check_zones_and_seeds(node, name)
        self.check_order(node, name)
        self.generic_visit(node)

    def check_builtins(self, node: ast.Call, name: str) -> None:
        keys = [dotted(keyword.value) for keyword in node.keywords if keyword.arg == "key"]
        if (isinstance(node.func, ast.Name) and name in ("id", "hash")) or "id" in keys or "hash" in keys:
            self.fault(node, "id() or hash()", "they differ from process to process")

    def check_zones_and_seeds(self, node: ast.Call, name: str) -> None:
        given = len(node.args) + len(node.keywords)
        if self.resolved(node.func) == "random.Random" and given == 0:
            self.fault(node, "random.Random()", "without a seed it asks the operating system")
        if (name == "fromtimestamp" and given < 2) or (name == "astimezone" and given == 0):
            self.fault(node, name, "name the time zone; the machine's own differs")
        if name == "generate" and (dotted(node.func) or "").endswith("PrivateKey.generate"):
            self.fault(node, "PrivateKey.generate", "keys come from the seed or from the host")

    def check_order(self, node: ast.Call, name: str) -> None:
        if name in DIRECTORIES and node not in self.order_free:
            self.fault(node, name, "the order of a directory is the machine's; wrap it in sorted()")
        if name in ORDER_FREE:
            for argument in node.args:
                self.free(argument)
        elif name in ORDERED:
            for argument in node.args:
                self.check_iteration(argument)
        elif name == "pop" and isinstance(node.func, ast.Attribute) and not node.args:
            self.check_iteration(node.func.value)

    def free(self, node: ast.AST) -> None:
        """In this place the order of what the node gives does not matter."""
        self.order_free.append(node)
        if isinstance(node, COMPREHENSIONS):
            for part in node.generators:
                self.free(part.iter)

    # Iteration over sets.

    def is_set(self, node: ast.AST) -> bool:
        if is_new_set(node):
            return True
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.BitAnd | ast.BitOr | ast.BitXor):
            return any(self.is_set(side) or is_keys(side) for side in (node.left, node.right))
        return any(dotted(node) in names for names in self.sets)

    def check_iteration(self, node: ast.AST) -> None:
        if self.is_set(node):
            self.fault(
                node, "iteration over a set", "its order differs with the hash seed; use sorted() or a dict"
            )

    def visit_For(self, node: ast.For) -> None:
        self.check_iteration(node.iter)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self.check_iteration(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self.check_iteration(node.value)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp) -> None:
        if node not in self.order_free:
            for part in node.generators:
                self.check_iteration(part.iter)
        if isinstance(node, ast.GeneratorExp) and any(part.is_async for part in node.generators):
            self.fault(node, "asynchronous generator", "when it ends depends on the machine; return a list")
        self.generic_visit(node)

    visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self.free(node)
        self.generic_visit(node)

    # Scopes.

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.sets.append(set_attributes(node))
        self.generic_visit(node)
        self.sets.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name == "__del__":
            self.fault(node, "__del__", "when an object dies depends on the machine; use a context manager")
        if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(n, ast.Yield) for n in own_nodes(node)):
            self.fault(
                node,
                "asynchronous generator",
                "when it ends depends on the machine; return a list or use a class",
            )
        self.sets.append(set_names(own_nodes(node)))
        self.generic_visit(node)
        self.sets.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module, class or function, without those of the classes and functions inside it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, SCOPES):
            yield from own_nodes(child)


def is_keys(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def is_new_set(node: ast.AST) -> bool:
    made = isinstance(node, ast.Call) and dotted(node.func) in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


def is_set_type(annotation: ast.AST | None) -> bool:
    if isinstance(annotation, ast.Subscript):
        return is_set_type(annotation.value)
    if isinstance(annotation, ast.BinOp):
        return is_set_type(annotation.left) or is_set_type(annotation.right)
    return isinstance(annotation, ast.Name) and annotation.id in ("set", "frozenset")


def set_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that are annotated as sets or bound to a set there."""
    targets: list[ast.expr | str] = []
    for node in nodes:
        if isinstance(node, ast.arg) and is_set_type(node.annotation):
            targets.append(node.arg)
        elif isinstance(node, ast.AnnAssign) and is_set_type(node.annotation):
            targets.append(node.target)
        elif isinstance(node, ast.Assign) and is_new_set(node.value):
            targets += node.targets
    return {name for target in targets if (name := target if isinstance(target, str) else dotted(target))}


def set_attributes(room: ast.ClassDef) -> set[str]:
    """What the class annotates as a set, or any method of it binds to one, as `self.name`."""
    bound = {name for name in set_names(ast.walk(room)) if name.startswith("self.")}
    return bound | {f"self.{name}" for name in set_names(own_nodes(room))}


def faults(source: str) -> list[str]:
    return Reader(ast.parse(source)).faults


def files() -> list[Path]:
    found = sorted(path for room in ("mesh", "nodes") for path in (ROOT / room).rglob("*.py"))
    return [path for path in found if not path.relative_to(ROOT).as_posix().startswith(tuple(EXEMPT))]


@pytest.mark.parametrize("exempt", EXEMPT)
def test_every_exemption_is_needed(exempt: str) -> None:
    """An entry that nothing meets would one day excuse what nobody thought of."""
    place = ROOT / exempt
    paths = sorted(place.rglob("*.py")) if exempt.endswith("/") else [place]
    assert any(faults(path.read_text(encoding="utf-8")) for path in paths), f"{exempt} needs no exemption"


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_source_uses_nothing_that_differs_from_run_to_run(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


BAD = [
    "import time as clock",
    "from time import monotonic",
    "from concurrent.futures import ThreadPoolExecutor",
    "import concurrent.futures",
    "from weakref import WeakSet",
    "import datetime\ndatetime.datetime.now()",
    "from datetime import datetime, UTC\ndatetime.now(UTC)",
    "from datetime import datetime as dt\nclock = dt.utcnow",
    "from datetime import datetime\ndatetime.today()",
    "from datetime import date\ndate.today()",
    "from datetime import datetime\ndatetime.fromtimestamp(0)",
    "moment.astimezone()",
    "import os\nos.urandom(8)",
    "import os\nos.getpid()",
    "import uuid\nuuid.uuid4()",
    "import random\nrandom.random()",
    "import random\nrandom.SystemRandom()",
    "import random\nrandom.Random()",
    "from random import Random\nRandom()",
    "from random import choice",
    "import asyncio\nasyncio.to_thread(f)",
    "import asyncio\nasyncio.TaskGroup()",
    "import asyncio\nasyncio.wait(tasks)",
    "import asyncio as aio\naio.as_completed(tasks)",
    "import asyncio\nasyncio.all_tasks()",
    "id(thing)",
    "hash('text')",
    "sorted(things, key=id)",
    "Ed25519PrivateKey.generate()",
    "x25519.X25519PrivateKey.generate()",
    "class A:\n    def __del__(self): ...",
    "for x in {1, 2}: ...",
    "for x in set(y): ...",
    "for x in frozenset(y): ...",
    "for x in {y for y in z}: ...",
    "for x in a.keys() - b: ...",
    "for x in set(a) | b: ...",
    "[x for x in {1, 2}]",
    "{x: 1 for x in set(y)}",
    "list(set(y))",
    "','.join({'a', 'b'})",
    "print(*{1, 2})",
    "next(iter({1, 2}))",
    "seen = set()\nfor x in seen: ...",
    "KINDS = frozenset({1})\ndef f():\n    return [k for k in KINDS]",
    "def f(seen: set[str]):\n    for x in seen: ...",
    "def f(seen: frozenset[str] | None):\n    yield from seen",
    "class A:\n    def f(self):\n        self.a = set()\n    def g(self):\n        return tuple(self.a)",
    "class A:\n    a: frozenset[str]\n    def g(self):\n        return [*self.a]",
    "class A:\n    def f(self):\n        self.a: set[int] = set()\n        self.a.pop()",
    "for path in folder.iterdir(): ...",
    "[p for p in folder.glob('*.py')]",
    "import os\nos.listdir('.')",
    "async def f():\n    yield 1",
    "def g():\n    return (x async for x in y)",
]

GOOD = [
    "import asyncio\nasyncio.wait_for(f(), 1)\nasyncio.gather(f())\nasyncio.timeout(1)",
    "import random\nstream = random.Random(7)\nstream.random()",
    "self.host.random.choice(things)",
    "from datetime import datetime, time, UTC\ndatetime.fromtimestamp(0, UTC)\ntime(9, 0)",
    "def f(time, id):\n    return time.isoformat(), id",
    "row.id",
    "sorted({1, 2})\nlen(set(x))\nmax({1, 2})\nany(x in y for x in set(z))",
    "for x in sorted(set(y)): ...",
    "sorted(x.name for x in set(y))",
    "{x + 1 for x in {1, 2}}",
    "seen = set()\nif x in seen: seen.add(x)",
    "sorted(p.name for p in folder.glob('*.py'))\nsorted(folder.iterdir())",
    "for x in dict.fromkeys(y): ...\nfor x in a.keys(): ...",
    "stack.pop()\nwhile a - b: ...",
    "class A:\n    items: frozenset[str]\ndef f(items: tuple[str, ...]):\n    return [x for x in items]",
    "class A:\n    a: set[int]\nclass B:\n    def f(self):\n        self.a = ()\n        return [*self.a]",
    "async def f():\n    def g():\n        yield 1\n    return [x async for x in y]",
    "def f():\n    yield 1",
]


@pytest.mark.parametrize("source", BAD)
def test_each_rule_finds_what_it_forbids(source: str) -> None:
    assert faults(source)


@pytest.mark.parametrize("source", GOOD)
def test_what_is_allowed_passes(source: str) -> None:
    assert faults(source) == []


@pytest.mark.parametrize("name", [*MODULES, *NAMES])
def test_every_forbidden_name_is_found_under_each_way_to_import_it(name: str) -> None:
    room, _, last = name.rpartition(".")
    assert faults(f"import {name}" if not room else f"from {room} import {last}")
    assert faults(f"import {name.partition('.')[0]} as m\nm.{name.partition('.')[2] or 'f'}()")


@pytest.mark.parametrize("name", [*ATTRIBUTES, *DIRECTORIES])
def test_every_forbidden_method_is_found_on_anything(name: str) -> None:
    assert faults(f"anything.{name}(x)")
