"""The root of the commands: which there are, where each stands, and how one exits."""

from __future__ import annotations

import errno
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from mesh.cli import output, usage
from mesh.clock.ending import ending
from mesh.errors import UsageError

PIPE_CLOSED = 141
"""128 + SIGPIPE: whoever read the output stopped reading."""


@dataclass(frozen=True, slots=True)
class Places:
    """The packages that hold the nodes and the scenarios; None where there is none."""

    nodes: str | None
    scenarios: str | None


def named(text: str | None, ctx: click.Context) -> str | None:
    """Examples as they are typed here: they are written for run_sim.py, and the program may be installed as meshsim."""
    name = ctx.find_root().info_name
    return text if text is None or not name else text.replace("run_sim.py", name)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for: name → module in this package.

    The command stands in its module under its own name, with `_` and the suffix behind it.
    """

    def __init__(
        self, *args: Any, modules: Mapping[str, str], suffix: str = "command", **attributes: Any
    ) -> None:
        super().__init__(*args, **({"no_args_is_help": False} | attributes))
        self.modules = modules
        self.suffix = suffix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which help lists them."""
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        module = self.modules.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"mesh.cli.{module}"), f"{cmd_name}_{self.suffix}"
        )
        command = copy(command)
        command.epilog = named(command.epilog, ctx)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, with the program that was typed."""
        written, self.epilog = self.epilog, named(self.epilog, ctx)
        super().format_epilog(ctx, formatter)
        self.epilog = written

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed; `UsageError` with the nearest name for an unknown one."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            raise UsageError(usage.unknown(f"{ctx.info_name} command", name, self.modules))
        return name, command, args[1:]


class Root(LazyGroup):
    """The whole command line."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that was typed; a scenario's name or file means `run`."""
        name = args[0]
        if name in self.modules:
            return super().resolve_command(ctx, args)
        from mesh.cli.choosing import scenarios_by_name

        scenarios = scenarios_by_name(ctx.obj.scenarios)
        if name in scenarios or name.endswith(".py"):
            return "run", self.get_command(ctx, "run"), args
        raise UsageError(usage.unknown("command or scenario", name, [*self.modules, *scenarios]))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Run what was typed and exit with its code."""
        extra.pop("standalone_mode", None)
        arguments = sys.argv[1:] if args is None else list(args)
        name = prog_name or os.path.basename(sys.argv[0]) or "run_sim.py"
        self._complete(name)
        sys.exit(self._outcome(arguments, name, extra))

    def _complete(self, name: str) -> None:
        """Answer a shell that asks for completion, by click's protocol, and exit: nothing is run or written."""
        if f"_{name.replace('-', '_').replace('.', '_')}_COMPLETE".upper() not in os.environ:
            return
        with suppress(UsageError, click.ClickException), redirect_stderr(io.StringIO()):
            self._main_shell_completion({}, name)
        sys.exit(1)

    def _outcome(self, args: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        output.make_printable(sys.stdout, sys.stderr)
        with ending.as_interrupt():
            return self._guarded(args, prog_name, extra)

    def _guarded(self, args: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        try:
            with self.make_context(prog_name, args, **extra) as ctx:
                code = self.invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except click.exceptions.Exit as exit_:
            return exit_.exit_code
        except click.ClickException as error:
            return usage.report(usage.one_line(error))
        except UsageError as error:
            return usage.report(str(error))
        except (KeyboardInterrupt, click.Abort):
            output.note(ending.words)
            return ending.code
        except BrokenPipeError:
            output.abandon_stdout()
            return PIPE_CLOSED
        except OSError as error:
            if error.errno == errno.ENOSPC:
                output.abandon_stdout()
            return usage.report(
                f"cannot use {error.filename or 'the output'}: {error.strerror}; name another place"
            )
        return code if isinstance(code, int) else 0


def make_root(*, nodes: str | None, scenarios: str | None) -> Root:
    """The command line over two packages."""
    return Root(
        "run_sim.py",
        callback=_root,
        invoke_without_command=True,
        params=[
            click.Option(["--json", "as_json"], is_flag=True, help="Print the tour's result as JSON."),
            click.Option(
                ["--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Show the version and exit.",
            ),
        ],
        modules={
            "list": "listing",
            "run": "run",
            "trace": "trace",
            "view": "view",
            "services": "services",
            "bench": "bench",
            "new": "new",
        },
        context_settings={
            "obj": Places(nodes, scenarios),
            "help_option_names": ["-h", "--help"],
            "max_content_width": 110,
        },
        help="A simulator of Japan's public service mesh (公共サービスメッシュ).\n\n"
        "Without a command: a short tour. A scenario's name or file alone means `run`.",
        epilog="\b\nExamples:\n  run_sim.py\n  run_sim.py list\n  run_sim.py child_allowance --seed 7\n"
        "  run_sim.py trace show traces/child_allowance.trace",
    )


@click.pass_context
def _root(ctx: click.Context, as_json: bool) -> int:
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise UsageError(
                f"--json stands before {ctx.invoked_subcommand}; put it behind the command it is for"
            )
        return 0
    from mesh.cli.tour import tour

    return tour(ctx.obj, as_json=as_json)


def version() -> str:
    """The simulator's version, as it was installed."""
    from importlib import metadata

    try:
        return metadata.version("public-service-mesh-simulator")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"public-service-mesh-simulator {version()}")
        ctx.exit()
