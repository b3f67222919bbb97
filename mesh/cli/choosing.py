"""Which scenarios and which faults a person means: by name, by file, or all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from mesh.cli import output, usage
from mesh.errors import UsageError
from mesh.faults import Plan, read_plan
from mesh.scenario import Scenario

T = TypeVar("T")


def scenarios_by_name(package: str | None) -> dict[str, Scenario]:
    """The scenarios that ship with the simulator or are installed beside it; what is wrong with those is noted."""
    from mesh.loading import all_scenarios

    return _noted(*all_scenarios(package))


def choose(names: Iterable[str], package: str | None) -> list[Scenario]:
    """The scenarios of names and .py files, in that order; `UsageError` for what does not exist."""
    from mesh.loading import scenario_of_file

    shipped: dict[str, Scenario] | None = None
    chosen = []
    for name in names:
        if name.endswith(".py"):
            chosen.append(scenario_of_file(Path(name)))
            continue
        shipped = scenarios_by_name(package) if shipped is None else shipped
        if name not in shipped:
            if Path(f"{name}.py").is_file():
                raise UsageError(f"no scenario {name} ships with the simulator; your file is {name}.py")
            raise UsageError(usage.unknown("scenario", name, shipped))
        chosen.append(shipped[name])
    return chosen


def plans_by_name(package: str | None) -> dict[str, Plan]:
    """The fault plans that ship with the simulator or are installed beside it; what is wrong with one is noted."""
    from mesh.loading import all_plans

    return _noted(*all_plans(package))


def _noted(found: dict[str, T], wrong: list[str]) -> dict[str, T]:
    for line in wrong:
        output.note(f"left out: {line}")
    return found


def choose_faults(name: str, package: str | None) -> Plan:
    """The fault plan of a name or a .toml file; `UsageError` for what does not exist or cannot be read."""
    if name.endswith(".toml"):
        return read_plan(Path(name))
    shipped = plans_by_name(package)
    if name not in shipped:
        known = ", ".join(shipped) or "none"
        raise UsageError(
            f"there is no fault plan {name!r}; there are: {known}; a plan of your own is a .toml file"
        )
    return shipped[name]


def settle(scenarios: list[Scenario], pairs: tuple[str, ...]) -> list[dict[str, Any]]:
    """The settings of each scenario; of several, each takes those that it has, and one must have each."""
    if len(scenarios) == 1:
        return [scenarios[0].read_settings(pairs)]
    keys = [pair.partition("=")[0] for pair in pairs]
    owned = [{setting.name for setting in one.settings} for one in scenarios]
    for key, pair in zip(keys, pairs, strict=True):
        if "=" not in pair:
            raise UsageError(f"--set takes key=value, not {pair!r}; for instance --set children=3")
        if not any(key in names for names in owned):
            known = sorted({name for names in owned for name in names})
            raise UsageError(usage.unknown("setting in any of these scenarios named", key, known))
    return [
        one.read_settings(tuple(pair for key, pair in zip(keys, pairs, strict=True) if key in names))
        for one, names in zip(scenarios, owned, strict=True)
    ]
