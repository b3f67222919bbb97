"""The story of a run, sentence by sentence, each with the messages that it tells of.

A sentence owns the transmissions since the one before it, except those that another was given; or those of the
messages that it is given itself. So what is told can be looked up, and what happens later belongs to nobody yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Spans = tuple[tuple[int, int], ...]
"""Indexes of transmissions, as first and last of each run without a gap."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the story, and the transmissions that it owns."""

    text: str
    text_ja: str
    messages: Spans = ()

    def as_json(self) -> dict[str, Any]:
        """The sentence as `run --json` and the viewer give it."""
        return {"text": self.text, "text_ja": self.text_ja, "messages": [list(one) for one in self.messages]}


class Teller:
    """Gives each sentence its messages."""

    def __init__(self) -> None:
        self._told = 0
        self._given: dict[int, None] = {}

    def since_last(self, sent: int) -> Spans:
        """What was sent since the last sentence that took its messages so, and was given to none meanwhile."""
        mine = (index for index in range(self._told, sent) if index not in self._given)
        found = spans(mine) if self._given else ((self._told, sent - 1),) if sent > self._told else ()
        self._told = sent
        self._given.clear()
        return found

    def given(self, indexes: Sequence[int]) -> Spans:
        """These, which the next sentence does not tell of again."""
        self._given.update(dict.fromkeys(indexes))
        return spans(sorted(indexes))


def spans(indexes: Iterable[int]) -> Spans:
    """Rising numbers as first and last of each run without a gap."""
    runs = [
        [index for _, index in run] for _, run in groupby(enumerate(indexes), key=lambda one: one[1] - one[0])
    ]
    return tuple((run[0], run[-1]) for run in runs)
