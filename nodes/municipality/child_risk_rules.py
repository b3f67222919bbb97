"""How the analysis of child data arrives at a number: rules that anybody can read, and an explanation per child.

All weights are illustrative. They follow two thoughts of the guideline for linking child data (こども家庭庁): what
is looked for is need that nobody has met yet, and the number only orders what a person looks at. So poverty alone
never brings a child on the list, and who is cared for already counts less. What could not be learned counts
nothing, and is shown as not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

RULES_VERSION: Final = "rules-a"
THRESHOLD: Final = 50
"""From here on a child is put before a person."""

Fact = Literal["absence", "missed", "allowance", "assistance", "services"]
"""出欠, 健診未受診, 児童扶養手当, 生活保護, 障害福祉サービス: the one item of each source."""
Reason = Literal[
    "long-absence",
    "some-absence",
    "missed-check-up",
    "missed-check-ups",
    "allowance",
    "assistance",
    "cared-for",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """If a fact has a value, a reason with its points."""

    fact: Fact
    value: str
    reason: Reason
    points: int
    text_ja: str


RULES: Final = (
    Rule("absence", "long", "long-absence", 40, "欠席30日以上"),
    Rule("absence", "some", "some-absence", 15, "欠席10日以上30日未満"),
    Rule("missed", "1", "missed-check-up", 20, "乳幼児健診の未受診1回"),
    Rule("missed", "2", "missed-check-ups", 40, "乳幼児健診の未受診2回以上"),
    Rule("allowance", "True", "allowance", 10, "児童扶養手当の受給"),
    Rule("assistance", "True", "assistance", 10, "生活保護の受給"),
    Rule("services", "True", "cared-for", -10, "障害福祉サービスの利用（既に支援につながっている）"),
)


@dataclass(frozen=True, slots=True)
class Score:
    """A number, and all that it consists of."""

    points: int
    reasons: tuple[Reason, ...]
    unknown: tuple[Fact, ...]
    """What could not be learned."""


def score(facts: Mapping[Fact, str | None]) -> Score:
    """The score of a child by its facts; None stands for what could not be learned."""
    held = [rule for rule in RULES if facts.get(rule.fact) == rule.value]
    unknown = tuple(fact for fact, value in facts.items() if value is None)
    return Score(max(sum(rule.points for rule in held), 0), tuple(rule.reason for rule in held), unknown)
