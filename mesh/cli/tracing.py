"""What the commands that read a trace share: the file, who looks, and which messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mesh.cli import output, usage
from mesh.errors import CODES, UsageError

if TYPE_CHECKING:
    from mesh.trace.reader import Trace
    from mesh.trace.show import Filter

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
AS = click.option(
    "--as",
    "perspective",
    metavar="PARTY",
    help="As somebody sees it: an address, a member, a role, several joined by +, a resident, `wire` or `everything`.",
)
LIMIT = click.option("--limit", metavar="N", type=click.IntRange(min=1), help="At most so many.")
_FILTERS = (
    click.option(
        "--node",
        metavar="ADDRESS|ROLE",
        help="Sent or got by a node, or made by it or for it: muni/01208/tax or muni/*/tax.",
    ),
    click.option("--person", metavar="HANDLE", help="About a resident, as r-000001."),
    click.option("--service", metavar="NAME", help="Of a service or push, as tax.income.v1."),
    click.option("--code", metavar="CODE", help="Refused with a code, or bringing it."),
    click.option("--kind", metavar="KIND", help="request, reply, refusal, event, notice or receipt."),
)


def filters(command: Command) -> Command:
    """The options that choose messages: node, person, service, code, kind."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def filter_of(values: dict[str, str | None]) -> Filter:
    """The filter that was typed; `UsageError` names the nearest code for an unknown one."""
    from mesh.trace.show import Filter

    code = values["code"]
    if code is not None and code not in CODES:
        raise UsageError(usage.unknown("code", code, CODES))
    return Filter(**values)


@contextmanager
def opened(file: Path, name: str | None = None, *, lenient: bool = False) -> Iterator[Trace]:
    """The trace; what who looks must know of it is said on stderr, once something of it was read."""
    from mesh.trace.perspective import sees_run
    from mesh.trace.reader import Trace
    from mesh.trace.seen import notes_seen

    with Trace.open(file, lenient=lenient) as trace:
        yield trace
        for note in notes_seen(trace, name):
            output.note(f"note: {note}")
        if trace.faults is not None and sees_run(name):
            output.note(f"note: recorded under faults: {trace.faults.name}: {trace.faults.title}")


def count(trace: Trace) -> int:
    """How many transmissions there are, as far as they can be read."""
    from mesh.trace.opening import Damage

    try:
        return trace.count("transmission")
    except Damage:
        if not trace.notes:
            raise
    found = 0
    with suppress(Damage):
        for _ in trace.rows("SELECT number FROM transmission ORDER BY number"):
            found += 1
    return found


class Readable:
    """Rows up to the first that cannot be read; `raise_damage` then says what was wrong with it."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows
        self.notes: list[str] = []
        """Nothing, or the one line about the damage once it was met."""
        self._damage: UsageError | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows."""
        from mesh.trace.opening import Damage

        try:
            yield from self._rows
        except Damage as damage:
            self._damage = damage
            self.notes.append(str(damage))

    def raise_damage(self) -> None:
        """Raise what was wrong with the last row, if something was."""
        if self._damage is not None:
            raise self._damage
