"""The layer table of ARCHITECTURE.md, held against every import in the source.

An import counts wherever it stands: at the top, in a function, or under TYPE_CHECKING. A room is a module or
package directly under mesh/; it imports only from smaller layers and from rooms to its left in its own.
`mesh/__init__.py` is the face of the package, no room: it gathers, and no room imports from it.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, NamedTuple, get_origin

import pytest
from msgspec import Struct

from mesh.node import Node
from tests.helpers_waiting import HANG_S

ROOT = Path(__file__).parent.parent
FACE = "mesh"
HEAVY = ("aiohttp", "faker", "jinja2", "rich")

GATHERERS = {
    "nodes/__init__.py": "`establish` enrols the national bodies, so it names their classes",
    "nodes/municipality/assembly.py": "`assemble` adds a city's systems, so it names their classes",
    "nodes/municipality/tax_layout_2.py": "a package's own system is the standard one, and answers more",
    "nodes/municipality/tax_customised.py": "a package's own system is the standard one, with tables of its own",
    "nodes/municipality/tax_legacy.py": "a package's own system is the standard one, with records of its own",
}
"""Files of nodes/ that may import node classes, and why."""

HELPERS = {
    "nodes.municipality.moving_register.MovingRegister": "the resident register's half that deals with moves",
    "nodes.agency.code_issuer.check_named": "relay and issuer refuse whom no law names in the same words",
}
"""Functions of a node's file that another node may import, and why."""


class Import(NamedTuple):
    """One imported name: `from module import name`, or `import module` when the name is None."""

    path: str
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}{f'.{self.name}' if self.name else ''}"


