"""What each output shows to each party, held against what that party can know: all scenarios, five who look.

    uv run python tests/sweeps/perspectives.py
    uv run python tests/sweeps/perspectives.py --scenario child_allowance,moving --share 0.1

Who looks: the body that asked most, the one that answered most, the broker, a resident, and an outsider on the wire. The
outputs: `trace show` as list, sequence and single messages, `trace history`, `trace page` of every page, every export,
and the viewer's server. What a party knows is read from the trace itself (tests/helpers_known.py): what it sent or
received, what it could open or sealed itself, its own ledger. Every text with a word that is not among that, or with a
sentence that only the run as a whole knows, is listed, and the exit code is 1. A share is that part of the messages that
are shown one by one. Each run is under a fault plan, with a seed that is no other number.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from mesh.builtin import CONSENTS, HISTORY, LEDGER_HEAD, LEDGER_MARK, LEDGER_ROWS, SUBSCRIPTION
from mesh.errors import CODES
from mesh.loading import all_plans, scenarios_of
from mesh.message import Kind
from mesh.names import BROKER, CODE_ISSUER, COMMISSION
from mesh.recorder import Fate
from mesh.runner import run_scenario
from mesh.trace.perspective import WIRE
from mesh.trace.reader import Trace
from tests.helpers_known import Run, Words, public_words
from tests.helpers_outputs import OUTPUTS, Looker, Text, served

SEED: Final = 7_331_849
PLAN: Final = "packet_loss"
MESSAGES_MAX: Final = 40
"""Messages that are shown one by one to each, where the share of them is more."""
KINDS_MAX: Final = 40
"""Kinds of texts that are printed of a scenario."""
RUN_KEYS: Final = ("seed", "settings", "faults", "broke_off", "story", "expectations", "residents")
PAGE_KEYS: Final = frozenset(("letters", "anomalies", "joined", "latencies"))
"""By which the pages of a resident, of the commission, of two bodies together, and of who reads lines are known."""
LOST: Final = frozenset((Fate.DROPPED, Fate.IN_FLIGHT))
"""What neither end of a line sees: who sent it does not hear, and who should have it has nothing."""
_OF_THE_MESH: Final = {
    one.name for one in (CONSENTS, HISTORY, LEDGER_HEAD, LEDGER_MARK, LEDGER_ROWS, SUBSCRIPTION)
}
_WORD: Final = re.compile(r"[^\s\"'`<>(){}\[\],;|│=→:]+")
_TRIMMED: Final = ".,:!?'"
_CODE: Final = re.compile(r"[a-z_]{4,}")


class Told(NamedTuple):
    """A text that says what who looks cannot know."""

    looker: str
    text: Text
    what: str

    def __str__(self) -> str:
        shown = self.text.text if len(self.text.text) < 120 else self.text.text[:119] + "…"
        return f"{self.looker}: {self.text.output} at {self.text.place}: {shown!r}: {self.what}"


class Unknown:
    """What somebody cannot know of a run."""

    def __init__(self, run: Run, looker: Looker, own: Words) -> None:
        everything, open_ = run.everything(), public_words(run.trace)
        own.add((looker.handle, *run.clock()), "what they typed, or the clock")
        handles = {handle for handle, _, _ in run.residents}
        seen = set(_WORD.findall(open_))
        words = {
            word: where
            for word, where in everything.words.items()
            if word not in own.words
            and (word in handles or word not in open_ or (_WORD.fullmatch(word) and word not in seen))
        }
        self.words = {word: where for word, where in words.items() if _WORD.fullmatch(word)}
        self.phrases = {
            word: where for word, where in words.items() if word not in self.words
        } | run.sentences()
        known = "\n".join(own.words)
        self.phrases = {one: what for one, what in self.phrases.items() if one not in known}
        self.codes = set(CODES) - own.codes | (frozenset[str]() if looker.name == WIRE else LOST)
        self._pages = {"letters"} if looker.name == looker.handle else set[str]()
        self._pages |= set[str]() if looker.name == WIRE else {"latencies"}
        self._judged: dict[str, tuple[str, ...]] = {}

    def told(self, text: Text) -> Iterator[str]:
        """Why a text cannot be for who looks; nothing if it can."""
        key = text.place.rpartition(".")[2]
        if key.endswith("_us") and ".content." not in text.place:
            return  # The clock of the page itself; an amount may be the same number.
        yield from self.unknown(text.text)
        if key in RUN_KEYS and text.text != key:
            yield f"{key} is for the whole run"
        if key == text.text and key in PAGE_KEYS - self._pages:
            yield f"the page with {key} is for others"

    def unknown(self, text: str) -> tuple[str, ...]:
        """What of a text they cannot know; the same text stands in many outputs."""
        if text not in self._judged:
            self._judged[text] = tuple(self._unknown(text))
        return self._judged[text]

    def _unknown(self, text: str) -> Iterator[str]:
        for word in (one.strip(_TRIMMED) for one in _WORD.findall(text)):
            if word in self.words:
                yield f"{word!r} of {self.words[word]}"
            if word in self.codes and _says_code(word, text):
                yield f"the code {word}"
        for one, what in self.phrases.items():
            if one in text:
                yield f"{what}: {one!r}"


def _says_code(word: str, text: str) -> bool:
    """Whether a word is a code there, and not one of a sentence."""
    return "_" in word or text == word or word in LOST or f"says {word}" in text or f": {word}" in text


def ends_of(run: Run) -> Iterator[str]:
    """Who asked most, and who else answered most, of what nodes ask each other beyond the mesh's own services and offices."""
    asked: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for one in run.sent:
        if (
            one.sender.startswith((f"{COMMISSION}/", BROKER, CODE_ISSUER))
            or one.message.service in _OF_THE_MESH
        ):
            continue
        asked[one.sender] += one.message.kind == Kind.REQUEST
        answered[one.sender] += one.message.kind in (Kind.REPLY, Kind.REFUSAL)
    (requester, _), *_ = asked.most_common()
    yield requester
    yield next(one for one, _ in answered.most_common() if one != requester)


