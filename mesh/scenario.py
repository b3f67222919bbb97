"""How a scenario is declared: an async function over a simulation, with its titles, rules and sources.

Its keyword parameters are its settings: what `--set key=value` takes, converted by their annotations.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any, Final, Never, get_type_hints

from mesh.arguments import check_kind, check_names, check_text, check_whole, wrong
from mesh.errors import UsageError
from mesh.faults import Plan

SEED_MAX: Final = 2**63 - 1
"""A seed is a whole number that SQLite can hold, and so is its negative."""

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
            value = _TRUTHS[text.lower()] if self.type is bool else self.type(text)
            if self.type is float and not isfinite(value):
                raise ValueError
        except (ValueError, KeyError):
            raise UsageError(
                f"--set {self.name} takes {_KINDS[self.type]}, not {text!r}; by default {self.default}"
            ) from None
        return value

    def check(self, value: object) -> None:
        """`UsageError` unless a value that a program gave is of the type."""
        kinds = (int, float) if self.type is float else self.type
        exact = isinstance(value, kinds) and (self.type is bool or not isinstance(value, bool))
        if not exact or (self.type is float and not isfinite(float(value))):  # type: ignore[arg-type]
            wrong(f"the setting {self.name}", _KINDS[self.type], value, f"by default it is {self.default!r}")

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
    starts_by_rules: Mapping[str, str] = field(default_factory=dict)
    """When it starts under each value of its setting `rules`, if it models the rules of several dates."""

    def start(self, values: Mapping[str, Any]) -> str:
        """When a run with these settings starts; `UsageError` for rules that it does not model."""
        if not self.starts_by_rules:
            return self.starts
        rules = values["rules"]
        if rules not in self.starts_by_rules:
            raise UsageError(f"--set rules is one of {', '.join(self.starts_by_rules)}, not {rules!r}")
        return self.starts_by_rules[rules]

    def check_settings(self, values: Mapping[str, Any]) -> None:
        """`UsageError` for an unknown key or a value of another type."""
        known = {setting.name: setting for setting in self.settings}
        for key, value in values.items():
            if key not in known:
                raise UsageError(
                    f"{self.name} has no setting {key!r}; its settings: {', '.join(known) or 'none'}"
                )
            known[key].check(value)

    def read_settings(self, pairs: tuple[str, ...]) -> dict[str, Any]:
        """The values of `key=value` texts; `UsageError` for an unknown key or a wrong value."""
        known = {setting.name: setting for setting in self.settings}
        values = {}
        for pair in pairs:
            key, equals, text = pair.partition("=")
            if not equals:
                raise UsageError(
                    f"--set takes key=value, not {pair!r}; settings: {', '.join(known) or 'none'}"
                )
            if key not in known:
                has = ", ".join(known) or "none"
                raise UsageError(f"{self.name} has no setting {key!r}; its settings: {has}")
            values[key] = known[key].read(text)
        return values

    def trace_name(self, seed: int, faults: Plan | None = None) -> str:
        """How the trace of a run is named in a folder."""
        return f"{self.name}-{seed}.trace" if faults is None else f"{self.name}-{seed}-{faults.name}.trace"

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
    *misplaced: Never,
    title: str,
    title_ja: str,
    rules: tuple[int, ...] = (),
    sources: tuple[str, ...] = (),
    starts: str | Mapping[str, str] = "2026-04-01T09:00+09:00",
    first: bool = False,
) -> Callable[[Run], Scenario]:
    """Declare the decorated `async def run(sim, *, …)` as the scenario of its file.

    `starts` is one moment, or one for each value of the setting `rules`, whose default it has by default.
    """
    if misplaced:
        raise UsageError("@scenario takes its arguments by name; write @scenario(title=…, title_ja=…)")
    check_text("@scenario", "title", title)
    check_text("@scenario", "title_ja", title_ja)
    check_names("@scenario", "sources", sources)
    check_kind("@scenario", "rules as a tuple of numbers", rules, Iterable)
    for rule in rules:
        check_whole("@scenario", "each of rules", rule, 1)
    check_kind("@scenario", "starts as text, or as a dict of texts by rules", starts, (str, Mapping))

    def declare(run: Run) -> Scenario:
        if isinstance(run, Scenario):
            raise UsageError(f"{run.name} is a scenario already; write @scenario(…) once above it")
        if not callable(run):
            wrong("@scenario", "an async function", run)
        if not inspect.iscoroutinefunction(run):
            raise UsageError(
                f"a scenario is an async function; write async def {run.__name__}(sim: Simulation)"
            )
        name = run.__module__.rpartition(".")[2]
        settings = _settings_of(run)
        by_rules = {} if isinstance(starts, str) else {key: _instant(text) for key, text in starts.items()}
        if isinstance(starts, str):
            start = _instant(starts)
        else:
            start = by_rules.get(next((one.default for one in settings if one.name == "rules"), ""), "")
        if not start:
            raise UsageError(
                f"@scenario: starts is given by rules, so {run.__name__} has a setting rules whose default is one "
                f"of {', '.join(by_rules)}"
            )
        return Scenario(
            name, title, title_ja, tuple(rules), tuple(sources), start, settings, run, first, by_rules
        )

    return declare


def _instant(starts: str) -> str:
    """The time with its seconds, as messages carry it; `UsageError` unless it is one with an offset."""
    try:
        moment = datetime.fromisoformat(starts)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(
            f"starts={starts!r} is no time with its offset; write it like 2026-04-01T09:00+09:00"
        )
    return moment.isoformat(timespec="seconds")


def _settings_of(run: Run) -> tuple[Setting, ...]:
    hints = get_type_hints(run)
    settings = []
    for position, parameter in enumerate(inspect.signature(run).parameters.values()):
        if position == 0:
            continue  # The simulation.
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise UsageError(
                f"the setting {parameter.name} stands behind a star: (sim, *, {parameter.name}: …)"
            )
        kind = hints.get(parameter.name)
        if kind not in _KINDS or parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"the setting {parameter.name} needs a type (int, float, str, bool) and a default"
            )
        settings.append(Setting(parameter.name, kind, parameter.default))
    return tuple(settings)
