"""Opens what was sealed for a node of a simulated run, with the keys that its trace keeps."""

from __future__ import annotations

from mesh.channels import Opener
from mesh.keys import SealingKey
from mesh.trace.reader import Trace


def opener_of(trace: Trace, reader: str) -> Opener | None:
    """What opens the seals for a node, whichever of its keys they were made for; None if the trace has no key of it."""
    keys = [SealingKey.from_seed(raw) for raw in trace.sealing_keys(reader)]
    return Opener(reader, keys[-1], keys[:-1]) if keys else None
