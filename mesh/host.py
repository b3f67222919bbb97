"""What a node may touch of the world: its database, its clocks, its random stream, its way to others.

Everything that could differ between two runs reaches a node through its `Host`, so a crash kills the host
first: from then on nothing that a dying task does has any effect. All commits pass `Host.commit`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from random import Random
from typing import Any, Protocol

from mesh.errors import MeshError
from mesh.exchange import Turn, Write
from mesh.ledger import Ledger, Row, keys_of, row_bytes
from mesh.recorder import Recorder
from mesh.store import Store, is_of_place, storage_error


class Carrier(Protocol):
    """A transport, as a host uses it."""

    def send(self, sender: str, recipient: str, line: bytes) -> None:
        """Put a line on its way."""


class Host:
    """One party's access to the world.

    `call_aside(delay_us, callback)` sets a timer that does not count as work. `now_us` is the party's wall clock (µs since 1970 UTC), which may be wrong; `monotonic_us` never goes
    back. `random` is the party's own stream.
    """

    def __init__(
        self,
        address: str,
        *,
        store: Store,
        ledger: Ledger,
        loop: asyncio.AbstractEventLoop,
        carrier: Carrier,
        recorder: Recorder,
        random: Random,
        now_us: Callable[[], int],
        monotonic_us: Callable[[], int],
        call_aside: Callable[[int, Callable[[], None]], object],
    ) -> None:
        self.address = address
        self.store = store
        self.ledger = ledger
        self.random = random
        self.now_us = now_us
        self.monotonic_us = monotonic_us
        self.alive = True
        self.committed: Callable[[int], None] | None = None
        """Called after a commit that added so many rows to the ledger."""
        self.commit_failed: Callable[[MeshError], None] | None = None
        """Called when what was to be committed is lost."""
        self.failed: Callable[[str, str, str], object] = lambda address, about, said: None
        """Called with what failed inside the node: its address, the service or push, and what may be said of it."""
        self.going_down: Callable[[], None] | None = None
        """Called by `kill`, when nothing has an effect any more."""
        self.keys: list[tuple[int, int]] | None = None
        """Of a ledger that is searched, as a broker's is: key and position of the rows whose keys wait to be committed."""
        self._call_aside = call_aside
        self._loop = loop
        self._carrier = carrier
        self._recorder = recorder
        self._turns: list[Turn] = []
        self._effect_turns: list[Turn] = []
        self._effect_task: asyncio.Task[Any] | None = None
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def new_id(self, now_us: int) -> str:
        """A fresh message id: a UUID of version 7 (RFC 9562), whose random part is of the host's stream."""
        drawn = self.random.getrandbits(74)
        value = (now_us // 1000 << 80) | 0x7 << 76 | (drawn >> 62) << 64 | 0b10 << 62 | drawn & (1 << 62) - 1
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def perform(self, turn: Turn) -> None:
        """Commit, then send: with everything else that is ready in this turn of the loop."""
        if self.alive and (turn.rows or turn.writes or turn.sends or turn.calls):
            if self.store.effect and asyncio.current_task(self._loop) is self._effect_task:
                self._effect_turns.append(turn)
                return
            if not self._turns:
                self._loop.call_soon(self.flush)
            self._turns.append(turn)

    def begin_effect(self) -> int:
        """Open an effect, and make sure that it ends before anybody else's turn; returns its number."""
        self.flush()
        self._loop.call_soon(self.flush)
        self._effect_task = asyncio.current_task(self._loop)
        return self.store.begin_effect()

    def undo_effect(self) -> None:
        """Undo an open effect and what its task was to commit with it; what others recorded meanwhile stays."""
        if self.store.effect:
            self.store.undo_effect()
            turns, self._effect_turns = self._effect_turns, []
            self._undo(
                turns,
                MeshError(
                    "storage_unavailable",
                    "the effect that it belongs to was undone: nothing is awaited inside an effect",
                ),
            )

    def flush(self, *, effect: bool = False) -> MeshError | None:
        """Commit all turns that wait as one transaction, then send.

        With `effect` the open effect is committed too. Without, one that is open has been left so across an
        await, and is undone. Returns the storage_unavailable of a commit that failed: then nothing of it
        happened.
        """
        if not effect and self.store.effect:
            self.undo_effect()
        turns, self._turns = self._turns, []
        if self._effect_turns:
            turns, self._effect_turns = self._effect_turns + turns, []
        if not self.alive:
            return None
        if len(turns) == 1:
            rows, writes = turns[0].rows, turns[0].writes
        else:
            rows = [row for turn in turns for row in turn.rows]
            writes = [write for turn in turns for write in turn.writes]
        if rows or writes or self.store.effect:
            try:
                self.commit(writes, rows)
            except (sqlite3.Error, OSError) as failure:
                return self._lose(turns, failure)
            if not self.alive:
                return None
        carrier, address = self._carrier, self.address
        for turn in turns:
            for recipient, line in turn.sends:
                carrier.send(address, recipient, line)
        for turn in turns:
            for call, values in turn.calls:
                call(*values)
        return None

    def _lose(self, turns: list[Turn], failure: Exception) -> MeshError:
        """A commit failed: nothing of it happened."""
        if is_of_place(failure):  # The machine's own disk: no fault of the mesh, but the end of the run.
            self._loop.call_exception_handler({"message": "the disk failed", "exception": failure})
        self.store.undo_effect()
        error = storage_error(failure)
        self._undo(turns, error)
        return error

    def _undo(self, turns: list[Turn], error: MeshError) -> None:
        """Nothing of these turns happened, the last one first: who waits for them hears so."""
        for turn in reversed(turns):
            for undo in reversed(turn.undo):
                undo(error)
        if turns and self.commit_failed is not None:
            self.commit_failed(error)

    def commit(self, writes: Sequence[Write], rows: Sequence[Row] = ()) -> None:
        """The one sync point: everything durable passes here. Raises sqlite3.Error and OSError."""
        if not self.alive:
            return
        entries = list(map(row_bytes, rows))
        position, tree = self.ledger.size, self.ledger.unkept
        if tree is not None:  # Together, or a start would read rows of which the keys are lost.
            writes = [*writes, ("tree", tree), *(("key", one) for one in sorted(self.keys or ()))]
        self.store.commit(writes, entries, position)
        if tree is not None:
            self.ledger.unkept = None
            if self.keys:
                self.keys.clear()
        if entries:
            self.ledger.extend(entries)
            if self.keys is not None:
                self.keys += [
                    (key, number) for number, row in enumerate(rows, position) for key in keys_of(row)
                ]
            self._recorder.ledger_rows(self.address, position, entries)
            if self.committed is not None:
                self.committed(len(entries))

    def send_unrecorded(self, recipient: str, line: bytes) -> None:
        """Send what is in no ledger: the refusal of bytes whose sender is not known."""
        if self.alive:
            self._carrier.send(self.address, recipient, line)

    def record_head(self, token: bytes) -> None:
        """Report a signed tree head."""
        self._recorder.tree_head(self.address, token)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work of this party as a task; it dies with the host."""
        if not self.alive:
            work.close()
            return
        # A context of its own: a task must not take over what the one that spawned it is working on.
        task = self._loop.create_task(work, name=name, context=Context())
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def run_at_once(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that awaits nothing within this very callback. RuntimeError, and its end, if it does await."""
        if not self.alive:
            work.close()
            return
        try:
            Context().run(work.send, None)
        except StopIteration:
            return
        work.close()
        raise RuntimeError("what is done at once may not await anything")

    def future(self) -> asyncio.Future[Any]:
        """A future of this party's loop."""
        return self._loop.create_future()

    def call_later(self, delay_us: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Run the callback after a delay in µs, if the host still lives."""
        return self._loop.call_later(delay_us / 1_000_000, self._if_alive, callback)

    def call_aside(self, delay_us: int, callback: Callable[[], None]) -> None:
        """As `call_later`, but nobody waits for it: a run in which only such calls are left is at its end."""
        self._call_aside(delay_us, lambda: self._if_alive(callback))

    def _if_alive(self, callback: Callable[[], None]) -> None:
        if self.alive:
            callback()

    def kill(self) -> None:
        """Crash: no effect from here on, whatever `finally` blocks do; then the tasks end."""
        self.alive = False
        self._turns.clear()
        self._effect_turns.clear()
        self.store.undo_effect()
        if self.going_down is not None:
            self.going_down()
        for task in list(self._tasks):
            task.cancel()
