"""Tells brokers what changed of a portal's consents, until each has confirmed it.

Rules kept here:
1. What a broker confirmed is its signed answer with the version that it goes by; until that is committed here, it is
   asked again, with the mesh's own backoff, also after a restart.
2. To one broker one difference is under way at a time, so two changes at once both get there.
3. The timer does not count as work: whoever waits for what cannot come hears of it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mesh import MeshError, Node
from mesh.backoff import OF_PUSHES
from mesh.builtin import CONSENTS, ConsentsQuery
from mesh.consent import sign_difference
from nodes.portal.consent_file import ConsentFile

CONSENTS_PROCEDURE: Final = "portal-consents"


class ConsentPublisher:
    """Brings the brokers concerned up to the newest change."""

    def __init__(self, node: Node, file: ConsentFile, brokers: tuple[str, ...]) -> None:
        self._node = node
        self._file = file
        self._brokers = brokers
        self._under_way: dict[str, asyncio.Future[None]] = {}
        """Done when that broker lacks nothing, or an attempt failed."""
        self._failures: dict[str, int] = {}
        """How many attempts failed since the broker confirmed something last."""
        self._planned: dict[str, None] = {}
        """The brokers for which a timer is set."""

    def start(self) -> None:
        """Take up what was not confirmed before a restart."""
        for broker in self._brokers:
            if self._file.lacks(broker):
                self._plan(broker, 0)

    async def publish(self) -> None:
        """Tell every broker concerned; returns when each has confirmed, or an attempt failed and another is planned."""
        await asyncio.gather(*map(self._tell, self._brokers))

    async def _tell(self, broker: str) -> None:
        if broker in self._under_way:
            # Whatever it sends next has what is new, too.
            await asyncio.shield(self._under_way[broker])
            return
        done = self._under_way[broker] = self._node.host.future()
        missed = 0
        try:
            while self._file.lacks(broker):
                missed = 0 if await self._send(broker) else missed + 1
                if missed > 1:
                    raise MeshError(
                        "registry_stale", "the broker takes nothing from the version that it named"
                    )
                if not missed:
                    self._failures.pop(broker, None)
        except MeshError:
            self._failures[broker] = failures = self._failures.get(broker, 0) + 1
            self._plan(broker, OF_PUSHES.pause_us(failures, self._node.host.random.randrange))
        finally:
            del self._under_way[broker]
            if not done.done():
                done.set_result(None)

    async def _send(self, broker: str) -> bool:
        """Send what the broker lacks, or the first part, and keep what it says; `MeshError` if either failed.

        Returns whether it took that; if not, it has named the version from which it can go on.
        """
        node, file = self._node, self._file
        with node.effect():
            difference = file.next_difference(broker, node.host.now_us())
        query = ConsentsQuery(sign_difference(difference, node.party.keys.signing))
        answer = await node.ask(broker, CONSENTS, query, procedure=CONSENTS_PROCEDURE)
        with node.effect():
            file.confirm(broker, answer.version)
        return answer.version == difference.version

    def _plan(self, broker: str, delay_us: int) -> None:
        if broker not in self._planned:
            self._planned[broker] = None
            self._node.host.call_aside(delay_us, lambda: self._again(broker))

    def _again(self, broker: str) -> None:
        del self._planned[broker]
        if self._file.lacks(broker):
            self._node.host.spawn(self._tell(broker), f"{self._node.address} publishes consents")
