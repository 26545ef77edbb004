"""Reads of a model repository what Triton will read: configurations, the files they need, and the gate's parameters."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from littlebig_contract.stages import STAGES
from littlebig_server.errors import IncompleteRepositoryError, PreflightError

COPY_AGAIN = "the repository is incomplete, copy it again"
_SETTINGS = "littlebig_settings"


def check_folders(repository: Path, models: Sequence[str]) -> None:
    """Refuse folders that are no models: Triton takes each for a model, and does not start.

    Args:
        repository: the model repository.
        models: those that an export wrote.

    Raises:
        PreflightError: naming one.
    """
    strays = sorted(path.name for path in repository.iterdir() if path.is_dir() and path.name not in models)
    if strays:
        raise PreflightError(
            f"'{repository / strays[0]}' is no model of the cascade, and Triton loads every folder as a model: move it "
            "out of the repository"
        )


def read_model(repository: Path, model: str, sizes: Mapping[str, int]) -> dict[str, str]:
    """Check one model's configuration and files.

    Args:
        repository: the model repository.
        model: its folder.
        sizes: bytes of the files in its version folder that are known.

    Returns:
        The `parameters` of its config.pbtxt.

    Raises:
        IncompleteRepositoryError: if something is missing, empty, cut off or unreadable.
    """
    folder = repository / model
    config = _read_config(folder / "config.pbtxt")
    if config.name not in ("", model):
        raise IncompleteRepositoryError(f"'{folder / 'config.pbtxt'}' is of the model '{config.name}': {COPY_AGAIN}")
    versions = [int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
    if not versions:
        raise IncompleteRepositoryError(f"'{folder}' has no version folder: {COPY_AGAIN}")
    version = folder / str(max(versions))
    for path in (folder / output.label_filename for output in config.output if output.label_filename):
        _check_file(path)
    if config.backend == "python":
        _check_file(version / "model.py")
    if model in STAGES and "url" not in config.parameters:  # a remote stage has no graph
        # `littlebig build` makes the plan from the graph, where the server runs.
        plan = version / "model.plan"
        _check_file(plan if config.backend == "tensorrt" and plan.exists() else version / "model.onnx")
        for name, size in sizes.items():
            found = (version / name).stat().st_size if (version / name).is_file() else 0
            if found != size:
                raise IncompleteRepositoryError(
                    f"'{version / name}' has {found} bytes, the export wrote {size}: {COPY_AGAIN}"
                )
    return {name: value.string_value for name, value in config.parameters.items()}


def check_gate(repository: Path, parameters: Mapping[str, str]) -> None:
    """Read the gate's parameters as it will, with its own code.

    Raises:
        IncompleteRepositoryError: if that code is missing.
        PreflightError: if the gate would refuse a parameter.
    """
    folder = repository / "little_big" / "1"
    _check_file(folder / f"{_SETTINGS}.py")
    beside = {path.stem for path in folder.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in beside if name in sys.modules}
    sys.path.insert(0, str(folder))  # as Triton does
    try:
        importlib.import_module(_SETTINGS).GateSettings.from_parameters(parameters)
    except ModuleNotFoundError as missing:
        raise IncompleteRepositoryError(f"'{folder / f'{missing.name}.py'}' is missing: {COPY_AGAIN}") from None
    except ValueError as reason:
        raise PreflightError(f"'{repository / 'little_big' / 'config.pbtxt'}': {reason}") from None
    finally:
        sys.path.remove(str(folder))
        for name in beside:
            sys.modules.pop(name, None)
        sys.modules.update(before)


def _read_config(path: Path) -> Any:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except FileNotFoundError:
        raise IncompleteRepositoryError(f"'{path}' is missing: {COPY_AGAIN}") from None
    except (OSError, ValueError, text_format.ParseError) as reason:
        line = str(reason).splitlines()[0]
        raise IncompleteRepositoryError(f"'{path}' cannot be read ({line}): {COPY_AGAIN}") from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise IncompleteRepositoryError(f"'{path}' is missing: {COPY_AGAIN}")
    if path.stat().st_size == 0:
        raise IncompleteRepositoryError(f"'{path}' is empty: {COPY_AGAIN}")
