"""`trace`: reads recordings of runs: lists them, shows messages, verifies, hashes, gives a person's view."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mesh.cli import output
from mesh.cli.app import LazyGroup, Places
from mesh.cli.progress import display
from mesh.cli.tracing import AS, FILE, JSON, count, opened
from mesh.errors import UsageError
from mesh.visible import one_line

if TYPE_CHECKING:
    from mesh.trace.finding import Report
    from mesh.trace.reader import Trace

FOLDER = "traces"

trace_command = LazyGroup(
    "trace",
    modules={
        "list": "trace",
        "show": "show",
        "verify": "trace",
        "digest": "trace",
        "diff": "diff",
        "export": "export",
        "history": "trace",
        "page": "trace",
    },
    suffix="trace_command",
    help="Read recordings of runs.",
    epilog="\b\nExamples:\n  run_sim.py trace list\n  run_sim.py trace show traces/child_allowance.trace\n"
    "  run_sim.py trace verify traces/child_allowance.trace",
)


@click.command("list", epilog="\b\nExamples:\n  run_sim.py trace list\n  run_sim.py trace list ~/runs --json")
@click.argument("paths", metavar="[FILE|DIR]...", nargs=-1, type=click.Path(path_type=Path))
@JSON
def list_trace_command(paths: tuple[Path, ...], as_json: bool) -> None:
    """List traces: files, and those in folders; the folder traces/ if none is named."""
    rows = list(_summaries(paths))
    if as_json:
        output.say_json({"traces": rows})
        return
    output.table(
        ("trace", "scenario", "seed", "faults", "messages", "complete"),
        [
            (
                row["path"],
                str(row["scenario"]),
                str(row["seed"]),
                row["faults"] or "-",
                str(row["messages"]),
                _yes(row["complete"]),
            )
            for row in rows
        ],
    )
    for row in rows:
        for note in row["notes"]:
            output.note(f"note: {note}")


def _summaries(paths: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """Of the files that were named, and of the traces in the folders that were."""
    if not paths and not Path(FOLDER).is_dir():
        raise UsageError(f"there is no folder {FOLDER} here; record with `run NAME --trace {FOLDER}/`")
    for path in paths or (Path(FOLDER),):
        if not path.is_dir():
            yield _summary(path)
            continue
        for file in sorted(one for one in path.iterdir() if not one.name.startswith(".")):
            try:
                yield _summary(file)
            except UsageError as error:
                if file.suffix == ".trace":
                    output.note(f"left out: {error}")


def _summary(path: Path) -> dict[str, Any]:
    from mesh.trace.reader import Trace

    with Trace.open(path) as trace:
        return {
            "path": str(path),
            "scenario": trace.meta.get("scenario"),
            "seed": trace.meta.get("seed"),
            "faults": None if trace.faults is None else trace.faults.name,
            "messages": count(trace),
            "complete": trace.complete and trace.whole,
            "notes": list(trace.notes),
        }


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


@click.command(
    "verify",
    epilog="\b\nExamples:\n  run_sim.py trace verify traces/child_allowance.trace\n"
    "  run_sim.py trace verify run.trace --root root.pem --json",
)
@FILE
@click.option(
    "--root",
    metavar="FILE|FINGERPRINT",
    help="The root it must be of: a .pem or .der file, or SHA-256 in hex.",
)
@JSON
def verify_trace_command(file: Path, root: str | None, as_json: bool) -> int:
    """Check a trace from the file alone: signatures, certificates, digests, permits, ledgers.

    Names the first fault by its index, and exits 1 if there is one. What nobody signed is the recorder's own word:
    times, what became of a line on the way, where the run ended, story, expectations and outcome.
    """
    from mesh.trace.verify import verify

    with opened(file) as trace, display() as shown:
        shown.what = f"verifying {file}"
        report = verify(trace, _root(root, trace), shown.work)
    if as_json:
        output.say_json(report.to_dict())
    else:
        for line in _verdict(report):
            output.say(one_line(line))
    return 0 if report.ok else 1


def _root(root: str | None, trace: Trace) -> bytes | None:
    """The certificate that a person expects: from a file, or the trace's own if it has the fingerprint."""
    if root is None:
        return None
    digits = root.replace(":", "").lower()
    if len(digits) == 64 and set(digits) <= set("0123456789abcdef"):
        return trace.root_der if sha256(trace.root_der).hexdigest() == digits else b""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        data = Path(root).read_bytes()
        load = x509.load_pem_x509_certificate if b"-----BEGIN" in data else x509.load_der_x509_certificate
        return load(data).public_bytes(Encoding.DER)
    except OSError as error:
        raise UsageError(
            f"cannot read {root}: {error.strerror}; --root takes a file or 64 hex digits"
        ) from None
    except ValueError:
        raise UsageError(f"{root} holds no certificate; --root takes .pem, .der or 64 hex digits") from None


