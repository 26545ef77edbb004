"""Builds sdist and wheel, and tries the wheel in a new environment with the base install. `make dist` runs it.

    python tests/dist/smoke.py [FOLDER]

FOLDER receives both files; `dist` by default. The wheel is built from the sdist, so both are complete.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODELS = ("little", "big", "little_big", "preprocess", "classify")
FILES = ("little_big/1/model.py", "preprocess/1/model.py", "classify/1/.keep")
# basedpyright is pyright with its Node.js in wheels.
TYPE_CHECKERS = ("mypy==2.4.1", "basedpyright==1.40.2")
EXTERNAL = re.compile(r"(^|/)(experiments|tests|results|build)/")


def main() -> None:
    """Build, check the contents, install and run."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").absolute()
    with tempfile.TemporaryDirectory(prefix="littlebig-dist-") as work:
        sdist, wheel = build(folder, Path(work))
        check_sdist(sdist)
        check_wheel(wheel)
        check_types(check_installed(wheel, Path(work)), Path(work))
    print(f"{sdist.name} and {wheel.name} are in {folder}")


def new_environment(path: Path, *requirements: str) -> Path:
    """A virtual environment with packages; returns the path of its interpreter."""
    venv.create(path, with_pip=True)
    python = path / "bin" / "python"
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile", *requirements)
    return python


def build(folder: Path, work: Path) -> tuple[Path, Path]:
    """Build both files into a folder, the wheel from the sdist."""
    python = new_environment(work / "build", "build", "hatchling>=1.26")
    output = work / "output"
    run(python, "-m", "build", "--no-isolation", "--outdir", output, ROOT)
    folder.mkdir(parents=True, exist_ok=True)
    (sdist,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return (Path(shutil.move(sdist, folder / sdist.name)), Path(shutil.move(wheel, folder / wheel.name)))


def check_sdist(sdist: Path) -> None:
    """The source distribution has what a build needs."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    needed |= {f"model_repository/{model}/config.pbtxt" for model in MODELS}
    require(not needed - names, f"{sdist.name} lacks {sorted(needed - names)}")
    experiments = [name for name in names if name.startswith("experiments/")]
    require(not experiments, f"{sdist.name} contains {experiments[:3]}")


def check_wheel(wheel: Path) -> None:
    """The wheel has every package with its types, what Triton serves, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packages = {path.parent.name for path in ROOT.glob("*/littlebig_*/__init__.py")}
    typed = packages - {"littlebig_cli"}  # a command, not a library
    needed = {f"{package}/__init__.py" for package in packages} | {f"{package}/py.typed" for package in typed}
    needed |= {f"littlebig_export/model_repository/{model}/config.pbtxt" for model in MODELS}
    needed |= {f"littlebig_export/model_repository/{path}" for path in FILES}
    require(not needed - names, f"{wheel.name} lacks {sorted(needed - names)}")
    foreign = sorted(
        name
        for name in names
        if (name.split("/")[0] not in packages and ".dist-info/" not in name) or EXTERNAL.search(name)
    )
    require(not foreign, f"{wheel.name} contains {foreign[:3]}")


def check_installed(wheel: Path, work: Path) -> Path:
    """The base install starts the command and imports the client; returns the path of its interpreter."""
    python = new_environment(work / "installed", str(wheel))
    command = python.with_name("littlebig")
    version = wheel.name.split("-")[1]
    output = run(command, "--version", cwd=work)
    require(version in output, f"littlebig --version prints {output!r}, not {version}")
    require("classify" in run(command, "--help", cwd=work), "littlebig --help does not list classify")
    require("--url" in run(command, "classify", "--help", cwd=work), "littlebig classify --help does not list --url")
    run(python, "-c", "from littlebig_client import Client; Client('localhost:8001').close()", cwd=work)
    missing = subprocess.run([command, "demo"], cwd=work, capture_output=True, text=True, check=False)
    require(
        missing.returncode == 1 and "pip install 'littlebig[" in missing.stderr,
        f"littlebig demo without its extras prints {missing.stderr!r}",
    )
    return python


def check_types(python: Path, work: Path) -> None:
    """Strict type checkers accept a program that uses the installed client."""
    run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *TYPE_CHECKERS)
    program = shutil.copy(ROOT / "tests" / "dist" / "uses_client.py", work)
    run(python, "-m", "mypy", "--strict", program, cwd=work)
    (work / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "include": ["uses_client.py"]}')
    pyright = python.with_name("basedpyright")
    run(pyright, "--pythonpath", python, cwd=work)


def run(*command: object, cwd: Path = ROOT) -> str:
    """Run a command and return what it prints; its failure ends this script with its output."""
    words = [str(word) for word in command]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the wheel, not ROOT
    process = subprocess.run(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    require(process.returncode == 0, f"{' '.join(words)} failed:\n{process.stdout}")
    return process.stdout


def require(condition: bool, message: str) -> None:
    """End with a message if a condition does not hold."""
    if not condition:
        raise SystemExit(f"make dist: {message}")


if __name__ == "__main__":
    main()
