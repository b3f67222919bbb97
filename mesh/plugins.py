"""What installed packages add to what ships: entry points name their packages of nodes, scenarios and fault plans.

A distribution declares, for instance in its pyproject.toml:

    [project.entry-points."meshsim.scenarios"]
    harbour = "harbour_mesh.scenarios"

- `meshsim.scenarios`: a package whose modules declare scenarios.
- `meshsim.plans`: a package in whose folder fault plans lie as TOML files.
- `meshsim.nodes`: a package of node classes. `establish(sim)`, if it has one, is called after the shipped one, and
  tables of the law in its folder `data` are put in force before.

What ships comes first: a name that is taken stays what it is. What cannot be read is said and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Final, TypeVar

from mesh.errors import UsageError

NODES: Final = "meshsim.nodes"
SCENARIOS: Final = "meshsim.scenarios"
PLANS: Final = "meshsim.plans"

T = TypeVar("T")


def packages(group: str) -> tuple[str, ...]:
    """The packages that installed distributions name in a group, each once, by name."""
    return tuple(sorted({point.value.partition(":")[0] for point in metadata.entry_points(group=group)}))


def version_of(package: str) -> str:
    """The version of the distribution that names a package of nodes."""
    points = metadata.entry_points(group=NODES)
    found = (point.dist for point in points if point.value.partition(":")[0] == package)
    return next((dist.version for dist in found if dist is not None), "")


def gather(
    shipped: Mapping[str, T], group: str, read: Callable[[str], Mapping[str, T]]
) -> tuple[dict[str, T], list[str]]:
    """What ships and what the packages of a group add, by name; and what is wrong with one of them, a line each."""
    found, wrong = dict(shipped), list[str]()
    for package in packages(group):
        try:
            added = read(package)
        except Exception as error:  # It is somebody else's code: whatever it does, the others are listed.
            said = error if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            wrong.append(f"{package}, an installed package, cannot be read: {' '.join(str(said).split())}")
            continue
        wrong += [
            f"{name} of {package} is left out: the name is taken; rename it"
            for name in added
            if name in found
        ]
        found |= {name: one for name, one in added.items() if name not in found}
    return found, wrong