def imports_of(source: str, path: str) -> Iterator[Import]:
    """Every import of a file; a relative one is a fault, because the house writes absolute ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, None)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            for alias in node.names:
                yield Import(path, node.lineno, node.module or "", alias.name)


def imports_in(package: str) -> list[Import]:
    """Every import of every file of a package."""
    return [
        one
        for path in sorted((ROOT / package).rglob("*.py"))
        for one in imports_of(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


def rooms() -> set[str]:
    """The modules and packages that stand directly under mesh/."""
    folder = ROOT / "mesh"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def room_of(path: str) -> str:
    """The room in which a file of mesh/ stands."""
    part = path.split("/")[1]
    return FACE if part == "__init__.py" else part.removesuffix(".py")


def room_meant(one: Import, known: Iterable[str]) -> str:
    """The room from which an import inside mesh/ takes something; the face, when it is no room."""
    parts = [*one.module.split("."), *([one.name] if one.name else [])]
    return parts[1] if len(parts) > 1 and parts[1] in known else FACE


def read_table(text: str) -> list[list[str]]:
    """The rooms of each layer, from smaller to larger, out of the table `layer | rooms | what`."""
    layers: list[list[str]] = []
    within = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[:2] == ["layer", "rooms"]:
            within = True
        elif within and not line.lstrip().startswith("|"):
            break
        elif within and cells[0].isdigit():
            assert int(cells[0]) == len(layers), f"layer {cells[0]} is out of order in the table"
            layers.append([name.rstrip("/") for name in re.findall(r"`([\w/]+)`", cells[1])])
    return layers


def breaches(layers: list[list[str]], imports: Iterable[Import]) -> list[str]:
    """What the table does not allow, one line each."""
    places = {room: (layer, left) for layer, row in enumerate(layers) for left, room in enumerate(row)}
    found = []
    for one in imports:
        if one.module.split(".")[0] != "mesh":
            continue
        room, meant = room_of(one.path), room_meant(one, places)
        if room == meant:
            continue
        if meant == FACE:
            found.append(f"{one}: no room imports from the face; import from the room that owns it")
        elif room == FACE:
            if places[meant][0] == len(layers) - 1:
                found.append(f"{one}: the face takes nothing from the last layer")
        elif room not in places:
            found.append(f"{one}: {room} is not in the table")
        elif places[meant] >= places[room]:
            found.append(f"{one}: {room} stands at {places[room]}, {meant} at {places[meant]}")
    return found


@pytest.fixture(scope="module")
def layers() -> list[list[str]]:
    return read_table((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))


def test_every_room_stands_in_the_table_once_and_nothing_else(layers: list[list[str]]) -> None:
    listed = [room for row in layers for room in row]
    assert len(listed) == len(set(listed)), "a room stands twice in the table"
    assert set(listed) == rooms()


def test_rooms_import_from_smaller_layers_and_from_their_left(layers: list[list[str]]) -> None:
    assert breaches(layers, imports_in("mesh")) == []


@pytest.mark.parametrize(
    ("path", "source", "allowed"),
    [
        ("mesh/b.py", "from mesh.a import x", True),
        ("mesh/b.py", "from mesh import a", True),
        ("mesh/c/inner.py", "import mesh.b\nfrom mesh.c.other import x", True),
        ("mesh/__init__.py", "from mesh.c import x", True),
        ("mesh/a.py", "from mesh.b import x", False),
        ("mesh/a.py", "def f():\n    from mesh.c import x", False),
        ("mesh/b.py", "if TYPE_CHECKING:\n    import mesh.c.inner", False),
        ("mesh/b.py", "from mesh import x", False),
        ("mesh/b.py", "import mesh", False),
        ("mesh/__init__.py", "from mesh.d import x", False),
    ],
)
def test_the_check_finds_what_the_table_forbids(path: str, source: str, allowed: bool) -> None:
    table = read_table(
        "| layer | rooms | what |\n|---|---|---|\n| 0 | `a`, `b` | |\n| 1 | `c/` | |\n| 2 | `d` | |"
    )
    assert table == [["a", "b"], ["c"], ["d"]]
    assert (not breaches(table, imports_of(source, path))) is allowed


@pytest.mark.parametrize(
    ("package", "strangers"),
    [("mesh", ("nodes", "scenarios", "tests")), ("nodes", ("scenarios", "tests")), ("scenarios", ("tests",))],
)
def test_no_package_knows_those_that_stand_on_it(package: str, strangers: tuple[str, ...]) -> None:
    assert [str(one) for one in imports_in(package) if one.module.split(".")[0] in strangers] == []


@pytest.mark.parametrize("package", ["nodes", "scenarios"])
def test_what_people_look_at_is_no_part_of_nodes_and_scenarios(package: str, layers: list[list[str]]) -> None:
    last = layers[-1]
    inside = [one for one in imports_in(package) if one.module.split(".")[0] == "mesh"]
    assert [str(one) for one in inside if room_meant(one, last) in last] == []


def node_classes(module: str) -> Mapping[str, type[Node]]:
    """The node classes that a module defines."""
    return {
        name: value
        for name, value in vars(importlib.import_module(module)).items()
        if isinstance(value, type) and issubclass(value, Node) and value.__module__ == module
    }


def is_declaration(one: Import) -> bool:
    """Whether the name may cross from one node's file to another's.

    Constants, Structs, annotated and literal types may, and a few helpers by name; from a file that defines no node,
    whatever it defines. A whole module may not, since it would bring its nodes with it.
    """
    value = getattr(importlib.import_module(one.module), one.name or "", None)
    if value is None or isinstance(value, ModuleType):
        return False
    if not node_classes(one.module) or one.name == (one.name or "").upper():
        return not (isinstance(value, type) and issubclass(value, Node))
    struct = isinstance(value, type) and issubclass(value, Struct)
    return struct or get_origin(value) in (Annotated, Literal) or f"{one.module}.{one.name}" in HELPERS


def test_nodes_know_other_nodes_by_their_declarations() -> None:
    inside = [one for one in imports_in("nodes") if one.module.split(".")[0] == "nodes"]
    others = [one for one in inside if not is_declaration(one)]
    assert [str(one) for one in others if one.path not in GATHERERS] == []
    assert {one.path for one in others} == set(GATHERERS), "a reason is out of date"
    assert set(HELPERS) <= {f"{one.module}.{one.name}" for one in inside}, "a reason is out of date"


@pytest.mark.parametrize(
    ("module", "name", "allowed"),
    [
        ("nodes.municipality.tax", "INCOME", True),
        ("nodes.municipality.tax", "IncomeQuery", True),
        ("nodes.agency.code_issuer", "ResidentCode", True),
        ("nodes.data.table", "read_table", True),
        ("nodes.municipality.tax", "TaxOffice", False),
        ("nodes.municipality", "tax", False),
        ("nodes.municipality.tax", None, False),
        ("nodes.agency.jlis", "acquire_code", False),
    ],
)
def test_the_check_tells_declarations_from_nodes(module: str, name: str | None, allowed: bool) -> None:
    assert is_declaration(Import("nodes/x.py", 1, module, name)) is allowed


def test_the_entry_point_stays_small() -> None:
    text = (ROOT / "run_sim.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 20
    assert 'nodes="nodes", scenarios="scenarios"' in text


def test_importing_the_packages_loads_nothing_heavy() -> None:
    # In a process of its own, since pytest and its plugins load what they like. Scenarios are loaded by the
    # package's modules, as `list` loads them.
    code = (
        "import sys, mesh, nodes, scenarios\n"
        "from mesh.loading import modules_of\n"
        "list(modules_of('nodes')), list(modules_of('scenarios'))\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=HANG_S
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
