"""How the server speaks with one client, below the level of requests: how many there are, and how long they may wait.

Rules kept here:
1. Who connects and asks nothing, or half of something, is let go: nobody holds a place for ever.
2. What is no request gets an answer like every other: JSON, with all headers. It quotes nothing, for these bytes have
   been read by nobody yet.
3. A client's nonsense does not fill the server's terminal.
4. An answer that has no end of its own ends when its client leaves, and keeps nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from mesh.viewer.guarding import HEADERS, error
from mesh.viewer.telling import tell_error

CONNECTIONS_MAX: Final = 200
IDLE_S: Final = 15.0
"""How long a client may take to ask, the first time or again."""


class Runner(web.AppRunner):
    """An application's runner whose connections are of the kind below."""

    def __init__(self, app: web.Application, patience_s: float = 1.0) -> None:
        super().__init__(
            app, access_log=None, shutdown_timeout=patience_s, keepalive_timeout=IDLE_S, lingering_time=1.0
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler, request_factory=made.request_factory, loop=made._loop, **made._kwargs
        )


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    # What is waiting for a request when the time is up is closed by the base class, whatever it has sent by then.

    streams = False
    """Whether it answers for as long as somebody listens. Nobody else would find out that nobody does."""

    def connection_lost(self, exc: BaseException | None) -> None:
        task = self._task_handler
        super().connection_lost(exc)
        if self.streams and task is not None:
            task.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._manager is not None and len(self._manager.connections) > CONNECTIONS_MAX:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer to what is no request; a request's own errors never come here."""
        if self.transport is None:
            raise ConnectionError
        response = _Bare.of(error(status, "this is no request that can be read"))
        response.force_close()
        return response

    def log_exception(self, *args: Any, **_: Any) -> None:
        failure = sys.exc_info()[1]
        if not isinstance(
            failure, web.RequestPayloadError
        ):  # A body that nobody could read, met again at the end.
            tell_error(args[0] if args else "", failure)


@contextmanager
def streaming(request: web.Request) -> Iterator[None]:
    """An answer that goes on until the client leaves, and ends with the connection."""
    protocol = request.protocol
    if not isinstance(protocol, _Connection):
        raise AssertionError("the runner makes these connections")
    protocol.streams = True
    try:
        yield
    finally:
        protocol.streams = False


class _Bare(web.Response):
    """A response outside the application, which nobody else gives its headers."""

    @classmethod
    def of(cls, response: web.Response) -> _Bare:
        return cls(body=response.body, status=response.status, headers={**response.headers, **HEADERS})

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


def tell_of_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the loop itself could not do, as taking another connection."""
    tell_error(context.get("message", ""), context.get("exception"))
