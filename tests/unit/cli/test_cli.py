"""The command line as a whole: every command explained, nothing imported too early, extras named."""

import subprocess
import sys

import click
import pytest

from littlebig_cli import main as cli


def commands():
    context = click.Context(cli.littlebig)
    return {name: cli.littlebig.get_command(context, name) for name in cli.COMMANDS}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_for_itself_and_its_options_and_an_example(name):
    command = commands()[name]
    assert command.help
    assert f"littlebig {name}" in (command.epilog or "")
    assert "Example:" in command.epilog
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_the_list_of_commands_imports_none_of_them():
    code = (
        "import sys; from littlebig_cli.main import littlebig\n"
        "littlebig.main(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('torch', 'timm', 'onnx', 'scipy', 'pyarrow', 'littlebig_export', 'littlebig_server', 'littlebig_calibration')])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"
    assert all(name in output for name in cli.COMMANDS)


def test_a_missing_extra_is_one_line_with_the_pip_call():
    code = (
        "import sys; sys.modules['torch'] = None\n"  # as if it were not installed
        "from littlebig_cli.main import main; main(['export'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == "littlebig: 'export' needs torch, which is not installed: pip install 'littlebig[export]'\n"
    assert run.stdout == ""


def test_an_expected_failure_is_one_line_without_a_traceback(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "export", "--pair", "none", "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == (
        "littlebig: no pair 'none': the shipped ones are deit3, efficientnet, efficientnet-lite, efficientvit; "
        "your own is a path to a .toml file\n"
    )


def test_what_a_container_runs_needs_no_more_than_the_base_install():
    # deploy/Dockerfile installs no extra; onnx, torch and their like are gigabytes.
    code = (
        "import importlib, sys\n"
        "for name in ('matplotlib', 'onnx', 'onnxruntime', 'onnxscript', 'psutil', 'pyarrow', 'scipy', 'skimage', 'timm', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "for name in ('apply', 'build', 'preflight', 'probe', 'serve'):\n"
        "    importlib.import_module(f'littlebig_cli.{name}')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
