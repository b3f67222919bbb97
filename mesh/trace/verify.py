"""Verifies a trace offline, from the file alone: who signed what, what was permitted, who recorded it.

The order is: registry, transmissions, ledgers. It stops at the first thing that does not hold, because what
follows rests on it; among transmissions that is the one with the lowest index.

What nobody signed is the recorder's own word and cannot be proven: when a line was sent and came, what became of it on
the way, where the run ended, the story, expectations and outcome, which residents the codes mean.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from mesh.trace.finding import Finding, Report
from mesh.trace.ledgers import Ledgers
from mesh.trace.opening import Damage
from mesh.trace.reader import Ends, Trace
from mesh.trace.recheck import Recheck
from mesh.trace.registry_copy import registry_view
from mesh.view import View

Progress = Callable[[int, int], object]
PROGRESS_EVERY: Final = 512
"""Transmissions and ledger rows between two calls of `progress`."""


def verify(trace: Trace, root_der: bytes | None = None, progress: Progress | None = None) -> Report:
    """Check everything that a trace says, and return what was found; damage is a finding, too.

    `root_der` is the root certificate that the trace must be of; without it the trace's own is taken, and
    the report's `root` is for a person to compare. `progress(done, total)` is called now and then. A trace
    that was interrupted, or is still being written, verifies up to its last commit; one that was cut does not.
    """
    report = Report(complete=trace.complete and trace.whole, live=trace.live)
    report.nothing = trace.nothing
    if report.nothing:
        return report
    try:
        _verify(trace, root_der, report, progress)
    except Finding as finding:
        report.finding = finding
    except Damage as damage:
        report.finding = Finding("message_malformed", str(damage), index=damage.index)
    return report


def never_sent(trace: Trace) -> Finding | None:
    """What is wrong with a message that no transmission carried; None, as it should be, if there is none."""
    number = trace.unsent()
    if number is None:
        return None
    return Finding("correlation_mismatch", f"message {number} was never transmitted")


def _verify(trace: Trace, root_der: bytes | None, report: Report, progress: Progress | None) -> None:
    if trace.root_der:
        report.root = sha256(trace.root_der).hexdigest()
    if root_der is not None and root_der != trace.root_der:
        raise Finding("key_unknown", "the trace's root certificate is not the one that was expected")
    view = registry_view(trace)
    report.trees += 1
    total = trace.count("transmission") + trace.count("ledger")
    recheck = Recheck(trace, view, report)
    ends = trace.ends() if trace.live else None
    for done, sent in enumerate(trace.transmissions()):
        if ends is not None and sent.number > ends.transmission:
            break
        recheck.transmission(sent)
        if progress is not None and done % PROGRESS_EVERY == 0:
            progress(done, total)
    if (unsent := never_sent(trace)) is not None:
        raise unsent
    _verify_ledgers(trace, view, recheck, report, progress, total, ends)
    trace.read_beside()
    if trace.short is not None:
        raise Finding("message_malformed", f"{trace.name} is {trace.short}: copy it again, or run it again")
    if progress is not None:
        progress(total, total)


def _verify_ledgers(
    trace: Trace,
    view: View,
    recheck: Recheck,
    report: Report,
    progress: Progress | None,
    total: int,
    ends: Ends | None,
) -> None:
    ledgers = Ledgers(trace, view, recheck, report)
    ledgers.read_heads(None if ends is None else ends.heads)
    for done, row in enumerate(trace.ledger(), report.messages):
        if ends is not None and row.number > ends.ledger:
            break
        ledgers.row(row)
        if progress is not None and done % PROGRESS_EVERY == 0:
            progress(done, total)
    ledgers.finish()
