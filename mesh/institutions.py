"""Who is there before a scenario begins: the law and bodies of a package of nodes, and of what is installed beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from mesh.errors import UsageError
from mesh.plugins import NODES, packages
from mesh.simulation import Simulation


def establish(sim: Simulation, nodes: str) -> None:
    """Put in place what the package `nodes` has, and then what installed packages add to it.

    `establish(sim)` of a package enrols its bodies. Tables of the law in the folder `data` of an installed package are
    put in force by `adopt(sim, folder)` of `nodes`, which knows how they are written.
    """
    first = check(nodes)
    first.establish(sim)
    for name in packages(NODES):
        added = _imported(name)
        data = Path(added.__path__[0]) / "data"
        if data.is_dir() and hasattr(first, "adopt"):
            first.adopt(sim, data)
        if hasattr(added, "establish"):
            added.establish(sim)


def check(nodes: str) -> ModuleType:
    """The package of nodes; `UsageError` if it cannot be imported, or establishes nothing."""
    package = _imported(nodes)
    if not hasattr(package, "establish"):
        where = getattr(package, "__file__", None) or "without a file"
        raise UsageError(
            f"nodes={nodes!r} has no establish(sim) ({where}); name a package such as 'nodes', and rename what hides it"
        )
    return package


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"nodes={name!r} cannot be imported: {error}; name a package such as 'nodes'"
        ) from None
