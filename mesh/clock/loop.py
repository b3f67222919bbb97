"""The virtual-time loop itself: callbacks in order, timers by (microsecond, sequence), tasks by creation."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVarTuple

from mesh.clock.deadlock import Deadlock
from mesh.clock.handles import Handle, Timer
from mesh.clock.isolated import IsolatedLoop

_Ts = TypeVarTuple("_Ts")
_CANCELLED_TIMERS_MAX = 100


class VirtualLoop(IsolatedLoop):
    """An event loop in virtual time, for `mesh.clock.run` or `asyncio.Runner(loop_factory=VirtualLoop)`.

    `now_us` is the time in µs since the loop was made, `time()` the same in seconds. A run with nothing left
    to wait for raises `Deadlock`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0
        self._ready: deque[Handle | Timer | None] = deque()
        # None in the queue is where `stop` ends the run: what was ready before it still runs.
        self._timers: list[tuple[int, int, Timer]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self._timers_aside = 0
        self._tasks: dict[asyncio.Future[Any], None] = {}
        self._tasks_made = 0
        self._task_factory: Any = None
        self._running = self._closed = False
        self.on_interrupt: Callable[[], None] | None = None
        """What `interrupt` has the loop do; set by `run`."""

    def interrupt(self) -> None:
        """Do at its next callback what Ctrl-C does. From another thread, whose Ctrl-C does not reach the loop's."""
        if self.on_interrupt is not None and not self._closed:
            self._ready.append(Handle(self.on_interrupt, (), self, None))

    # Callbacks and timers.

    def time(self) -> float:
        """Seconds of virtual time since the loop was made."""
        return self.now_us / 1_000_000

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback at this same time, after those that are ready already."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    # Only a signal handler and `interrupt` come from the side; the loop never blocks, and a deque takes both.
    call_soon_threadsafe = call_soon

    def call_at_us(
        self, when_us: int, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback at `when_us` microseconds of loop time; at once if that is not ahead."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        timer = Timer(when_us / 1_000_000, callback, args, self, context)
        if when_us <= self.now_us:
            # All earlier timers for this microsecond are in the queue already, so the order holds.
            self._ready.append(timer)
        else:
            self._timers_made += 1
            timer._scheduled = True
            heappush(self._timers, (when_us, self._timers_made, timer))
        return timer

    def call_aside_at_us(self, when_us: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """As `call_at_us`, but nothing waits for it: a run that has only such timers left is at its end.

        So something may happen again and again, and a deadlock is one all the same.
        """
        self._timers_aside += 1
        self.call_at_us(when_us, self._call_aside, callback, args)

    def _call_aside(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._timers_aside -= 1
        callback(*args)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback at `when` seconds of loop time, rounded to the microsecond."""
        return self.call_at_us(round(when * 1_000_000), callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run the callback `delay` seconds from now, rounded to the microsecond."""
        return self.call_at_us(self.now_us + round(delay * 1_000_000), callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Count a cancelled timer in the heap; rebuild the heap when such timers are most of it."""
        self._timers_cancelled += 1
        if self._timers_cancelled > max(_CANCELLED_TIMERS_MAX, len(self._timers) // 2):
            self._timers[:] = [entry for entry in self._timers if not entry[2]._cancelled]
            heapify(self._timers)
            self._timers_cancelled = 0

    # Running.

    def _run(self) -> None:
        """Run what is ready, jump when nothing is, until `stop`. The hot path of every simulation."""
        ready = self._ready
        popleft = ready.popleft
        while True:
            while ready:
                handle = popleft()
                if handle is None:
                    return
                if handle._cancelled:
                    continue
                try:
                    handle._context.run(handle._callback, *handle._args)  # type: ignore[arg-type]
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler(
                        {"message": "Exception in callback", "exception": error, "handle": handle}
                    )
            self._jump()

    def _jump(self) -> None:
        """Move to the time of the next timer, and make all timers of that microsecond ready."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heappop(timers)
            self._timers_cancelled -= 1
        if len(timers) <= self._timers_aside + self._timers_cancelled:
            raise Deadlock(self.now_us, self._tasks)
        when_us = self.now_us = timers[0][0]
        while timers and timers[0][0] == when_us:
            timer = heappop(timers)[2]
            timer._scheduled = False
            if timer._cancelled:
                self._timers_cancelled -= 1
            else:
                self._ready.append(timer)

    def run_forever(self) -> None:
        """Run until `stop`; `Deadlock` when nothing could ever happen again."""
        self._check_idle()
        self._running = True
        asyncio._set_running_loop(self)
        try:
            self._run()
        finally:
            asyncio._set_running_loop(None)
            self._running = False
            while None in self._ready:  # `stop` was called twice, or an interrupt was faster
                self._ready.remove(None)

    def run_until_complete(self, future: Any) -> Any:
        """Run until the future or coroutine is done; return its result or raise its exception."""
        self._check_idle()
        awaited = asyncio.ensure_future(future, loop=self)
        awaited.add_done_callback(self._stop_after)
        try:
            self.run_forever()
        except BaseException:
            if awaited.done() and not awaited.cancelled():
                awaited.exception()  # it is on its way to the caller; asyncio shall not log it as lost
            raise
        finally:
            awaited.remove_done_callback(self._stop_after)
        if not awaited.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return awaited.result()

    def _check_idle(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while an event loop is running")

    def _stop_after(self, future: asyncio.Future[Any]) -> None:
        # These two left the loop as exceptions already; a stop would end its next run at once.
        if future.cancelled() or not isinstance(future.exception(), SystemExit | KeyboardInterrupt):
            self.stop()

    def stop(self) -> None:
        """End the run after the callbacks that are ready now."""
        self._ready.append(None)

    def cancel_all(self) -> None:
        """Cancel the live tasks in creation order and run until all are done, new ones included.

        What they raise other than CancelledError goes to the exception handler. RuntimeError in a running loop.
        """
        while tasks := [task for task in self._tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            for task in tasks:
                if not task.cancelled() and (error := task.exception()) is not None:
                    self.call_exception_handler(
                        {"message": "Exception in a cancelled task", "exception": error, "task": task}
                    )

    def is_running(self) -> bool:
        """Whether callbacks are being run."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Drop every callback and timer; the loop cannot be used again."""
        if self._running:
            raise RuntimeError("Cannot close a running event loop")
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    # Futures and tasks.

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        """A task of this loop; without a name it is `task-N` by this loop's own count.

        asyncio's default names count for the whole process, and so would differ from run to run.
        """
        if self._closed:
            raise RuntimeError("Event loop is closed")
        self._tasks_made += 1
        name = f"task-{self._tasks_made}" if name is None else name
        if self._task_factory is None:
            task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context, **options)
        else:
            if context is not None:
                options["context"] = context
            task = self._task_factory(self, coro, **options)
            task.set_name(name)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def set_task_factory(self, factory: Any) -> None:
        """Make tasks with `factory(loop, coro, **options)`; None for asyncio.Task."""
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        """What was set, or None."""
        return self._task_factory
