"""How long the strict JSON reader takes over documents made to hold it up.

`uv run python -m tests.sweeps.slow_documents` prints the CPU time of each, and fails if one takes two seconds.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Final

import msgspec

from mesh.errors import MeshError
from mesh.parsing import DOCUMENT_BYTES_MAX, decode, parse_json

MIB: Final = DOCUMENT_BYTES_MAX
LIMIT_S: Final = 2.0
HOSTILE: Final = [
    b"1" * MIB,
    b"0." + b"1" * (MIB - 2),
    b"1e" + b"9" * (MIB - 2),
    b"[" * MIB,
    b"[]" * (MIB // 2),
    b'"' * MIB,
    b'"' + b"\\" * (MIB - 1),
    b'"\\"' * (MIB // 3),
    b'"' + b"[" * (MIB - 1),
    b"[" + b"{}," * (MIB // 3 - 1) + b"{}]",
    b'"' + b"\\ud800" * (MIB // 6 - 1) + b'"',
]


def main() -> int:
    """Read each document both ways; 1 if one took too long."""
    sys.set_int_max_str_digits(0)  # Python's own limit may be switched off in the process that reads.
    longest_s = 0.0
    decoder = msgspec.json.Decoder(Any)
    for data in HOSTILE:
        started_s = time.process_time()
        for read in (parse_json, lambda some: decode(some, decoder)):
            with contextlib.suppress(MeshError):
                read(data)
        taken_s = time.process_time() - started_s
        longest_s = max(longest_s, taken_s)
        print(f"{taken_s:6.3f} s  {data[:12]!r}")
    return int(longest_s >= LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
