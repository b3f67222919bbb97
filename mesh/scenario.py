"""How a scenario is declared: an async function over a simulation, with its titles, rules and sources.

Its keyword parameters are its settings: what `--set key=value` takes, converted by their annotations.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from mesh.errors import UsageError

Run = Callable[..., Awaitable[None]]

_KINDS: dict[type, str] = {int: "int", float: "float", str: "str", bool: "bool"}
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that `--set` can change."""

    name: str
    type: type
    default: Any

    def read(self, text: str) -> Any:
        """The value that a person typed; `UsageError` if it is not of the type."""
        try:
            return _TRUTHS[text.lower()] if self.type is bool else self.type(text)
        except (ValueError, KeyError):
            raise UsageError(f"--set {self.name} takes {_KINDS[self.type]}, not {text!r}") from None

    def as_json(self) -> dict[str, Any]:
        """The setting as `list --json` gives it."""
        return {"name": self.name, "type": _KINDS[self.type], "default": self.default}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A declared scenario. `name` is that of its file."""

    name: str
    title: str
    title_ja: str
    rules: tuple[int, ...]
    """Numbers of the domain rules that it exercises."""
    sources: tuple[str, ...]
    starts: str
    settings: tuple[Setting, ...]
    run: Run
    first: bool = False
    """Whether the tour shows it."""

    def read_settings(self, pairs: tuple[str, ...]) -> dict[str, Any]:
        """The values of `key=value` texts; `UsageError` for an unknown key or a wrong value."""
        known = {setting.name: setting for setting in self.settings}
        values = {}
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals:
                raise UsageError(f"--set takes key=value, not {pair!r}")
            if key not in known:
                has = ", ".join(known) or "none"
                raise UsageError(f"{self.name} has no setting {key!r}; its settings: {has}")
            values[key] = known[key].read(text)
        return values

    def as_json(self) -> dict[str, Any]:
        """The scenario as `list --json` gives it."""
        return {
            "name": self.name,
            "title": self.title,
            "title_ja": self.title_ja,
            "rules": list(self.rules),
            "sources": list(self.sources),
            "starts": self.starts,
            "settings": [setting.as_json() for setting in self.settings],
        }


def scenario(
    *,
    title: str,
    title_ja: str,
    rules: tuple[int, ...] = (),
    sources: tuple[str, ...] = (),
    starts: str = "2026-04-01T09:00+09:00",
    first: bool = False,
) -> Callable[[Run], Scenario]:
    """Declare the decorated `async def run(sim, *, …)` as the scenario of its file."""

    def declare(run: Run) -> Scenario:
        name = run.__module__.rpartition(".")[2]
        return Scenario(name, title, title_ja, rules, sources, starts, _settings_of(run), run, first)

    return declare


def _settings_of(run: Run) -> tuple[Setting, ...]:
    hints = get_type_hints(run)
    settings = []
    for parameter in inspect.signature(run).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        kind = hints.get(parameter.name)
        if kind not in _KINDS or parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"the setting {parameter.name} needs a type (int, float, str, bool) and a default"
            )
        settings.append(Setting(parameter.name, kind, parameter.default))
    return tuple(settings)
