"""Lines that arrive at one microsecond: in the order of sending, and each for itself."""

from __future__ import annotations

import asyncio
from typing import Any

from mesh.clock import VirtualLoop
from mesh.faults import Disturbance
from mesh.recorder import NO_PASSAGE, Fate, Passage
from mesh.transport.memory import MemoryTransport

SENDER, RECIPIENT = "muni/01208/desk", "muni/28100/tax"


class Log:
    """A recorder that keeps what became of each transmission."""

    def __init__(self) -> None:
        self.count = -1
        self.ended: list[tuple[int, str, bytes]] = []

    def sent(self) -> int:
        self.count += 1
        return self.count

    def transmission(self, index: int, sent_us: int, arrived_us: int, *rest: Any) -> None:
        _, _, line, fate, _ = rest
        self.ended.append((index, fate, line))

    def ledger_rows(self, *_: object) -> None: ...

    def tree_head(self, *_: object) -> None: ...


class End:
    """Fails on one line, and takes the others; answers itself without latency when asked to."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def receive(self, line: bytes, peer: str) -> Passage:
        if line == b"bad":
            raise ZeroDivisionError
        self.lines.append(line)
        return NO_PASSAGE

    def unreachable(self, line: bytes, recipient: str) -> None: ...


def transport_on(loop: VirtualLoop, log: Log, end: End, latency_us: int) -> MemoryTransport:
    find = {RECIPIENT: end}.get
    return MemoryTransport(loop, log, find, Disturbance(), latency_us)


async def test_a_delivery_that_fails_keeps_no_other_from_arriving() -> None:
    loop: Any = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    log, end = Log(), End()
    transport = transport_on(loop, log, end, 5_000)
    for line in (b"one", b"bad", b"two", b"three"):
        transport.send(SENDER, RECIPIENT, line)
    await asyncio.sleep(0.01)
    assert end.lines == [b"one", b"two", b"three"]
    assert [type(failure) for failure in failures] == [ZeroDivisionError]
    assert [index for index, fate, _ in log.ended if fate == Fate.DELIVERED] == [0, 2, 3]


async def test_lines_sent_without_latency_arrive_too() -> None:
    loop: Any = asyncio.get_running_loop()
    log, end = Log(), End()
    transport = transport_on(loop, log, end, 0)
    for line in (b"one", b"two"):
        transport.send(SENDER, RECIPIENT, line)
    await asyncio.sleep(0)
    transport.send(SENDER, RECIPIENT, b"three")
    await asyncio.sleep(0.001)
    assert end.lines == [b"one", b"two", b"three"]


async def test_what_is_on_its_way_at_the_end_is_recorded_so() -> None:
    loop: Any = asyncio.get_running_loop()
    log, end = Log(), End()
    transport = transport_on(loop, log, end, 5_000)
    transport.send(SENDER, RECIPIENT, b"late")
    transport.close()
    assert log.ended == [(0, Fate.IN_FLIGHT, b"late")]
