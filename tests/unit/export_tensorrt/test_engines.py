import ctypes
import errno
import json
import os
import re
import shutil

import onnx
import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig
from littlebig_export import engines, files
from littlebig_export.engine_build import Profile
from littlebig_export.engine_key import key_file, read_key
from littlebig_export.engines import BuildOptions, ensure_engines
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.gpu import Gpu, find_gpus
from littlebig_export.pair import load_pair
from tests.tiny_pair import write_tiny_pair

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for Linux on x86-64: pip install 'littlebig[check]'")
# RTX keeps its timings elsewhere and says so of the API that TensorRT needs.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

ADA = Gpu("NVIDIA L4", "8.9")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The tiny pair for target tensorrt, without plans; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    export_pair(load_pair(str(write_tiny_pair(folder))), "tensorrt", folder / "out", precision="fp32")
    return folder / "out"


@pytest.fixture(scope="module")
def exported_and_built(exported, tmp_path_factory):
    """The same with its plans; not to be changed."""
    repository = tmp_path_factory.mktemp("built") / "out"
    shutil.copytree(exported, repository)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(repository.parent / "cache"))
        ensure(repository)
    return repository


@pytest.fixture
def repository(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "out")


@pytest.fixture
def built(exported_and_built, tmp_path):
    return shutil.copytree(exported_and_built, tmp_path / "out")


def ensure(repository, gpu=ADA, version="11.1.0", **options):
    lines = []
    built = ensure_engines(
        repository, BuildOptions(**options), report=lines.append, tensorrt=trt, version=version, gpus=[gpu]
    )
    return list(built), lines


def refusal(action) -> str:
    with pytest.raises(ExportError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def files_of(repository):
    return {path.name: path.read_bytes() for path in (repository / "little" / "1").iterdir()}


def test_missing_plans_are_built_with_a_key_beside_them(repository):
    built, lines = ensure(repository)
    assert built == ["little", "big"]
    assert lines[0] == "little: building, there is no plan"
    assert re.fullmatch(r"little: \d+ MB in \d+ s", lines[1])
    plan = repository / "big/1/model.plan"
    assert plan.stat().st_mode & 0o777 == 0o644
    key = read_key(plan)
    assert (key.profile, key.precision, key.tensorrt, key.gpu) == ("1:8:32", "fp32", "11.1.0", "NVIDIA L4")
    assert sorted(files_of(repository)) == ["model.onnx", "model.plan", "model.plan.json"]


def test_plans_that_fit_are_left_alone(built):
    before = files_of(built)
    assert ensure(built) == ([], ["little: the plan fits", "big: the plan fits"])
    assert files_of(built) == before


def test_another_graph_is_built_anew(built):
    path = built / "big/1/model.onnx"
    model = onnx.load(path)
    model.producer_version = "2"
    onnx.save(model, path)
    stages, lines = ensure(built)
    assert stages == ["big"]
    assert lines[1].startswith("big: building, graph ")


def test_another_profile_is_built_anew_and_kept(built):
    stages, lines = ensure(built, profile=Profile(1, 16, 32))
    assert stages == ["little", "big"]
    assert lines[0] == "little: building, profile 1:8:32 there, 1:16:32 here"
    assert ensure(built)[0] == []


def test_a_profile_below_max_batch_size_is_refused(repository):
    assert refusal(lambda: ensure(repository, profile=Profile(1, 8, 16))) == (
        "profile 1:8:16 is smaller than max_batch_size 32 of 'little': Triton would send batches that the engine does "
        "not take"
    )


def test_a_larger_max_batch_size_makes_a_larger_profile(built):
    config = built / "big/config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 32", "max_batch_size: 64"))
    assert ensure(built)[1][1] == "big: building, profile 1:8:32 there, 1:16:64 here"


@pytest.mark.parametrize(
    ("gpu", "version", "differs"),
    [
        (
            Gpu("NVIDIA T4", "7.5"),
            "11.1.0",
            "GPU NVIDIA L4 there, NVIDIA T4 here; compute capability 8.9 there, 7.5 here",
        ),
        (ADA, "11.2.0", "TensorRT 11.1.0 there, 11.2.0 here"),
    ],
)
def test_a_plan_made_elsewhere_is_refused_and_stays(built, gpu, version, differs):
    before = files_of(built)
    plan = built / "little/1/model.plan"
    assert refusal(lambda: ensure(built, gpu, version)) == (
        f"'{plan}' was made elsewhere: {differs}; replace it with 'littlebig build --force'"
    )
    assert files_of(built) == before
    stages, lines = ensure(built, gpu, version, force=True)
    assert stages == ["little", "big"]
    assert lines[0] == f"little: building, {differs}"


