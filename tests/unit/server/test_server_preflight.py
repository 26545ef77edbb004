"""`littlebig preflight` rejects each lack in one line before a server fails over it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.default_pair import exported_tiny_pair

from littlebig_cli.main import littlebig
from littlebig_contract.stages import MODELS
from littlebig_export.applying import apply_calibration
from littlebig_server import IncompleteRepositoryError, ServerError
from littlebig_server.preflight import preflight


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pair's repository with a calibration of its own."""
    repository = shutil.copytree(exported_tiny_pair(), tmp_path_factory.mktemp("exported") / "models")
    stages = json.loads((repository / "littlebig.json").read_text())["stages"]
    rate = {"value": 0.2, "low": 0.1, "high": 0.3}
    calibration = {
        **{name: {"name": name, "weights_sha256": facts["weights"]["sha256"]} for name, facts in stages.items()},
        "score": "confidence",
        "answer": "big",
        "chosen": {"threshold": 0.4, "escalation_rate": rate, "disagreement": 0.02},
    }
    apply_calibration(repository, json.dumps(calibration))
    return repository


@pytest.fixture
def repository(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "models"))


def change(path: Path, **changes: object) -> None:
    write(path, {**json.loads(path.read_text()), **changes})


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def refusal(repository: Path, **options: object) -> str:
    with pytest.raises(ServerError) as refused:
        preflight(repository, require_calibration=True, least=0, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_complete_calibrated_repository_passes(repository: Path) -> None:
    line = preflight(repository, require_calibration=True, least=0)
    assert line.startswith(f"{repository}: threshold 0.4 from calibration.json; /dev/shm: ")


def test_the_command_finds_the_gates_modules_outside_of_this_test_run(repository: Path) -> None:
    # pytest's own `pythonpath` has them too.
    words = [sys.executable, "-m", "littlebig_cli", "preflight", "--repository", str(repository)]
    process = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_the_command_fails_with_one_line_if_shared_memory_is_too_small(repository: Path) -> None:
    words = ["preflight", "--repository", str(repository), "--least-shared-memory"]
    assert CliRunner().invoke(littlebig, [*words, "0"]).exit_code == 0
    result = CliRunner().invoke(littlebig, [*words, str(1 << 40)])
    assert result.exit_code == 1
    assert result.output.startswith("littlebig: '/dev/shm' holds ")
    assert result.output.endswith(
        f" MiB, Triton's Python backend needs at least {1 << 40} MiB: raise shm.size of the chart, or --shm-size of "
        "docker run\n"
    )


def test_a_configuration_that_may_stall_passes_with_a_warning(repository: Path) -> None:
    replace(
        repository / "big" / "config.pbtxt",
        "dynamic_batching {",
        "dynamic_batching { default_queue_policy { max_queue_size: 8 }",
    )
    replace(repository / "big" / "config.pbtxt", "count: ", "count: 1 # ")
    words = ["preflight", "--repository", str(repository), "--least-shared-memory", "0"]
    result = CliRunner().invoke(littlebig, words)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{repository}: threshold 0.4 from calibration.json; ")
    assert result.stderr.startswith(f"littlebig: warning: '{repository}/big/config.pbtxt' has a queue policy and ")


def test_missing_shared_memory_is_refused(repository: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refusal(repository, shared_memory=nowhere) == (
        f"'{nowhere}' cannot be used: No such file or directory; Triton's Python backend needs it"
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_model_without_configuration_or_version_is_refused(repository: Path, model: str) -> None:
    (repository / model / "config.pbtxt").unlink()
    assert refusal(repository) == (
        f"'{repository}/{model}/config.pbtxt' is missing: the repository is incomplete, copy it again"
    )
    (repository / model / "config.pbtxt").touch()
    shutil.rmtree(repository / model / "1")
    assert (
        refusal(repository)
        == f"'{repository}/{model}' has no version folder: the repository is incomplete, copy it again"
    )


def test_a_missing_model_is_refused(repository: Path) -> None:
    shutil.rmtree(repository / "big")
    assert refusal(repository) == (
        f"'{repository}/big/config.pbtxt' is missing: the repository is incomplete, copy it again"
    )


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"pair": "tiny"}'])
def test_a_repository_without_readable_provenance_is_refused(repository: Path, content: str | None) -> None:
    provenance = repository / "littlebig.json"
    provenance.unlink() if content is None else provenance.write_text(content)
    with pytest.raises(IncompleteRepositoryError, match=r"littlebig\.json"):
        preflight(repository, least=0)


@pytest.mark.parametrize("changes", [{"threshold": 0.4}, {"threshold": {"value": "0.4"}}, {"stages": []}])
def test_provenance_of_another_shape_is_refused(repository: Path, changes: dict[str, object]) -> None:
    change(repository / "littlebig.json", **changes)
    refusal(repository)


@pytest.mark.parametrize("content", ["not json", "[]", '{"threshold": 0.4}'])
def test_a_file_that_is_no_calibration_is_refused(repository: Path, content: str) -> None:
    evidence = repository / "calibration.json"
    evidence.write_text(content)
    assert refusal(repository) == f"'{evidence}' is not a calibration: the repository is incomplete, copy it again"


def test_an_uncalibrated_threshold_is_refused_where_a_calibration_is_required(repository: Path) -> None:
    change(repository / "littlebig.json", threshold={"value": 0.4, "source": "pair"})
    assert refusal(repository) == (
        f"'{repository}' has no calibration, its threshold 0.4 is from 'pair': run 'littlebig calibrate ... --apply', "
        "or allow it with calibration.required=false of the chart"
    )
    assert "threshold 0.4 from pair" in preflight(repository, least=0)


def test_a_missing_calibration_file_is_refused(repository: Path) -> None:
    (repository / "calibration.json").unlink()
    assert refusal(repository).startswith(f"'{repository}' has no calibration, its threshold 0.4 is from ")


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"chosen": {"threshold": 0.3}}, "threshold 0.3, the repository has 0.4"),
        ({"score": "margin"}, "score margin, the repository has confidence"),
        ({"answer": "arbitrate"}, "answer arbitrate, the repository has big"),
        ({"big": {"weights_sha256": "f"}}, "weights of big f, the repository has "),
    ],
)
def test_a_calibration_of_something_else_is_refused(repository: Path, changes: dict[str, object], fact: str) -> None:
    change(repository / "calibration.json", **changes)
    message = refusal(repository)
    assert message.startswith(f"'{repository}/calibration.json' is for the {fact}")
    assert message.endswith(": apply it again with 'littlebig apply'")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"0.4"',
            '"0.5"',
            "serves threshold 0.5, littlebig.json says threshold 0.4 from 'calibration.json': set it with",
        ),
        ('"0.4"', '"abc"', "': parameter 'threshold' = 'abc' is not a number in [0, 1]"),
        ('"cascade"', '"little"', "serves policy little, littlebig.json says threshold 0.4 from 'calibration.json'"),
        ("parameters {", "parameters { oops", "cannot be read ("),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_a_gate_that_was_edited_by_hand_is_refused(
    repository: Path, old: str, new: str, message: str, required: bool
) -> None:
    replace(repository / "little_big" / "config.pbtxt", old, new)
    with pytest.raises(ServerError) as refused:
        preflight(repository, require_calibration=required, least=0)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("file", ["little/1/model.onnx", "big/1/model.py", "big/labels.txt", "preprocess/1/model.py"])
