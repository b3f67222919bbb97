"""The chunks of a trace that another process reads, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import msgspec

from mesh.viewer import child
from mesh.viewer.chunks import Chunk

CHUNK_BYTES_MAX: Final = 2**26
_decoder: Final = msgspec.msgpack.Decoder(Chunk)


async def received(file: Path, name: str) -> AsyncGenerator[Chunk, None]:
    """The chunks of a trace, which a process of its own reads; the last is `done`, or says why there are no more."""
    process = await child.start("mesh.viewer.indexing", str(file), name)
    output = child.output(process)
    try:
        ended = False
        while not ended:
            size = int.from_bytes(await output.readexactly(4), "big")
            if size > CHUNK_BYTES_MAX:
                raise ValueError("a chunk is too large")
            chunk = _decoder.decode(await output.readexactly(size))
            ended = chunk.ends
            yield chunk
    except (asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError):
        yield Chunk(1.0, note="the trace could not be read to its end; open it again")
    finally:
        await child.end(process)
