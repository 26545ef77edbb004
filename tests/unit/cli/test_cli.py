"""The command line as a whole: help, imports, missing extras and removed commands."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import littlebig_cli
from littlebig_cli import main as cli
from littlebig_cli.demo import is_calibrated_int8, next_steps

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_and_option_has_help_and_every_command_an_example(name):
    command = cli.littlebig.get_command(click.Context(cli.littlebig), name)
    assert command.help
    assert f"littlebig {name}" in (command.epilog or "")
    assert "Example:" in command.epilog
    # Readable on any terminal.
    assert command.get_help(click.Context(command)).isascii()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_list_of_commands_imports_none_of_them():
    code = (
        "import sys; from littlebig_cli.main import littlebig\n"
        "littlebig.main(['--help'], standalone_mode=False)\n"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('torch', 'timm', 'onnx', 'scipy', 'pyarrow', 'littlebig_export', 'littlebig_server', 'littlebig_calibration')])"
    )
    output = run("-c", code).stdout
    assert output.splitlines()[-1] == "[]"
    assert all(name in output for name in cli.COMMANDS)


def test_missing_extra_is_one_line_with_the_pip_command():
    code = (
        "import sys; sys.modules['torch'] = None\n"  # as if it were not installed
        "from littlebig_cli.main import main; main(['export'])"
    )
    process = run("-c", code)
    assert process.returncode == 1
    assert (
        process.stderr == "littlebig: 'export' needs torch, which is not installed: pip install 'littlebig[export]'\n"
    )
    assert process.stdout == ""


def test_expected_failure_is_one_line_without_a_traceback():
    process = run("-m", "littlebig_cli", "classify", "photo.png", "--url", "http://localhost:8000")
    assert process.returncode == 1
    assert process.stderr == (
        "littlebig: url must be host:port of Triton's gRPC endpoint, such as localhost:8001, not 'http://localhost:8000'\n"
    )


@pytest.mark.parametrize("name", cli.REMOVED)
def test_removed_command_names_its_replacement(name):
    result = CliRunner().invoke(cli.littlebig, [name, "--rounds", "3"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"littlebig: 'littlebig {name}' no longer exists: use '{cli.REMOVED[name]}'\n"


@pytest.mark.parametrize("replacement", cli.REMOVED.values())
def test_replacement_of_a_removed_command_is_a_valid_call(replacement):
    _, name, *options = replacement.split()
    cli.littlebig.get_command(click.Context(cli.littlebig), name).make_context(name, options)


def test_removed_commands_are_not_listed_and_have_no_module():
    listed = CliRunner().invoke(cli.littlebig, ["--help"]).output
    for name in cli.REMOVED:
        assert f"  {name} " not in listed
        assert not (Path(littlebig_cli.__file__).parent / f"{name}.py").exists()


def test_container_commands_need_only_the_base_install():
    # deploy/Dockerfile installs no extra; onnx, torch and the others are gigabytes.
    code = (
        "import importlib, sys\n"
        "for name in ('matplotlib', 'onnx', 'onnxruntime', 'onnxscript', 'psutil', 'pyarrow', 'scipy', 'skimage', 'timm', 'torch'):\n"
        "    sys.modules[name] = None\n"
        "for name in ('apply', 'build', 'doctor', 'preflight', 'probe', 'serve'):\n"
        "    importlib.import_module(f'littlebig_cli.{name}')\n"
    )
    process = run("-c", code)
    assert (process.returncode, process.stderr) == (0, "")


def test_demo_ends_with_steps_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = next_steps(Path("build/model_repository"))
    targets = re.findall(r"make (\w+)", steps)
    assert targets == ["playground", "serve"]
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)
    assert (ROOT / "docs" / "tutorial.md").is_file()
    assert max(map(len, steps.splitlines())) <= 80
    monkeypatch.chdir(tmp_path)
    assert "littlebig playground --serve --repository elsewhere" in next_steps(Path("elsewhere"))


@pytest.mark.parametrize(
    ("precision", "source", "shown"),
    [("int8", "calibration.json", True), ("int8", "pair", False), ("fp32", "calibration.json", False)],
)
def test_demo_compares_int8_only_where_it_pays_and_is_calibrated(precision, source, shown):
    provenance = {"precision": {"stages": {"little": {"precision": precision}}}, "threshold": {"source": source}}
    assert is_calibrated_int8(provenance) is shown
    assert not is_calibrated_int8({**provenance, "precision": {"stages": {}}})
