"""The server: which address gives what. Everything that it says is JSON, or a file of `static/`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from mesh.errors import UsageError
from mesh.loading import all_plans
from mesh.scenario import Scenario
from mesh.viewer.answers import ANSWERS
from mesh.viewer.asking import Asked, Page
from mesh.viewer.connection import streaming
from mesh.viewer.folder import Folder, Missing
from mesh.viewer.guarding import BODY_MAX, Guard, add_headers, middleware
from mesh.viewer.opened import STEPS_MAX
from mesh.viewer.runs import Runs

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
        self._plans = all_plans(packages[1])[0]
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
            ("GET", "/api/runs", self._list_runs),
            ("POST", "/api/runs", self._start_run),
            ("GET", "/api/runs/{run}/events", self._watch_run),
            ("DELETE", "/api/runs/{run}", self._stop_run),
            *(("GET", f"/api/t/{{name}}{name}", self._of_trace(page)) for name, page in ANSWERS.items()),
            ("GET", "/{path:.*}", self._static),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler, expect_handler=_expect)
        return app

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
        with streaming(request):
            await response.prepare(request)
            async for kind, said in self.runs.events(run):
                await response.write(f"event: {kind}\ndata: {json.dumps(said)}\n\n".encode("ascii"))
        return response

    async def _list_runs(self, _request: web.Request) -> web.Response:
        return _json({"runs": await self.runs.listed()})

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

    def _of_trace(self, page: Page) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            opened = await self.folder.opened(request.match_info["name"])
            opened.trace.steps.allow(STEPS_MAX)
            asked = Asked(
                request.query,
                request.match_info.get("index") or request.match_info.get("handle") or "",
                self._scenarios,
            )
            return _bounded(page.said(opened, asked), request)

        return handle

    async def _static(self, request: web.Request) -> web.Response:
        path = self._files.get("/index.html" if request.path == "/" else request.path)
        if path is None:
            raise Missing("there is no such page")
        return web.Response(body=path.read_bytes(), content_type=TYPES[path.suffix], charset="utf-8")


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
