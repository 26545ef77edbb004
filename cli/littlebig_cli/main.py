"""The entry point: finds the sub-command's file, imports that one alone, and turns failures into one line."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from littlebig_cli.failures import missing_extra


@dataclass(frozen=True)
class Entry:
    """A sub-command that is not imported yet; its module here has the command's name.

    Attributes:
        help: one line for the list of commands.
        extra: what it needs beyond the base install.
    """

    help: str
    extra: str | None = None


COMMANDS = {
    "apply": Entry("Serve a calibration's threshold from a repository, with its evidence."),
    "bench": Entry(
        "Measure the cascade against its parts, its bound and two baselines.", "benchmarks,server,efficientnet-lite"
    ),
    "build": Entry("Build a repository's TensorRT engines on the machine that serves them.", "gpu"),
    "calibrate": Entry("Choose a pair's threshold from labelled predictions, with evidence.", "calibration"),
    "check": Entry("Parse and build a pair's graphs with TensorRT-RTX, without a GPU.", "export,check"),
    "classify": Entry("Classify images with a served cascade."),
    "costs": Entry("Count a pair's parameters and multiply-adds; measure its time.", "export"),
    "demo": Entry("Export the default pair, serve it, classify photographs, stop.", "export,server,efficientnet-lite"),
    "export": Entry("Export a pair into a model repository that tritonserver serves.", "export"),
    "overload": Entry(
        "Offer more images than the cascade can answer, with a latency target.", "benchmarks,server,efficientnet-lite"
    ),
    "plan": Entry("How many GPUs a load needs, with the cascade and with big alone.", "benchmarks,server"),
    "predict": Entry("Predict labelled images with both stages, for a calibration.", "calibration"),
    "preflight": Entry("Check what a server needs before it is started: repository, calibration, /dev/shm."),
    "probe": Entry("Tell Kubernetes whether a server has started, is ready, or must be restarted."),
    "reproduce": Entry("Measure the MAC reductions that the paper publishes.", "calibration,export"),
    "search": Entry("Find the best companion for every big model, from prediction tables.", "calibration"),
    "serve": Entry("Serve a model repository with a tritonserver on this machine.", "server"),
}


class LazyCommands(click.Group):
    """A group that imports a sub-command's module when it is called, and none when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all sub-commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The sub-command's click object, or None if there is no such sub-command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"littlebig_cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101  (a wrong module is our bug, not a user's)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands from the table above: their extras may not be installed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


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
        extra = COMMANDS[name].extra if name else None
        if extra is None or (missing.name or "").startswith("littlebig"):
            raise
        click.echo(f"littlebig: {missing_extra(name, extra, missing)}", err=True)
        raise SystemExit(1) from None
