"""Blocks that a scenario opens with `with`: one that was made and never entered did nothing, and that is said."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

from mesh.errors import UsageError


class Blocks:
    """The blocks that were made and not entered yet, by what stands for them in the script."""

    def __init__(self) -> None:
        self._waiting: dict[Block, str] = {}

    def made(self, text: str, inner: AbstractContextManager[None]) -> Block:
        """A block around `inner`; `text` is how its line begins."""
        block = Block(self, inner)
        self._waiting[block] = text
        return block

    def entered(self, block: Block) -> None:
        """It has its effect."""
        self._waiting.pop(block, None)

    def check(self) -> None:
        """`UsageError` if one had no effect, because `with` is missing in front of it."""
        for text in self._waiting.values():
            raise UsageError(f"{text} had no effect; write: with {text}:")


class Block(AbstractContextManager[None]):
    """A `with` block that says that it was entered."""

    def __init__(self, blocks: Blocks, inner: AbstractContextManager[None]) -> None:
        self._blocks = blocks
        self._inner = inner

    def __enter__(self) -> None:
        self._blocks.entered(self)
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._inner.__exit__(kind, error, trace)
