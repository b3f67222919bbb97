"""`trace export`: a trace in other people's formats."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mesh.cli import output
from mesh.cli.tracing import AS, FILE, LIMIT, Readable, count, filter_of, filters, opened
from mesh.errors import UsageError
from mesh.whole import whole_file

if TYPE_CHECKING:
    from mesh.trace.reader import Trace

FORMATS = {
    "perfetto": "Perfetto's own format, for its user interface",
    "otlp": "OpenTelemetry's JSON lines: for a collector, or Jaeger",
    "mermaid": "a sequence diagram for a document",
    "jsonl": "one transmission a line; docs/JSONL.md explains the fields",
    "cloudevents": "a batch of the messages as they were signed; permits are no events",
    "html": "one page to mail to a colleague",
}
_BINARY = ("perfetto",)


@click.command(
    "export",
    epilog="\b\nExamples:\n  run_sim.py trace export run.trace --to perfetto --out run.perfetto-trace\n"
    "  run_sim.py trace export run.trace --to otlp --service tax.income.v1 > run.otlp.jsonl\n"
    "  run_sim.py trace export run.trace --to html --as muni/01208 --out city.html\n\n"
    + "\b\nFormats:\n"
    + "\n".join(f"  {name:<12} {text}" for name, text in FORMATS.items()),
)
@FILE
@click.option("--to", "form", type=click.Choice(list(FORMATS)), required=True, help="The format.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write; stdout without it."
)
@AS
@filters
@LIMIT
def export_trace_command(
    file: Path, form: str, out: Path | None, perspective: str | None, limit: int | None, **values: str | None
) -> None:
    """Write a trace in another format, whole or in part, as recorded or as somebody sees it.

    Nothing is opened unless --as names somebody whose keys open it.
    """
    from mesh.trace.seen import see

    wanted = filter_of(values)
    if out is None and form in _BINARY and output.on_terminal():
        raise UsageError(f"{form} is no text; name a file: --out run.{form}-trace")
    _check_place(out, file)
    # The rows end before the trace is closed, even when nobody reads the rest of them.
    with (
        opened(file, perspective) as trace,
        closing(see(trace, wanted, perspective, full=form == "html")) as found,
    ):
        rows = Readable(islice(found, None if form == "html" else limit))
        pieces = _writer(trace, form, rows, perspective, limit)
        first = next(pieces, b"")  # What is wrong shows before a file is begun.
        _write(out, first, pieces)
        rows.raise_damage()
    if out is not None:
        output.note(f"{form}: {out}")


def _check_place(out: Path | None, file: Path) -> None:
    if out is None:
        return
    if out.is_dir():
        raise UsageError(f"{out} is a folder; name a file: --out {out / 'run'}")
    with suppress(OSError):
        if out.exists() and out.samefile(file):
            raise UsageError(f"{out} is the trace itself; name another file")


def _write(out: Path | None, first: bytes, rest: Iterator[bytes]) -> None:
    if out is None:
        stream = sys.stdout.buffer
        stream.write(first)
        stream.writelines(rest)
        stream.flush()
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_file(out) as stream:
            stream.write(first)
            stream.writelines(rest)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}; name a place with room") from None


def _writer(
    trace: Trace, form: str, rows: Readable, perspective: str | None, limit: int | None
) -> Iterator[bytes]:
    from mesh.trace.export import jsonl, mermaid

    if form == "html":
        return _page(trace, rows, perspective, limit)
    if form in ("perfetto", "otlp"):
        return _of_legs(trace, form, rows, perspective)
    if form == "jsonl":
        return jsonl.write(rows, start_us=trace.start_us)
    return mermaid.write(rows, trace.names) if form == "mermaid" else _batch(rows)


def _batch(rows: Readable) -> Iterator[bytes]:
    from mesh.trace.export import cloudevents

    left = cloudevents.Left()
    yield from cloudevents.write(rows, left)
    if left != cloudevents.Left():
        output.note(str(left))


def _of_legs(trace: Trace, form: str, rows: Readable, perspective: str | None) -> Iterator[bytes]:
    from mesh.trace.export import otlp, perfetto
    from mesh.trace.export.legs import legs
    from mesh.trace.perspective import parties_of

    parties = None if perspective is None else parties_of(trace, perspective)
    found = legs(rows, parties)
    if form == "perfetto":
        return perfetto.write(found)
    return otlp.write(found, start_us=trace.start_us or 0, parties=parties)


def _page(trace: Trace, rows: Readable, perspective: str | None, limit: int | None) -> Iterator[bytes]:
    from mesh.page.trace import MESSAGES_MAX, render
    from mesh.trace.seen import notes_seen

    page = render(
        rows,
        meta={name: trace.meta.get(name) for name in ("scenario", "seed", "starts", "faults")},
        notes=chain(notes_seen(trace, perspective), rows.notes),
        names=trace.names,
        perspective=perspective,
        total=count(trace),
        limit=limit or MESSAGES_MAX,
    )
    yield page.encode()
