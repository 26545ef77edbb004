import gc
import signal
import threading
import types

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from littlebig_export import engine_build, tensorrt_api
from littlebig_export.engine_build import BuildSettings, Profile, build_plan, timing_cache_file
from littlebig_export.errors import EngineError
from littlebig_export.tensorrt_api import library_version, load_tensorrt, load_tensorrt_rtx, plain

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is for Linux on x86-64: pip install 'littlebig[check]'")
# RTX keeps its timings elsewhere and says so of the API that TensorRT needs.
pytestmark = pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")

ONE_TO_FOUR = BuildSettings(Profile(1, 2, 4))


def save(path, nodes, constants=(), element=TensorProto.UINT8, batch="batch", domain=None):
    image = helper.make_tensor_value_info("image", element, [batch, 8, 8, 3])
    output = helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [image], [output], list(constants))
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


CAST = helper.make_node("Cast", ["image"], ["pixels"], name="cast", to=TensorProto.FLOAT)


@pytest.fixture
def graph(tmp_path):
    """Cast, then a product with a 3 x 2 matrix: [batch, 8, 8, 2]."""
    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "weights")
    product = helper.make_node("MatMul", ["pixels", "weights"], ["answer"], name="product")
    return save(tmp_path / "model.onnx", [CAST, product], [weights])


def refusal(action) -> str:
    with pytest.raises(EngineError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_plan_knows_its_inputs_outputs_and_types(graph):
    plan = build_plan(trt, graph, ONE_TO_FOUR)
    assert plan.inputs == ("image UINT8 [batch, 8, 8, 3]",)
    assert plan.outputs == ("answer FLOAT [batch, 8, 8, 2]",)
    assert len(plan.data) > 1000


def test_ahead_of_time_for_a_gpu_that_is_not_here(graph):
    settings = BuildSettings(Profile(1, 2, 4), compute_capability="8.6", hardware_compatible=True)
    assert len(build_plan(trt, graph, settings).data) > 1000
    assert (
        refusal(lambda: build_plan(trt, graph, BuildSettings(Profile(1, 2, 4), compute_capability="3.5")))
        == f"tensorrt_rtx {trt.__version__} builds for no compute capability 35"
    )


def test_progress_is_reported_and_phases_nest(graph):
    lines = []

    class Listener:
        def phase_started(self, phase, parent, steps):
            lines.append(("started", phase, parent, steps))

        def step_done(self, phase, step):
            lines.append(("step", phase, step))

        def phase_finished(self, phase):
            lines.append(("finished", phase))

    build_plan(trt, graph, ONE_TO_FOUR, progress=Listener())
    _, top, parent, steps = lines[0]
    assert parent is None
    assert lines[-1] == ("finished", top)
    assert 0 < len([event for event in lines if event[:2] == ("step", top)]) <= steps
    assert any(event[0] == "started" and event[2] == top for event in lines)


def test_ctrl_c_ends_a_build_and_the_handler_is_put_back(graph):
    before = signal.getsignal(signal.SIGINT)

    class Impatient:
        def phase_started(self, phase, parent, steps):
            signal.raise_signal(signal.SIGINT)

        def step_done(self, phase, step):
            pass

        def phase_finished(self, phase):
            pass

    with pytest.raises(KeyboardInterrupt):
        build_plan(trt, graph, ONE_TO_FOUR, progress=Impatient())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_build_in_another_thread_leaves_signals_alone(graph):
    plans = []
    thread = threading.Thread(target=lambda: plans.append(build_plan(trt, graph, ONE_TO_FOUR)))
    thread.start()
    thread.join()
    assert len(plans) == 1


def test_no_garbage_is_collected_while_tensorrt_holds_its_locks(graph):
    collecting = []

    class Listener:
        def phase_started(self, phase, parent, steps):
            collecting.append(gc.isenabled())

        def step_done(self, phase, step):
            pass

        def phase_finished(self, phase):
            pass

    build_plan(trt, graph, ONE_TO_FOUR, progress=Listener())
    assert set(collecting) == {False}
    assert gc.isenabled()


def test_timings_are_kept_for_the_next_build(graph, tmp_path):
    cache = tmp_path / "deep" / "timings.bin"
    build_plan(trt, graph, ONE_TO_FOUR, timing_cache=cache)
    first = cache.read_bytes()
    assert first
    build_plan(trt, graph, ONE_TO_FOUR, timing_cache=cache)
    assert cache.read_bytes()[:16] == first[:16]


def test_a_cache_that_cannot_be_written_costs_no_build(graph, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert build_plan(trt, graph, ONE_TO_FOUR, timing_cache=tmp_path / "file" / "timings.bin").data


def test_timings_hold_for_one_version_on_one_kind_of_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = timing_cache_file("11.2.1.2", "NVIDIA H100 80GB/SXM")
    assert file == tmp_path / "littlebig" / "timings-11.2.1.2-nvidia-h100-80gb-sxm.bin"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert timing_cache_file("11.2.1.2", "x").parent.parts[-2:] == (".cache", "littlebig")


def test_every_node_that_is_not_supported_is_named(tmp_path):
    nodes = [
        CAST,
        helper.make_node("Det", ["pixels"], ["determinant"], name="det"),
        helper.make_node("Mystery", ["determinant"], ["answer"], name="strange", domain="elsewhere"),
    ]
    path = save(tmp_path / "model.onnx", nodes, domain="elsewhere")
    lines = refusal(lambda: build_plan(trt, path, ONE_TO_FOUR))
    assert lines.startswith("TensorRT does not support 'det' (Det); 'strange' (Mystery): ")
    assert lines.endswith(f" in '{path}'")


def test_an_image_that_meets_no_cast_first_is_reported(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], name="to_planes", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["answer"], name="cast", to=TensorProto.FLOAT),
    ]
    lines = refusal(lambda: build_plan(trt, save(tmp_path / "model.onnx", nodes), ONE_TO_FOUR))
    assert lines.startswith(
        "TensorRT does not support 'to_planes' (Transpose): to_planes: first input has type UInt8 but"
    )


