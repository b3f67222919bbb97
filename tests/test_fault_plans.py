"""Scenarios bear lost, doubled and slow lines; `tests/sweeps/fault_plans.py` plays all of them with more seeds."""

from __future__ import annotations

import json
from itertools import product

import pytest

from mesh.loading import plans_of, scenarios_of
from tests.sweeps import fault_plans
from tests.sweeps.fault_plans import PLANS, Outcome, main, play, share_of


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("scenario", ["child_allowance", "birth", "private_app", "vaccination_record"])
def test_a_scenario_holds_under_the_plan(scenario: str, plan: str) -> None:
    outcome = play(scenario, plan, 1)
    assert (outcome.error, outcome.failed, outcome.untried) == (None, (), ())
    assert outcome.held


def test_the_sweep_is_of_every_scenario_and_of_plans_that_ship() -> None:
    assert set(PLANS) <= set(plans_of("scenarios"))
    assert set(fault_plans.SMALLER) <= set(scenarios_of("scenarios"))


@pytest.mark.parametrize("share", [0.1, 0.34, 1.0])
def test_a_share_is_spread_over_all_runs(share: float) -> None:
    runs = list(product(PLANS, range(1, 6), map(str, range(20))))
    some = share_of(runs, share)
    assert abs(len(some) - share * len(runs)) <= 1
    assert {plan for plan, _, _ in some} == set(PLANS)
    assert len(set(some)) == len(some)


def outcome(**changes: object) -> Outcome:
    said = {"scenario": "birth", "plan": "packet_loss", "seed": 1, "held": True, "messages": 1}
    return Outcome(**(said | {"failed": (), "untried": (), "error": None} | changes))  # type: ignore[arg-type]


def test_what_does_not_hold_is_named_and_fails_the_sweep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [
        outcome(),
        outcome(held=False, failed=("it rains",), untried=("a count",), error="Refused: timeout"),
    ]
    monkeypatch.setattr(fault_plans, "play", lambda *_: made[0])
    words = ["--only", "birth", "--plans", "packet_loss", "--seeds", "1-2"]
    assert main(words) == 0
    assert "2 of 2 runs held" in capsys.readouterr().out
    monkeypatch.setattr(fault_plans, "play", lambda name, plan, seed: made[seed - 1])
    assert main(words) == 1
    said = capsys.readouterr().out
    for part in (
        "failed: it rains",
        "not tried under packet_loss: birth: a count",
        "Refused: timeout",
        "1 of 2",
    ):
        assert part in said
    assert main([*words, "--json"]) == 1
    assert (json.loads(capsys.readouterr().out)["runs"], made[1].untried) == (2, ("a count",))
