"""Every kind of bad request, at the real server: one clear line, and nobody else is harmed."""

import io
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import skimage
import tritonclient.grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from littlebig_client import ClientError, RequestRejected

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
COFFEE, CAT = PHOTOGRAPHS / "coffee.png", PHOTOGRAPHS / "chelsea.png"


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def refusal(triton, model, array, dtype, name, **parameters):
    tensor = tritonclient.grpc.InferInput(name, list(array.shape), dtype)
    tensor.set_data_from_numpy(array)
    with pytest.raises(InferenceServerException) as error:
        triton.infer(model, [tensor], parameters=parameters or None)
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    return error.value.message()


NOT_PICTURES = {
    "not an image": (b"hello, gate", "encoded_image[0] is not a JPEG, PNG, WebP, BMP or GIF image"),
    "empty": (b"", "encoded_image[0] is empty"),
    "truncated": (COFFEE.read_bytes()[:50_000], "encoded_image[0] is a damaged PNG image: "),
    "bomb": (
        encoded(Image.new("1", (20_000, 20_000))),
        "encoded_image[0] is 20000x20000 = 400000000 pixels, more than the limit of 100000000 (parameter max_pixels)",
    ),
    "too long": (
        b"\x89PNG" * (6 << 20),
        "encoded_image[0] has 25165824 bytes, more than the limit of 20971520 (parameter max_bytes)",
    ),
}


@pytest.mark.parametrize("case", NOT_PICTURES)
def test_what_is_no_picture_is_refused_by_name(triton, case):
    content, message = NOT_PICTURES[case]
    assert message in refusal(triton, "classify", np.array([[content]], object), "BYTES", "encoded_image")


def test_the_bad_image_of_a_request_is_named_by_its_place(triton):
    batch = np.array([[COFFEE.read_bytes()], [b"nonsense"]], object)
    assert "encoded_image[1] is not a JPEG" in refusal(triton, "classify", batch, "BYTES", "encoded_image")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": float("nan")}, "parameter 'threshold' = nan is not a number in [0, 1]"),
        ({"threshold": 1.01}, "parameter 'threshold' = 1.01 is not a number in [0, 1]"),
        ({"threshold": "0.5"}, "parameter 'threshold' = '0.5' is not a number in [0, 1]"),
        ({"policy": "both"}, "parameter 'policy' = 'both' is none of cascade, little, big"),
        ({"temperature": 2}, "unknown parameter 'temperature'; a request may set threshold and policy"),
    ],
)
@pytest.mark.parametrize("model", ["classify", "little_big"])
def test_wrong_parameters_are_refused_by_name(triton, model, parameters, message):
    if model == "classify":
        array, dtype, name = np.array([[COFFEE.read_bytes()]], object), "BYTES", "encoded_image"
    else:
        array, dtype, name = np.zeros((1, 260, 260, 3), np.uint8), "UINT8", "image"
    assert message in refusal(triton, model, array, dtype, name, **parameters)


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (np.zeros((1, 224, 224, 3), np.uint8), "UINT8", "unexpected shape for input 'image'"),
        (np.zeros((1, 260, 260, 3), np.float32), "FP32", "data-type is 'FP32', but model 'little_big' expects 'UINT8'"),
        (np.zeros((33, 260, 260, 3), np.uint8), "UINT8", "batch-size must be <= 32 for 'little_big'"),
    ],
)
def test_a_tensor_of_the_wrong_kind_is_refused(triton, array, dtype, message):
    assert message in refusal(triton, "little_big", array, dtype, "image")


def test_good_requests_are_unharmed_by_bad_ones_of_the_same_moment(client):
    """Bad ones are mixed into a load that the server batches; every good one is answered as it is alone."""
    expected = {path: client.classify(path) for path in (COFFEE, CAT)}
    load = [COFFEE, CAT, b"nonsense", COFFEE.read_bytes()[:9_000]] * 15
    answers = list(client.classify_many(load, concurrency=16))
    for image, answer in zip(load, answers, strict=True):
        if isinstance(image, Path):
            assert not isinstance(answer, ClientError)
            assert (answer.label, answer.stage) == (expected[image].label, expected[image].stage)
        else:
            assert isinstance(answer, RequestRejected)


def test_a_bad_threshold_in_a_gathered_batch_fails_its_own_request_only(triton):
    """All sent at once to one gate, so that good and bad share a batch."""
    image = np.zeros((1, 260, 260, 3), np.uint8)
    tensor = tritonclient.grpc.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    thresholds = [7.0 if index % 3 == 0 else 0.5 for index in range(60)]
    pending: list[Future[object]] = [Future() for _ in thresholds]
    for threshold, future in zip(thresholds, pending, strict=True):
        triton.async_infer(
            "little_big",
            [tensor],
            parameters={"threshold": threshold},
            callback=lambda result, error, future=future: future.set_result(error or result),
        )
    for threshold, future in zip(thresholds, pending, strict=True):
        answer = future.result(timeout=60)
        if threshold > 1:
            assert "parameter 'threshold' = 7.0 is not a number in [0, 1]" in str(answer)
        else:
            assert answer.as_numpy("label").shape == (1, 1)


def test_the_server_is_well_after_all_this(client):
    assert client.classify(COFFEE).name == "espresso"
