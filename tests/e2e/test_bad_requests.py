"""Every kind of bad request, at a real server: one clear line, and no other request is affected."""

import io
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from littlebig_client import ClientError, RequestRejected
from littlebig_contract.pictures import sample_photographs

COFFEE, CAT = sample_photographs(("coffee.png", "chelsea.png"))


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


BAD_PICTURES = {
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


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_a_bad_picture_is_refused_with_its_reason(triton, case):
    content, message = BAD_PICTURES[case]
    assert message in refusal(triton, "classify", np.array([[content]], object), "BYTES", "encoded_image")


def test_the_bad_picture_of_a_request_is_named_by_its_index(triton):
    batch = np.array([[COFFEE.read_bytes()], [b"nonsense"]], object)
    assert "encoded_image[1] is not a JPEG" in refusal(triton, "classify", batch, "BYTES", "encoded_image")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": float("nan")}, "parameter 'threshold' = nan is not a number in [0, 1]"),
        ({"threshold": 1.01}, "parameter 'threshold' = 1.01 is not a number in [0, 1]"),
        ({"threshold": "0.5"}, "parameter 'threshold' = '0.5' is not a number in [0, 1]"),
        ({"policy": "both"}, "parameter 'policy' = 'both' is not one of cascade, little, big"),
        ({"temperature": 2}, "unknown parameter 'temperature'; a request may set threshold and policy"),
    ],
)
@pytest.mark.parametrize("model", ["classify", "little_big"])
def test_a_wrong_parameter_is_refused_by_name(triton, model, parameters, message):
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
def test_a_tensor_of_wrong_shape_or_type_is_refused(triton, array, dtype, message):
    assert message in refusal(triton, "little_big", array, dtype, "image")


def test_good_requests_are_not_affected_by_bad_ones_beside_them(client):
    expected = {path: client.classify(path) for path in (COFFEE, CAT)}
    load = [COFFEE, CAT, b"nonsense", COFFEE.read_bytes()[:9_000]] * 15
    answers = list(client.classify_many(load, concurrency=16))
    for image, answer in zip(load, answers, strict=True):
        if isinstance(image, Path):
            assert not isinstance(answer, ClientError)
            assert (answer.label, answer.stage) == (expected[image].label, expected[image].stage)
        else:
            assert isinstance(answer, RequestRejected)


def test_a_bad_threshold_fails_only_its_own_request_of_a_batch(triton):
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


def test_the_server_still_answers_after_bad_requests(client):
    assert client.classify(COFFEE).name == "espresso"
