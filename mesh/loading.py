"""Finds scenarios, fault plans and nodes: those of the installed packages by name, anybody's by file.

A file is loaded once, under a name made of its path, and stands in `sys.modules` before it runs, or the
annotations of its structs could not be read.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mesh.errors import UsageError
from mesh.faults import Plan, read_plan
from mesh.node import Node
from mesh.plugins import PLANS, SCENARIOS, gather
from mesh.scenario import Scenario


def load_file(path: Path) -> ModuleType:
    """The module of a Python file anywhere; `UsageError` in one line if it cannot be imported."""
    path = path.resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {path}; give the path of a scenario's .py file")
    name = f"mesh_file_{sha256(str(path).encode()).hexdigest()[:12]}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file; a scenario ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # A scenario may import the node file that stands beside it.
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UsageError(_explain(path, error)) from error
    _check_neighbours(module, path)
    return module


def _check_neighbours(module: ModuleType, path: Path) -> None:
    """`UsageError` if a file beside it was meant, but another of that name had been imported before."""
    for value in vars(module).values():
        if not isinstance(value, ModuleType | FunctionType | type):
            continue
        name = value.__name__ if isinstance(value, ModuleType) else value.__module__
        meant, used = path.parent / f"{name}.py", getattr(sys.modules.get(name), "__file__", None)
        if used is not None and meant.is_file() and Path(used).resolve() != meant:
            raise UsageError(f"{path} imports {used} in place of {meant}; rename one, or run it by itself")


def _explain(path: Path, error: BaseException) -> str:
    """In one line; the place is the last in the file, or in one beside it that it imports."""
    file, line = path, None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).resolve().parent == path.parent:
            file, line = Path(frame.filename).resolve(), frame.lineno
    said = str(error)
    if isinstance(error, SyntaxError) and error.lineno:
        file, line = Path(error.filename or file), error.lineno
        said = error.msg
    where = "" if line is None else f", line {line}"
    said = " ".join(said.split())
    return f"{file}{where} cannot be imported: {type(error).__name__}: {said}; mend the file and run it again"


def scenarios_in(module: ModuleType) -> list[Scenario]:
    """The scenarios that a module declares itself; one that it imports belongs to another file."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, Scenario) and value.run.__module__ == module.__name__
    ]


def scenario_of_file(path: Path) -> Scenario:
    """The scenario of a file; `UsageError` if it declares none, or several, which would have one name."""
    found = scenarios_in(load_file(path))
    if not found:
        raise UsageError(f"{path} declares no scenario; decorate its `async def run(sim)` with @scenario(…)")
    if len(found) > 1:
        names = ", ".join(one.run.__name__ for one in found)
        raise UsageError(f"{path} declares {len(found)} scenarios ({names}); give each a file of its own")
    return found[0]


def scenarios_of(package: str) -> dict[str, Scenario]:
    """All scenarios of a package, by name."""
    found = {}
    for module in modules_of(package):
        for one in scenarios_in(module):
            found[one.name] = one
    return dict(sorted(found.items()))


def all_scenarios(package: str | None) -> tuple[dict[str, Scenario], list[str]]:
    """The scenarios of a package and of what is installed beside it; and what is wrong with those, a line each."""
    return gather({} if package is None else scenarios_of(package), SCENARIOS, scenarios_of)


def all_plans(package: str | None) -> tuple[dict[str, Plan], list[str]]:
    """The fault plans that ship with the scenarios of a package, and installed ones; and what is wrong, a line each."""
    found, wrong = plans_in([] if package is None else [folder / "faults" for folder in folders_of(package)])
    more, wrong_more = gather(found, PLANS, lambda one: _named(one, wrong))
    return more, [*wrong, *wrong_more]


def _named(package: str, wrong: list[str]) -> dict[str, Plan]:
    found, more = plans_in(folders_of(package))
    wrong += more
    return found


def plans_of(package: str) -> dict[str, Plan]:
    """The fault plans that ship with the scenarios of a package, by name; `UsageError` if one cannot be read."""
    found, wrong = plans_in(folder / "faults" for folder in folders_of(package))
    if wrong:
        raise UsageError(wrong[0])
    return found


def plans_in(folders: Iterable[Path]) -> tuple[dict[str, Plan], list[str]]:
    """The fault plans that lie in folders, by name; and what is wrong with those that cannot be read, a line each."""
    found, wrong = dict[str, Plan](), list[str]()
    for path in [path for folder in folders for path in sorted(folder.glob("*.toml"))]:
        try:
            found[path.stem] = read_plan(path)
        except UsageError as error:
            wrong.append(str(error))
    return found, wrong


def folders_of(package: str) -> list[Path]:
    """Where a package lies."""
    return [Path(folder) for folder in importlib.import_module(package).__path__]


def modules_of(package: str) -> Iterator[ModuleType]:
    """A package and every module of it, imported, in order of name."""
    root = importlib.import_module(package)
    yield root
    for info in sorted(pkgutil.walk_packages(root.__path__, f"{package}."), key=lambda info: info.name):
        yield importlib.import_module(info.name)


def node_classes(modules: Iterable[ModuleType]) -> list[type[Node]]:
    """The node classes that the modules define, each once, in order of definition."""
    found: dict[str, type[Node]] = {}
    for module in modules:
        for value in vars(module).values():
            if _is_node(value) and value.__module__ == module.__name__:
                found.setdefault(f"{value.__module__}.{value.__qualname__}", value)
    return list(found.values())


def _is_node(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Node) and value is not Node
