"""What a shell may offer behind a command: scenarios and fault plans by name, besides files.

By click's protocol, for instance in bash: `eval "$(_MESHSIM_COMPLETE=bash_source meshsim)"`.
"""

from __future__ import annotations

from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from mesh.faults import Plan
from mesh.scenario import Scenario


def scenarios(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The scenarios whose names begin so, and files."""
    from mesh.loading import all_scenarios

    return _offers(all_scenarios(ctx.obj.scenarios)[0], incomplete)


def plans(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The fault plans whose names begin so, and files."""
    from mesh.loading import all_plans

    return _offers(all_plans(ctx.obj.scenarios)[0], incomplete)


def _offers(named: Mapping[str, Scenario | Plan], incomplete: str) -> list[CompletionItem]:
    found = [
        CompletionItem(name, help=one.title) for name, one in named.items() if name.startswith(incomplete)
    ]
    return found or [CompletionItem(incomplete, type="file")]