def test_a_file_that_is_no_graph_is_reported(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    lines = refusal(lambda: build_plan(trt, tmp_path / "model.onnx", ONE_TO_FOUR))
    assert lines.startswith("TensorRT does not support the graph")


def test_a_fixed_batch_is_reported(tmp_path):
    relu = helper.make_node("Relu", ["pixels"], ["answer"], name="relu")
    path = save(tmp_path / "model.onnx", [CAST, relu], batch=7)
    assert refusal(lambda: build_plan(trt, path, ONE_TO_FOUR)) == (
        f"'{path}': input 'image' is [7, 8, 8, 3]; its first dimension, the batch, must be dynamic, and no other may be"
    )


def test_too_little_memory_is_reported(tmp_path):
    weights = numpy_helper.from_array(np.ones((3, 16, 5, 5), np.float32).transpose(1, 0, 2, 3), "weights")
    nodes = [
        CAST,
        helper.make_node("Transpose", ["pixels"], ["planes"], name="planes", perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["answer"], name="conv"),
    ]
    path = save(tmp_path / "model.onnx", nodes, [weights])
    settings = BuildSettings(Profile(1, 64, 20000), workspace_mib=1, compute_capability="8.9")
    lines = refusal(lambda: build_plan(trt, path, settings))
    assert lines.startswith(f"not enough memory to build '{path}': ")
    assert lines.endswith("; give more than --workspace 1, or take a smaller --profile")


def test_a_failure_without_a_known_reason_is_passed_on(graph):
    # TensorRT-RTX comes without the lean runtime that version-compatible engines carry.
    lines = refusal(lambda: build_plan(trt, graph, BuildSettings(Profile(1, 2, 4), version_compatible=True)))
    assert lines.startswith(f"TensorRT cannot build '{graph}': Unable to load library: libnvinfer_lean")
    assert engine_build._failure(graph, [], ONE_TO_FOUR) == f"TensorRT cannot build '{graph}': it gives no reason"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1:8", "profile '1:8' is not SMALLEST:BEST:LARGEST, such as 1:8:32"),
        ("1:x:32", "profile '1:x:32' is not SMALLEST:BEST:LARGEST, such as 1:8:32"),
        ("0:8:32", "profile 0:8:32 is no range of batches: it is SMALLEST:BEST:LARGEST, from 1 up"),
        ("1:64:32", "profile 1:64:32 is no range of batches: it is SMALLEST:BEST:LARGEST, from 1 up"),
    ],
)
def test_profiles_that_are_no_range_are_reported(text, message):
    assert refusal(lambda: Profile.parse(text)) == message


