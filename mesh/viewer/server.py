"""The server: which address gives what. Everything that it says is JSON, or a file of `static/`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from mesh.errors import CODES, UsageError
from mesh.faults import recorded_effects
from mesh.loading import plans_of
from mesh.scenario import Scenario
from mesh.trace.perspective import EVERYTHING
from mesh.trace.reader import Trace
from mesh.viewer.absent import check_commission
from mesh.viewer.folder import Folder, Missing, titles
from mesh.viewer.guarding import BODY_MAX, Guard, add_headers, middleware
from mesh.viewer.joining import joining
from mesh.viewer.message import message
from mesh.viewer.opened import STEPS_MAX, Opened, member
from mesh.viewer.outcome import outcome
from mesh.viewer.overview import network, present, timeline
from mesh.viewer.resident import resident
from mesh.viewer.rows import NUMBER_MAX, PAGE_MAX, Filters, page, position
from mesh.viewer.runs import Runs
from mesh.viewer.wording import note_in_japanese

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2",
    ".ico": "image/x-icon",
}  # fmt: skip
BODY_S: Final = 10.0
"""How long a body may take to come."""
ANSWER_MAX: Final = 2**22
TEXT_MAX: Final = 2000
"""Bytes of an answer from which on its texts are cut, and characters that are left of each."""

Answer = Callable[[Opened, web.Request], Any]


class Viewer:
    """The application over one folder."""

    def __init__(
        self,
        folder: Folder,
        scenarios: Mapping[str, Scenario],
        packages: tuple[str | None, str | None] = (None, None),
    ) -> None:
        """`packages` are those of the nodes and the scenarios, for runs that the page starts."""
        self.folder = folder
        self._plans = {} if packages[1] is None else plans_of(packages[1])
        self.runs = Runs(folder, scenarios, self._plans, packages)
        self.guard = Guard()
        self._scenarios = scenarios
        self._files = {
            f"/{path.relative_to(STATIC).as_posix()}": path
            for path in sorted(STATIC.rglob("*"))
            if path.is_file() and path.suffix in TYPES
        }

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[middleware(self.guard)], client_max_size=BODY_MAX)
        app.on_response_prepare.append(add_headers)
        app.on_shutdown.append(self._stop_runs)
        app.on_cleanup.append(self._close)
        routes: list[tuple[str, str, Any]] = [
            ("GET", "/api/traces", self._traces),
            ("GET", "/api/scenarios", self._scenario_list),
            ("POST", "/api/runs", self._start_run),
            ("GET", "/api/runs/{run}/events", self._watch_run),
            ("DELETE", "/api/runs/{run}", self._stop_run),
            *(
                ("GET", f"/api/t/{{name}}{name}", self._of_trace(answer))
                for name, answer in self._answers().items()
            ),
            ("GET", "/{path:.*}", self._static),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler, expect_handler=_expect)
        return app

    def _answers(self) -> dict[str, Answer]:
        return {
            "": self._meta,
            "/rows": _rows,
            "/position": _position,
            "/present": lambda opened, request: present(opened, _as(request)),
            "/message/{index}": _message,
            "/map": _map,
            "/timeline": _timeline,
            "/resident/{handle}": _resident,
            "/joins": _joins,
            "/outcome": lambda opened, request: outcome(opened, _as(request)),
            "/commission": _commission,
        }

    async def _stop_runs(self, _app: web.Application) -> None:
        await self.runs.close()

    async def _close(self, _app: web.Application) -> None:
        await self.folder.close()

    # Runs.

    async def _start_run(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await _body(request))
        except (ValueError, RecursionError):
            raise UsageError("a run is asked for in JSON") from None
        run = await self.runs.start(asked)
        return _json({"run": run.id, "trace": run.trace})

    async def _watch_run(self, request: web.Request) -> web.StreamResponse:
        run = self.runs.get(request.match_info["run"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for kind, said in self.runs.events(run):
            await response.write(f"event: {kind}\ndata: {json.dumps(said)}\n\n".encode("ascii"))
        return response

    async def _stop_run(self, request: web.Request) -> web.Response:
        run = self.runs.get(request.match_info["run"])
        await self.runs.stop(run)
        return _json({"run": run.id, "ended": run.ended})

    # Answers.

    async def _traces(self, _request: web.Request) -> web.Response:
        return _json({"traces": await self.folder.listed()})

    async def _scenario_list(self, _request: web.Request) -> web.Response:
        scenarios, plans = self._scenarios.values(), self._plans.values()
        listed = {
            "scenarios": [one.as_json() for one in scenarios],
            "faults": [one.as_json() for one in plans],
        }
        return _json(listed)

    def _of_trace(self, answer: Answer) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            opened = await self.folder.opened(request.match_info["name"])
            opened.trace.steps.allow(STEPS_MAX)
            return _bounded(answer(opened, request), request)

        return handle

    async def _static(self, request: web.Request) -> web.Response:
        path = self._files.get("/index.html" if request.path == "/" else request.path)
        if path is None:
            raise Missing("there is no such page")
        return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8")

    def _meta(self, opened: Opened, _request: web.Request) -> dict[str, Any]:
        trace, names = opened.trace, opened.index.names
        return {
            "name": opened.name,
            **titles(trace, self._scenarios),
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


def _rows(opened: Opened, request: web.Request) -> dict[str, Any]:
    offset, limit = number(request, "offset", 0), number(request, "limit", 100)
    return page(opened, Filters.of(request.query), offset, min(limit, PAGE_MAX))


def _position(opened: Opened, request: web.Request) -> dict[str, Any]:
    wanted = Filters.of(request.query)
    return {
        "offset": position(opened, wanted, number(request, "index")),
        "index": opened.covered(opened.perspective(wanted.as_)),
    }


def _message(opened: Opened, request: web.Request) -> dict[str, Any]:
    text = request.match_info["index"]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Missing("a message is named by its index")
    return message(opened, int(text), request.query.get("as") or EVERYTHING)


def _as(request: web.Request) -> str:
    return Filters.of(request.query).as_


def _map(opened: Opened, request: web.Request) -> dict[str, Any]:
    to_us = number(request, "to_us") if "to_us" in request.query else None
    return network(opened, _as(request), number(request, "from_us", 0), to_us)


def _timeline(opened: Opened, request: web.Request) -> dict[str, Any]:
    return timeline(opened, Filters.of(request.query), number(request, "bins", 100))


def _resident(opened: Opened, request: web.Request) -> dict[str, Any]:
    return resident(
        opened, request.match_info["handle"], _as(request), hidden=request.query.get("hidden") == "1"
    )


def _joins(opened: Opened, request: web.Request) -> dict[str, Any]:
    first, second = request.query.get("first", ""), request.query.get("second", "")
    return joining(opened, first, second, _as(request))


def _commission(opened: Opened, request: web.Request) -> dict[str, Any]:
    check_commission(opened.perspective(_as(request)))
    return opened.review.state()


def number(request: web.Request, name: str, default: int | None = None) -> int:
    """A whole number of a URL's query; `UsageError` if it is none."""
    text = request.query.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:17]) <= NUMBER_MAX):
        raise UsageError(f"{name} is a whole number")
    return int(text[:17])


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    except web.RequestPayloadError:
        raise UsageError("the request's body cannot be read") from None


async def _expect(request: web.Request) -> None:
    """What else a client may expect (RFC 9110, 10.1.1) is left alone, as is a body nobody has asked for yet."""


def _bounded(value: Any, request: web.Request) -> web.Response:
    """An answer about a trace. Long texts of a large one are cut, for a list is to be looked at; a message is whole."""
    body = _bytes(value)
    if len(body) > ANSWER_MAX and "index" not in request.match_info:
        body = _bytes(_cut(value))
    return web.Response(body=body, content_type="application/json")


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= TEXT_MAX else value[: TEXT_MAX - 1] + "…"
    if isinstance(value, dict):
        return {_cut(key): _cut(one) for key, one in value.items()}
    return [_cut(one) for one in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> web.Response:
    return web.Response(body=_bytes(value), content_type="application/json")


def _bytes(value: Any) -> bytes:
    # Lone surrogates, which a hostile message may hold, have no UTF-8: escaped, they pass.
    return json.dumps(value).encode("ascii")
