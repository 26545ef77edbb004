"""Reports expected failures as one line on stderr with exit code 1, without a traceback."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from littlebig_contract.text import one_line

P = ParamSpec("P")
R = TypeVar("R")


class Failure(click.ClickException):
    """An expected failure: prints `littlebig: MESSAGE`, exit code 1."""

    def show(self, file: object = None) -> None:
        """Print the message to stderr as one printable line, whatever file names and servers put into it."""
        click.echo(f"littlebig: {one_line(self.format_message())}", err=True)


def report_failures(*expected: type[Exception]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a command so that expected exceptions are reported as one line.

    Args:
        expected: base classes of the failures that a user can cause or fix. Their messages name the remedy.
    """

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except expected as failure:
                raise Failure(str(failure)) from failure

        return run

    return decorate


def missing_extra(command: str, extra: str, missing: ModuleNotFoundError) -> str:
    """The message for a sub-command whose extra is not installed, with the pip command that installs it."""
    return f"'{command}' needs {missing.name}, which is not installed: {install(extra)}"


def install(extras: str) -> str:
    """The pip command that installs extras, given as in its square brackets."""
    return f"pip install 'littlebig[{extras}]'"
