"""What the viewer says of a trace: which address of docs/VIEWER_API.md gives what, for the server and for `trace page`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from mesh.errors import CODES, UsageError
from mesh.faults import recorded_effects
from mesh.scenario import Scenario
from mesh.trace.perspective import sees_run
from mesh.trace.reader import Trace
from mesh.viewer.absent import check_commission, check_joins, check_outcome, check_resident
from mesh.viewer.asking import Asked, Page, listed, whole
from mesh.viewer.folder import Missing, titles
from mesh.viewer.joining import joining
from mesh.viewer.message import message
from mesh.viewer.opened import Opened, member
from mesh.viewer.outcome import outcome
from mesh.viewer.overview import network, present, timeline
from mesh.viewer.resident import resident
from mesh.viewer.rows import PAGE_MAX, Filters, page, position, select
from mesh.viewer.wording import note_in_japanese

POLL_S: Final = 0.05


async def answer(path: Path, address: str, scenarios: Mapping[str, Scenario]) -> Any:
    """The whole answer about a trace file to an address as `joins?first=muni/01208&second=muni/28100`.

    `UsageError` for an address that there is not, and for what the answer is an error to.
    """
    name, _, query = address.partition("?")
    given = [part for part in name.split("/", 1) if part]
    key = f"/{given[0]}" if given else ""
    found = next(
        (one for one in ANSWERS if one.partition("/{")[0] == key and ("{" in one) == (len(given) > 1)), None
    )
    if found is None:
        known = ", ".join(one[1:] for one in ANSWERS if one)
        raise UsageError(f"there is no page {name!r}; there are {known}")
    # A + joins parties; on a terminal nobody writes it as %2B.
    asked = Asked(dict(parse_qsl(query.replace("+", "%2B"))), unquote(given[-1]) if given else "", scenarios)
    opened = Opened(Trace.open(path, path.name, lenient=True))
    try:
        await opened.start()
        while not opened.index.done:
            await asyncio.sleep(POLL_S)
        made = ANSWERS[found].said(opened, asked)
        while not made["index"]["done"]:
            await asyncio.sleep(POLL_S)
            made = ANSWERS[found].said(opened, asked)
        return made
    finally:
        await opened.close()


def _meta(opened: Opened, asked: Asked) -> dict[str, Any]:
    """What a trace says of itself: all of it, or what of it somebody can know."""
    trace, run = opened.trace, sees_run(asked.as_)
    notes, shown = opened.notes_for(asked.as_), _whole(opened) if run else present(opened, asked.as_)
    addresses = shown["parties"]
    return {
        "name": opened.name,
        **titles(trace, asked.scenarios),
        "seed": trace.meta.get("seed") if run else None,
        "settings": trace.meta.get("settings") if run else None,
        "faults": _faults(trace) if run else None,
        "broke_off": trace.broke_off if run else None,
        "starts": trace.meta.get("starts"),
        "start_us": trace.start_us,
        "messages": opened.messages if run else len(select(opened, Filters(as_=asked.as_))),
        "complete": trace.complete,
        "live": trace.live,
        "listed": opened.index.listed,
        "notes": notes,
        "notes_ja": list(map(note_in_japanese, notes)),
        "parties": [
            {
                "number": number,
                "address": address,
                "member": member(address),
                "zone": opened.zones.get(address),
            }
            for number, address in trace.parties.items()
            if address in addresses
        ],
        "names": _titles(opened.names_of(addresses)),
        "residents": shown["residents"],
        "services": shown["services"],
        "titles": {key: _titles(dict(trace.titles(key))) for key in ("services", "procedures")}
        | {"codes": _titles({name: (code.text, code.text_ja) for name, code in CODES.items()})},
        "codes": shown["codes"],
        "kinds": shown["kinds"],
        "fates": shown["fates"],
    }


def _whole(opened: Opened) -> dict[str, Any]:
    """What `present` says, of everything: without a look at every transmission."""
    names = opened.index.names
    return {
        "parties": list(opened.trace.parties.values()),
        "residents": list(opened.residents),
        "codes": [one for one in CODES if one in {*names["code"], *names["refused"]}],
        **{f"{column}s": sorted({*names[column]} - {""}) for column in ("service", "kind", "fate")},
    }


def _titles(named: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    return {name: {"title": title, "title_ja": title_ja} for name, (title, title_ja) in named.items()}


def _faults(trace: Trace) -> dict[str, Any] | None:
    """The run's fault plan, with what each fault met once the run has ended."""
    if trace.faults is None:
        return None
    effects = recorded_effects(trace.meta.get("effects"))
    said = [one.said for one in effects or trace.faults.faults]
    told = [{"text": text, "text_ja": text_ja} for text, text_ja in said]
    return trace.faults.as_json() | {"faults": told}


