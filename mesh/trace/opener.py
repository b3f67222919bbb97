"""Opens what was sealed for a node of a simulated run, with the keys that its trace keeps."""

from __future__ import annotations

from typing import Protocol

from mesh.channels import Opener
from mesh.keys import SealingKey


class HasKeys(Protocol):
    """A trace, whoever reads or writes it."""

    def sealing_keys(self, address: str) -> tuple[bytes, ...]:
        """Every private sealing key that a simulated node had, 32 bytes each; empty if the trace has none."""


def opener_of(trace: HasKeys, reader: str) -> Opener | None:
    """What opens the seals for a node, whichever of its keys they were made for; None if the trace has no key of it."""
    keys = [SealingKey.from_seed(raw) for raw in trace.sealing_keys(reader)]
    return Opener(reader, keys[-1], keys[:-1]) if keys else None
