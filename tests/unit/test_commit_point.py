"""The end of the loop's turn: all who asked are called, in their order, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
from typing import Any

from mesh.clock import VirtualLoop
from mesh.commit_point import CommitPoint


def told(point: CommitPoint, loop: VirtualLoop, calls: dict[str, Any]) -> list[str]:
    """Who was called, in order, when each of these asks in one turn of the loop."""
    heard: list[str] = []

    def call(name: str) -> None:
        heard.append(name)
        if calls[name] is not None:
            raise calls[name]

    async def ask() -> None:
        for name in calls:
            point.call(lambda name=name: call(name))  # type: ignore[misc]
        assert heard == [], "nobody is called before the turn ends"
        await asyncio.sleep(1)

    loop.run_until_complete(ask())
    return heard


def test_all_are_called_in_the_order_in_which_they_asked() -> None:
    loop = VirtualLoop()
    point = CommitPoint(loop)
    assert told(point, loop, {"b": None, "a": None}) == ["b", "a"]
    assert told(point, loop, {"c": None}) == ["c"], "and again in the next turn"


def test_one_that_fails_is_reported_and_holds_up_nobody() -> None:
    loop = VirtualLoop()
    failures: list[Any] = []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    broken = RuntimeError("a defect")
    assert told(CommitPoint(loop), loop, {"a": broken, "b": None, "c": broken, "d": None}) == [
        "a",
        "b",
        "c",
        "d",
    ]
    assert failures == [broken, broken]


def test_who_asks_while_others_are_called_is_called_in_the_next_turn() -> None:
    loop = VirtualLoop()
    point, heard = CommitPoint(loop), []

    def first() -> None:
        heard.append("first")
        point.call(lambda: heard.append("late"))

    async def ask() -> None:
        point.call(first)
        point.call(lambda: heard.append("second"))
        await asyncio.sleep(1)

    loop.run_until_complete(ask())
    assert heard == ["first", "second", "late"]
