"""The virtual-time loop: order, time, cancellation, deadlock, Ctrl-C, and asyncio's own tools on top of it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from mesh.clock import Deadlock, VirtualLoop, run

DAY_S = 86_400


def loop_here() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


async def forever() -> None:
    await asyncio.Event().wait()


# Time and order.


async def test_tests_run_in_virtual_time_from_zero() -> None:
    assert loop_here().now_us == 0
    assert loop_here().time() == 0.0


@pytest.mark.real_loop
async def test_the_marker_gives_the_real_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)


async def test_seven_days_of_sleep_cost_no_more_than_a_second() -> None:
    second, week = [await _calls_during(asyncio.sleep(s)) for s in (1, 7 * DAY_S)]
    assert loop_here().now_us == (1 + 7 * DAY_S) * 1_000_000
    assert 0 < week <= second + 10


async def _calls_during(waiting: Coroutine[None, None, None]) -> int:
    """How many calls of any function it takes."""
    calls: list[str] = []
    before = sys.getprofile()
    sys.setprofile(lambda _, event, __: calls.append(event) if "call" in event else None)
    try:
        await waiting
    finally:
        sys.setprofile(before)
    return len(calls)


async def test_time_does_not_pass_by_itself() -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    assert loop_here().now_us == 0


async def test_timers_fire_by_microsecond_then_by_sequence() -> None:
    loop, fired = loop_here(), []
    whens_us = [random.Random(7).randrange(1, 20) for _ in range(500)]
    for number, when_us in enumerate(whens_us):
        loop.call_at_us(when_us, lambda *pair: fired.append((*pair, loop.now_us)), when_us, number)
    await asyncio.sleep(1)
    assert fired == [(when, n, when) for when, n in sorted((when, n) for n, when in enumerate(whens_us))]


async def test_equal_sleeps_wake_in_the_order_they_began() -> None:
    woken: list[int] = []

    async def sleeper(number: int) -> None:
        await asyncio.sleep(0.1)
        woken.append(number)

    await asyncio.gather(*(sleeper(number) for number in range(50)))
    assert woken == list(range(50))


async def test_float_and_integer_calls_name_the_same_microsecond() -> None:
    loop, fired = loop_here(), []
    await asyncio.sleep(0.1)
    loop.call_later(0.2, fired.append, "later")
    loop.call_at_us(300_000, fired.append, "us")
    handle = loop.call_at(0.3, fired.append, "at")
    assert handle.when() == 0.3
    await asyncio.sleep(0.2)
    assert (fired, loop.now_us) == (["later", "us", "at"], 300_000)


async def test_seconds_are_rounded_not_cut() -> None:
    loop, fired = loop_here(), []
    assert int(1.001 * 1_000_000) == 1_000_999
    loop.call_later(1.001, lambda: fired.append(loop.now_us))
    loop.call_at(1.001, lambda: fired.append(loop.now_us))
    await asyncio.sleep(2)
    assert fired == [1_001_000, 1_001_000]


async def test_a_timer_for_now_or_the_past_runs_at_once_and_time_never_goes_back() -> None:
    loop, fired = loop_here(), []
    await asyncio.sleep(1)
    loop.call_at_us(5, lambda: fired.append(loop.now_us))
    loop.call_later(-1, lambda: fired.append(loop.now_us))
    await asyncio.sleep(0)
    assert fired == [1_000_000, 1_000_000]


async def test_timers_of_one_microsecond_all_run_before_what_they_schedule() -> None:
    loop, fired = loop_here(), []

    def first() -> None:
        fired.append("first")
        loop.call_soon(fired.append, "soon")
        loop.call_at_us(loop.now_us, fired.append, "now")

    loop.call_at_us(10, first)
    loop.call_at_us(10, fired.append, "second")
    await asyncio.sleep(1)
    assert fired == ["first", "second", "soon", "now"]


# Cancelling.


async def test_cancelled_callbacks_and_timers_never_run() -> None:
    loop, fired = loop_here(), []
    loop.set_exception_handler(lambda _, context: fired.append(context))
    late = loop.call_at_us(10, fired.append, "late")
    loop.call_at_us(10, late.cancel).cancel()
    loop.call_at_us(9, loop.call_at_us(11, fired.append, "later").cancel)
    soon = loop.call_soon(fired.append, "soon")
    assert "append" in repr(soon)
    soon.cancel()
    soon.cancel()
    late.cancel()
    await asyncio.sleep(1)
    assert fired == []
    assert soon.cancelled()
    assert late.cancelled()
    assert "cancelled" in repr(late)


async def test_a_timer_cancelled_by_one_of_its_own_microsecond_does_not_run() -> None:
    loop, fired = loop_here(), []
    loop.call_at_us(10, lambda: second.cancel())
    second = loop.call_at_us(10, fired.append, "second")
    await asyncio.sleep(1)
    assert fired == []


async def test_cancelled_timers_do_not_pile_up_and_keep_the_order() -> None:
    loop, fired = loop_here(), []
    for number in range(5_000):
        timer = loop.call_at_us(1_000 + number % 7, fired.append, (number % 7, number))
        if number % 50:
            timer.cancel()
        assert len(loop._timers) <= 2 * (number // 50 + 1) + 110
    await asyncio.sleep(1)
    assert fired == sorted((number % 7, number) for number in range(0, 5_000, 50))
    assert loop._timers_cancelled == 0


async def test_finished_timeouts_leave_no_timers() -> None:
    for _ in range(1_000):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
    assert len(loop_here()._timers) < 210


def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    loop = VirtualLoop()
    loop.call_at_us(5, print).cancel()
    with pytest.raises(Deadlock, match="at 0 µs"):
        loop.run_forever()


# asyncio's own tools.


async def test_wait_for_and_timeout_fire_on_the_microsecond() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(forever(), 2.5)
    assert loop_here().now_us == 2_500_000
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await forever()
    assert loop_here().now_us == 3_000_000
    assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 2) == "in time"


async def test_gather_returns_in_order_and_shield_protects() -> None:
    assert await asyncio.gather(asyncio.sleep(2, "a"), asyncio.sleep(1, "b")) == ["a", "b"]
    inner = asyncio.ensure_future(asyncio.sleep(1, "kept"))
    outer = asyncio.ensure_future(asyncio.shield(inner))
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert await inner == "kept"


async def test_queue_lock_event_condition_semaphore() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
    condition, event, semaphore = asyncio.Condition(asyncio.Lock()), asyncio.Event(), asyncio.Semaphore(2)
    log: list[object] = []

    async def produce() -> None:
        for number in range(3):
            await queue.put(number)
        async with condition:
            condition.notify_all()

    async def consume() -> None:
        async with condition:
            await condition.wait()
        log.extend([await queue.get()])
        event.set()

    async def work(number: int) -> None:
        async with semaphore:
            await asyncio.sleep(1)
            log.append((number, loop_here().now_us))

    async def drain() -> None:
        await asyncio.sleep(0.5)
        log.append([await queue.get(), await queue.get()])

    await asyncio.gather(consume(), produce(), drain(), event.wait(), *(work(n) for n in range(3)))
    assert log == [[0, 1], 2, (0, 1_000_000), (1, 1_000_000), (2, 2_000_000)]


async def test_current_task_context_variables_and_own_contexts() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    seen: list[str] = []

    def note() -> None:
        seen.append(variable.get())

    async def child() -> None:
        assert asyncio.current_task() is not None
        variable.set("child")
        loop_here().call_soon(note)
        loop_here().call_at_us(1, note)
        await asyncio.sleep(1)

    context = contextvars.copy_context()
    context.run(variable.set, "given")
    loop_here().call_soon(note, context=context)
    await asyncio.create_task(child())
    note()
    assert seen == ["given", "child", "child", "outside"]


async def test_asynchronous_generators_do_not_crash() -> None:
    async def numbers() -> Any:
        for number in range(3):
            await asyncio.sleep(1)
            yield number

    async for number in numbers():
        if number == 1:
            break
    assert [number async for number in numbers()] == [0, 1, 2]


# Tasks.


def test_default_task_names_count_per_loop() -> None:
    async def names() -> list[str]:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2)]
        tasks.append(asyncio.create_task(asyncio.sleep(0), name="mine"))
        await asyncio.gather(*tasks, asyncio.sleep(0))
        return [task.get_name() for task in tasks]

    assert run(names()) == run(names()) == ["task-2", "task-3", "mine"]


async def test_finished_tasks_are_forgotten() -> None:
    before = len(loop_here()._tasks)
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(10)))
    await asyncio.sleep(0)
    assert len(loop_here()._tasks) == before


async def test_a_task_that_nobody_holds_lives() -> None:
    done: list[bool] = []

    async def lonely() -> None:
        await asyncio.sleep(1)
        done.append(True)

    asyncio.create_task(lonely())  # noqa: RUF006
    await asyncio.sleep(2)
    assert done == [True]


async def test_task_factory() -> None:
    made: list[str] = []

    def factory(loop: VirtualLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **options)

    loop = loop_here()
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    task = asyncio.create_task(asyncio.sleep(0), context=contextvars.copy_context())
    assert task.get_name().startswith("task-")
    await task
    assert made == ["sleep"]


def test_the_rest_is_cancelled_in_creation_order() -> None:
    ended: list[object] = []

    async def worker(number: int) -> None:
        try:
            await asyncio.sleep(2_000 - number)
        finally:
            await asyncio.sleep(0)
            ended.append(number)
            if number == 3:
                asyncio.create_task(worker(1_000))  # noqa: RUF006

    async def main() -> str:
        for number in range(200):
            asyncio.create_task(worker(number))  # noqa: RUF006
        await asyncio.sleep(0)
        return "done"

    loop = VirtualLoop()
    assert run(main(), loop=loop) == "done"
    assert ended == [*range(200), 1_000]
    assert loop.is_closed()


def test_what_cancelled_tasks_raise_is_reported_and_the_others_still_end() -> None:
    reported: list[object] = []

    async def bad() -> None:
        try:
            await forever()
        finally:
            raise ValueError("in finally")

    async def main() -> None:
        for _ in range(2):
            asyncio.create_task(bad())  # noqa: RUF006
        await asyncio.sleep(0)

    loop = VirtualLoop()
    loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
    run(main(), loop=loop)
    assert reported == ["in finally"] * 2


# The loop's own life.


def test_run_returns_raises_and_closes() -> None:
    async def fails() -> None:
        raise KeyError("mine")

    loop = VirtualLoop()
    with pytest.raises(KeyError, match="mine"):
        run(fails(), loop=loop)
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_at_us(1, print)
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()


def test_stop_runs_what_is_ready_and_nothing_after() -> None:
    loop, fired = VirtualLoop(), []
    loop.call_soon(fired.append, 1)
    for _ in range(3):
        loop.call_soon(loop.stop)
    loop.call_soon(lambda: loop.call_soon(fired.append, 3))
    loop.call_soon(fired.append, 2)
    loop.run_forever()
    assert (fired, loop.is_running()) == ([1, 2], False)
    loop.stop()
    loop.run_forever()
    assert fired == [1, 2, 3]
    loop.close()


async def test_a_running_loop_is_not_run_or_closed_again() -> None:
    loop = loop_here()
    with pytest.raises(RuntimeError, match="running"):
        loop.run_forever()
    with pytest.raises(RuntimeError, match="running"):
        VirtualLoop().run_forever()
    with pytest.raises(RuntimeError, match="running"):
        loop.run_until_complete(loop.create_future())
    with pytest.raises(RuntimeError, match="running"):
        loop.close()
    assert loop.is_running()


def test_stopping_before_the_future_is_done_is_an_error() -> None:
    loop = VirtualLoop()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="before Future completed"):
        loop.run_until_complete(loop.create_future())


@pytest.mark.parametrize("debug", [False, True])
def test_asyncio_runner(debug: bool) -> None:
    async def main() -> float:
        asyncio.create_task(forever())  # noqa: RUF006
        loop_here().call_later(1, print).cancel()
        await asyncio.wait_for(asyncio.sleep(5), 10)
        return loop_here().time()

    with asyncio.Runner(debug=debug, loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == 5
        assert runner.run(main()) == 10
        assert runner.get_loop().get_debug() is debug


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exits_leave_the_loop_at_once_and_it_can_run_again(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def leaves() -> None:
        raise error

    loop = VirtualLoop()
    with pytest.raises(error):
        loop.run_until_complete(leaves())
    assert loop.run_until_complete(asyncio.sleep(1, "again")) == "again"
    loop.cancel_all()
    loop.close()
    with pytest.raises(error):
        run(leaves())
    gc.collect()
    assert caplog.records == []


def test_a_stop_cut_short_by_an_interrupt_does_not_end_the_next_run() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    loop = VirtualLoop()
    loop.call_soon(interrupt)
    loop.stop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(1, "again")) == "again"


# Errors that nobody awaits.


def test_a_failing_callback_goes_to_the_handler_and_the_run_goes_on() -> None:
    loop = VirtualLoop()
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    assert loop.get_exception_handler() is not None
    loop.call_soon(int, "no number")
    assert loop.run_until_complete(asyncio.sleep(1, "went on")) == "went on"
    assert [type(context["exception"]) for context in contexts] == [ValueError]


def test_the_default_handler_logs_also_when_a_handler_fails(caplog: pytest.LogCaptureFixture) -> None:
    loop = VirtualLoop()
    loop.call_soon(int, "no number")
    loop.call_soon(loop.set_exception_handler, lambda _, context: 1 // 0)
    loop.call_soon(int, "no number")
    loop.run_until_complete(asyncio.sleep(0))
    assert [record.name for record in caplog.records] == ["asyncio", "asyncio"]
    assert "Exception in callback" in caplog.records[0].getMessage()
    assert "Unhandled error in exception handler" in caplog.records[1].getMessage()


# Deadlock.


def test_a_deadlock_names_each_task_where_it_waits_and_for_what() -> None:
    async def wants_item(queue: asyncio.Queue[int]) -> None:
        await queue.get()

    async def main() -> None:
        asyncio.create_task(wants_item(asyncio.Queue()), name="reader")  # noqa: RUF006
        await asyncio.sleep(2)
        await asyncio.create_task(forever(), name="endless")

    with pytest.raises(Deadlock) as caught:
        run(main())
    head, *waits = str(caught.value).splitlines()
    assert head == "deadlock at 2000000 µs: nothing is ready and no timer is set"
    first = main.__code__.co_firstlineno
    assert [line.strip().replace(__file__, "FILE") for line in waits] == [
        f"task-1 waits at FILE:{first + 3} in {main.__qualname__} for endless",
        f"reader waits at FILE:{first - 2} in {wants_item.__qualname__} for Queue.get",
        f"endless waits at FILE:{forever.__code__.co_firstlineno + 1} in forever for Event.wait",
    ]


def test_a_deadlock_over_a_bare_future_or_over_nothing() -> None:
    loop = VirtualLoop()
    with pytest.raises(Deadlock, match="at 0 µs"):
        loop.run_until_complete(loop.create_future())
    with pytest.raises(Deadlock):
        loop.run_forever()


def test_a_future_that_was_given_up_does_not_stop_a_later_run() -> None:
    async def later(future: asyncio.Future[Any]) -> str:
        future.set_result(None)
        await asyncio.sleep(1)
        return "done"

    loop = VirtualLoop()
    future = loop.create_future()
    with pytest.raises(Deadlock):
        loop.run_until_complete(future)
    assert loop.run_until_complete(later(future)) == "done"


def test_a_deadlock_still_lets_the_tasks_clean_up() -> None:
    cleaned: list[bool] = []

    async def main() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(1)
            cleaned.append(True)

    with pytest.raises(Deadlock):
        run(main())
    assert cleaned == [True]


# Ctrl-C.


async def interrupted(cleaned: list[str]) -> None:
    loop_here().call_at_us(10, signal.raise_signal, signal.SIGINT)
    try:
        await asyncio.sleep(DAY_S)
    finally:
        await asyncio.sleep(1)
        cleaned.append("main")


def test_ctrl_c_cancels_the_main_task_and_leaves_as_keyboard_interrupt() -> None:
    cleaned: list[str] = []
    loop = VirtualLoop()
    with pytest.raises(KeyboardInterrupt):
        run(interrupted(cleaned), loop=loop)
    assert (cleaned, loop.now_us) == (["main"], 1_000_010)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_under_asyncio_runner() -> None:
    cleaned: list[str] = []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(interrupted(cleaned))
    assert cleaned == ["main"]


def test_a_second_ctrl_c_leaves_at_once() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        loop_here().call_at_us(10, signal.raise_signal, signal.SIGINT)
        await stubborn()

    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_a_foreign_interrupt_handler_and_other_threads_are_left_alone() -> None:
    def foreign(*_: object) -> None: ...

    results: list[int] = []
    signal.signal(signal.SIGINT, foreign)
    try:
        assert run(asyncio.sleep(1, 7)) == 7
        assert signal.getsignal(signal.SIGINT) is foreign
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=lambda: results.append(run(asyncio.sleep(1, 8))))
    thread.start()
    thread.join()
    assert results == [8]


# What is not there.


async def test_outside_calls_say_that_they_are_not_in_simulation() -> None:
    loop = loop_here()
    with pytest.raises(RuntimeError, match="not in simulation: run_in_executor"):
        await asyncio.to_thread(print)
    with pytest.raises(RuntimeError, match="not in simulation: create_connection"):
        await asyncio.open_connection("localhost", 80)
    with pytest.raises(RuntimeError, match="not in simulation"):
        await asyncio.create_subprocess_exec("true")
    with pytest.raises(RuntimeError, match="not in simulation: add_reader"):
        loop.add_reader(0, print)
    with pytest.raises(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, print)
    with pytest.raises(NotImplementedError):
        loop.remove_signal_handler(signal.SIGTERM)


def test_nothing_of_asyncio_is_left_without_an_answer() -> None:
    """An abstract method that neither works nor refuses would fail with an empty NotImplementedError."""
    own = {name for room in VirtualLoop.__mro__[:-2] for name in vars(room)}
    assert {name for name in vars(asyncio.AbstractEventLoop) if not name.startswith("__")} <= own
