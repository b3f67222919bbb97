"""`trace diff`: where two recorded runs part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mesh.cli import output
from mesh.cli.tracing import JSON, opened
from mesh.visible import one_line

_VALUE_WIDTH = 60


@click.command(
    "diff",
    epilog="\b\nExamples:\n  run_sim.py trace diff one.trace other.trace\n"
    "  run_sim.py trace diff seed-1.trace seed-2.trace --by-meaning --json",
)
@click.argument("a", metavar="A", type=click.Path(path_type=Path))
@click.argument("b", metavar="B", type=click.Path(path_type=Path))
@click.option("--by-meaning", is_flag=True, help="Set ids, times, keys and signatures aside.")
@JSON
def diff_trace_command(a: Path, b: Path, by_meaning: bool, as_json: bool) -> int:
    """Say where two runs part: the first message that differs, then what follows from it.

    Exits 0 if they are the same and 1 if they are not.
    """
    from mesh.trace.diff import diff

    with opened(a) as one, opened(b) as other:
        found = diff(one, other, by_meaning=by_meaning)
    if as_json:
        output.say_json(found)
    else:
        for line in _lines(found, by_meaning=by_meaning):
            output.say(one_line(line))
    return 0 if found["same"] else 1


def _lines(found: dict[str, Any], *, by_meaning: bool) -> Iterator[str]:
    for fact in found["facts"]:
        yield f"{fact['name']}: {_text(fact['a'])} | {_text(fact['b'])}"
    first = found["first"]
    if first is None:
        yield "the same by meaning" if by_meaning else "the same"
        return
    if first["index_a"] is None and first["index_b"] is None:
        yield first["what"]
        return
    yield f"first difference: message {_text(first['index_a'])} | {_text(first['index_b'])}: {first['what']}"
    for field in first["fields"]:
        yield f"  {field['field']:<20} {_excerpts(field['a'], field['b'])}"
    yield from _follows(found["follows"])


def _follows(follows: dict[str, Any]) -> Iterator[str]:
    yield f"messages from there on: {follows['messages']['a']:,} | {follows['messages']['b']:,}"
    yield f"of its exchange: {_indexes(follows['exchange']['a'])} | {_indexes(follows['exchange']['b'])}"
    person = follows["person"]
    if person is not None:
        yield f"about {person['handle']}: {_indexes(person['a'])} | {_indexes(person['b'])}"
    others = follows["others"]
    yield f"that merely come later: {others['a']:,} | {others['b']:,}"
    for one in follows["services"]:
        yield f"  {one['service'] or '-':<32} {one['a']:>8,} | {one['b']:,}"


def _indexes(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:12]))
    return f"{shown or 'none'}{', …' if len(numbers) > 12 else ''}"


def _excerpts(a: Any, b: Any) -> str:
    """Both values from a little before their first difference on."""
    one, other = _text(a), _text(b)
    same = next(
        (at for at, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other))
    )
    start = max(0, same - 20) if max(len(one), len(other)) > _VALUE_WIDTH else 0
    where = f"  (from byte {same})" if start else ""
    return " | ".join(_excerpt(text, start) for text in (one, other)) + where


def _excerpt(text: str, start: int) -> str:
    part = text[start : start + _VALUE_WIDTH]
    return f"{'…' if start else ''}{part}{'…' if start + _VALUE_WIDTH < len(text) else ''}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
