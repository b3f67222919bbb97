"""What the viewer says of a trace: which address of docs/VIEWER_API.md gives what, for the server and for `trace page`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from mesh.errors import CODES, UsageError
from mesh.faults import recorded_effects
from mesh.scenario import Scenario
from mesh.trace.perspective import EVERYTHING
from mesh.trace.reader import Trace
from mesh.viewer.absent import check_commission
from mesh.viewer.folder import Missing, titles
from mesh.viewer.joining import joining
from mesh.viewer.message import message
from mesh.viewer.opened import Opened, member
from mesh.viewer.outcome import outcome
from mesh.viewer.overview import network, present, timeline
from mesh.viewer.resident import resident
from mesh.viewer.rows import NUMBER_MAX, PAGE_MAX, Filters, page, position
from mesh.viewer.wording import note_in_japanese

POLL_S: Final = 0.05


class Asked(NamedTuple):
    """A question about a trace: its query, and what stands at the end of its path."""

    query: Mapping[str, str]
    rest: str = ""
    scenarios: Mapping[str, Scenario] = {}


Answer = Callable[[Opened, Asked], Any]


async def answer(path: Path, address: str, scenarios: Mapping[str, Scenario]) -> Any:
    """The whole answer about a trace file to an address as `joins?first=muni/01208&second=muni/28100`.

    `UsageError` for an address that there is not, and for what the answer is an error to.
    """
    name, _, query = address.partition("?")
    given = [part for part in name.split("/", 1) if part]
    key = f"/{given[0]}" if given else ""
    whole = next(
        (one for one in ANSWERS if one.partition("/{")[0] == key and ("{" in one) == (len(given) > 1)), None
    )
    if whole is None:
        known = ", ".join(one[1:] for one in ANSWERS if one)
        raise UsageError(f"there is no page {name!r}; there are {known}")
    # A + joins parties; on a terminal nobody writes it as %2B.
    asked = Asked(dict(parse_qsl(query.replace("+", "%2B"))), unquote(given[-1]) if given else "", scenarios)
    opened = Opened(Trace.open(path, path.name, lenient=True))
    try:
        await opened.start()
        while not opened.index.done:
            await asyncio.sleep(POLL_S)
        made = ANSWERS[whole](opened, asked)
        while isinstance(made, dict) and made.get("done") is False:
            await asyncio.sleep(POLL_S)
            made = ANSWERS[whole](opened, asked)
        return made
    finally:
        await opened.close()


def _meta(opened: Opened, asked: Asked) -> dict[str, Any]:
    trace, names = opened.trace, opened.index.names
    return {
        "name": opened.name,
        **titles(trace, asked.scenarios),
        "seed": trace.meta.get("seed"),
        "settings": trace.meta.get("settings"),
        "faults": _faults(trace),
        "broke_off": trace.broke_off,
        "starts": trace.meta.get("starts"),
        "start_us": trace.start_us,
        "messages": opened.count,
        "complete": trace.complete,
        "notes": opened.notes,
        "notes_ja": list(map(note_in_japanese, opened.notes)),
        "parties": [
            {
                "number": number,
                "address": address,
                "member": member(address),
                "zone": opened.zones.get(address),
            }
            for number, address in trace.parties.items()
        ],
        "names": _titles(opened.names),
        "residents": list(opened.residents),
        "services": _names(names["service"]),
        "titles": {key: _titles(dict(trace.titles(key))) for key in ("services", "procedures")}
        | {"codes": _titles({name: (code.text, code.text_ja) for name, code in CODES.items()})},
        "codes": [one for one in CODES if one in {*names["code"], *names["refused"]}],
        "kinds": _names(names["kind"]),
        "fates": _names(names["fate"]),
        "index": opened.progress,
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


def _names(names: list[str]) -> list[str]:
    return sorted(one for one in names if one)


def _rows(opened: Opened, asked: Asked) -> dict[str, Any]:
    offset, limit = number(asked, "offset", 0), number(asked, "limit", 100)
    return page(opened, Filters.of(asked.query), offset, min(limit, PAGE_MAX))


def _position(opened: Opened, asked: Asked) -> dict[str, Any]:
    wanted = Filters.of(asked.query)
    return {
        "offset": position(opened, wanted, number(asked, "index")),
        "index": opened.covered(opened.perspective(wanted.as_)),
    }


def _message(opened: Opened, asked: Asked) -> dict[str, Any]:
    text = asked.rest
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Missing("a message is named by its index")
    return message(opened, int(text), asked.query.get("as") or EVERYTHING)


def _as(asked: Asked) -> str:
    return Filters.of(asked.query).as_


def _map(opened: Opened, asked: Asked) -> dict[str, Any]:
    to_us = number(asked, "to_us") if "to_us" in asked.query else None
    return network(opened, _as(asked), number(asked, "from_us", 0), to_us)


def _timeline(opened: Opened, asked: Asked) -> dict[str, Any]:
    return timeline(opened, Filters.of(asked.query), number(asked, "bins", 100))


def _resident(opened: Opened, asked: Asked) -> dict[str, Any]:
    return resident(opened, asked.rest, _as(asked), hidden=asked.query.get("hidden") == "1")


def _joins(opened: Opened, asked: Asked) -> dict[str, Any]:
    first, second = asked.query.get("first", ""), asked.query.get("second", "")
    return joining(opened, first, second, _as(asked))


def _commission(opened: Opened, asked: Asked) -> dict[str, Any]:
    check_commission(opened.perspective(_as(asked)))
    return opened.review.state()


def number(asked: Asked, name: str, default: int | None = None) -> int:
    """A whole number of a URL's query; `UsageError` if it is none."""
    text = asked.query.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:17]) <= NUMBER_MAX):
        raise UsageError(f"{name} is a whole number")
    return int(text[:17])


ANSWERS: Final[dict[str, Answer]] = {
    "": _meta,
    "/rows": _rows,
    "/position": _position,
    "/present": lambda opened, asked: present(opened, _as(asked)),
    "/message/{index}": _message,
    "/map": _map,
    "/timeline": _timeline,
    "/resident/{handle}": _resident,
    "/joins": _joins,
    "/outcome": lambda opened, asked: outcome(opened, _as(asked)),
    "/commission": _commission,
}
"""Address behind the trace's name → what answers."""