def _verdict(report: Report) -> Iterator[str]:
    checked = f"{report.messages} messages, {report.permits} permits, {report.ledger_rows} ledger rows"
    if report.nothing:
        yield "nothing recorded: the run " + (
            "has not committed anything yet" if report.live else "was killed before its first commit"
        )
        return
    yield f"{'holds' if report.ok else 'FAILS'}: {checked}, {report.trees} trees checked"
    found = report.finding
    if found is not None:
        where = f"message {found.index}" if found.index is not None else "outside the messages"
        about = f" (id {found.message})" if found.message else ""
        yield f"first fault: {where}{about}: {found.code}: {found.text}"
    yield f"unfinished exchanges {report.unfinished}, retried {report.retried}, refused at the gate {report.refused}"
    if report.live:
        yield f"the trace is still being written: {report.unsigned} ledger rows stand after the last signed heads"
    elif not report.complete:
        yield f"the run was interrupted: {report.unsigned} ledger rows stand after the last signed heads"
    yield f"root certificate SHA-256 {report.root}"


@click.command("digest", epilog="\b\nExamples:\n  run_sim.py trace digest traces/child_allowance.trace")
@FILE
@JSON
def digest_trace_command(file: Path, as_json: bool) -> None:
    """Print the SHA-256 of everything a trace says; equal runs have equal digests."""
    from mesh.trace.digest import digest

    with opened(file) as trace:
        value = digest(trace)
    if as_json:
        output.say_json({"path": str(file), "digest": value})
    else:
        output.say(f"{value}  {file}")


@click.command(
    "history",
    epilog="\b\nExamples:\n  run_sim.py trace history traces/child_allowance.trace --person r-000001",
)
@FILE
@click.option("--person", metavar="HANDLE", required=True, help="The resident, as r-000001.")
@JSON
def history_trace_command(file: Path, person: str, as_json: bool) -> None:
    """Print what a resident may see of who asked what about them (やりとり履歴)."""
    from mesh.trace.history import history

    with opened(file, person) as trace:
        made = history(trace, person)
    if as_json:
        output.say_json(made)
        return
    if not made["rows"]:
        output.say(f"nobody asked about {person}, as far as {person} may see")
        return
    if output.on_terminal():
        short = ("time", "who asked whom", "service, procedure, items", "outcome")
        output.table(short, map(_short_row, made["rows"]))
    else:
        header = ("time", "requester", "provider", "service", "procedure", "items", "outcome")
        output.table(header, map(_row, made["rows"]))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        _moment(row["time_us"]),
        row["requester"],
        row["provider"],
        row["service"],
        row["procedure"] or "-",
        " ".join(row["items"]) or "-",
        row["outcome"],
    )


def _short_row(row: dict[str, Any]) -> tuple[str, ...]:
    """The same in four columns, which a terminal has room for."""
    time, requester, provider, service, procedure, items, outcome = _row(row)
    asked = [one for one in (procedure, items) if one != "-"]
    return time.replace(" ", "\n"), f"{requester}\n→ {provider}", "\n".join([service, *asked]), outcome


def _moment(time_us: int) -> str:
    """A time of the mesh, in Japan's offset."""
    from mesh.simulation import JST

    return datetime.fromtimestamp(time_us / 1_000_000, tz=JST).isoformat(sep=" ", timespec="milliseconds")


@click.command(
    "page",
    epilog="\b\nExamples:\n  run_sim.py trace page run.trace outcome\n"
    "  run_sim.py trace page run.trace message/13 --as muni/28100/tax\n"
    "  run_sim.py trace page run.trace 'joins?first=muni/01208&second=muni/28100'\n"
    "  run_sim.py trace page run.trace commission --json",
)
@FILE
@click.argument("page", metavar="PAGE")
@AS
@JSON
@click.pass_obj
def page_trace_command(places: Places, file: Path, page: str, perspective: str | None, as_json: bool) -> None:
    """Print what a page of the viewer shows; always as JSON.

    Pages are rows, message/N, map, timeline, resident/HANDLE, joins, outcome, commission, present; behind a ? stands
    what each takes, as docs/VIEWER_API.md says.
    """
    import asyncio
    from urllib.parse import quote

    from mesh.cli.choosing import scenarios_by_name
    from mesh.viewer.answers import answer

    if perspective is not None:
        page += f"{'&' if '?' in page else '?'}as={quote(perspective)}"
    output.say_json(asyncio.run(answer(file, page, scenarios_by_name(places.scenarios))))