def lookers_of(run: Run, share: float, most: int = MESSAGES_MAX) -> Iterator[tuple[Looker, Words]]:
    """The five who look, each with what they know."""
    ends = list(ends_of(run))
    handles = dict.fromkeys(handle for handle, _, _ in run.residents)
    known = {handle: run.of_resident(handle) for handle in list(handles)[:20]}
    resident = max(known, key=lambda one: len(known[one].words), default="r-000000")
    bodies = (ends[0], ends[1])
    for name in (*ends, BROKER):
        parties = frozenset((name,))
        numbers = [
            one.number
            for one in run.sent
            if name == one.sender or (name == one.recipient and one.fate == "delivered")
        ]
        yield Looker(name, _part(numbers, share, most), resident, bodies), run.of_parties(parties)
    if resident in known:
        lines = list(range(run.lines_of(resident)))
        yield Looker(resident, _part(lines, share, most), resident, bodies), known[resident]
    every = [one.number for one in run.sent]
    yield Looker(WIRE, _part(every, share, min(most, 3)), resident, bodies), Words()


def _part(numbers: list[int], share: float, most: int) -> tuple[str, ...]:
    """Some of the numbers, evenly spread."""
    count = min(most, max(1, round(len(numbers) * share)), len(numbers))
    return tuple(str(numbers[place * len(numbers) // count]) for place in range(count))


class Lookers(dict[Looker, Unknown]):
    """Who looks at a trace, and what they cannot know of it."""

    def __init__(self, path: Path, share: float = 1.0, most: int = MESSAGES_MAX) -> None:
        with Trace.open(path) as trace:
            run = Run(trace)
            super().__init__((one, Unknown(run, one, own)) for one, own in lookers_of(run, share, most))
        self.path = path
        self.counts: Counter[str] = Counter()
        """How many texts were compared, by who looked."""

    def compare(
        self, outputs: Iterable[str] = tuple(OUTPUTS), *, server: bool = True, only: str | None = None
    ) -> Iterator[Told]:
        """Every text of these outputs that tells somebody what they cannot know; everybody, or the one who is named."""
        asked = [one for one in self if only in (None, one.name)]
        said = asyncio.run(_served(self.path, asked)) if server else [[] for _ in asked]
        for looker, texts in zip(asked, said, strict=True):
            written = (text for name in outputs for text in OUTPUTS[name](self.path, looker))
            for text in chain(written, texts):
                self.counts[looker.name] += 1
                for what in self[looker].told(text):
                    yield Told(looker.name, text, what)


def kinds_of(found: Iterable[Told]) -> list[tuple[Told, int]]:
    """The first of each kind, and how many there are of it: the same output and place but for numbers."""
    kinds: dict[tuple[str, ...], list[Told]] = {}
    for one in found:
        what = one.what.partition("' of ")[2] or one.what.partition(":")[0]
        alike = (re.sub(r"\d+", "#", part) for part in (one.text.output, one.text.place, what))
        kinds.setdefault((one.looker, *alike), []).append(one)
    return [(some[0], len(some)) for some in kinds.values()]


async def _served(path: Path, lookers: Iterable[Looker]) -> list[list[Text]]:
    async with served(path) as said:
        return [await said(one) for one in lookers]


def main(words: list[str] | None = None) -> int:
    """Play what was asked for, compare, and print what was found."""
    known = scenarios_of("scenarios")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", default=",".join(known), help="scenarios, with commas between")
    parser.add_argument("--share", type=float, default=1.0, help="part of the messages shown one by one")
    given = parser.parse_args(words)
    told = 0
    for name in given.scenario.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.trace"
            record(name, path)
            lookers = Lookers(path, given.share)
            found, counts = list(lookers.compare()), lookers.counts
        print(
            f"{name}: {counts.total():,} texts for {', '.join(counts)}: {len(found)} tell too much",
            flush=True,
        )
        for one, count in kinds_of(found)[:KINDS_MAX]:
            print(f"  {count} x {one}")
        told += len(found)
    return 1 if told else 0


def record(name: str, path: Path) -> None:
    """Record a scenario under the fault plan."""
    plan = all_plans("scenarios")[0][PLAN]
    run_scenario(scenarios_of("scenarios")[name], nodes="nodes", trace=path, seed=SEED, faults=plan)


if __name__ == "__main__":
    sys.exit(main())
