"""What each output shows to a party, held against what it can know: two scenarios of `tests/sweeps/perspectives.py`.

And that the comparison sees each output and each rule: broken once in each, it finds what somebody could not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from mesh.cli.app import make_root
from mesh.message import Refusal
from mesh.names import BROKER
from mesh.runner import run_scenario
from mesh.scenario import Scenario
from mesh.simulation import Simulation
from mesh.trace.history import history
from mesh.trace.perspective import (
    EVERYTHING,
    WIRE,
    OfParties,
    OfResident,
    OnTheWire,
    Perspective,
    Text,
    perspective,
)
from mesh.trace.reader import Trace
from mesh.trace.rows import Transmission
from mesh.viewer.opened import Opened
from tests.helpers_outputs import OUTPUTS
from tests.sweeps.perspectives import Lookers, kinds_of, record

SCENARIOS = ("child_allowance", "private_app")
PAGES = ("pages",)
"""What says the same as the server, which is asked besides; the command compares both."""


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lookers]:
    """Who looks at a scenario: each with one message in full."""
    made: dict[str, Lookers] = {}

    def of(name: str) -> Lookers:
        if name not in made:
            path = tmp_path_factory.mktemp("perspectives") / "run.trace"
            record(name, path)
            made[name] = Lookers(path, most=1)
        return made[name]

    return of


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_output_tells_anybody_what_they_cannot_know(looking: Callable[[str], Lookers], name: str) -> None:
    lookers = looking(name)
    told = list(lookers.compare(one for one in OUTPUTS if one not in PAGES))
    assert [str(one) for one, _ in kinds_of(told)] == []
    assert {BROKER, WIRE} < lookers.counts.keys()
    assert len(lookers.counts) == 5
    assert min(lookers.counts.values()) > 1000


def see_all(patch: pytest.MonkeyPatch) -> None:
    """Whoever looks sees everything."""

    def all_of(trace: Trace, _name: str) -> Perspective:
        return Perspective(trace, EVERYTHING)

    patch.setattr("mesh.trace.seen.perspective", all_of)
    patch.setattr("mesh.trace.perspective.perspective", all_of)
    patch.setattr(Opened, "perspective", lambda opened, name: all_of(opened.trace, name))


def hide_nothing(patch: pytest.MonkeyPatch) -> None:
    """A history names the codes of who is asked about."""

    def with_code(trace: Trace, handle: str, **options: Any) -> dict[str, Any]:
        made = history(trace, handle, **options)
        code = next(iter(trace.codes_of(handle).values()))
        return made | {"rows": [one | {"requester": f"{one['requester']} {code}"} for one in made["rows"]]}

    patch.setattr("mesh.trace.history.history", with_code)


@pytest.mark.parametrize("output", [*OUTPUTS, "server"])
def test_the_comparison_finds_what_one_output_tells_too_much(
    looking: Callable[[str], Lookers], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hide_nothing if output == "history" else see_all)(monkeypatch)
    assert finds(looking("child_allowance"), output, OfResident if output == "history" else OfParties)


def finds(lookers: Lookers, output: str, view: type[Perspective], who: str | None = None) -> bool:
    """Whether the comparison of one output finds anything that tells somebody of a kind too much."""
    named = {OfParties: next(iter(lookers)).name, OfResident: next(iter(lookers)).handle, OnTheWire: WIRE}
    server = output == "server"
    return any(
        True for _ in lookers.compare(() if server else (output,), server=server, only=who or named[view])
    )


def show_all(what: Text, view: type[Perspective]) -> Callable[[pytest.MonkeyPatch], None]:
    """One text is for everybody of a kind."""
    shows = view.shows

    def open_(self: Any, asked: Text, of: Transmission | str | None = None) -> bool:
        return asked == what or bool(shows(self, asked, of))

    def breaks(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(view, "shows", open_)

    return breaks


@pytest.mark.parametrize(
    ("what", "view", "output"),
    [
        (Text.RUN, OfParties, "messages"),
        (Text.RUN, OfParties, "messages as JSON"),
        (Text.RUN, OfParties, "html"),
        (Text.RUN, OfResident, "html"),
        (Text.RUN, OnTheWire, "html"),
        (Text.RUN, OfParties, "server"),
        (Text.PERSON, OfParties, "server"),
        (Text.PERSON, OnTheWire, "server"),
        (Text.LINE, OfResident, "messages"),
        (Text.LINE, OfResident, "html"),
        (Text.LINE, OfResident, "server"),
        (Text.RECORD, OfParties, "server"),
        (Text.RECORD, OfResident, "server"),
        (Text.OUTCOME, OnTheWire, "server"),
        (Text.COMPARISON, OnTheWire, "pages"),
        (Text.ARRIVAL, OfParties, "list"),
    ],
)
def test_the_comparison_finds_what_one_rule_tells_too_much(
    looking: Callable[[str], Lookers],
    what: Text,
    view: type[Perspective],
    output: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    show_all(what, view)(monkeypatch)
    # Whose lines were lost: the broker has most.
    who = BROKER if what == Text.ARRIVAL else None
    assert finds(looking("child_allowance"), output, view, who)


@pytest.mark.parametrize(
    "output", ["list", "mermaid", "jsonl", "html", "server"]
)  # A drawing's label is cut.
def test_the_comparison_finds_a_reason_that_is_for_the_requester_alone(
    looking: Callable[[str], Lookers], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason(self: Perspective, refusal: Refusal) -> str | None:
        code = self._keys.reason(refusal)
        return None if code is None else code.name

    monkeypatch.setattr(Perspective, "_reason", reason)
    assert finds(looking("child_allowance"), output, OfParties, BROKER)


@pytest.mark.parametrize("output", ["list", "html", "server", "pages"])
def test_the_comparison_finds_what_is_said_of_the_run(
    looking: Callable[[str], Lookers], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("trace.perspective", "trace.seen", "page.trace", "viewer.answers"):
        monkeypatch.setattr(f"mesh.{module}.sees_run", lambda _name: True)
    assert finds(looking("child_allowance"), output, OfParties)


def test_every_command_that_takes_a_perspective_is_among_the_outputs() -> None:
    (trace,) = (one for name, one in _commands(make_root(nodes=None, scenarios=None)) if name == "trace")
    assert isinstance(trace, click.Group)
    taking = {
        name for name, one in _commands(trace) if any(given.name == "perspective" for given in one.params)
    }
    assert taking == {"show", "export", "page"}


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield name, command


def test_why_a_scenario_broke_off_is_for_the_whole_run(tmp_path: Path) -> None:
    async def run(sim: Simulation) -> None:
        raise ValueError("an income of 3456789 yen")

    scenario = Scenario("broken", "Broken", "中断", (), (), "2026-04-01T09:00:00+09:00", (), run)
    path = tmp_path / "broken.trace"
    run_scenario(scenario, trace=path)
    with Trace.open(path) as trace:
        assert "3456789" in " ".join(trace.notes)
        assert trace.notes_of_file
        assert "3456789" not in " ".join(trace.notes_of_file)
        assert perspective(trace, WIRE).name == WIRE
