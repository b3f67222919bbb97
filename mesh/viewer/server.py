"""The server: which address gives what. Everything that it says is JSON, or a file of `static/`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from mesh.errors import CODES, UsageError
from mesh.scenario import Scenario
from mesh.trace.perspective import EVERYTHING
from mesh.viewer.folder import Folder, Missing, titles
from mesh.viewer.guarding import BODY_MAX, Guard, add_headers, middleware
from mesh.viewer.message import message
from mesh.viewer.opened import Opened, member
from mesh.viewer.rows import PAGE_MAX, Filters, page, position

STATIC: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2",
    ".ico": "image/x-icon",
}  # fmt: skip
NUMBER_MAX: Final = 2**53 - 1

Answer = Callable[[Opened, web.Request], Any]


class Viewer:
    """The application over one folder."""

    def __init__(self, folder: Folder, scenarios: Mapping[str, Scenario]) -> None:
        self.folder = folder
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
        app.on_cleanup.append(self._close)
        app.router.add_get("/api/traces", self._traces)
        app.router.add_get("/api/scenarios", self._scenario_list)
        for name, answer in self._answers().items():
            app.router.add_get(f"/api/t/{{name}}{name}", self._of_trace(answer))
        app.router.add_get("/{path:.*}", self._static)
        return app

    def _answers(self) -> dict[str, Answer]:
        return {
            "": self._meta,
            "/rows": _rows,
            "/position": _position,
            "/message/{index}": _message,
        }

    async def _close(self, _app: web.Application) -> None:
        await self.folder.close()

    # Answers.

    async def _traces(self, _request: web.Request) -> web.Response:
        return _json({"traces": self.folder.list()})

    async def _scenario_list(self, _request: web.Request) -> web.Response:
        return _json({"scenarios": [one.as_json() for one in self._scenarios.values()]})

    def _of_trace(self, answer: Answer) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            opened = await self.folder.opened(request.match_info["name"])
            return _json(answer(opened, request))

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
            "starts": trace.meta.get("starts"),
            "start_us": trace.start_us,
            "messages": opened.count,
            "complete": trace.complete,
            "notes": opened.notes,
            "parties": [
                {
                    "number": number,
                    "address": address,
                    "member": member(address),
                    "zone": opened.zones.get(address),
                }
                for number, address in trace.parties.items()
            ],
            "residents": list(opened.residents),
            "services": _names(names["service"]),
            "codes": [one for one in CODES if one in {*names["code"], *names["refused"]}],
            "kinds": _names(names["kind"]),
            "index": opened.progress,
        }


def _names(names: list[str]) -> list[str]:
    return sorted(one for one in names if one)


def _rows(opened: Opened, request: web.Request) -> dict[str, Any]:
    offset, limit = number(request, "offset", 0), number(request, "limit", 100)
    return page(opened, Filters.of(request.query), offset, min(limit, PAGE_MAX))


def _position(opened: Opened, request: web.Request) -> dict[str, Any]:
    return {"offset": position(opened, Filters.of(request.query), number(request, "index"))} | {
        "index": opened.progress
    }


def _message(opened: Opened, request: web.Request) -> dict[str, Any]:
    text = request.match_info["index"]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Missing("a message is named by its index")
    return message(opened, int(text), request.query.get("as") or EVERYTHING)


def number(request: web.Request, name: str, default: int | None = None) -> int:
    """A whole number of a URL's query; `UsageError` if it is none."""
    text = request.query.get(name, "")
    if not text and default is not None:
        return default
    if not (text.isascii() and text.isdigit() and int(text[:17]) <= NUMBER_MAX):
        raise UsageError(f"{name} is a whole number")
    return int(text[:17])


def _json(value: Any) -> web.Response:
    # Lone surrogates, which a hostile message may hold, have no UTF-8: escaped, they pass.
    return web.Response(body=json.dumps(value).encode("ascii"), content_type="application/json")
