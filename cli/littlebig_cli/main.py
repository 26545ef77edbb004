"""The entry point: imports the module of the sub-command that runs, and reports a missing extra in one line."""

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from littlebig_cli.failures import missing_extra
from littlebig_cli.renamed import removed_command
from littlebig_cli.terminal import accept_anything, ends_silently
from littlebig_contract.text import one_line
from littlebig_contract.version import version


@dataclass(frozen=True)
class Entry:
    """A sub-command that is not imported yet. Its module has the command's name.

    Attributes:
        help: one line for the list of commands.
        extra: the extras it needs beyond the base install, comma-separated.
    """

    help: str
    extra: str | None = None


COMMANDS = {
    "apply": Entry("Write a calibration's threshold into a model repository."),
    "bench": Entry(
        "Measure the cascade beside its stages, its bound and two baselines.", "benchmarks,server,efficientnet-lite"
    ),
    "build": Entry("Build a repository's TensorRT engines on the GPU that serves them.", "gpu"),
    "calibrate": Entry("Choose a pair's threshold from labelled predictions.", "calibration"),
    "check": Entry("Parse and build a pair's graphs with TensorRT-RTX, without a GPU.", "export,check"),
    "classify": Entry("Classify images with a served cascade."),
    "costs": Entry("Count a pair's parameters and multiply-adds, and measure its time.", "export"),
    "demo": Entry("Export the default pair, serve it, classify photographs, stop.", "export,server,efficientnet-lite"),
    "doctor": Entry("Check what this machine can do, and say how to mend what it lacks."),
    "export": Entry("Export a pair into a model repository that tritonserver serves.", "export"),
    "playground": Entry("Try pictures on a page in the browser, beside a running server.", "playground"),
    "label": Entry("Choose the images whose labels certify a threshold, and make a page to label them.", "calibration"),
    "plan": Entry(
        "Compute the replicas that a request rate needs, for the cascade and for big alone.", "benchmarks,server"
    ),
    "predict": Entry("Predict images with both stages, as input of `label` and `calibrate`.", "calibration"),
    "preflight": Entry("Check what a server needs before it starts: repository, calibration, /dev/shm."),
    "probe": Entry("Check whether a server has started, is ready, or must be restarted."),
    "reproduce": Entry("Reproduce the paper's table of multiply-add reductions.", "calibration,export"),
    "sort": Entry("Sort pictures into folders by answer."),
    "search": Entry("Find the best little model for every big one, from prediction tables.", "calibration"),
    "serve": Entry("Serve a model repository with a tritonserver on this machine.", "server"),
}


# Sub-commands that no longer exist, and what to call instead.
REMOVED = {"overload": "littlebig bench --only overload"}


def variable(command: str, option: click.Option) -> str:
    """The environment variable with an option's default; click's own would have the name of the function's argument."""
    flag = max(option.opts, key=len).removeprefix("--")
    return f"LITTLEBIG_{command}_{flag}".replace("-", "_").upper()


class LazyCommands(click.Group):
    """A group that imports a sub-command's module when it runs, and no module to list the commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all sub-commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the sub-command's click object, or None if there is no such sub-command."""
        if cmd_name in REMOVED:
            return removed_command(cmd_name, REMOVED[cmd_name])
        if cmd_name not in COMMANDS:
            return None
        try:
            command = importlib.import_module(f"littlebig_cli.{cmd_name}").command
        except ModuleNotFoundError:
            if ctx.resilient_parsing:  # shell completion: a missing extra has nothing to complete
                return None
            raise
        assert isinstance(command, click.Command)  # noqa: S101  (cannot fail because of user input)
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                option.envvar = variable(cmd_name, option)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a sub-command's name from COMMANDS, an option as click does."""
        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(name, help=COMMANDS[name].help)
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands from COMMANDS: their extras may not be installed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        """Run the sub-command; errors become printable, and Ctrl-C and a closed pipe end it silently."""
        with ends_silently():
            try:
                return super().invoke(ctx)
            except click.ClickException as failure:
                vars(failure)["message"] = one_line(failure.message)  # click declares it Final
                raise


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(f"littlebig, version {version()}")
        context.exit()


@click.group(
    cls=LazyCommands,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="Example:  littlebig export && littlebig serve\n\n"
    "LITTLEBIG_COMMAND_OPTION in the environment is an option's default: LITTLEBIG_SERVE_GRPC_PORT=9001.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_show_version,
    help="Show the version and the commit, and exit.",
)
def littlebig() -> None:
    """Image classification with the big model's accuracy at a fraction of its cost, on NVIDIA Triton."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: the words after `littlebig`; sys.argv by default.

    Raises:
        SystemExit: always; code 0 for success, 1 for a reported failure, 2 for wrong usage, 130 for Ctrl-C, 141 for a
            closed pipe.
    """
    accept_anything()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own lines would stand beside ours on stderr
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
