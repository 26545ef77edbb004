"""`littlebig doctor` names every lack with its remedy on one screen, and its exit code says whether serving works."""

import importlib.metadata
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.default_pair import exported_tiny_pair

from littlebig_cli import checkup
from littlebig_cli.main import littlebig
from littlebig_export import gpu
from littlebig_server import InstallationError, wheel
from littlebig_server.installation import Installation
from littlebig_server.ports import port_taken
from littlebig_server.preflight import SHARED_MEMORY


@pytest.fixture(scope="module")
def repository() -> Path:
    return exported_tiny_pair()


@pytest.fixture(autouse=True)
def ports_are_free(monkeypatch):
    """The default ports may be taken on a machine that also serves."""
    monkeypatch.setattr(checkup, "choose_ports", lambda addresses, given: given)


def findings(repository: Path, code: int = 0) -> dict[str, dict]:
    result = CliRunner().invoke(littlebig, ["doctor", "--json", "--repository", str(repository)])
    assert result.exit_code == code, result.output
    answer = json.loads(result.output)
    assert answer["serves"] == (code == 0)
    return {finding["name"]: finding for finding in answer["findings"]}


def lacking(monkeypatch, name: str, message: str) -> None:
    def check(*_):
        raise InstallationError(message)

    monkeypatch.setattr(wheel, name, check)


def test_machine_that_serves_passes(repository):
    found = findings(repository)
    assert all(finding["present"] for finding in found.values() if finding["needed"])
    assert {"tritonserver", str(SHARED_MEMORY), "ONNX Runtime", "GPU", "TensorRT", "weights", "repository"} <= set(
        found
    )
    assert found["repository"]["text"].endswith("threshold 0.6 from pair")


def test_screen_fits_80_columns_and_says_each_thing_once(repository, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    result = CliRunner().invoke(littlebig, ["doctor", "--repository", str(repository)])
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    assert lines[-1] == "serving works here"
    assert result.output.count("shm") == 1


@pytest.mark.parametrize("check", ["_check_glibc", "_check_numpy", "_stub", "libpython_folder"])
def test_lack_of_the_wheel_fails_with_its_remedy(repository, monkeypatch, check):
    lacking(monkeypatch, check, "too old: get another")
    (lack,) = (found for found in findings(repository, code=1).values() if found["text"] == "too old: get another")
    assert lack["needed"]
    assert not lack["present"]


def test_missing_tritonserver_fails(repository, monkeypatch):
    def none_found():
        raise InstallationError("no tritonserver found: pip install 'littlebig[server]'")

    monkeypatch.setattr(checkup, "find_tritonserver", none_found)
    assert "pip install" in findings(repository, code=1)["tritonserver"]["text"]


def test_complete_installation_needs_nothing_of_this_python(repository, monkeypatch):
    monkeypatch.setattr(checkup, "find_tritonserver", lambda: Installation(Path("/opt/tritonserver/bin/tritonserver")))
    found = findings(repository)
    assert found["tritonserver"]["text"] == "/opt/tritonserver/bin/tritonserver"
    assert "libpython" not in found


def test_taken_port_is_named_and_serving_works_on_another(repository, monkeypatch):
    def taken(addresses, given):
        if given.grpc:
            raise port_taken(8001, "grpc")
        return given

    monkeypatch.setattr(checkup, "choose_ports", taken)
    found = findings(repository)
    assert "choose another with --grpc-port" in found["gRPC port"]["text"]
    assert found["HTTP port"]["present"]


def test_repository_that_does_not_exist_names_the_export(tmp_path):
    text = findings(tmp_path / "none")["repository"]["text"]
    assert text == f"'{tmp_path / 'none'}' does not exist yet: littlebig export --output {tmp_path / 'none'}"


def test_repository_that_cannot_be_exported_fails(tmp_path, monkeypatch):
    version = importlib.metadata.version

    def without_torch(name):
        if name == "torch":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_torch)
    found = findings(tmp_path / "none", code=1)
    assert "pip install 'littlebig[export,efficientnet-lite]' && littlebig export" in found["repository"]["text"]
    assert found["extras"]["text"].endswith("for the others: pip install 'littlebig[export]'")


def test_broken_repository_fails(repository, tmp_path):
    (tmp_path / "models").mkdir()
    assert "has no models" in findings(tmp_path / "models", code=1)["repository"]["text"]


class Driver:
    """NVIDIA's driver with one GPU and CUDA 12.4."""

    def __getattr__(self, name):
        return {
            "cuDeviceGetCount": lambda count: self.fill(count, 1),
            "cuDriverGetVersion": lambda at: self.fill(at, 12040),
        }.get(name, lambda *_: 0)

    def fill(self, pointer, value):
        pointer._obj.value = value
        return 0


def test_gpu_and_its_cuda_are_named(repository, monkeypatch):
    monkeypatch.setattr(gpu.ctypes, "CDLL", lambda name: Driver())
    found = findings(repository)
    assert found["GPU"]["present"]
    assert found["driver"]["text"].endswith("CUDA 12.4")


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_repository_for_the_container_needs_a_gpu_and_its_backend(repository, tmp_path, target):
    (tmp_path / "littlebig.json").write_text(f'{{"target": "{target}"}}')
    found = findings(tmp_path, code=1)
    assert found["GPU"]["needed"]
    assert not found["ONNX Runtime"]["needed"]
    assert found["backend"]["text"] == (
        f"it has no backend {target}, which the repository needs: serve in NVIDIA's Triton container"
    )


def test_tritonserver_with_the_backend_lacks_none(repository, tmp_path, monkeypatch):
    binary = tmp_path / "bin/tritonserver"
    (tmp_path / "backends/onnxruntime").mkdir(parents=True)
    monkeypatch.setattr(checkup, "find_tritonserver", lambda: Installation(binary, None))
    (tmp_path / "littlebig.json").write_text('{"target": "onnxruntime"}')
    assert "backend" not in findings(tmp_path, code=1)
    (tmp_path / "littlebig.json").write_text('{"target": "tensorrt"}')
    assert not findings(tmp_path, code=1)["backend"]["present"]


@pytest.mark.parametrize(("installed", "present"), [(["CPU"], False), (["CUDA", "CPU"], True)])
def test_cuda_repository_needs_a_gpu_and_cudas_provider(repository, tmp_path, monkeypatch, installed, present):
    monkeypatch.setattr(checkup, "providers", lambda: [f"{name}ExecutionProvider" for name in installed])
    (tmp_path / "littlebig.json").write_text('{"target": "cuda"}')
    found = findings(tmp_path, code=1)
    assert found["GPU"]["needed"]
    assert found["ONNX Runtime"]["needed"]
    assert found["ONNX Runtime"]["present"] == present
    if not present:
        assert found["ONNX Runtime"]["text"].endswith("then pip install 'littlebig[cuda]'")
    assert "backend" not in found


def test_onnxruntime_gpu_takes_the_place_of_onnxruntime(repository, monkeypatch):
    version = importlib.metadata.version

    def with_gpu(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return version("onnxruntime" if name == "onnxruntime-gpu" else name)

    monkeypatch.setattr(importlib.metadata, "version", with_gpu)
    assert "export" in findings(repository)["extras"]["text"].partition(";")[0]