def test_force_builds_what_fits(built):
    assert ensure(built, force=True)[1][0] == "little: building, --force"


def rewrite_key(repository, **changes):
    for stage in ("little", "big"):
        path = repository / stage / "1/model.plan.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_hardware_compatible_plan_fits_any_gpu_from_ampere_on(built):
    assert ensure(built, hardware_compatible=True)[1][0] == (
        "little: building, --hardware-compatible off there, on here"
    )
    assert ensure(built, Gpu("NVIDIA H100", "9.0"))[0] == []
    assert "NVIDIA T4 here" in refusal(lambda: ensure(built, Gpu("NVIDIA T4", "7.5")))


@pytest.mark.parametrize(("version", "fits"), [("11.2.0", True), ("11.0.9", False), ("12.0.0", False)])
def test_a_version_compatible_plan_fits_later_minor_versions(built, version, fits):
    rewrite_key(built, version_compatible=True)
    if fits:
        assert ensure(built, version=version)[0] == []
    else:
        assert f"TensorRT 11.1.0 there, {version} here" in refusal(lambda: ensure(built, version=version))


def test_a_plan_of_unknown_origin_is_replaced(built):
    (built / "little/1/model.plan").write_bytes(b"another plan")
    key_file(built / "big/1/model.plan").write_text("[]")
    assert [line for line in ensure(built)[1] if "building" in line] == [
        "little: building, there is a plan of unknown origin",
        "big: building, there is a plan of unknown origin",
    ]


def test_a_key_with_a_broken_version_is_reported(built):
    rewrite_key(built, tensorrt="eleven", version_compatible=True)
    assert refusal(lambda: ensure(built)) == ("'eleven' in a plan's key is no version; build it again with --force")


def test_a_full_disk_leaves_the_old_plan(built, monkeypatch):
    before = files_of(built)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    plan = built / "little/1/model.plan"
    assert refusal(lambda: ensure(built, force=True)) == (
        f"cannot write '{plan}' ({len(before['model.plan']) / 1e6:.0f} MB): No space left on device; what was there is untouched"
    )
    assert files_of(built) == before


def test_an_interrupted_build_leaves_the_old_plan(built, monkeypatch):
    before = files_of(built)

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "build_plan", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure(built, force=True)
    assert files_of(built) == before


def test_a_missing_graph_is_reported(repository):
    graph = repository / "big/1/model.onnx"
    graph.unlink()
    assert refusal(lambda: ensure(repository)) == f"'{graph}' is missing: export the repository again"


def test_weights_beside_the_graph_belong_to_it(built):
    (built / "little/1/model.onnx.data").write_bytes(b"weights")
    assert ensure(built)[0] == ["little"]


def test_the_key_holds_the_version_of_the_library_and_not_of_the_bindings(repository, monkeypatch):
    monkeypatch.setattr(trt, "__version__", "1.9.0.1")
    monkeypatch.setattr(engines, "library_version", lambda module: "1.7.1.116")
    ensure_engines(repository, tensorrt=trt, gpus=[ADA])
    assert read_key(repository / "little/1/model.plan").tensorrt == "1.7.1.116"


def test_the_cpu_target_has_no_engines(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "cpu")
    lines = []
    assert ensure_engines(tmp_path / "cpu", report=lines.append) == ()
    assert lines == ["target cpu has no engines to build"]


def test_different_gpus_need_a_choice(repository):
    gpus = [ADA, Gpu("NVIDIA T4", "7.5")]
    assert refusal(lambda: ensure_engines(repository, tensorrt=trt, gpus=gpus)) == (
        "this machine has different GPUs (NVIDIA L4, NVIDIA T4) and a plan fits one kind: choose with "
        "CUDA_VISIBLE_DEVICES, or build with --hardware-compatible"
    )
    assert ensure_engines(repository, BuildOptions(hardware_compatible=True), tensorrt=trt, gpus=gpus)