def _progress(opened: Opened, _asked: Asked) -> dict[str, Any]:
    """What tells whether there is more to see than before."""
    trace = opened.trace
    return {
        "stamp": opened.stamp,
        "complete": trace.complete,
        "live": trace.live,
        "listed": opened.index.listed,
    }


def _rows(opened: Opened, asked: Asked) -> dict[str, Any]:
    offset, limit = asked.number("offset", 0), asked.number("limit", 100)
    return page(opened, Filters.of(asked.query), offset, min(limit, PAGE_MAX))


def _position(opened: Opened, asked: Asked) -> dict[str, Any]:
    return {"offset": position(opened, Filters.of(asked.query), asked.number("index"))}


def _message(opened: Opened, asked: Asked) -> dict[str, Any]:
    text = asked.rest
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Missing("a message is named by its index")
    return message(opened, int(text), asked.as_)


def _map(opened: Opened, asked: Asked) -> dict[str, Any]:
    to_us = asked.number("to_us") if "to_us" in asked.query else None
    return network(opened, asked.as_, asked.number("from_us", 0), to_us)


def _timeline(opened: Opened, asked: Asked) -> dict[str, Any]:
    return timeline(opened, Filters.of(asked.query), asked.number("bins", 100))


def _resident(opened: Opened, asked: Asked) -> dict[str, Any]:
    return resident(opened, asked.rest, asked.as_, hidden=asked.query.get("hidden") == "1")


def _bodies(asked: Asked) -> tuple[str, str]:
    return asked.query.get("first", ""), asked.query.get("second", "")


def _commission(opened: Opened, asked: Asked) -> dict[str, Any]:
    state = opened.review.state()
    if not sees_run(asked.as_):
        # The commission has codes; whom they mean only the run knows.
        state["records"] = [
            one | {"rows": [row | {"person": None} for row in one["rows"]]}
            for one in state.get("records", ())
        ]
    return state | {"index": {"done": state["done"], "share": state["share"]}}


def _own_page(opened: Opened, asked: Asked) -> None:
    if not opened.is_resident(asked.rest):
        raise UsageError(f"the trace knows no resident {asked.rest}")
    check_resident(opened.perspective(asked.as_), asked.rest)


ANSWERS: Final[dict[str, Page]] = {
    "": Page(_meta, whole, waits=False),
    "/rows": Page(_rows, listed, waits=False),
    "/position": Page(_position, listed, waits=False),
    "/present": Page(lambda opened, asked: present(opened, asked.as_), listed),
    "/message/{index}": Page(_message, whole, waits=False),
    "/map": Page(_map, listed),
    "/timeline": Page(_timeline, listed),
    "/resident/{handle}": Page(_resident, whole, check=_own_page),
    "/joins": Page(
        lambda opened, asked: joining(opened, *_bodies(asked), asked.as_),
        whole,
        check=lambda opened, asked: check_joins(
            opened.perspective(asked.as_), *map(opened.perspective, _bodies(asked))
        ),
    ),
    "/outcome": Page(
        lambda opened, asked: outcome(opened, asked.as_),
        whole,
        check=lambda opened, asked: check_outcome(opened.perspective(asked.as_)),
    ),
    "/commission": Page(
        _commission, None, check=lambda opened, asked: check_commission(opened.perspective(asked.as_))
    ),
    "/progress": Page(_progress, whole, waits=False),
}
"""Address behind the trace's name → what stands there."""
