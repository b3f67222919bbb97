"""Every shipped scenario against its stored transcript, tests/transcripts/NAME.txt.

A transcript is the plain output of `run NAME`, then one line for each transmission, then the SHA-256 of what
the trace says: the one of `trace digest`, over rows, which holds across SQLite builds where the bytes of the
file need not. That the files themselves are equal byte for byte is tests/test_repeatability.py's matter.

After a change that is meant, `uv run pytest --renew` writes them anew; read the difference before you commit.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from itertools import islice
from pathlib import Path

import pytest

from mesh.loading import scenarios_of
from mesh.trace.digest import digest
from mesh.trace.reader import Trace
from mesh.trace.show import rows
from mesh.trace.text import format_line
from tests.conftest import Shipped

FOLDER = Path(__file__).parent / "transcripts"
RENEW = "if the change is meant, `uv run pytest --renew` writes it anew"
SCENARIOS = scenarios_of("scenarios")


def transcript(run: Shipped) -> str:
    """Write down all that a run says."""
    with Trace.open(run.trace) as trace:
        sent = [format_line(row) for row in rows(trace)]
        sha256 = digest(trace)
    lines = [*run.result.as_lines(), "", "Transmissions / 電文", *sent, "", f"trace SHA-256 {sha256}"]
    return "".join(f"{line.rstrip()}\n" for line in lines)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_says_what_its_transcript_says(
    name: str, shipped: Callable[[str], Shipped], renew: bool
) -> None:
    made, path = transcript(shipped(name)), FOLDER / f"{name}.txt"
    if renew:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8", newline="\n")
    if not path.is_file():
        pytest.fail(f"{name} has no transcript yet; `uv run pytest --renew` writes {path}", pytrace=False)
    kept = path.read_text(encoding="utf-8")
    if made != kept:
        changes = unified_diff(kept.splitlines(), made.splitlines(), path.name, "this run", n=1, lineterm="")
        shown = "\n".join(islice(changes, 40))
        pytest.fail(f"{name} differs from its transcript; {RENEW}\n{shown}", pytrace=False)


def test_every_transcript_is_of_a_scenario(renew: bool) -> None:
    kept = {path.stem: path for path in FOLDER.glob("*.txt")}
    for name in kept.keys() - SCENARIOS.keys() if renew else ():
        kept.pop(name).unlink()
    assert kept.keys() <= SCENARIOS.keys(), f"a transcript is of no scenario; {RENEW}"
