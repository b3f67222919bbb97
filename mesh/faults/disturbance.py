"""Faults on the way: lines dropped, repeated, delayed or changed between two parties.

A rule looks at a line and says what becomes of it; rules are tried in order and the first that answers
decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mesh.names import matches

Fates = Sequence[tuple[int | None, bytes]]
"""What becomes of one line: copies to deliver, each with an extra delay in µs; None drops it."""
Rule = Callable[[str, str, bytes, int], Fates | None]
"""(sender, recipient, line, now_us) → fates, or None for "not mine"."""


class Standing(Protocol):
    """What is wrong with the network besides, throughout a run."""

    def fates(self, sender: str, recipient: str, line: bytes, now_us: int) -> Fates | None:
        """What becomes of a line that no rule decided about, as a rule says it."""

    def is_away(self, address: str, now_us: int) -> bool:
        """Whether a line that arrives finds nobody."""


class Disturbance:
    """The rules in force on one transport, and behind them what stands for all of the run."""

    def __init__(self, standing: Standing | None = None) -> None:
        self.rules: list[Rule] = []
        self.standing = standing

    def apply(self, sender: str, recipient: str, line: bytes, now_us: int) -> Fates:
        """What becomes of a line; without a rule for it, it arrives as it is."""
        for rule in self.rules:
            fates = rule(sender, recipient, line, now_us)
            if fates is not None:
                return fates
        fates = None if self.standing is None else self.standing.fates(sender, recipient, line, now_us)
        return ((0, line),) if fates is None else fates


def drop(sender: str = "*/*/*", recipient: str = "*/*/*", *, times: int | None = None) -> Rule:
    """Lose lines between two roles without a trace to either; `times` limits how many."""
    left = [times]

    def rule(from_: str, to: str, line: bytes, now_us: int) -> Fates | None:
        if left[0] == 0 or not (matches(sender, from_) and matches(recipient, to)):
            return None
        if left[0] is not None:
            left[0] -= 1
        return ((None, line),)

    return rule


def repeat(sender: str = "*/*/*", recipient: str = "*/*/*", *, after_us: int = 1_000_000) -> Rule:
    """Deliver every line between two roles twice."""

    def rule(from_: str, to: str, line: bytes, now_us: int) -> Fates | None:
        if not (matches(sender, from_) and matches(recipient, to)):
            return None
        return ((0, line), (after_us, line))

    return rule


def change(edit: Callable[[bytes], bytes], sender: str = "*/*/*", recipient: str = "*/*/*") -> Rule:
    """Change every line between two roles on its way."""

    def rule(from_: str, to: str, line: bytes, now_us: int) -> Fates | None:
        if not (matches(sender, from_) and matches(recipient, to)):
            return None
        return ((0, edit(line)),)

    return rule
