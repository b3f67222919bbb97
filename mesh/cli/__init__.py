"""The command line: what a person types, and what a person reads back.

Rules kept here:
1. Exit 0: what was asked for held; 1: an expectation or a check failed; 2: what was typed cannot be used.
2. What cannot be used is said in one line on stderr, `error: what; how to fix it`; never a traceback.
3. Results go to stdout, as tables on a terminal, plain when piped, nothing but JSON with `--json`; progress
   and logs go to stderr.
4. A command's module costs nothing to import; what is heavy is imported when the command runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn


def main(*, nodes: str | None, scenarios: str | None, args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line over a package of nodes and one of scenarios, then exit.

    `args` are what was typed after the program's name; those of the process when None.
    """
    from mesh.cli.app import make_root

    make_root(nodes=nodes, scenarios=scenarios).main(args)
