"""`trace show`: the messages of a trace as a list, as a sequence, or one in full, as somebody sees them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh.cli import output
from mesh.cli.tracing import AS, FILE, JSON, LIMIT, filter_of, filters, opened
from mesh.errors import CODES, UsageError

if TYPE_CHECKING:
    from mesh.trace.naming import Names
    from mesh.trace.reader import Trace
    from mesh.trace.show import Filter

PIPE_WIDTH = 120


@click.command(
    "show",
    epilog="\b\nExamples:\n  run_sim.py trace show run.trace --node muni/01208/tax\n"
    "  run_sim.py trace show run.trace --sequence --as muni/01208\n"
    "  run_sim.py trace show run.trace --code no_legal_basis --limit 5\n"
    "  run_sim.py trace show run.trace --message 3 --as muni/01208/tax\n\n"
    f"Codes: {', '.join(CODES)}.",
)
@FILE
@click.option("--message", metavar="ID|INDEX", help="One message in full, with each check that it passed.")
@click.option("--sequence", is_flag=True, help="Draw the messages between the parties, time downwards.")
@click.option(
    "--members", is_flag=True, help="With --sequence: one column for each member, not for each node."
)
@AS
@filters
@LIMIT
@JSON
def show_trace_command(
    file: Path,
    message: str | None,
    sequence: bool,
    members: bool,
    perspective: str | None,
    limit: int | None,
    as_json: bool,
    **values: str | None,
) -> None:
    """List the messages of a trace: time, from, to, kind, service, outcome; draw them; or show one in full."""
    wanted = filter_of(values)
    if message is not None and (sequence or any(value is not None for value in values.values())):
        raise UsageError("--message shows one message; leave the filters out, and --sequence")
    if members and not sequence:
        raise UsageError("--members folds columns; give --sequence too")
    # The rows end before the trace is closed, even when nobody reads the rest of them.
    with (
        opened(file, perspective, lenient=True) as trace,
        closing(_found(trace, message, wanted, perspective, limit)) as found,
    ):
        first = next(found, None)
        shown = iter(()) if first is None else chain((first,), found)
        if as_json:
            output.say_json_rows("messages", shown)
        else:
            for line in _lines(shown, message=message, sequence=sequence, members=members, names=trace.names):
                output.say(line)
        if first is None:
            output.note("note: no message of the trace is of that kind; leave a filter out to see more")


def _found(
    trace: Trace, message: str | None, wanted: Filter, perspective: str | None, limit: int | None
) -> Generator[dict[str, Any], None, None]:
    from mesh.trace.seen import full_seen, see
    from mesh.trace.show import full, rows

    if message is not None:
        yield from islice(
            full(trace, message) if perspective is None else full_seen(trace, message, perspective), limit
        )
    elif perspective is None:
        yield from islice(rows(trace, wanted), limit)
    else:
        yield from islice(see(trace, wanted, perspective), limit)


def _lines(
    found: Iterator[dict[str, Any]], *, message: str | None, sequence: bool, members: bool, names: Names
) -> Iterator[str]:
    from mesh.trace.text import format_full, format_line

    if sequence:
        from mesh.trace.sequence import ASCII, UNICODE, draw

        width = shutil.get_terminal_size((PIPE_WIDTH, 0)).columns if output.on_terminal() else PIPE_WIDTH
        encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
        yield from draw(
            found,
            width=width,
            members=members,
            pen=UNICODE if encoding.startswith("utf") else ASCII,
            names=names,
        )
        return
    yield from map(format_line if message is None else format_full, found)
