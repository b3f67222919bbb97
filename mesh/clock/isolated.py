"""The part of an event loop that does not run anything: what is refused in simulation, and error handling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NoReturn

_log = logging.getLogger("asyncio")

ErrorContext = dict[str, Any]
"""What asyncio tells of a failure that nobody awaits: `message`, mostly `exception`, and whose it was."""


def _refused(name: str) -> Any:
    def refused(*_args: object, **_options: object) -> NoReturn:
        raise RuntimeError(f"not in simulation: {name} reaches outside; a node uses what its host hands it")

    return refused


class IsolatedLoop(asyncio.AbstractEventLoop):
    """An event loop without threads, sockets, processes and signals: using one raises RuntimeError."""

    def __init__(self) -> None:
        self._debug = False
        self._exception_handler: Callable[[asyncio.AbstractEventLoop, ErrorContext], object] | None = None

    def get_debug(self) -> bool:
        """Whether tasks and futures remember where they were made; never taken from the environment."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Let tasks and futures remember where they were made."""
        self._debug = enabled

    def call_exception_handler(self, context: ErrorContext) -> None:
        """Hand a failure that nobody awaits to the exception handler."""
        if self._exception_handler is None:
            self.default_exception_handler(context)
            return
        try:
            self._exception_handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.default_exception_handler(
                {"message": "Unhandled error in exception handler", "exception": error, "context": context}
            )

    def default_exception_handler(self, context: ErrorContext) -> None:
        """Log the failure to the logger `asyncio`, as every asyncio loop does."""
        message = context.get("message") or "Unhandled exception in event loop"
        rest = (f"{key}: {value!r}" for key, value in context.items() if key not in ("message", "exception"))
        _log.error("\n".join((message, *rest)), exc_info=context.get("exception"))

    def set_exception_handler(
        self, handler: Callable[[asyncio.AbstractEventLoop, ErrorContext], object] | None
    ) -> None:
        """Call `handler(loop, context)` for failures that nobody awaits; None for the default."""
        self._exception_handler = handler

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, ErrorContext], object] | None:
        """What was set, or None."""
        return self._exception_handler

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: the loop keeps no asynchronous generators."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: there is no executor."""

    def add_signal_handler(self, *_args: object) -> NoReturn:
        """Signals belong to the shell around the simulation; asyncio documents this error for such loops."""
        raise NotImplementedError("not in simulation: signals belong to the shell around it")

    def remove_signal_handler(self, *_args: object) -> NoReturn:
        """There is none; see `add_signal_handler`."""
        self.add_signal_handler()

    run_in_executor = _refused("run_in_executor")
    set_default_executor = _refused("set_default_executor")
    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    create_connection = _refused("create_connection")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    connect_accepted_socket = _refused("connect_accepted_socket")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    start_tls = _refused("start_tls")
    sendfile = _refused("sendfile")
    subprocess_shell = _refused("subprocess_shell")
    subprocess_exec = _refused("subprocess_exec")
    add_reader = _refused("add_reader")
    remove_reader = _refused("remove_reader")
    add_writer = _refused("add_writer")
    remove_writer = _refused("remove_writer")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendto = _refused("sock_sendto")
    sock_connect = _refused("sock_connect")
    sock_accept = _refused("sock_accept")
    sock_sendfile = _refused("sock_sendfile")
