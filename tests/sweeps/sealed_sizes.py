"""The sizes that a broker sees of what is sealed: for every service and push, over all scenarios, as a table in Markdown.

    uv run python tests/sweeps/sealed_sizes.py
    uv run python tests/sweeps/sealed_sizes.py --only child_allowance,moving

A seal's size is that of its padded document: that is what its length tells whoever carries it. Where a column has several
sizes, the length tells one from the other; the last column counts the answers that differ in values only and not in size.
Exit code 1 if two answers of one office to another differ in nothing but values, and in size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from mesh.base64url import decode
from mesh.errors import MeshError
from mesh.loading import scenarios_of
from mesh.message import Kind, encode
from mesh.party import read_line
from mesh.runner import run_scenario
from mesh.sealing import split
from mesh.trace.keyring import Keys
from mesh.trace.reader import Trace

PARTS = ("subject", Kind.REQUEST, Kind.REPLY, "reason", Kind.NOTICE)
"""The columns: who it is about, in questions and pushes; what a question and an answer hold, and why there is none; what a
notice holds."""


class Sealed(NamedTuple):
    """One seal of a message that was transmitted."""

    service: str
    part: str
    size: int
    """Bytes of the padded document."""
    line_size: int
    source: str
    recipient: str
    content: Any
    """What stands under it, as a JSON value; None where nobody's key opens it."""


def size_of(token: str) -> int:
    """Bytes of the padded document under a seal, which whoever carries it can count."""
    return len(decode(split(token)[3]))


def seals_in(trace: Trace) -> Iterator[Sealed]:
    """Every seal of a trace, once for each message."""
    keys = Keys(trace)
    for kind, line in trace.rows("SELECT kind, line FROM message ORDER BY number"):
        if kind not in (Kind.REQUEST, Kind.REPLY, Kind.REFUSAL, Kind.EVENT, Kind.NOTICE):
            continue
        try:
            message = read_line(line)
        except MeshError:  # What a forger sent need be nothing.
            continue
        for part in ("subject", "data", "reason"):
            token = getattr(message, part, None)
            if not isinstance(token, str):
                continue
            try:
                size = size_of(token)
                content = keys.open(token, message.recipient, message.source) if part == "data" else None
            except MeshError:
                continue
            yield Sealed(
                message.type, kind if part == "data" else part, size, len(line), message.source, message.recipient, content
            )  # fmt: skip


def shape(content: Any) -> Any:
    """A JSON value without its values: names and how many stand in a list."""
    if isinstance(content, dict):
        return {name: shape(part) for name, part in sorted(content.items())}
    return [shape(part) for part in content] if isinstance(content, list) else None


def alike(seals: Iterable[Sealed]) -> dict[tuple[str, str, str, bytes], list[Sealed]]:
    """Answers of one office to another that differ in values only, where there are two at least."""
    found: dict[tuple[str, str, str, bytes], dict[bytes, Sealed]] = defaultdict(dict)
    for one in seals:
        if one.part == Kind.REPLY:
            key = (one.service, one.source, one.recipient, msgspec.json.encode(shape(one.content)))
            found[key][encode(one.content)] = one
    return {key: list(some.values()) for key, some in found.items() if len(some) > 1}


def table(seals: list[Sealed]) -> Iterator[str]:
    """The lines of the table, a service or push in each."""
    sizes: dict[str, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
    for one in seals:
        sizes[one.service][one.part][one.size] += 1
    compared = Counter[str]()
    for (service, *_), some in alike(seals).items():
        compared[service] += len(some)
    yield "| service or push | subject | question | answer | refusal | notice | answers alike but for values |"
    yield "|---|---|---|---|---|---|---|"
    for service, parts in sorted(sizes.items()):
        cells = [
            ", ".join(f"{size:,} × {count:,}" for size, count in sorted(parts[part].items()))
            for part in PARTS
        ]
        yield f"| `{service}` | {' | '.join(cells)} | {compared[service] or ''} |"


def main(words: list[str] | None = None) -> int:
    """Play what was asked for and print the table."""
    known = scenarios_of("scenarios")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(known), help="scenarios, with commas between")
    names = parser.parse_args(words).only.split(",")
    seals: list[Sealed] = []
    for name in names:
        print(name, file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.trace"
            run_scenario(known[name], nodes="nodes", trace=path)
            with Trace.open(path) as trace:
                seals += seals_in(trace)
    print("\n".join(table(seals)))
    told = [key for key, some in alike(seals).items() if len({one.line_size for one in some}) > 1]
    for service, source, recipient, _ in told:
        print(f"the length tells answers of {service} by {source} to {recipient} apart", file=sys.stderr)
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
