"""Commands and options that no longer exist: each answers with one line that names its replacement."""

from collections.abc import Callable
from typing import Any

import click

from littlebig_cli.failures import Failure


class Removed(Failure):
    """Use of a removed or renamed command or option; exit code 2, as for other wrong usage."""

    exit_code = 2


def renamed_option(option: str, remedy: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command so that an old option answers with one line, with or without a value.

    The option is hidden from the help and passes nothing to the command's function.

    Args:
        option: the old name, such as `--gate`.
        remedy: what to do instead, such as `use --score`.
    """

    def refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise Removed(f"option {option} no longer exists: {remedy}")

    # An optional value: an old flag is refused like an old option with a value.
    return click.option(
        option,
        is_flag=False,
        flag_value="",
        is_eager=True,
        hidden=True,
        expose_value=False,
        callback=refuse,
        help=f"No longer exists: {remedy}.",
    )


def removed_command(name: str, replacement: str) -> click.Command:
    """A hidden command that answers with one line, whatever its arguments.

    Args:
        name: the old command, such as `overload`.
        replacement: what to call instead, such as `littlebig bench --only overload`.
    """

    def refuse(arguments: tuple[str, ...]) -> None:
        raise Removed(f"'littlebig {name}' no longer exists: use '{replacement}'")

    return click.Command(
        name,
        callback=refuse,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        add_help_option=False,
        hidden=True,
        context_settings={"ignore_unknown_options": True},
    )
