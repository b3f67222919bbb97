"""What came of a run: what its report says, and what messages and ledgers say by themselves.

Rules kept here:
1. What only the run knows (story, expectations, papers, visits) is there for who looks at the whole run.
2. What a party can know follows from what it has: what it gave and got, how long it waited, and what it was refused. The
   broker knows of all that was given; a resident knows what their history shows.
3. A refusal is one signed message, and counted once, however many lines carry it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any, Final

from mesh.message import Kind
from mesh.names import BROKER
from mesh.refusals import read_behind
from mesh.trace.perspective import EVERYTHING, OfParties, OfResident, Perspective, Text
from mesh.trace.show import attributes_of
from mesh.viewer.opened import Opened
from mesh.viewer.rows import text_of

PERCENTILES: Final = (50, 90, 95, 99)
_REPORTED: Final = ("papers", "fees_saved_yen", "visits_saved", "push", "fallbacks", "uploads")


def outcome(opened: Opened, name: str = EVERYTHING) -> dict[str, Any]:
    """Papers, visits, push reach and story as reported; disclosures, latencies, refusals as found in the trace.

    `unknown` names what only the run as a whole knows, where somebody else looks.
    """
    view = opened.perspective(name)
    run = view.shows(Text.RUN)
    said = opened.trace.meta.get("outcome")
    reported = said if isinstance(said, dict) and run else {}
    names = (*_REPORTED, "elapsed_us")
    given = _given(opened, view)
    return {
        **{name: reported.get(name) for name in names},
        "story": [one.as_json() for one in opened.trace.story()] if run else [],
        "expectations": _expectations(opened) if run else [],
        "broke_off": _broke_off(opened) if run else None,
        "disclosed": _disclosed(given),
        "answers": _answers(given),
        "latencies": _latencies(opened, view),
        "refusals": _refusals(opened, view),
        "services": opened.trace.meta.get("services") or {},
        "missing": [name for name in names if name not in reported] if run else [],
        "unknown": [] if run else [*names, "story", "expectations"],
    }


def _expectations(opened: Opened) -> list[dict[str, Any]]:
    """Each as every page gives it; one that failed points to the refusals behind it."""
    pointed = _pointed(opened)
    return [
        one.as_json() | ({"refusals": pointed.get(place, [])} if one.failed else {})
        for place, one in enumerate(opened.trace.expectations())
    ]


def _broke_off(opened: Opened) -> dict[str, Any] | None:
    """Why the scenario broke off, and the refusals behind that; None if it came to its end."""
    why = opened.trace.broke_off
    return None if why is None else {"text": why, "refusals": _pointed(opened).get(None, [])}


def _pointed(opened: Opened) -> dict[int | None, list[dict[str, Any]]]:
    """The refusals that the run put behind an expectation that failed, by its place; behind its end under None."""
    found = read_behind(opened.trace.meta.get("behind"))
    return {one.expectation: [refusal.as_json() for refusal in one.refusals] for one in found}


# What was given.

Given = list[tuple[str, str, str, int, dict[str, int]]]
"""Who gave, to whom, by which service, in how many answers, and how often each item."""


def _given(opened: Opened, view: Perspective) -> Given:
    if isinstance(view, OfResident):
        return _given_of(opened, view)
    found: Given = opened.index.summary.get("given", [])
    if not isinstance(view, OfParties) or BROKER in view.parties:
        return found
    return [one for one in found if not view.parties.isdisjoint(one[:2])]


def _given_of(opened: Opened, view: OfResident) -> Given:
    """What a resident's history shows: of a question its answer went to who asked."""
    found: Given = []
    for sent in opened.transmissions(view.numbers):
        if view.outcomes[sent.number] != "answered":
            continue
        stated = attributes_of(sent.message)
        ends = (sent.recipient, text_of(stated, "source") or "")
        giver, to = ends if sent.message.kind == Kind.REQUEST else ends[::-1]
        items = dict.fromkeys((text_of(stated, "items") or "").split(), 1)
        found.append((giver, to, sent.message.service or "", 1, items))
    return found


def _disclosed(given: Given) -> list[dict[str, Any]]:
    to: dict[str, Counter[str]] = {}
    for _, receiver, _, _, items in given:
        if items:
            to.setdefault(receiver, Counter()).update(items)
    return [{"to": name, "items": list(items), "answers": dict(items)} for name, items in sorted(to.items())]


def _answers(given: Given) -> dict[str, int]:
    answers = Counter[str]()
    for _, _, service, count, _ in given:
        answers[service] += count
    return dict(sorted(answers.items()))


# How long it took, and what was refused.


def _latencies(opened: Opened, view: Perspective) -> list[dict[str, Any]]:
    """For each service, how long askers waited for its answers, and how many were refused or never answered."""
    askers = frozenset(opened.numbers_of(view.parties)) if isinstance(view, OfParties) else None
    if isinstance(view, OfResident):
        return []
    times: dict[str, array[int]] = {}
    others: dict[str, Counter[str]] = {}
    for asker, service, waits, refused, unfinished in opened.index.summary.get("waits", ()):
        if askers is None or asker in askers:
            times.setdefault(service, array("q")).frombytes(waits)
            others.setdefault(service, Counter()).update(refused=refused, unfinished=unfinished)
    return [
        {"service": service}
        | percentiles(sorted(values))
        | {name: others[service][name] for name in ("refused", "unfinished")}
        for service, values in sorted(times.items())
    ]


def percentiles(values: list[int]) -> dict[str, int | None]:
    """Of sorted µs: how many, the nearest-rank percentiles, and the longest; None where there are none."""

    def at(part: int) -> int | None:
        return values[-(-len(values) * part // 100) - 1] if values else None

    return {"count": len(values)} | {f"p{part}_us": at(part) for part in PERCENTILES} | {"max_us": at(100)}


def _refusals(opened: Opened, view: Perspective) -> list[dict[str, Any]]:
    found = Counter[tuple[str, str]]()
    if isinstance(view, OfResident):
        refused = [number for number, said in view.outcomes.items() if said not in ("answered", "unfinished")]
        found.update(
            (one.message.service or "", view.outcomes[one.number]) for one in opened.transmissions(refused)
        )
    else:
        columns, names = opened.index.columns, opened.index.names
        found.update(
            (names["service"][columns["service"][place]], names["code"][columns["code"][place]])
            for place in opened.refusals(view)
        )
    return [
        {"service": service, "code": code, "count": count} for (service, code), count in sorted(found.items())
    ]
