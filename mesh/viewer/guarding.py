"""What the server refuses before anything else, and what it tells every browser.

Rules kept here:
1. It speaks to pages of its own address only: a `Host` of another name is refused, whatever it resolves to (DNS
   rebinding), and what changes anything must come from its own origin.
2. Pages run no script and take no style but the server's own files, and stand in no other page.
3. An error is one JSON object. Its text is data: it may quote what was asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from mesh.errors import MeshError, UsageError
from mesh.viewer.folder import Missing
from mesh.viewer.telling import tell_error

BODY_MAX: Final = 16_384
"""Bytes of a request's body."""
QUERY_MAX: Final = 4096
SAFE_METHODS: Final = ("GET",)
METHODS: Final = (*SAFE_METHODS, "POST", "DELETE")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """The server's own names; `port` is known once it listens."""

    def __init__(self) -> None:
        self.port = 0

    def origins(self) -> tuple[str, ...]:
        """Under which origins its own pages stand."""
        return tuple(f"http://{host}" for host in self.hosts())

    def hosts(self) -> tuple[str, ...]:
        """What a `Host` header may say."""
        names = ("127.0.0.1", "localhost")
        return tuple(f"{name}:{self.port}" for name in names) + (names if self.port == 80 else ())

    def refusal(self, request: web.Request) -> web.Response | None:
        """Why a request is not even looked at; None if it is."""
        if request.headers.get("Host", "").lower() not in self.hosts():
            return error(403, f"this server answers to {self.hosts()[0]} only")
        if request.method not in METHODS:
            return error(405, f"{request.method} is not used here")
        if len(request.raw_path) > QUERY_MAX:
            return error(414, "the address is too long")
        if request.method not in SAFE_METHODS and request.headers.get("Origin") not in self.origins():
            return error(403, "only the server's own pages may do that")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return error(403, "another site's pages may not ask")
        return None


def middleware(guard: Guard) -> Middleware:
    """Refuse, answer, and turn errors into JSON."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = guard.refusal(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPException as failure:
            return error(failure.status, failure.reason)
        except Missing as failure:
            return error(404, str(failure), **failure.more)
        except (UsageError, MeshError) as failure:
            return error(400, str(failure))
        except ConnectionError:
            raise  # Nobody is there to be told.
        except OSError as failure:
            return error(400, f"what was asked for cannot be read: {failure.strerror}")
        except Exception as failure:
            # Mostly a file that holds what nobody thought of. The page goes on, and whoever serves it reads one line.
            tell_error("", failure)
            return error(
                500, "this part of the trace cannot be shown; `trace verify` says what is wrong with it"
            )

    return guarded


def error(status: int, text: str, **more: Any) -> web.Response:
    """An error as the page shows it."""
    return web.json_response({"error": text} | more, status=status)


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Put the security headers on everything that leaves."""
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)