def test_profiles_are_written_as_they_are_read():
    assert str(Profile.parse("1:8:32")) == "1:8:32"
    assert [str(Profile.up_to(largest)) for largest in (1, 3, 32)] == ["1:1:1", "1:1:3", "1:8:32"]


def test_without_tensorrt_the_remedy_is_named(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(tensorrt_api.importlib, "import_module", missing)
    assert refusal(load_tensorrt) == (
        "tensorrt is not installed: pip install 'littlebig[gpu]', or build in the container, whose TensorRT is Triton's"
    )
    assert refusal(load_tensorrt_rtx) == (
        "tensorrt_rtx is not installed: pip install 'littlebig[check]', which checks without a GPU"
    )


def test_a_tensorrt_that_does_not_load_is_reported(monkeypatch):
    def broken(name):
        raise ImportError("libnvinfer.so.11: cannot open shared object file\nand more")

    monkeypatch.setattr(tensorrt_api.importlib, "import_module", broken)
    assert refusal(load_tensorrt) == ("tensorrt cannot be loaded: libnvinfer.so.11: cannot open shared object file")


class Library:
    """TensorRT's library, which states its version through C functions."""

    def __init__(self, number, build=None):
        self.getInferLibVersion = lambda: number
        if build is not None:
            self.getInferLibBuildVersion = lambda: build


def bindings(version, name="tensorrt"):
    return types.SimpleNamespace(__name__=name, __version__=version)


@pytest.mark.parametrize(
    ("number", "build", "version"),
    [(110201, 2, "11.2.1.2"), (101401, 48, "10.14.1.48"), (100400, None, "10.4.0"), (8601, None, "0.86.1")],
)
def test_the_library_states_its_version(number, build, version):
    assert library_version(bindings("11.4.0.106"), Library(number, build)) == version


def test_the_version_is_that_of_the_loaded_library():
    assert library_version(trt) == trt.__version__  # this package has bindings and library in one


def test_bindings_without_their_library_are_reported():
    assert refusal(lambda: library_version(bindings("99.0.0"))).startswith(
        "tensorrt has no library: libnvinfer.so.99: cannot open shared object file"
    )


@pytest.mark.parametrize(("number", "fits"), [(8601, False), (100400, True), (110201, True), (120000, False)])
def test_the_builder_is_written_for_10_and_11(monkeypatch, number, fits):
    library = Library(number)
    version = library_version(bindings("11.2.1"), library)
    module = bindings(f"{version}.106")
    monkeypatch.setattr(tensorrt_api.importlib, "import_module", lambda name: module)
    if fits:
        assert load_tensorrt(library) is module
    else:
        message = f"TensorRT {version} is installed; engines are built with TensorRT 10 or 11"
        assert refusal(lambda: load_tensorrt(library)) == message


def test_bindings_of_another_minor_version_than_the_library_are_refused(monkeypatch):
    monkeypatch.setattr(tensorrt_api.importlib, "import_module", lambda name: bindings("11.4.0.106"))
    assert refusal(lambda: load_tensorrt(Library(110201, 2))) == (
        "TensorRT's Python bindings are 11.4.0.106 and its library is 11.2.1.2: install the library's bindings, "
        "pip install 'tensorrt-cu13-bindings==11.2.*' (cu12 for CUDA 12)"
    )


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        (
            "IBuilder::build: Error Code 4: API Usage Error (two types differ. In check at /_src/a.cpp:4)",
            "two types differ.",
        ),
        ("x: Error Code 1: Cuda Runtime (In f at /_src/b.cpp:25 (cudaError 2: out of memory))", "CUDA: out of memory"),
        ("plain words\nand more", "plain words"),
    ],
)
def test_tensorrts_words_without_its_source_files(message, lines):
    assert plain(message) == lines


def test_the_bindings_alone_are_enough(monkeypatch):
    module = bindings("11.1.0", "tensorrt_bindings")

    def only_bindings(name):
        if name != "tensorrt_bindings":
            raise ModuleNotFoundError(name=name)
        return module

    monkeypatch.setattr(tensorrt_api.importlib, "import_module", only_bindings)
    assert load_tensorrt(Library(110100)) is module