def test_a_missing_or_empty_file_of_a_model_is_refused(repository: Path, file: str) -> None:
    (repository / file).write_bytes(b"")
    assert refusal(repository) == f"'{repository}/{file}' is empty: the repository is incomplete, copy it again"
    (repository / file).unlink()
    assert refusal(repository) == f"'{repository}/{file}' is missing: the repository is incomplete, copy it again"


def test_a_graph_that_was_cut_off_is_refused(repository: Path) -> None:
    graph = repository / "big" / "1" / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:100])
    assert refusal(repository) == (
        f"'{graph}' has 100 bytes, the export wrote {len(whole)}: the repository is incomplete, copy it again"
    )


def test_weights_of_another_export_are_refused(repository: Path) -> None:
    config = repository / "little" / "config.pbtxt"
    sha256 = json.loads((repository / "littlebig.json").read_text())["stages"]["little"]["weights"]["sha256"]
    replace(config, sha256, "0" * 64)
    assert refusal(repository) == (
        f"'{config}' is of the weights 000000000000, littlebig.json of {sha256[:12]}: export the repository again"
    )


@pytest.mark.parametrize("name", ["lost+found", "little.bak", ".git"])
def test_a_folder_that_is_no_model_is_refused(repository: Path, name: str) -> None:
    (repository / name).mkdir()
    assert refusal(repository) == (
        f"'{repository}/{name}' is no model of the cascade, and Triton loads every folder as a model: move it out of "
        "the repository"
    )


def test_a_path_that_is_not_ascii_is_refused(repository: Path) -> None:
    moved = repository.rename(repository.with_name("modèles"))
    assert refusal(moved) == (
        f"model repository '{moved}' has a path that is not ASCII, which Triton's Python backend cannot serve: move it, "
        "or make a link to it with an ASCII name"
    )
