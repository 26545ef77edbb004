"""Answers of the served cascade to photographs, through every entry point."""

from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from littlebig_client import ServerFailure
from littlebig_contract.pictures import sample_photographs

COFFEE, CAT, CAMERA = sample_photographs(("coffee.png", "chelsea.png", "camera.png"))


def infer(triton, model, images, outputs=("label", "confidence", "stage"), timeout=None, **parameters):
    """Ask Triton itself, with several images in one request, and perhaps a time limit in microseconds."""
    dtype = "BYTES" if model == "classify" else "UINT8"
    name = "encoded_image" if model == "classify" else "image"
    batch = np.array([[Path(image).read_bytes()] for image in images], object) if model == "classify" else images
    tensor = tritonclient.grpc.InferInput(name, list(batch.shape), dtype)
    tensor.set_data_from_numpy(batch)
    wanted = [tritonclient.grpc.InferRequestedOutput(output) for output in outputs]
    return triton.infer(model, [tensor], outputs=wanted, parameters=parameters or None, timeout=timeout)


def canonical(triton, path):
    """A photograph as the stages see it, uint8 [H, W, 3]."""
    tensor = tritonclient.grpc.InferInput("encoded_image", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[path.read_bytes()]], object))
    return triton.infer("preprocess", [tensor]).as_numpy("image")[0]


def test_little_answers_a_sure_image_and_big_an_unsure_one(client):
    coffee, cat = client.classify(COFFEE), client.classify(CAT)
    assert (coffee.name, coffee.stage) == ("espresso", "little")
    assert coffee.confidence == pytest.approx(0.95, abs=0.01)
    assert (cat.name, cat.stage) == ("Egyptian cat", "big")


def test_only_the_unsure_images_of_a_request_are_escalated(triton):
    answer = infer(triton, "classify", [COFFEE, CAT, CAMERA])
    assert answer.as_numpy("stage").ravel().tolist() == [0, 1, 0]
    assert answer.as_numpy("label").shape == (3, 1)


def test_path_bytes_picture_and_array_get_the_same_answer(client, triton):
    by_path = client.classify(CAT)
    by_bytes = client.classify(CAT.read_bytes())
    with Image.open(CAT) as picture:
        by_picture = client.classify(picture)
    by_array = client.classify(canonical(triton, CAT))
    assert by_path == by_bytes == by_picture == by_array


def test_a_request_may_set_policy_and_threshold(client):
    little, big = client.classify(CAT, policy="little"), client.classify(COFFEE, policy="big")
    assert (little.stage, big.stage) == ("little", "big")
    assert client.classify(CAT, threshold=0.0) == little
    assert client.classify(COFFEE, threshold=1.0) == big
    # The pair's score is the margin: the largest probability minus the second largest.
    first, second = (np.float32(candidate.probability) for candidate in little.top_k[:2])
    margin = float(first - second)
    assert client.classify(CAT, threshold=margin - 1e-4).stage == "little"
    assert client.classify(CAT, threshold=margin + 1e-4).stage == "big"


def test_each_request_of_a_batch_keeps_its_own_parameters(client):
    answers = list(client.classify_many([CAT] * 40, policy="little", concurrency=16))
    forced = list(client.classify_many([CAT] * 40, policy="big", concurrency=16))
    assert {answer.stage for answer in answers} == {"little"}
    assert {answer.stage for answer in forced} == {"big"}


def test_a_callers_time_limit_reaches_the_gate_through_the_ensemble(triton):
    assert infer(triton, "classify", [CAT], threshold=1.0, timeout=30_000_000).as_numpy("stage").ravel().tolist() == [1]
    with pytest.raises(InferenceServerException, match="Request timeout expired before stage 'big' answered"):
        infer(triton, "classify", [CAT], threshold=1.0, timeout=1_000)  # less than little takes by itself
    assert infer(triton, "classify", [COFFEE], timeout=1_000).as_numpy("stage").ravel().tolist() == [0]


def test_the_client_passes_its_callers_time_limit_on(client):
    assert client.classify(CAT, threshold=1.0, within=30.0).stage == "big"
    with pytest.raises(ServerFailure, match="Request timeout expired before stage 'big' answered") as failure:
        client.classify(CAT, threshold=1.0, within=0.001)
    assert failure.value.status == "UNAVAILABLE"


def test_probabilities_have_names_and_are_those_of_the_stage_that_answered(client, triton):
    cat = client.classify(CAT, top_k=1000)
    assert len(cat.top_k) == 1000
    assert sum(candidate.probability for candidate in cat.top_k) == pytest.approx(1.0, abs=1e-3)
    assert cat.top_k[0].probability == pytest.approx(cat.confidence, abs=1e-6)
    raw = infer(triton, "classify", [CAT], outputs=("probabilities", "label")).as_numpy("probabilities")
    assert raw.shape == (1, 1000)
    assert raw.argmax() == cat.label


def test_stages_can_be_called_directly(triton):
    image = canonical(triton, COFFEE)[None]
    for stage in ("little", "big"):
        answer = infer(triton, stage, image, outputs=("label", "confidence", "margin", "probabilities"))
        ordered = np.sort(answer.as_numpy("probabilities")[0])
        assert answer.as_numpy("confidence")[0, 0] == pytest.approx(ordered[-1])
        assert answer.as_numpy("margin")[0, 0] == pytest.approx(ordered[-1] - ordered[-2], abs=1e-6)


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_stage_answers_a_batch_as_it_answers_each_image(triton, stage):
    # Five images are more than one run of ONNX Runtime takes, and not a multiple of it.
    names = ("label", "confidence", "probabilities")
    photographs = np.stack([canonical(triton, path) for path in (COFFEE, CAT, CAMERA, CAT, COFFEE)])
    together = infer(triton, stage, photographs, outputs=names)
    alone = [infer(triton, stage, photograph[None], outputs=names) for photograph in photographs]
    for name in names:
        each = np.concatenate([answer.as_numpy(name) for answer in alone])
        assert together.as_numpy(name) == pytest.approx(each, abs=1e-5)


def test_an_answer_does_not_depend_on_its_neighbours(client, triton):
    alone = {path: client.classify(path) for path in (COFFEE, CAT, CAMERA)}
    mixed = list(client.classify_many([COFFEE, CAT, CAMERA] * 20, concurrency=16))
    for path, answer in zip([COFFEE, CAT, CAMERA] * 20, mixed, strict=True):
        assert (answer.label, answer.stage) == (alone[path].label, alone[path].stage)
        assert answer.confidence == pytest.approx(alone[path].confidence, abs=1e-4)
