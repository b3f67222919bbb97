"""What the charts of a page show, as plain numbers: the templates draw it, and nothing else computes it.

Every chart is labelled directly and stands in a table, or has one beside it, so that it can be read without
being seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mesh.errors import CODES, Code
from mesh.names import is_address
from mesh.papers import Paper, Saved
from mesh.reach import Reach
from mesh.report import Use

PARTIES_MAX = 8
"""Columns that a matrix may have; more parties are gathered by role."""


@dataclass(frozen=True, slots=True)
class AtCounter:
    """The papers that one counter no longer has to issue."""

    counter: str
    counter_ja: str
    papers: tuple[tuple[Paper, tuple[Saved, ...]], ...]
    """Each kind of paper, and those that were saved."""
    count: int
    fee_yen: int
    share: float
    """Of the longest bar, in percent."""


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of how far a push got."""

    title: str
    title_ja: str
    count: int
    width: float
    mistaken: float = 0
    """The width, behind the other, of who was reached without reason."""
    y: int = 0


@dataclass(frozen=True, slots=True)
class Matrix:
    """Which items came to whom, and how often."""

    parties: tuple[tuple[str, int], ...]
    """Address or role, and how many nodes it stands for."""
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Service:
    """How one service or push was answered and refused."""

    name: str
    title: str
    title_ja: str
    answered: int
    refused: int
    codes: tuple[tuple[str, int], ...]
    from_copy: bool
    answered_share: float
    refused_share: float


def by_counter(saved: Iterable[Saved]) -> list[AtCounter]:
    """The papers by the counter that issues them, the busiest first."""
    counters: dict[tuple[str, str], dict[Paper, tuple[Saved, ...]]] = {}
    for one in saved:
        kinds = counters.setdefault((one.paper.counter, one.paper.counter_ja), {})
        kinds[one.paper] = (*kinds.get(one.paper, ()), one)
    counts = {names: sum(map(len, kinds.values())) for names, kinds in counters.items()}
    made = [
        AtCounter(
            *names,
            papers=tuple(kinds.items()),
            count=counts[names],
            fee_yen=sum(paper.fee_yen * len(those) for paper, those in kinds.items()),
            share=100 * counts[names] / max(counts.values()),
        )
        for names, kinds in counters.items()
    ]
    return sorted(made, key=lambda one: -one.count)


def reach_steps(push: Reach, *, width: int = 340, step: int = 44) -> list[Step]:
    """The bars of a push: who should have heard, who did, and what they did then."""
    most = max(push.eligible, push.notified + push.mistaken, push.accepted, push.declined, 1)
    scale = width / most
    counts = (
        ("Eligible", "対象", push.eligible, 0),
        ("Notified", "通知", push.notified, push.mistaken),
        ("Accepted", "申請・受諾", push.accepted, 0),
        ("Declined", "辞退", push.declined, 0),
    )
    return [
        Step(title, title_ja, count, scale * count, scale * mistaken, place * step)
        for place, (title, title_ja, count, mistaken) in enumerate(counts)
    ]


def matrix(disclosed: Mapping[str, Mapping[str, int]]) -> Matrix:
    """Items against parties; where there are too many parties, those of one role stand together."""
    many = len(disclosed) > PARTIES_MAX
    members = Counter(map(_role_of, disclosed))
    gathered: dict[tuple[str, int], Counter[str]] = {}
    for party, items in disclosed.items():
        role = _role_of(party)
        together = many and members[role] > 1
        gathered.setdefault((role, members[role]) if together else (party, 1), Counter()).update(items)
    parties = sorted(gathered)
    known = sorted({item for counts in gathered.values() for item in counts})
    return Matrix(
        tuple(parties), tuple((item, tuple(gathered[one][item] for one in parties)) for item in known)
    )


def _role_of(address: str) -> str:
    """The role that all systems of one kind share: `muni/*/tax`."""
    if not is_address(address):
        return address
    kind, _, system = address.split("/")
    return f"{kind}/*/{system}"


def services(uses: Mapping[str, Use]) -> list[Service]:
    """The services and pushes, the busiest first, with shares of the longest bar."""
    most = max((use.answered + use.refusals.total() for use in uses.values()), default=1) or 1
    made = [
        Service(
            name,
            use.title,
            use.title_ja,
            use.answered,
            use.refusals.total(),
            tuple(sorted(use.refusals.items())),
            use.from_copy,
            100 * use.answered / most,
            100 * use.refusals.total() / most,
        )
        for name, use in sorted(uses.items())
    ]
    return sorted(made, key=lambda one: -(one.answered + one.refused))


def known_codes(refusals: Iterable[str]) -> list[Code]:
    """What is declared of the codes that occurred, by name."""
    return [CODES[code] for code in sorted(refusals) if code in CODES]