class Driver:
    """NVIDIA's driver library with two GPUs, or what is wrong with it."""

    def __init__(self, status=0, names=(b"NVIDIA L4", b"NVIDIA T4")):
        self.status, self.names = status, names

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count):  # noqa: N802
        ctypes.cast(count, ctypes.POINTER(ctypes.c_int))[0] = len(self.names)

    def cuDeviceGetName(self, buffer, size, index):  # noqa: N802
        buffer.value = self.names[index]

    def cuDeviceGetAttribute(self, number, attribute, index):  # noqa: N802
        ctypes.cast(number, ctypes.POINTER(ctypes.c_int))[0] = {75: (8, 7), 76: (9, 5)}[attribute][index]


def test_the_driver_names_its_gpus():
    assert find_gpus(Driver()) == [ADA, Gpu("NVIDIA T4", "7.5")]


NO_GPU = "; engines are built on the GPU that serves them, 'littlebig check' tries a build without one"


def test_no_gpu_is_reported(monkeypatch):
    assert refusal(lambda: find_gpus(Driver(status=100))) == (
        f"no GPU: the NVIDIA driver does not start (cuInit: 100){NO_GPU}"
    )
    assert refusal(lambda: find_gpus(Driver(names=()))) == (
        f"no GPU: the NVIDIA driver shows none (CUDA_VISIBLE_DEVICES?){NO_GPU}"
    )

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("littlebig_export.gpu.ctypes.CDLL", missing)
    assert refusal(find_gpus) == f"no GPU: there is no NVIDIA driver (libcuda.so.1){NO_GPU}"


def test_the_command_builds_and_then_does_nothing(repository, monkeypatch):
    monkeypatch.setattr(engines, "load_tensorrt", lambda: trt)
    monkeypatch.setattr(engines, "find_gpus", lambda: [ADA])
    arguments = ["build", "--repository", str(repository), "--profile", "1:4:32", "--workspace", "512"]
    first = CliRunner().invoke(littlebig, arguments)
    assert (first.exit_code, first.stdout) == (0, f"{repository}\n"), first.output
    assert "little: building, there is no plan\n" in first.stderr
    assert read_key(repository / "little/1/model.plan").profile == "1:4:32"
    second = CliRunner().invoke(littlebig, ["build", "--repository", str(repository)])
    assert second.stderr == "little: the plan fits\nbig: the plan fits\n"


def test_the_command_tells_failures_in_one_line(tmp_path):
    result = CliRunner().invoke(littlebig, ["build", "--repository", str(tmp_path)])
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"littlebig: '{tmp_path}' is not a model repository of Little-Big (no littlebig.json): make one with 'littlebig export --output DIR'\n"
    )


def test_machines_of_one_kind_share_their_plans_through_a_cache(repository, tmp_path):
    shared = tmp_path / "shared"
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    assert ensure(repository, cache=shared)[0] == ["little", "big"]
    built, lines = ensure(other, cache=shared)
    assert (built, lines) == ([], ["little: the plan is from the cache", "big: the plan is from the cache"])
    assert files_of(other) == files_of(repository)
    assert ensure(other) == ([], ["little: the plan fits", "big: the plan fits"])


@pytest.mark.parametrize("machine", [{"gpu": Gpu("NVIDIA A10", "8.6")}, {"version": "11.2.0"}])
def test_a_plan_for_another_machine_is_never_taken_from_the_cache(repository, tmp_path, machine):
    shared = tmp_path / "shared"
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    ensure(repository, cache=shared)
    assert ensure(other, cache=shared, **machine)[0] == ["little", "big"]
    assert len(list(shared.iterdir())) == 4


def test_a_plan_that_was_damaged_in_the_cache_is_built_again(repository, tmp_path):
    shared = tmp_path / "shared"
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    ensure(repository, cache=shared)
    for plan in shared.glob("*/model.plan"):
        plan.write_bytes(b"torn")
    assert ensure(other, cache=shared)[0] == ["little", "big"]
    assert {read_key(plan) is None for plan in shared.glob("*/model.plan")} == {False}


def test_a_cache_that_cannot_be_written_is_one_line(repository, tmp_path):
    (tmp_path / "file").touch()
    shared = tmp_path / "file" / "shared"
    assert refusal(lambda: ensure(repository, cache=shared)) == (
        f"cannot write into the cache '{shared}': Not a directory; give another --cache"
    )
