"""The entry point: finds the sub-command's file, imports that one alone, and turns failures into one line."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

import click

from littlebig_cli.failures import missing_extra

# Sub-command -> the module in this package that defines it as `command`, and the extra that module needs.
COMMANDS: dict[str, tuple[str, str | None]] = {
    "build": ("build", "gpu"),
    "check": ("check", "export,check"),
    "classify": ("classify", None),
    "costs": ("costs", "export"),
    "demo": ("demo", "export,server,efficientnet-lite"),
    "export": ("export", "export"),
    "serve": ("serve", "server"),
}


class LazyCommands(click.Group):
    """A group that imports a sub-command's module when it is called or listed, never before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all sub-commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The sub-command's click object, or None if there is no such sub-command."""
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command = importlib.import_module(f"littlebig_cli.{module}").command
        assert isinstance(command, click.Command)  # noqa: S101  (a wrong table entry is our bug, not a user's)
        return command


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example:  littlebig export && littlebig serve",
)
@click.version_option(importlib.metadata.version("littlebig"), prog_name="littlebig")
def littlebig() -> None:
    """Image classification with the big model's accuracy at a fraction of its cost, on NVIDIA Triton."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: the words after `littlebig`; the process's own by default.

    Raises:
        SystemExit: always, with 0 for success, 1 for a failure told in one line, 2 for wrong usage.
    """
    try:
        littlebig.main(args=None if arguments is None else list(arguments), prog_name="littlebig")
    except ModuleNotFoundError as missing:
        words = sys.argv[1:] if arguments is None else list(arguments)
        name = next((word for word in words if word in COMMANDS), "")
        extra = COMMANDS[name][1] if name else None
        if extra is None or (missing.name or "").startswith("littlebig"):
            raise
        click.echo(f"littlebig: {missing_extra(name, extra, missing)}", err=True)
        raise SystemExit(1) from None
