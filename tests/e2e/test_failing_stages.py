"""Broken stages and broken settings, with a pair of tiny bring-your-own ONNX models."""

import shutil
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from littlebig_client import ServerFailure
from littlebig_contract.pictures import sample_photographs
from littlebig_server import ServerError, ServerSettings, TritonServer

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture
def repository(tiny_repository, tmp_path):
    """A copy that the test may break."""
    return shutil.copytree(tiny_repository, tmp_path / "models")


@pytest.fixture(scope="module")
def server(tiny_repository):
    with TritonServer(tiny_repository, ServerSettings(open_administration=True)) as running:
        yield running


@pytest.fixture
def without_big(server):
    """A gRPC client of the server, from which big is unloaded."""
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        triton.unload_model("big")
        yield triton
        triton.load_model("big")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_pair_of_onnx_files_is_served(client):
    little, big = (client.classify(IMAGE, policy=policy) for policy in ("little", "big"))
    assert (little.stage, big.stage) == ("little", "big")
    assert {candidate.name for candidate in big.top_k} == {f"class {index}" for index in range(5)}


@pytest.mark.usefixtures("without_big")
def test_without_big_sure_images_are_answered_and_unsure_ones_get_an_error(client):
    assert client.classify(IMAGE, threshold=0.0).stage == "little"
    for _ in range(3):  # a failed call uses nothing up
        with pytest.raises(ServerFailure, match=r"stage 'big' failed: .*'big'.* is not"):
            client.classify(IMAGE, threshold=1.0)
    assert client.classify(IMAGE, policy="little").stage == "little"


def test_a_failed_call_of_big_does_not_affect_the_sure_requests_of_its_batch(client, without_big):
    before = without_big.get_inference_statistics("little_big").model_stats[0].execution_count
    sure = client.classify_many([IMAGE] * 100, threshold=0.0, concurrency=16)
    unsure = client.classify_many([IMAGE] * 100, threshold=1.0, concurrency=16)
    answers = [answer for pair in zip(sure, unsure, strict=True) for answer in pair]
    executions = without_big.get_inference_statistics("little_big").model_stats[0].execution_count - before
    assert executions < 200, "no requests shared a batch"
    assert all(getattr(answer, "stage", None) == "little" for answer in answers[::2])
    assert all(isinstance(answer, ServerFailure) for answer in answers[1::2])


def claim(triton, model, images, datatype="UINT8", shape=(32, 32, 3), content=bytes(32 * 32 * 3)):
    """Send a request that claims a number of images and brings one; returns the error."""
    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[content])
    name = "image" if datatype == "UINT8" else "encoded_image"
    request.inputs.add(name=name, datatype=datatype, shape=[images, *shape])
    with pytest.raises(grpc.RpcError) as error:
        triton.ModelInfer(request, timeout=30)
    return error.value


@pytest.fixture
def protocol(server):
    """Triton's protocol itself: tritonclient sends no claims."""
    with grpc.insecure_channel(server.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.mark.parametrize("images", [0, 2**32])
def test_an_impossible_number_of_images_is_refused_by_each_model(protocol, images):
    for model in ("little", "big", "little_big"):
        error = claim(protocol, model, images)
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "'image' claims an impossible number of images" in error.details()
    error = claim(protocol, "preprocess", images, "BYTES", (1,), b"\4\0\0\0abcd")
    assert "'encoded_image' claims an impossible number of pictures" in error.details()


@pytest.mark.parametrize("pictures", [0, 2**32])
def test_at_classify_an_impossible_number_of_pictures_is_one_and_harms_nobody(protocol, client, pictures):
    request = service_pb2.ModelInferRequest(model_name="classify")
    request.inputs.add(name="encoded_image", datatype="BYTES", shape=[pictures, 1])
    content = (sample_photographs()[0]).read_bytes()
    request.raw_input_contents.append(len(content).to_bytes(4, "little") + content)
    claims = [protocol.ModelInfer.future(request, timeout=30) for _ in range(8)]
    beside = list(client.classify_many([content] * 16, concurrency=8))
    assert {answer.label for answer in beside} == {client.classify(content).label}
    for claimed in claims:
        assert [list(output.shape) for output in claimed.result().outputs if output.name == "label"] == [[1]]


def test_impossible_numbers_of_images_sent_to_big_do_not_open_the_gates_breaker(client, protocol):
    unsure = [(IMAGE + index).astype(np.uint8) for index in range(100)]
    stop = threading.Event()

    def attack():
        while not stop.is_set():
            claim(protocol, "big", 0)

    attackers = [threading.Thread(target=attack) for _ in range(2)]
    for attacker in attackers:
        attacker.start()
    try:
        answers = client.classify_many(unsure, threshold=1.0, concurrency=8)
        failed = [str(answer) for answer in answers if not hasattr(answer, "stage")]
    finally:
        stop.set()
        for attacker in attackers:
            attacker.join(30)
    assert len(failed) < 50  # repeated once; each time the attack may hit again
    assert not [error for error in failed if "max allowed is" not in error]
    assert client.classify(IMAGE, threshold=1.0).stage == "big"


def test_a_wrong_setting_is_named_when_the_server_starts(repository):
    replace(repository / "little_big" / "config.pbtxt", '"0.6"', '"1.6"')
    with pytest.raises(ServerError) as error, TritonServer(repository):
        pytest.fail("the server started")
    assert "little_big: parameter 'threshold' = '1.6' is not a number in [0, 1]" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_repository_with_a_space_in_its_path_is_refused(repository):
    spaced = repository.rename(repository.with_name("my models"))
    with pytest.raises(ServerError) as error, TritonServer(spaced):
        pytest.fail("the server started")
    assert str(error.value) == (
        f"model repository '{spaced}' has a space in its path, which Triton's Python backend cannot serve: "
        "move it, or make a link to it without spaces"
    )
