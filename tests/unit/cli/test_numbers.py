"""Numbers on the command line are finite."""

import click
import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "words",
    [["export", "--threshold"], ["plan", "--rate"], ["classify", "--threshold"], ["calibrate", "--max-accuracy-loss"]],
)
def test_a_number_that_is_not_finite_is_refused(words, number):
    result = CliRunner().invoke(littlebig, [*words, number])
    assert result.exit_code == 2
    assert f"{number} is not a finite number." in result.stderr or "is not in the range" in result.stderr


def test_no_option_takes_other_numbers():
    with click.Context(littlebig) as context:
        for name in littlebig.list_commands(context):
            for option in littlebig.get_command(context, name).params:
                assert type(option.type) not in (click.types.FloatParamType, click.FloatRange), (name, option.name)
