"""A running server takes a calibration through Triton's load API where model control allows it."""

import contextlib
import io
import json
import shutil
import threading

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tests.e2e.gate.puppets import Puppets, until

from littlebig_client import Classification, Client
from littlebig_export.applying import apply_calibration
from littlebig_server import ServerSettings, TritonServer

IMAGE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)


def calibration(repository, threshold):
    stages = json.loads((repository / "littlebig.json").read_text())["stages"]
    models = {
        stage: {"name": facts["model"], "weights_sha256": facts["weights"]["sha256"]} for stage, facts in stages.items()
    }
    rate = {"value": 0.2, "low": 0.1, "high": 0.3}
    chosen = {"threshold": threshold, "escalation_rate": rate, "disagreement": None}
    return json.dumps({**models, "gate": "confidence", "answer": "big", "chosen": chosen})


def test_an_applied_calibration_is_served_once_the_gate_is_loaded_again(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        triton = tritonclient.grpc.InferenceServerClient(server.grpc_url)
        for threshold, stage in ((0.0, "little"), (1.0, "big"), (0.0, "little"), (None, "big")):
            apply_calibration(repository, calibration(repository, threshold))
            triton.load_model("little_big")
            assert client.classify(IMAGE).stage == stage
        triton.close()


def test_margin_and_arbitration_are_served_as_they_were_chosen(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    text = json.loads(calibration(repository, 1.0)) | {"gate": "margin", "answer": "arbitrate"}
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        triton = tritonclient.grpc.InferenceServerClient(server.grpc_url)
        for offset, stage in ((-100.0, "little"), (100.0, "big")):  # both ran, and one of them always wins
            apply_calibration(repository, json.dumps(text | {"offset": offset}))
            triton.load_model("little_big")
            assert client.classify(IMAGE).stage == stage
        triton.close()


@contextlib.contextmanager
def asked_all_the_while(client, image, **options):
    """The answers to eight callers so far, one after another each; all of them at the end."""
    over, answers = threading.Event(), []

    def images():
        while not over.is_set():
            yield image

    asking = threading.Thread(target=lambda: answers.extend(client.classify_many(images(), concurrency=8, **options)))
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join(60)


def more(answers):
    """Waits for answers to requests that were sent from now on."""
    before = len(answers)
    until(lambda: len(answers) > before + 200, "answers go on")


def executions(triton, model):
    """Of a model, since it was loaded."""
    return triton.get_inference_statistics(model).model_stats[0].execution_count


def test_a_gate_is_replaced_under_load_and_nothing_is_lost(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    settings = ServerSettings(model_control_mode="explicit", arguments=("--load-model=*",))
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        with (
            asked_all_the_while(client, IMAGE) as answers,
            tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton,
        ):
            for threshold in (0.0, 1.0, 0.0, 1.0):
                apply_calibration(repository, calibration(repository, threshold))
                triton.load_model("little_big")
                more(answers)
        assert [answer for answer in answers if not isinstance(answer, Classification)] == []
        assert {answer.stage for answer in answers} == {"little", "big"}
        # The counters go on where those of the gate before were: they are published about once a second.
        counted = Puppets(repository, server, None)
        until(lambda: counted.metric("littlebig_images_total") == len(answers), f"{len(answers)} images are counted")
    said = "\n".join(server.log_tail())
    assert said.count("successfully unloaded 'little_big' version 1") >= 5
    assert "Exit timeout expired" not in said


def test_a_gate_that_is_refused_and_stages_that_are_loaded_again_lose_nothing_under_load(tiny_repository, tmp_path):
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    config = repository / "little_big" / "config.pbtxt"
    # After a refused load Triton 24.10 counts one live model too many, of whatever kind, and stops by this limit only.
    settings = ServerSettings(model_control_mode="explicit", exit_timeout=5, arguments=("--load-model=*",))
    picture = io.BytesIO()
    Image.fromarray(IMAGE).save(picture, "JPEG")
    with TritonServer(repository, settings) as server, Client(server.grpc_url) as client:
        with (
            asked_all_the_while(client, picture.getvalue(), threshold=1.0) as answers,  # through every model
            tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton,
        ):
            more(answers)
            for model in ("little", "big", "preprocess", "little_big", "classify"):
                apply_calibration(repository, calibration(repository, 1.0))
                wrong = config.read_text().replace('string_value: "1.0"', 'string_value: "2"')
                config.write_text(wrong)
                with pytest.raises(tritonclient.grpc.InferenceServerException) as refused:
                    triton.load_model("little_big")
                assert "parameter 'threshold' = '2' is not a number in [0, 1]" in str(refused.value)
                more(answers)
                apply_calibration(repository, calibration(repository, 1.0))
                # What has not changed is not loaded, and a changed config.pbtxt alone does not always mean a new load.
                (repository / model / "1" / "changed").touch()
                before = executions(triton, model)
                triton.load_model(model)
                assert executions(triton, model) < before  # they are counted from its load on
                more(answers)
        assert [answer for answer in answers if not isinstance(answer, Classification)] == []
